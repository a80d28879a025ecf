//! What handlers begin: copies within guard, allowance and limit; owners that wake.

use abi::books::Reason;
use abi::record::{Record, Verdict};
use abi::ring::EVENT_MESSAGE;
use abi::start::State;
use abi::upcall::{self, Kind};
use abi::{Call, Status};

use crate::downloads::{bound, stats};
use crate::harness::{MAC, Machine, PEER, SCRATCH, THEM, US, ash, udp, udp_between};
use crate::packets::ECHO;

/// [`ECHO`]'s rewriting, then `count` copies, then the action.
fn copying(count: usize, action: u32) -> Vec<u8> {
    let copies = "mov %r1, %r9\ncall 0x10001\n".repeat(count);
    let text = ECHO.replacen("mov %r0, 3", &format!("{copies}mov %r0, {action}"), 1);
    ash(&format!("mov %r9, %r1\n{text}"))
}

fn refused(machine: &Machine, reason: Reason) -> u64 {
    machine.kernel.books().tx.refused[reason as usize]
}

#[test]
fn a_copy_leaves_as_the_packet_was_and_the_packet_goes_its_own_way() {
    let (mut machine, binding) = bound("log=off trace", &copying(1, 2), 1);
    for payload in [&b"short"[..], &[7; 1000]] {
        machine.receive(&udp(4242, 7, payload));
        let copy = udp_between((MAC, US, 7), (PEER, THEM, 4242), payload);
        assert_eq!(machine.wire.sent(), [copy]);
    }
    let books = machine.kernel.books();
    assert_eq!((books.rx.delivered, books.rx.answered), (2, 0));
    assert_eq!((books.tx.requested, books.tx.sent), (2, 2));
    let counts = stats(&mut machine, binding);
    assert_eq!((counts.initiated, counts.refused), (2, 0));
    let traced = machine
        .records()
        .iter()
        .filter(|record| matches!(record, Record::Packet { verdict: Verdict::Sent(_), .. }))
        .count();
    assert_eq!(traced, 2);
}

#[test]
fn one_packet_makes_no_more_than_so_many() {
    let (mut machine, binding) = bound("log=off", &copying(9, 3), 0);
    machine.receive(&udp(4242, 7, b"amplify"));
    assert_eq!(machine.wire.sent().len(), 4 + 1);
    assert_eq!(refused(&machine, Reason::CopyLimit), 5);
    assert_eq!(stats(&mut machine, binding).refused, 5);
}

#[test]
fn a_copy_outside_the_guard_is_refused_and_counted() {
    // As it came: from the peer, not from us.
    let (mut machine, binding) =
        bound("log=off", &ash("call 0x10001\nmov %r6, %r0\nadd %r6, 1\nmov %r0, %r6\nexit"), 1);
    machine.receive(&udp(4242, 7, b"forged"));
    assert!(machine.wire.sent().is_empty());
    assert_eq!(refused(&machine, Reason::Guard), 1);
    // The program knows: its action was 2, the result and one.
    assert_eq!(machine.kernel.books().rx.delivered, 1);
    assert_eq!(stats(&mut machine, binding).refused, 1);
}

#[test]
fn copies_that_the_card_does_not_take_are_refused_and_their_room_comes_back() {
    let (mut machine, _) = bound("log=off", &copying(4, 1), 0);
    machine.wire.stall(true);
    for _ in 0..4 {
        machine.receive(&udp(4242, 7, &[1; 900]));
    }
    assert_eq!(refused(&machine, Reason::CardFull), 8);
    assert_eq!(machine.kernel.books().tx.in_flight, 8);
    machine.wire.stall(false);
    machine.kernel.serve();
    assert_eq!(machine.kernel.books().tx.in_flight, 0);
    machine.receive(&udp(4242, 7, &[1; 900]));
    assert_eq!(machine.kernel.books().tx.sent, 12);
}

#[test]
fn copies_are_charged_beyond_the_run() {
    let (mut machine, binding) = bound("log=off allowance=4800", &copying(4, 1), 0);
    machine.receive(&udp(4242, 7, b"x"));
    // 31 instructions and four calls at 64 more; then two copies at 2,048.
    assert_eq!(machine.wire.sent().len(), 2);
    assert_eq!(refused(&machine, Reason::OwnerBroke), 2);
    assert_eq!(stats(&mut machine, binding).initiated, 2);
}

#[test]
fn replies_that_trigger_themselves_stop_where_the_allowance_does() {
    let (mut machine, binding) = bound("log=off allowance=2300", &ash(ECHO), 0);
    // A wire that returns what it gets, between a port and itself.
    let mut waiting = vec![udp_between((MAC, US, 7), (MAC, US, 7), b"for ever")];
    for _ in 0..1_000 {
        let Some(frame) = waiting.pop() else { break };
        machine.receive(&frame);
        waiting.extend(machine.wire.sent());
    }
    assert!(waiting.is_empty());
    let counts = stats(&mut machine, binding);
    assert_eq!((counts.answered, counts.dropped), (100, 1));
    assert_eq!(machine.kernel.books().rx.dropped[Reason::OwnerBroke as usize], 1);
}

const WAKE: &str = "mov %r2, 77\ncall 0x10000\nmov %r2, 78\nmov %r1, %r9\ncall 0x10000\n\
                    mov %r0, 1\nexit";

#[test]
fn an_owner_that_waits_is_woken_once() {
    let (mut machine, binding) = bound("log=off", &ash(&format!("mov %r9, %r1\n{WAKE}")), 0);
    machine.kernel.call(machine.init, Call::Wait as u64, [u64::MAX; 6]);
    assert_eq!(machine.state(machine.init), Some(State::Waiting));
    machine.receive(&udp(1, 7, b"wake up"));
    assert_eq!(machine.state(machine.init), Some(State::Runnable));
    assert_eq!(machine.kernel.registers(machine.init).unwrap().rdx, EVENT_MESSAGE);
    machine.receive(&udp(1, 7, b"again"));
    assert_eq!(machine.call(Call::Wait, &[0]), (Status::Ok, EVENT_MESSAGE));
    assert_eq!(stats(&mut machine, binding).woken, 2);
}

#[test]
fn an_owner_with_a_handler_is_entered_with_the_argument() {
    let (mut machine, _) = bound("log=off", &ash(&format!("mov %r9, %r1\n{WAKE}")), 0);
    let (entry, stack, save) = (0x40_0000, SCRATCH + 0x4000, SCRATCH + 0x4000);
    machine.ok(Call::UpcallSet, &[Kind::Message as u64, entry, stack, save]);
    machine.kernel.call(machine.init, Call::Wait as u64, [u64::MAX; 6]);
    machine.receive(&udp(1, 7, b"message"));
    let registers = machine.kernel.registers(machine.init).unwrap();
    assert_eq!((registers.rip, registers.rax), (entry, save));
    let argument = machine.read(machine.init, save + upcall::ARGUMENT as u64, 8);
    assert_eq!(argument, 78_u64.to_le_bytes());
    machine.audit();
}
