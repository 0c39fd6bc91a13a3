//! libFuzzer's way into `outhook::fuzzing::verify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::verify(bytes));
