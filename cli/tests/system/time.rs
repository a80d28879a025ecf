//! Processor time and protected control transfer: shares, costs in instructions, attacks.
//!
//! The machine counts instructions, so that what a transfer costs is the same in every run.

use std::collections::BTreeMap;

use abi::start::State;
use sluice::demo;
use sluice::machine::{Board, Machine, Options};
use sluice::papers;

use super::boots::{image, turn};

/// Starts a program, waits until it exits with 0, and gives what it reported.
fn report_of(machine: &Machine, name: &str) -> String {
    let ending = papers::run(machine, name);
    let ending = ending.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    let end = (ending.state, ending.detail);
    assert_eq!(end, (State::Exited, 0), "{name}: {}", machine.serial());
    assert_eq!(machine.audit().unwrap(), None, "{name}");
    ending.reports.last().cloned().unwrap_or_default()
}

#[test]
fn time_is_shared_transferred_and_defended() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let options = demo::counting_options(&options, "info");
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();

    let shares = report_of(&machine, "stride");
    let shares: Vec<(f64, f64)> = shares
        .split_whitespace()
        .filter_map(|word| word.split_once(':'))
        .map(|(quanta, done)| (quanta.parse().unwrap(), done.parse().unwrap()))
        .collect();
    let [(three, most), (two, more), (one, least)] = shares[..] else { panic!("{shares:?}") };
    assert_eq!((three, two), (3.0 * one, 2.0 * one));
    // Work, not only quanta: within a tenth.
    assert!((2.7..3.3).contains(&(most / least)), "{shares:?}");
    assert!((1.8..2.2).contains(&(more / least)), "{shares:?}");

    let costs = report_of(&machine, "ipc");
    println!("{costs}");
    let costs: BTreeMap<&str, u64> = costs
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();
    // Ring 3's part of the shortest transfer is ten instructions of the two ways together.
    assert!((40..=80).contains(&costs["transfer"]), "{costs:?}");
    // There and back, with both sides' registers saved and the procedure looked up.
    assert!(costs["lrpc"] < 500, "{costs:?}");
    assert!(costs["shm"] > 0 && costs["pipe"] > 0, "{costs:?}");

    assert!(report_of(&machine, "time-attacks").starts_with("time-attacks "));
}
