//! Bindings and grants: asked back, called back, taken; what is left can be read.

use abi::books::Reason;
use abi::revocation::{Kind, Pending};
use abi::ring::{EVENT_REPOSSESS, EVENT_REVOKE, EVENT_REVOKED};
use abi::{Call, Status, upcall};
use zerocopy::FromBytes;

use super::{Child, SOON, child, pass, refused};
use crate::harness::{BindPlan, Machine, SCRATCH, ash, bind, derive, filter, udp};

const PUBLIC: &str = "udp and dst host 10.0.2.15 and dst portrange 4000-4099";

/// A grant of `init`'s, and a child that holds it and answers some of its ports.
fn tenant(machine: &mut Machine, ports: &[u16]) -> (u64, Child, Vec<u64>) {
    let root = machine.handle("grant:root");
    let (status, public) = derive(machine, root, &filter(PUBLIC), &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let child = child(machine, 6_000, 1);
    let grant = machine.ok(Call::CapGrant, &[public, child.handle, 32 | 8]);
    // A handler that keeps what it sees: XDP_DROP.
    let answer = ash("mov32 %r0, 1\nexit");
    let mut bindings = vec![grant];
    for port in ports {
        let program = filter(&format!("udp and dst host 10.0.2.15 and dst port {port}"));
        let ash = &answer[..];
        let plan =
            BindPlan { who: child.id, own: child.own, grant, filter: &program, ash, pages: 0 };
        let (status, binding) = bind(machine, &plan);
        assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
        bindings.push(binding);
    }
    (public, child, bindings)
}

#[test]
fn bindings_are_given_back_or_taken_newest_first() {
    let mut machine = Machine::new();
    let (_, child, bindings) = tenant(&mut machine, &[4000, 4001, 4002]);
    child.ask(&mut machine, Kind::Bindings, 2, SOON);
    machine.ok_as(child.id, Call::Unbind, &[bindings[1]]);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    assert_eq!((progress.given, progress.taken, progress.over), (1, 1, true));
    let taken = child.taken(&machine);
    assert_eq!((taken.len(), taken[0].kind), (1, Kind::Bindings as u32));
    assert_eq!(machine.call_as(child.id, Call::CapInspect, &[bindings[3]]).0, Status::BadHandle);
    machine.ok_as(child.id, Call::CapInspect, &[bindings[2]]);
    child.ask(&mut machine, Kind::Bindings, 9, SOON);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    assert_eq!((progress.taken, progress.short), (1, 8));
    assert_eq!(machine.kernel.books().bindings, 0);
}

#[test]
fn capabilities_to_grants_are_given_back_or_taken_with_what_stands_on_them() {
    let mut machine = Machine::new();
    let (_, child, handles) = tenant(&mut machine, &[4000, 4001]);
    let spare = machine.ok_as(child.id, Call::CapDerive, &[handles[0], 8]);
    child.ask(&mut machine, Kind::Grants, 2, SOON);
    machine.ok_as(child.id, Call::CapDrop, &[spare]);
    pass(&mut machine, SOON + 1);
    let progress = child.status(&mut machine);
    assert_eq!((progress.given, progress.taken, progress.over), (1, 1, true));
    let kinds: Vec<u32> = child.taken(&machine).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [2, 2, 3]);
    assert_eq!(machine.call_as(child.id, Call::CapInspect, &[handles[0]]).0, Status::BadHandle);
    assert_eq!((machine.kernel.books().bindings, machine.kernel.books().grants), (0, 2));
}

#[test]
fn a_grant_that_is_called_back_goes_when_its_users_have_left() {
    let mut machine = Machine::new();
    let (public, child, handles) = tenant(&mut machine, &[4000, 4001]);
    machine.receive(&udp(9, 4000, b"x"));
    assert_eq!(machine.kernel.books().rx.dropped[Reason::AshDrop as usize], 1);
    let request = machine.ok(Call::GrantRecall, &[public, SOON]);
    assert_eq!(child.saved(&machine, 0, upcall::DETAIL), Kind::Grants as u64);
    assert_eq!(child.saved(&machine, 0, upcall::ERROR), request);
    let grant = child.saved(&machine, 0, upcall::ARGUMENT);
    assert_eq!(machine.ok_as(child.id, Call::RevokePending, &[SCRATCH, 40]), 1);
    let bytes = machine.read(child.id, SCRATCH, size_of::<Pending>());
    let pending = Pending::read_from_bytes(&bytes).unwrap();
    assert_eq!((pending.kind, pending.left, pending.name), (Kind::Grants as u64, 2, grant));
    // Meanwhile its handler runs on, packet by packet.
    machine.receive(&udp(9, 4000, b"x"));
    machine.ok_as(child.id, Call::Unbind, &[handles[1]]);
    pass(&mut machine, 1);
    assert_eq!(machine.kernel.books().grants, 2);
    machine.ok_as(child.id, Call::Unbind, &[handles[2]]);
    pass(&mut machine, 1);
    assert_eq!(machine.kernel.books().grants, 1);
    assert!(child.taken(&machine).is_empty(), "nothing was taken by force");
    assert_eq!(machine.ok(Call::Wait, &[0]), EVENT_REVOKED);
    machine.receive(&udp(9, 4000, b"x"));
    let books = machine.kernel.books().rx;
    let [handled, unbound] =
        [Reason::AshDrop, Reason::Unbound].map(|reason| books.dropped[reason as usize]);
    assert_eq!((handled, unbound), (2, 1));
}

#[test]
fn a_grant_that_is_not_given_back_is_taken_and_what_is_left_can_be_read() {
    let mut machine = Machine::new();
    let (public, child, handles) = tenant(&mut machine, &[4000, 4001]);
    // One more under another grant, which stays.
    let root = machine.handle("grant:root");
    let other = filter("udp and dst host 10.0.2.15 and dst port 5000");
    let (_, second) = derive(&mut machine, root, &other, &[]);
    let second = machine.ok(Call::CapGrant, &[second, child.handle, 32]);
    let plan = BindPlan {
        who: child.id,
        own: child.own,
        grant: second,
        filter: &other,
        ash: &[],
        pages: 0,
    };
    assert_eq!(bind(&mut machine, &plan).0, Status::Ok);
    let residual = |machine: &mut Machine, grant: u64| {
        let bytes = machine.ok_as(child.id, Call::FlowResidual, &[grant, SCRATCH, 4096]);
        machine.read(child.id, SCRATCH, bytes as usize)
    };
    let accepts = |program: &[u8], port: u16| {
        let program = ebpf::decode(program, ebpf::Kind::Filter, 4096).unwrap();
        ebpf::interp::accepts(&program, &udp(9, port, b"x")) == Ok(true)
    };
    let before = residual(&mut machine, 0);
    assert!([4000, 4001, 5000].iter().all(|&port| accepts(&before, port)));
    assert!(!accepts(&before, 4002));
    machine.ok(Call::GrantRecall, &[public, SOON]);
    pass(&mut machine, SOON + 1);
    let taken = child.taken(&machine);
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|it| it.kind == Kind::Bindings as u32 && it.request > 0));
    assert_eq!(taken[0].detail, taken[1].detail, "the grant's number");
    assert_ne!(taken[0].name, taken[1].name, "the bindings' numbers");
    let left = residual(&mut machine, 0);
    assert!(accepts(&left, 5000) && !accepts(&left, 4000) && !accepts(&left, 4001));
    assert_eq!(residual(&mut machine, second), left);
    assert_eq!(machine.call_as(child.id, Call::CapInspect, &[handles[0]]).0, Status::BadHandle);
    let events = machine.ok_as(child.id, Call::Wait, &[0]);
    assert_eq!(events, EVENT_REVOKE | EVENT_REPOSSESS);
    machine.receive(&udp(9, 4000, b"x"));
    assert_eq!(machine.kernel.books().rx.dropped[Reason::Unbound as usize], 1);
    assert_eq!((machine.kernel.books().grants, machine.kernel.books().bindings), (2, 1));
}

#[test]
fn what_is_carved_out_of_a_grant_is_not_left() {
    let mut machine = Machine::new();
    let (public, child, handles) = tenant(&mut machine, &[]);
    let carved = filter("udp and dst host 10.0.2.15 and dst port 4001");
    let (status, _) = derive(&mut machine, public, &carved, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let filter = &filter("udp and dst host 10.0.2.15 and dst portrange 4000-4010")[..];
    let (who, own, grant) = (child.id, child.own, handles[0]);
    let plan = BindPlan { who, own, grant, filter, ash: &[], pages: 0 };
    assert_eq!(bind(&mut machine, &plan).0, Status::Ok, "{:?}", machine.last_refusal());
    let bytes = machine.ok_as(child.id, Call::FlowResidual, &[0, SCRATCH, 4096]);
    let program = machine.read(child.id, SCRATCH, bytes as usize);
    let program = ebpf::decode(&program, ebpf::Kind::Filter, 4096).unwrap();
    let accepts = |port| ebpf::interp::accepts(&program, &udp(9, port, b"x")) == Ok(true);
    assert!(accepts(4000) && accepts(4010) && !accepts(4001));
}

#[test]
fn a_grant_taken_back_without_asking_is_in_the_vector_as_well() {
    let mut machine = Machine::new();
    let (public, child, _) = tenant(&mut machine, &[4000]);
    machine.ok(Call::GrantRevoke, &[public]);
    let taken = child.taken(&machine);
    assert_eq!((taken.len(), taken[0].request), (1, 0));
    assert_eq!(child.saved(&machine, 1, upcall::DETAIL), 1);
    assert_eq!(machine.ok_as(child.id, Call::FlowResidual, &[0, SCRATCH, 0]), 0);
    machine.audit();
}

#[test]
fn a_recall_is_made_once_and_not_of_the_root() {
    let mut machine = Machine::new();
    let (public, child, handles) = tenant(&mut machine, &[4000]);
    let root = machine.handle("grant:root");
    refused(&mut machine, Call::GrantRecall, &[root, SOON], Status::MissingRight);
    machine.ok(Call::GrantRecall, &[public, SOON]);
    refused(&mut machine, Call::GrantRecall, &[public, SOON], Status::WrongState);
    let held = machine.call_as(child.id, Call::GrantRecall, &[handles[0], 0]).0;
    assert_eq!(held, Status::MissingRight);
    refused(&mut machine, Call::FlowResidual, &[child.handle, SCRATCH, 9], Status::WrongKind);
    let short = machine.call_as(child.id, Call::FlowResidual, &[0, SCRATCH, 8]).0;
    assert_eq!(short, Status::BadArgument);
    // A grant that nobody else uses goes at once.
    pass(&mut machine, SOON + 1);
    let (_, idle) = derive(&mut machine, root, &filter(PUBLIC), &[]);
    machine.ok(Call::GrantRecall, &[idle, u64::MAX]);
    assert_eq!(machine.kernel.books().grants, 1);
}
