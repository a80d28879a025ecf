//! Packets through the whole path: dropped, delivered, answered; each in the books.

use abi::books::Reason;
use abi::record::{Record, Verdict};
use abi::ring::{RX_DROPPED, RX_PRODUCED};
use abi::{Call, Status};

use crate::harness::{
    BindPlan, CONTROL, MAC, Machine, PEER, RECEIVE, THEM, US, ash, bind, derive, filter, udp,
    udp_between,
};

/// Swaps both addresses of the Ethernet and IPv4 headers and the ports, and replies.
pub(crate) const ECHO: &str = "
    ldxw %r2, [%r1+0]
    ldxw %r3, [%r1+4]
    mov %r4, %r2
    add %r4, 42
    jgt %r4, %r3, pass
    ldxw %r5, [%r2+0]
    ldxh %r6, [%r2+4]
    ldxw %r7, [%r2+6]
    ldxh %r8, [%r2+10]
    stxw [%r2+0], %r7
    stxh [%r2+4], %r8
    stxw [%r2+6], %r5
    stxh [%r2+10], %r6
    ldxw %r5, [%r2+26]
    ldxw %r6, [%r2+30]
    stxw [%r2+26], %r6
    stxw [%r2+30], %r5
    ldxh %r5, [%r2+34]
    ldxh %r6, [%r2+36]
    stxh [%r2+34], %r6
    stxh [%r2+36], %r5
    mov %r0, 3
    exit
pass:
    mov %r0, 2
    exit";

fn returning(action: i32) -> Vec<u8> {
    ash(&format!("mov %r0, {action}\nexit"))
}

/// A machine with a grant of port 7 and a binding under it.
fn bound(ash: &[u8], pages: u64) -> (Machine, u64) {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst port 7");
    let (status, grant) = derive(&mut machine, root, &receive, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let own = machine.handle("self");
    let plan = BindPlan { who: machine.init, own, grant, filter: &receive, ash, pages };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    (machine, binding)
}

fn dropped(machine: &Machine, reason: Reason) -> u64 {
    machine.kernel.books().rx.dropped[reason as usize]
}

#[test]
fn frames_of_no_legal_length_are_dropped_first() {
    let mut machine = Machine::new();
    for length in [0, 1, 13, 1523, 1700] {
        machine.receive(&vec![0; length]);
    }
    assert_eq!(dropped(&machine, Reason::Length), 5);
    machine.receive(&[0; 14]);
    machine.receive(&[0; 1522]);
    assert_eq!(dropped(&machine, Reason::Unbound), 2);
    assert_eq!(machine.kernel.books().rx.received, 7);
}

#[test]
fn later_fragments_are_dropped_whoever_owns_their_port() {
    let (mut machine, _) = bound(&[], 1);
    let mut frame = udp(5, 7, b"here might stand a port!");
    frame[20] = 0x20;
    frame[21] = 0x01;
    machine.receive(&frame);
    assert_eq!(dropped(&machine, Reason::Fragment), 1);
    assert_eq!(machine.kernel.books().rx.delivered, 0);
}

#[test]
fn an_ash_answers_in_place_while_its_owner_does_nothing() {
    let (mut machine, binding) = bound(&ash(ECHO), 0);
    machine.receive(&udp(4242, 7, b"hello"));
    let reply = udp_between((MAC, US, 7), (PEER, THEM, 4242), b"hello");
    assert_eq!(machine.wire.sent(), [reply]);
    let books = machine.kernel.books();
    assert_eq!((books.rx.received, books.rx.answered), (1, 1));
    let records = machine.records();
    let latency = records.iter().any(|r| matches!(r, Record::Latency { in_kernel: true, .. }));
    let traced = records.iter().find_map(|record| match record {
        Record::Packet { verdict: Verdict::Answered(_), frame, .. } => Some(frame.len()),
        _ => None,
    });
    let verdict = traced == Some(47);
    assert!(latency && verdict);
    let at = crate::harness::SCRATCH;
    machine.ok(Call::BindingStats, &[binding, at]);
    let stats = machine.read(machine.init, at, 16);
    assert_eq!(stats, [1u64, 1].map(u64::to_le_bytes).concat());
}

#[test]
fn what_an_ash_says_otherwise_is_counted_under_its_reason() {
    let actions = [
        (0, Reason::AshAborted),
        (1, Reason::AshDrop),
        (5, Reason::AshAborted),
        (-1, Reason::AshAborted),
        (2, Reason::NoRing),
        // The reply would be the request itself: not from us, outside the guard.
        (3, Reason::Guard),
    ];
    for (action, reason) in actions {
        let (mut machine, _) = bound(&returning(action), 0);
        machine.receive(&udp(1, 7, b""));
        assert_eq!(dropped(&machine, reason), 1, "{action}");
        assert!(machine.wire.sent().is_empty());
    }
}

#[test]
fn packets_reach_the_ring_until_it_is_full() {
    let (mut machine, _) = bound(&[], 1);
    for n in 0..3 {
        machine.receive(&udp(9, 7, &[n; 20]));
    }
    assert_eq!(machine.read_u32(machine.init, CONTROL + RX_PRODUCED as u64), 2);
    assert_eq!(machine.read_u32(machine.init, CONTROL + RX_DROPPED as u64), 1);
    let frame = udp(9, 7, &[1; 20]);
    assert_eq!(machine.read_u32(machine.init, RECEIVE + 2048), frame.len() as u32);
    assert_eq!(machine.read(machine.init, RECEIVE + 2048 + 16, frame.len()), frame);
    assert_eq!(dropped(&machine, Reason::RingFull), 1);
    assert_eq!(machine.kernel.books().rx.delivered, 2);
    let (status, events) = machine.call(Call::Wait, &[u64::MAX]);
    assert_eq!((status, events), (Status::Ok, abi::ring::EVENT_PACKET));
}

#[test]
fn a_corrupt_index_costs_its_owner_its_packets_and_nobody_else() {
    let (mut machine, _) = bound(&[], 1);
    let consumed = CONTROL + abi::ring::RX_CONSUMED as u64;
    for index in [1u32, 0x8000_0000, u32::MAX - 5] {
        machine.write(machine.init, consumed, &index.to_le_bytes());
        machine.receive(&udp(9, 7, b"x"));
    }
    assert_eq!(dropped(&machine, Reason::RingCorrupt), 3);
}

#[test]
fn carved_space_that_nobody_bound_is_nobodys() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let own = machine.handle("self");
    let everything = filter("udp and dst port 8");
    let plan =
        BindPlan { who: machine.init, own, grant: root, filter: &everything, ash: &[], pages: 1 };
    assert_eq!(bind(&mut machine, &plan).0, Status::Ok);
    let receive = filter("udp and dst host 10.0.2.15 and dst portrange 100-200");
    assert_eq!(derive(&mut machine, root, &receive, &[]).0, Status::Ok);
    machine.receive(&udp(1, 150, b""));
    assert_eq!(dropped(&machine, Reason::Unbound), 1);
    machine.receive(&udp(1, 8, b""));
    assert_eq!(machine.kernel.books().rx.delivered, 1);
}

#[test]
fn a_full_card_drops_the_reply_and_counts_it() {
    let (mut machine, _) = bound(&ash(ECHO), 0);
    machine.wire.stall(true);
    for _ in 0..machine::limits::NIC_QUEUE + 2 {
        machine.receive(&udp(1, 7, b""));
    }
    assert_eq!(dropped(&machine, Reason::CardFull), 2);
}

#[test]
fn a_burst_is_served_whole_however_few_interrupts_it_raised() {
    let mut machine = Machine::new();
    machine.kernel.call(machine.init, Call::Wait as u64, [u64::MAX; 6]);
    for _ in 0..200 {
        machine.wire.send(&udp(1, 2, b"burst"));
    }
    machine.kernel.serve();
    assert_eq!(machine.kernel.books().rx.received, 200);
    machine.audit();
}

#[test]
fn buffers_that_the_device_garbled_are_in_the_books() {
    let mut machine = Machine::new();
    machine.wire.misbehave(3);
    machine.receive(&udp(1, 7, b""));
    assert_eq!(machine.kernel.books().rx.malformed, 3);
    assert_eq!(machine.kernel.books().rx.received, 1);
}
