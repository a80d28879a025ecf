//! The table of refusals.

use std::fmt::Write as _;

use super::campaign::{grouped, percent};
use super::judge::SAMPLES;
use super::refusals::{Done, NAMES, Side};

/// Reasons of a peer that are listed.
const REASONS: usize = 12;

/// The report, in Markdown.
pub(super) fn report(done: &Done, seed: u64, commit: &str) -> String {
    let mut text = String::from("# Refusals of programs that are safe on all samples\n\n");
    let [accesses, deep] = done.accesses;
    let safe = done.safe[0].judged;
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence refusals --seed {seed} --programs {}` at {commit}.\n\n\
         {} generated ASHs, {} of them left out for what Linux refuses whatever is known (stack \
         accesses that are not aligned, constant divisors of zero, calls through registers). Each \
         of the others ran in the reference interpreter on {SAMPLES} packets, half of the runs \
         with entries in the maps; then again with its memory at two other places. {} did nothing \
         wrong and the same everywhere: they are *safe*. Of their {} accesses {} are not plain \
         (through moved pointers, into values of maps, atomic); {} of them got to such an access \
         on a sample.\n",
        done.generated,
        grouped(done.generated),
        grouped(done.left_out),
        grouped(safe),
        grouped(accesses),
        percent(deep, accesses),
        percent(done.deep, safe)
    );
    let _ = writeln!(
        text,
        "Linux judges through `bpf(BPF_PROG_LOAD)` as an XDP program, kernel {}: once for root, \
         who may do arithmetic with addresses and read what was on the stack before, and once \
         without `CAP_PERFMON` and `CAP_SYS_ADMIN`: that forbids both, as it is forbidden here, \
         but also some helpers, and what might be misused by speculative execution. PREVAIL gets \
         each program as an object with its maps in BTF, and does not have to prove that it \
         ends.\n",
        kernel_release()
    );
    groups(&mut text, done);
    wrong(&mut text, done);
    let _ = writeln!(
        text,
        "\nRuns of programs that both accept, through `BPF_PROG_TEST_RUN` and in the reference \
         interpreter: {}; results or packets that differ: {}.",
        grouped(done.runs),
        done.differ.len()
    );
    for (at, (name, side)) in NAMES.iter().zip(&done.safe).enumerate() {
        reasons(&mut text, name, side, if at == 0 { usize::MAX } else { REASONS });
    }
    text
}

/// What was said of the safe programs, and of those in which a pointer became a number.
fn groups(text: &mut String, done: &Done) {
    text.push_str(
        "| programs | verifier | judged | refused | share | ours for each of theirs |\n\
         |---|---|---|---|---|---|\n",
    );
    let groups: [(&str, &[&[Side; 4]]); 4] = [
        ("safe", &[&done.safe]),
        ("number made of an address", &[&done.mixes]),
        ("address shown", &[&done.leaks]),
        ("all three", &[&done.safe, &done.mixes, &done.leaks]),
    ];
    for (group, sides) in groups {
        let sum =
            |at: usize, of: fn(&Side) -> u64| sides.iter().map(|side| of(&side[at])).sum::<u64>();
        let judged = |at| sum(at, |side| side.judged);
        let refused = |at| sum(at, |side| side.refused);
        let share = |at| refused(at) as f64 / judged(at).max(1) as f64;
        for (at, name) in NAMES.iter().enumerate().filter(|(at, _)| judged(*at) > 0) {
            let cells = [judged(at), refused(at)].map(grouped).join(" | ");
            let part = percent(refused(at), judged(at));
            let ratio = match refused(at) {
                0 => "-".to_owned(),
                _ => format!("{:.2}", share(0) / share(at)),
            };
            let _ = writeln!(text, "| {group} | {name} | {cells} | {part} | {ratio} |");
        }
    }
    let each = done.places.iter().map(|(leak, many)| format!("{} {}", leak.name(), grouped(*many)));
    let places: Vec<_> = each.collect();
    let _ = writeln!(
        text,
        "\nA *number made of an address* is a register's value, on a sample, that is neither the \
         same wherever memory lies nor the same place of one region; nobody else can read it. An \
         *address shown* changes what others can read, first seen in: {}. Both kinds of programs \
         break design decision 2 (a pointer never becomes a scalar), so they are not safe and no \
         refusal of them is a false one; root's Linux takes most of them.",
        if places.is_empty() { "nothing".to_owned() } else { places.join(", ") }
    );
}

/// The programs that went wrong.
fn wrong(text: &mut String, done: &Done) {
    let said: Vec<_> = NAMES
        .iter()
        .zip(&done.wrong)
        .filter(|(_, side)| side.judged > 0)
        .map(|(name, side)| format!("{name} {}", grouped(side.accepted())))
        .collect();
    let _ = writeln!(
        text,
        "\n{} programs trapped or did not end on a sample. Accepted of them: {}. (Root's Linux \
         accepts reads of a stack that nobody wrote, which trap here.)",
        grouped(done.wrong[0].judged),
        said.join(", ")
    );
}

fn reasons(text: &mut String, name: &str, side: &Side, most: usize) {
    if side.refused == 0 {
        return;
    }
    let _ = writeln!(text, "\n{name}, reasons:\n\n| reason | programs |\n|---|---|");
    let mut sorted: Vec<_> = side.reasons.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in sorted.into_iter().take(most) {
        let _ = writeln!(text, "| {reason} | {} |", grouped(*count));
    }
}

/// The host's kernel, by its own word.
fn kernel_release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers = text.trim().split('-').next().unwrap_or_default();
    if numbers.is_empty() { "unknown".to_owned() } else { numbers.to_owned() }
}
