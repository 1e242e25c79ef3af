//! A value of RESTORE, less its checksum: it is refused, or what it means survives DUMP and RESTORE.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem::rdb::fuzz_one(data));
