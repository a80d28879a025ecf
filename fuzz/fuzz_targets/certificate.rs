//! See `verifier::fuzzing::certificates_prove_nothing_wrong`.
#![no_main]
use sluice_verifier::fuzzing::certificates_prove_nothing_wrong;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = certificates_prove_nothing_wrong(bytes);
});
