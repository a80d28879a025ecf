//! The hostile library OS: some attacks of each family; little memory; a reservation that fails.

use sluice::machine::{Board, Options};
use sluice::{attacks, starvation};

use super::boots::{image, ready, turn};

/// Attacks that the quick selection has at least.
const QUICK_MIN: usize = 100;

#[test]
fn hostile_library_oses_are_stopped_and_nobody_else_notices() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    let verdicts = attacks::run(&machine, "attacks-quick", |verdict| {
        if !verdict.passed {
            println!("{} ({}): {}", verdict.name, verdict.family, verdict.outcome);
        }
    });
    let verdicts = verdicts.unwrap_or_else(|error| panic!("{error}"));
    assert!(verdicts.len() >= QUICK_MIN, "{} attacks", verdicts.len());
    let failed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_starved_boot_is_ready_or_says_what_is_missing() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let rows = starvation::sizes(image(), &options, [8, 16, 64], |mib, outcome| {
        println!("{mib} MiB: {outcome}");
    });
    for (mib, outcome) in rows.unwrap_or_else(|error| panic!("{error}")) {
        assert!(outcome.is_fine(), "{mib} MiB: {outcome}");
    }
    let rows = starvation::reservations(image(), &options, [1, 40, 700], |number, outcome| {
        println!("reservation {number}: {outcome}");
    });
    for (number, outcome) in rows.unwrap_or_else(|error| panic!("{error}")) {
        assert!(outcome.is_fine(), "reservation {number}: {outcome}");
    }
}
