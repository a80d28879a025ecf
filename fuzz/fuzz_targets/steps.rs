//! See `verifier::fuzzing::steps_do_not_matter`.
#![no_main]
use sluice_verifier::fuzzing::steps_do_not_matter;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = steps_do_not_matter(bytes);
});
