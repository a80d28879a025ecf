//! See `abi::fuzzing::refusal_any`.
#![no_main]
use sluice_abi::fuzzing::refusal_any;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = refusal_any(bytes);
});
