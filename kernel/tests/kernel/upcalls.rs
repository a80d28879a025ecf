//! Upcalls: what is registered is entered, once at a time, and nothing else is touched.

use abi::start::State;
use abi::upcall::{self, Kind};
use abi::{Call, Status};
use machine::host::{Turn, script};
use machine::{Event, Fault, Registers};

use crate::harness::{Machine, SCRATCH};

const ENTRY: u64 = 0x40_0000;
const STACK: u64 = SCRATCH + 0x3000;
const SAVE: u64 = SCRATCH + 0x1000;
const PAGE_FAULT: Fault = Fault { vector: 14, error: 6, address: 0x1234_5678 };

fn word(machine: &Machine, who: kernel::EnvironmentId, offset: usize) -> u64 {
    let bytes = machine.read(who, SAVE + offset as u64, 8);
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// A child that has registered a fault handler, and runs next.
fn child(machine: &mut Machine) -> (kernel::EnvironmentId, u64) {
    let (id, handle, _) = machine.child(64);
    machine.ok_as(id, Call::UpcallSet, &[Kind::Fault as u64, ENTRY, STACK, SAVE]);
    machine.kernel.call(machine.init, Call::Wait as u64, [u64::MAX, 0, 0, 0, 0, 0]);
    (id, handle)
}

fn faults(machine: &mut Machine, fault: Fault, with: impl FnOnce(&mut Registers) + 'static) {
    script([Turn::act(move |registers, _| {
        with(registers);
        Event::Fault(fault)
    })]);
    machine.kernel.step();
}

#[test]
fn a_fault_enters_the_handler_and_touches_four_registers() {
    let mut machine = Machine::new();
    let (id, _) = child(&mut machine);
    let before = Registers {
        rax: 1,
        rbx: 2,
        rcx: 3,
        rdx: 4,
        rsi: 5,
        rdi: 6,
        rbp: 7,
        r8: 8,
        r9: 9,
        r10: 10,
        r11: 11,
        r12: 12,
        r13: 13,
        r14: 14,
        r15: 15,
        rip: 0x40_0123,
        rflags: 0x246,
        rsp: 0x7000,
    };
    faults(&mut machine, PAGE_FAULT, move |registers| *registers = before);
    let after = machine.kernel.registers(id).unwrap();
    let changed = Registers { rax: SAVE, rip: ENTRY, rsp: STACK, rflags: 0x202, ..before };
    assert_eq!(after, changed);
    for (offset, value) in [
        (upcall::ACTIVE, 1),
        (upcall::DETAIL, 14),
        (upcall::ERROR, 6),
        (upcall::ADDRESS, 0x1234_5678),
        (upcall::RIP, 0x40_0123),
        (upcall::RSP, 0x7000),
        (upcall::RFLAGS, 0x246),
        (upcall::RAX, 1),
    ] {
        assert_eq!(word(&machine, id, offset), value, "offset {offset}");
    }
    machine.audit();
}

#[test]
fn a_fault_in_the_handler_ends_that_environment_and_a_cleared_one_does_not() {
    let mut machine = Machine::new();
    let (id, handle) = child(&mut machine);
    for round in 0..3 {
        faults(&mut machine, PAGE_FAULT, |_| {});
        assert_eq!(machine.kernel.state(id), Some(State::Runnable), "round {round}");
        machine.write(id, SAVE + upcall::ACTIVE as u64, &[0; 8]);
    }
    faults(&mut machine, PAGE_FAULT, |_| {});
    faults(&mut machine, Fault { vector: 13, error: 0, address: 0 }, |_| {});
    assert_eq!(machine.kernel.state(id), None);
    let status = machine.ok(Call::EnvStatus, &[handle]);
    assert_eq!((status & 0xff, status >> 8), (State::Faulted as u64, 13));
    assert!(machine.kernel.state(machine.init).is_some());
    machine.audit();
}

#[test]
fn a_registration_that_was_taken_back_is_not_entered() {
    let mut machine = Machine::new();
    let (id, _) = child(&mut machine);
    machine.ok_as(id, Call::UpcallSet, &[Kind::Fault as u64, 0, 0, 0]);
    faults(&mut machine, PAGE_FAULT, |_| {});
    assert_eq!(machine.kernel.state(id), None);
    machine.audit();
}

#[test]
fn entries_stacks_and_save_areas_that_are_not_the_callers_are_refused() {
    let mut machine = Machine::new();
    let (id, handle, own) = machine.child(64);
    let foreign = machine.ok(Call::PageAlloc, &[machine.handle("self"), u64::MAX]);
    machine.ok(Call::PageMap, &[handle, foreign, 0x60_0000, 3]);
    let narrow = machine.ok_as(id, Call::PageAlloc, &[own, u64::MAX]);
    machine.ok_as(id, Call::PageMap, &[own, narrow, 0x61_0000, 1]);
    let before = machine.kernel.books();
    let kernel = 0xffff_8000_0000_0000;
    for (status, entry, stack, save) in [
        (Status::BadAddress, kernel, STACK, SAVE),
        (Status::BadAddress, 0x9000_0000_0000, STACK, SAVE),
        (Status::BadAddress, 0xfff, STACK, SAVE),
        (Status::BadAddress, ENTRY, 0, SAVE),
        (Status::BadAddress, ENTRY, kernel, SAVE),
        (Status::BadArgument, ENTRY, STACK - 8, SAVE),
        (Status::BadArgument, ENTRY, STACK, SAVE + 8),
        (Status::BadArgument, ENTRY, STACK, SAVE + 64),
        (Status::BadAddress, ENTRY, STACK, 0),
        (Status::BadAddress, ENTRY, STACK, kernel),
        (Status::BadAddress, ENTRY, STACK, 0x6f_0000),
        (Status::BadAddress, ENTRY, STACK, 0x61_0000),
        (Status::BadAddress, ENTRY, STACK, abi::exposed::SYSTEM),
        (Status::BadAddress, ENTRY, STACK, abi::exposed::TABLES),
        (Status::MissingRight, ENTRY, STACK, 0x60_0000),
    ] {
        for &kind in Kind::ALL {
            let (got, _) = machine.call_as(id, Call::UpcallSet, &[kind as u64, entry, stack, save]);
            assert_eq!(got, status, "{kind:?} {entry:#x} {stack:#x} {save:#x}");
        }
    }
    for kind in [8, 255, u64::MAX] {
        let arguments = [kind, ENTRY, STACK, SAVE];
        assert_eq!(machine.call_as(id, Call::UpcallSet, &arguments).0, Status::BadArgument);
    }
    assert_eq!(machine.kernel.books().frames, before.frames);
    machine.audit();
}

#[test]
fn the_page_of_a_save_area_stays_while_it_is_registered() {
    let mut machine = Machine::new();
    let (id, _, own) = machine.child(64);
    let page = machine.page(id, own, 0x60_0000);
    let register = [Kind::Revoke as u64, ENTRY, STACK, 0x60_0080];
    machine.ok_as(id, Call::UpcallSet, &register);
    for call in [Call::PageFree, Call::PageRenew] {
        assert_eq!(machine.call_as(id, call, &[page]).0, Status::WrongState);
    }
    // The mapping may go; the page is still written through its frame, and still there.
    machine.ok_as(id, Call::PageUnmap, &[own, 0x60_0000]);
    machine.ok_as(id, Call::CapDrop, &[page]);
    let owned = machine.kernel.books().frames.owned;
    machine.ok_as(id, Call::UpcallSet, &[Kind::Revoke as u64, 0, 0, 0]);
    assert_eq!(machine.kernel.books().frames.owned, owned - 1, "nobody can reach it any more");
    machine.audit();
}

#[test]
fn an_environment_that_ends_gives_back_what_it_had_registered() {
    let mut machine = Machine::new();
    let before = machine.kernel.books();
    let (id, handle, _) = machine.child(64);
    for &kind in Kind::ALL {
        let save = SAVE + kind as u64 * upcall::SAVE_BYTES as u64;
        machine.ok_as(id, Call::UpcallSet, &[kind as u64, ENTRY, STACK, save]);
        machine.ok_as(id, Call::UpcallSet, &[kind as u64, ENTRY, STACK, save]);
    }
    machine.ok(Call::EnvKill, &[handle]);
    assert_eq!(machine.kernel.books().frames, before.frames);
    machine.audit();
}
