//! Bindings: authority at bind time, changes of rights, batches, names, what everybody sees.

use abi::bind::{BATCH_MAP, BATCH_PROTECT, BATCH_UNMAP, BatchEntry};
use abi::exposed as at;
use abi::{Call, Status};
use machine::Rights;
use zerocopy::IntoBytes;

use crate::harness::{Machine, SCRATCH};

const AT: u64 = 0x60_0000;
const PAGE: u64 = 4096;
const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;

fn rights(machine: &Machine, who: kernel::EnvironmentId, address: u64) -> Option<Rights> {
    machine.kernel.space(who).unwrap().lookup(address).map(|(_, rights)| rights)
}

fn batch(machine: &mut Machine, entries: &[BatchEntry]) -> (Status, u64) {
    let own = machine.handle("self");
    machine.write(machine.init, SCRATCH, entries.as_bytes());
    machine.call(Call::PageBatch, &[own, SCRATCH, entries.len() as u64])
}

#[test]
fn rights_move_within_the_authority_of_the_binding() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let init = machine.init;
    let page = machine.page(init, own, AT);
    let write = Rights { write: true, execute: false };
    let read = Rights::default();
    assert_eq!(rights(&machine, init, AT), Some(write));
    machine.ok(Call::PageProtect, &[own, AT, 1, READ]);
    assert_eq!(rights(&machine, init, AT), Some(read));
    machine.ok(Call::PageProtect, &[own, AT, 1, READ | WRITE]);
    machine.ok(Call::PageProtect, &[own, AT, 1, READ | EXECUTE]);
    // Bound with a capability that can only be read, it can never be more.
    let less = machine.ok(Call::CapDerive, &[page, READ]);
    machine.ok(Call::PageMap, &[own, less, AT + PAGE, READ]);
    for more in [READ | WRITE, READ | EXECUTE] {
        let (status, _) = machine.call(Call::PageProtect, &[own, AT + PAGE, 1, more]);
        assert_eq!(status, Status::MissingRight);
    }
    // All or none.
    machine.ok(Call::PageProtect, &[own, AT, 1, READ]);
    let (status, _) = machine.call(Call::PageProtect, &[own, AT, 2, READ | WRITE]);
    assert_eq!(status, Status::MissingRight);
    assert_eq!(rights(&machine, init, AT), Some(read));
    machine.audit();
}

#[test]
fn who_binds_for_somebody_else_gives_no_more_than_it_binds() {
    let mut machine = Machine::new();
    let (id, handle, own) = machine.child(64);
    let page = machine.ok(Call::PageAlloc, &[machine.handle("self"), u64::MAX]);
    machine.ok(Call::PageMap, &[handle, page, AT, READ]);
    let (status, _) = machine.call_as(id, Call::PageProtect, &[own, AT, 1, READ | WRITE]);
    assert_eq!(status, Status::MissingRight);
    machine.audit();
}

#[test]
fn changes_of_rights_that_make_no_sense_are_refused() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    machine.page(machine.init, own, AT);
    for (status, address, pages, rights) in [
        (Status::WriteAndExecute, AT, 1, READ | WRITE | EXECUTE),
        (Status::BadArgument, AT, 1, WRITE),
        (Status::BadArgument, AT, 1, 0),
        (Status::BadArgument, AT, 1, u64::MAX),
        (Status::BadArgument, AT + 1, 1, READ),
        (Status::BadArgument, AT, 129, READ),
        (Status::BadArgument, AT, u64::MAX, READ),
        (Status::BadAddress, AT, 2, READ),
        (Status::BadAddress, AT - PAGE, 2, READ),
        (Status::BadAddress, u64::MAX - 4095, 2, READ),
        (Status::BadAddress, 0xffff_8000_0000_0000, 1, READ),
        (Status::BadAddress, at::SYSTEM, 1, READ | WRITE),
        (Status::BadAddress, at::TABLES, 1, READ | WRITE),
    ] {
        let (got, _) = machine.call(Call::PageProtect, &[own, address, pages, rights]);
        assert_eq!(got, status, "{address:#x} {pages} {rights}");
    }
    machine.audit();
}

#[test]
fn a_batch_does_all_or_says_where_it_stopped() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let pages: Vec<u64> = (0..3).map(|_| machine.ok(Call::PageAlloc, &[own, u64::MAX])).collect();
    let entry = |operation, page, number: u64, rights| BatchEntry {
        operation,
        page,
        address: AT + number * PAGE,
        rights,
    };
    let maps: Vec<BatchEntry> = pages
        .iter()
        .zip(0..)
        .map(|(&page, number)| entry(BATCH_MAP, page, number, READ | WRITE))
        .collect();
    assert_eq!(batch(&mut machine, &maps), (Status::Ok, 3));
    let mixed = [
        entry(BATCH_PROTECT, 0, 0, READ),
        entry(BATCH_UNMAP, 0, 1, 0),
        entry(BATCH_MAP, pages[1], 0, READ),
        entry(BATCH_UNMAP, 0, 2, 0),
    ];
    let stopped = (Status::Occupied as u64) << 16 | 2;
    assert_eq!(batch(&mut machine, &mixed), (Status::Ok, stopped));
    let init = machine.init;
    assert_eq!(rights(&machine, init, AT), Some(Rights::default()));
    assert_eq!(rights(&machine, init, AT + PAGE), None);
    assert!(rights(&machine, init, AT + 2 * PAGE).is_some());
    assert_eq!(batch(&mut machine, &[]), (Status::Ok, 0));
    let odd = [entry(3, pages[0], 5, READ)];
    assert_eq!(batch(&mut machine, &odd).1, (Status::BadArgument as u64) << 16);
    for count in [129, u64::MAX] {
        let (status, _) = machine.call(Call::PageBatch, &[own, SCRATCH, count]);
        assert_eq!(status, Status::BadArgument);
    }
    for address in [0, 0x7000_0000, 0xffff_8000_0000_0000, u64::MAX - 40] {
        let (status, _) = machine.call(Call::PageBatch, &[own, address, 2]);
        assert_eq!(status, Status::BadAddress);
    }
    machine.audit();
}

#[test]
fn a_new_name_voids_every_other_and_breaks_every_mapping_at_once() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let (id, handle, child_own) = machine.child(64);
    let page = machine.page(machine.init, own, AT);
    machine.write(machine.init, AT, b"contents");
    let passed = machine.ok(Call::CapGrant, &[page, handle, READ | WRITE | 8]);
    machine.ok_as(id, Call::PageMap, &[child_own, passed, AT, READ | WRITE]);
    let fresh = machine.ok(Call::PageRenew, &[page]);
    for (who, own, old) in [(machine.init, own, page), (id, child_own, passed)] {
        assert_eq!(rights(&machine, who, AT), None);
        let (status, _) = machine.call_as(who, Call::PageMap, &[own, old, AT, READ]);
        assert_eq!(status, Status::BadHandle);
    }
    machine.ok_as(id, Call::CapDrop, &[passed]);
    machine.ok(Call::PageMap, &[own, fresh, AT, READ]);
    assert_eq!(machine.read(machine.init, AT, 8), b"contents");
    let less = machine.ok(Call::CapDerive, &[fresh, READ]);
    assert_eq!(machine.call(Call::PageRenew, &[less]).0, Status::MissingRight);
    machine.audit();
}

#[test]
fn everybody_sees_whose_each_frame_is_and_nobody_can_write_it() {
    let mut machine = Machine::new();
    let (id, handle, own) = machine.child(64);
    let page = machine.ok_as(id, Call::PageAlloc, &[own, u64::MAX]);
    let frame = machine.ok_as(id, Call::PageName, &[page]);
    let entry = at::FRAMES + frame * 4;
    for who in [machine.init, id] {
        assert_eq!(machine.read_u32(who, entry), id.0);
        let space = machine.kernel.space(who).unwrap();
        assert!(space.write(entry, &[0; 4]).is_err());
        assert_eq!(space.lookup(at::SYSTEM).map(|(_, rights)| rights), Some(Rights::default()));
        // What is shown cannot be had: the kernel writes no answer there.
        let (status, _) = machine.call_as(who, Call::Books, &[at::SYSTEM, 4096]);
        assert_eq!(status, Status::BadAddress);
    }
    machine.ok_as(id, Call::PageFree, &[page]);
    assert_eq!(machine.read_u32(id, entry), at::FRAME_FREE);
    let found = (0..).find(|n| machine.read_u32(id, at::FRAMES + n * 4) == at::FRAME_FREE);
    let wish = machine.ok_as(id, Call::PageAlloc, &[own, found.unwrap()]);
    assert_eq!(machine.ok_as(id, Call::PageName, &[wish]), found.unwrap());
    for (own, address) in [(own, at::SYSTEM), (own, at::FRAMES), (own, at::END - PAGE)] {
        let (status, _) = machine.call_as(id, Call::PageMap, &[own, wish, address, READ]);
        assert_eq!(status, Status::Occupied);
        let (status, _) = machine.call_as(id, Call::PageUnmap, &[own, address]);
        assert_eq!(status, Status::BadAddress);
    }
    machine.ok(Call::EnvKill, &[handle]);
    let init = machine.init;
    assert_eq!(machine.read_u32(init, at::FRAMES + found.unwrap() * 4), at::FRAME_FREE);
    machine.audit();
}

#[test]
fn the_frame_table_agrees_with_the_books() {
    let mut machine = Machine::new();
    let (_, handle, _) = machine.child(200);
    let count = |machine: &Machine| {
        let entries = (0..machine.kernel.books().frames.total + 0x100)
            .map(|n| machine.read_u32(machine.init, at::FRAMES + n * 4));
        let (mut free, mut owned) = (0, 0);
        for entry in entries {
            match entry {
                at::FRAME_FREE => free += 1,
                at::FRAME_KERNEL => {}
                _ => owned += 1,
            }
        }
        (free, owned)
    };
    let books = machine.kernel.books().frames;
    assert_eq!(count(&machine), (books.free, books.owned));
    machine.ok(Call::EnvKill, &[handle]);
    let books = machine.kernel.books().frames;
    assert_eq!(count(&machine), (books.free, books.owned));
}

#[test]
fn the_system_page_shows_the_books_and_who_lives() {
    let mut machine = Machine::new();
    let (id, _, _) = machine.child(64);
    machine::host::advance(5_000_000);
    machine.kernel.serve();
    let init = machine.init;
    let word = |machine: &Machine, offset: usize| {
        let bytes = machine.read(init, at::SYSTEM + offset as u64, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    let books = machine.kernel.books();
    assert_eq!(word(&machine, at::NOW_NS), 5_000_000);
    assert_eq!(word(&machine, at::FRAME_BOOKS), books.frames.total);
    assert_eq!(word(&machine, at::FRAME_BOOKS + 8), books.frames.free);
    assert_eq!(word(&machine, at::ENVIRONMENT_ROWS), 2);
    assert_eq!(word(&machine, at::CLOCK_SCALE), 1 << 32);
    assert!(machine.read_u32(init, at::SYSTEM).is_multiple_of(2));
    let row = at::ENVIRONMENTS + at::ROW_BYTES as u64;
    assert_eq!(machine.read_u32(init, row), id.0);
    assert_eq!(machine.read_u32(init, row + at::ROW_PARENT as u64), init.0);
    assert!(machine.read(init, row + at::ROW_NAME as u64, 32).starts_with(b"child\0"));
}
