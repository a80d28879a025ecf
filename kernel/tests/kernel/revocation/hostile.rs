//! Attacks: forged handles, foreign pages, vectors that lie, requests without end, endings.

use abi::revocation::{CONSUMED, Kind, Progress, REQUESTS_MAX};
use abi::{Call, Status};

use super::{PAGES, SOON, child, list, pass, refused};
use crate::harness::{FORGED, Machine, SCRATCH};

const PAGE_KIND: u64 = Kind::Pages as u64;

#[test]
fn requests_need_a_live_environment_the_right_and_sane_numbers() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 2);
    let weak = machine.ok(Call::CapDerive, &[child.handle, 1]);
    let page = machine.ok(Call::PageAlloc, &[child.handle, u64::MAX]);
    for (handle, status) in [
        (0, Status::BadHandle),
        (FORGED, Status::BadHandle),
        (child.handle + (1 << 32), Status::BadHandle),
        (page, Status::WrongKind),
        (weak, Status::MissingRight),
    ] {
        refused(&mut machine, Call::Revoke, &[handle, PAGE_KIND, 1, SOON], status);
        refused(&mut machine, Call::RevokeStatus, &[handle], status);
    }
    for kind in [0, 5, 1 << 32 | 1, u64::MAX] {
        let arguments = [child.handle, kind, 1, SOON];
        refused(&mut machine, Call::Revoke, &arguments, Status::BadArgument);
    }
    for amount in [0, 65_536, u64::MAX] {
        let arguments = [child.handle, PAGE_KIND, amount, SOON];
        refused(&mut machine, Call::Revoke, &arguments, Status::BadArgument);
    }
    refused(&mut machine, Call::RevokeStatus, &[child.handle], Status::WrongState);
    machine.ok(Call::EnvKill, &[child.handle]);
    let arguments = [child.handle, PAGE_KIND, 1, SOON];
    refused(&mut machine, Call::Revoke, &arguments, Status::WrongState);
}

#[test]
fn a_deadline_in_the_past_is_kept_at_once_and_none_never() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 4);
    machine::host::advance(SOON);
    child.ask(&mut machine, Kind::Pages, 1, 0);
    machine.kernel.serve();
    assert_eq!(child.status(&mut machine).taken, 1);
    child.ask(&mut machine, Kind::Pages, 1, u64::MAX);
    pass(&mut machine, 1 << 50);
    assert_eq!(child.status(&mut machine), Progress { short: 1, ..Progress::default() });
}

#[test]
fn one_request_at_a_time_to_each_and_few_in_all() {
    let mut machine = Machine::new();
    let first = child(&mut machine, 100, 1);
    first.ask(&mut machine, Kind::Pages, 1, SOON);
    let arguments = [first.handle, PAGE_KIND, 1, SOON];
    refused(&mut machine, Call::Revoke, &arguments, Status::WrongState);
    for _ in 1..REQUESTS_MAX {
        let next = child(&mut machine, 100, 1);
        next.ask(&mut machine, Kind::Pages, 1, SOON);
    }
    let last = child(&mut machine, 100, 1);
    let arguments = [last.handle, PAGE_KIND, 1, SOON];
    refused(&mut machine, Call::Revoke, &arguments, Status::Limit);
    // Those that are over make room even if nobody asked what became of them.
    pass(&mut machine, SOON + 1);
    last.ask(&mut machine, Kind::Pages, 1, u64::MAX);
}

#[test]
fn an_environment_that_asks_itself_does_not_stand_in_anybodys_way() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 6);
    machine.ok_as(child.id, Call::Revoke, &[child.own, PAGE_KIND, 60_000, u64::MAX]);
    child.ask(&mut machine, Kind::Pages, 4, SOON);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    assert_eq!((progress.taken, progress.over), (4, true));
    // And from itself it takes what it has, without harm to others.
    let init = machine.handle("self");
    let before = machine.kernel.books();
    machine.ok(Call::Revoke, &[init, PAGE_KIND, 1, SOON]);
    pass(&mut machine, SOON + 1);
    let progress = Progress::unpack(machine.ok(Call::RevokeStatus, &[init]));
    assert_eq!(progress.taken, 1);
    assert_eq!(machine.kernel.books().frames.owned, before.frames.owned - 1);
}

#[test]
fn vectors_and_vital_pages_are_ones_own() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 11);
    let init = machine.handle("self");
    let foreign = machine.page(machine.init, init, PAGES);
    let lent = machine.ok(Call::CapGrant, &[foreign, child.handle, 1 | 2]);
    let weak = machine.ok_as(child.id, Call::CapDerive, &[child.pages[0], 1]);
    for (page, status) in [
        (lent, Status::BadArgument),
        (weak, Status::MissingRight),
        (child.own, Status::WrongKind),
        (FORGED, Status::BadHandle),
    ] {
        let answer = machine.call_as(child.id, Call::RepossessionSet, &[page, 0, 0]).0;
        assert_eq!(answer, status);
        machine.audit();
    }
    for handles in [vec![lent], vec![child.pages[0], FORGED], vec![child.own]] {
        let at = list(&machine, child.id, &handles);
        let answer = machine.call_as(child.id, Call::VitalSet, &[at, handles.len() as u64]).0;
        assert_ne!(answer, Status::Ok, "{handles:x?}");
        // Nothing of a list that was refused is pinned.
        let backed = machine.call_as(child.id, Call::RepossessionSet, &[child.vector, at, 99]).0;
        assert_eq!(backed, Status::BadArgument);
    }
    let own = list(&machine, child.id, &[child.pages[0]]);
    let answer = machine.call_as(child.id, Call::RepossessionSet, &[child.vector, own, 1]).0;
    assert_eq!(answer, Status::BadArgument, "one's own page is no backing");
    let read_only = machine.ok(Call::CapGrant, &[foreign, child.handle, 1]);
    let at = list(&machine, child.id, &[read_only]);
    let answer = machine.call_as(child.id, Call::RepossessionSet, &[child.vector, at, 1]).0;
    assert_eq!(answer, Status::MissingRight);
    let eleven = list(&machine, child.id, &child.pages);
    assert_eq!(machine.call_as(child.id, Call::VitalSet, &[eleven, 11]).0, Status::BadArgument);
    for list in [8, u64::MAX - 4, 0xffff_8000_0000_0000] {
        let answer = machine.call_as(child.id, Call::VitalSet, &[list, 1]).0;
        assert_eq!(answer, Status::BadAddress);
    }
    machine.ok_as(child.id, Call::PageFree, &[child.pages[0]]);
    machine.audit();
}

#[test]
fn a_vector_that_lies_harms_its_owner_only() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 8);
    for garbage in [1u32, 0x8000_0000, u32::MAX, 63] {
        machine.write(child.id, super::VECTOR + CONSUMED as u64, &garbage.to_le_bytes());
        child.ask(&mut machine, Kind::Pages, 1, 0);
        pass(&mut machine, 1);
        assert_eq!(child.status(&mut machine).taken, 1);
    }
    assert!(child.lost(&machine) > 0);
}

#[test]
fn without_a_vector_or_handlers_it_is_taken_all_the_same() {
    let mut machine = Machine::new();
    let (id, handle, own) = machine.child(100);
    let page = machine.page(id, own, PAGES);
    machine.ok(Call::Revoke, &[handle, PAGE_KIND, 1, SOON]);
    pass(&mut machine, SOON + 1);
    assert_eq!(machine.call_as(id, Call::PageName, &[page]).0, Status::BadHandle);
    assert!(machine.state(id).is_some());
}

#[test]
fn a_page_is_not_kept_by_a_vector_or_a_list_that_is_replaced() {
    let mut machine = Machine::new();
    let child = child(&mut machine, 500, 3);
    let before = machine.kernel.books().frames.owned;
    for page in &child.pages {
        let at = list(&machine, child.id, &[*page]);
        machine.ok_as(child.id, Call::VitalSet, &[at, 1]);
        machine.ok_as(child.id, Call::RepossessionSet, &[*page, 0, 0]);
    }
    for &page in &child.pages[..2] {
        machine.ok_as(child.id, Call::PageFree, &[page]);
    }
    machine.ok_as(child.id, Call::VitalSet, &[0, 0]);
    machine.ok_as(child.id, Call::RepossessionSet, &[0, 0, 0]);
    machine.ok_as(child.id, Call::PageFree, &[child.pages[2]]);
    assert_eq!(machine.kernel.books().frames.owned, before - 3);
    machine.audit();
}

#[test]
fn requests_end_with_who_asked_and_with_who_was_asked() {
    let mut machine = Machine::new();
    let asked = child(&mut machine, 500, 4);
    let asker = child(&mut machine, 500, 0);
    let theirs = machine.ok(Call::CapGrant, &[asked.handle, asker.handle, 64]);
    machine.ok_as(asker.id, Call::Revoke, &[theirs, PAGE_KIND, 2, SOON]);
    machine.ok(Call::EnvKill, &[asker.handle]);
    pass(&mut machine, SOON + 1);
    assert!(asked.taken(&machine).is_empty(), "nobody asks any more");
    asked.ask(&mut machine, Kind::Pages, 2, u64::MAX);
    machine.ok(Call::EnvKill, &[asked.handle]);
    machine.audit();
    let progress = asked.status(&mut machine);
    assert_eq!(progress, Progress { short: 2, over: true, ..Progress::default() });
}

#[test]
fn quota_goes_to_the_lender_whoever_asks() {
    let mut machine = Machine::new();
    let parent = child(&mut machine, 500, 0);
    machine.write(parent.id, SCRATCH, b"grandchild");
    let grandchild = machine.ok_as(parent.id, Call::EnvCreate, &[50, SCRATCH, 10]);
    let mut pages = vec![];
    for _ in 0..10 {
        pages.push(machine.ok_as(parent.id, Call::PageAlloc, &[grandchild, u64::MAX]));
    }
    // All that the parent may have left.
    let own = parent.own;
    while machine.call_as(parent.id, Call::PageAlloc, &[own, u64::MAX]).0 == Status::Ok {}
    machine.ok_as(parent.id, Call::Revoke, &[grandchild, PAGE_KIND, 10, 0]);
    pass(&mut machine, 1);
    let mut gained = 0;
    while machine.call_as(parent.id, Call::PageAlloc, &[own, u64::MAX]).0 == Status::Ok {
        gained += 1;
    }
    assert!((9..=10).contains(&gained), "{gained} frames came back");
    machine.ok(Call::EnvKill, &[parent.handle]);
    machine.audit();
}

#[test]
fn cycles_and_kills_in_the_middle_leave_the_books_as_they_were() {
    let mut machine = Machine::new();
    let quiet = |machine: &Machine| {
        let books = machine.kernel.books();
        (books.frames, books.environments, books.grants, books.bindings)
    };
    let life = |machine: &mut Machine, n: u64| {
        let child = child(machine, 200, n % 7 + 2);
        match n % 4 {
            0 => assert_ne!(child.ask(machine, Kind::Pages, 60_000, 0), 0),
            1 => assert_ne!(child.ask(machine, Kind::Pages, 1, u64::MAX), 0),
            2 => machine.kernel.call(child.id, Call::Wait as u64, [u64::MAX, 0, 0, 0, 0, 0]),
            _ => {}
        }
        machine.kernel.serve();
        machine.ok(Call::EnvKill, &[child.handle]);
        machine.ok(Call::CapDrop, &[child.handle]);
    };
    life(&mut machine, 0);
    let before = quiet(&machine);
    for n in 0..300 {
        life(&mut machine, n);
        assert_eq!(quiet(&machine), before, "cycle {n}");
    }
    machine.audit();
}

#[test]
fn a_child_that_was_never_started_ends_with_its_creator_unless_somebody_else_holds_it() {
    let mut machine = Machine::new();
    for shared in [false, true] {
        let before = machine.kernel.books();
        let parent = child(&mut machine, 500, 0);
        machine.write(parent.id, SCRATCH, b"grandchild");
        let made = machine.ok_as(parent.id, Call::EnvCreate, &[50, SCRATCH, 10]);
        // What it holds of itself does not count.
        machine.ok_as(parent.id, Call::CapGrant, &[made, made, 64]);
        let init = machine.handle("self");
        let to = machine.ok(Call::CapGrant, &[init, parent.handle, 64]);
        let held = shared.then(|| machine.ok_as(parent.id, Call::CapGrant, &[made, to, 64]));
        machine.ok(Call::EnvKill, &[parent.handle]);
        machine.audit();
        let after = machine.kernel.books();
        assert_eq!(after.environments, before.environments + u32::from(shared));
        if let Some(held) = held {
            machine.ok(Call::EnvKill, &[held]);
        }
        assert_eq!(machine.kernel.books().frames, before.frames);
        machine.audit();
    }
}
