//! How much a proof does before it can hand the processor back: no item of work costs more than
//! `ITEM_UNITS`, also where the states are as heavy as they get. The proof itself asserts it of
//! every item where assertions are on, as they are in tests; here it is given heavy states.

mod common;

use core::fmt::Write;
use core::task::Poll;

use common::program;
use ebpf::{Kind, Program};
use sluice_verifier::limits::ITEM_UNITS;
use sluice_verifier::{Fuel, Refusal, SafetyProof};

/// Frames that are all full, of different values; in the innermost, branches that each leave
/// states which have little in common, and a loop over them.
fn heavy(frames: usize, branches: usize) -> Program {
    let mut text = String::from("mov %r6, %r1\nmov %r7, %r2\njlt %r7, 600, out\n");
    for frame in 0..frames {
        for slot in 1..=64 {
            let _ = writeln!(text, "ldxdw %r3, [%r6+{}]", (frame * 64 + slot) % 590);
            let _ = writeln!(text, "stxdw [%r10-{}], %r3", slot * 8);
        }
        if frame + 1 < frames {
            let _ = writeln!(text, "mov %r1, %r6\nmov %r2, %r7\ncall local f{frame}\nexit");
            let _ = writeln!(text, "f{frame}: mov %r6, %r1\nmov %r7, %r2");
        }
    }
    let _ = writeln!(text, "ldxb %r8, [%r6+1]\nand %r8, 15\nagain: mov %r9, 0");
    for branch in 0..branches {
        let at = branch % 64 * 8 + 8;
        let _ = writeln!(text, "ldxb %r3, [%r6+{branch}]\njeq %r3, {branch}, l{branch}");
        let _ = writeln!(text, "stdw [%r10-{at}], {branch}\nadd %r9, {branch}\nl{branch}:");
        let _ = writeln!(text, "mov %r4, %r9");
    }
    let _ = writeln!(text, "sub %r8, 1\njsgt %r8, 0, again\nldxb %r0, [%r6+600]\nexit");
    program(Kind::Memory, &(text + "out: mov %r0, 0\nexit"))
}

/// Items until the answer, when each is a step of its own.
fn items(program: &Program) -> (u64, Option<Refusal>) {
    let (mut proof, mut count) = (SafetyProof::new(program.clone()), 0);
    loop {
        count += 1;
        if let Poll::Ready(answer) = proof.step(&mut Fuel(1)) {
            return (count, answer.err());
        }
    }
}

/// Units until the answer, when nothing interrupts.
fn units(program: &Program) -> (u64, Option<Refusal>) {
    let (mut proof, mut spent) = (SafetyProof::new(program.clone()), 0);
    loop {
        let mut fuel = Fuel::UNLIMITED;
        let answer = proof.step(&mut fuel);
        spent += u64::from(u32::MAX - fuel.0);
        if let Poll::Ready(answer) = answer {
            return (spent, answer.err());
        }
    }
}

#[test]
fn no_item_costs_more_than_it_may() {
    for (frames, branches) in [(1, 3), (1, 20), (2, 8), (8, 2), (8, 10)] {
        let program = heavy(frames, branches);
        let ((items, cut), (units, whole)) = (items(&program), units(&program));
        println!("{frames} frames, {branches} branches: {items} items, {units} units");
        assert_eq!(cut, whole);
        assert!(cut.is_some(), "one byte too many is read");
        assert!(items <= units && units <= items * u64::from(ITEM_UNITS));
    }
}
