//! The encoder against another decoder: what is written is what was asked for.

use alloc::string::String;
use alloc::vec::Vec;

use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

use super::{Alu, Assembler, Cc, Gpr, Locked, Mem, Shift, Size, Unary, Width};

/// What to emit, and how another decoder spells it.
type Case<'a> = (&'a dyn Fn(&mut Assembler), &'a str);

/// The text of what `emit` encodes.
fn text(emit: impl Fn(&mut Assembler)) -> String {
    let mut asm = Assembler::new(Vec::new());
    emit(&mut asm);
    let bytes = asm.finish().map(|code| code.bytes).unwrap_or_default();
    let mut formatter = NasmFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    let mut lines = Vec::new();
    for insn in Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).iter() {
        let mut line = String::new();
        formatter.format(&insn, &mut line);
        lines.push(line);
    }
    lines.join("; ")
}

const W64: Width = Width::W64;
const W32: Width = Width::W32;

#[test]
fn arithmetic_reads_back() {
    let cases: [Case<'_>; 24] = [
        (&|a| a.alu_rr(Alu::Add, W64, Gpr::RAX, Gpr::R15), "add rax, r15"),
        (&|a| a.alu_rr(Alu::Cmp, W32, Gpr::R8, Gpr::RDI), "cmp r8d, edi"),
        (&|a| a.alu_ri(Alu::Sub, W64, Gpr::RSP, 512), "sub rsp, 200h"),
        (&|a| a.alu_ri(Alu::Xor, W32, Gpr::R13, -1), "xor r13d, 0FFFFFFFFh"),
        (&|a| a.alu_rm(Alu::And, W64, Gpr::R9, Mem::new(Gpr::R11, 8)), "and r9, [r11+8]"),
        (&|a| a.test_rr(W64, Gpr::RSI, Gpr::RBX), "test rsi, rbx"),
        (&|a| a.test_ri(W32, Gpr::R14, 1), "test r14d, 1"),
        (&|a| a.mov_rr(W32, Gpr::RBP, Gpr::R10), "mov ebp, r10d"),
        (&|a| a.mov_ri(Gpr::R9, 7), "mov r9d, 7"),
        (&|a| a.mov_ri(Gpr::RBX, u64::MAX), "mov rbx, 0FFFFFFFFFFFFFFFFh"),
        (&|a| a.mov_ri(Gpr::R12, 1 << 40), "mov r12, 10000000000h"),
        (&|a| a.zero_extend(Size::B1, Gpr::RAX, Gpr::RDI), "movzx eax, dil"),
        (&|a| a.sign_extend(W64, Size::B4, Gpr::R8, Gpr::RCX), "movsxd r8, ecx"),
        (&|a| a.unary(Unary::Idiv, W64, Gpr::R11), "idiv r11"),
        (&|a| a.imul_rr(W64, Gpr::RDX, Gpr::R13), "imul rdx, r13"),
        (&|a| a.imul_rri(W32, Gpr::R9, Gpr::RAX, -3), "imul r9d, eax, 0FFFFFFFDh"),
        (&|a| a.shift_ri(Shift::Sar, W64, Gpr::R15, 63), "sar r15, 3Fh"),
        (&|a| a.shift_cl(Shift::Shl, W32, Gpr::R11), "shl r11d, cl"),
        (&|a| a.swap_low_bytes(Gpr::R8), "rol r8w, 8"),
        (&|a| a.rotate_ri(W32, Gpr::R9, 7), "rol r9d, 7"),
        (&|a| a.shift_by(Shift::Shl, W64, (Gpr::RDI, Gpr::R8), Gpr::RBX), "shlx rdi, r8, rbx"),
        (&|a| a.shift_by(Shift::Shr, W32, (Gpr::R14, Gpr::RAX), Gpr::R9), "shrx r14d, eax, r9d"),
        (&|a| a.shift_by(Shift::Sar, W64, (Gpr::RCX, Gpr::RCX), Gpr::RCX), "sarx rcx, rcx, rcx"),
        (&|a| a.cmov(Cc::B, W64, Gpr::R10, Gpr::RDX), "cmovb r10, rdx"),
    ];
    for (emit, expected) in cases {
        assert_eq!(text(emit), expected);
    }
}

#[test]
fn memory_operands_read_back_for_every_base() {
    let cases: [Case<'_>; 19] = [
        (&|a| a.load_indexed(Gpr::RDX, Gpr::RAX, Gpr::R12), "mov rdx, [rax+r12*8]"),
        (&|a| a.load(Size::B1, Gpr::RDX, Mem::new(Gpr::RSP, 0)), "movzx edx, byte [rsp]"),
        (&|a| a.load(Size::B2, Gpr::RDX, Mem::new(Gpr::RBP, 0)), "movzx edx, word [rbp]"),
        (&|a| a.load(Size::B4, Gpr::R9, Mem::new(Gpr::R12, -4)), "mov r9d, [r12-4]"),
        (&|a| a.load(Size::B8, Gpr::RAX, Mem::new(Gpr::R13, 300)), "mov rax, [r13+12Ch]"),
        (&|a| a.load_signed(Size::B1, Gpr::RAX, Mem::new(Gpr::RDI, 1)), "movsx rax, byte [rdi+1]"),
        (&|a| a.store_r(Size::B1, Mem::new(Gpr::RDI, 2), Gpr::RSI), "mov [rdi+2], sil"),
        (&|a| a.store_r(Size::B2, Mem::new(Gpr::R8, 2), Gpr::R15), "mov [r8+2], r15w"),
        (&|a| a.store_i(Size::B1, Mem::new(Gpr::RCX, 0), -1), "mov byte [rcx], 0FFh"),
        (&|a| a.store_i(Size::B2, Mem::new(Gpr::RCX, 0), 0x1234), "mov word [rcx], 1234h"),
        (
            &|a| a.store_i(Size::B8, Mem::new(Gpr::RCX, 0), -2),
            "mov qword [rcx], 0FFFFFFFFFFFFFFFEh",
        ),
        (
            &|a| a.locked(Locked::Xadd, W32, Mem::new(Gpr::RDI, 4), Gpr::RSI),
            "lock xadd [rdi+4], esi",
        ),
        (&|a| a.locked(Locked::Xchg, W64, Mem::new(Gpr::RDI, 4), Gpr::R9), "xchg r9, [rdi+4]"),
        (
            &|a| a.locked(Locked::Cmpxchg, W64, Mem::new(Gpr::RBP, -8), Gpr::R9),
            "lock cmpxchg [rbp-8], r9",
        ),
        (&|a| a.lea(W64, Gpr::R9, Mem::new(Gpr::R8, 38)), "lea r9, [r8+26h]"),
        (&|a| a.lea_sum(Gpr::R9, Gpr::RDI, (Gpr::R8, 3)), "lea r9, [rdi+r8*8]"),
        (&|a| a.lea_sum(Gpr::RAX, Gpr::R13, (Gpr::RSI, 0)), "lea rax, [r13+rsi]"),
        (&|a| a.lea_sum(Gpr::R8, Gpr::RBP, (Gpr::R12, 1)), "lea r8, [rbp+r12*2]"),
        (&|a| a.imul_rm(W64, Gpr::R8, Mem::new(Gpr::RDI, 3)), "imul r8, [rdi+3]"),
    ];
    for (emit, expected) in cases {
        assert_eq!(text(emit), expected);
    }
}

#[test]
fn jumps_become_short_in_the_second_pass_and_stay_right() {
    let emit = |asm: &mut Assembler| {
        let (far, near) = (asm.label(), asm.label());
        asm.jcc(Cc::E, far);
        asm.jmp(near);
        asm.bind(near);
        for _ in 0..40 {
            asm.mov_ri(Gpr::RAX, 1);
        }
        asm.bind(far);
        asm.ret();
    };
    let mut first = Assembler::new(Vec::new());
    emit(&mut first);
    let first = first.finish().unwrap();
    assert_eq!(first.fits_short, [false, true]);
    let mut second = Assembler::new(first.fits_short);
    emit(&mut second);
    let second = second.finish().unwrap();
    assert_eq!(second.bytes.len(), first.bytes.len() - 3);
    let jump = Decoder::with_ip(64, &second.bytes, 0, DecoderOptions::NONE).decode();
    assert_eq!(jump.near_branch_target(), second.bytes.len() as u64 - 1, "{jump}");
}

#[test]
fn a_label_that_nobody_bound_gives_no_code() {
    let mut asm = Assembler::new(Vec::new());
    let label = asm.label();
    asm.jmp(label);
    assert_eq!(asm.finish(), None);
}
