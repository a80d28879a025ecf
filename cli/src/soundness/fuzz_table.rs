//! The table of the campaign with generated programs.

use std::fmt::Write as _;

use super::campaign::{grouped, percent};
use super::fuzz::{Count, Done, KINDS};
use super::targets::Targets;

/// The report, in Markdown.
pub(super) fn report(done: &Done, targets: &Targets, seed: u64, commit: &str) -> String {
    let mut text = String::from("# Generated programs against the oracles\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence fuzz --seed {seed} --programs {}{}` at {commit}: {}\n",
        done.generated,
        each(targets),
        hours(done, targets)
    );
    text.push_str(
        "Each accepted program ran on up to four packets in the reference interpreter (every \
         access checked, at most the proven worst case of instructions), with every register held \
         against the proof's states before each instruction, and natively, with result, packet \
         and map contents compared. *Deep* instructions are calls, atomics, backward jumps, and \
         accesses through moved pointers and map values; the latter and atomics are the accesses \
         that are not *plain*.\n\n",
    );
    text.push_str(
        "| kind | generated | accepted | share | runs | instructions run | deep instructions | \
         accesses | not plain |\n|---|---|---|---|---|---|---|---|---|\n",
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
    fuzzers(&mut text, targets);
    text
}

fn each(targets: &Targets) -> String {
    let most = targets.values().map(|target| target.processor_seconds).fold(0.0, f64::max);
    if targets.is_empty() { String::new() } else { format!(" --each {:.0}", most / 60.0) }
}

/// The processor time of both parts, and what was seen.
fn hours(done: &Done, targets: &Targets) -> String {
    let theirs: f64 = targets.values().map(|target| target.processor_seconds).sum();
    let seen: usize = targets.values().map(|target| target.violations.len()).sum();
    format!(
        "{:.2} processor hours, {:.2} of them generated programs and {:.2} libFuzzer's {} targets; \
         {} violations.",
        (done.processor_seconds + theirs) / 3600.0,
        done.processor_seconds / 3600.0,
        theirs / 3600.0,
        targets.len(),
        done.violations.len() + seen
    )
}

/// The libFuzzer targets.
fn fuzzers(text: &mut String, targets: &Targets) {
    if targets.is_empty() {
        return;
    }
    text.push_str(
        "\n## libFuzzer targets\n\n`fuzz/README.md` says what each holds.\n\n\
         | target | inputs | processor minutes | violations |\n|---|---|---|---|\n",
    );
    for (name, target) in targets {
        let (inputs, wrong) = (grouped(target.inputs), target.violations.len());
        let minutes = target.processor_seconds / 60.0;
        let _ = writeln!(text, "| `{name}` | {inputs} | {minutes:.1} | {wrong} |");
    }
    for (name, target) in targets {
        for what in &target.violations {
            let _ = writeln!(text, "- `{name}`: {what}");
        }
    }
}

fn row(text: &mut String, name: &str, count: &Count) {
    let Count { generated, accepted, runs, steps, slots, deep, accesses: [all, moved] } = *count;
    let cells = [generated, accepted].map(grouped).join(" | ");
    let rest = [runs, steps].map(grouped).join(" | ");
    let (share, deep) = (percent(accepted, generated), percent(deep, slots));
    let (all, moved) = (grouped(all), percent(moved, all));
    let _ = writeln!(text, "| {name} | {cells} | {share} | {rest} | {deep} | {all} | {moved} |");
}
