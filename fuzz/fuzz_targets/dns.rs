//! libFuzzer's way into `outhook::fuzzing::dns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outhook::fuzzing::dns(bytes));
