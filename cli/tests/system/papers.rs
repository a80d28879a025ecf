//! The papers' table and the Linux guest beside it: both sides measured, no gap, and what must hold
//! with room to spare.

use abi::start::State;
use sluice::build::BuildError;
use sluice::demo;
use sluice::linux::{self, Peer, Task};
use sluice::machine::{Machine, Options};
use sluice::papers::{self, Figures, Outcome};
use sluice::roundtrip;

use super::boots::{image, turn};

/// The Linux guest; without one the test is skipped by name.
fn peer(test: &str) -> Option<Peer> {
    match linux::peer() {
        Ok(peer) => Some(peer),
        Err(missing @ BuildError::Missing { .. }) => {
            println!("SKIPPED {test}: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn linux_answers_by_the_same_handler_in_its_driver() {
    let Some(peer) = peer("linux_answers_by_the_same_handler_in_its_driver") else { return };
    let _turn = turn();
    let machine = peer.serving(Task::Xdp(1), &Options::default()).unwrap();
    // Answers are checked bit by bit, checksums included.
    roundtrip::storm(&machine, 7, 4, 64).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_papers_table_has_no_gap_beside_linux() {
    let Some(peer) = peer("the_papers_table_has_no_gap_beside_linux") else { return };
    let _turn = turn();
    let options = demo::counting_options(&Options::default(), "info");
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    demo::wait_bound(&machine, &image().manifest).unwrap();
    let mut reports = Vec::new();
    for who in ["ipc", "pager"] {
        let ending = papers::run(&machine, who).unwrap();
        assert_eq!((ending.state, ending.detail), (State::Exited, 0), "{}", machine.serial());
        reports.extend(ending.reports);
    }
    drop(machine);
    let figures = peer.papers(&options).unwrap();
    let text = papers::report(&reports, &figures, "In a test.");
    println!("{text}");
    let rows = papers::judge(&Figures::read(&reports), &Figures::read(&figures));
    for row in &rows {
        assert_ne!(row.outcome, Outcome::Open, "{}\n{text}", row.row.what);
        assert!(row.linux.is_some(), "{}\n{text}", row.row.what);
    }
    // What has room to spare; the whole table is `docs/evidence/papers.md`.
    for what in ["exception", "protected transfer", "lrpc", "trap", "appel", "prot1", "matrix"] {
        let found: Vec<_> = rows.iter().filter(|it| it.row.what.starts_with(what)).collect();
        assert!(!found.is_empty(), "{what}");
        // `prot100` begins like `prot1`.
        let held = found.iter().filter(|it| !it.row.what.starts_with("prot100"));
        held.for_each(|it| assert_eq!(it.outcome, Outcome::Met, "{}\n{text}", it.row.what));
    }
}
