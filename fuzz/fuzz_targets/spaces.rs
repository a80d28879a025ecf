//! See `flow::fuzzing::spaces_any`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_flow::fuzzing::spaces_any(bytes));
