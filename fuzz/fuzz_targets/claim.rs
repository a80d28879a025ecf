//! See `verifier::fuzzing::claims_are_exact`.
#![no_main]
use sluice_verifier::fuzzing::claims_are_exact;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = claims_are_exact(bytes);
});
