//! Reservations that fail, one after the other: refused, never a panic, and the books add up.

use abi::{Call, Status};

use crate::carving::{carve, hand_over};
use crate::harness::{BindPlan, Machine, bind, derive, filter, udp};

/// A little of everything that reserves; true if all of it succeeded.
fn story(machine: &mut Machine) -> bool {
    let root = machine.handle("grant:root");
    let own = machine.handle("self");
    let mut fine = true;
    let mut note = |status: Status| {
        fine &= status == Status::Ok;
        assert!(
            matches!(status, Status::Ok | Status::NoMemory | Status::Refused | Status::BadHandle),
            "{status:?}"
        );
    };
    let receive = filter("udp and dst host 10.0.2.15 and dst port 7");
    let (status, grant) = derive(machine, root, &receive, &[]);
    note(status);
    let plan = BindPlan { who: machine.init, own, grant, filter: &receive, ash: &[], pages: 0 };
    let (status, listener) = bind(machine, &plan);
    note(status);
    let part =
        |text: &str| filter(&format!("udp and dst host 10.0.2.15 and dst port 7 and {text}"));
    let (status, connection) = carve(machine, listener, &part("src port 1"));
    note(status);
    let halves = ["src portrange 0-999", "src portrange 1000-65535"].map(part);
    note(hand_over(machine, listener, [&halves[0], &halves[1]], &[]).0);
    note(machine.call(Call::GrantSettle, &[grant]).0);
    if connection != 0 {
        note(machine.call(Call::Unbind, &[connection]).0);
    }
    machine.receive(&udp(1, 7, b"x"));
    let (status, page) = machine.call(Call::PageAlloc, &[own, u64::MAX]);
    note(status);
    note(machine.call(Call::PageMap, &[own, page, 0x60_0000_0000, 3]).0);
    let debug = machine.handle("debug");
    note(machine.call(Call::Report, &[debug, crate::harness::SCRATCH, 8]).0);
    let (status, child) =
        machine.call(Call::EnvCreate, &[100, crate::harness::SCRATCH + 0x9000, 1]);
    note(status);
    note(machine.call(Call::CapGrant, &[own, child, 64]).0);
    note(machine.call(Call::EnvKill, &[child]).0);
    fine
}

#[test]
fn the_nth_reservation_fails_and_nothing_breaks() {
    let mut failed_boots = 0;
    let mut failures = 0;
    for n in 1.. {
        let line: &'static str = Box::leak(format!("log=off fail_reservation={n}").into());
        let Ok(mut machine) = Machine::try_boot(line, true) else {
            failed_boots += 1;
            continue;
        };
        machine.write(machine.init, crate::harness::SCRATCH + 0x9000, b"c");
        let fine = story(&mut machine);
        machine.audit();
        if fine {
            break;
        }
        failures += 1;
        // A second try has what it needs.
        let own = machine.handle("self");
        machine.ok(Call::PageAlloc, &[own, u64::MAX]);
    }
    assert!(failed_boots > 10 && failures >= 8, "{failed_boots} boots, {failures} calls");
}

#[test]
fn a_proof_that_the_quota_cannot_pay_is_refused_by_its_size() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (child, handle, own) = machine.child(200);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    let program = filter("udp and dst port 4000");
    let plan = BindPlan { who: child, own, grant, filter: &program, ash: &[], pages: 0 };
    assert_eq!(bind(&mut machine, &plan).0, Status::Refused);
    let record = crate::harness::refusal(&machine, child);
    assert_eq!(record.code, abi::refusal::Code::NoMemory);
    assert_eq!(record.limit.unwrap().0, "proof frames");
    machine.audit();
}

#[test]
fn an_empty_kernel_heap_refuses_and_loses_nothing() {
    let mut machine = Machine::new();
    let own = machine.handle("self");
    machine::host::heap::set_bytes(1000, 0);
    for (call, arguments) in [
        (Call::PageAlloc, vec![own, u64::MAX]),
        (Call::EnvCreate, vec![100, crate::harness::SCRATCH + 0x9000, 1]),
    ] {
        machine.write(machine.init, crate::harness::SCRATCH + 0x9000, b"c");
        assert_eq!(machine.call(call, &arguments).0, Status::NoMemory);
        machine.audit();
    }
    machine.receive(&udp(1, 2, b""));
    assert!(machine.kernel.books().records_lost > 0);
    machine::host::heap::set_bytes(16 << 20, 0);
    machine.ok(Call::PageAlloc, &[own, u64::MAX]);
}
