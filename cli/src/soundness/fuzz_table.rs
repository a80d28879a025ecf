//! The table of the campaign with generated programs.

use std::fmt::Write as _;

use super::campaign::{grouped, percent};
use super::fuzz::{Count, Done, KINDS};

/// The report, in Markdown.
pub(super) fn report(done: &Done, seed: u64, commit: &str) -> String {
    let mut text = String::from("# Generated programs against the oracles\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence fuzz --seed {seed} --programs {}` at {commit}; {:.1} \
         processor minutes.\n",
        done.generated,
        done.processor_seconds / 60.0
    );
    text.push_str(
        "Each accepted program ran on up to four packets in the reference interpreter (every \
         access checked, at most the proven worst case of instructions), with every register held \
         against the proof's states before each instruction, and natively, with result, packet \
         and map contents compared. *Deep* instructions are calls, atomics, backward jumps, and \
         accesses through moved pointers and map values.\n\n",
    );
    text.push_str(
        "| kind | generated | accepted | share | runs | instructions run | deep instructions |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for ((name, _), count) in KINDS.iter().zip(&done.kinds) {
        row(&mut text, name, count);
    }
    row(&mut text, "all", &done.all());
    let [programs, runs] = done.rbpf.map(grouped);
    let _ = writeln!(
        text,
        "\nAccepted memory programs that `rbpf` ran as well (what it does not implement replaced \
         by its nearest): {programs}, {runs} runs; result and memory compared with both engines.\n\
         \nViolations: {}.",
        done.violations.len()
    );
    for (what, number) in &done.violations {
        let line = what.lines().next().unwrap_or_default();
        let _ = writeln!(text, "- program {number}: {line}");
    }
    text
}

fn row(text: &mut String, name: &str, count: &Count) {
    let Count { generated, accepted, runs, steps, slots, deep } = *count;
    let cells = [generated, accepted].map(grouped).join(" | ");
    let rest = [runs, steps].map(grouped).join(" | ");
    let (share, deep) = (percent(accepted, generated), percent(deep, slots));
    let _ = writeln!(text, "| {name} | {cells} | {share} | {rest} | {deep} |");
}
