//! Binding: rings, overlap with a witness, ranges of arguments, the way out.

use abi::record::Record;
use abi::refusal::{Blame, Code};
use abi::{Call, Status};

use crate::harness::{BindPlan, Machine, REFUSAL, bind, derive, filter, refusal, udp};

pub(crate) fn plan<'a>(machine: &Machine, grant: u64, filter: &'a [u8]) -> BindPlan<'a> {
    let own = machine.handle("self");
    BindPlan { who: machine.init, own, grant, filter, ash: &[], pages: 0 }
}

pub(crate) fn bind_filter(machine: &mut Machine, grant: u64, filter: &[u8]) -> (Status, u64) {
    let plan = plan(machine, grant, filter);
    bind(machine, &plan)
}

#[test]
fn a_filter_is_bound_and_said_so() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let program = filter("udp and dst port 7777");
    let (status, binding) = bind_filter(&mut machine, grant, &program);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let bound = machine.records().into_iter().find_map(|record| match record {
        Record::Bound { filter, environment, .. } => Some((filter, environment)),
        _ => None,
    });
    assert_eq!(bound, Some((program, machine.init.0)));
    assert_eq!(machine.kernel.books().bindings, 1);
    machine.audit();
    machine.ok(Call::Unbind, &[binding]);
    assert_eq!(machine.kernel.books().bindings, 0);
    assert_eq!(machine.call(Call::Unbind, &[binding]).0, Status::BadHandle);
    machine.audit();
}

#[test]
fn an_overlap_is_refused_with_a_packet_that_both_accept() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let first = filter("udp and dst port 7777");
    let second = filter("udp and dst portrange 7000-7999");
    for (one, other) in [(&first, &second), (&second, &first)] {
        let (status, binding) = bind_filter(&mut machine, grant, one);
        assert_eq!(status, Status::Ok);
        let (status, bytes) = bind_filter(&mut machine, grant, other);
        assert_eq!(status, Status::Refused);
        let record = refusal(&machine, machine.init);
        assert_eq!((record.code, record.blame), (Code::Overlap, Blame::Filter));
        assert!(bytes > 0 && record.other.is_some());
        let witness = record.witness.unwrap();
        for program in [one, other] {
            let program = ebpf::decode(program, ebpf::Kind::Filter, 4096).unwrap();
            assert_eq!(ebpf::interp::accepts(&program, &witness), Ok(true));
        }
        assert_eq!(machine.last_refusal().unwrap().witness, Some(witness));
        machine.audit();
        machine.ok(Call::Unbind, &[binding]);
    }
}

#[test]
fn a_claim_outside_its_grant_is_refused_with_a_packet() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst portrange 7000-7999");
    let (status, grant) = derive(&mut machine, root, &receive, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let (status, _) = bind_filter(&mut machine, grant, &filter("udp"));
    assert_eq!(status, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!(record.code, Code::OutsideGrant);
    let space = flow::expr::parse("udp and dst host 10.0.2.15 and dst portrange 7000-7999");
    assert!(!space.unwrap().to_space().unwrap().contains(&record.witness.unwrap()));
    let inside = filter("udp and dst host 10.0.2.15 and dst port 7800");
    assert_eq!(bind_filter(&mut machine, grant, &inside).0, Status::Ok);
    machine.receive(&udp(1, 7800, b"x"));
    machine.audit();
}

#[test]
fn a_small_buffer_gets_what_fits() {
    use zerocopy::IntoBytes;
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let program = filter("udp and dst port 7777");
    bind_filter(&mut machine, grant, &program);
    let code = REFUSAL + 0x1000;
    let block = REFUSAL - 0x800;
    for room in [0u64, 8, 40, 4096] {
        let request = abi::bind::BindRequest {
            filter: code,
            filter_bytes: program.len() as u64,
            refusal: REFUSAL,
            refusal_bytes: room,
            ..Default::default()
        };
        machine.write(machine.init, block, request.as_bytes());
        let (status, bytes) = machine.call(Call::Bind, &[grant, block]);
        assert_eq!(status, Status::Refused);
        assert!(bytes <= room);
        if bytes > 0 {
            assert_eq!(refusal(&machine, machine.init).code, Code::Overlap);
        }
    }
}

#[test]
fn an_unsafe_filter_and_garbage_are_refused_at_their_instruction() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let text = "ldxw %r2, [%r1+0]\nldxb %r0, [%r2+13]\nexit";
    let insns = ebpf::asm::assemble(text).unwrap();
    let program = ebpf::Program::from_insns(ebpf::Kind::Filter, insns).unwrap();
    let (status, _) = bind_filter(&mut machine, grant, &ebpf::encode(&program));
    assert_eq!(status, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!((record.code, record.instruction), (Code::Unsafe, Some(1)));
    assert!(!record.explanation.is_empty());

    for garbage in [vec![], vec![0xff; 8], vec![0; 7], vec![0xff; 8 * 100]] {
        let (status, _) = bind_filter(&mut machine, grant, &garbage);
        assert_eq!(status, Status::Refused, "{} bytes", garbage.len());
        assert_eq!(refusal(&machine, machine.init).code, Code::Malformed);
    }
    machine.audit();
}

#[test]
fn a_program_over_the_limit_is_refused_by_the_limits_name() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    use zerocopy::IntoBytes;
    for n in 0..10 {
        let own = machine.handle("self");
        machine.page(machine.init, own, 0x30_0000_0000 + n * 4096);
    }
    let request = abi::bind::BindRequest {
        filter: 0x30_0000_0000,
        filter_bytes: 4097 * 8,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        ..Default::default()
    };
    machine.write(machine.init, REFUSAL - 0x800, request.as_bytes());
    let (status, _) = machine.call(Call::Bind, &[grant, REFUSAL - 0x800]);
    assert_eq!(status, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!(record.limit, Some(("PROGRAM_SLOTS_MAX".into(), 4096)));
    machine.audit();
}

#[test]
fn arguments_out_of_range_are_refused() {
    use zerocopy::IntoBytes;
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let own = machine.handle("self");
    let page = machine.page(machine.init, own, 0x30_0000_0000);
    let good = abi::bind::BindRequest { filter: REFUSAL, filter_bytes: 8, ..Default::default() };
    let bad = [
        (abi::bind::BindRequest { flags: 1, ..good }, Status::BadArgument),
        (abi::bind::BindRequest { ash_bytes: 8, ..good }, Status::BadArgument),
        (abi::bind::BindRequest { rx_page_count: 1, ..good }, Status::BadArgument),
        (abi::bind::BindRequest { filter: 1 << 47, ..good }, Status::BadAddress),
        (abi::bind::BindRequest { filter: u64::MAX - 3, ..good }, Status::BadAddress),
        (
            abi::bind::BindRequest { refusal: 0x40_0000, refusal_bytes: 8, ..good },
            Status::BadAddress,
        ),
        (abi::bind::BindRequest { control_page: grant, ..good }, Status::WrongKind),
        (abi::bind::BindRequest { control_page: 77, ..good }, Status::BadHandle),
        (
            abi::bind::BindRequest {
                control_page: page,
                rx_pages: REFUSAL,
                rx_page_count: 3,
                ..good
            },
            Status::BadArgument,
        ),
        (
            abi::bind::BindRequest { control_page: page, rx_page_count: 128, ..good },
            Status::BadArgument,
        ),
        (
            abi::bind::BindRequest { control_page: page, rx_pages: 8, rx_page_count: 1, ..good },
            Status::BadAddress,
        ),
    ];
    for (request, expected) in bad {
        machine.write(machine.init, REFUSAL - 0x800, request.as_bytes());
        let (status, _) = machine.call(Call::Bind, &[grant, REFUSAL - 0x800]);
        assert_eq!(status, expected, "{request:?}");
        machine.audit();
    }
    assert_eq!(machine.call(Call::Bind, &[grant, 0xffff_8000_0000_0000]).0, Status::BadAddress);
}

#[test]
fn pages_of_a_ring_stay_while_it_lives() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let program = filter("udp and dst port 9");
    let with_ring = BindPlan { pages: 2, ..plan(&machine, grant, &program) };
    let (status, binding) = bind(&mut machine, &with_ring);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let page =
        u64::from_le_bytes(machine.read(machine.init, REFUSAL - 0xc00, 8).try_into().unwrap());
    assert_eq!(machine.call(Call::PageFree, &[page]).0, Status::WrongState);
    machine.ok(Call::Unbind, &[binding]);
    machine.ok(Call::PageFree, &[page]);
    machine.audit();
}

/// A bind request with one page in the receive ring, written where [`bind`] writes its own.
fn write_request(machine: &Machine, who: kernel::EnvironmentId, control: u64, page: u64) {
    use zerocopy::IntoBytes;
    let (block, list, code) = (REFUSAL - 0x800, REFUSAL - 0xc00, REFUSAL + 0x1000);
    let program = filter("udp and dst port 4000");
    let request = abi::bind::BindRequest {
        filter: code,
        filter_bytes: program.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        control_page: control,
        rx_pages: list,
        rx_page_count: 1,
        ..Default::default()
    };
    machine.write(who, code, &program);
    machine.write(who, list, &page.to_le_bytes());
    machine.write(who, block, request.as_bytes());
}

#[test]
fn a_ring_is_made_of_pages_that_its_owner_pays_for() {
    let mut machine = Machine::new();
    let (child, handle, own) = machine.child(6_000);
    let (root, init) = (machine.handle("grant:root"), machine.handle("self"));
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    let mine = machine.ok(Call::PageAlloc, &[init, u64::MAX]);
    let lent = machine.ok(Call::CapGrant, &[mine, handle, 3]);
    let control = machine.ok_as(child, Call::PageAlloc, &[own, u64::MAX]);
    write_request(&machine, child, control, lent);
    let block = REFUSAL - 0x800;
    assert_eq!(machine.call_as(child, Call::Bind, &[grant, block]).0, Status::BadArgument);
    write_request(&machine, child, control, control);
    machine.ok_as(child, Call::Bind, &[grant, block]);
    machine.audit();
}

#[test]
fn a_page_that_goes_while_the_proof_runs_is_noticed() {
    let mut machine = Machine::new();
    let (child, handle, own) = machine.child(6_000);
    let root = machine.handle("grant:root");
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    let control = machine.ok_as(child, Call::PageAlloc, &[own, u64::MAX]);
    // `init` allocates on the child's account, and so can take the page back.
    let page = machine.ok(Call::PageAlloc, &[handle, u64::MAX]);
    let theirs = machine.ok(Call::CapGrant, &[page, handle, 3]);
    write_request(&machine, child, control, theirs);
    machine.kernel.call(child, Call::Bind as u64, [grant, REFUSAL - 0x800, 0, 0, 0, 0]);
    machine.ok(Call::PageFree, &[page]);
    while machine.kernel.step_proof(child) {}
    let registers = machine.kernel.registers(child).unwrap();
    assert_eq!(registers.rax, Status::Refused as u64);
    assert_eq!(refusal(&machine, child).code, Code::Stale);
    assert_eq!(machine.kernel.books().bindings, 0);
    machine.audit();
}

#[test]
fn a_revoked_grant_makes_the_proof_under_it_stale() {
    let mut machine = Machine::new();
    let (child, handle, own) = machine.child(6_000);
    let root = machine.handle("grant:root");
    let space = filter("udp and dst host 10.0.2.15 and dst port 4000");
    let (_, grant) = derive(&mut machine, root, &space, &[]);
    let theirs = machine.ok(Call::CapGrant, &[grant, handle, 32]);
    let control = machine.ok_as(child, Call::PageAlloc, &[own, u64::MAX]);
    write_request(&machine, child, control, control);
    machine.kernel.call(child, Call::Bind as u64, [theirs, REFUSAL - 0x800, 0, 0, 0, 0]);
    machine.ok(Call::GrantRevoke, &[grant]);
    while machine.kernel.step_proof(child) {}
    assert_eq!(refusal(&machine, child).code, Code::Stale);
    machine.audit();
}

#[test]
fn a_ring_keeps_pages_that_nobody_can_name() {
    let mut machine = Machine::new();
    let (root, own) = (machine.handle("grant:root"), machine.handle("self"));
    let [control, page] = [(); 2].map(|()| machine.ok(Call::PageAlloc, &[own, u64::MAX]));
    write_request(&machine, machine.init, control, page);
    let binding = machine.ok(Call::Bind, &[root, REFUSAL - 0x800]);
    let owned = machine.kernel.books().frames.owned;
    machine.ok(Call::CapDrop, &[control]);
    machine.ok(Call::CapDrop, &[page]);
    machine.receive(&udp(1, 4000, b"x"));
    assert_eq!(machine.kernel.books().rx.delivered, 1);
    assert_eq!(machine.kernel.books().frames.owned, owned);
    machine.ok(Call::Unbind, &[binding]);
    assert_eq!(machine.kernel.books().frames.owned, owned - 2);
    machine.audit();
}
