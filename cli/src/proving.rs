//! What a proof does to others: the longest time that a packet waits while programs are proven.
//!
//! `prover` asks for proofs of programs as long as programs may be, made so that a proof has much
//! to do. Meanwhile the host pings. Inside the kernel interrupts are off, so a ping waits at worst
//! for the longest stretch in which the kernel does not look at the card, and then takes what it
//! always takes. The kernel measures both, with the clock made of instructions, and what the steps
//! of each stage took: the stretch may be no longer than the longest step, and what the kernel does
//! between two of them.

use std::fmt::Write as _;
use std::time::Duration;

use abi::record::{PROOF_STAGES, Record};
use abi::start::State;

use crate::attacks::commit;
use crate::build::Image;
use crate::demo;
use crate::limits;
use crate::machine::{Machine, MachineError, Options};
use crate::wire::frames;

const PROVER: &str = "prover";
/// Pings before the first proof.
const QUIET: u16 = 200;
/// Pings have this identifier.
const IDENTIFIER: u16 = 0x5107;
/// All proofs together.
const PATIENCE: Duration = Duration::from_secs(900);
/// Instructions of a step at most, whatever the stage.
pub const STEP: u64 = 100_000;
/// Instructions that the kernel may take from a step to a look at the card: whose turn it is.
pub const BETWEEN: u64 = 5_000;

/// Steps of each stage, and instructions of the longest of each.
type Stages = [(u32, u64); PROOF_STAGES.len()];

/// All proofs of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What kind of program.
    pub name: String,
    /// Steps of a proof, at most.
    pub steps: u32,
    /// Steps of each stage at most, and instructions of the longest of each.
    pub stages: Stages,
    /// Instructions of the longest stretch without a look at the card, from call to answer.
    pub longest: u64,
}

impl Row {
    /// Instructions of the longest step.
    fn step(&self) -> u64 {
        self.stages.iter().map(|&(_, longest)| longest).max().unwrap_or(0)
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By program.
    pub rows: Vec<Row>,
    /// Instructions of a ping from receive interrupt to transmit kick at most, quiet and while
    /// proofs went on.
    pub pings: (u64, u64),
    /// Pings answered while proofs went on.
    pub answered: usize,
}

/// Boots, pings, lets `prover` run and pings on.
///
/// # Errors
/// [`MachineError`].
pub fn run(
    image: &Image,
    options: &Options,
    progress: impl Fn(&str),
) -> Result<Outcome, MachineError> {
    let machine = Machine::boot(image, &demo::counting_options(options, "warn"))?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    progress("pings");
    let quiet = machine.journal().mark();
    (0..QUIET).try_for_each(|number| ping(&machine, number))?;
    let mark = machine.journal().mark();
    machine.command(&format!("start {PROVER}"))?;
    let mut number = QUIET;
    let begun = std::time::Instant::now();
    while !is_over(&machine, mark) && begun.elapsed() < PATIENCE {
        ping(&machine, number)?;
        number = number.wrapping_add(1);
        progress(&format!("{} proofs", proofs(&machine, mark).len()));
    }
    let all = pings(&machine, quiet);
    let during = pings(&machine, mark);
    let before = all.get(..all.len() - during.len()).unwrap_or_default();
    let most = |pings: &[u64]| pings.iter().copied().max().unwrap_or(0);
    let outcome = Outcome {
        rows: rows(proofs(&machine, mark)),
        pings: (most(before), most(&during)),
        answered: during.len(),
    };
    machine.halt(0)?;
    Ok(outcome)
}

fn ping(machine: &Machine, number: u16) -> Result<(), MachineError> {
    let request = frames::ping(IDENTIFIER, number, b"while proving");
    machine.exchange("waiting for a pong", &request, limits::CONTROL, |frame| {
        frames::is_pong(frame, IDENTIFIER, number, b"while proving")
    })
}

fn is_over(machine: &Machine, mark: usize) -> bool {
    let ended = machine.journal().find(mark, |record| match record {
        Record::Environment { name, state, .. } if name == PROVER => {
            matches!(state, State::Exited | State::Faulted | State::Killed).then_some(())
        }
        _ => None,
    });
    ended.is_some()
}

/// What answers in the kernel took.
fn pings(machine: &Machine, mark: usize) -> Vec<u64> {
    machine.journal().collect(mark, |record| match record {
        Record::Latency { in_kernel: true, cycles, .. } => Some(*cycles),
        _ => None,
    })
}

/// Every proof since the mark, with the name that was said before it.
fn proofs(machine: &Machine, mark: usize) -> Vec<Row> {
    let mut name = None;
    machine.journal().collect(mark, |record| match record {
        Record::User { bytes, .. } => {
            name = Some(String::from_utf8_lossy(bytes).into_owned());
            None
        }
        Record::Proof { steps, stages, longest, .. } => name.take().map(|name| {
            let (steps, stages, longest) = (*steps, *stages, *longest);
            Row { name, steps, stages, longest }
        }),
        _ => None,
    })
}

/// The worst of each name.
fn rows(proofs: Vec<Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for proof in proofs {
        match rows.iter_mut().find(|row| row.name == proof.name) {
            Some(row) => {
                row.steps = row.steps.max(proof.steps);
                for (all, one) in row.stages.iter_mut().zip(proof.stages) {
                    *all = (all.0.max(one.0), all.1.max(one.1));
                }
                row.longest = row.longest.max(proof.longest);
            }
            None => rows.push(proof),
        }
    }
    rows
}

/// The document.
#[must_use]
pub fn report(outcome: &Outcome, board: &str) -> String {
    let mut text = String::from("# What a proof does to others\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence proving` on {board}, commit {}. `prover` asks for \
         proofs of programs with as many instructions as a program may have ({}), each three \
         times; the host pings meanwhile, and an ASH answers. Guest instructions, measured by \
         the kernel with the clock made of instructions: the longest step of a proof, and the \
         longest stretch, from the call to its answer, in which the kernel neither looked at \
         the card nor could be interrupted by it. Whatever was accepted was compiled, checked \
         and published as well.\n",
        commit(),
        abi::limits::PROGRAM_SLOTS_MAX
    );
    text.push_str("| program | steps | longest step | longest stretch |\n|---|---|---|---|\n");
    for row in &outcome.rows {
        let _ =
            writeln!(text, "| {} | {} | {} | {} |", row.name, row.steps, row.step(), row.longest);
    }
    stages(&mut text, &outcome.rows);
    let (quiet, during) = outcome.pings;
    let step = outcome.rows.iter().map(Row::step).max().unwrap_or(0);
    let longest = outcome.rows.iter().map(|row| row.longest).max().unwrap_or(0);
    let worst = longest + during;
    let verdict = |met: bool| if met { "met" } else { "**missed**" };
    let _ = writeln!(
        text,
        "\n| ping, guest instructions at most | |\n|---|---|\n| quiet, from receive interrupt to \
         transmit kick | {quiet} |\n| the same during proofs ({} pings) | {during} |\n| during \
         proofs, from the moment that it lies in the card's queue | {worst} |\n\nTarget, no more \
         than one step of the proof ({step}, and {BETWEEN} for whose turn it is) is added: {}. \
         Target, no step of any stage is longer than {STEP}: {}.",
        outcome.answered,
        verdict(longest <= step + BETWEEN),
        verdict(step <= STEP)
    );
    text
}

/// The longest step of each stage.
fn stages(text: &mut String, rows: &[Row]) {
    let _ = writeln!(text, "\nThe longest step of each stage (how many steps it has):\n");
    let _ = writeln!(text, "| program | {} |", PROOF_STAGES.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(PROOF_STAGES.len()));
    for row in rows {
        let cells = row.stages.iter().map(|(steps, longest)| format!("{longest} ({steps})"));
        let _ = writeln!(text, "| {} | {} |", row.name, cells.collect::<Vec<_>>().join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::{BETWEEN, Outcome, Row, STEP, report, rows};

    /// A proof whose third stage is the longest.
    fn proof(name: &str, step: u64, longest: u64) -> Row {
        let mut stages = [(1, 3); super::PROOF_STAGES.len()];
        stages[2] = (5, step);
        Row { name: name.to_owned(), steps: 7, stages, longest }
    }

    #[test]
    fn a_row_has_the_worst_of_its_program() {
        let all = vec![proof("a", 5, 9), proof("b", 4, 1), proof("a", 6, 8)];
        assert_eq!(rows(all), [proof("a", 6, 9), proof("b", 4, 1)]);
    }

    #[test]
    fn what_is_too_long_is_a_miss() {
        let report = |step, longest| {
            let rows = vec![proof("a", step, longest)];
            report(&Outcome { rows, pings: (900, 950), answered: 12 }, "q35")
        };
        let good = report(STEP, STEP + BETWEEN);
        assert!(good.contains("| 105950 |") && good.contains("| 3 (1) | 3 (1) | 100000 (5) |"));
        assert_eq!(good.matches(": met").count(), 2);
        assert_eq!(report(STEP, STEP + BETWEEN + 1).matches("**missed**").count(), 1);
        assert_eq!(report(STEP + 1, STEP).matches("**missed**").count(), 1);
    }
}
