//! The number domain: exhaustively in small worlds, and over all 64-bit numbers by Z3.

use std::io::Write;
use std::process::{Command, Stdio};

use sluice_verifier::fuzzing::domains::{exhaust, queries};

#[test]
fn every_operation_is_sound_in_every_small_world() {
    let done = exhaust(2);
    println!("{} operations on sets, {} members", done.operations, done.members);
    assert!(done.wrong.is_empty(), "{:#?}", done.wrong);
    assert!(done.operations > 1_000_000, "{}", done.operations);
}

/// Milliseconds for one question: multiplications and divisions of 64 bits may take for ever.
const PATIENCE: u32 = 1_000;

#[test]
fn z3_finds_no_member_outside() {
    let mut text = format!("(set-option :timeout {PATIENCE})\n");
    let asked = queries(0x5a33_0001, 2);
    for query in &asked {
        text.push_str(&format!("(push){}(check-sat)(pop)\n", query.text));
    }
    let started =
        Command::new("z3").arg("-in").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut z3) = started else {
        println!("skipped: z3 is not installed");
        return;
    };
    let mut input = z3.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = z3.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), asked.len(), "{}", answers.last().unwrap_or(&""));
    let mut proven = 0;
    for (query, answer) in asked.iter().zip(&answers) {
        assert!(["unsat", "unknown"].contains(answer), "{answer}: {} {}", query.name, query.about);
        proven += usize::from(*answer == "unsat");
    }
    println!("{proven} of {} proven, the rest in more than {PATIENCE} ms", asked.len());
    assert!(proven * 10 >= asked.len() * 9);
}
