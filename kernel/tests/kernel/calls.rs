//! Every call with wrong handles, kinds, rights and pointers: refused, and nothing changes.

use abi::handle::Rights;
use abi::{Call, Status};

use crate::harness::{BindPlan, FORGED, Machine, SCRATCH, bind, filter};

/// One handle of each kind, with all rights that can be had.
struct Hand {
    page: u64,
    environment: u64,
    grant: u64,
    binding: u64,
    debug: u64,
}

fn hand(machine: &mut Machine) -> Hand {
    let own = machine.handle("self");
    let grant = machine.handle("grant:root");
    let page = machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    let program = filter("udp and dst port 4000");
    let plan = BindPlan { who: machine.init, own, grant, filter: &program, ash: &[], pages: 0 };
    let (status, binding) = bind(machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    Hand { page, environment: own, grant, binding, debug: machine.handle("debug") }
}

/// Calls whose first argument is a handle: the kind it must name, the right it must carry, and the
/// other arguments with which it would succeed.
fn table(hand: &Hand) -> Vec<(Call, u64, Rights, Vec<u64>)> {
    let at = SCRATCH + 0x8000;
    vec![
        (Call::Print, hand.debug, Rights::WRITE, vec![at, 4]),
        (Call::Report, hand.debug, Rights::WRITE, vec![at, 4]),
        (Call::Halt, hand.debug, Rights::CONTROL, vec![0]),
        (Call::PageAlloc, hand.environment, Rights::CONTROL, vec![u64::MAX]),
        (Call::PageMap, hand.environment, Rights::CONTROL, vec![hand.page, 0x60_0000, 3]),
        (Call::PageUnmap, hand.environment, Rights::CONTROL, vec![SCRATCH + 0xf000]),
        (Call::EnvStart, hand.environment, Rights::CONTROL, vec![0x40_0000, SCRATCH, 0]),
        (Call::EnvKill, hand.environment, Rights::CONTROL, vec![]),
        (Call::EnvStatus, hand.environment, Rights::empty(), vec![]),
        (Call::PageName, hand.page, Rights::empty(), vec![]),
        (Call::PageFree, hand.page, Rights::CONTROL, vec![]),
        (Call::GrantDerive, hand.grant, Rights::DERIVE, vec![at]),
        (Call::GrantRevoke, hand.grant, Rights::REVOKE, vec![]),
        (Call::Bind, hand.grant, Rights::BIND, vec![at]),
        (Call::Unbind, hand.binding, Rights::REVOKE, vec![]),
        (Call::Transmit, hand.binding, Rights::TRANSMIT, vec![]),
        (Call::BindingStats, hand.binding, Rights::READ, vec![at]),
        (Call::Carve, hand.binding, Rights::REVOKE, vec![at]),
        (Call::HandOver, hand.binding, Rights::REVOKE, vec![at]),
        (Call::GrantSettle, hand.grant, Rights::BIND, vec![]),
    ]
}

fn with_first(first: u64, rest: &[u64]) -> Vec<u64> {
    [&[first], rest].concat()
}

#[test]
fn a_handle_that_was_never_given_out_is_refused_everywhere() {
    let mut machine = Machine::new();
    let hand = hand(&mut machine);
    let before = machine.kernel.books();
    for handle in [0, 1, FORGED, 2 << 32, u64::MAX, 0xffff_8000_0000_0000] {
        for (call, _, _, rest) in table(&hand) {
            let (status, value) = machine.call(call, &with_first(handle, &rest));
            assert_eq!((status, value), (Status::BadHandle, 0), "{call:?} {handle:#x}");
        }
        for call in [Call::CapDrop, Call::CapDerive, Call::CapGrant, Call::CapInspect] {
            assert_eq!(machine.call(call, &[handle, 0, 0]).0, Status::BadHandle, "{call:?}");
        }
    }
    assert_eq!(machine.kernel.books().frames, before.frames);
    machine.audit();
}

#[test]
fn a_handle_of_another_kind_is_refused_everywhere() {
    let mut machine = Machine::new();
    let hand = hand(&mut machine);
    for (call, right, _, rest) in table(&hand) {
        for wrong in [hand.page, hand.environment, hand.grant, hand.binding, hand.debug] {
            if wrong != right {
                let (status, _) = machine.call(call, &with_first(wrong, &rest));
                assert_eq!(status, Status::WrongKind, "{call:?}");
            }
        }
    }
    machine.audit();
}

#[test]
fn a_capability_without_the_right_is_refused_everywhere() {
    let mut machine = Machine::new();
    let hand = hand(&mut machine);
    for (call, handle, right, rest) in table(&hand) {
        if right.is_empty() {
            continue;
        }
        let inspected = machine.ok(Call::CapInspect, &[handle]);
        let rights = Rights::from_bits((inspected >> 8) as u32).unwrap();
        let less = machine.ok(Call::CapDerive, &[handle, u64::from((rights - right).bits())]);
        let (status, _) = machine.call(call, &with_first(less, &rest));
        assert_eq!(status, Status::MissingRight, "{call:?}");
    }
    machine.audit();
}

#[test]
fn pointers_into_the_kernel_or_nowhere_are_refused() {
    let mut machine = Machine::new();
    let hand = hand(&mut machine);
    let bad = [0, 8, 0xfff, 0x7000_0000, 0x7fff_ffff_f000, 1 << 47, 0xffff_8000_0000_0000];
    for at in bad.into_iter().chain([0xffff_ffff_8010_0000, u64::MAX - 2, u64::MAX]) {
        let calls: [(Call, Vec<u64>); 10] = [
            (Call::Print, vec![hand.debug, at, 4]),
            (Call::Report, vec![hand.debug, at, 4]),
            (Call::EnvCreate, vec![100, at, 4]),
            (Call::GrantDerive, vec![hand.grant, at]),
            (Call::Bind, vec![hand.grant, at]),
            (Call::Carve, vec![hand.binding, at]),
            (Call::HandOver, vec![hand.binding, at]),
            (Call::BindingStats, vec![hand.binding, at]),
            (Call::Books, vec![at, 4096]),
            (Call::EnvStart, vec![hand.environment, at, SCRATCH, 0]),
        ];
        for (call, arguments) in calls {
            let (status, _) = machine.call(call, &arguments);
            let user = (0x1000..0x7fff_ffff_f000).contains(&at);
            // An entry point is any user address: whether a page is there shows when it runs.
            let expected = match call {
                Call::EnvStart if user => Status::WrongState,
                _ => Status::BadAddress,
            };
            assert_eq!(status, expected, "{call:?} {at:#x}");
        }
        machine.audit();
    }
    // Read-only memory is not written: the start block, the program itself.
    for at in [crate::harness::START_AT, 0x40_0000] {
        assert_eq!(machine.call(Call::BindingStats, &[hand.binding, at]).0, Status::BadAddress);
        assert_eq!(machine.call(Call::Books, &[at, 512]).0, Status::BadAddress);
    }
    // A buffer that begins in memory and ends outside it is not written at all.
    let end = SCRATCH + 16 * 4096 - 8;
    machine.write(machine.init, end, &[0x55; 8]);
    assert_eq!(machine.call(Call::BindingStats, &[hand.binding, end]).0, Status::BadAddress);
    assert_eq!(machine.read(machine.init, end, 8), [0x55; 8]);
}

#[test]
fn numbers_that_are_no_call_are_refused() {
    let mut machine = Machine::new();
    for number in (0..300).chain([u64::MAX, 1 << 32, 1 << 63]) {
        if Call::from_number(number).is_none() {
            machine.kernel.call(machine.init, number, [u64::MAX; 6]);
            let registers = machine.kernel.registers(machine.init).unwrap();
            assert_eq!(registers.rax, Status::UnknownCall as u64, "{number}");
        }
    }
}

#[test]
fn mappings_are_checked() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let page = machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    let at = 0x60_0000;
    for (address, rights, expected) in [
        (at, 7, Status::WriteAndExecute),
        (at, 2, Status::BadArgument),
        (at, 1 | 16, Status::BadArgument),
        (at, u64::MAX, Status::BadArgument),
        (at + 1, 3, Status::BadArgument),
        (0, 3, Status::BadAddress),
        (0xffff_8000_0000_0000, 3, Status::BadAddress),
        (0x7fff_ffff_f000, 3, Status::BadAddress),
        (0x40_0000, 3, Status::Occupied),
        (at, 3, Status::Ok),
        (at, 3, Status::Occupied),
    ] {
        let (status, _) = machine.call(Call::PageMap, &[own, page, address, rights]);
        assert_eq!(status, expected, "{address:#x} {rights:#x}");
        machine.audit();
    }
    let readable = machine.ok(Call::CapDerive, &[page, 1]);
    assert_eq!(machine.call(Call::PageMap, &[own, readable, at + 4096, 3]).0, Status::MissingRight);
    machine.ok(Call::PageMap, &[own, readable, at + 4096, 1]);
    machine.write(machine.init, at, b"shared");
    assert_eq!(machine.read(machine.init, at + 4096, 6), b"shared");
    machine.ok(Call::PageFree, &[page]);
    assert!(machine.kernel.space(machine.init).unwrap().read(at, &mut [0]).is_err());
    assert_eq!(machine.call(Call::PageUnmap, &[own, at]).0, Status::BadAddress);
    assert_eq!(machine.call(Call::PageName, &[readable]).0, Status::BadHandle);
    machine.audit();
}

#[test]
fn a_page_lives_while_it_can_be_reached_and_no_longer() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let owned = machine.kernel.books().frames.owned;
    let page = machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    machine.ok(Call::PageMap, &[own, page, 0x60_0000, 3]);
    machine.ok(Call::CapDrop, &[page]);
    machine.write(machine.init, 0x60_0000, b"alive");
    assert_eq!(machine.kernel.books().frames.owned, owned + 1);
    machine.ok(Call::PageUnmap, &[own, 0x60_0000]);
    assert_eq!(machine.kernel.books().frames.owned, owned);
    machine.audit();
}

#[test]
fn a_frame_can_be_asked_for_by_number() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    let page = machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    let number = machine.ok(Call::PageName, &[page]);
    for taken in [number, 0, 1 << 40, u64::MAX - 1] {
        assert_eq!(machine.call(Call::PageAlloc, &[own, taken]).0, Status::NotFree);
    }
    machine.ok(Call::PageFree, &[page]);
    let again = machine.ok(Call::PageAlloc, &[own, number]);
    assert_eq!(machine.ok(Call::PageName, &[again]), number);
    machine.audit();
}

#[test]
fn names_and_quotas_are_checked() {
    let mut machine = Machine::new();
    machine.write(machine.init, SCRATCH, b"name with blanks\x1b[2J\xff and more, longer than that");
    for (frames, at, length, expected) in [
        (100, SCRATCH, 0, Status::BadArgument),
        (100, SCRATCH, 33, Status::BadArgument),
        (100, SCRATCH, u64::MAX, Status::BadArgument),
        (100, SCRATCH, 16, Status::BadArgument),
        (100, SCRATCH + 16, 4, Status::BadArgument),
        (7, SCRATCH, 4, Status::BadArgument),
        (1 << 40, SCRATCH, 4, Status::NoMemory),
        (u64::MAX, SCRATCH, 4, Status::NoMemory),
        (100, SCRATCH, 4, Status::Ok),
    ] {
        assert_eq!(machine.call(Call::EnvCreate, &[frames, at, length]).0, expected);
        machine.audit();
    }
}

#[test]
fn environments_end_at_their_limit() {
    let mut machine = Machine::new();
    machine.write(machine.init, SCRATCH, b"many");
    for _ in 1..abi::limits::ENVIRONMENTS_MAX {
        machine.ok(Call::EnvCreate, &[10, SCRATCH, 4]);
    }
    assert_eq!(machine.call(Call::EnvCreate, &[10, SCRATCH, 4]).0, Status::Limit);
    machine.audit();
}

#[test]
fn a_child_cannot_take_more_than_its_quota() {
    let mut machine = Machine::new();
    let (child, _, own) = machine.child(40);
    let mut pages = 0;
    while machine.call_as(child, Call::PageAlloc, &[own, u64::MAX]).0 == Status::Ok {
        pages += 1;
        assert!(pages < 40);
    }
    assert!(pages > 10);
    machine.audit();
    let (status, _) = machine.call_as(child, Call::PageAlloc, &[own, u64::MAX]);
    assert_eq!(status, Status::NoMemory);
}

#[test]
fn books_and_reports_come_out() {
    use abi::record::Record;
    let mut machine = Machine::new();
    let debug = machine.handle("debug");
    let at = SCRATCH + 0x1000;
    assert_eq!(machine.call(Call::Books, &[at, 3]).0, Status::BadArgument);
    let bytes = machine.ok(Call::Books, &[at, 4096]) as usize;
    assert!(bytes > 20);
    machine.write(machine.init, SCRATCH, b"report");
    machine.ok(Call::Report, &[debug, SCRATCH, 6]);
    machine.ok(Call::Print, &[debug, SCRATCH, 6]);
    assert_eq!(machine.call(Call::Print, &[debug, SCRATCH, 513]).0, Status::BadArgument);
    assert_eq!(machine.call(Call::Report, &[debug, SCRATCH, 4097]).0, Status::BadArgument);
    let debug = machine.handle("debug");
    assert_eq!(machine.ok(Call::Audit, &[debug]), 0);
    assert_eq!(machine.call(Call::Audit, &[]).0, Status::BadHandle);
    let records = machine.records();
    assert!(records.iter().any(|r| matches!(r, Record::Books(_))));
    assert!(records.iter().any(|r| matches!(r, Record::User { bytes, .. } if bytes == b"report")));
}

#[test]
fn halt_stops_the_machine_with_its_code() {
    let outcome = machine::host::run(|| {
        let mut machine = Machine::new();
        let debug = machine.handle("debug");
        assert_eq!(machine.call(Call::Halt, &[debug, 256]).0, Status::BadArgument);
        machine.call(Call::Halt, &[debug, 17]);
    });
    assert_eq!(outcome, machine::host::Outcome::Exited(17));
}

#[test]
fn what_is_lent_to_a_child_is_not_there_for_the_next() {
    let mut machine = Machine::new();
    machine.write(machine.init, SCRATCH, b"lent");
    let child = machine.ok(Call::EnvCreate, &[10_000, SCRATCH, 4]);
    assert_eq!(machine.call(Call::EnvCreate, &[10_000, SCRATCH, 4]).0, Status::NoMemory);
    machine.ok(Call::EnvKill, &[child]);
    machine.ok(Call::EnvCreate, &[10_000, SCRATCH, 4]);
    machine.audit();
}

#[test]
fn what_may_not_be_passed_on_is_not() {
    let mut machine = Machine::new();
    let (_, child, _) = machine.child(100);
    let debug = machine.handle("debug");
    let kept = machine.ok(Call::CapDerive, &[debug, 2]);
    assert_eq!(machine.call(Call::CapGrant, &[kept, child, 2]).0, Status::MissingRight);
    assert_eq!(machine.call(Call::CapGrant, &[debug, child, 1]).0, Status::MissingRight);
    let blind = machine.ok(Call::CapDerive, &[child, 8]);
    assert_eq!(machine.call(Call::CapGrant, &[debug, blind, 2]).0, Status::MissingRight);
    machine.ok(Call::CapGrant, &[debug, child, 2]);
    machine.audit();
}
