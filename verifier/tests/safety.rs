//! Every reason for a refusal, with a safe twin; and safe programs never trap.

mod common;

use common::{Random, program, run, verify, verify_with};
use ebpf::interp::{Helpers, NoHelpers, run_memory, run_packet};
use ebpf::{Kind, Program};
use sluice_verifier::{Fuel, RefusalCode, SafetyProof};

struct Case {
    name: String,
    program: Program,
    /// The reason's name and the slot; none if the program is safe.
    refused: Option<(String, u32)>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../testdata/verifier/safety.txt");
    text.split("\n= ").skip(1).map(case).collect()
}

fn case(text: &str) -> Case {
    let mut lines = text.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default().trim();
    let name = next().to_owned();
    let kind = match next() {
        "kind filter" => Kind::Filter,
        "kind ash" => Kind::Ash,
        "kind memory" => Kind::Memory,
        other => panic!("{name}: {other}"),
    };
    let verdict = next();
    let refused = verdict.strip_prefix("unsafe ").map(|rest| {
        let (reason, slot) = rest.split_once(' ').unwrap_or_default();
        (reason.to_owned(), slot.parse().unwrap_or_else(|_| panic!("{name}: {verdict}")))
    });
    assert!(refused.is_some() || verdict == "safe", "{name}: {verdict}");
    Case { program: program(kind, next()), name, refused }
}

#[test]
fn cases_are_refused_or_accepted_as_they_say() {
    let mut wrong = Vec::new();
    for case in cases() {
        let verdict = verify(case.program.clone()).map(|_| ()).map_err(|refusal| {
            let RefusalCode::Unsafe(reason) = refusal.code else {
                panic!("{}: {refusal}", case.name);
            };
            let text = format!("{reason:?}");
            let name = text.split(['(', ' ']).next().unwrap_or_default();
            assert!(refusal.to_string().lines().count() <= 2);
            (name.to_owned(), refusal.pc.unwrap_or(u32::MAX))
        });
        if verdict != case.refused.clone().map_or(Ok(()), Err) {
            wrong.push(format!("{}: {verdict:?} instead of {:?}", case.name, case.refused));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_reason_has_a_case() {
    let reasons: std::collections::BTreeSet<String> =
        cases().into_iter().filter_map(|case| case.refused.map(|refused| refused.0)).collect();
    let source = include_str!("../src/refusal/unsafety.rs");
    let start = source.find("pub enum UnsafeReason").unwrap();
    let body = &source[start..start + source[start..].find("\n}").unwrap()];
    for line in body.lines().filter(|line| line.starts_with("    ") && !line.contains("//")) {
        let name: String = line.trim().chars().take_while(|c| c.is_alphanumeric()).collect();
        // Fields of a variant begin in lower case; what decoding excludes cannot be written down.
        // Cases here have no maps: those are in `testdata/verifier/bugs`.
        let excluded = ["Malformed", "NoDirectValue", "MapValueOutOfBounds", "NullNotChecked"];
        if name.starts_with(char::is_uppercase) && !excluded.contains(&name.as_str()) {
            assert!(reasons.contains(&name), "no case for {name}");
        }
    }
}

#[test]
fn the_answer_does_not_depend_on_the_steps() {
    for case in cases() {
        let whole = verify(case.program.clone()).map(|verified| verified.worst_case());
        let steps = verify_with(1, case.program).map(|verified| verified.worst_case());
        assert_eq!(whole, steps, "{}", case.name);
    }
}

#[test]
fn a_proof_that_has_answered_says_so() {
    let mut proof = SafetyProof::new(program(Kind::Filter, "mov %r0, 0\nexit"));
    assert!(run(1, |fuel| proof.step(fuel)).is_ok());
    let again = run(1, |fuel| proof.step(fuel));
    assert_eq!(again.map(|_| ()).map_err(|refusal| refusal.code), Err(RefusalCode::Finished));
    let mut waiting = SafetyProof::new(program(Kind::Filter, "mov %r0, 0\nexit"));
    assert!(waiting.step(&mut Fuel(0)).is_pending());
}

#[test]
fn the_worst_case_is_the_longest_path() {
    let text = "
        ldxw %r0, [%r1+12]
        jeq %r0, 1, long
        exit
        long: mov %r0, 2
        mov %r0, 3
        exit
    ";
    assert_eq!(verify(program(Kind::Filter, text)).unwrap().worst_case(), 5);
    // What no run takes does not count.
    let text = text.replace("ldxw %r0, [%r1+12]", "mov %r0, 0");
    assert_eq!(verify(program(Kind::Filter, &text)).unwrap().worst_case(), 3);
    assert_eq!(verify(program(Kind::Filter, "mov %r0, 0\nexit")).unwrap().worst_case(), 2);
}

#[test]
fn context_loads_are_known() {
    let text = "
        ldxw %r2, [%r1+0]
        mov %r6, %r1
        ldxw %r3, [%r6+4]
        stdw [%r10-8], 1
        ldxw %r4, [%r10-8]
        mov %r0, 0
        exit
    ";
    let verified = verify(program(Kind::Filter, text)).unwrap();
    let fields: Vec<_> = (0..7).map(|pc| verified.context_load(pc)).collect();
    use ebpf::context::Field;
    let expected = [Some(Field::Data), None, Some(Field::DataEnd), None, None, None, None];
    assert_eq!(fields, expected);
    assert_eq!(verified.detach().context_load(2), Some(Field::DataEnd));
    // One load, two kinds of pointer.
    let mixed = "
        mov %r6, %r1
        call helper 7
        stdw [%r10-8], 1
        jeq %r0, 0, over
        mov %r6, %r10
        add %r6, -8
        over: ldxw %r0, [%r6+0]
        exit
    ";
    assert!(verify(program(Kind::Ash, mixed)).is_err());
}

struct AnyHelpers(Random);

impl Helpers for AnyHelpers {
    fn call(&mut self, id: u32, _args: [u64; 5]) -> Option<u64> {
        let wide = self.0.next();
        ebpf::helper::by_id(id).map(|helper| match helper.returns {
            ebpf::helper::Return::Scalar | ebpf::helper::Return::Status => wide,
            ebpf::helper::Return::MapValueOrNull => 0,
            ebpf::helper::Return::Scalar32 => wide & 0xffff_ffff,
        })
    }
}

#[test]
fn accepted_programs_never_trap() {
    let mut random = Random(0x5afe_0001);
    let mut accepted = [0; 3];
    for _ in 0..6_000 {
        let length = 16 + random.below(120) as usize;
        let bytes = random.bytes(length);
        for (count, kind) in accepted.iter_mut().zip([Kind::Filter, Kind::Ash, Kind::Memory]) {
            let Some(program) = ebpf::fuzzing::program_from_bytes(kind, &bytes) else { continue };
            let Ok(verified) = verify(program.clone()) else { continue };
            *count += 1;
            for _ in 0..4 {
                // Shorter than any frame too: nothing is taken for granted.
                let mut frame = random.frame();
                if random.below(3) == 0 {
                    let keep = random.below(frame.len() as u64) as usize;
                    frame.truncate(keep);
                }
                let budget = u64::from(verified.worst_case());
                let mut helpers = AnyHelpers(Random(random.next() | 1));
                let result = match kind {
                    Kind::Memory => run_memory(&program, &mut frame, &mut helpers, budget),
                    _ => run_packet(&program, &mut frame, &mut helpers, budget),
                };
                assert!(
                    result.is_ok(),
                    "{result:?}\n{}\n{frame:02x?}",
                    ebpf::disasm::disassemble(&program)
                );
            }
        }
    }
    println!("accepted {accepted:?} of 6000 each");
    assert!(accepted.iter().all(|&count| count > 300), "{accepted:?}");
}

#[test]
fn safe_cases_never_trap() {
    let mut random = Random(0x5afe_0002);
    for case in cases().into_iter().filter(|case| case.refused.is_none()) {
        for length in (0..80).chain([1521, 1522]) {
            let mut frame = random.bytes(length);
            let mut helpers = AnyHelpers(Random(random.next() | 1));
            let result = match case.program.kind() {
                Kind::Memory => run_memory(&case.program, &mut frame, &mut NoHelpers, 1_000),
                _ => run_packet(&case.program, &mut frame, &mut helpers, 1_000),
            };
            assert!(result.is_ok(), "{}: {result:?}", case.name);
        }
    }
}
