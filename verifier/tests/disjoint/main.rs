//! Disjointness and containment against Z3, which knows nothing of claims.
//!
//! Pairs of generated filters: the registry's answer (two bindings under one grant; a binding under
//! a derived grant) against Z3's on formulas that `encode` makes of the programs alone. Taken in
//! must be unsatisfiable, refused must be satisfiable and the witness accepted by both programs in
//! the interpreter. What is `Undecided` or beyond a limit is counted. Without z3 the test says so
//! and is skipped.
//!
//! `SLUICE_PAIRS` says how many pairs there shall be in all, `SLUICE_STATE` names the file in which
//! a run leaves its counts for the next to go on from (`evidence disjoint`).

#[path = "../common/mod.rs"]
mod common;
mod encode;
mod filters;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::{Random, bind, derive};
use ebpf::Program;
use encode::{Encoder, PRELUDE, context};
use filters::Place;
use sluice_verifier::{Claim, ClaimProof, GrantId, HashKey, Refusal, RefusalCode, Registry};

/// Pairs between two notes of the counts, and Z3's patience for one of them in milliseconds.
const BATCH: usize = 100;
const PATIENCE: u32 = 5_000;

/// Pairs, unless the environment says otherwise.
const PAIRS: usize = 200;

/// Pairs of each class, unless the environment says otherwise.
const CLASS_PAIRS: usize = 50;

/// Every sixth pair is a filter and a grant.
const GRANT_EVERY: usize = 6;

/// What the state file begins with: counts of other filters are none of these.
const STATE: &str = "filters-2";

/// Classes of filters by name: all places at once, as often as they stand here, and each by itself
/// beside constant places.
const CLASSES: [(&str, &[Place]); 8] = [
    ("the mix", &filters::MIX),
    ("constant places", &[Place::Frame]),
    ("one or two VLAN tags", &[Place::Frame, Place::Tags(1), Place::Tags(2)]),
    ("IPv4 options", &[Place::Frame, Place::Ipv4]),
    ("TCP options behind IPv4 options", &[Place::Frame, Place::Tcp]),
    ("an IPv6 extension header", &[Place::Frame, Place::Extension]),
    ("two IPv6 extension headers", &[Place::Frame, Place::Extensions]),
    ("the frame's length", &[Place::Frame, Place::Length]),
];

/// What is counted, in the order of the state file.
#[derive(Clone, Default, Debug)]
struct Counts {
    pairs: usize,
    disjoint: usize,
    overlap: usize,
    inside: usize,
    outside: usize,
    undecided: usize,
    limit: usize,
    unknown: usize,
    unclaimed: usize,
    guards: usize,
    /// The limits that made a claim a guard; not kept.
    met: BTreeMap<&'static str, usize>,
}

impl Counts {
    fn fields(&mut self) -> [(&'static str, &mut usize); 10] {
        [
            ("pairs", &mut self.pairs),
            ("disjoint", &mut self.disjoint),
            ("overlap", &mut self.overlap),
            ("inside", &mut self.inside),
            ("outside", &mut self.outside),
            ("undecided", &mut self.undecided),
            ("limit", &mut self.limit),
            ("Z3 gave up", &mut self.unknown),
            ("no claim", &mut self.unclaimed),
            ("with a guard", &mut self.guards),
        ]
    }

    fn load(path: Option<&str>) -> Counts {
        let mut counts = Counts::default();
        let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut words = text.split_whitespace();
        if words.next() == Some(STATE) {
            for ((_, field), word) in counts.fields().into_iter().zip(words) {
                *field = word.parse().unwrap_or(0);
            }
        }
        counts
    }

    fn save(&mut self, path: Option<&str>) {
        let Some(path) = path else { return };
        let words: Vec<String> =
            self.fields().into_iter().map(|(_, field)| field.to_string()).collect();
        let written = std::fs::write(path, format!("{STATE} {}", words.join(" ")));
        assert!(written.is_ok(), "{path}: {written:?}");
    }

    /// Pairs without an answer.
    fn open(&self) -> usize {
        self.undecided + self.limit + self.unclaimed
    }

    fn print(&mut self) {
        let share = self.open() as f64 * 100.0 / self.pairs as f64;
        println!("| {} | without an answer |", self.fields().map(|(name, _)| name).join(" | "));
        println!("|{}", "---:|".repeat(11));
        let counts = self.fields().map(|(_, count)| count.to_string()).join(" | ");
        println!("| {counts} | {share:.2} % |");
    }
}

/// A question to Z3, and what the answer must be.
struct Question {
    text: String,
    satisfiable: bool,
    about: String,
}

#[test]
fn z3_agrees_about_disjointness_and_containment() {
    let wanted = std::env::var("SLUICE_PAIRS").ok().and_then(|it| it.parse().ok());
    let wanted = wanted.unwrap_or(PAIRS);
    let state = std::env::var("SLUICE_STATE").ok();
    let mut counts = Counts::load(state.as_deref());
    let Some(mut solver) = Solver::start() else {
        println!("SKIPPED: there is no z3 (package `z3`) to ask");
        return;
    };
    // While Z3 thinks about one batch the next is judged; only what was answered is noted.
    let (mut asked, mut noted) = (Vec::new(), counts.clone());
    loop {
        let mut next = Vec::new();
        std::thread::scope(|scope| {
            let answers = scope.spawn(|| solver.ask(&asked));
            for _ in 0..BATCH.min(wanted.saturating_sub(counts.pairs)) {
                next.extend(judge(counts.pairs, &mut counts));
                counts.pairs += 1;
            }
            match answers.join() {
                Ok(answers) => counts.unknown += compare(&asked, &answers),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        noted.unknown = counts.unknown;
        noted.save(state.as_deref());
        noted = counts.clone();
        asked = next;
        if asked.is_empty() && counts.pairs >= wanted {
            break;
        }
    }
    counts.save(state.as_deref());
    counts.print();
    let pairs = counts.pairs;
    assert!(counts.open() * 100 < pairs, "{counts:?}");
    assert!(counts.disjoint > pairs / 8 && counts.overlap > pairs / 8, "{counts:?}");
    assert!(counts.inside > pairs / 60 && counts.outside > pairs / 60, "{counts:?}");
}

/// Holds answers against what they must be; how often there was none.
fn compare(questions: &[Question], answers: &[String]) -> usize {
    let mut unknown = 0;
    for (question, answer) in questions.iter().zip(answers) {
        match answer.as_str() {
            "unknown" => unknown += 1,
            answer => {
                let expected = if question.satisfiable { "sat" } else { "unsat" };
                assert_eq!(answer, expected, "{}", question.about);
            }
        }
    }
    unknown
}

/// The registry's answer about the pair with this number, and what Z3 must say if that is right.
fn judge(number: usize, counts: &mut Counts) -> Option<Question> {
    let mut random = Random(0xd15_0000_0000 + number as u64 * 2 + 1);
    for _ in 0..4 {
        random.next();
    }
    let programs = filters::pair(&mut random, &filters::MIX);
    let refusal = answer(&programs, (number, number.is_multiple_of(GRANT_EVERY)), counts)?;
    question(&programs, number.is_multiple_of(GRANT_EVERY), refusal)
}

/// Whether the registry refuses the second of a pair; none if that says nothing.
fn answer(
    programs: &[Program; 2],
    (number, is_grant): (usize, bool),
    counts: &mut Counts,
) -> Option<bool> {
    let claims = programs.clone().map(guarding);
    let [Ok(first), Ok(second)] = &claims else {
        for (program, claim) in programs.iter().zip(&claims) {
            if let Err(refusal) = claim {
                println!("{refusal}\n{}", ebpf::disasm::disassemble(program));
            }
        }
        counts.unclaimed += 1;
        return None;
    };
    counts.guards += usize::from(!first.is_exact() || !second.is_exact());
    for doubt in [first, second].into_iter().filter_map(Claim::doubt) {
        *counts.met.entry(doubt.limit.map_or("none", |limit| limit.name)).or_default() += 1;
        if std::env::var_os("SLUICE_DOUBTS").is_some() {
            println!("pair {number}: {:?} {:?} at {}", doubt.reason, doubt.limit, doubt.pc);
        }
    }
    let mut registry = Registry::new();
    let answer = if is_grant {
        derive(&mut registry, GrantId::ROOT, first.clone())
            .and_then(|grant| bind(&mut registry, grant, second.clone()))
    } else {
        bind(&mut registry, GrantId::ROOT, first.clone())
            .and_then(|_| bind(&mut registry, GrantId::ROOT, second.clone()))
    };
    let refusal = answer.err();
    let counter = match refusal.as_ref().map(|refusal| refusal.code) {
        None if is_grant => &mut counts.inside,
        None => &mut counts.disjoint,
        Some(RefusalCode::Overlap) => &mut counts.overlap,
        Some(RefusalCode::OutsideGrant) => &mut counts.outside,
        Some(RefusalCode::Limit) => &mut counts.limit,
        Some(_) => &mut counts.undecided,
    };
    *counter += 1;
    let says = |refusal: &Refusal| replays(refusal, is_grant, [first, second]);
    refusal.as_ref().is_none_or(says).then_some(refusal.is_some())
}

/// The share that is left open of each class of filters, without asking Z3.
#[test]
fn what_is_left_open_is_little_in_every_class() {
    let asked = std::env::var("SLUICE_PAIRS").ok().and_then(|it| it.parse::<usize>().ok());
    let pairs = asked.map_or(CLASS_PAIRS, |pairs| pairs / 24);
    // Said all at once: the other test has a table of its own.
    let mut text = String::from(
        ":\n| class of filters | pairs | with a guard | without an answer | limits met |\n\
         |---|---:|---:|---:|---|\n",
    );
    for (class, (name, places)) in CLASSES.into_iter().enumerate() {
        let mut counts = Counts::default();
        for number in 0..pairs {
            let mut random = Random(0xd15_c1a5_5000 + (class << 40 | number << 1) as u64 + 1);
            for _ in 0..4 {
                random.next();
            }
            let programs = filters::pair(&mut random, places);
            let _ = answer(&programs, (number, number.is_multiple_of(GRANT_EVERY)), &mut counts);
        }
        let share = counts.open() as f64 * 100.0 / pairs as f64;
        let met: Vec<String> =
            counts.met.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let met = met.join(", ");
        let _ = writeln!(text, "| {name} | {pairs} | {} | {share:.2} % | {met} |", counts.guards);
    }
    print!("{text}");
}

/// Whether the witness shows what the refusal says; `false` if the refusal says nothing.
fn replays(refusal: &Refusal, is_grant: bool, claims: [&Claim; 2]) -> bool {
    if !matches!(refusal.code, RefusalCode::Overlap | RefusalCode::OutsideGrant) {
        return false;
    }
    let witness = refusal.witness.as_deref().unwrap_or_default();
    let accepts = claims.map(|claim| ebpf::interp::accepts(claim.verified().program(), witness));
    assert_eq!(accepts, [Ok(!is_grant), Ok(true)], "{refusal}\n{witness:02x?}");
    true
}

fn question(programs: &[Program; 2], is_grant: bool, satisfiable: bool) -> Option<Question> {
    let (first, accepted) = Encoder::encode(&programs[0], "f")?;
    let (second, also) = Encoder::encode(&programs[1], "g")?;
    let left = if is_grant { format!("(not {accepted})") } else { accepted };
    let text = format!("{first}{second}(assert (and {left} {also}))\n");
    let about = programs.each_ref().map(ebpf::disasm::disassemble).join("\n---\n");
    Some(Question { text, satisfiable, about })
}

/// A claim as the kernel makes it: if it cannot be exact, around what the filter accepts.
fn guarding(program: Program) -> Result<Claim, Refusal> {
    let mut proof = ClaimProof::guarding(common::verify(program)?, HashKey::PUBLIC);
    common::run(u32::MAX, |fuel| proof.step(fuel))
}

/// One Z3 for all questions; each batch begins from nothing.
struct Solver {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Solver {
    /// `None` if there is no Z3.
    fn start() -> Option<Solver> {
        let mut command = Command::new("z3");
        let started = command.arg("-in").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.ok()?;
        let (questions, answers) = (process.stdin.take()?, process.stdout.take()?);
        Some(Solver { process, questions, answers: BufReader::new(answers) })
    }

    fn ask(&mut self, questions: &[Question]) -> Vec<String> {
        let prelude = format!("(reset)\n(set-option :timeout {PATIENCE})\n(set-logic QF_ABV)\n");
        let mut text = prelude + PRELUDE + &context();
        for question in questions {
            text.push_str(&format!("(push)\n{}(check-sat)\n(pop)\n", question.text));
        }
        // The answers fit into the pipe: nobody waits for the other.
        let asked = self.questions.write_all(text.as_bytes()).and_then(|()| self.questions.flush());
        assert!(asked.is_ok(), "z3 takes no questions: {asked:?}");
        let answer = |_| {
            let mut answer = String::new();
            let read = self.answers.read_line(&mut answer);
            assert!(read.is_ok() && !answer.is_empty(), "z3 gives no answers: {read:?}");
            answer.trim().to_owned()
        };
        questions.iter().map(answer).collect()
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
