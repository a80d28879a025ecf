//! `sluice evidence NAME`: one measurement behind one claim, printed as a table.

use crate::build::{self, BuildError};
use crate::demo;
use crate::machine::{Machine, MachineError, Options};
use crate::progress::Progress;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Guest instructions for an echo by the ASH and by the library OS, with 1, 4 and 16 runnable.
    Instructions,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// There is nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine did not do its part.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// Measures and prints.
///
/// # Errors
/// [`EvidenceError`].
pub fn run(name: Name, machine: &Options, log: &str) -> Result<(), EvidenceError> {
    let image = build::image()?;
    match name {
        Name::Instructions => {
            let progress = Progress::spinner("counting instructions");
            let machine = Machine::boot(&image, &demo::counting_options(machine, log))?;
            machine.wait_ready()?;
            let rows = demo::table(&machine, &image.manifest, |row| progress.now(row))?;
            progress.done("done");
            for line in demo::print(&rows) {
                println!("{line}");
            }
            machine.halt(0)?;
        }
    }
    Ok(())
}
