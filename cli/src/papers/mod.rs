//! The papers' tables again: what the primitives cost, in guest instructions, beside Linux.
//!
//! The residents that measure (`ipc`, `pager`, `stride`) run one after the other on a machine that
//! counts instructions, then a Linux guest measures the same on the same machine. Both report lines
//! of `TITLE … name=number …` ([`Figures`]); [`rows`] says which belong together and what is
//! demanded, [`table`] puts them side by side. A resident that does not end with 0 is an error, not
//! a gap in the table.

mod rows;
mod table;

use abi::record::Record;
use abi::start::State;

use crate::machine::{Machine, MachineError};

pub use rows::{ROWS, Row, Target};
pub use table::{Figures, Judged, Outcome, judge, report};

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
