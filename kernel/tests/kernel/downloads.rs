//! Downloaded code: who pays for it, and what it may do.

use abi::bind::BindingStats;
use abi::books::Reason;
use abi::slice::SliceStats;
use abi::{Call, Status};
use zerocopy::{FromBytes, IntoBytes};

use crate::harness::{BindPlan, Machine, SCRATCH, ash, bind, derive, filter, udp};
use crate::packets::ECHO;

/// A machine with a grant of port 7 and a binding under it.
pub(crate) fn bound(words: &'static str, ash: &[u8], pages: u64) -> (Machine, u64) {
    let mut machine = Machine::boot(words, true);
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst port 7");
    let (status, grant) = derive(&mut machine, root, &receive, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let own = machine.handle("self");
    let plan = BindPlan { who: machine.init, own, grant, filter: &receive, ash, pages };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    (machine, binding)
}

pub(crate) fn stats(machine: &mut Machine, binding: u64) -> BindingStats {
    machine.ok(Call::BindingStats, &[binding, SCRATCH]);
    let bytes = machine.read(machine.init, SCRATCH, BindingStats::default().as_bytes().len());
    BindingStats::read_from_bytes(&bytes).unwrap()
}

/// The longest path of [`ECHO`]: all but its last two instructions.
const ECHO_COST: u64 = 23;

#[test]
fn an_ash_is_charged_its_worst_case_whatever_it_did() {
    let (mut machine, binding) = bound("log=off", &ash(ECHO), 0);
    machine.receive(&udp(1, 7, b""));
    let frame = udp(1, 7, b"");
    machine.receive(&frame);
    let stats = stats(&mut machine, binding);
    assert_eq!((stats.answered, stats.fell_back), (2, 0));
    assert_eq!(stats.charged, 2 * ECHO_COST, "the longest path, twice");
}

#[test]
fn a_flood_that_the_owner_cannot_pay_for_goes_to_its_ring_until_the_next_period() {
    let (mut machine, binding) = bound("log=off allowance=80", &ash(ECHO), 2);
    for n in 0..5 {
        machine.receive(&udp(9, 7, &[n]));
    }
    let counts = stats(&mut machine, binding);
    assert_eq!((counts.answered, counts.delivered, counts.fell_back), (3, 2, 2));
    assert_eq!(machine.wire.sent().len(), 3);
    assert_eq!(machine.kernel.books().rx.fell_back, 2);
    machine::host::advance(64 * abi::limits::SLICE_NS);
    machine.receive(&udp(9, 7, b"again"));
    let counts = stats(&mut machine, binding);
    assert_eq!((counts.answered, counts.fell_back), (4, 2));
    assert_eq!(counts.charged, 4 * ECHO_COST);
}

#[test]
fn a_slices_worth_of_handlers_passes_one_of_the_owners_slices_by() {
    let long = ash(&("mov %r0, 1\n".repeat(3999) + "exit"));
    let (mut machine, binding) = bound("log=off allowance=900000", &long, 0);
    let forfeited = |machine: &mut Machine| {
        let own = machine.handle("self");
        machine.ok(Call::SliceStats, &[own, SCRATCH]);
        let bytes = machine.read(machine.init, SCRATCH, size_of::<SliceStats>());
        SliceStats::read_from_bytes(&bytes).unwrap().forfeited
    };
    for packet in 1..=250 {
        assert_eq!(forfeited(&mut machine), 0, "{packet} packets");
        machine::host::advance(abi::limits::SLICE_NS);
        machine.receive(&udp(9, 7, b""));
    }
    assert_eq!(forfeited(&mut machine), 1);
    assert_eq!(stats(&mut machine, binding).charged, 1_000_000);
}

#[test]
fn without_a_ring_the_excess_is_dropped_by_name() {
    let (mut machine, binding) = bound("log=off allowance=80", &ash(ECHO), 0);
    for n in 0..5 {
        machine.receive(&udp(9, 7, &[n]));
    }
    assert_eq!(machine.kernel.books().rx.dropped[Reason::OwnerBroke as usize], 2);
    assert_eq!(machine.kernel.books().rx.dropped[Reason::NoRing as usize], 0);
    let stats = stats(&mut machine, binding);
    assert_eq!((stats.answered, stats.dropped, stats.fell_back), (3, 2, 2));
}

#[test]
fn a_ring_that_is_full_says_so_even_to_the_broke() {
    let (mut machine, _) = bound("log=off allowance=0", &ash(ECHO), 1);
    for n in 0..5 {
        machine.receive(&udp(9, 7, &[n]));
    }
    let books = machine.kernel.books();
    assert_eq!((books.rx.delivered, books.rx.fell_back), (2, 5));
    assert_eq!(books.rx.dropped[Reason::RingFull as usize], 3);
}

#[test]
fn one_owners_flood_does_not_make_another_broke() {
    let (mut machine, _) = bound("log=off allowance=80", &ash(ECHO), 0);
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst port 8");
    let (status, grant) = derive(&mut machine, root, &receive, &[]);
    assert_eq!(status, Status::Ok);
    let (child, handle, own) = machine.child(6_000);
    let granted = machine.ok(Call::CapGrant, &[grant, handle, u64::from(abi::Rights::BIND.bits())]);
    let echo = ash(ECHO);
    let plan = BindPlan { who: child, own, grant: granted, filter: &receive, ash: &echo, pages: 0 };
    let (status, _) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    for n in 0..9 {
        machine.receive(&udp(9, 7, &[n]));
    }
    machine.wire.sent();
    let before = machine.kernel.books().rx.answered;
    machine.receive(&udp(9, 8, b"not mine"));
    assert_eq!(machine.kernel.books().rx.answered, before + 1);
}
