//! Time: slices, sleep, waking, and proofs that let others run.

use abi::ring::EVENT_DEADLINE;
use abi::start::State;
use abi::{Call, Status};
use machine::Event;
use machine::host::Turn;

use crate::harness::{Machine, SCRATCH, filter, udp};

#[test]
fn a_sleeper_wakes_at_its_deadline() {
    let mut machine = Machine::new();
    machine.kernel.call(machine.init, Call::Wait as u64, [5_000_000, 0, 0, 0, 0, 0]);
    assert_eq!(machine.state(machine.init), Some(State::Waiting));
    // Something must be left in the script for time to go on.
    machine::host::script([Turn::event(Event::Timer)]);
    machine.kernel.step();
    machine.kernel.serve();
    assert_eq!(machine.state(machine.init), Some(State::Runnable));
    let registers = machine.kernel.registers(machine.init).unwrap();
    assert_eq!((registers.rax, registers.rdx), (Status::Ok as u64, EVENT_DEADLINE));
    assert_eq!(machine.call(Call::Wait, &[0]), (Status::Ok, EVENT_DEADLINE));
}

#[test]
fn a_loop_is_preempted_and_nobody_starves() {
    let mut machine = Machine::new();
    let (first, ..) = machine.child(100);
    let (second, ..) = machine.child(100);
    let ran = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let turns = (0..9).map(|_| {
        let ran = ran.clone();
        Turn::act(move |registers, _| {
            ran.borrow_mut().push(registers.rip);
            registers.rip += 1;
            machine::host::advance(1_000_000);
            Event::Timer
        })
    });
    machine::host::script(turns);
    for _ in 0..9 {
        machine.kernel.step();
    }
    // `init` starts at its entry, the others at theirs; each has run three times.
    let advanced = |id, from: u64| machine.kernel.registers(id).unwrap().rip - from;
    assert_eq!(advanced(machine.init, 0x40_0078), 3);
    assert_eq!((advanced(first, 0x40_0000), advanced(second, 0x40_0000)), (3, 3));
}

#[test]
fn packets_are_served_between_the_steps_of_a_proof() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let program = filter("udp and dst portrange 4000-4999");
    machine.write(machine.init, SCRATCH + 0x2000, &program);
    let block = [SCRATCH + 0x2000, program.len() as u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes: Vec<u8> = block.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    machine.write(machine.init, SCRATCH + 0x200, &bytes);
    machine.kernel.call(machine.init, Call::Bind as u64, [grant, SCRATCH + 0x200, 0, 0, 0, 0]);
    let mut steps = 0;
    while machine.state(machine.init) == Some(State::Proving) {
        machine.wire.send(&udp(1, 2, b"meanwhile"));
        machine.kernel.step();
        steps += 1;
        assert_eq!(machine.kernel.books().rx.received, steps);
        machine.audit();
    }
    assert!(steps > 1, "the proof took a single step");
    assert_eq!(machine.kernel.registers(machine.init).unwrap().rax, Status::Ok as u64);
}

#[test]
fn a_slice_can_be_given_to_somebody() {
    let mut machine = Machine::new();
    let (_, first, _) = machine.child(100);
    machine.ok(Call::Yield, &[first]);
    machine.ok(Call::Yield, &[0]);
    machine.ok(Call::EnvKill, &[first]);
    assert_eq!(machine.call(Call::Yield, &[first]).0, Status::WrongState);
}
