//! libFuzzer's way into `outhook::fuzzing::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::token(bytes));
