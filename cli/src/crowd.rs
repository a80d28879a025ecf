//! What finding a packet's owner costs in the kernel, by the number of filters.
//!
//! `crowd` binds filters of the very kind that the echo's is, one UDP port each, so that all of
//! them are in the table that the echo's packets are looked up in. The kernel counts its own
//! instructions, stage by stage, with the clock made of instructions.

use std::fmt::Write as _;
use std::time::Duration;

use abi::record::Record;

use crate::attacks::commit;
use crate::build::Image;
use crate::demo;
use crate::limits;
use crate::machine::{Machine, MachineError, Options};

/// How many filters the crowd has after each of these commands.
const STEPS: [(u32, &str); 4] = [
    (10, "start crowd-10"),
    (100, "start crowd-90"),
    (1_000, "start crowd 4"),
    (10_000, "start crowd 40"),
];
/// Each filter is a proof.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Memory for 46 library OSes with room for a proof each, in MiB.
const MEMORY_MIB: u32 = 1536;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Filters bound in all.
    pub filters: usize,
    /// Instructions of each stage, medians: driver, classification, handler, reply.
    pub stages: [u64; 4],
}

/// Boots, and binds ever more.
///
/// # Errors
/// [`MachineError`].
pub fn run(
    image: &Image,
    options: &Options,
    progress: impl Fn(&str),
) -> Result<Vec<Row>, MachineError> {
    let options = Options { memory_mib: MEMORY_MIB, ..demo::counting_options(options, "warn") };
    let machine = Machine::boot(image, &options)?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    let mut rows = vec![row(&machine)?];
    let before = bound(&machine);
    for (count, command) in STEPS {
        machine.command(command)?;
        let wanted = before + count as usize;
        machine.wait(&format!("waiting for {wanted} filters"), PATIENCE, || {
            let bound = bound(&machine);
            progress(&format!("{bound} of {wanted} filters"));
            (bound >= wanted).then_some(())
        })?;
        rows.push(row(&machine)?);
    }
    machine.halt(0)?;
    Ok(rows)
}

fn row(machine: &Machine) -> Result<Row, MachineError> {
    let stages = demo::stages(machine)?;
    Ok(Row { filters: bound(machine), stages })
}

/// Filters that are bound, as the journal has it.
fn bound(machine: &Machine) -> usize {
    let count = |of: fn(&Record) -> bool| {
        machine.journal().collect(0, |record| of(record).then_some(())).len()
    };
    let made = count(|record| matches!(record, Record::Bound { .. }));
    made - count(|record| matches!(record, Record::Unbound { .. })).min(made)
}

/// Whether classification costs the same in every row.
#[must_use]
pub fn is_flat(rows: &[Row]) -> bool {
    let classify = rows.iter().map(|row| row.stages[1]);
    match (classify.clone().min(), classify.max()) {
        (Some(least), Some(most)) => most * 1000 <= least * limits::FLAT_PER_MILLE,
        _ => false,
    }
}

/// The document.
#[must_use]
pub fn report(rows: &[Row], board: &str) -> String {
    let mut text = String::from("# Guest instructions per classification, by filters\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence classify` on {board}, commit {}: echoes answered by an ASH \
         among ever more filters of the same kind (one UDP port of our address each), all in one \
         table; {} echoes a row, medians. The machine's clock is its instructions, and the kernel \
         reads it at the end of each stage. Classification is length, fragment, merged dispatcher \
         and verdict; the first row is the machine as the demo boots it.\n",
        commit(),
        limits::COUNTED_REQUESTS
    );
    text.push_str("| filters | classify | driver | ASH, charge and guard | reply | together |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for Row { filters, stages: [driver, classify, handler, reply] } in rows {
        let all = driver + classify + handler + reply;
        let cells = format!("{filters} | {classify} | {driver} | {handler} | {reply} | {all}");
        let _ = writeln!(text, "| {cells} |");
    }
    let verdict = if is_flat(rows) { "met" } else { "**missed**" };
    let _ = writeln!(text, "\nTarget, flat: {verdict}.");
    text
}

#[cfg(test)]
mod tests {
    use super::{Row, is_flat, report};

    #[test]
    fn flat_is_judged_by_classification_alone() {
        let row = |filters, classify| Row { filters, stages: [filters as u64, classify, 1, 1] };
        assert!(is_flat(&[row(4, 100), row(10_004, 104)]));
        assert!(!is_flat(&[row(4, 100), row(10_004, 120)]));
        assert!(!is_flat(&[]));
        assert!(report(&[row(4, 100), row(14, 200)], "q35").contains("**missed**"));
    }
}
