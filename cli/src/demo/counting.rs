//! Guest instructions for an echo: by the ASH, and through the library OS.
//!
//! The machine counts instructions: its clock is its work, so the kernel's "cycles from the receive
//! interrupt to the transmit kick" are guest instructions, other environments' slices included.
//! With 1, 4 and 16 environments that loop beside it, a library OS waits for its turn; an ASH does
//! not.

use std::io::Write;

use abi::record::Record;
use abi::start::Manifest;

use super::wait_bound;
use crate::build::cast::{ECHO_PORT, TALK_PORT};
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::report::Report;
use crate::wire::frames;

/// A source port of ours.
const OURS: u16 = 40_007;

/// Requests through the library OS between a new neighbour's start and the measurement.
const SETTLING: u32 = 4;

/// One row of the table: medians over [`limits::COUNTED_REQUESTS`] requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Environments that were runnable beside it at least: the fewest that the kernel counted
    /// (`init` or a server may have been on their way to sleep as well).
    pub runnable: u32,
    /// Instructions until the ASH's answer was on its way.
    pub ash: u64,
    /// Instructions until the library OS's answer was on its way.
    pub library: u64,
    /// Samples of either kind; the fewer.
    pub samples: usize,
}

/// Measures on a machine that counts. `progress` is told each row.
///
/// # Errors
/// As [`Machine::command`] and [`Machine::exchange`]: nobody to start, or no answer.
pub fn table(
    machine: &Machine,
    manifest: &Manifest,
    progress: impl Fn(&str),
) -> Result<Vec<Row>, MachineError> {
    table_of(machine, manifest, &limits::RUNNABLE, progress)
}

/// The same with rows of one's own: so many runnable, ever more.
///
/// # Errors
/// As [`table`].
pub fn table_of(
    machine: &Machine,
    manifest: &Manifest,
    runnable: &[u32],
    progress: impl Fn(&str),
) -> Result<Vec<Row>, MachineError> {
    wait_bound(machine, manifest)?;
    let mut rows = Vec::new();
    let mut running = 0;
    for &wanted in runnable {
        progress(&format!("{wanted} runnable"));
        machine.command(&format!("start spin {}", wanted - running))?;
        running = wanted;
        // Requests through ring 3 take a turn of everybody each: init comes to rest meanwhile.
        for number in 0..SETTLING {
            echo(machine, TALK_PORT, number)?;
        }
        let ash = samples(machine, ECHO_PORT, true)?;
        let library = samples(machine, TALK_PORT, false)?;
        rows.push(row(wanted, ash, library));
    }
    Ok(rows)
}

/// What each stage of an echo by the ASH costs, medians: driver, classification, handler, reply.
///
/// # Errors
/// As [`table`].
pub fn stages(machine: &Machine) -> Result<[u64; 4], MachineError> {
    let mark = machine.journal().mark();
    for number in 0..limits::COUNTED_REQUESTS as u32 {
        echo(machine, ECHO_PORT, number)?;
    }
    let during = "waiting for the kernel's figures by stage";
    let all: Vec<[u64; 4]> = machine.wait(during, limits::RECORD, || {
        let all = machine.journal().collect(mark, |record| match record {
            Record::Stages { cycles, .. } => Some(*cycles),
            _ => None,
        });
        (all.len() >= limits::COUNTED_REQUESTS).then_some(all)
    })?;
    Ok(std::array::from_fn(|stage| {
        median(all.iter().map(|cycles| cycles[stage]).collect()).unwrap_or(0)
    }))
}

/// The stages as lines of text.
pub fn print_stages(stages: &[u64; 4]) -> Vec<String> {
    let names = ["driver", "classify", "ASH", "reply"];
    let line = |(name, cycles)| format!("{name:>8} {cycles:>14}");
    let mut lines: Vec<String> = names.into_iter().zip(stages).map(line).collect();
    lines.push(format!("{:>8} {:>14}", "together", stages.iter().sum::<u64>()));
    lines
}

fn row(wanted: u32, ash: Vec<(u64, u32)>, library: Vec<(u64, u32)>) -> Row {
    let samples = ash.len().min(library.len());
    let (ash, ash_counts): (Vec<u64>, Vec<u32>) = ash.into_iter().unzip();
    // The library OS is itself runnable when it answers, so only the ASH's samples tell how many
    // there were beside it.
    let library = library.into_iter().map(|(cycles, _)| cycles).collect();
    let runnable = ash_counts.into_iter().min().map_or(0, |fewest| fewest.min(wanted));
    let (ash, library) = (median(ash).unwrap_or(0), median(library).unwrap_or(0));
    Row { runnable, ash, library, samples }
}

fn median<T: Ord + Copy>(mut samples: Vec<T>) -> Option<T> {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied()
}

/// Asks one request after the other; (cycles, runnable) of each.
fn samples(machine: &Machine, port: u16, by_ash: bool) -> Result<Vec<(u64, u32)>, MachineError> {
    // The first request warms up: translations in QEMU, neighbours and caches in the guest.
    echo(machine, port, u32::MAX)?;
    let mark = machine.journal().mark();
    for number in 0..limits::COUNTED_REQUESTS as u32 {
        echo(machine, port, number)?;
    }
    let collect = || {
        machine.journal().collect(mark, |record| match record {
            Record::Latency { in_kernel, cycles, runnable, .. } if *in_kernel == by_ash => {
                Some((*cycles, *runnable))
            }
            _ => None,
        })
    };
    let during = format!("waiting for the kernel's figures for port {port}");
    machine.wait(&during, limits::RECORD, || {
        let samples = collect();
        (samples.len() >= limits::COUNTED_REQUESTS).then_some(samples)
    })
}

fn echo(machine: &Machine, port: u16, number: u32) -> Result<(), MachineError> {
    let text = format!("count {number:>10}");
    let request = frames::udp(OURS, port, text.as_bytes());
    let during = format!("waiting for an echo from port {port}");
    machine.exchange(&during, &request, limits::CONTROL, |f| {
        frames::is_echo(f, OURS, port, text.as_bytes())
    })
}

/// `max / min` of the ASH's figures, in thousandths; zero without figures.
pub fn spread_per_mille(rows: &[Row]) -> u64 {
    let figures = rows.iter().map(|row| row.ash);
    match (figures.clone().min(), figures.max()) {
        (Some(min), Some(max)) if min > 0 => max * 1000 / min,
        _ => 0,
    }
}

/// The table as lines of text.
pub fn print(rows: &[Row]) -> Vec<String> {
    let mut lines =
        vec![format!("{:>8} {:>14} {:>18}", "runnable", "by the ASH", "by the library OS")];
    for row in rows {
        lines.push(format!("{:>8} {:>14} {:>18}", row.runnable, row.ash, row.library));
    }
    lines
}

/// The table in the report.
pub(super) fn show<W: Write>(report: &mut Report<W>, rows: &[Row]) {
    report.part("Guest instructions for one UDP echo (from receive interrupt to transmit kick)");
    for line in print(rows) {
        report.line(line);
    }
    let complete = rows.len() == limits::RUNNABLE.len() && rows.iter().all(|row| row.samples > 0);
    report.expect("every row of the table is measured", complete, "");
    let spread = spread_per_mille(rows);
    report.expect(
        "the ASH's figure does not depend on who else is runnable",
        spread > 0 && spread <= limits::FLAT_PER_MILLE,
        format!("max/min {}.{:03}", spread / 1000, spread % 1000),
    );
    let cheaper = rows.iter().all(|row| row.ash < row.library);
    report.expect("the ASH is cheaper than the library OS", cheaper, "");
}

#[cfg(test)]
mod tests {
    use super::{Row, median, spread_per_mille};

    #[test]
    fn the_spread_is_of_the_ash_alone() {
        let row = |ash, library| Row { runnable: 1, ash, library, samples: 1 };
        assert_eq!(spread_per_mille(&[row(1000, 1), row(1040, 900_000)]), 1040);
        assert_eq!(spread_per_mille(&[row(0, 1)]), 0);
        assert_eq!(spread_per_mille(&[]), 0);
    }

    #[test]
    fn the_median_ignores_one_outlier() {
        assert_eq!(median(vec![900_000, 10, 11]), Some(11));
        assert_eq!(median(Vec::<u64>::new()), None);
    }
}
