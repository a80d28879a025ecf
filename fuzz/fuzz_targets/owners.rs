//! See `verifier::fuzzing::no_packet_has_two_owners`.
#![no_main]
use sluice_verifier::fuzzing::no_packet_has_two_owners;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = no_packet_has_two_owners(bytes);
});
