//! Requests from the network: no panic, and no split of the stream changes what is found.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem::protocol::fuzz_one(data));
