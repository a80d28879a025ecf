//! Every way in which the interpreter stops a program, and what it must not stop.

use sluice_ebpf::asm;
use sluice_ebpf::cases::CaseHelpers;
use sluice_ebpf::interp::{
    self, CONTEXT_BASE, DATA_BASE, NoHelpers, STACK_BASE, STACK_STRIDE, Trap,
};
use sluice_ebpf::limits::STACK_BYTES;
use sluice_ebpf::{Kind, Program, Reg};

fn program(kind: Kind, text: &str) -> Program {
    asm::program(kind, text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs a program on sixteen bytes.
fn run(kind: Kind, text: &str) -> Result<u64, Trap> {
    let mut data: Vec<u8> = (0..16).collect();
    interp::run_packet(&program(kind, text), &mut data, &mut CaseHelpers::default(), 1_000)
}

fn outside(pc: u32, address: u64, size: usize) -> Result<u64, Trap> {
    Err(Trap::OutOfBounds { pc, address, size })
}

#[test]
fn buffers_have_two_ends() {
    let data = u64::from(DATA_BASE);
    for (text, address, size) in [
        ("ldxb %r0, [%r1-1]\nexit", data - 1, 1),
        ("ldxb %r0, [%r1+16]\nexit", data + 16, 1),
        ("ldxdw %r0, [%r1+9]\nexit", data + 9, 8),
        ("ldxh %r0, [%r1-1]\nexit", data - 1, 2),
        ("stw [%r1+13], 0\nexit", data + 13, 4),
        ("stxdw [%r1-7], %r2\nexit", data - 7, 8),
        ("lock add32 [%r1+13], %r2\nexit", data + 13, 4),
    ] {
        assert_eq!(run(Kind::Memory, text), outside(0, address, size), "{text}");
    }
    assert_eq!(run(Kind::Memory, "ldxdw %r0, [%r1+8]\nexit"), Ok(0x0f0e_0d0c_0b0a_0908));
}

#[test]
fn stacks_have_two_ends() {
    let top = u64::from(STACK_BASE) + STACK_BYTES as u64;
    for (text, address, size) in [
        ("stb [%r10+0], 0\nexit", top, 1),
        ("stdw [%r10-4], 0\nexit", top - 4, 8),
        ("stb [%r10-513], 0\nexit", top - 513, 1),
        ("stdw [%r10-513], 0\nexit", top - 513, 8),
    ] {
        assert_eq!(run(Kind::Memory, text), outside(0, address, size), "{text}");
    }
}

#[test]
fn a_frame_ends_where_it_ends_even_if_another_is_near() {
    let text = "call local f\nexit\nf:\nstb [%r10+0], 1\nexit";
    let inner = u64::from(STACK_BASE) + u64::from(STACK_STRIDE) + STACK_BYTES as u64;
    assert_eq!(run(Kind::Memory, text), outside(2, inner, 1));
}

#[test]
fn a_frame_is_gone_after_its_function() {
    let text = "call local f\nldxdw %r0, [%r0-8]\nexit\nf:\nstdw [%r10-8], 1\nmov %r0, %r10\nexit";
    let inner = u64::from(STACK_BASE) + u64::from(STACK_STRIDE) + STACK_BYTES as u64 - 8;
    assert_eq!(run(Kind::Memory, text), outside(1, inner, 8));
}

#[test]
fn wild_addresses_are_outside() {
    for address in ["0", "-1", "0xffffffffffffffff", "0x100000000", "0x8000000000000000"] {
        let text = format!("lddw %r1, {address}\nldxdw %r0, [%r1+0]\nexit");
        assert!(matches!(run(Kind::Ash, &text), Err(Trap::OutOfBounds { pc: 2, .. })), "{text}");
    }
}

#[test]
fn an_address_may_wrap_on_its_way_into_a_region() {
    let text = "lddw %r3, 0x7fff\nsub %r1, %r3\nldxb %r0, [%r1+0x7fff]\nexit";
    assert_eq!(run(Kind::Memory, text), Ok(0));
    let text = "mov %r3, -1\nstdw [%r3+1], 0\nexit";
    assert_eq!(run(Kind::Memory, text), outside(1, 0, 8));
}

#[test]
fn a_context_is_five_words() {
    let wrong = |offset, size| Err(Trap::Context { pc: 0, offset, size });
    for (size, bytes) in [("b", 1), ("h", 2), ("dw", 8)] {
        let text = format!("ldx{size} %r0, [%r1+0]\nexit");
        assert_eq!(run(Kind::Filter, &text), wrong(0, bytes));
    }
    assert_eq!(run(Kind::Ash, "ldxw %r0, [%r1+2]\nexit"), wrong(2, 4));
    assert_eq!(run(Kind::Ash, "ldxsw %r0, [%r1+4]\nexit"), wrong(4, 4));
    let base = u64::from(CONTEXT_BASE);
    assert_eq!(run(Kind::Ash, "ldxw %r0, [%r1+20]\nexit"), outside(0, base + 20, 4));
    assert_eq!(run(Kind::Ash, "ldxw %r0, [%r1+17]\nexit"), outside(0, base + 17, 4));
    assert_eq!(run(Kind::Ash, "ldxw %r0, [%r1-4]\nexit"), outside(0, base - 4, 4));
    let store = Err(Trap::ReadOnly { pc: 0, address: base + 4, size: 4 });
    assert_eq!(run(Kind::Ash, "stw [%r1+4], 0\nexit"), store);
    assert_eq!(
        run(Kind::Memory, "lddw %r1, 0x10000000\nldxw %r0, [%r1]\nexit"),
        outside(2, base, 4)
    );
}

#[test]
fn a_filter_only_reads_its_packet() {
    let text = "ldxw %r2, [%r1+0]\nstb [%r2+3], 9\nldxb %r0, [%r2+3]\nexit";
    let address = u64::from(DATA_BASE) + 3;
    assert_eq!(run(Kind::Filter, text), Err(Trap::ReadOnly { pc: 1, address, size: 1 }));
    assert_eq!(run(Kind::Ash, text), Ok(9));
    let text = "ldxw %r2, [%r1+0]\nmov %r3, 1\nlock add [%r2+3], %r3\nexit";
    assert_eq!(run(Kind::Filter, text), Err(Trap::ReadOnly { pc: 2, address, size: 8 }));
}

#[test]
fn a_failed_store_leaves_the_packet() {
    let ash = program(Kind::Ash, "ldxw %r2, [%r1+0]\nstdw [%r2+9], -1\nexit");
    let mut data = [7; 16];
    assert!(interp::run_packet(&ash, &mut data, &mut NoHelpers, 10).is_err());
    assert_eq!(data, [7; 16]);
}

#[test]
fn registers_are_written_before_they_are_read() {
    let unread = |pc, reg| Err(Trap::UninitialisedRegister { pc, reg });
    for (kind, text, pc, reg) in [
        (Kind::Memory, "exit", 0, Reg::R0),
        (Kind::Filter, "mov %r0, %r2\nexit", 0, Reg::R2),
        (Kind::Memory, "mov %r0, %r3\nexit", 0, Reg::R3),
        (Kind::Memory, "add %r6, 1\nexit", 0, Reg::R6),
        (Kind::Memory, "neg %r7\nexit", 0, Reg::R7),
        (Kind::Memory, "be16 %r8\nexit", 0, Reg::R8),
        (Kind::Memory, "movsx864 %r0, %r9\nexit", 0, Reg::R9),
        (Kind::Memory, "ldxb %r0, [%r5]\nexit", 0, Reg::R5),
        (Kind::Memory, "stxb [%r1], %r4\nexit", 0, Reg::R4),
        (Kind::Memory, "stb [%r4], 0\nexit", 0, Reg::R4),
        (Kind::Memory, "lock cmpxchg [%r1], %r2\nexit", 0, Reg::R0),
        (Kind::Memory, "jeq %r2, %r3, +0\nexit", 0, Reg::R3),
        (Kind::Memory, "call %r6\nexit", 0, Reg::R6),
        (Kind::Memory, "call helper 5\nmov %r0, %r1\nexit", 1, Reg::R1),
        (Kind::Memory, "mov %r0, 0\ncall local f\nexit\nf:\nexit", 2, Reg::R0),
        (Kind::Memory, "mov %r6, 1\ncall local f\nexit\nf:\nmov %r0, %r6\nexit", 3, Reg::R6),
        (Kind::Memory, "call local f\nmov %r0, %r2\nexit\nf:\nmov %r0, 0\nexit", 1, Reg::R2),
    ] {
        assert_eq!(run(kind, text), unread(pc, reg), "{text}");
    }
}

#[test]
fn stack_bytes_are_written_before_they_are_read() {
    let top = u64::from(STACK_BASE) + STACK_BYTES as u64;
    let unread = |pc, address| Err(Trap::UninitialisedStack { pc, address });
    assert_eq!(run(Kind::Memory, "ldxdw %r0, [%r10-8]\nexit"), unread(0, top - 8));
    let text = "stw [%r10-8], 0\nldxdw %r0, [%r10-8]\nexit";
    assert_eq!(run(Kind::Memory, text), unread(1, top - 4));
    let text = "mov %r0, 0\nlock add [%r10-16], %r0\nexit";
    assert_eq!(run(Kind::Memory, text), unread(1, top - 16));
    let text = "stdw [%r10-8], 5\nldxb %r0, [%r10-8]\nexit";
    assert_eq!(run(Kind::Memory, text), Ok(5));
}

#[test]
fn a_new_frame_is_unwritten_again() {
    let f = "f:\nstdw [%r10-8], 1\nmov %r0, 0\nexit";
    let g = "g:\nldxdw %r0, [%r10-8]\nexit";
    let text = &format!("call local f\ncall local g\nexit\n{f}\n{g}");
    assert!(matches!(run(Kind::Memory, text), Err(Trap::UninitialisedStack { pc: 6, .. })));
}

#[test]
fn helpers_that_do_not_exist() {
    let unknown = |pc, id| Err(Trap::UnknownHelper { pc, id });
    assert_eq!(run(Kind::Memory, "call helper 4\nexit"), unknown(0, 4));
    assert_eq!(
        run(Kind::Memory, "lddw %r3, 0x100000005\ncall %r3\nexit"),
        unknown(2, 0x1_0000_0005)
    );
    assert_eq!(
        run(Kind::Memory, "call kernel 6\nexit"),
        Err(Trap::KernelFunction { pc: 0, id: 6 })
    );
    let ash = program(Kind::Ash, "call helper 5\nexit");
    let result = interp::run_packet(&ash, &mut [0; 14], &mut NoHelpers, 10);
    assert_eq!(result, unknown(0, 5));
}

#[test]
fn loads_of_what_does_not_exist() {
    for text in ["map_fd 3", "map_value 3 0"] {
        let text = format!("lddw %r0, {text}\nexit");
        assert_eq!(run(Kind::Memory, &text), Err(Trap::UnknownMap { pc: 0, map: 3 }));
    }
    for (text, kind) in [("kind 3 0 0", 3), ("kind 6 1 1", 6)] {
        let text = format!("lddw %r0, {text}\nexit");
        assert_eq!(run(Kind::Memory, &text), Err(Trap::Imm64Kind { pc: 0, kind }));
    }
}

#[test]
fn calls_nest_eight_deep() {
    assert_eq!(run(Kind::Memory, "f:\ncall local f\nexit"), Err(Trap::CallDepth { pc: 0 }));
    let to = |depth: u32| {
        format!(
            "mov %r1, {depth}\ncall local f\nexit
            f:\nmov %r0, 1\njeq %r1, 0, done\nsub %r1, 1\ncall local f\ndone:\nexit"
        )
    };
    assert_eq!(run(Kind::Memory, &to(6)), Ok(1));
    assert_eq!(run(Kind::Memory, &to(7)), Err(Trap::CallDepth { pc: 6 }));
}

#[test]
fn budgets_bound_every_run() {
    let endless = program(Kind::Ash, "ja -1\nexit");
    let run = |budget| interp::run_packet(&endless, &mut [0; 14], &mut NoHelpers, budget);
    assert_eq!(run(1_000), Err(Trap::Budget { pc: 0 }));
    assert_eq!(run(0), Err(Trap::Budget { pc: 0 }));
    let two = program(Kind::Ash, "mov %r0, 1\nexit");
    let run = |budget| interp::run_packet(&two, &mut [0; 14], &mut NoHelpers, budget);
    assert_eq!(run(1), Err(Trap::Budget { pc: 1 }));
    assert_eq!(run(2), Ok(1));
    assert!(interp::accepts(&endless, &[0; 14]).is_err());
}

#[test]
fn accepts_is_any_result_but_zero() {
    let verdict = |text| interp::accepts(&program(Kind::Filter, text), &[0; 14]);
    assert_eq!(verdict("mov %r0, 0\nexit"), Ok(false));
    assert_eq!(verdict("mov %r0, 1\nexit"), Ok(true));
    assert_eq!(verdict("lddw %r0, 0x100000000\nexit"), Ok(true));
}

#[test]
fn packets_of_any_length() {
    let text = "ldxw %r2, [%r1]\nldxw %r3, [%r1+4]\nmov %r0, %r3\nsub %r0, %r2\nexit";
    let filter = program(Kind::Filter, text);
    for length in [0, 1, 13, 14, 1_522, 70_000] {
        let mut packet = vec![0; length];
        let result = interp::run_packet(&filter, &mut packet, &mut NoHelpers, 10);
        assert_eq!(result, Ok(length as u64));
    }
}

#[test]
fn tracing_sees_each_instruction_with_its_registers() {
    let ash = program(Kind::Ash, "mov %r0, 2\nlddw %r6, 7\nja +1\nexit\nadd %r0, %r6\nexit");
    let mut seen = Vec::new();
    let mut watch = |pc, registers: &[u64; 11]| seen.push((pc, registers[0], registers[6]));
    assert_eq!(interp::trace_packet(&ash, &mut [0; 14], &mut watch), Ok(9));
    assert_eq!(seen, [(0, 0, 0), (1, 2, 0), (3, 2, 7), (5, 2, 7), (6, 9, 7)]);
}

#[test]
fn a_helper_gets_the_context_or_is_not_called() {
    struct Seen(Vec<(u64, usize)>);
    impl interp::Helpers for Seen {
        fn call(&mut self, _: u32, _: [u64; 5]) -> Option<u64> {
            None
        }
        fn call_on(&mut self, _: u32, args: [u64; 5], packet: &[u8]) -> Option<u64> {
            self.0.push((args[1], packet.len()));
            Some(3)
        }
    }
    let run = |kind, text: &str| {
        let mut seen = Seen(Vec::new());
        let result = interp::run_packet(&program(kind, text), &mut [0; 14], &mut seen, 100);
        (result, seen.0)
    };
    let good = run(Kind::Ash, "mov %r2, 5\ncall helper 0x10000\nexit");
    assert_eq!(good, (Ok(3), vec![(5, 14)]));
    let trap = |pc| (Err(Trap::HelperArgument { pc, reg: Reg::R1 }), vec![]);
    assert_eq!(run(Kind::Ash, "mov %r1, 5\ncall helper 0x10001\nexit"), trap(1));
    // A buffer is no context, wherever it lies.
    assert_eq!(run(Kind::Memory, "call helper 0x10001\nexit"), trap(0));
    assert_eq!(run(Kind::Memory, "mov %r1, 0x10000000\ncall helper 0x10001\nexit"), trap(1));
}

#[test]
fn tracing_may_have_helpers() {
    let ash = program(Kind::Ash, "call helper 7\nexit");
    assert_eq!(
        interp::trace_packet(&ash, &mut [0; 14], &mut |_, _| {}),
        Err(Trap::UnknownHelper { pc: 0, id: 7 })
    );
    let mut steps = 0;
    let mut helpers = CaseHelpers::default();
    let result = interp::trace(&ash, &mut [0; 14], &mut helpers, &mut |_, _| steps += 1);
    assert_eq!((result, steps), (Ok(0x9abc_def0), 2));
}

#[test]
fn traps_say_where_and_what() {
    let text = run(Kind::Memory, "exit").unwrap_err().to_string();
    assert_eq!(text, "instruction 0: r0 is read before anything is written to it");
    let text = run(Kind::Memory, "ldxw %r0, [%r1+14]\nexit").unwrap_err().to_string();
    assert_eq!(text, "instruction 0: 4 bytes at 0x4000000e are not the program's");
}
