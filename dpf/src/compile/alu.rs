//! Arithmetic, moves and byte order.

use ebpf::{AluOp, ByteOrder, Operand, Reg, Size, Width};

use super::map::{SCRATCH, machine};
use super::{Emitter, divide};
use crate::x86::{Alu, Gpr, Shift, Unary};

impl Emitter<'_> {
    /// The table: one line per operation.
    pub(super) fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) {
        match op {
            AluOp::Add => self.simple(Alu::Add, width, dst, src),
            AluOp::Sub => self.simple(Alu::Sub, width, dst, src),
            AluOp::Or => self.simple(Alu::Or, width, dst, src),
            AluOp::And => self.simple(Alu::And, width, dst, src),
            AluOp::Xor => self.simple(Alu::Xor, width, dst, src),
            AluOp::Mul => self.multiply(width, dst, src),
            AluOp::Div => self.divide(divide::UNSIGNED_QUOTIENT, width, dst, src),
            AluOp::Sdiv => self.divide(divide::SIGNED_QUOTIENT, width, dst, src),
            AluOp::Mod => self.divide(divide::UNSIGNED_REMAINDER, width, dst, src),
            AluOp::Smod => self.divide(divide::SIGNED_REMAINDER, width, dst, src),
            AluOp::Lsh => self.shift(Shift::Shl, width, dst, src),
            AluOp::Rsh => self.shift(Shift::Shr, width, dst, src),
            AluOp::Arsh => self.shift(Shift::Sar, width, dst, src),
            AluOp::Mov => self.mov(width, dst, src),
        }
    }

    fn simple(&mut self, op: Alu, width: Width, dst: Reg, src: Operand) {
        match src {
            Operand::Reg(src) => self.asm.alu_rr(op, width, machine(dst), machine(src)),
            Operand::Imm(imm) => self.asm.alu_ri(op, width, machine(dst), imm),
        }
    }

    fn multiply(&mut self, width: Width, dst: Reg, src: Operand) {
        let dst = machine(dst);
        match src {
            Operand::Reg(src) => self.asm.imul_rr(width, dst, machine(src)),
            Operand::Imm(imm) => self.asm.imul_rri(width, dst, dst, imm),
        }
    }

    fn mov(&mut self, width: Width, dst: Reg, src: Operand) {
        match src {
            Operand::Reg(src) => self.asm.mov_rr(width, machine(dst), machine(src)),
            Operand::Imm(imm) => self.asm.mov_ri(machine(dst), immediate(width, imm)),
        }
    }

    /// A shift by a register counts in `cl`; x86 masks the count to the width as eBPF does.
    fn shift(&mut self, op: Shift, width: Width, dst: Reg, count: Operand) {
        let dst = machine(dst);
        match count {
            Operand::Imm(imm) => self.asm.shift_ri(op, width, dst, masked(width, imm)),
            Operand::Reg(count) if self.premises.bmi2() => {
                self.asm.shift_by(op, width, (dst, dst), machine(count));
            }
            Operand::Reg(count) if dst == Gpr::RCX => {
                self.asm.mov_rr(Width::W64, SCRATCH, dst);
                self.asm.mov_rr(Width::W32, Gpr::RCX, machine(count));
                self.asm.shift_cl(op, width, SCRATCH);
                self.asm.mov_rr(Width::W64, dst, SCRATCH);
            }
            Operand::Reg(count) if machine(count) == Gpr::RCX => {
                self.asm.shift_cl(op, width, dst);
            }
            Operand::Reg(count) => {
                self.asm.mov_rr(Width::W64, SCRATCH, Gpr::RCX);
                self.asm.mov_rr(Width::W32, Gpr::RCX, machine(count));
                self.asm.shift_cl(op, width, dst);
                self.asm.mov_rr(Width::W64, Gpr::RCX, SCRATCH);
            }
        }
    }

    pub(super) fn neg(&mut self, width: Width, dst: Reg) {
        self.asm.unary(Unary::Neg, width, machine(dst));
    }

    pub(super) fn move_signed(&mut self, width: Width, from: Size, dst: Reg, src: Reg) {
        self.asm.sign_extend(width, from, machine(dst), machine(src));
    }

    /// x86-64 is little-endian: "to little endian" truncates, the others also swap.
    pub(super) fn endian(&mut self, order: ByteOrder, bits: u8, dst: Reg) {
        let dst = machine(dst);
        let swap = order != ByteOrder::Le;
        match bits {
            16 => {
                if swap {
                    self.asm.swap_low_bytes(dst);
                }
                self.asm.zero_extend(Size::B2, dst, dst);
            }
            32 if swap => self.asm.bswap(Width::W32, dst),
            32 => self.asm.zero_extend(Size::B4, dst, dst),
            _ if swap => self.asm.bswap(Width::W64, dst),
            _ => {}
        }
    }
}

/// What an immediate is as 64 bits in a register: sign-extended, or only its 32 bits.
pub(super) fn immediate(width: Width, imm: i32) -> u64 {
    match width {
        Width::W32 => u64::from(imm.cast_unsigned()),
        Width::W64 => i64::from(imm).cast_unsigned(),
    }
}

fn masked(width: Width, imm: i32) -> u8 {
    let mask = if width == Width::W32 { 31 } else { 63 };
    (imm & mask).to_le_bytes()[0]
}
