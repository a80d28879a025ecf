//! How time and memory of a proof grow with the program.
//!
//! Families of programs of the same shape and growing size, each proven by itself: straight lines,
//! diamonds that feed an accumulator, loops one after the other, and programs made to be slow. Time
//! is the thread's processor time, the shortest of a few proofs, so that a busy machine changes
//! little; memory is the most heap that one of them held.

use std::fmt::Write as _;
use std::time::Duration;

use ebpf::{Kind, Program};

use crate::attacks;
use crate::evidence::EvidenceError;
use crate::objects::{Outcome, proven};
use crate::progress::Progress;
use crate::roundtrip::{Series, plot};

/// A family: what it is called, its programs by size, and the sizes.
struct Family {
    name: &'static str,
    program: fn(usize) -> String,
    sizes: &'static [usize],
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "straight line",
        program: straight,
        sizes: &[62, 250, 1_000, 4_000, 16_000, 32_000],
    },
    Family { name: "diamonds", program: diamonds, sizes: &[16, 64, 256, 1_024, 4_096] },
    Family { name: "loops", program: loops, sizes: &[4, 16, 64, 256, 512] },
    Family { name: "nested loops", program: nested, sizes: &[1, 2, 3, 4, 5, 6] },
    Family { name: "many states", program: states, sizes: &[8, 32, 128, 512, 1_024, 2_000] },
    Family { name: "waiting states", program: waiting, sizes: &[8, 32, 128, 512, 1_024] },
];

/// What must hold: family, size, and the most time.
const TARGETS: [(&str, usize, Duration); 2] = [
    ("straight line", 16_000, Duration::from_millis(20)),
    ("diamonds", 1_024, Duration::from_millis(100)),
];
/// The most memory of a program that the kernel takes, in bytes.
const MEMORY: usize = 8 << 20;

/// What came of one program.
struct Row {
    family: &'static str,
    size: usize,
    instructions: usize,
    verdict: String,
    nanos: u64,
    work: u64,
    bytes: usize,
}

pub(super) fn run() -> Result<(), EvidenceError> {
    let progress = Progress::spinner("proving");
    let mut rows = Vec::new();
    for family in &FAMILIES {
        for &size in family.sizes {
            progress.now(&format!("{} {size}", family.name));
            rows.push(row(family, size)?);
        }
    }
    progress.done("done");
    let missed = missed(&rows);
    let text = report(&rows, &missed);
    println!("{text}");
    let series = |value: fn(&Row) -> u64| drawn(&rows, value);
    let instructions = "instructions of the program";
    let time = plot(
        "Time of a proof",
        (instructions, "microseconds"),
        &series(|row| row.nanos.div_ceil(1_000)),
    );
    attacks::write("growth-time.svg", &time)?;
    let memory = plot(
        "Memory of a proof",
        (instructions, "KiB"),
        &series(|row| row.bytes.div_ceil(1_024) as u64),
    );
    attacks::write("growth-memory.svg", &memory)?;
    println!("{}", attacks::write("growth.md", &text)?.display());
    match missed.len() {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "targets" }),
    }
}

fn row(family: &Family, size: usize) -> Result<Row, EvidenceError> {
    let text = (family.program)(size);
    let program: Program = ebpf::asm::program(Kind::Ash, &text)
        .map_err(|error| std::io::Error::other(format!("{} {size}: {error}", family.name)))?;
    let (verdict, effort) = match proven(&program, &|_| None) {
        Outcome::Accepted { worst_case, effort } => (format!("at most {worst_case} steps"), effort),
        Outcome::Refused { refusal, effort, .. } => (format!("refused: {}", refusal.code), effort),
        Outcome::NotLinked { message } => return Err(std::io::Error::other(message).into()),
    };
    let (instructions, nanos) = (effort.instructions, effort.nanos);
    let (work, bytes) = (effort.work, effort.bytes);
    Ok(Row { family: family.name, size, instructions, verdict, nanos, work, bytes })
}

fn drawn(rows: &[Row], value: fn(&Row) -> u64) -> Vec<Series> {
    let series = |family: &Family| Series {
        name: family.name.to_owned(),
        points: rows
            .iter()
            .filter(|row| row.family == family.name)
            .map(|row| (row.instructions as u32, value(row)))
            .collect(),
    };
    FAMILIES.iter().map(series).collect()
}

/// What is not as it must be.
fn missed(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    for (family, size, most) in TARGETS {
        let row = rows.iter().find(|row| row.family == family && row.size == size);
        let good = row.is_some_and(|row| {
            Duration::from_nanos(row.nanos) <= most && !row.verdict.starts_with("refused")
        });
        if !good {
            missed.push(format!("{family} of {size} within {} ms", most.as_millis()));
        }
    }
    let kernel = |row: &&Row| row.instructions <= ebpf::limits::KERNEL_SLOTS;
    for row in rows.iter().filter(kernel).filter(|row| row.bytes > MEMORY) {
        missed.push(format!("{} of {} in 8 MiB", row.family, row.size));
    }
    missed
}

fn report(rows: &[Row], missed: &[String]) -> String {
    let mut text = String::from("# Growth of the safety proof\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence growth`, commit {}. Time is processor time of one \
         thread, the shortest of a few proofs; work is what fuel counts; memory is the most heap \
         held, the program included. A program of up to {} instructions can be bound in the \
         kernel. Plots: [time](growth-time.svg), [memory](growth-memory.svg).\n",
        attacks::commit(),
        ebpf::limits::KERNEL_SLOTS
    );
    text.push_str(
        "| family | size | instructions | verdict | us | ns an instruction | work | KiB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for Row { family, size, instructions, verdict, nanos, work, bytes } in rows {
        let _ = writeln!(
            text,
            "| {family} | {size} | {instructions} | {verdict} | {:.1} | {:.0} | {work} | {} |",
            *nanos as f64 / 1e3,
            *nanos as f64 / *instructions as f64,
            bytes.div_ceil(1_024)
        );
    }
    text.push_str("\nTargets: ");
    for (family, size, most) in TARGETS {
        let _ = write!(text, "{family} of {size} accepted within {} ms; ", most.as_millis());
    }
    text.push_str("no program of the kernel's limit takes more than 8 MiB. ");
    match missed {
        [] => text.push_str("All met.\n"),
        _ => {
            let _ = writeln!(text, "Missed: {}.", missed.join("; "));
        }
    }
    text
}

/// Arithmetic and accesses to stack and packet, so many in all but the frame around them.
fn straight(size: usize) -> String {
    let mut text = String::from(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, 60\n\
         jgt %r4, %r3, out\n",
    );
    for number in 0..size.saturating_sub(8) {
        let _ = match number % 4 {
            0 => writeln!(text, "ldxb %r5, [%r2+{}]", number % 56),
            1 => writeln!(text, "add %r0, %r5"),
            2 => writeln!(text, "stxdw [%r10-{}], %r0", 8 + number % 64 * 8),
            _ => writeln!(text, "xor %r0, 0x5a5a"),
        };
    }
    text.push_str("out: mov %r0, 2\nexit\n");
    text
}

/// Each diamond adds to a number or does not; in the end it is an offset into the stack.
fn diamonds(size: usize) -> String {
    let mut text = String::from("call helper 7\nmov %r6, 0\n");
    for at in 0..size {
        let _ = writeln!(text, "jset %r0, {}, d{at}\nadd %r6, {at}\nd{at}:", 1u32 << (at % 31));
    }
    text.push_str(
        "and %r6, 7\nmov %r1, %r10\nstdw [%r10-8], 0\nadd %r1, -8\nadd %r1, %r6\n\
         ldxb %r0, [%r1+0]\nmov %r0, 2\nexit\n",
    );
    text
}

/// Loops with a bound that is not a constant.
fn loops(size: usize) -> String {
    let mut text = String::from("call helper 7\nmov %r7, %r0\nmov %r8, 0\n");
    for at in 0..size {
        let _ = writeln!(text, "mov %r6, %r7\nand %r6, {}", at % 15 + 1);
        let _ = writeln!(text, "h{at}: jeq %r6, 0, e{at}\nadd %r8, %r6\nsub %r6, 1\nja h{at}");
        let _ = writeln!(text, "e{at}:");
    }
    text.push_str("mov %r0, 2\nexit\n");
    text
}

/// Loops inside each other, seven rounds each, counters on the stack.
fn nested(size: usize) -> String {
    let mut text = String::from("mov %r8, 0\n");
    for at in 1..=size {
        let _ = writeln!(text, "stdw [%r10-{}], 0\nh{at}:", 8 * at);
    }
    text.push_str("add %r8, 1\n");
    for at in (1..=size).rev() {
        let slot = 8 * at;
        let _ = writeln!(text, "ldxdw %r6, [%r10-{slot}]\nadd %r6, 1\nstxdw [%r10-{slot}], %r6");
        let _ = writeln!(text, "jlt %r6, 7, h{at}");
    }
    text.push_str("mov %r0, 2\nexit\n");
    text
}

/// Every branch goes somewhere else, each with a stack full of values.
fn states(size: usize) -> String {
    let mut text = filled();
    for at in 0..size {
        let _ = writeln!(text, "jeq %r0, {at}, l{at}");
    }
    text.push_str("mov %r0, 2\nexit\n");
    for at in 0..size {
        let _ = writeln!(text, "l{at}: mov %r0, 1\nexit");
    }
    text
}

/// The short sides wait until the long one is done.
fn waiting(size: usize) -> String {
    let mut text = filled();
    for at in 0..size {
        let _ = writeln!(text, "jne %r0, {at}, l{at}\nmov %r0, 1\nexit\nl{at}:");
    }
    text.push_str("mov %r0, 2\nexit\n");
    text
}

fn filled() -> String {
    let mut text = String::new();
    for slot in 1..=64 {
        let _ = writeln!(text, "stdw [%r10-{}], {slot}", slot * 8);
    }
    text.push_str("call helper 5\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, row};

    /// The smallest of each family: they assemble, and all but those made to be slow are proven.
    #[test]
    fn every_family_has_programs() {
        for family in &FAMILIES {
            let size = family.sizes.first().copied().unwrap();
            let row = row(family, size).unwrap();
            assert!(row.verdict.starts_with("at most"), "{}: {}", family.name, row.verdict);
            assert!(row.bytes > 0 && row.work > 0);
        }
    }
}
