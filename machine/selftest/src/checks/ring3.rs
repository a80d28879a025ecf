//! Ring 3: entered, left by every way there is, and kept apart.

use crate::raw;
use alloc::vec::Vec;
use machine::{
    AddressSpace, Answer, Event, Fault, Frame, FramePool, Rights, Short, UserContext, time,
};

/// Where a program's code and stack pages are.
pub(crate) const CODE: u64 = 0x40_0000;
pub(crate) const STACK: u64 = 0x7fff_ffff_e000;

const ALIGNMENT_CHECK: u64 = 1 << 18;
const NESTED_TASK: u64 = 1 << 14;

/// A ring-3 program with two pages.
pub(crate) struct Program {
    pub(crate) space: AddressSpace,
    context: UserContext,
    frames: [Frame; 2],
}

impl Program {
    /// One of the programs of [`raw`], with an argument.
    pub(crate) fn new(pool: &mut FramePool, offset: u64, argument: u64) -> Self {
        let made = (AddressSpace::new(pool), pool.take(), pool.take());
        let (Ok(mut space), Some(code), Some(stack)) = made else { panic!("no memory") };
        code.write(0, raw::programs());
        stack.zero();
        let execute = Rights { write: false, execute: true };
        let write = Rights { write: true, execute: false };
        assert_eq!(space.map(pool, CODE, &code, execute), Ok(()));
        assert_eq!(space.map(pool, STACK, &stack, write), Ok(()));
        let context = UserContext::new(CODE + offset, STACK + 4096, argument);
        Self { space, context, frames: [code, stack] }
    }

    /// Runs it until it stops.
    pub(crate) fn enter(&mut self) -> Event {
        self.context.enter(&self.space)
    }

    /// Gives everything back.
    pub(crate) fn end(self, pool: &mut FramePool) {
        self.space.destroy(pool);
        self.frames.into_iter().for_each(|frame| pool.give(frame));
    }
}

/// Arguments arrive, results arrive, nothing else changes.
pub(crate) fn system_calls(pool: &mut FramePool) {
    let mut program = Program::new(pool, raw::CALLS, 1);
    for round in 1..1000 {
        assert_eq!(program.enter(), Event::Syscall);
        let r = &mut program.context.registers;
        assert_eq!([r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9], [1, round, 2, 3, 4, 5, 6]);
        assert_eq!([r.r12, r.rbx, r.rbp], [0x1212, 0xbb, 0xbeef]);
        (r.rax, r.rdx) = (111, round + 1);
        assert_eq!(program.enter(), Event::Syscall);
        let r = &program.context.registers;
        assert_eq!([r.rax, r.rdi], [2, round + 1]);
    }
    program.end(pool);

    let mut program = Program::new(pool, raw::NULL_CALLS, 0);
    let before = time::cycles();
    (0..1000).for_each(|_| assert_eq!(program.enter(), Event::Syscall));
    log::info!("null system call: {} cycles", (time::cycles() - before) / 1000);
    program.end(pool);
}

/// Two programs, and every way to answer a call on the spot.
struct Answering {
    programs: Vec<Program>,
    /// What each asks next.
    next: [u64; 2],
    answered: u32,
}

impl Short for Answering {
    fn calls(&self) -> u64 {
        1 << 1 | 1 << 2
    }

    fn place(&mut self, number: u64) -> Option<(&mut UserContext, &AddressSpace)> {
        let program = self.programs.get_mut(number as usize)?;
        Some((&mut program.context, &program.space))
    }

    fn short(&mut self, who: u64, call: u64, arguments: &[u64; 6]) -> Answer {
        let next = &mut self.next[who as usize];
        if call == 1 {
            // After a round trip `rdx` is set anew, the others must be as they were.
            assert_eq!(*arguments, [*next, 2, 3, 4, 5, 6]);
            *next += 1;
            return Answer::Go(111, *next);
        }
        assert_eq!((call, *arguments), (2, [*next, 2, *next, 4, 5, 6]));
        self.answered += 1;
        match self.answered % 4 {
            0 => Answer::Go(1, 1),
            1 => Answer::Stop(7, 8),
            2 => Answer::Switch(7, 8, 1 - who),
            _ => Answer::Long,
        }
    }
}

/// Short calls come back with their answers and change nothing else, however they end.
pub(crate) fn short_calls(pool: &mut FramePool) {
    let programs = (0..2).map(|_| Program::new(pool, raw::CALLS, 1)).collect();
    let mut kernel = Answering { programs, next: [1; 2], answered: 0 };
    for (program, number) in kernel.programs.iter_mut().zip(0..) {
        program.context.settle(number, &program.space);
    }
    let mut who = 0;
    for _ in 0..1000 {
        let event = machine::stay(&mut kernel, who);
        who = machine::this_cpu().running();
        let r = &mut kernel.programs[who as usize].context.registers;
        assert_eq!([r.r12, r.rbx, r.rbp, r.rsi, r.r9], [0x1212, 0xbb, 0xbeef, 2, 6]);
        match event {
            Some(Event::Answered) => assert_eq!([r.rax, r.rdx], [7, 8]),
            Some(Event::Syscall) => assert_eq!(r.rax, 2),
            other => panic!("{other:?}"),
        }
    }
    assert!(kernel.next.iter().all(|&next| next > 500), "{:?}", kernel.next);
    assert_eq!(machine::stay(&mut kernel, 2), None);
    kernel.programs.into_iter().for_each(|program| program.end(pool));
}

/// An instruction or stack pointer that is none is a fault of ring 3's, never of ring 0's.
pub(crate) fn addresses_that_are_not(pool: &mut FramePool) {
    let mut program = Program::new(pool, raw::CALLS, 0);
    for rip in [0x8000_0000_0000, 0xffff_8000_0000_0000, 0xffff_ffff_8010_0000, u64::MAX] {
        program.context.registers.rip = rip;
        let fault = Fault { vector: 13, error: 0, address: rip };
        assert_eq!(program.enter(), Event::Fault(fault));
    }
    program.context.registers.rip = 0x7fff_ffff_ffff;
    let fault = Fault { vector: 14, error: 0x14, address: 0x7fff_ffff_ffff };
    assert_eq!(program.enter(), Event::Fault(fault));
    program.end(pool);

    let mut program = Program::new(pool, raw::NO_STACK, 0);
    assert_eq!(program.enter(), Event::Syscall);
    let fault = Fault { vector: 12, error: 0, address: 0x8000_0000_0000_0000 };
    assert_eq!(program.enter(), Event::Fault(fault));
    program.end(pool);
}

/// Each forbidden thing is reported as what it is.
pub(crate) fn faults(pool: &mut FramePool) {
    let expected = [
        (14, 4, 0x12_3000),                 // reads what is not mapped
        (14, 5, 0xffff_ffff_8010_0000),     // reads the kernel
        (13, 0, 0),                         // halts
        (13, 0x202, 0),                     // calls an interrupt gate
        (14, 7, 0xffff_8000_0010_0000),     // writes the physical map
        (0, 0, 0),                          // divides by zero
        (14, 7, CODE + raw::FAULTS + 0x5c), // writes its code; the address is looked at below
        (6, 0, 0),                          // uses AVX
    ];
    for (what, (vector, error, address)) in (0..).zip(expected) {
        let mut program = Program::new(pool, raw::FAULTS, what);
        let Event::Fault(fault) = program.enter() else { panic!("{what}: no fault") };
        assert_eq!((fault.vector, fault.error), (vector, error), "{what}");
        let same_page = vector == 14 && fault.address & !0xfff == address & !0xfff;
        assert!(same_page || fault.address == address, "{what}: {:#x}", fault.address);
        program.end(pool);
    }
}

/// Flags that ring 3 sets for itself neither reach the kernel nor survive an entry.
pub(crate) fn tricks_with_flags(pool: &mut FramePool) {
    let mut program = Program::new(pool, raw::FLAGS, 0);
    let mut turn = || {
        time::arm(time::now_ns() + 1_000_000);
        assert_eq!(program.enter(), Event::Timer);
        program.context.registers.rflags & (ALIGNMENT_CHECK | NESTED_TASK)
    };
    // A slow host may interrupt it before it has got anywhere.
    while turn() == 0 {}
    assert_eq!(turn(), 0);
    program.end(pool);

    let mut program = Program::new(pool, raw::FLAGS, 1);
    let stopped = program.enter();
    let single_step = matches!(stopped, Event::Fault(Fault { vector: 1, .. }));
    assert!(single_step || stopped == Event::Syscall, "{stopped:?}");
    assert!(matches!(program.enter(), Event::Syscall | Event::Fault(_)));
    program.end(pool);
}

/// Three programs share the processor by the timer; each keeps its vector registers, even if its
/// context moves in memory.
pub(crate) fn preemption(pool: &mut FramePool) {
    let argument = |n: u64| n * 0x1111_2222_3333_4444;
    let mut programs: Vec<_> =
        (1..=3).map(|n| Program::new(pool, raw::VECTORS, argument(n))).collect();
    for turn in 0..90 {
        if turn % 10 == 9 {
            let moved = programs.remove(0);
            programs.push(moved);
        }
        time::arm(time::now_ns() + 200_000);
        let program = &mut programs[turn % 3];
        assert_eq!(program.enter(), Event::Timer);
    }
    for program in programs {
        assert!(program.context.registers.r14 > 0, "a program never ran");
        program.end(pool);
    }
}
