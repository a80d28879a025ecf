//! Library OSes that misbehave, loop, fault or end: they take nothing with them.

use abi::record::Record;
use abi::refusal::Code;
use abi::start::State;
use sluice::limits;
use sluice::machine::{Board, Machine, MachineError};
use sluice::roster::Roster;
use sluice::wire::frames;

use super::boots::{image, ready, turn};

/// Waits for the end of an environment; its state and detail.
fn end_of(machine: &Machine, mark: usize, who: &str) -> Result<(State, u64), MachineError> {
    machine.record(mark, &format!("waiting for the end of {who}"), |record| match record {
        Record::Environment { name, state, detail, .. } if name == who => {
            let over = matches!(state, State::Exited | State::Faulted | State::Killed);
            over.then_some((*state, *detail))
        }
        _ => None,
    })
}

/// The ASH and the library OS answer, and the books add up.
fn all_is_well(machine: &Machine, what: &str) {
    for port in [7, 9, 7777] {
        let text = format!("{what}, port {port}");
        let request = frames::udp(42_000, port, text.as_bytes());
        let echo = |f: &[u8]| frames::is_echo(f, 42_000, port, text.as_bytes());
        let answer = machine.exchange(&text, &request, limits::REPLY, echo);
        assert!(answer.is_ok(), "{}", answer.unwrap_err());
    }
    match machine.audit() {
        Ok(None) => {}
        other => panic!("{what}: audit {other:?}"),
    }
}

#[test]
fn misbehaving_programs_take_nothing_with_them() {
    let _turn = turn();
    let machine = ready(Board::Q35, "log=info");
    all_is_well(&machine, "boot");

    let mark = machine.journal().mark();
    machine.command("start squatter").unwrap();
    let (state, code) = end_of(&machine, mark, "squatter").unwrap();
    assert_eq!((state, code), (State::Exited, 0), "{}", machine.serial());
    refusals_have_their_proofs(&machine, mark);
    all_is_well(&machine, "squatter");

    let mark = machine.journal().mark();
    machine.command("start faulter").unwrap();
    let (state, vector) = end_of(&machine, mark, "faulter").unwrap();
    assert_eq!(state, State::Faulted);
    assert!([13, 14].contains(&vector), "vector {vector}");
    all_is_well(&machine, "faulter");

    machine.command("start spin 3").unwrap();
    all_is_well(&machine, "three that loop");
    let mark = machine.journal().mark();
    machine.command("start sse 2").unwrap();
    for who in ["sse.0", "sse.1"] {
        assert_eq!(end_of(&machine, mark, who).unwrap(), (State::Exited, 0), "{who}");
    }
    assert_eq!(machine.command("kill spin").unwrap(), "3");
    all_is_well(&machine, "their end");
}

/// Every witness is accepted by the refused filter, and an overlap's by the other filter as well.
fn refusals_have_their_proofs(machine: &Machine, mark: usize) {
    let roster = Roster::read(machine.journal(), &image().manifest);
    let refusals = machine.journal().collect(mark, |record| match record {
        Record::Refused { program, refusal, .. } => Some((program.clone(), refusal.clone())),
        _ => None,
    });
    let codes: Vec<Code> = refusals.iter().map(|(_, refusal)| refusal.code).collect();
    for code in [Code::Overlap, Code::OutsideGrant, Code::Unsafe] {
        assert!(codes.contains(&code), "{code:?} is not among {codes:?}");
    }
    for (program, refusal) in refusals {
        let Some(witness) = refusal.witness else { continue };
        assert!(accepts(&program, &witness), "{:?}", refusal.code);
        if let (Code::Overlap, Some(other)) = (refusal.code, refusal.other) {
            let other = roster.bindings.iter().find(|bound| bound.id == other).unwrap();
            assert_eq!(other.owner, "talk");
            assert!(accepts(&other.filter, &witness));
        }
    }
}

fn accepts(program: &[u8], frame: &[u8]) -> bool {
    let limit = abi::limits::PROGRAM_SLOTS_MAX;
    let program = ebpf::decode(program, ebpf::Kind::Filter, limit);
    program.is_ok_and(|program| ebpf::interp::accepts(&program, frame).unwrap_or(false))
}

#[test]
fn a_library_os_that_ends_gives_back_what_it_had() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    all_is_well(&machine, "boot");
    let before = machine.books().unwrap();
    // More lives than the machine could hold at once.
    for round in 0..20 {
        machine.command("start spin 6").unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(machine.command("kill spin").unwrap(), "6");
    }
    let after = machine.books().unwrap();
    assert_eq!(after.environments, before.environments);
    assert_eq!(after.frames.free, before.frames.free, "{before:?}\n{after:?}");
    all_is_well(&machine, "120 lives");

    // The owner of port 7777 goes; its port is nobody's, then somebody's again.
    assert_eq!(machine.command("kill talk").unwrap(), "1");
    let request = frames::udp(42_001, 7777, b"anybody?");
    let echo = |f: &[u8]| frames::is_echo(f, 42_001, 7777, b"anybody?");
    assert_eq!(machine.silence("silence", &request, echo).unwrap(), None);
    let mark = machine.journal().mark();
    machine.command("start talk").unwrap();
    machine
        .record(mark, "waiting for talk's filter", |r| {
            matches!(r, Record::Bound { .. }).then_some(())
        })
        .unwrap();
    all_is_well(&machine, "talk's second life");
}
