//! libFuzzer's way into `outhook::fuzzing::sealed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::sealed(bytes));
