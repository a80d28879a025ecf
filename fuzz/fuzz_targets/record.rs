//! See `abi::fuzzing::records_any`.
#![no_main]
use sluice_abi::fuzzing::records_any;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = records_any(bytes);
});
