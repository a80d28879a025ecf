//! See `dpf::fuzzing::mutations`.
#![no_main]
use sluice_dpf::fuzzing::mutations;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = mutations(bytes);
});
