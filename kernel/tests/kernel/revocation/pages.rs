//! Pages: given back, taken, saved, kept.

use abi::revocation::{Entry, Kind, Pending, Progress};
use abi::ring::{EVENT_REPOSSESS, EVENT_REVOKE, EVENT_REVOKED};
use abi::start::State;
use abi::{Call, Status, upcall};
use zerocopy::FromBytes;

use super::{PAGES, SOON, child, list, pass};
use crate::harness::{BindPlan, Machine, SCRATCH, bind, filter};

/// Where `init` has pages that take contents.
const STORES: u64 = 0x58_0000_0000;

#[test]
fn what_is_asked_for_and_given_is_not_taken() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 8);
    machine.kernel.call(child.id, Call::Wait as u64, [u64::MAX, 0, 0, 0, 0, 0]);
    assert_eq!(machine.state(child.id), Some(State::Waiting));
    let request = child.ask(&mut machine, Kind::Pages, 3, SOON);
    // The request is an event and an upcall.
    assert_eq!(machine.state(child.id), Some(State::Runnable));
    let registers = machine.kernel.registers(child.id).unwrap();
    assert_eq!((registers.rax, registers.rip), (super::SAVES, super::ENTRY_POINT));
    assert_eq!(registers.rdx, EVENT_REVOKE);
    assert_eq!(child.saved(&machine, 0, upcall::DETAIL), Kind::Pages as u64);
    assert_eq!(child.saved(&machine, 0, upcall::ERROR), request);
    assert_eq!(child.saved(&machine, 0, upcall::ADDRESS), SOON);
    assert_eq!(child.saved(&machine, 0, upcall::ARGUMENT), 3);
    assert_eq!(child.status(&mut machine), Progress { short: 3, ..Progress::default() });
    for page in [0, 2, 4] {
        machine.ok_as(child.id, Call::PageFree, &[child.pages[page]]);
        machine.audit();
    }
    let given = Progress { given: 3, over: true, ..Progress::default() };
    assert_eq!(machine.ok(Call::Wait, &[0]), EVENT_REVOKED);
    assert_eq!(child.status(&mut machine), given);
    assert_eq!(machine.call(Call::RevokeStatus, &[child.handle]).0, Status::WrongState);
    pass(&mut machine, SOON + 1);
    assert!(child.taken(&machine).is_empty());
    assert!(child.is_mapped(&machine, PAGES + 4096));
    machine.ok(Call::EnvKill, &[child.handle]);
    machine.audit();
}

#[test]
fn pending_requests_can_be_read() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 4);
    let request = child.ask(&mut machine, Kind::Pages, 3, SOON);
    machine.ok_as(child.id, Call::PageFree, &[child.pages[0]]);
    let read = |machine: &mut Machine| {
        let count = machine.ok_as(child.id, Call::RevokePending, &[SCRATCH, 4096]);
        let bytes = machine.read(child.id, SCRATCH, size_of::<Pending>());
        (count, Pending::read_from_bytes(&bytes).unwrap())
    };
    let (count, pending) = read(&mut machine);
    let kind = Kind::Pages as u64;
    assert_eq!((count, pending), (1, Pending { request, kind, left: 2, name: 0, deadline: SOON }));
    assert_eq!(machine.ok_as(child.id, Call::RevokePending, &[SCRATCH, 39]), 0);
    pass(&mut machine, SOON + 1);
    assert_eq!(read(&mut machine).0, 0);
}

#[test]
fn what_is_not_given_is_taken_and_the_environment_lives() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 8);
    let before = machine.kernel.books().frames;
    let request = child.ask(&mut machine, Kind::Pages, 4, SOON) as u32;
    machine.ok_as(child.id, Call::PageFree, &[child.pages[1]]);
    pass(&mut machine, SOON / 2);
    assert!(child.taken(&machine).is_empty(), "before the deadline nothing is taken");
    pass(&mut machine, SOON);
    let taken = child.taken(&machine);
    let said: Vec<_> = taken.iter().map(|it| (it.kind, it.request, it.name, it.address)).collect();
    // Those that were allocated last.
    let mut expected: Vec<_> = (5..8u64)
        .map(|n| (Kind::Pages as u32, request, child.frames[n as usize], PAGES + n * 4096))
        .collect();
    expected.sort();
    let mut sorted = said;
    sorted.sort();
    assert_eq!(sorted, expected);
    for n in 0..8 {
        let gone = n == 1 || n > 4;
        assert_eq!(child.is_mapped(&machine, PAGES + n * 4096), !gone, "page {n}");
        let named = machine.call_as(child.id, Call::PageName, &[child.pages[n as usize]]).0;
        assert_eq!(named == Status::BadHandle, gone, "page {n}");
    }
    assert_eq!(child.saved(&machine, 1, upcall::ACTIVE), 1);
    assert_eq!(child.saved(&machine, 1, upcall::DETAIL), 3);
    assert_eq!(machine.state(child.id), Some(State::Runnable));
    let progress = Progress { given: 1, taken: 3, short: 0, over: true };
    assert_eq!(child.status(&mut machine), progress);
    assert_eq!(machine.kernel.books().frames.owned, before.owned - 4);
    let events = machine.ok_as(child.id, Call::Wait, &[0]);
    assert_eq!(events, EVENT_REVOKE | EVENT_REPOSSESS);
}

#[test]
fn what_was_returned_cannot_be_had_again() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 60, 0);
    // All that it may have.
    let mut pages = vec![];
    while let (Status::Ok, page) =
        machine.call_as(child.id, Call::PageAlloc, &[child.own, u64::MAX])
    {
        pages.push(page);
    }
    child.ask(&mut machine, Kind::Pages, 4, SOON);
    for _ in 0..4 {
        machine.ok_as(child.id, Call::PageFree, &[pages.pop().unwrap()]);
        let again = machine.call_as(child.id, Call::PageAlloc, &[child.own, u64::MAX]).0;
        assert_eq!(again, Status::NoMemory);
    }
    assert!(child.status(&mut machine).over);
    // One that is given back unasked can.
    machine.ok_as(child.id, Call::PageFree, &[pages.pop().unwrap()]);
    machine.ok_as(child.id, Call::PageAlloc, &[child.own, u64::MAX]);
    machine.audit();
}

#[test]
fn vital_pages_are_never_taken_and_the_shortfall_is_reported() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 12);
    let vital = list(&machine, child.id, &child.pages[2..12]);
    machine.ok_as(child.id, Call::VitalSet, &[vital, 10]);
    assert_eq!(
        machine.call_as(child.id, Call::PageFree, &[child.pages[2]]).0,
        Status::WrongState,
        "a vital page is pinned"
    );
    child.ask(&mut machine, Kind::Pages, 1000, SOON);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    // Two pages and the four of its scratch.
    assert_eq!((progress.taken, progress.short, progress.over), (6, 994, true));
    for n in 0..12 {
        assert_eq!(child.is_mapped(&machine, PAGES + n * 4096), n >= 2, "page {n}");
    }
    assert!(child.is_mapped(&machine, super::VECTOR) && child.is_mapped(&machine, super::SAVES));
    assert_eq!(machine.state(child.id), Some(State::Runnable));
    assert_eq!(child.taken(&machine).len(), 6);
    // Without a list they are like all others.
    machine.ok_as(child.id, Call::VitalSet, &[0, 0]);
    child.ask(&mut machine, Kind::Pages, 10, 0);
    pass(&mut machine, 1);
    assert_eq!(child.status(&mut machine).taken, 10);
    machine.ok(Call::EnvKill, &[child.handle]);
    machine.audit();
}

#[test]
fn contents_go_where_the_environment_said() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 3);
    let init = machine.handle("self");
    let mut stores = vec![];
    for n in 0..2 {
        let page = machine.page(machine.init, init, STORES + n * 4096);
        let lent = machine.ok(Call::CapGrant, &[page, child.handle, 2]);
        stores.push((page, lent));
    }
    // One of them is gone by the time it is needed: it is passed over.
    let backing = list(&machine, child.id, &[stores[0].1, stores[1].1]);
    machine.ok_as(child.id, Call::RepossessionSet, &[child.vector, backing, 2]);
    machine.ok(Call::PageFree, &[stores[0].0]);
    child.ask(&mut machine, Kind::Pages, 2, SOON);
    pass(&mut machine, SOON + 1);
    let taken = child.taken(&machine);
    let backed: Vec<&Entry> = taken.iter().filter(|entry| entry.backing != 0).collect();
    assert_eq!((taken.len(), backed.len()), (2, 1));
    assert_eq!(backed[0].backing, stores[1].1);
    let n = (backed[0].address - PAGES) / 4096;
    let saved = machine.read(machine.init, STORES + 4096, 16);
    assert_eq!(saved, [n as u8 + 1; 16]);
}

#[test]
fn whoever_shares_a_page_that_is_taken_is_told_as_well() {
    let mut machine = Machine::new();
    let owner = child(&mut machine, 500, 2);
    let friend = child(&mut machine, 500, 0);
    let lent = machine.ok_as(machine.init, Call::CapInspect, &[friend.handle]);
    assert_ne!(lent, 0);
    let to = machine.ok(Call::CapGrant, &[friend.handle, owner.handle, 64]);
    let shared = machine.ok_as(owner.id, Call::CapGrant, &[owner.pages[1], to, 3]);
    for address in [PAGES, PAGES + 4096] {
        machine.ok_as(friend.id, Call::PageMap, &[friend.own, shared, address, 3]);
    }
    owner.ask(&mut machine, Kind::Pages, 1, SOON);
    pass(&mut machine, SOON + 1);
    let said = friend.taken(&machine);
    assert_eq!(said.iter().map(|it| it.address).collect::<Vec<_>>(), [PAGES, PAGES + 4096]);
    assert!(said.iter().all(|it| it.name == owner.frames[1] && it.detail == owner.id.0.into()));
    assert!(!friend.is_mapped(&machine, PAGES) && !friend.is_mapped(&machine, PAGES + 4096));
    assert_eq!(owner.taken(&machine).len(), 1);
    assert_eq!(friend.saved(&machine, 1, upcall::ACTIVE), 1);
}

#[test]
fn pages_under_rings_go_after_their_binding() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 6_000, 0);
    let root = machine.handle("grant:root");
    let grant = machine.ok(Call::CapGrant, &[root, child.handle, 32]);
    let program = filter("udp and dst port 4000");
    let plan =
        BindPlan { who: child.id, own: child.own, grant, filter: &program, ash: &[], pages: 2 };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.receive(&crate::harness::udp(1, 4000, b"unread"));
    // Four scratch pages are free to take, then the five of the rings.
    child.ask(&mut machine, Kind::Pages, 9, SOON);
    pass(&mut machine, SOON + 1);
    assert_eq!(child.status(&mut machine).taken, 9);
    let taken = child.taken(&machine);
    let flows: Vec<_> = taken.iter().filter(|it| it.kind == Kind::Bindings as u32).collect();
    assert_eq!((flows.len(), taken.len()), (1, 10));
    assert_eq!(flows[0].address >> 32, 1, "a packet was waiting");
    assert_eq!(taken.iter().position(|it| it.kind == Kind::Bindings as u32), Some(4));
    assert_eq!(machine.call_as(child.id, Call::Transmit, &[binding]).0, Status::BadHandle);
    machine.receive(&crate::harness::udp(1, 4000, b"nobody's"));
    assert_eq!(machine.kernel.books().bindings, 0);
    assert_eq!(machine.state(child.id), Some(State::Runnable));
}

#[test]
fn a_page_that_the_card_reads_is_nobodys_until_it_is_done() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 6_000, 0);
    let root = machine.handle("grant:root");
    let grant = machine.ok(Call::CapGrant, &[root, child.handle, 32]);
    let program = filter("udp and dst port 4000");
    let plan =
        BindPlan { who: child.id, own: child.own, grant, filter: &program, ash: &[], pages: 1 };
    let (_, binding) = bind(&mut machine, &plan);
    let frame = crate::harness::udp(1, 2, &[7; 600]);
    crate::harness::fill_slot(&machine, child.id, 0, &frame);
    crate::harness::produce(&machine, child.id, 1);
    machine.wire.stall(true);
    assert_eq!(machine.ok_as(child.id, Call::Transmit, &[binding]), 1);
    let before = machine.kernel.books().frames;
    child.ask(&mut machine, Kind::Pages, 7, 0);
    pass(&mut machine, 1);
    let taken = child.taken(&machine);
    let flow = taken.iter().find(|it| it.kind == Kind::Bindings as u32).unwrap();
    assert_eq!(flow.address as u32, 1, "a transmission was with the card");
    let books = machine.kernel.books().frames;
    assert_eq!((books.owned, books.kernel), (before.owned - 7, before.kernel + 1));
    machine.wire.stall(false);
    machine.kernel.serve();
    assert_eq!(machine.wire.sent(), [frame]);
    assert_eq!(machine.kernel.books().frames.kernel, before.kernel);
    machine.audit();
}

#[test]
fn pages_go_while_a_proof_runs_and_the_proof_notices() {
    use zerocopy::IntoBytes;
    let mut machine = Machine::new();
    let child = child(&mut machine, 6_000, 6);
    let root = machine.handle("grant:root");
    let grant = machine.ok(Call::CapGrant, &[root, child.handle, 32]);
    let program = filter("udp and dst port 4000");
    let at = |offset: u64| SCRATCH + offset;
    let request = abi::bind::BindRequest {
        filter: at(0x2000),
        filter_bytes: program.len() as u64,
        refusal: at(0x1000),
        refusal_bytes: 4096,
        control_page: child.pages[5],
        ..Default::default()
    };
    machine.write(child.id, at(0x2000), &program);
    machine.write(child.id, at(0x200), request.as_bytes());
    machine.kernel.call(child.id, Call::Bind as u64, [grant, at(0x200), 0, 0, 0, 0]);
    assert_eq!(machine.state(child.id), Some(State::Proving));
    child.ask(&mut machine, Kind::Pages, 10, SOON);
    pass(&mut machine, SOON + 1);
    assert_eq!(machine.state(child.id), Some(State::Proving));
    // Its refusal buffer went as well: the status is all that it learns.
    while machine.kernel.step_proof(child.id) {}
    assert_eq!(machine.kernel.registers(child.id).unwrap().rax, Status::Refused as u64);
    assert_eq!(machine.kernel.books().bindings, 0);
    assert_eq!(child.status(&mut machine).taken, 10);
    machine.audit();
}

#[test]
fn many_pages_go_in_batches_with_the_card_served_between() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 2_000, 300);
    child.ask(&mut machine, Kind::Pages, 200, SOON);
    machine::host::advance(SOON + 1);
    machine.kernel.serve();
    let after_one = child.status(&mut machine);
    assert!(after_one.taken > 0 && after_one.taken < 200 && !after_one.over, "{after_one:?}");
    pass(&mut machine, 0);
    let progress = child.status(&mut machine);
    assert_eq!((progress.taken, progress.short, progress.over), (200, 0, true));
    // A vector holds 64: the others were counted.
    assert_eq!(child.taken(&machine).len(), 64);
    assert_eq!(child.lost(&machine), 200 - 64);
}

#[test]
fn positions_of_the_vector_are_given_back_or_taken() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 0);
    let vector = machine.handle("slices");
    let all: Vec<u64> = (0..3)
        .map(|_| machine.ok(Call::SliceAllocate, &[vector, child.handle, u64::MAX]))
        .collect();
    let theirs = machine.ok(Call::CapGrant, &[all[0], child.handle, 64]);
    let owned = |machine: &mut Machine| {
        machine.ok(Call::SliceOwners, &[SCRATCH, 64]);
        let bytes = machine.read(machine.init, SCRATCH, 64 * 4);
        let owners = bytes.chunks_exact(4).map(|it| u32::from_le_bytes(it.try_into().unwrap()));
        owners.enumerate().filter(|it| it.1 == child.id.0).map(|it| it.0 as u64).collect::<Vec<_>>()
    };
    let positions = owned(&mut machine);
    // One it was started with.
    assert_eq!(positions.len(), 4);
    child.ask(&mut machine, Kind::Slices, 2, SOON);
    machine.ok_as(child.id, Call::SliceFree, &[theirs, positions[1]]);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    assert_eq!((progress.given, progress.taken, progress.over), (1, 1, true));
    let taken = child.taken(&machine);
    assert_eq!((taken[0].kind, taken[0].name), (Kind::Slices as u32, positions[3]));
    assert_eq!(owned(&mut machine), [positions[0], positions[2]]);
    // Without any it still runs when nobody else wants the time.
    child.ask(&mut machine, Kind::Slices, 9, 0);
    pass(&mut machine, 1);
    assert_eq!(child.status(&mut machine).short, 7);
    assert_eq!(machine.state(child.id), Some(State::Runnable));
}
