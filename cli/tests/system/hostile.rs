//! A hostile wire: everything is refused or counted, nothing ends the kernel, the victim answers.

use std::time::Duration;

use abi::books::{Books, Reason};
use sluice::limits;
use sluice::machine::{Board, Machine, Options};
use sluice::wire::frames::{self, GUEST_MAC};
use sluice::wire::hostile;

use super::boots::{booted, ready, turn};

/// Frames of one flood.
const FLOOD: u32 = 3_000;

fn dropped(before: &Books, after: &Books, reason: Reason) -> u64 {
    after.rx.dropped[reason as usize] - before.rx.dropped[reason as usize]
}

/// Times that a full card may cost an answer in a row, before something is wrong.
const FULL_MAX: usize = 3;

/// The echo service answers, and the books add up. A card whose queue is still full of a flood's
/// answers loses one more, and says so in the books: then the question is asked again.
fn is_well(machine: &Machine, what: &str) {
    let text = format!("after {what}");
    let request = frames::udp(41_000, 7, text.as_bytes());
    let echo = |f: &[u8]| frames::is_echo(f, 41_000, 7, text.as_bytes());
    for attempt in 1.. {
        let before = books(machine);
        let Err(error) = machine.exchange(&text, &request, limits::REPLY, echo) else { break };
        let after = books(machine);
        let full = dropped(&before, &after, Reason::CardFull) > 0;
        assert!(full && attempt < FULL_MAX, "{what}: {error}; books {before:?}, then {after:?}");
    }
    match machine.audit() {
        Ok(None) => {}
        other => panic!("{what}: audit {other:?}"),
    }
}

fn books(machine: &Machine) -> Books {
    machine.books().unwrap_or_else(|error| panic!("{error}"))
}

/// One after the other, so that each is judged alone.
fn each_malformed_frame(machine: &Machine) {
    for hostile in hostile::malformed() {
        let before = books(machine);
        machine.send(&hostile.frame).unwrap_or_else(|error| panic!("{error}"));
        is_well(machine, hostile.name);
        let after = books(machine);
        let answered = after.rx.answered - before.rx.answered;
        let most = 1 + u64::from(hostile.owned);
        assert!((1..=most).contains(&answered), "{}: {answered} answers", hostile.name);
        assert_eq!(after.failing(), None, "{}", hostile.name);
    }
}

fn fragments(machine: &Machine) {
    let before = books(machine);
    for offset in 1..=64 {
        machine.send(&frames::later_fragment(offset, b"no ports here")).unwrap_or_default();
    }
    is_well(machine, "later fragments");
    let after = books(machine);
    assert_eq!(dropped(&before, &after, Reason::Fragment), 64);
}

fn too_long(machine: &Machine) {
    let before = books(machine);
    for length in [1523usize, 1600, 2000] {
        let frame = frames::ethernet(GUEST_MAC, 0x0800, &vec![0x45; length - 14]);
        machine.send(&frame).unwrap_or_default();
    }
    is_well(machine, "frames that are too long");
    let after = books(machine);
    assert!(dropped(&before, &after, Reason::Length) >= 1, "1,523 bytes fit a buffer, not a frame");
}

fn flood(machine: &Machine, name: &str, frame: impl Fn(u32) -> Vec<u8>) {
    for number in 0..FLOOD {
        // QEMU takes frames as fast as the kernel gives it buffers; it must never stop for good.
        machine.send(&frame(number)).unwrap_or_else(|error| panic!("{name}, {number}: {error}"));
    }
    is_well(machine, name);
}

fn floods(machine: &Machine) {
    let before = books(machine);
    flood(machine, "a flood of pings", |n| frames::ping(1, n as u16, b"flood"));
    flood(machine, "a flood of echo requests", |n| frames::udp(41_001, 7, &n.to_be_bytes()));
    flood(machine, "a flood for a ring in ring 3", |n| frames::udp(41_001, 7777, &n.to_be_bytes()));
    flood(machine, "a flood for nobody", |n| frames::udp(41_001, (n % 1000) as u16 + 20_000, b"x"));
    flood(machine, "a flood of later fragments", |n| {
        frames::later_fragment(n as u16 % 180 + 1, b"x")
    });
    flood(machine, "a flood of changing lengths", |n| {
        let mut frame = frames::udp(41_001, 7, &[0x33; 600]);
        frame.truncate((n as usize * 7) % 640 + 1);
        frame
    });
    let after = books(machine);
    assert!(after.rx.received - before.rx.received > u64::from(FLOOD), "{after:?}");
    assert!(after.rx.answered - before.rx.answered > 100, "{after:?}");
    assert!(dropped(&before, &after, Reason::Unbound) > 100, "{after:?}");
    assert_eq!(after.failing(), None);
}

#[test]
fn a_hostile_wire_is_counted_and_the_victim_answers_on_q35() {
    let _turn = turn();
    let machine = ready(Board::Q35, "log=info");
    is_well(&machine, "the boot");
    each_malformed_frame(&machine);
    fragments(&machine);
    too_long(&machine);
    floods(&machine);
}

#[test]
fn a_hostile_wire_is_counted_and_the_victim_answers_on_microvm() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    each_malformed_frame(&machine);
    fragments(&machine);
    floods(&machine);
}

/// The card's queue is full of a flood's answers, for as long as the wire takes for them. Answers
/// for which there is no room are dropped and counted; what was put into a ring waits for it.
#[test]
fn a_slow_wire_costs_answers_and_no_command() {
    let _turn = turn();
    let options = Options {
        board: Board::Microvm,
        words: "log=info".to_owned(),
        frame_time: Duration::from_micros(400),
        ..Options::default()
    };
    let machine = booted(&options);
    let before = books(&machine);
    for number in 0..FLOOD / 3 {
        machine.send(&frames::ping(1, number as u16, b"flood")).unwrap();
    }
    let after = books(&machine);
    assert!(dropped(&before, &after, Reason::CardFull) > 0, "the card was never full: {after:?}");
    assert_eq!(after.failing(), None);
    is_well(&machine, "a flood on a slow wire");
}

#[test]
fn control_commands_from_nowhere_are_answered_with_errors() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    for command in [
        "start nobody",
        "start",
        "start spin x",
        "start spin 99999999999999999999",
        "halt",
        "halt 256",
        "format disk",
    ] {
        assert!(machine.command(command).is_err(), "{command}");
        assert_eq!(machine.ended(), None, "{command}");
    }
    is_well(&machine, "wrong commands");
}
