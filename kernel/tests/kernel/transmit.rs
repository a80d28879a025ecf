//! Transmission: what the guard lets out, what it stops, and what corrupt rings do.

use abi::books::Reason;
use abi::ring::{EVENT_TRANSMITTED, TX_COMPLETED};
use abi::{Call, Status};

use crate::harness::{
    BindPlan, CONTROL, MAC, Machine, PEER, THEM, TRANSMIT, US, ash, bind, derive, fill_slot,
    filter, produce, udp, udp_between,
};
use crate::packets::ECHO;

fn bound(pages: u64) -> (Machine, u64) {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst port 7800");
    let (status, grant) = derive(&mut machine, root, &receive, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let own = machine.handle("self");
    let plan = BindPlan { who: machine.init, own, grant, filter: &receive, ash: &[], pages };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    (machine, binding)
}

fn honest(payload: &[u8]) -> Vec<u8> {
    udp_between((MAC, US, 7800), (PEER, THEM, 9), payload)
}

fn send(machine: &mut Machine, binding: u64, index: u32, frame: &[u8]) -> (Status, u64) {
    fill_slot(machine, machine.init, u64::from(index % 4), frame);
    produce(machine, machine.init, index + 1);
    let result = machine.call(Call::Transmit, &[binding]);
    machine.kernel.serve();
    machine.audit();
    result
}

fn refused(machine: &Machine, reason: Reason) -> u64 {
    machine.kernel.books().tx.refused[reason as usize]
}

#[test]
fn what_the_grant_allows_goes_out_and_completes() {
    let (mut machine, binding) = bound(2);
    for (index, payload) in [vec![1; 3], vec![2; 1400]].iter().enumerate() {
        assert_eq!(send(&mut machine, binding, index as u32, &honest(payload)), (Status::Ok, 1));
        assert_eq!(machine.wire.sent(), [honest(payload)]);
    }
    assert_eq!(machine.read_u32(machine.init, CONTROL + TX_COMPLETED as u64), 2);
    assert_eq!(machine.call(Call::Wait, &[u64::MAX]), (Status::Ok, EVENT_TRANSMITTED));
    let books = machine.kernel.books().tx;
    assert_eq!((books.requested, books.sent, books.in_flight), (2, 2, 0));
}

#[test]
fn forged_frames_are_stopped_and_counted() {
    let (mut machine, binding) = bound(2);
    let forged = [
        udp_between((MAC, US, 53), (PEER, THEM, 9), b"port"),
        udp_between((MAC, [10, 0, 2, 16], 7800), (PEER, THEM, 9), b"address"),
        udp_between((PEER, US, 7800), (PEER, THEM, 9), b"mac"),
        vec![0xff; 60],
    ];
    for (index, frame) in forged.iter().enumerate() {
        assert_eq!(send(&mut machine, binding, index as u32, frame), (Status::Ok, 1));
    }
    assert_eq!(refused(&machine, Reason::Guard), 4);
    assert!(machine.wire.sent().is_empty());
    assert_eq!(machine.read_u32(machine.init, CONTROL + TX_COMPLETED as u64), 4);
    let mut stats = [0; 48];
    let at = crate::harness::SCRATCH;
    machine.ok(Call::BindingStats, &[binding, at]);
    stats.copy_from_slice(&machine.read(machine.init, at, 48));
    assert_eq!(stats[40..], 4u64.to_le_bytes());
}

#[test]
fn fragments_are_not_transmitted() {
    let (mut machine, binding) = bound(2);
    for (index, field) in [0x20u8, 0x20, 0x00].into_iter().enumerate() {
        let mut frame = honest(b"fragment");
        frame[20] = field;
        frame[21] = index as u8;
        send(&mut machine, binding, index as u32, &frame);
    }
    assert_eq!(refused(&machine, Reason::Fragment), 3);
    assert!(machine.wire.sent().is_empty());
}

#[test]
fn lengths_from_nowhere_are_refused() {
    let (mut machine, binding) = bound(2);
    for (index, length) in [0u32, 13, 1523, u32::MAX].into_iter().enumerate() {
        machine.write(machine.init, TRANSMIT + index as u64 * 2048, &length.to_le_bytes());
        produce(&machine, machine.init, index as u32 + 1);
        assert_eq!(machine.call(Call::Transmit, &[binding]), (Status::Ok, 1));
        machine.audit();
    }
    assert_eq!(refused(&machine, Reason::Length), 4);
}

#[test]
fn indices_from_nowhere_are_corrupt_and_change_nothing() {
    let (mut machine, binding) = bound(1);
    for index in [3, 100, 0x8000_0000, u32::MAX] {
        produce(&machine, machine.init, index);
        assert_eq!(machine.call(Call::Transmit, &[binding]), (Status::RingCorrupt, 0));
        machine.audit();
    }
    assert_eq!(send(&mut machine, binding, 0, &honest(b"fine")), (Status::Ok, 1));
}

#[test]
fn a_card_that_completes_nothing_is_busy_in_the_end() {
    let (mut machine, binding) = bound(64);
    machine.wire.stall(true);
    for slot in 0..128 {
        fill_slot(&machine, machine.init, slot, &honest(b"x"));
    }
    produce(&machine, machine.init, 128);
    let mut taken = 0;
    loop {
        match machine.call(Call::Transmit, &[binding]) {
            (Status::Ok, n) => taken += n,
            (status, _) => {
                assert_eq!(status, Status::Busy);
                break;
            }
        }
        machine.audit();
    }
    assert_eq!(taken, machine::limits::TRANSMIT_SLOTS as u64);
    assert_eq!(machine.kernel.books().tx.in_flight, taken);
    machine.wire.stall(false);
    machine.kernel.serve();
    assert_eq!(machine.read_u32(machine.init, CONTROL + TX_COMPLETED as u64), taken as u32);
    assert!(matches!(machine.call(Call::Transmit, &[binding]), (Status::Ok, 1..)));
    machine.audit();
}

#[test]
fn who_finds_the_card_full_of_others_frames_is_told_of_room() {
    let (mut machine, binding) = bound(2);
    let root = machine.handle("grant:root");
    let (child, handle, own) = machine.child(6_000);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32 | 16]);
    let (program, ash) = (filter("udp and dst port 7"), ash(ECHO));
    let plan = BindPlan { who: child, own, grant, filter: &program, ash: &ash, pages: 0 };
    let (status, _) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.wire.stall(true);
    let queue = machine::limits::NIC_QUEUE as u64;
    for _ in 0..queue {
        machine.receive(&udp(5, 7, b"answered at once"));
    }
    assert_eq!(machine.kernel.books().rx.answered, queue);
    fill_slot(&machine, machine.init, 0, &honest(b"finds no room"));
    produce(&machine, machine.init, 1);
    // Nothing of its own is with the card, so that no completion of its own can tell it.
    assert_eq!(machine.call(Call::Transmit, &[binding]), (Status::Busy, 0));
    machine.kernel.serve();
    machine.wire.stall(false);
    machine.kernel.serve();
    assert_eq!(machine.call(Call::Wait, &[u64::MAX]), (Status::Ok, EVENT_TRANSMITTED));
    assert_eq!(machine.call(Call::Transmit, &[binding]), (Status::Ok, 1));
    machine.audit();
}

#[test]
fn a_page_in_flight_outlives_its_binding_and_its_owner() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (child, handle, own) = machine.child(6_000);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32 | 16]);
    let program = filter("udp and dst port 7800");
    let plan = BindPlan { who: child, own, grant, filter: &program, ash: &[], pages: 1 };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.wire.stall(true);
    fill_slot(&machine, child, 0, &honest(&[7; 1000]));
    produce(&machine, child, 1);
    assert_eq!(machine.call_as(child, Call::Transmit, &[binding]), (Status::Ok, 1));
    machine.ok(Call::EnvKill, &[handle]);
    machine.audit();
    let books = machine.kernel.books();
    let held = books.frames.kernel;
    assert_eq!((books.tx.in_flight, books.bindings), (1, 0));
    machine.wire.stall(false);
    machine.kernel.serve();
    let books = machine.kernel.books();
    assert_eq!((books.tx.in_flight, books.frames.kernel), (0, held - 1));
    machine.audit();
}

#[test]
fn without_a_card_or_a_ring_nothing_is_transmitted() {
    let mut machine = Machine::boot("log=off", false);
    let grant = machine.handle("grant:root");
    let own = machine.handle("self");
    let program = filter("udp and dst port 7800");
    let plan = BindPlan { who: machine.init, own, grant, filter: &program, ash: &[], pages: 1 };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok);
    assert_eq!(machine.call(Call::Transmit, &[binding]).0, Status::NoDevice);

    let mut machine = Machine::new();
    let own = machine.handle("self");
    let plan = BindPlan { who: machine.init, own, grant, filter: &program, ash: &[], pages: 0 };
    let (_, binding) = bind(&mut machine, &plan);
    assert_eq!(machine.call(Call::Transmit, &[binding]).0, Status::BadArgument);
}
