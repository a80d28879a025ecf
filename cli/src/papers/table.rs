//! The table: figures read from both sides' lines, judged row by row, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{ROWS, Row, Target};
use crate::attacks::commit;

/// Figures by title and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<(String, String), u64>);

impl Figures {
    /// Reads lines of `TITLE … name=number …`; words that are no figure after the first one are
    /// left out.
    #[must_use]
    pub fn read(lines: &[String]) -> Figures {
        let mut figures = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let title: Vec<&str> =
                words.iter().take_while(|word| !word.contains('=')).copied().collect();
            let title = title.join(" ");
            for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
                if let Ok(value) = value.parse() {
                    figures.insert((title.clone(), name.to_owned()), value);
                }
            }
        }
        Figures(figures)
    }

    /// The figure of that title and name.
    #[must_use]
    pub fn get(&self, title: &str, name: &str) -> Option<u64> {
        self.0.get(&(title.to_owned(), name.to_owned())).copied()
    }

    /// The sum of several, if all are there.
    fn sum(&self, names: &[(&str, &str)]) -> Option<u64> {
        names.iter().map(|(title, name)| self.get(title, name)).sum()
    }
}

/// What became of a row's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Met.
    Met,
    /// Missed: so many instructions are the most that it allows.
    Missed(u64),
    /// A figure that it takes was not measured.
    Open,
}

/// A row with its figures.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The row.
    pub row: Row,
    /// Sluice's instructions.
    pub ours: Option<u64>,
    /// Linux's, and how it does it.
    pub linux: Option<(u64, &'static str)>,
    /// What became of the target.
    pub outcome: Outcome,
}

/// Puts the figures of both sides into the rows.
#[must_use]
pub fn judge(ours: &Figures, linux: &Figures) -> Vec<Judged> {
    let judged = |row: &Row| {
        let own = ours.sum(row.ours);
        let ways = row.linux.iter().filter_map(|(how, names)| Some((linux.sum(names)?, *how)));
        let other = ways.min_by_key(|(count, _)| *count);
        let outcome = outcome(row.target, own, other.map(|(count, _)| count));
        Judged { row: *row, ours: own, linux: other, outcome }
    };
    ROWS.iter().map(judged).collect()
}

fn outcome(target: Target, ours: Option<u64>, linux: Option<u64>) -> Outcome {
    let most = match target {
        Target::AtMost(most) => Some(most),
        Target::AtMostAndFewer(most) => linux.map(|it| most.min(it.saturating_sub(1))),
        Target::TimesFewer(times) => linux.map(|it| it / times),
        Target::WithinPercent(percent) => linux.map(|it| it + it * percent / 100),
    };
    match (ours, most) {
        (Some(ours), Some(most)) if ours <= most => Outcome::Met,
        (Some(_), Some(most)) => Outcome::Missed(most),
        _ => Outcome::Open,
    }
}

/// A quotient with two digits, or as many as it takes.
fn ratio(linux: u64, ours: u64) -> String {
    let hundredths = linux * 100 / ours.max(1);
    match hundredths {
        0..1000 => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        _ => format!("{}.{}", hundredths / 100, hundredths % 100 / 10),
    }
}

fn demand(target: Target) -> String {
    match target {
        Target::AtMost(most) => format!("≤ {most}"),
        Target::AtMostAndFewer(most) => format!("≤ {most}, fewer than Linux"),
        Target::TimesFewer(times) => format!("{times}× fewer"),
        Target::WithinPercent(percent) => format!("as Linux, + {percent} %"),
    }
}

fn line(it: &Judged) -> String {
    let dash = || "-".to_owned();
    let (count, how) = match it.linux {
        Some((count, how)) => (count.to_string(), how),
        None => (dash(), ""),
    };
    let quotient = match (it.linux, it.ours) {
        (Some((linux, _)), Some(ours)) => ratio(linux, ours),
        _ => dash(),
    };
    let verdict = match it.outcome {
        Outcome::Met => "met".to_owned(),
        Outcome::Missed(most) => format!("**missed**: {most} would do"),
        Outcome::Open => "not measured".to_owned(),
    };
    let (what, target) = (it.row.what, demand(it.row.target));
    let ours = it.ours.map_or_else(dash, |it| it.to_string());
    format!("| {what} | {ours} | {count} | {how} | {quotient} | {target} | {verdict} |")
}

/// The document: the table, how it was made, and every figure that either side reported.
#[must_use]
pub fn report(ours: &[String], linux: &[String], made: &str) -> String {
    let rows = judge(&Figures::read(ours), &Figures::read(linux));
    let mut text = String::from("# The papers' tables, in guest instructions\n\n");
    // Writing to a string never fails.
    let _ = writeln!(text, "Made by `cargo run -- evidence papers`, commit {}. {made}\n", commit());
    text.push_str(METHOD);
    text.push_str("\n| operation | Sluice | Linux | done there by | Linux / Sluice | target | |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in &rows {
        let _ = writeln!(text, "{}", line(row));
    }
    let met = rows.iter().filter(|row| row.outcome == Outcome::Met).count();
    let _ = writeln!(text, "\n{met} of {} targets met.\n\n## Every figure\n\n```", rows.len());
    ours.iter().chain(linux).for_each(|line| text.push_str(&format!("{line}\n")));
    text.push_str("```\n");
    text
}

const METHOD: &str = "\
Both sides ran on the same emulated machine one after the other (board, processor, memory, devices \
and counting from one command line), under `-icount shift=0,sleep=off`: the time-stamp counter is \
the number of retired guest instructions, and each side reads it in the guest around the \
operation. Figures are the least of 16 to 64 repetitions; `appel1`, `appel2` and the matrix \
multiplication are one run. Where Linux has several ways to do a thing, all were measured and \
the cheapest stands here. What makes Linux dearer without need is off: mitigations, zeroing of \
allocations, randomised kernel stacks, auditing, and byte-wise `rep` instructions, of which QEMU \
counts every round (`mitigations=off init_on_alloc=0 randomize_kstack_offset=off audit=0 \
clearcpuid=erms,fsrm`). What each row does is said at the head of `examples/src/bin/ipc.rs`, \
`examples/src/bin/pager.rs` and of the files in `benches/linux-guest/src`; `stride` reports quanta \
and work, not instructions.
";

#[cfg(test)]
mod tests {
    use super::{Figures, Outcome, judge, line, outcome, ratio, report};
    use crate::papers::{ROWS, Target};

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_report_is_a_title_and_pairs() {
        let figures =
            Figures::read(&lines(&["pager linear dirty=67 x prot1=982 bad=1e3 =", "60:2"]));
        assert_eq!(figures.get("pager linear", "dirty"), Some(67));
        assert_eq!(figures.get("pager linear", "prot1"), Some(982));
        assert_eq!(figures.get("pager linear", "bad"), None);
        assert_eq!(figures.get("pager", "dirty"), None);
    }

    #[test]
    fn linux_is_taken_at_its_cheapest() {
        let ours = Figures::read(&lines(&["ipc transfer=51 shm=400"]));
        let linux = Figures::read(&lines(&["linux one_way pipe=4000 futex=3000 yield=1999"]));
        let rows = judge(&ours, &linux);
        let find = |what: &str| rows.iter().find(|it| it.row.what.starts_with(what)).unwrap();
        assert_eq!(find("protected").linux, Some((1999, "`sched_yield`")));
        assert_eq!(find("protected").outcome, Outcome::Met);
        assert_eq!(find("shm").outcome, Outcome::Missed(399));
        assert!(line(find("shm")).contains("| 400 | 1999 | `sched_yield` | 4.99 | 5× fewer |"));
        assert_eq!(find("pipe").outcome, Outcome::Open);
        assert_eq!(find("null").outcome, Outcome::Open);
    }

    #[test]
    fn targets_are_held_against_the_figures() {
        let table = [
            (Target::AtMost(40), Some(40), None, Outcome::Met),
            (Target::AtMost(40), Some(41), Some(9000), Outcome::Missed(40)),
            (Target::AtMostAndFewer(60), Some(60), Some(61), Outcome::Met),
            (Target::AtMostAndFewer(60), Some(60), Some(60), Outcome::Missed(59)),
            (Target::AtMostAndFewer(60), Some(50), None, Outcome::Open),
            (Target::TimesFewer(5), Some(10), Some(50), Outcome::Met),
            (Target::TimesFewer(5), Some(10), Some(49), Outcome::Missed(9)),
            (Target::WithinPercent(5), Some(105), Some(100), Outcome::Met),
            (Target::WithinPercent(5), Some(106), Some(100), Outcome::Missed(105)),
            (Target::TimesFewer(5), None, Some(49), Outcome::Open),
        ];
        for (target, ours, linux, wanted) in table {
            assert_eq!(outcome(target, ours, linux), wanted, "{target:?} {ours:?} {linux:?}");
        }
    }

    #[test]
    fn a_missing_side_is_a_gap_that_is_named() {
        let text = report(&lines(&["ipc null_call=55"]), &[], "Without a Linux guest.");
        assert!(text.contains("| null call | 55 | - |  | - |"), "{text}");
        assert!(text.contains("not measured") && text.contains("Without a Linux guest."));
        assert!(text.contains(&format!("0 of {} targets met", ROWS.len())), "{text}");
    }

    #[test]
    fn ratios_keep_two_or_three_digits() {
        assert_eq!([ratio(10, 3), ratio(1000, 3), ratio(1, 0)], ["3.33", "333.3", "1.00"]);
    }
}
