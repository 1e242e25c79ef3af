//! Any text as sidecar.yaml and as redis.conf: it is refused, or what it means can be written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tandem::config::check_text(data));
