//! The table of a corpus: how many programs are accepted by whom, and why the others are not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Outcome;
use super::corpus::{Corpus, Judged, Peers};
use crate::attacks::commit;

/// A line of the report. Writing to a string does not fail.
macro_rules! say {
    ($text:expr, $($line:tt)*) => {{
        let _ = writeln!($text, $($line)*);
    }};
}

/// The report, in Markdown.
pub fn report(corpus: &Corpus, peers: &Peers) -> String {
    let mut text = String::new();
    head(&mut text, corpus, peers);
    origins(&mut text, corpus);
    refusals(&mut text, corpus);
    outside(&mut text, corpus);
    others(&mut text, corpus);
    times(&mut text, corpus);
    rows(&mut text, corpus);
    text
}

/// Of the programs that Linux accepts and that use only what exists here: how many, and how many of
/// them we accept.
pub fn share(corpus: &Corpus) -> (usize, usize) {
    let wanted =
        corpus.programs.iter().filter(|p| p.is_inside() && p.linux_accepts() == Some(true));
    let (all, ours) =
        wanted.fold((0, 0), |(all, ours), p| (all + 1, ours + usize::from(p.row.is_accepted())));
    (all, ours)
}

fn head(text: &mut String, corpus: &Corpus, peers: &Peers) {
    let (all, ours) = share(corpus);
    let made = "Made by `cargo run --release -- evidence objects --objects DIR`";
    say!(text, "# XDP programs of other people's objects\n\n{made}, commit {}.\n", commit());
    let Corpus { objects, others, programs, unreadable } = corpus;
    say!(
        text,
        "{objects} objects with {} XDP programs; {others} programs of other types left alone; \
         {} objects cannot be read.",
        programs.len(),
        unreadable.len()
    );
    say!(
        text,
        "Of the {all} programs that Linux accepts and that use only what exists here, {ours} are \
         accepted ({:.1} %).\n",
        percent(ours, all)
    );
    if let Err(reason) = &peers.linux {
        say!(text, "Linux was not asked: {reason}.\n");
    }
    if peers.prevail.is_none() {
        say!(text, "PREVAIL was not asked: `PREVAIL` does not name its command.\n");
    }
}

fn percent(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

fn origins(text: &mut String, corpus: &Corpus) {
    say!(
        text,
        "| from | programs | use what is not here | judged | ours accepts | Linux \
        accepts | of these, ours | PREVAIL accepts |"
    );
    say!(text, "|---|---|---|---|---|---|---|---|");
    let mut origins: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    for program in &corpus.programs {
        for key in [program.origin.as_str(), "~ all"] {
            let counts = origins.entry(key).or_default();
            let inside = program.is_inside();
            let linux = program.linux_accepts() == Some(true);
            let ours = program.row.is_accepted();
            let prevail = program.prevail.is_some_and(|verdict| verdict.passed == Some(true));
            let hits = [true, inside, ours, inside && linux, linux && ours, inside && prevail];
            counts.iter_mut().zip(hits).for_each(|(count, hit)| *count += usize::from(hit));
        }
    }
    for (origin, [all, inside, ours, linux, both, prevail]) in origins {
        let outside = all - inside;
        let origin = origin.trim_start_matches("~ ");
        say!(
            text,
            "| {origin} | {all} | {outside} | {inside} | {ours} | {linux} | {both} | {prevail} |"
        );
    }
}

/// What Linux accepts, or was not asked about, and we refuse.
fn refusals(text: &mut String, corpus: &Corpus) {
    let (mut wrong, mut right) = (BTreeMap::new(), BTreeMap::new());
    for program in corpus.programs.iter().filter(|program| program.is_inside()) {
        if let Outcome::Refused { refusal, .. } = &program.row.outcome {
            let list: &mut BTreeMap<&str, Vec<(&Judged, &_)>> =
                if program.linux_accepts() == Some(false) { &mut right } else { &mut wrong };
            list.entry(refusal.code.as_str()).or_default().push((program, refusal));
        }
    }
    for (title, list) in [("Refused here and accepted by Linux", wrong), ("Refused by both", right)]
    {
        say!(text, "\n## {title}, by cause\n");
        for (code, programs) in list {
            say!(text, "### {code}: {}\n", programs.len());
            for (program, refusal) in programs {
                let pc = refusal.instruction.map_or(String::new(), |pc| pc.to_string());
                let source = refusal.source.as_ref().map_or(String::new(), |source| {
                    format!(" `{}`", source.text.trim().replace('|', "\\|"))
                });
                let name = name(program);
                let assembly = refusal.assembly.as_deref().unwrap_or_default();
                say!(text, "- {name}: {pc} `{assembly}`: {}{source}", refusal.message);
            }
            say!(text, "");
        }
    }
}

fn name(program: &Judged) -> String {
    format!("{} `{}`", program.row.file.display(), program.row.program)
}

/// What is refused because it uses what does not exist here.
fn outside(text: &mut String, corpus: &Corpus) {
    say!(text, "\n## Use what does not exist here\n\n| what | programs |\n|---|---|");
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for program in corpus.programs.iter().filter(|program| !program.is_inside()) {
        let cause = match &program.row.outcome {
            Outcome::NotLinked { message } => cause(message),
            Outcome::Refused { refusal, .. } => refusal.message.clone(),
            Outcome::Accepted { .. } => continue,
        };
        *causes.entry(cause).or_default() += 1;
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(*count), cause.clone()));
    for (cause, count) in causes {
        say!(text, "| {cause} | {count} |");
    }
    for (path, error) in &corpus.unreadable {
        say!(text, "\nNot read: {}: {error}", path.display());
    }
}

/// A message without its place: what is in front of the last back-quoted name, and the name.
fn cause(message: &str) -> String {
    let tail = message.rsplit_once("`: ").or_else(|| message.split_once(": "));
    let tail = tail.map_or(message, |(_, tail)| tail);
    // Sizes differ; what is too large does not.
    tail.split_once(" are more than ")
        .map_or(tail.to_owned(), |(_, limit)| format!("more than {limit}"))
}

/// What we accept and somebody else refuses.
fn others(text: &mut String, corpus: &Corpus) {
    say!(text, "\n## Accepted here and refused by Linux\n");
    for program in corpus.programs.iter().filter(|program| program.row.is_accepted()) {
        if let Ok(verdict) = &program.linux
            && !verdict.accepted
        {
            say!(text, "- {}: {}", name(program), verdict.reason);
        }
    }
    let refused = |p: &&Judged| {
        p.row.is_accepted() && p.prevail.is_some_and(|verdict| verdict.passed == Some(false))
    };
    let refused: Vec<_> = corpus.programs.iter().filter(refused).collect();
    say!(text, "\n## Accepted here and refused by PREVAIL: {}\n", refused.len());
    for program in refused {
        say!(text, "- {}", name(program));
    }
}

/// How long the proofs took, where both have accepted.
fn times(text: &mut String, corpus: &Corpus) {
    say!(
        text,
        "\n## Time\n\nPrograms that we and Linux accept. Ours: the shortest of a few proofs; \
         Linux: its verifier's own figure, the smallest of a few loads, in whole microseconds; \
         PREVAIL, where it accepts too: the processor time of its process, less that of one \
         that only lists the same object's programs.\n"
    );
    say!(
        text,
        "| instructions | programs | ours us p50/max | Linux us p50/max | ours / Linux, median | \
         PREVAIL too | PREVAIL us p50/max | PREVAIL / ours, median |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let edges = [0, 50, 200, 1_000, usize::MAX];
    for (&low, &high) in edges.iter().zip(edges.iter().skip(1)) {
        bucket(text, corpus, low..high);
    }
    bucket(text, corpus, 0..usize::MAX);
}

/// The times of the programs with so many instructions.
fn bucket(text: &mut String, corpus: &Corpus, size: std::ops::Range<usize>) {
    let (mut ours, mut linux, mut ratios) = (vec![], vec![], vec![]);
    let (mut prevail, mut times) = (vec![], vec![]);
    for program in &corpus.programs {
        let Outcome::Accepted { effort, .. } = &program.row.outcome else { continue };
        let Ok(super::linux::Verdict { accepted: true, micros: Some(micros), .. }) = program.linux
        else {
            continue;
        };
        if !size.contains(&effort.instructions) {
            continue;
        }
        let own = effort.nanos as f64 / 1e3;
        ours.push(own);
        linux.push(micros as f64);
        ratios.push(own / micros.max(1) as f64);
        if let Some(verdict) = program.prevail.filter(|verdict| verdict.passed == Some(true)) {
            let theirs = verdict.time.saturating_sub(verdict.reading).as_secs_f64() * 1e6;
            prevail.push(theirs);
            times.push(theirs / own);
        }
    }
    let title = match (size.start, size.end) {
        (0, usize::MAX) => "all".to_owned(),
        (start, usize::MAX) => format!("{start} and more"),
        (start, end) => format!("{start} to {}", end - 1),
    };
    let (o, l, r) = (median(&mut ours), median(&mut linux), median(&mut ratios));
    let (p, t) = (median(&mut prevail), median(&mut times));
    let last = |sorted: &[f64]| sorted.last().copied().unwrap_or_default();
    let (most, count) = ([last(&ours), last(&linux), last(&prevail)], (ours.len(), prevail.len()));
    say!(
        text,
        "| {title} | {} | {o:.1} / {:.1} | {l:.0} / {:.0} | {r:.2} | {} | {p:.0} / {:.0} | \
         {t:.0} |",
        count.0,
        most[0],
        most[1],
        count.1,
        most[2]
    );
}

/// Sorts, and takes the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Every program that was judged.
fn rows(text: &mut String, corpus: &Corpus) {
    say!(
        text,
        "\n## Every program that uses only what exists here\n\n| program | instructions | ours | \
         worst case | us | KiB | Linux | us | PREVAIL |\n|---|---|---|---|---|---|---|---|---|"
    );
    for program in corpus.programs.iter().filter(|program| program.is_inside()) {
        let (effort, verdict, worst) = match &program.row.outcome {
            Outcome::Accepted { effort, worst_case } => {
                (effort, "yes".to_owned(), worst_case.to_string())
            }
            Outcome::Refused { effort, refusal, .. } => {
                (effort, refusal.code.clone(), String::new())
            }
            Outcome::NotLinked { .. } => continue,
        };
        let (linux, took) = match &program.linux {
            Ok(verdict) => (
                if verdict.accepted { "yes" } else { "no" },
                verdict.micros.map_or(String::new(), |micros| micros.to_string()),
            ),
            Err(_) => ("-", String::new()),
        };
        let prevail = match program.prevail.map(|verdict| verdict.passed) {
            Some(Some(true)) => "yes",
            Some(Some(false)) => "no",
            Some(None) => "?",
            None => "-",
        };
        let micros = effort.nanos as f64 / 1e3;
        let (name, insns, kib) = (name(program), effort.instructions, effort.bytes.div_ceil(1024));
        say!(
            text,
            "| {name} | {insns} | {verdict} | {worst} | {micros:.1} | {kib} | {linux} | {took} | \
             {prevail} |"
        );
    }
}
