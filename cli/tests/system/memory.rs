//! Memory and upcalls: a pager in ring 3, attacks on both, and what a fault costs.

use abi::start::State;
use sluice::demo;
use sluice::machine::{Board, Machine, Options};
use sluice::papers;

use super::boots::{image, ready, turn};

/// Starts a program and waits for its end: state, detail, and the lines that it reported.
fn run(machine: &Machine, who: &str) -> (State, u64, Vec<String>) {
    let ending = papers::run(machine, who).unwrap_or_else(|error| panic!("{who}: {error}"));
    (ending.state, ending.detail, ending.reports)
}

/// A number out of `name=number` in the reports whose line begins so.
fn number(reports: &[String], line: &str, name: &str) -> u64 {
    let found = reports.iter().filter(|text| text.starts_with(line)).find_map(|text| {
        let words = text.split_whitespace().filter_map(|word| word.split_once('='));
        words.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
    });
    found.unwrap_or_else(|| panic!("no {name} in {line}: {reports:#?}"))
}

/// Kernel instructions from a page fault to the handler, the fault itself included.
const FAULT_MAX: u64 = 40;

#[test]
fn a_library_os_pages_its_own_memory_and_attacks_on_memory_are_stopped() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let options = demo::counting_options(&options, "info");
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    let before = machine.books().unwrap();

    let (state, code, reports) = run(&machine, "pager");
    assert_eq!((state, code), (State::Exited, 0), "{}", machine.serial());
    println!("{}", reports.join("\n"));
    let cost = number(&reports, "pager fault", "to_handler");
    assert!((20..=FAULT_MAX).contains(&cost), "{cost} instructions from fault to handler");
    for table in ["pager linear", "pager hashed"] {
        assert_eq!(number(&reports, table, "zero_fills"), 100);
        // A hundred evicted pages and the twin.
        assert_eq!(number(&reports, table, "misses"), 101);
        let prot1 = number(&reports, table, "prot1");
        assert!(number(&reports, table, "prot100") < 100 * prot1, "{reports:#?}");
        assert!(number(&reports, table, "dirty") < prot1, "{reports:#?}");
    }

    let (state, escaped, reports) = run(&machine, "mem-attacks");
    assert_eq!((state, escaped), (State::Exited, 0), "{reports:?}\n{}", machine.serial());
    println!("{}", reports.join("\n"));

    let (state, vector, _) = run(&machine, "mem-nested");
    assert_eq!((state, vector), (State::Faulted, 14));

    assert_eq!(machine.audit().unwrap(), None);
    let after = machine.books().unwrap();
    // Somebody's proof may have been under way before; nothing is lost since.
    assert!(after.frames.free >= before.frames.free, "{before:?}\n{after:?}");
    assert_eq!(after.environments, before.environments);
}

#[test]
fn attacks_on_memory_are_stopped_on_q35() {
    let _turn = turn();
    let machine = ready(Board::Q35, "log=info");
    for who in ["mem-attacks", "pager"] {
        let (state, code, reports) = run(&machine, who);
        assert_eq!((state, code), (State::Exited, 0), "{reports:?}\n{}", machine.serial());
    }
    let (state, vector, _) = run(&machine, "mem-nested");
    assert_eq!((state, vector), (State::Faulted, 14));
    assert_eq!(machine.audit().unwrap(), None);
}
