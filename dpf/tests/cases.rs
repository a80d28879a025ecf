//! Every case of `testdata/ebpf`, natively.

#![cfg(test)]

use ebpf::{CallTarget, Insn};
use sluice_dpf::EngineError;
use sluice_dpf::fuzzing::{Mutations, NativeError, mutations_of, run_native};

#[test]
fn every_case_gives_its_result_natively() {
    let mut ran = 0;
    let mut differ = vec![];
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
