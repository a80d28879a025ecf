//! The papers' tables again: what the primitives cost, in guest instructions.
//!
//! Runs the residents that measure (`ipc`, `pager`, `stride`) one after the other on a machine that
//! counts instructions, and puts their reports (`TITLE … name=number …`) into one table. A resident
//! that does not end with 0 is an error, not a gap in the table.

use std::fmt::Write as _;

use abi::record::Record;
use abi::start::State;

use crate::attacks::commit;
use crate::machine::{Machine, MachineError};

/// The residents that measure, in the table's order.
pub const RESIDENTS: [&str; 3] = ["ipc", "pager", "stride"];

/// How a resident ended, and what it reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Exited, faulted or killed.
    pub state: State,
    /// Exit code or vector.
    pub detail: u64,
    /// Its reports, as text, in order.
    pub reports: Vec<String>,
}

/// Starts a resident and waits for its end.
///
/// # Errors
/// As [`Machine::command`] and [`Machine::record`]: nobody of that name, or it does not end.
pub fn run(machine: &Machine, who: &str) -> Result<Ending, MachineError> {
    let mark = machine.journal().mark();
    machine.command(&format!("start {who}"))?;
    let during = format!("waiting for the end of {who}");
    let (state, detail) = machine.record(mark, &during, |record| match record {
        Record::Environment { name, state, detail, .. } if name == who => {
            let over = matches!(state, State::Exited | State::Faulted | State::Killed);
            over.then_some((*state, *detail))
        }
        _ => None,
    })?;
    let reports = machine.journal().collect(mark, |record| match record {
        Record::User { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    Ok(Ending { state, detail, reports })
}

/// The measured figures of a report: what stands before the first `=`'s word, and each pair.
fn figures(report: &str) -> (String, Vec<(&str, &str)>) {
    let words: Vec<&str> = report.split_whitespace().collect();
    let pairs: Vec<(&str, &str)> = words.iter().filter_map(|word| word.split_once('=')).collect();
    let title: Vec<&str> = words.into_iter().take_while(|word| !word.contains('=')).collect();
    (title.join(" "), pairs)
}

/// The table as Markdown.
#[must_use]
pub fn report(reports: &[String], board: &str) -> String {
    let mut text = String::from("# The papers' tables, in guest instructions\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence papers` on {board} with deterministic counting, commit {}. \
         What each name means stands at the head of `examples/src/bin/ipc.rs`, `pager.rs` and \
         `stride.rs` (`stride` reports quanta:work, not instructions). No Linux guest was measured \
         beside it.\n",
        commit()
    );
    text.push_str("| program | what | figure |\n|---|---|---|\n");
    for line in reports {
        let (title, pairs) = figures(line);
        for (name, value) in &pairs {
            let _ = writeln!(text, "| {title} | {name} | {value} |");
        }
        if pairs.is_empty() {
            let _ = writeln!(text, "| {title} | | |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{figures, report};

    #[test]
    fn a_report_is_a_title_and_pairs() {
        let (title, pairs) = figures("pager linear dirty=67 prot1=982");
        assert_eq!(title, "pager linear");
        assert_eq!(pairs, [("dirty", "67"), ("prot1", "982")]);
        let text = report(&["ipc lrpc=322".to_owned(), "60:2.9 40:2".to_owned()], "q35");
        assert!(text.contains("| ipc | lrpc | 322 |"), "{text}");
        assert!(text.contains("| 60:2.9 40:2 | | |"), "{text}");
    }
}
