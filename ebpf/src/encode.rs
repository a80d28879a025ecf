//! Instructions to bytes: the inverse of [`crate::decode`].
//!
//! A jump is encoded as `ja`, or as `gotol` where the distance needs 32 bits; everything else has
//! exactly one encoding.

use alloc::vec::Vec;

use crate::check::distance;
use crate::insn::{ByteOrder, CallTarget, Imm64, Insn, Operand, Size, Width};
use crate::opcode;
use crate::program::Program;

/// The program in the encoding of RFC 9669, little endian, eight bytes for each slot.
/// `decode(&encode(p), p.kind(), p.len())` is `p`.
#[must_use]
pub fn encode(program: &Program) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    let mut high = 0;
    for (pc, insn) in (0..).zip(program.insns()) {
        let word = match *insn {
            Insn::LoadImm64High => Word { imm: high, ..Word::default() },
            _ => word(pc, insn),
        };
        if let Insn::LoadImm64 { imm, .. } = *insn {
            high = halves(imm).1;
        }
        bytes.extend_from_slice(&word.bytes());
    }
    bytes
}

/// One slot before it is packed.
#[derive(Clone, Copy, Default)]
struct Word {
    opcode: u8,
    dst: u8,
    src: u8,
    offset: i16,
    imm: i32,
}

impl Word {
    fn bytes(self) -> [u8; 8] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.opcode, self.dst | self.src << 4, o0, o1, i0, i1, i2, i3]
    }

    /// Puts the source operand where it belongs and sets the source bit.
    fn with(self, operand: Operand) -> Self {
        match operand {
            Operand::Reg(reg) => {
                Self { opcode: self.opcode | opcode::X, src: reg.number(), ..self }
            }
            Operand::Imm(imm) => Self { imm, ..self },
        }
    }
}

fn word(pc: u32, insn: &Insn) -> Word {
    let zero = Word::default();
    match *insn {
        Insn::Alu { width, op, dst, src } => {
            let (code, offset) = opcode::alu_code(op);
            let opcode = alu_class(width) | code;
            Word { opcode, dst: dst.number(), offset, ..zero }.with(src)
        }
        Insn::Neg { width, dst } => {
            Word { opcode: alu_class(width) | opcode::NEG, dst: dst.number(), ..zero }
        }
        Insn::MovSx { width, from, dst, src } => {
            let opcode = alu_class(width) | opcode::MOV;
            let offset = 8 << (from as i16);
            Word { opcode, dst: dst.number(), offset, ..zero }.with(Operand::Reg(src))
        }
        Insn::Endian { order, bits, dst } => {
            Word { opcode: endian(order), dst: dst.number(), imm: i32::from(bits), ..zero }
        }
        Insn::LoadImm64 { dst, imm } => {
            let (src, lo) = (imm_kind(imm), halves(imm).0);
            Word { opcode: opcode::LDDW, dst: dst.number(), src, imm: lo, ..zero }
        }
        Insn::LoadImm64High => zero,
        Insn::Load { size, signed, dst, base, offset } => {
            let mode = if signed { opcode::MEMSX } else { opcode::MEM };
            let opcode = opcode::LDX | mode | opcode::size_bits(size);
            Word { opcode, dst: dst.number(), src: base.number(), offset, ..zero }
        }
        Insn::Store { size, base, offset, src } => {
            store(size, src, Word { dst: base.number(), offset, ..zero })
        }
        Insn::Atomic { size, op, fetch, base, offset, src } => {
            let opcode = opcode::STX | opcode::ATOMIC | opcode::size_bits(size);
            let imm = opcode::atomic_imm(op) | if fetch { opcode::FETCH } else { 0 };
            Word { opcode, dst: base.number(), src: src.number(), offset, imm }
        }
        Insn::Jump { target } => jump(distance(pc, target)),
        Insn::Branch { width, cond, dst, src, target } => {
            let opcode = jump_class(width) | opcode::cond_code(cond);
            let offset = narrow(distance(pc, target));
            Word { opcode, dst: dst.number(), offset, ..zero }.with(src)
        }
        Insn::Call { target } => call(pc, target),
        Insn::Exit => Word { opcode: opcode::JMP | opcode::EXIT, ..zero },
    }
}

fn store(size: Size, src: Operand, word: Word) -> Word {
    let bits = opcode::MEM | opcode::size_bits(size);
    match src {
        Operand::Reg(reg) => Word { opcode: opcode::STX | bits, src: reg.number(), ..word },
        Operand::Imm(imm) => Word { opcode: opcode::ST | bits, imm, ..word },
    }
}

fn jump(distance: i64) -> Word {
    let zero = Word::default();
    match i16::try_from(distance) {
        Ok(offset) => Word { opcode: opcode::JMP | opcode::JA, offset, ..zero },
        Err(_) => Word { opcode: opcode::JMP32 | opcode::JA, imm: wide(distance), ..zero },
    }
}

fn call(pc: u32, target: CallTarget) -> Word {
    let opcode = opcode::JMP | opcode::CALL;
    let zero = Word::default();
    match target {
        CallTarget::Helper(id) => Word { opcode, imm: id.cast_signed(), ..zero },
        CallTarget::Local(slot) => Word { opcode, src: 1, imm: wide(distance(pc, slot)), ..zero },
        CallTarget::Kernel(id) => Word { opcode, src: 2, imm: id.cast_signed(), ..zero },
        CallTarget::Register(reg) => Word { opcode: opcode | opcode::X, dst: reg.number(), ..zero },
    }
}

fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => opcode::ALU,
        Width::W64 => opcode::ALU64,
    }
}

fn jump_class(width: Width) -> u8 {
    match width {
        Width::W32 => opcode::JMP32,
        Width::W64 => opcode::JMP,
    }
}

fn endian(order: ByteOrder) -> u8 {
    opcode::END
        | match order {
            ByteOrder::Le => opcode::ALU,
            ByteOrder::Be => opcode::ALU | opcode::X,
            ByteOrder::Swap => opcode::ALU64,
        }
}

fn imm_kind(imm: Imm64) -> u8 {
    match imm {
        Imm64::Value(_) => 0,
        Imm64::MapFd(_) => 1,
        Imm64::MapValue { .. } => 2,
        Imm64::Other { kind, .. } => kind,
    }
}

/// The immediates of the two slots of a 64-bit load.
fn halves(imm: Imm64) -> (i32, i32) {
    let (lo, hi) = match imm {
        Imm64::Value(value) => (value as u32, (value >> 32) as u32),
        Imm64::MapFd(fd) => (fd, 0),
        Imm64::MapValue { fd, offset } => (fd, offset),
        Imm64::Other { lo, hi, .. } => (lo, hi),
    };
    (lo.cast_signed(), hi.cast_signed())
}

/// A distance that the program's checks have found to fit; saturates otherwise.
fn narrow(distance: i64) -> i16 {
    i16::try_from(distance).unwrap_or(i16::MAX)
}

/// A distance inside a program, whose length is far below 2^31; saturates otherwise.
fn wide(distance: i64) -> i32 {
    i32::try_from(distance).unwrap_or(i32::MAX)
}
