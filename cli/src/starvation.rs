//! Boots with little memory, and boots in which a reservation fails.
//!
//! Each ends in one of two ways: `init` is ready (whoever did not fit is named), or the kernel says
//! by name what is missing and stops the machine with an exit code that is not zero. A machine that
//! does neither in time hangs, and that is a failure.

use std::fmt::Write;
use std::time::Duration;

use crate::attacks::commit;
use crate::build::Image;
use crate::limits;
use crate::machine::{Machine, MachineError, Options, READY, guest_code};

/// A boot that is neither ready nor over by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `init` is ready; who was not started, in its words.
    Ready {
        /// The lines about those who were not started.
        missing: Vec<String>,
    },
    /// The machine stopped with that code, for that reason.
    Stopped {
        /// The exit code that the kernel gave.
        code: Option<u8>,
        /// The last line that the kernel said.
        reason: String,
    },
    /// It was not tried: kernel and initrd do not fit beside each other.
    TooSmall {
        /// Bytes that both take, from address zero on.
        bytes: u64,
    },
    /// Neither.
    Hung,
}

impl Outcome {
    /// Whether that is a way in which a boot may end.
    pub fn is_fine(&self) -> bool {
        match self {
            Outcome::Ready { .. } | Outcome::TooSmall { .. } => true,
            Outcome::Stopped { code, reason } => {
                code.is_some_and(|code| code != 0) && !reason.is_empty()
            }
            Outcome::Hung => false,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Ready { missing } if missing.is_empty() => f.write_str("ready, everybody"),
            Outcome::Ready { missing } => write!(f, "ready; {}", missing.join("; ")),
            Outcome::Stopped { code: Some(code), reason } => write!(f, "exit {code:#x}: {reason}"),
            Outcome::Stopped { code: None, reason } => write!(f, "QEMU gave up: {reason}"),
            Outcome::TooSmall { bytes } => {
                write!(f, "not booted: kernel and initrd take {} KiB", bytes.div_ceil(1024))
            }
            Outcome::Hung => f.write_str("HUNG"),
        }
    }
}

/// One boot: how it ended, and what the serial line said.
///
/// # Errors
/// What keeps QEMU from starting at all.
pub fn boot(image: &Image, options: &Options) -> Result<(Outcome, String), MachineError> {
    let bytes = loaded_bytes(image);
    if bytes > u64::from(options.memory_mib) << 20 {
        // The emulator puts the one over the other, and what then runs is neither.
        return Ok((Outcome::TooSmall { bytes }, String::new()));
    }
    let machine = Machine::boot(image, options)?;
    let ready =
        machine.wait("a starved boot", PATIENCE, || machine.serial().contains(READY).then_some(()));
    let outcome = match ready {
        Ok(()) => settled(&machine),
        Err(MachineError::Died { status, .. }) => {
            Outcome::Stopped { code: guest_code(status), reason: last_words(&machine.serial()) }
        }
        Err(MachineError::Hung { .. }) => Outcome::Hung,
        Err(other) => return Err(other),
    };
    Ok((outcome, machine.serial()))
}

/// Where the kernel ends in memory, and the initrd behind it; zero for what cannot be read.
fn loaded_bytes(image: &Image) -> u64 {
    use object::{Object, ObjectSegment};
    // The kernel is linked at its physical address in the last 2 GiB.
    const LINKED_AT: u64 = 0xffff_ffff_8000_0000;
    let bytes = std::fs::read(&image.kernel).unwrap_or_default();
    let end = object::File::parse(bytes.as_slice()).map_or(0, |file| {
        file.segments().map(|it| it.address() + it.size()).max().unwrap_or_default()
    });
    let initrd = std::fs::metadata(&image.initrd).map_or(0, |it| it.len());
    end.saturating_sub(LINKED_AT) + initrd.next_multiple_of(4096)
}

/// A machine that is ready must stay: what was started may still end it.
fn settled(machine: &Machine) -> Outcome {
    let after = machine.wait_end(limits::SILENCE);
    let serial = machine.serial();
    match after {
        Ok(status) => Outcome::Stopped { code: guest_code(status), reason: last_words(&serial) },
        Err(_) => Outcome::Ready { missing: missing(&serial) },
    }
}

fn missing(serial: &str) -> Vec<String> {
    let about = |line: &&str| line.contains("not started") || line.contains("no control channel");
    serial.lines().filter(about).map(|line| clean(line).to_owned()).collect()
}

fn last_words(serial: &str) -> String {
    let panic = serial.lines().map(clean).find(|line| line.starts_with("kernel panic"));
    let said = serial.lines().rev().map(clean).find(|line| !line.is_empty());
    panic.or(said).unwrap_or_default().to_owned()
}

fn clean(line: &str) -> &str {
    line.trim()
}

/// Boots with so many MiB, size by size.
///
/// # Errors
/// As [`boot`].
pub fn sizes(
    image: &Image,
    options: &Options,
    sizes: impl IntoIterator<Item = u32>,
    mut each: impl FnMut(u32, &Outcome),
) -> Result<Vec<(u64, Outcome)>, MachineError> {
    let mut rows = Vec::new();
    for memory_mib in sizes {
        let options = Options { memory_mib, ..fresh(options) };
        let (outcome, _) = boot(image, &options)?;
        each(memory_mib, &outcome);
        rows.push((u64::from(memory_mib), outcome));
    }
    Ok(rows)
}

/// Boots in which the n-th reservation fails, for each n given, until one is left untouched.
///
/// # Errors
/// As [`boot`].
pub fn reservations(
    image: &Image,
    options: &Options,
    numbers: impl IntoIterator<Item = u64>,
    mut each: impl FnMut(u64, &Outcome),
) -> Result<Vec<(u64, Outcome)>, MachineError> {
    let mut rows = Vec::new();
    for number in numbers {
        let words = format!("{} fail_reservation={number}", options.words);
        let options = Options { words, ..fresh(options) };
        let (outcome, serial) = boot(image, &options)?;
        each(number, &outcome);
        rows.push((number, outcome));
        if !serial.contains("fails as asked") {
            break;
        }
    }
    Ok(rows)
}

/// One to `dense`, then in steps of one part in `part`.
pub fn numbers(dense: u64, part: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1u64), move |&n| {
        let step = if n < dense { 1 } else { (n / part.max(1)).max(1) };
        n.checked_add(step)
    })
}

/// The same options for another run, with log files of its own.
fn fresh(options: &Options) -> Options {
    Options { run: Options::default().run, ..options.clone() }
}

/// The report.
pub fn report(title: &str, command: &str, rows: &[(u64, Outcome)]) -> String {
    let fine = rows.iter().filter(|(_, outcome)| outcome.is_fine()).count();
    let ready = |outcome: &Outcome| matches!(outcome, Outcome::Ready { .. });
    let least = rows.iter().find(|(_, outcome)| ready(outcome)).map(|(number, _)| *number);
    let full = rows
        .iter()
        .find(|(_, outcome)| matches!(outcome, Outcome::Ready { missing } if missing.is_empty()));
    let mut text = format!("# {title}\n\nMade by `{command}`, commit {}.\n", commit());
    // Writing to a string never fails.
    let _ = writeln!(text, "{} boots, {fine} ended as they may. ", rows.len());
    let name = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
    let full = name(full.map(|(number, _)| *number));
    let _ = writeln!(text, "First that is ready: {}; first with everybody: {full}.\n", name(least));
    text.push_str("| | outcome |\n|---|---|\n");
    for (number, outcome) in rows {
        let _ = writeln!(text, "| {number} | {} |", outcome.to_string().replace('|', "/"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Outcome, missing, numbers};

    #[test]
    fn only_a_named_end_is_fine() {
        let stopped = |code, reason: &str| Outcome::Stopped { code, reason: reason.to_owned() };
        assert!(stopped(Some(0x7e), "init: NoMemory").is_fine());
        assert!(!stopped(Some(0), "bye").is_fine());
        assert!(!stopped(Some(0x7e), "").is_fine());
        assert!(!stopped(None, "killed").is_fine());
        assert!(!Outcome::Hung.is_fine());
    }

    #[test]
    fn who_is_missing_is_read_from_the_log() {
        let serial = "init: ready\ninit: echo not started: NoMemory\ninit: started talk\n";
        assert_eq!(missing(serial), ["init: echo not started: NoMemory"]);
    }

    #[test]
    fn numbers_are_dense_first() {
        assert_eq!(numbers(4, 2).take(7).collect::<Vec<_>>(), [1, 2, 3, 4, 6, 9, 13]);
    }
}
