//! Every case of `testdata/ebpf` natively; generated programs; wrong bytes in all of their code.

extern crate std;

use alloc::vec::Vec;

use ebpf::{CallTarget, Insn, Kind};
use runtime::native::HostPages;
use runtime::random::mix;

use std::time::{Duration, Instant};

use super::mutate::mutated;
use super::unproven::{NativeError, mutations_of, run_native};
use super::{
    Mutations, classifier_mutations, idioms_from_bytes, merged_is_one_by_one, mutations,
    native_is_interpreter, verified,
};
use crate::context::Premises;
use crate::error::EngineError;

#[test]
fn every_case_gives_its_result_natively() {
    let mut ran = 0;
    let mut differ = Vec::new();
    for case in ebpf::cases::all().unwrap() {
        let program = case.program().unwrap();
        let by_register =
            |insn: &Insn| matches!(insn, Insn::Call { target: CallTarget::Register(_) });
        match run_native(&program, &case.data) {
            Ok((result, after)) if result == case.result && after == case.after => ran += 1,
            // The one thing that the compiler refuses by name.
            Err(NativeError::Load(EngineError::Compile(_)))
                if program.insns().iter().any(by_register) => {}
            other => differ.push((case.name, other)),
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(ran > 300, "only {ran} cases ran");
}

#[test]
fn a_wrong_byte_in_any_case_is_refused_or_means_the_same() {
    let mut total = Mutations::default();
    for case in ebpf::cases::all().unwrap() {
        let count = mutations_of(&case.program().unwrap());
        total.refused += count.refused;
        total.accepted += count.accepted;
    }
    assert!(total.refused > 100_000, "{total:?}");
    assert!(total.accepted * 50 < total.refused, "{total:?}");
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| mix(mix(seed) ^ at).to_le_bytes()[0]).collect()
}

#[test]
fn native_code_does_what_the_interpreter_does() {
    let mut pages = HostPages::default();
    let accepted = (0..6_000_u64)
        .filter(|seed| {
            native_is_interpreter(&bytes(*seed, 16 + (*seed as usize * 7) % 400), &mut pages)
        })
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

#[test]
fn two_opinions_on_which_loads_read_the_context_agree() {
    let mut loads = 0;
    for seed in 0..2_000 {
        let kind = if seed % 2 == 0 { Kind::Filter } else { Kind::Ash };
        let program = ebpf::fuzzing::program_from_bytes(kind, &bytes(seed, 200));
        let Some(verified) = program.and_then(verified) else { continue };
        let proven = Premises::of(&verified, &[]).unwrap_or_default();
        // The guess also looks at code that no run reaches, and may be at a loss there.
        let Ok(guessed) = Premises::guessed(verified.program()) else { continue };
        for pc in 0..verified.program().len() as u32 {
            if let Some(field) = proven.at(pc) {
                assert_eq!(guessed.at(pc), Some(field), "slot {pc}");
                loads += 1;
            }
        }
    }
    assert!(loads > 100, "only {loads}");
}

#[test]
fn merged_filters_say_what_they_say_one_by_one() {
    let mut pages = HostPages::default();
    let compared: usize =
        (0..12).map(|seed| merged_is_one_by_one(&bytes(seed, 24), &mut pages)).sum();
    assert!(compared > 500, "only {compared} frames");
}

#[test]
fn a_wrong_byte_in_any_classifier_is_refused_or_means_the_same() {
    let mut total = Mutations::default();
    for seed in 0..6 {
        let count = classifier_mutations(&bytes(seed ^ 0x77, 40));
        total.refused += count.refused;
        total.accepted += count.accepted;
    }
    assert!(total.refused > 10_000 && total.accepted * 50 < total.refused, "{total:?}");
}

/// Most are accepted, and their code is much shorter than what they say.
#[test]
fn idioms_do_natively_what_they_say() {
    let (start, mut pages) = (Instant::now(), HostPages::default());
    let (mut number, mut accepted) = (0_u64, 0_u64);
    while number < 200 || start.elapsed() < Duration::from_secs(1) {
        let length = 60 + mix(number) % 200;
        let mut bytes: Vec<u8> =
            (0..length).map(|at| mix(mix(0x1d10 + number) ^ at).to_le_bytes()[0]).collect();
        bytes[0] = 7;
        accepted += u64::from(native_is_interpreter(&bytes, &mut pages));
        if number < 4 {
            let verified = idioms_from_bytes(&bytes).and_then(verified).unwrap();
            let premises = Premises::of(&verified, &[]).unwrap();
            let count = mutated(verified.program(), &premises);
            assert!(count.accepted * 50 < count.refused, "{count:?}");
        }
        number += 1;
    }
    assert!(accepted * 10 > number * 9, "only {accepted} of {number} accepted");
}
