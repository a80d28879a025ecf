//! Two who want the same: at once, one after the other, and after the first one's death.

use abi::bind::{BindRequest, BindingStats};
use abi::refusal::Code;
use abi::{Call, Status};
use kernel::EnvironmentId;
use zerocopy::{FromBytes, IntoBytes};

use crate::harness::{Machine, REFUSAL, SCRATCH, filter, refusal, udp};

const BLOCK: u64 = SCRATCH + 0x200;
const STATS: u64 = SCRATCH + 0x300;
const CODE: u64 = SCRATCH + 0x2000;
const WANTED: &str = "udp and dst host 10.0.2.15 and dst port 7000";

/// An environment with a right to bind under the root: its number, its handle in `init`'s table,
/// and its handle of the grant.
fn rival(machine: &mut Machine) -> (EnvironmentId, u64, u64) {
    let root = machine.handle("grant:root");
    let (id, handle, _) = machine.child(6_000);
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    (id, handle, grant)
}

/// Begins a bind; its proof is not worked on.
fn begin(machine: &mut Machine, (who, grant): (EnvironmentId, u64), program: &[u8]) {
    let request = BindRequest {
        filter: CODE,
        filter_bytes: program.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        ..BindRequest::default()
    };
    machine.write(who, CODE, program);
    machine.write(who, BLOCK, request.as_bytes());
    machine.kernel.call(who, Call::Bind as u64, [grant, BLOCK, 0, 0, 0, 0]);
}

fn answer(machine: &Machine, who: EnvironmentId) -> (Status, u64) {
    let registers = machine.kernel.registers(who).unwrap();
    (Status::from_number(registers.rax).unwrap(), registers.rdx)
}

fn received(machine: &mut Machine, who: EnvironmentId, binding: u64) -> u64 {
    machine.ok_as(who, Call::BindingStats, &[binding, STATS]);
    let bytes = machine.read(who, STATS, size_of::<BindingStats>());
    BindingStats::read_from_bytes(&bytes).unwrap().received
}

#[test]
fn of_two_uploads_at_once_one_is_bound_however_they_interleave() {
    // So many steps of one proof for one of the other's.
    for (ours, theirs) in [(1, 1), (3, 1), (1, 3), (1_000_000, 1), (1, 1_000_000)] {
        let mut machine = Machine::new();
        let rivals = [rival(&mut machine), rival(&mut machine)];
        let before = machine.kernel.books();
        for (who, _, grant) in rivals {
            begin(&mut machine, (who, grant), &filter(WANTED));
        }
        let mut busy = [true; 2];
        while busy != [false; 2] {
            for (at, steps) in [ours, theirs].into_iter().enumerate() {
                for _ in 0..steps {
                    busy[at] = busy[at] && machine.kernel.step_proof(rivals[at].0);
                    if !busy[at] {
                        break;
                    }
                }
            }
        }
        let answers = rivals.map(|(who, ..)| answer(&machine, who));
        let bound: Vec<usize> = (0..2).filter(|&at| answers[at].0 == Status::Ok).collect();
        let [winner] = bound[..] else { panic!("{answers:?}") };
        let loser = 1 - winner;
        assert_eq!(answers[loser].0, Status::Refused, "{ours} {theirs}");
        let record = refusal(&machine, rivals[loser].0);
        assert_eq!(record.code, Code::Overlap);
        assert!(record.witness.is_some() && record.other.is_some());
        let books = machine.kernel.books();
        assert_eq!(books.bindings, before.bindings + 1);
        machine.receive(&udp(1, 7000, b"whose"));
        assert_eq!(received(&mut machine, rivals[winner].0, answers[winner].1), 1);
        machine.audit();
    }
}

#[test]
fn what_a_dead_owner_had_is_free_and_its_handles_name_nothing() {
    let mut machine = Machine::new();
    let (first, theirs, grant) = rival(&mut machine);
    let (second, _, our_grant) = rival(&mut machine);
    let program = filter(WANTED);
    let put = |machine: &mut Machine, who: EnvironmentId, grant: u64| {
        begin(machine, (who, grant), &program);
        while machine.kernel.step_proof(who) {}
        answer(machine, who)
    };
    let (status, _) = put(&mut machine, first, grant);
    assert_eq!(status, Status::Ok);
    assert_eq!(put(&mut machine, second, our_grant).0, Status::Refused);
    // In the middle of a third try the owner dies: what was compared is compared again.
    begin(&mut machine, (second, our_grant), &program);
    machine.kernel.step_proof(second);
    machine.ok(Call::EnvKill, &[theirs]);
    while machine.kernel.step_proof(second) {}
    let (status, binding) = answer(&machine, second);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.receive(&udp(1, 7000, b"the heir's"));
    assert_eq!(received(&mut machine, second, binding), 1);
    machine.audit();
}

#[test]
fn a_child_grant_taken_away_in_the_middle_of_a_proof_makes_it_stale() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let receive = filter("udp and dst host 10.0.2.15 and dst portrange 7000-7999");
    let (_, grant) = crate::harness::derive(&mut machine, root, &receive, &[]);
    let (who, handle, _) = rival(&mut machine);
    let theirs = machine.ok(Call::CapGrant, &[grant, handle, 32]);
    begin(&mut machine, (who, theirs), &filter(WANTED));
    machine.kernel.step_proof(who);
    machine.ok(Call::GrantRevoke, &[grant]);
    while machine.kernel.step_proof(who) {}
    assert_eq!(answer(&machine, who).0, Status::Refused);
    assert_eq!(refusal(&machine, who).code, Code::Stale);
    machine.receive(&udp(1, 7000, b"nobody's"));
    assert_eq!(machine.kernel.books().bindings, 0);
    machine.audit();
}
