//! libFuzzer's way into `outhook::fuzzing::retry_after`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::retry_after(bytes));
