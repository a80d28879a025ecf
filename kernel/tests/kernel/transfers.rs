//! Protected control transfer: registers as the message, slices that follow, either side's death.

use abi::start::State;
use abi::transfer::{WOKEN, failure};
use abi::upcall::Kind;
use abi::{Call, Status};
use kernel::EnvironmentId;
use machine::host::Turn;
use machine::{Event, Registers};

use crate::harness::{FORGED, Machine, SCRATCH};

const MS: u64 = 1_000_000;
const SYNC: u64 = 0x40_0040;
const ASYNC: u64 = 0x40_0050;
const SAVE: u64 = SCRATCH + 0x800;
const STACK: u64 = SCRATCH + 0x800;

/// A call with every register set to something of its own; none of it is looked at by the kernel.
fn transfer(machine: &mut Machine, who: EnvironmentId, call: Call, handle: u64) -> Registers {
    machine.kernel.call(who, call as u64, [handle, 0x51, 0xd0, 0x10, 0x80, 0x90]);
    machine.kernel.registers(who).unwrap()
}

/// Why the last transfer of `who` failed.
fn why(machine: &mut Machine, who: EnvironmentId, call: Call, handle: u64) -> Option<Status> {
    failure(transfer(machine, who, call, handle).rax)
}

/// A child that is parked and has registered both entries; its number and `init`'s handle to it.
fn server(machine: &mut Machine) -> (EnvironmentId, u64) {
    let (id, handle, _) = machine.child(100);
    for (kind, entry) in [(Kind::TransferSync, SYNC), (Kind::TransferAsync, ASYNC)] {
        let save = SAVE + 128 * kind as u64;
        machine.ok_as(id, Call::UpcallSet, &[kind as u64, entry, STACK, save]);
    }
    machine.kernel.call(id, Call::TransferSync as u64, [0; 6]);
    (id, handle)
}

fn words(r: &Registers) -> [u64; 12] {
    [r.rbx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9, r.r10, r.r12, r.r13, r.r14, r.r15]
}

/// Who runs in the next slice.
fn runs(machine: &mut Machine) -> u32 {
    machine::host::script([Turn::act(|_, _| {
        machine::host::advance(MS);
        Event::Timer
    })]);
    machine.kernel.step();
    machine.audit();
    machine::this_cpu().running() as u32
}

#[test]
fn a_synchronous_transfer_passes_registers_and_slices_and_comes_back() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let init = machine.init;
    assert_eq!(machine.ok(Call::EnvStatus, &[handle]), State::Waiting as u64);
    let sent = transfer(&mut machine, init, Call::TransferSync, handle);
    let got = machine.kernel.registers(server).unwrap();
    assert_eq!(words(&got), words(&sent));
    assert_eq!((got.rip, got.rsp, got.rax), (SYNC, STACK, u64::from(init.0)));
    assert_eq!(got.rflags, abi::upcall::FLAGS);
    // Nothing is written to the save area.
    let save = SAVE + 128 * Kind::TransferSync as u64;
    assert_eq!(machine.read(server, save, 128), [0; 128]);
    // Both positions of the vector are the server's now.
    for _ in 0..4 {
        assert_eq!(runs(&mut machine), server.0);
    }
    machine.kernel.call(server, Call::TransferSync as u64, [0, 7, 8, 9, 10, 11]);
    let answer = machine.kernel.registers(init).unwrap();
    assert_eq!((answer.rip, answer.rsp), (sent.rip, sent.rsp));
    assert_eq!((answer.rax, answer.rsi, answer.rdx), (u64::from(server.0), 7, 8));
    for _ in 0..4 {
        assert_eq!(runs(&mut machine), init.0);
    }
    // And again, to the same entry.
    transfer(&mut machine, init, Call::TransferSync, handle);
    assert_eq!(machine.kernel.registers(server).unwrap().rip, SYNC);
}

#[test]
fn an_answer_may_name_the_caller() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let init = machine.init;
    let own = machine.handle("self");
    let back = machine.ok(Call::CapGrant, &[own, handle, 0]);
    transfer(&mut machine, init, Call::TransferSync, handle);
    assert_eq!(why(&mut machine, server, Call::TransferSync, back), None);
    assert_eq!(machine.kernel.registers(init).unwrap().rax, u64::from(server.0));
    assert_eq!(machine.ok(Call::EnvStatus, &[handle]), State::Waiting as u64);
}

#[test]
fn an_asynchronous_transfer_gives_the_rest_of_the_slice_and_keeps_its_registers() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let init = machine.init;
    assert_eq!(runs(&mut machine), init.0);
    machine::host::script([
        Turn::syscall(Call::TransferAsync as u64, &[handle, 1, 2, 3, 4, 5]),
        Turn::act(|_, _| {
            machine::host::advance(MS);
            Event::Timer
        }),
    ]);
    machine.kernel.step();
    let kept = machine.kernel.registers(init).unwrap();
    let got = machine.kernel.registers(server).unwrap();
    assert_eq!((kept.rax, kept.rdi, kept.rdx), (0, handle, 2));
    assert_eq!(words(&got), words(&kept));
    assert_eq!((got.rip, got.rsp, got.rax), (ASYNC, STACK, u64::from(init.0)));
    machine.kernel.step();
    assert_eq!(machine::this_cpu().running() as u32, server.0);
    // It has its own slices, and the sender has its.
    let next = [runs(&mut machine), runs(&mut machine), runs(&mut machine)];
    assert!(next.contains(&init.0) && next.contains(&server.0), "{next:?}");
    // It answers to nobody: that parks it.
    transfer(&mut machine, server, Call::TransferSync, 0);
    assert_eq!(machine.ok(Call::EnvStatus, &[handle]), State::Waiting as u64);
    assert_eq!([runs(&mut machine), runs(&mut machine)], [init.0, init.0]);
}

#[test]
fn what_cannot_be_entered_is_refused_and_nothing_but_rax_changes() {
    let mut machine = Machine::new();
    let init = machine.init;
    let own = machine.handle("self");
    let (_, running, _) = machine.child(100);
    let (dead, dead_handle, _) = machine.child(100);
    machine.ok(Call::EnvKill, &[dead_handle]);
    let (deaf, deaf_handle, _) = machine.child(100);
    machine.kernel.call(deaf, Call::TransferSync as u64, [0; 6]);
    let created = {
        machine.write(init, SCRATCH, b"new");
        machine.ok(Call::EnvCreate, &[100, SCRATCH, 3])
    };
    let page = machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    for call in [Call::TransferSync, Call::TransferAsync] {
        for (handle, expected) in [
            (own, Status::BadArgument),
            (running, Status::Busy),
            (created, Status::Busy),
            (dead_handle, Status::WrongState),
            (deaf_handle, Status::WrongState),
            (page, Status::WrongKind),
            (machine.handle("slices"), Status::WrongKind),
            (FORGED, Status::BadHandle),
            (u64::MAX, Status::BadHandle),
        ] {
            let before = machine.kernel.registers(init).unwrap();
            let after = transfer(&mut machine, init, call, handle);
            assert_eq!(failure(after.rax), Some(expected), "{call:?} {handle:x}");
            let [rdi, rsi, rdx, r10, r8, r9] = [handle, 0x51, 0xd0, 0x10, 0x80, 0x90];
            let rax = after.rax;
            assert_eq!(after, Registers { rax, rdi, rsi, rdx, r10, r8, r9, ..before });
            machine.audit();
        }
    }
    assert_eq!(why(&mut machine, init, Call::TransferAsync, 0), Some(Status::BadHandle));
    assert_eq!(machine.state(dead), None);
}

#[test]
fn one_that_serves_is_busy_and_chains_do_not_close() {
    let mut machine = Machine::new();
    let init = machine.init;
    let (first, first_handle) = server(&mut machine);
    let (second, second_handle) = server(&mut machine);
    let (other, other_handle, _) = machine.child(100);
    let to_second = machine.ok(Call::CapGrant, &[second_handle, first_handle, 0]);
    let own = machine.handle("self");
    let to_init = machine.ok(Call::CapGrant, &[own, second_handle, 0]);
    let to_first = machine.ok(Call::CapGrant, &[first_handle, other_handle, 0]);
    transfer(&mut machine, init, Call::TransferSync, first_handle);
    transfer(&mut machine, first, Call::TransferSync, to_second);
    assert_eq!(why(&mut machine, other, Call::TransferSync, to_first), Some(Status::Busy));
    // It serves `first`, not `init`, which waits for somebody else.
    assert_eq!(why(&mut machine, second, Call::TransferSync, to_init), Some(Status::Busy));
    // The whole chain's slices are the last one's.
    let seen: Vec<u32> = (0..8).map(|_| runs(&mut machine)).collect();
    assert!(seen.iter().all(|id| [second.0, other.0].contains(id)), "{seen:?}");
    assert_eq!(seen.iter().filter(|&&id| id == second.0).count(), 6);
    transfer(&mut machine, second, Call::TransferSync, 0);
    transfer(&mut machine, first, Call::TransferSync, 0);
    assert_eq!(machine.kernel.registers(init).unwrap().rax, u64::from(first.0));
}

#[test]
fn a_callee_that_ends_lets_its_caller_go_on() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let init = machine.init;
    transfer(&mut machine, init, Call::TransferSync, handle);
    machine.kernel.call(server, Call::Exit as u64, [3, 0, 0, 0, 0, 0]);
    let registers = machine.kernel.registers(init).unwrap();
    assert_eq!(failure(registers.rax), Some(Status::WrongState));
    assert_eq!(runs(&mut machine), init.0);
    assert_eq!(why(&mut machine, init, Call::TransferSync, handle), Some(Status::WrongState));
}

#[test]
fn a_caller_that_ends_leaves_its_callee_to_the_next_one() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let (caller, caller_handle, _) = machine.child(100);
    let there = machine.ok(Call::CapGrant, &[handle, caller_handle, 0]);
    transfer(&mut machine, caller, Call::TransferSync, there);
    machine.ok(Call::EnvKill, &[caller_handle]);
    machine.audit();
    assert_eq!(machine.ok(Call::EnvStatus, &[handle]), State::Runnable as u64);
    transfer(&mut machine, server, Call::TransferSync, 0);
    let init = machine.init;
    transfer(&mut machine, init, Call::TransferSync, handle);
    assert_eq!(machine.kernel.registers(server).unwrap().rax, u64::from(init.0));
}

#[test]
fn a_callee_that_takes_its_entry_back_cannot_be_entered() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let init = machine.init;
    transfer(&mut machine, init, Call::TransferSync, handle);
    machine.ok_as(server, Call::UpcallSet, &[Kind::TransferSync as u64, 0, 0, 0]);
    transfer(&mut machine, server, Call::TransferSync, 0);
    assert_eq!(why(&mut machine, init, Call::TransferSync, handle), Some(Status::WrongState));
}

#[test]
fn an_upcall_wakes_who_is_parked_and_waits_for_who_waits() {
    let mut machine = Machine::new();
    let (server, handle) = server(&mut machine);
    let kind = Kind::SliceStart;
    let save = SAVE + 128 * kind as u64;
    // Parked as it is, it may still be registered for more: it does so before it parks.
    let (early, early_handle, _) = machine.child(100);
    machine.ok_as(early, Call::UpcallSet, &[Kind::Revoke as u64, SYNC, STACK, save]);
    machine.kernel.call(early, Call::TransferSync as u64, [0; 6]);
    let parked = machine.kernel.registers(early).unwrap();
    // Whoever has CONTROL asks for pages: the upcall goes to the parked one.
    let asked = machine.call(Call::Revoke, &[early_handle, 1, 1, 10 * MS]).0;
    assert_eq!(asked, Status::Ok);
    let woken = machine.kernel.registers(early).unwrap();
    assert_eq!((woken.rip, woken.rax), (SYNC, save));
    let rax = machine.read(early, save + abi::upcall::RAX as u64, 8);
    let rip = machine.read(early, save + abi::upcall::RIP as u64, 8);
    assert_eq!(rax, WOKEN.to_le_bytes());
    assert_eq!(rip, parked.rip.to_le_bytes());
    // One that waits for an answer is not entered meanwhile.
    let caller = {
        let (id, caller_handle, _) = machine.child(100);
        machine.ok_as(id, Call::UpcallSet, &[Kind::Revoke as u64, ASYNC, STACK, save]);
        let there = machine.ok(Call::CapGrant, &[handle, caller_handle, 0]);
        transfer(&mut machine, id, Call::TransferSync, there);
        machine.ok(Call::Revoke, &[caller_handle, 1, 1, 10 * MS]);
        id
    };
    assert_ne!(machine.kernel.registers(caller).unwrap().rip, ASYNC);
    transfer(&mut machine, server, Call::TransferSync, 0);
    for _ in 0..8 {
        runs(&mut machine);
    }
    assert_eq!(machine.kernel.registers(caller).unwrap().rip, ASYNC);
}
