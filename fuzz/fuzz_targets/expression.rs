//! See `flow::fuzzing::expression_any`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_flow::fuzzing::expression_any(bytes));
