//! See `verifier::fuzzing::accepted_programs_keep_to_their_states`.
#![no_main]
use sluice_verifier::fuzzing::accepted_programs_keep_to_their_states;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = accepted_programs_keep_to_their_states(bytes);
});
