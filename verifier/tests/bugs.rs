//! The published bugs: every unsafe program refused for the right reason at the right instruction,
//! every safe twin accepted, and the list of exceptions exact.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::verify;
use sluice_verifier::fuzzing::cases::{self, Case, Expect};
use sluice_verifier::{Refusal, RefusalCode};

/// `name | reason`, one a line.
fn pending() -> BTreeMap<&'static str, &'static str> {
    let lines = cases::PENDING.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(" | ").unwrap_or_else(|| panic!("no reason: {line}")))
        .collect()
}

/// The reason's name, without what it says about registers and offsets.
fn name(refusal: &Refusal) -> String {
    let text = match refusal.code {
        RefusalCode::Unsafe(reason) => format!("{reason:?}"),
        RefusalCode::Limit => refusal.limit.map_or_else(String::new, |limit| limit.name.to_owned()),
        code => format!("{code:?}"),
    };
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// What is not as the case says.
fn wrong(case: &Case) -> Option<String> {
    let program = match case.program() {
        Ok(program) => program,
        Err(_) if case.expect == Expect::Malformed => return None,
        Err(error) => return Some(format!("does not assemble: {error}")),
    };
    let verdict = verify(program);
    match (&case.expect, &verdict) {
        (Expect::Accept, Ok(_)) => None,
        (Expect::Refuse { reason, pc, .. }, Err(refusal))
            if *reason == name(refusal) && refusal.pc == Some(*pc) =>
        {
            None
        }
        (_, Ok(_)) => Some("ACCEPTED".to_owned()),
        (expect, Err(refusal)) => {
            Some(format!("{} at {:?} ({refusal}) instead of {expect:?}", name(refusal), refusal.pc))
        }
    }
}

#[test]
fn published_bugs_are_refused_and_their_twins_accepted() {
    let pending = pending();
    let (mut failures, mut passing) = (Vec::new(), Vec::new());
    let all = cases::all().unwrap_or_else(|error| panic!("{error}"));
    for case in &all {
        match (wrong(case), pending.get(case.name.as_str())) {
            (Some(text), None) => failures.push(format!("{}: {text}", case.name)),
            (None, Some(_)) => passing.push(case.name.clone()),
            _ => {}
        }
    }
    let known: BTreeSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
    let unknown: Vec<_> = pending.keys().filter(|name| !known.contains(**name)).collect();
    assert!(failures.is_empty(), "{} not as they say:\n{}", failures.len(), failures.join("\n"));
    assert!(passing.is_empty(), "take these out of pending.txt:\n{}", passing.join("\n"));
    assert!(unknown.is_empty(), "pending.txt names what is not there: {unknown:?}");
}

#[test]
fn no_unsafe_program_is_accepted_whatever_is_pending() {
    for case in cases::all().unwrap_or_else(|error| panic!("{error}")) {
        let Ok(program) = case.program() else { continue };
        let unsafe_one = matches!(case.expect, Expect::Refuse { .. });
        assert!(!unsafe_one || verify(program).is_err(), "{} is ACCEPTED", case.name);
    }
}

#[test]
fn every_class_has_bad_ones_with_a_reference_and_good_ones() {
    let all = cases::all().unwrap_or_else(|error| panic!("{error}"));
    let names: BTreeSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two cases of one name");
    for (file, _) in cases::FILES {
        let of_class = || all.iter().filter(|case| case.name.starts_with(file));
        assert!(of_class().any(|case| case.expect == Expect::Accept), "{file}: no safe twin");
        assert!(of_class().any(|case| case.expect != Expect::Accept), "{file}: no unsafe one");
        for case in of_class().filter(|case| case.expect != Expect::Accept) {
            assert!(!case.bug.is_empty(), "{}: no reference", case.name);
        }
    }
    let count = |wanted: fn(&Expect) -> bool| all.iter().filter(|c| wanted(&c.expect)).count();
    let refused = count(|e| matches!(e, Expect::Refuse { policy: false, .. } | Expect::Malformed));
    let policy = count(|e| matches!(e, Expect::Refuse { policy: true, .. }));
    println!("{} classes, {refused} bad, {policy} policy", cases::FILES.len());
    println!("{} good", count(|e| *e == Expect::Accept));
    assert!(refused >= 87 && policy >= 10 && count(|e| *e == Expect::Accept) >= 31);
}
