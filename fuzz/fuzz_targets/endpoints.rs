//! libFuzzer's way into `outhook::fuzzing::endpoints`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::endpoints(bytes));
