//! The path of a refusal is one that the proof went, not just the shortest of the graph.

mod common;

use common::{program, verify};
use ebpf::Kind;
use sluice_verifier::limits::TURNS_MAX;

/// The path that the refusal of a program tells.
fn path(kind: Kind, text: &str) -> Vec<u32> {
    match verify(program(kind, text)) {
        Err(refusal) => refusal.path().to_vec(),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn a_way_that_no_run_takes_is_not_told() {
    // The edge from 3 to 9 is the shortest way, and `r6` is never 0.
    let text = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        mov %r6, 1
        jeq %r6, 0, bad
        mov %r5, %r2
        add %r5, 14
        jgt %r5, %r3, out
        ldxb %r6, [%r2+13]
        jne %r6, 7, out
        bad: ldxb %r0, [%r2+14]
        out: mov %r0, 2
        exit
    ";
    assert_eq!(path(Kind::Ash, text), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn correlated_branches_are_told_as_they_go_together() {
    // Only who did not compare gets to the load without a length.
    let text = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        ldxw %r7, [%r1+12]
        mov %r6, 0
        jeq %r7, 0, over
        mov %r5, %r2
        add %r5, 14
        jgt %r5, %r3, out
        mov %r6, 1
        over: jeq %r6, 1, out
        ldxb %r0, [%r2+0]
        out: mov %r0, 2
        exit
    ";
    assert_eq!(path(Kind::Ash, text), [0, 1, 2, 3, 4, 9, 10]);
}

#[test]
fn functions_are_gone_into_and_left() {
    let text = "
        call local f
        lddw %r2, 5
        call local f
        ldxb %r0, [%r0+0]
        exit
        f: mov %r0, 4
        exit
    ";
    assert_eq!(path(Kind::Memory, text), [0, 6, 7, 1, 3, 6, 7, 4]);
}

#[test]
fn where_ways_are_joined_the_shorter_is_told() {
    let text = "
        jeq %r2, 0, short
        mov %r3, 1
        mov %r4, 1
        short: mov %r3, 0
        mov %r4, 0
        ldxb %r0, [%r1+0]
        exit
    ";
    let told = path(Kind::Memory, text);
    assert!(told == [0, 1, 2, 3, 4, 5] || told == [0, 3, 4, 5], "{told:?}");
    let text = text.replace("ldxb %r0, [%r1+0]", "ldxb %r0, [%r3+0]");
    assert_eq!(path(Kind::Memory, &text), [0, 3, 4, 5]);
}

#[test]
fn a_loop_is_left_in_its_first_round() {
    let text = "
        mov %r6, 0
        again: add %r6, 1
        jlt %r6, 100, again
        ldxb %r0, [%r6+0]
        exit
    ";
    assert_eq!(path(Kind::Memory, text).last(), Some(&3));
}

#[test]
fn what_is_too_long_is_not_told() {
    use std::fmt::Write;
    let long = |branches: usize| {
        let mut text = String::new();
        for branch in 0..branches {
            let _ = writeln!(text, "jeq %r2, {branch}, l{branch}\nl{branch}: mov %r3, 0");
        }
        text + "ldxb %r0, [%r3+0]\nexit"
    };
    let all = path(Kind::Memory, &long(TURNS_MAX));
    assert_eq!((all.first(), all.last()), (Some(&0), Some(&(2 * TURNS_MAX as u32))));
    assert!(path(Kind::Memory, &long(TURNS_MAX + 1)).is_empty());
}
