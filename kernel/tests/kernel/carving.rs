//! Bindings taken apart: a connection carved from its listener, one binding handed over as two.

use abi::bind::{BindRequest, BindingStats, CarveRequest, HandOverRequest};
use abi::refusal::{Blame, Code};
use abi::ring::RX_PRODUCED;
use abi::{Call, Rights, Status};
use kernel::EnvironmentId;
use zerocopy::{FromBytes, IntoBytes};

use crate::harness::{
    BindPlan, CONTROL, MAC, Machine, PEER, REFUSAL, SCRATCH, THEM, US, ash, bind, derive,
    fill_slot, filter, produce, refusal, udp, udp_between,
};

const LISTENER: &str = "udp and dst host 10.0.2.15 and dst port 7000";
const BLOCK: u64 = SCRATCH + 0x100;
const FIRST: u64 = SCRATCH + 0x7000;
const FILTER: u64 = SCRATCH + 0x8000;
const ASH: u64 = SCRATCH + 0x9000;

fn connection(from: u16) -> Vec<u8> {
    filter(&format!("{LISTENER} and src host 10.0.2.99 and src port {from}"))
}

/// A machine with a binding that has rings of eight pages; the binding's handle.
fn listening(expression: &str) -> (Machine, u64) {
    let mut machine = Machine::new();
    let (root, own) = (machine.handle("grant:root"), machine.handle("self"));
    let receive = filter("udp and dst host 10.0.2.15 and dst portrange 7000-7999");
    let (_, grant) = derive(&mut machine, root, &receive, &[]);
    let program = filter(expression);
    let who = machine.init;
    let plan = BindPlan { who, own, grant, filter: &program, ash: &[], pages: 8 };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    (machine, binding)
}

fn request(machine: &Machine, who: EnvironmentId, filter: &[u8], handler: &[u8]) -> BindRequest {
    machine.write(who, FILTER, filter);
    machine.write(who, ASH, handler);
    BindRequest {
        filter: FILTER,
        filter_bytes: filter.len() as u64,
        ash: if handler.is_empty() { 0 } else { ASH },
        ash_bytes: handler.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        ..BindRequest::default()
    }
}

fn carve_as(
    machine: &mut Machine,
    (who, listener): (EnvironmentId, u64),
    filter: &[u8],
    handler: &[u8],
) -> (Status, u64) {
    let bind = request(machine, who, filter, handler);
    let block = CarveRequest { bind, ..CarveRequest::default() };
    machine.write(who, BLOCK, block.as_bytes());
    machine.call_as(who, Call::Carve, &[listener, BLOCK])
}

pub(crate) fn carve(machine: &mut Machine, listener: u64, filter: &[u8]) -> (Status, u64) {
    carve_as(machine, (machine.init, listener), filter, &[])
}

pub(crate) fn hand_over(
    machine: &mut Machine,
    old: u64,
    [first, second]: [&[u8]; 2],
    handler: &[u8],
) -> (Status, u64) {
    let who = machine.init;
    let second = request(machine, who, second, handler);
    machine.write(who, FIRST, first);
    let block = HandOverRequest { first: FIRST, first_bytes: first.len() as u64, second };
    machine.write(who, BLOCK, block.as_bytes());
    machine.call(Call::HandOver, &[old, BLOCK])
}

fn stats_as(machine: &mut Machine, who: EnvironmentId, binding: u64) -> BindingStats {
    let at = SCRATCH + 0x300;
    machine.ok_as(who, Call::BindingStats, &[binding, at]);
    BindingStats::read_from_bytes(&machine.read(who, at, size_of::<BindingStats>())).unwrap()
}

fn stats(machine: &mut Machine, binding: u64) -> BindingStats {
    stats_as(machine, machine.init, binding)
}

#[test]
fn a_connection_gets_its_frames_and_gives_them_back() {
    let (mut machine, listener) = listening(LISTENER);
    machine.receive(&udp(5000, 7000, b"syn"));
    let before = machine.kernel.books();
    let (status, first) = carve(&mut machine, listener, &connection(5000));
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let (status, second) = carve(&mut machine, listener, &connection(5001));
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.audit();
    let books = machine.kernel.books();
    assert_eq!((books.grants, books.bindings), (before.grants + 2, before.bindings + 2));
    for (from, count) in [(5000, 3), (5001, 2), (5002, 4)] {
        (0..count).for_each(|_| machine.receive(&udp(from, 7000, b"data")));
    }
    let received = [listener, first, second].map(|it| stats(&mut machine, it).received);
    assert_eq!(received, [1 + 4, 3, 2]);
    machine.ok(Call::Unbind, &[first]);
    machine.receive(&udp(5000, 7000, b"late"));
    machine.receive(&udp(5001, 7000, b"data"));
    let received = [listener, second].map(|it| stats(&mut machine, it).received);
    assert_eq!(received, [6, 3]);
    // The grant went with its binding, and the same connection may come again.
    assert_eq!(machine.kernel.books().grants, before.grants + 1);
    assert_eq!(carve(&mut machine, listener, &connection(5000)).0, Status::Ok);
    machine.ok(Call::Unbind, &[listener]);
    machine.receive(&udp(5001, 7000, b"data"));
    assert_eq!(stats(&mut machine, second).received, 4);
    machine.audit();
}

#[test]
fn what_cannot_be_carved_is_refused_and_changes_nothing() {
    let (mut machine, listener) = listening(LISTENER);
    assert_eq!(carve(&mut machine, listener, &connection(5000)).0, Status::Ok);
    let before = machine.kernel.books();
    let cases = [
        // Not the listener's.
        (filter("udp and dst host 10.0.2.15 and dst port 7001"), Code::OutsideGrant),
        // Carved already; and what holds a connection that is.
        (connection(5000), Code::Overlap),
        (filter(LISTENER), Code::Overlap),
        // A grant is a space: what cannot be told exactly is none.
        (ports_equal(), Code::Undecided),
    ];
    for (program, code) in cases {
        assert_eq!(carve(&mut machine, listener, &program).0, Status::Refused, "{code:?}");
        let record = refusal(&machine, machine.init);
        assert_eq!((record.code, record.blame), (code, Blame::Filter));
        assert_eq!(record.witness.is_some(), code != Code::Undecided, "{code:?}");
        let books = machine.kernel.books();
        assert_eq!((books.grants, books.bindings), (before.grants, before.bindings));
        assert_eq!(books.frames, before.frames);
        machine.audit();
    }
    let loops = ash("top:\nmov %r0, 1\nja top\nexit\n");
    let who = (machine.init, listener);
    assert_eq!(carve_as(&mut machine, who, &connection(5003), &loops).0, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).blame, Blame::Ash);
    machine.receive(&udp(5003, 7000, b"still the listener's"));
    assert_eq!(stats(&mut machine, listener).received, 1);
    machine.audit();
}

/// UDP over IPv4 without options whose ports are the same: outside what can be claimed.
fn ports_equal() -> Vec<u8> {
    let text = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        mov %r0, 0
        mov %r4, %r2
        add %r4, 42
        jgt %r4, %r3, out
        ldxh %r5, [%r2+34]
        ldxh %r6, [%r2+36]
        jne %r5, %r6, out
        mov %r0, 1
        out:
        exit";
    let insns = ebpf::asm::assemble(text).unwrap();
    ebpf::encode(&ebpf::Program::from_insns(ebpf::Kind::Filter, insns).unwrap())
}

#[test]
fn a_connection_sends_to_its_peer_only() {
    let mut machine = Machine::new();
    let (root, own) = (machine.handle("grant:root"), machine.handle("self"));
    let (_, listener) = {
        let who = machine.init;
        let program = filter(LISTENER);
        let plan = BindPlan { who, own, grant: root, filter: &program, ash: &[], pages: 0 };
        bind(&mut machine, &plan)
    };
    // With the harness's rings: the listener has none.
    let who = machine.init;
    let mut bind = request(&machine, who, &connection(5000), &[]);
    bind.control_page = machine.page(who, own, CONTROL);
    let slots = machine.page(who, own, crate::harness::TRANSMIT);
    machine.write(who, SCRATCH + 0x400, &slots.to_le_bytes());
    (bind.tx_pages, bind.tx_page_count) = (SCRATCH + 0x400, 1);
    let block = CarveRequest { bind, ..CarveRequest::default() };
    machine.write(who, BLOCK, block.as_bytes());
    let (status, connected) = machine.call(Call::Carve, &[listener, BLOCK]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    fill_slot(&machine, who, 0, &udp_between((MAC, US, 7000), (PEER, THEM, 5000), b"answer"));
    fill_slot(&machine, who, 1, &udp_between((MAC, US, 7000), (PEER, THEM, 5001), b"spoofed"));
    produce(&machine, who, 2);
    assert_eq!(machine.ok(Call::Transmit, &[connected]), 2);
    let stats = stats(&mut machine, connected);
    assert_eq!((stats.transmitted, stats.refused), (1, 1));
    machine.audit();
}

#[test]
fn whoever_may_unbind_the_listener_may_take_connections_for_himself() {
    let (mut machine, listener) = listening(LISTENER);
    let (worker, handle, _) = machine.child(6_000);
    let pass = |machine: &mut Machine, rights: Rights| {
        machine.ok(Call::CapGrant, &[listener, handle, rights.bits().into()])
    };
    let theirs = pass(&mut machine, Rights::REVOKE | Rights::TRANSMIT | Rights::READ);
    let weak = [Rights::REVOKE, Rights::TRANSMIT].map(|rights| pass(&mut machine, rights));
    // The child has four scratch pages; the blocks go elsewhere.
    for page in [FIRST, FILTER, ASH] {
        let fresh = machine.ok(Call::PageAlloc, &[handle, u64::MAX]);
        machine.ok(Call::PageMap, &[handle, fresh, page, 3]);
    }
    let program = connection(5000);
    for weak in weak {
        let (status, _) = carve_as(&mut machine, (worker, weak), &program, &[]);
        assert_eq!(status, Status::MissingRight);
    }
    let (status, taken) = carve_as(&mut machine, (worker, theirs), &program, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.receive(&udp(5000, 7000, b"for the worker"));
    machine.receive(&udp(5001, 7000, b"for the listener"));
    assert_eq!(stats_as(&mut machine, worker, taken).received, 1);
    assert_eq!(stats(&mut machine, listener).received, 1);
    // It dies: its connection is the listener's again, and everything is given back.
    machine.ok(Call::EnvKill, &[handle]);
    machine.receive(&udp(5000, 7000, b"for the listener"));
    assert_eq!(stats(&mut machine, listener).received, 2);
    machine.audit();
}

const WHOLE: &str = "udp and dst host 10.0.2.15 and dst portrange 7100-7107";
const LOW: &str = "udp and dst host 10.0.2.15 and dst portrange 7100-7103";
const HIGH: &str = "udp and dst host 10.0.2.15 and dst portrange 7104-7107";

#[test]
fn a_binding_handed_over_loses_nothing_and_doubles_nothing() {
    let (mut machine, binding) = listening(WHOLE);
    let copy = machine.ok(Call::CapDerive, &[binding, 1]);
    let wave = |machine: &mut Machine| {
        for port in 7099..7109 {
            machine.receive(&udp(1, port, b"one"));
        }
    };
    wave(&mut machine);
    assert_eq!(machine.read_u32(machine.init, CONTROL + RX_PRODUCED as u64), 8);
    let (low, high) = (filter(LOW), filter(HIGH));
    let drops = ash("mov %r0, 1\nexit\n");
    let (status, second) = hand_over(&mut machine, binding, [&low, &high], &drops);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.audit();
    // What was in the ring is in the ring.
    assert_eq!(machine.read_u32(machine.init, CONTROL + RX_PRODUCED as u64), 8);
    machine.write(machine.init, CONTROL + abi::ring::RX_CONSUMED as u64, &8u32.to_le_bytes());
    wave(&mut machine);
    assert_eq!(machine.read_u32(machine.init, CONTROL + RX_PRODUCED as u64), 12);
    let (first, second) = (stats(&mut machine, binding), stats(&mut machine, second));
    assert_eq!((first.received, first.delivered), (12, 12));
    assert_eq!((second.received, second.dropped), (4, 4));
    assert_eq!(machine.call(Call::BindingStats, &[copy, SCRATCH]).0, Status::BadHandle);
    // Both can be handed over and taken back like any other.
    let halves = ["7100-7101", "7102-7103"]
        .map(|range| filter(&format!("udp and dst host 10.0.2.15 and dst portrange {range}")));
    let (status, third) = hand_over(&mut machine, binding, [&halves[1], &halves[0]], &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.ok(Call::Unbind, &[third]);
    machine.receive(&udp(1, 7102, b"kept"));
    assert_eq!(stats(&mut machine, binding).received, 13);
    machine.ok(Call::Unbind, &[binding]);
    machine.audit();
}

#[test]
fn what_is_not_the_whole_in_two_parts_is_refused_and_changes_nothing() {
    let (mut machine, binding) = listening(WHOLE);
    let before = machine.kernel.books();
    let range =
        |range: &str| filter(&format!("udp and dst host 10.0.2.15 and dst portrange {range}"));
    let low = filter(LOW);
    for (second, code) in [
        (range("7105-7107"), Code::Overlap),
        (range("7103-7107"), Code::Overlap),
        (range("7104-7108"), Code::OutsideGrant),
    ] {
        let (status, _) = hand_over(&mut machine, binding, [&low, &second], &[]);
        assert_eq!(status, Status::Refused);
        let record = refusal(&machine, machine.init);
        assert_eq!(record.code, code);
        assert!(record.witness.is_some());
        machine.audit();
    }
    let (status, _) = hand_over(&mut machine, binding, [&low, &ports_equal()], &[]);
    assert_eq!(status, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!((record.code, record.blame), (Code::Undecided, Blame::Rest));
    let (status, _) = hand_over(&mut machine, binding, [&low, &[1, 2, 3]], &[]);
    assert_eq!(status, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).blame, Blame::Rest);
    let books = machine.kernel.books();
    assert_eq!((books.bindings, books.frames), (before.bindings, before.frames));
    machine.receive(&udp(1, 7106, b"still one"));
    assert_eq!(stats(&mut machine, binding).received, 1);
    machine.audit();
}

#[test]
fn only_the_owner_hands_over() {
    let (mut machine, binding) = listening(WHOLE);
    let (other, handle, _) = machine.child(500);
    let rights = Rights::READ | Rights::REVOKE;
    let theirs = machine.ok(Call::CapGrant, &[binding, handle, rights.bits().into()]);
    let (status, _) = machine.call_as(other, Call::HandOver, &[theirs, SCRATCH]);
    assert_eq!(status, Status::BadArgument);
    machine.audit();
}

#[test]
fn tables_are_whole_after_finitely_many_calls() {
    let mut machine = Machine::new();
    let (root, own) = (machine.handle("grant:root"), machine.handle("self"));
    let who = machine.init;
    let put = |machine: &mut Machine, text: &str| {
        let program = filter(text);
        let plan = BindPlan { who, own, grant: root, filter: &program, ash: &[], pages: 0 };
        assert_eq!(bind(machine, &plan).0, Status::Ok, "{text}");
    };
    for port in 0..40 {
        put(&mut machine, &format!("udp and dst host 10.0.2.15 and dst port {}", 7000 + port));
    }
    put(&mut machine, "tcp and src host 10.0.2.99 and dst port 80");
    let mut calls = 0;
    while machine.ok(Call::GrantSettle, &[root]) == 0 {
        calls += 1;
        assert!(calls < 100);
    }
    assert!(calls > 2, "{calls} calls");
    machine.audit();
}
