//! The stages of a proof: each in steps, each dropped without a trace.

use std::collections::BTreeSet;

use abi::record::{PROOF_STAGES, Record};
use abi::start::State;
use abi::{Call, Status};
use kernel::limits::PROOF_FUEL;

use crate::binding::bind_filter;
use crate::harness::{BindPlan, Machine, SCRATCH, ash, bind, filter};

/// Slots that a handler which fits the harness's page has.
const SLOTS: u32 = 512;

/// A handler of [`SLOTS`] slots with branches.
fn handler() -> Vec<u8> {
    let mut text = String::from("mov %r0, 2\nmov %r6, 1\n");
    for number in 0..(SLOTS - 4) / 2 {
        text.push_str(&format!("jgt %r6, {number}, a{number}\na{number}: add %r6, {number}\n"));
    }
    let bytes = ash(&(text + "mov %r0, 2\nexit\n"));
    assert_eq!(bytes.len(), 8 * SLOTS as usize);
    bytes
}

/// Steps of each stage, by name, of the proofs that were answered.
fn stages(machine: &Machine) -> Vec<Vec<(&'static str, u32)>> {
    let proofs = machine.records().into_iter().filter_map(|record| match record {
        Record::Proof { stages, steps, .. } => {
            assert_eq!(stages.iter().map(|(count, _)| count).sum::<u32>(), steps);
            let counts = stages.iter().map(|&(count, _)| count);
            Some(PROOF_STAGES.into_iter().zip(counts).collect())
        }
        _ => None,
    });
    proofs.collect()
}

#[test]
fn no_stage_does_more_in_a_step_than_its_fuel_lets_it() {
    let mut machine = Machine::boot("trace latency log=off", true);
    let (own, grant) = (machine.handle("self"), machine.handle("grant:root"));
    let (filter, ash) = (filter("udp and dst portrange 4000-4999"), handler());
    let plan = BindPlan { who: machine.init, own, grant, filter: &filter, ash: &ash, pages: 0 };
    assert_eq!(bind(&mut machine, &plan).0, Status::Ok);
    let all = stages(&machine);
    let [proof] = &all[..] else { panic!("{all:?}") };
    for (stage, steps) in proof {
        // Looked at: read, and held against the rules; premises, survey, two passes; premises,
        // wants, match. Each look costs a unit at least.
        let looks = match *stage {
            "decode" => 2 * SLOTS,
            "compile" => 4 * SLOTS,
            "check" => 3 * SLOTS,
            "proof" => SLOTS,
            _ => 0,
        };
        assert!(*steps >= looks / PROOF_FUEL, "{stage}: {steps} steps for {looks} looks");
        assert!(*steps > 0, "{stage}: no step");
    }
    machine.audit();
}

#[test]
fn whatever_a_proof_is_at_a_kill_leaves_nothing_of_it() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    // What init itself keeps for its first child, and the engine for its first binding.
    let (_, first, _) = machine.child(6_000);
    machine.ok(Call::EnvKill, &[first]);
    let (_, binding) = bind_filter(&mut machine, root, &filter("udp and dst port 7"));
    machine.ok(Call::Unbind, &[binding]);
    machine.audit();
    let before = machine.kernel.books();
    let code = machine.kernel.code_bytes();
    let (filter, ash) = (filter("udp and dst portrange 4000-4999"), handler());
    let mut seen = BTreeSet::new();
    for steps in 0.. {
        let (child, handle, _) = machine.child(6_000);
        let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
        machine.write(child, SCRATCH + 0x2000, &filter);
        machine.write(child, SCRATCH + 0x3000, &ash);
        let block = [
            [SCRATCH + 0x2000, filter.len() as u64, SCRATCH + 0x3000, ash.len() as u64],
            [0; 4],
            [0; 4],
        ];
        let bytes: Vec<u8> = block.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        machine.write(child, SCRATCH + 0x200, &bytes);
        machine.kernel.call(child, Call::Bind as u64, [grant, SCRATCH + 0x200, 0, 0, 0, 0]);
        assert_eq!(machine.state(child), Some(State::Proving));
        let proving = (0..steps).all(|_| machine.kernel.step_proof(child));
        seen.extend(machine.kernel.proof_stage(child));
        machine.audit();
        machine.ok(Call::EnvKill, &[handle]);
        machine.audit();
        let after = machine.kernel.books();
        assert_eq!(after.frames, before.frames, "after {steps} steps");
        assert_eq!((after.bindings, after.grants), (before.bindings, before.grants));
        assert_eq!(machine.kernel.code_bytes(), code, "after {steps} steps");
        if !proving {
            break;
        }
    }
    let all: BTreeSet<_> = PROOF_STAGES.into_iter().skip(1).collect();
    assert_eq!(seen, all, "a stage was never killed in");
}
