//! Random calls with nearly right arguments, the audit after each.

use abi::Call;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::harness::{
    BindPlan, CONTROL, Machine, RECEIVE, SCRATCH, TRANSMIT, bind, fill_slot, filter, udp,
};

/// Words that calls could take for handles, addresses, lengths or rights.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u64..40).prop_map(|index| 1 << 32 | index),
        1 => (0u64..40, 1u64..4).prop_map(|(index, generation)| generation << 32 | index),
        3 => (0u64..16).prop_map(|page| SCRATCH + page * 4096),
        2 => (0u64..64).prop_map(|page| 0x60_0000_0000 + page * 4096),
        2 => Just(SCRATCH + 0x200),
        1 => prop_oneof![Just(CONTROL), Just(RECEIVE), Just(TRANSMIT)],
        3 => 0u64..600,
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
}

fn call() -> impl Strategy<Value = (u64, [u64; 6])> {
    let number = prop_oneof![
        20 => (0..Call::ALL.len()).prop_map(|at| Call::ALL[at] as u64),
        1 => any::<u64>(),
    ];
    (number, [word(), word(), word(), word(), word(), word()])
}

/// What happens between calls: rings and programs scribbled over, packets from the wire.
#[derive(Clone, Debug)]
enum Step {
    Call(bool, u64, [u64; 6]),
    Scribble(u64, u64),
    Packet(Vec<u8>),
    Udp(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), call()).prop_map(|(who, (n, words))| Step::Call(who, n, words)),
        2 => (0u64..0x300, any::<u64>()).prop_map(|(at, value)| Step::Scribble(at, value)),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Step::Packet),
        2 => (0u16..20).prop_map(Step::Udp),
    ]
}

fn is_the_end(number: u64) -> bool {
    // Calls after which there is no machine or no caller left are tested elsewhere.
    [Call::Halt, Call::Exit, Call::EnvKill].iter().any(|&call| call as u64 == number)
}

fn play(steps: &[Step]) {
    let mut machine = Machine::boot("log=off", true);
    let (own, grant) = (machine.handle("self"), machine.handle("grant:root"));
    let program = filter("udp and dst port 7");
    let plan = BindPlan { who: machine.init, own, grant, filter: &program, ash: &[], pages: 2 };
    bind(&mut machine, &plan);
    fill_slot(&machine, machine.init, 0, &udp(1, 2, b"out"));
    let (child, handle, _) = machine.child(6_000);
    for (name, rights) in [("grant:root", 8 | 16 | 32), ("debug", 2)] {
        let mine = machine.handle(name);
        machine.ok(Call::CapGrant, &[mine, handle, rights]);
    }
    for step in steps {
        match step {
            Step::Call(false, number, _) if is_the_end(*number) => {}
            Step::Call(_, number, _) if *number == Call::Halt as u64 => {}
            Step::Call(by_child, number, words) => {
                let who = if *by_child { child } else { machine.init };
                machine.kernel.call(who, *number, *words);
                while machine.kernel.step_proof(who) {}
                // Whoever waits is woken: time passes.
                machine::host::advance(1_000_000_000);
                machine.kernel.serve();
            }
            Step::Scribble(at, value) => {
                let space = machine.kernel.space(machine.init).unwrap();
                let _gone = space.write(CONTROL + at, &value.to_le_bytes());
                let _gone = space.write(TRANSMIT + at, &value.to_le_bytes());
            }
            Step::Packet(frame) => machine.receive(frame),
            Step::Udp(port) => machine.receive(&udp(9, *port, b"in")),
        }
        machine.audit();
    }
}

#[test]
fn no_sequence_of_calls_upsets_the_books() {
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::default() });
    runner
        .run(&proptest::collection::vec(step(), 0..80), |steps| {
            play(&steps);
            Ok(())
        })
        .unwrap();
}
