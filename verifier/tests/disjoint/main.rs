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

use std::io::Write;
use std::process::{Command, Stdio};

use common::{Random, bind, claim, derive};
use ebpf::Program;
use encode::{Encoder, PRELUDE, context};
use sluice_verifier::{Claim, GrantId, Refusal, RefusalCode, Registry};

/// Pairs for one run of Z3, and its patience for one of them in milliseconds.
const BATCH: usize = 100;
const PATIENCE: u32 = 5_000;

/// Pairs, unless the environment says otherwise.
const PAIRS: usize = 200;

/// Every sixth pair is a filter and a grant.
const GRANT_EVERY: usize = 6;

/// What is counted, in the order of the state file.
#[derive(Default, Debug)]
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
}

impl Counts {
    fn fields(&mut self) -> [(&'static str, &mut usize); 9] {
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
        ]
    }

    fn load(path: Option<&str>) -> Counts {
        let mut counts = Counts::default();
        let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        for ((_, field), word) in counts.fields().into_iter().zip(text.split_whitespace()) {
            *field = word.parse().unwrap_or(0);
        }
        counts
    }

    fn save(&mut self, path: Option<&str>) {
        let Some(path) = path else { return };
        let words: Vec<String> =
            self.fields().into_iter().map(|(_, field)| field.to_string()).collect();
        let written = std::fs::write(path, words.join(" "));
        assert!(written.is_ok(), "{path}: {written:?}");
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
    while counts.pairs < wanted {
        let mut questions = Vec::new();
        for _ in 0..BATCH.min(wanted - counts.pairs) {
            questions.extend(judge(counts.pairs, &mut counts));
            counts.pairs += 1;
        }
        let Some(answers) = ask(&questions) else {
            println!("SKIPPED: there is no z3 (package `z3`) to ask");
            return;
        };
        for (question, answer) in questions.iter().zip(answers) {
            match answer.as_str() {
                "unknown" => counts.unknown += 1,
                answer => {
                    let expected = if question.satisfiable { "sat" } else { "unsat" };
                    assert_eq!(answer, expected, "{}", question.about);
                }
            }
        }
        counts.save(state.as_deref());
    }
    let Counts { undecided, limit, unclaimed, pairs, .. } = counts;
    println!("| {} |", counts.fields().map(|(name, _)| name).join(" | "));
    println!("|{}", "---:|".repeat(9));
    println!("| {} |", counts.fields().map(|(_, count)| count.to_string()).join(" | "));
    assert!((undecided + limit + unclaimed) * 100 < pairs, "{counts:?}");
    assert!(counts.disjoint > pairs / 8 && counts.overlap > pairs / 8, "{counts:?}");
    assert!(counts.inside > pairs / 60 && counts.outside > pairs / 60, "{counts:?}");
}

/// The registry's answer about the pair with this number, and what Z3 must say if that is right.
fn judge(number: usize, counts: &mut Counts) -> Option<Question> {
    let mut random = Random(0xd15_0000_0000 + number as u64 * 2 + 1);
    for _ in 0..4 {
        random.next();
    }
    let programs = filters::pair(&mut random);
    let claims = programs.clone().map(claim);
    let [Ok(first), Ok(second)] = &claims else {
        for (program, claim) in programs.iter().zip(&claims) {
            if let Err(refusal) = claim {
                println!("{refusal}\n{}", ebpf::disasm::disassemble(program));
            }
        }
        counts.unclaimed += 1;
        return None;
    };
    let is_grant = number.is_multiple_of(GRANT_EVERY);
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
    if let Some(refusal) = &refusal
        && !replays(refusal, is_grant, [first, second])
    {
        return None;
    }
    question(&programs, is_grant, refusal.is_some())
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

/// Z3's answers; `None` if there is no Z3.
fn ask(questions: &[Question]) -> Option<Vec<String>> {
    let mut text = format!("(set-option :timeout {PATIENCE})\n(set-logic QF_ABV)\n");
    text.push_str(PRELUDE);
    text.push_str(&context());
    for question in questions {
        text.push_str(&format!("(push)\n{}(check-sat)\n(pop)\n", question.text));
    }
    let started =
        Command::new("z3").arg("-in").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut z3 = started.ok()?;
    let mut input = z3.stdin.take()?;
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = z3.wait_with_output().ok()?;
    assert!(matches!(writer.join(), Ok(Ok(()))), "z3 takes no questions");
    let answers = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<String> = answers.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len(), "{answers:?}");
    Some(answers)
}
