//! See `abi::fuzzing::image_any`.
#![no_main]
use sluice_abi::fuzzing::image_any;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = image_any(bytes);
});
