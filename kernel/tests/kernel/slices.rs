//! The vector of slices: who runs when, who is told, who keeps too much, who may change it.

use std::cell::RefCell;
use std::rc::Rc;

use abi::slice::{ENDED_BY_EXCESS, EXCESS_MAX, GRACE_NS, POSITIONS, SliceStats};
use abi::start::State;
use abi::upcall::Kind;
use abi::{Call, Status};
use kernel::EnvironmentId;
use machine::Event;
use machine::host::Turn;
use zerocopy::FromBytes;

use crate::harness::{FORGED, Machine, SCRATCH};

const MS: u64 = 1_000_000;
/// Where tests register entries, and the save area: in the child's first scratch page.
const ENTRY: u64 = 0x40_0040;
const SAVE: u64 = SCRATCH + 0x800;
const STACK: u64 = SCRATCH + 0x800;

fn stats(machine: &mut Machine, environment: u64) -> SliceStats {
    machine.ok(Call::SliceStats, &[environment, SCRATCH + 0x100]);
    let bytes = machine.read(machine.init, SCRATCH + 0x100, 32);
    SliceStats::read_from_bytes(&bytes).unwrap()
}

fn owners(machine: &mut Machine) -> Vec<u32> {
    let count = machine.ok(Call::SliceOwners, &[SCRATCH, POSITIONS as u64]);
    let bytes = machine.read(machine.init, SCRATCH, 4 * count as usize);
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// Registers an upcall of a child's.
fn register(machine: &mut Machine, who: EnvironmentId, kind: Kind, entry: u64) {
    let save = SAVE + 128 * kind as u64;
    machine.ok_as(who, Call::UpcallSet, &[kind as u64, entry, STACK, save]);
}

/// Plays so many whole slices; who ran in each, by their entries' distance.
fn play(machine: &mut Machine, slices: usize) -> Vec<u64> {
    let ran = Rc::new(RefCell::new(Vec::new()));
    machine::host::script((0..slices).map(|_| {
        let ran = ran.clone();
        Turn::act(move |_, _| {
            ran.borrow_mut().push(machine::this_cpu().running());
            machine::host::advance(MS);
            Event::Timer
        })
    }));
    (0..slices).for_each(|_| machine.kernel.step());
    machine.audit();
    ran.take()
}

#[test]
fn init_has_the_vector_and_one_position() {
    let mut machine = Machine::new();
    let mut expected = vec![0; POSITIONS];
    expected[0] = machine.init.0;
    assert_eq!(owners(&mut machine), expected);
    let own = machine.handle("self");
    assert_eq!(stats(&mut machine, own), SliceStats { positions: 1, ..SliceStats::default() });
    let kind = machine.ok(Call::CapInspect, &[machine.handle("slices")]);
    assert_eq!(kind, 6 | (64 | 8) << 8);
}

#[test]
fn positions_are_allocated_by_number_given_and_freed() {
    let mut machine = Machine::new();
    let vector = machine.handle("slices");
    let own = machine.handle("self");
    let (child, handle, _) = machine.child(100);
    let slice = machine.ok(Call::SliceAllocate, &[vector, handle, 40]);
    assert_eq!(owners(&mut machine)[40], child.0);
    assert_eq!(machine.call(Call::SliceAllocate, &[vector, own, 40]).0, Status::NotFree);
    for position in [64, u64::MAX - 1] {
        let refused = machine.call(Call::SliceAllocate, &[vector, own, position]).0;
        assert_eq!(refused, Status::BadArgument);
        assert_eq!(machine.call(Call::SliceFree, &[slice, position]).0, Status::BadArgument);
    }
    machine.ok(Call::SliceGive, &[slice, own]);
    assert_eq!(owners(&mut machine)[40], machine.init.0);
    assert_eq!(machine.call(Call::SliceFree, &[slice, 41]).0, Status::BadArgument);
    machine.ok(Call::SliceFree, &[slice, 40]);
    assert_eq!(owners(&mut machine)[40], 0);
    assert_eq!(machine.call(Call::SliceGive, &[slice, own]).0, Status::BadHandle);
    assert_eq!(machine.call(Call::SliceFree, &[vector, 40]).0, Status::WrongState);
    // The holder of the vector takes back what it likes.
    let again = machine.ok(Call::SliceAllocate, &[vector, handle, 40]);
    machine.ok(Call::SliceFree, &[vector, 40]);
    assert_eq!(machine.call(Call::SliceFree, &[again, 40]).0, Status::BadHandle);
    machine.audit();
}

#[test]
fn only_capabilities_with_the_right_change_the_vector() {
    let mut machine = Machine::new();
    let (vector, own) = (machine.handle("slices"), machine.handle("self"));
    let weak = machine.ok(Call::CapDerive, &[vector, 8]);
    let (_, handle, _) = machine.child(100);
    let slice = machine.ok(Call::SliceAllocate, &[vector, handle, 9]);
    let weaker = machine.ok(Call::CapDerive, &[slice, 8]);
    for (number, arguments, why) in [
        (Call::SliceAllocate, [weak, own, 9], Status::MissingRight),
        (Call::SliceAllocate, [slice, own, 9], Status::WrongKind),
        (Call::SliceAllocate, [own, own, 9], Status::WrongKind),
        (Call::SliceAllocate, [vector, vector, 9], Status::WrongKind),
        (Call::SliceAllocate, [FORGED, own, 9], Status::BadHandle),
        (Call::SliceFree, [weak, 9, 0], Status::MissingRight),
        (Call::SliceFree, [weaker, 9, 0], Status::MissingRight),
        (Call::SliceFree, [own, 9, 0], Status::WrongKind),
        (Call::SliceGive, [vector, own, 0], Status::WrongKind),
        (Call::SliceGive, [weaker, own, 0], Status::MissingRight),
        (Call::SliceGive, [slice, slice, 0], Status::WrongKind),
        (Call::SliceOwners, [0xffff_8000_0000_0000, 4, 0], Status::BadAddress),
        (Call::SliceOwners, [SCRATCH, 65, 0], Status::BadArgument),
        (Call::SliceStats, [slice, SCRATCH, 0], Status::WrongKind),
        (Call::SliceStats, [own, 0x1000, 0], Status::BadAddress),
    ] {
        assert_eq!(machine.call(number, &arguments).0, why, "{number:?} {arguments:x?}");
    }
    machine.ok(Call::EnvKill, &[handle]);
    assert_eq!(machine.call(Call::SliceGive, &[slice, own]).0, Status::BadHandle);
    assert_eq!(machine.call(Call::SliceAllocate, &[vector, handle, 9]).0, Status::WrongState);
    machine.audit();
}

#[test]
fn the_vector_is_walked_in_order_of_position() {
    let mut machine = Machine::new();
    let vector = machine.handle("slices");
    let (first, handle, _) = machine.child(100);
    let (second, other, _) = machine.child(100);
    for (environment, position) in [(handle, 50), (other, 30), (other, 31)] {
        machine.ok(Call::SliceAllocate, &[vector, environment, position]);
    }
    let [i, a, b] = [machine.init, first, second].map(|id| u64::from(id.0));
    // init at 0, the children at 1 and 2 by the harness.
    assert_eq!(play(&mut machine, 8), [i, a, b, b, b, a, i, a]);
    // Who waits is passed by, and costs no time.
    machine.kernel.call(second, Call::Wait as u64, [u64::MAX, 0, 0, 0, 0, 0]);
    assert_eq!(play(&mut machine, 4), [a, i, a, a]);
}

#[test]
fn who_owns_no_position_runs_when_no_owner_wants_to() {
    let mut machine = Machine::new();
    let vector = machine.handle("slices");
    let (child, _, _) = machine.child(100);
    machine.ok(Call::SliceFree, &[vector, 1]);
    let (i, c) = (u64::from(machine.init.0), u64::from(child.0));
    assert_eq!(play(&mut machine, 3), [i, i, i]);
    machine.kernel.call(machine.init, Call::Wait as u64, [u64::MAX, 0, 0, 0, 0, 0]);
    assert_eq!(play(&mut machine, 2), [c, c]);
}

/// A child that is told of the ends of its slices.
fn told() -> (Machine, EnvironmentId, u64) {
    let mut machine = Machine::new();
    let (child, handle, _) = machine.child(100);
    register(&mut machine, child, Kind::SliceEnd, ENTRY);
    (machine, child, handle)
}

/// The child's slice from its beginning to the upcall; it is at its entry then.
fn until_told(machine: &mut Machine, child: EnvironmentId) {
    machine::host::script([
        Turn::event(Event::Timer),
        Turn::act(|registers, _| {
            registers.rip = 0x40_0010;
            machine::host::advance(MS - GRACE_NS);
            Event::Timer
        }),
    ]);
    machine.kernel.step();
    machine::host::advance(MS);
    machine.kernel.step();
    let nothing = Turn::event(Event::Timer);
    machine::host::script([nothing]);
    machine.kernel.step();
    let registers = machine.kernel.registers(child).unwrap();
    let save = SAVE + 128 * Kind::SliceEnd as u64;
    assert_eq!((registers.rip, registers.rsp, registers.rax), (ENTRY, STACK, save));
    let interrupted = machine.read(child, save + abi::upcall::RIP as u64, 8);
    assert_eq!(interrupted, 0x40_0010_u64.to_le_bytes());
}

#[test]
fn who_gives_its_slice_back_in_time_is_charged_nothing() {
    let (mut machine, child, handle) = told();
    until_told(&mut machine, child);
    machine.ok_as(child, Call::Yield, &[0]);
    assert_eq!(play(&mut machine, 1), [u64::from(machine.init.0)]);
    assert_eq!(stats(&mut machine, handle).excess, 0);
    machine.audit();
}

#[test]
fn who_keeps_its_slice_forfeits_the_next_one_and_ends_in_the_end() {
    let (mut machine, child, handle) = told();
    until_told(&mut machine, child);
    let i = u64::from(machine.init.0);
    // The grace period passes; the next slices are init's, the child's own one is skipped once.
    machine::host::advance(GRACE_NS);
    assert_eq!(play(&mut machine, 2), [i, i]);
    let after = stats(&mut machine, handle);
    assert_eq!((after.excess, after.forfeited), (1, 0));
    // Its save area stays active: it is not told again, and every slice of its is an excess one.
    let mut slices = 0;
    while machine.state(child).is_some() {
        slices += 1;
        assert!(slices < 1_000, "it never ends");
        machine::host::script([Turn::act(|_, _| {
            machine::host::advance(MS);
            Event::Timer
        })]);
        machine.kernel.step();
        machine.audit();
    }
    let ended = machine.ok(Call::EnvStatus, &[handle]);
    assert_eq!(ended, State::Killed as u64 | ENDED_BY_EXCESS << 8);
    assert!(slices >= 2 * EXCESS_MAX as usize);
    assert!(!owners(&mut machine).contains(&child.0));
    assert_eq!(play(&mut machine, 2), [i, i]);
}

#[test]
fn a_slice_that_begins_is_announced() {
    let mut machine = Machine::new();
    let (child, ..) = machine.child(100);
    register(&mut machine, child, Kind::SliceStart, ENTRY);
    play(&mut machine, 2);
    assert_eq!(machine.kernel.registers(child).unwrap().rip, ENTRY);
    let save = SAVE + 128 * Kind::SliceStart as u64;
    let position = machine.read(child, save + abi::upcall::DETAIL as u64, 8);
    assert_eq!(position, 1_u64.to_le_bytes());
}

#[test]
fn a_slice_given_by_name_lasts_as_long_as_it_would_have() {
    let mut machine = Machine::new();
    let vector = machine.handle("slices");
    let (worker, handle, _) = machine.child(100);
    machine.ok(Call::SliceFree, &[vector, 1]);
    let (i, w) = (u64::from(machine.init.0), u64::from(worker.0));
    let ran = Rc::new(RefCell::new(Vec::new()));
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.push(Turn::syscall(Call::Yield as u64, &[handle]));
        let ran = ran.clone();
        turns.push(Turn::act(move |_, _| {
            ran.borrow_mut().push(machine::this_cpu().running());
            machine::host::advance(MS);
            Event::Timer
        }));
    }
    machine::host::script(turns);
    (0..6).for_each(|_| machine.kernel.step());
    assert_eq!(ran.take(), [w, w, w]);
    assert_eq!(stats(&mut machine, handle).quanta, 3);
    assert_eq!(play(&mut machine, 1), [i]);
}

#[test]
fn an_environment_that_ends_leaves_its_positions_free() {
    let mut machine = Machine::new();
    let vector = machine.handle("slices");
    let (child, handle, _) = machine.child(100);
    let slice = machine.ok(Call::SliceAllocate, &[vector, handle, 63]);
    machine.ok(Call::EnvKill, &[handle]);
    assert!(!owners(&mut machine).contains(&child.0));
    assert_eq!(machine.call(Call::SliceFree, &[slice, 63]).0, Status::BadHandle);
    machine.audit();
    let own = machine.handle("self");
    for _ in 1..POSITIONS {
        machine.ok(Call::SliceAllocate, &[vector, own, u64::MAX]);
    }
    assert_eq!(machine.call(Call::SliceAllocate, &[vector, own, u64::MAX]).0, Status::Limit);
    machine.audit();
}
