//! Generated programs: native code is the interpreter; mutated code is refused.

#![cfg(test)]

use runtime::random::mix;
use sluice_dpf::fuzzing::{Mutations, mutations, native_is_interpreter};

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| mix(mix(seed) ^ at).to_le_bytes()[0]).collect()
}

#[test]
fn native_code_does_what_the_interpreter_does() {
    let accepted = (0..6_000_u64)
        .filter(|seed| native_is_interpreter(&bytes(*seed, 16 + (*seed as usize * 7) % 400)))
        .count();
    assert!(accepted > 300, "only {accepted} programs were accepted by the verifier");
}

#[test]
fn a_wrong_byte_is_refused_or_means_the_same() {
    let mut total = Mutations::default();
    for seed in 0..400 {
        let count = mutations(&bytes(seed ^ 0xabcd, 40));
        total.refused += count.refused;
        total.accepted += count.accepted;
    }
    assert!(total.refused > 10_000, "{total:?}");
    assert!(total.accepted * 50 < total.refused, "{total:?}");
}
