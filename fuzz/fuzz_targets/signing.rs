//! libFuzzer's way into `outhook::fuzzing::signing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::signing(bytes));
