//! libFuzzer's way into `outhook::fuzzing::guard`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::guard(bytes));
