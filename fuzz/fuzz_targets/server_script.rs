#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::server_script::run(data));
