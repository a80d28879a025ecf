//! Evidence that the verifier is sound, and how much it refuses: campaigns that can be stopped and
//! go on where they were.
//!
//! | file | is |
//! |---|---|
//! | `fuzz` | generated programs against the oracles, in parts; `fuzz_table` prints it |
//! | `targets` | the libFuzzer targets, as a part of the same |
//! | `rbpf` | one of the oracles: the crate of that name |
//! | `refusals` | how many safe programs are refused, here, by the host's kernel and by PREVAIL |
//! | `refusals_table` | prints it |
//! | `judge` | what is safe: samples in the interpreter, with memory here and elsewhere |
//! | `conformance` | the public suite, through `sluice exec` |
//! | `growth` | time and memory of proofs, by the size of programs |
//! | `mutants` | changed verifiers, and whether the tests notice |
//! | `schema` | most of them in one build |
//! | `suite` | its tests, with one change chosen |
//! | `campaign` | seeds, the file a campaign goes on from |
//!
//! Each writes its table to `docs/evidence/`. What it has done is kept in `target/evidence/`
//! by seed and commit; another commit begins anew.

mod campaign;
mod conformance;
mod fuzz;
mod fuzz_table;
mod growth;
mod judge;
mod mutants;
mod rbpf;
mod refusals;
mod refusals_table;
mod schema;
mod suite;
mod targets;

use crate::evidence::EvidenceError;

pub use campaign::Extent;

/// What can be measured without a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// Generated programs against the oracles.
    Fuzz,
    /// Refusals of safe programs.
    Refusals,
    /// Changed verifiers.
    Mutants,
    /// The public conformance suite.
    Conformance,
    /// Time and memory of proofs.
    Growth,
}

/// Runs a campaign as far as `extent` says and writes its table.
///
/// # Errors
/// [`EvidenceError::Failed`] if something was seen that must not be; the others say what is
/// missing.
pub fn run(campaign: Campaign, extent: &Extent) -> Result<(), EvidenceError> {
    match campaign {
        Campaign::Fuzz => fuzz::run(extent),
        Campaign::Refusals => refusals::run(extent),
        Campaign::Mutants => mutants::run(extent),
        Campaign::Conformance => conformance::run(extent),
        Campaign::Growth => growth::run(),
    }
}
