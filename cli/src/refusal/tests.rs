//! Every case of `testdata/` is refused in at most twelve lines that say what is needed.

use std::task::Poll;

use ebpf::{Kind, Program};
use verifier::fuzzing::cases;
use verifier::{Fuel, Refusal, SafetyProof};

use super::{Explanation, LINES_MAX, SourceLine, explain};

fn refusal(program: &Program) -> Option<Refusal> {
    let mut proof = SafetyProof::new(program.clone());
    loop {
        if let Poll::Ready(answer) = proof.step(&mut Fuel::UNLIMITED.clone()) {
            return answer.err();
        }
    }
}

/// The short form of every refused case, one after the other.
fn shown() -> Vec<(String, Explanation)> {
    let mut shown = Vec::new();
    for case in cases::all().unwrap() {
        let Ok(program) = case.program() else { continue };
        let Some(refusal) = refusal(&program) else { continue };
        shown.push((case.name, explain(&program, &refusal, &|_| None)));
    }
    shown
}

#[test]
fn refusals_are_short_and_as_the_snapshot_has_them() {
    let mut text = String::new();
    let (mut examples, mut helpless) = (0, 0);
    let shown = shown();
    for (name, explanation) in &shown {
        let short = explanation.text(false);
        let lines = short.lines().count();
        assert!(lines <= LINES_MAX, "{name}: {lines} lines\n{short}");
        let wide = short.lines().find(|line| line.chars().count() > 100);
        assert!(wide.is_none(), "{name}: {wide:?}");
        let yet = explanation.message.contains("not taken yet");
        helpless += usize::from(explanation.help.is_none() && !yet);
        examples += usize::from(explanation.example.is_some());
        text.push_str(&format!("== {name}\n{short}\n\n"));
    }
    println!("{} refusals, {examples} with an example, {helpless} without help", shown.len());
    assert!(helpless * 20 <= shown.len(), "{helpless} say nothing of what to change\n{text}");
    snapshot("refusals.txt", &text);
}

#[test]
fn the_source_line_is_shown_where_it_is_known() {
    let text = "ldxw %r2, [%r1+0]\nldxb %r0, [%r2+13]\nexit";
    let program = ebpf::asm::program(Kind::Ash, text).unwrap();
    let refusal = refusal(&program).unwrap();
    let line = |pc: u32| {
        let text = "    return eth->h_proto;".to_owned();
        let line = SourceLine { file: "prog.c".to_owned(), line: 12, column: 12, text };
        (pc == 1).then_some(line)
    };
    let explanation = explain(&program, &refusal, &line);
    let short = explanation.text(false);
    assert!(short.contains("prog.c:12:12") && short.contains("eth->h_proto"), "{short}");
    assert!(short.contains("instruction 1: ldxb %r0, [%r2+13]"), "{short}");
    assert!(short.lines().count() <= LINES_MAX, "{short}");
    let json = explanation.json();
    assert_eq!(json["source"]["line"], 12);
    assert_eq!(json["code"], "packet-out-of-bounds");
}

#[test]
fn an_example_is_confirmed_by_the_interpreter() {
    let text = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        mov %r0, 2
        mov %r4, %r2
        add %r4, 34
        jgt %r4, %r3, out
        ldxh %r5, [%r2+12]
        jne %r5, 8, out
        ldxb %r5, [%r2+23]
        jne %r5, 17, out
        ldxb %r5, [%r2+14]
        and %r5, 15
        lsh %r5, 2
        add %r2, %r5
        ldxh %r0, [%r2+16]
        out: exit
    ";
    let program = ebpf::asm::program(Kind::Ash, text).unwrap();
    let refusal = refusal(&program).unwrap();
    let example = explain(&program, &refusal, &|_| None).example.expect("an example");
    let packet: Vec<u8> = (0..example.packet.len() / 2)
        .map(|at| u8::from_str_radix(&example.packet[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let result =
        ebpf::interp::run_packet(&program, &mut packet.clone(), &mut ebpf::interp::NoHelpers, 100);
    assert_eq!(result.map_err(|trap| trap.to_string()), Err(example.action));
}

#[test]
fn the_schema_names_every_field() {
    let documented: Vec<&str> = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
        .collect();
    for (name, explanation) in shown() {
        for (field, _) in explanation.json().as_object().unwrap() {
            assert!(documented.contains(&field.as_str()), "{name}: {field} is not documented");
        }
    }
}

/// Compares with `testdata/verifier/NAME`; `SLUICE_SNAPSHOTS=write` writes it instead.
fn snapshot(name: &str, text: &str) {
    let path = crate::build::workspace().join("testdata/verifier").join(name);
    if std::env::var_os("SLUICE_SNAPSHOTS").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = kept.lines().zip(text.lines()).enumerate().find(|(_, (a, b))| a != b);
    assert!(
        kept == text,
        "{} has changed ({difference:?}); SLUICE_SNAPSHOTS=write cargo test -p sluice writes it",
        path.display()
    );
}
