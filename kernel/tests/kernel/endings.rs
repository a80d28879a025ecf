//! Endings: whatever ends an environment, everything it held comes back.

use abi::record::Record;
use abi::ring::EVENT_CHILD;
use abi::start::State;
use abi::{Call, Status};
use machine::host::Turn;
use machine::{Event, Fault};

use crate::harness::{BindPlan, Machine, SCRATCH, bind, derive, filter};

/// A child that holds a bit of everything.
fn busy_child(machine: &mut Machine) -> (kernel::EnvironmentId, u64) {
    let root = machine.handle("grant:root");
    let (child, handle, own) = machine.child(6_000);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 16 | 32]);
    let program = filter("udp and dst port 4000");
    let plan = BindPlan { who: child, own, grant, filter: &program, ash: &[], pages: 2 };
    let (status, _) = bind(machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    for n in 0..100 {
        machine.page(child, own, 0x30_0000_0000 + n * 4096);
    }
    (child, handle)
}

#[test]
fn a_kill_returns_the_books_to_where_they_were() {
    let mut machine = Machine::new();
    let quiet = |machine: &Machine| {
        let books = machine.kernel.books();
        (books.frames, books.environments, books.grants, books.bindings)
    };
    // The first child makes tables grow that then stay.
    let (_, first) = busy_child(&mut machine);
    machine.ok(Call::EnvKill, &[first]);
    let before = quiet(&machine);
    for _ in 0..3 {
        let (child, handle) = busy_child(&mut machine);
        machine.audit();
        machine.ok(Call::EnvKill, &[handle]);
        machine.audit();
        assert_eq!(quiet(&machine), before);
        assert_eq!(machine.state(child), None);
        let status = machine.ok(Call::EnvStatus, &[handle]);
        assert_eq!(status, State::Killed as u64);
        assert_eq!(machine.call(Call::EnvKill, &[handle]).0, Status::WrongState);
        assert_eq!(machine.call(Call::Wait, &[u64::MAX]), (Status::Ok, EVENT_CHILD));
    }
}

#[test]
fn an_exit_tells_its_code_to_the_parent() {
    let mut machine = Machine::new();
    let (child, handle) = busy_child(&mut machine);
    machine.call_as(child, Call::Exit, &[0x2a]);
    machine.audit();
    let status = machine.ok(Call::EnvStatus, &[handle]);
    assert_eq!(status, State::Exited as u64 | 0x2a << 8);
}

#[test]
fn a_fault_takes_nothing_else_with_it() {
    let mut machine = Machine::new();
    let (child, handle) = busy_child(&mut machine);
    machine.ok(Call::Yield, &[handle]);
    // `init` is first in the queue; it only yields.
    machine::host::script([
        Turn::event(Event::Timer),
        Turn::act(|_, _| {
            machine::host::advance(2_000_000);
            Event::Timer
        }),
        Turn::event(Event::Fault(Fault { vector: 14, error: 4, address: 0xffff_8000_0000_0000 })),
    ]);
    machine.kernel.step();
    machine.kernel.step();
    machine.kernel.step();
    assert_eq!(machine.state(child), None);
    assert_eq!(machine.ok(Call::EnvStatus, &[handle]), State::Faulted as u64 | 14 << 8);
    machine.audit();
    let told = machine.records().into_iter().any(|record| {
        matches!(record, Record::Environment { state: State::Faulted, detail: 14, .. })
    });
    assert!(told);
}

#[test]
fn a_kill_in_the_middle_of_a_proof_drops_it() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (child, handle, _) = machine.child(6_000);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    let program = filter("udp and dst portrange 4000-4999");
    machine.write(child, SCRATCH + 0x2000, &program);
    let block = [SCRATCH + 0x2000, program.len() as u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes: Vec<u8> = block.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    machine.write(child, SCRATCH + 0x200, &bytes);
    let before = machine.kernel.books().frames;
    machine.kernel.call(child, Call::Bind as u64, [grant, SCRATCH + 0x200, 0, 0, 0, 0]);
    assert_eq!(machine.state(child), Some(State::Proving));
    assert!(machine.kernel.books().frames.free < before.free);
    machine.audit();
    machine.ok(Call::EnvKill, &[handle]);
    machine.audit();
    let after = machine.kernel.books().frames;
    assert!(after.kernel < before.kernel && after.free > before.free);
    assert_eq!(machine.kernel.books().bindings, 0);
}

#[test]
fn children_and_quota_pass_to_the_grandparent() {
    let mut machine = Machine::new();
    let (child, handle, _) = machine.child(500);
    machine.write(child, SCRATCH, b"grandchild");
    let grandchild = machine.ok_as(child, Call::EnvCreate, &[100, SCRATCH, 10]);
    let id = machine.kernel.environments().last().unwrap();
    machine.ok_as(child, Call::EnvStart, &[grandchild, 0x40_0000, 0x50_0000, 0]);
    machine.ok(Call::EnvKill, &[handle]);
    machine.audit();
    assert_eq!(machine.state(id), Some(State::Runnable));
    assert_eq!(machine.ok(Call::Wait, &[u64::MAX]), EVENT_CHILD);
    machine.call_as(id, Call::Exit, &[0]);
    assert_eq!(machine.ok(Call::Wait, &[u64::MAX]), EVENT_CHILD);
    machine.audit();
}

#[test]
fn pages_shared_with_the_dead_are_no_longer_mapped_by_the_living() {
    let mut machine = Machine::new();
    let (child, handle, own) = machine.child(500);
    let page = machine.ok_as(child, Call::PageAlloc, &[own, u64::MAX]);
    // The child passes the page to init by way of a capability to init.
    let init = machine.handle("self");
    let parent = machine.ok(Call::CapGrant, &[init, handle, 64]);
    let shared = machine.ok_as(child, Call::CapGrant, &[page, parent, 1 | 2]);
    machine.ok(Call::PageMap, &[init, shared, 0x30_0000_0000, 3]);
    machine.ok(Call::EnvKill, &[handle]);
    assert!(machine.kernel.space(machine.init).unwrap().read(0x30_0000_0000, &mut [0]).is_err());
    assert_eq!(machine.call(Call::PageName, &[shared]).0, Status::BadHandle);
    machine.audit();
}

#[test]
fn a_machine_that_everybody_has_left_stops() {
    let outcome = machine::host::run(|| {
        let mut machine = Machine::new();
        machine.call(Call::Exit, &[0]);
    });
    assert_eq!(outcome, machine::host::Outcome::Exited(kernel::limits::EXIT_DESERTED));
}

#[test]
fn derived_grants_outlive_their_deriver_while_somebody_holds_them() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (child, handle, _) = machine.child(500);
    let (_, grant) =
        derive(&mut machine, root, &filter("udp and dst host 1.2.3.4 and dst port 5"), &[]);
    machine.ok(Call::CapGrant, &[grant, handle, 32]);
    machine.ok(Call::CapDrop, &[grant]);
    assert_eq!(machine.kernel.books().grants, 2);
    machine.call_as(child, Call::Exit, &[1]);
    assert_eq!(machine.kernel.books().grants, 1);
    machine.audit();
}
