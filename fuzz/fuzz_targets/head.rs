//! libFuzzer's way into `outhook::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::head(bytes));
