//! See `abi::fuzzing::start_any`.
#![no_main]
use sluice_abi::fuzzing::start_any;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = start_any(bytes);
});
