//! libFuzzer's way into `outhook::fuzzing::proxy_socks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::proxy_socks(bytes));
