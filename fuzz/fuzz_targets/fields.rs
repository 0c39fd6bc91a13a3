//! libFuzzer's way into `outhook::fuzzing::fields`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::fields(bytes));
