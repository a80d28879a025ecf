//! Bytes to instructions.
//!
//! Two passes: read each 64-bit word by its class, then apply the rules that bytes and hand-made
//! instructions share. Nothing of the input survives that has no meaning: reserved fields must be
//! zero, so that two programs that differ in a byte differ in an instruction (`gotol` excepted,
//! which encodes the same jumps as `ja`). Both can be done a slot at a time ([`Decoder`]).

use alloc::vec::Vec;

use crate::check;
use crate::error::{DecodeError, Field};
use crate::insn::{ByteOrder, CallTarget, Imm64, Insn, Operand, Reg, Size, Width};
use crate::opcode;
use crate::program::{Kind, Program};

/// Decodes a program of at most `limit` slots.
///
/// The result keeps every structural rule: known opcodes, unused fields zero, registers up to
/// `r10`, `r10` never written, jumps and local calls inside the program and never into the second
/// slot of a 64-bit load, and a last slot that is an exit or an unconditional jump.
///
/// # Errors
/// The first rule broken, with its slot.
pub fn decode(bytes: &[u8], kind: Kind, limit: usize) -> Result<Program, DecodeError> {
    let mut decoder = Decoder::new(bytes.into(), kind, limit)?;
    loop {
        if let Some(program) = decoder.advance()? {
            return Ok(program);
        }
    }
}

/// [`decode`] in steps.
#[derive(Clone, Debug)]
pub struct Decoder {
    kind: Kind,
    bytes: Vec<u8>,
    insns: Vec<Insn>,
    /// Instructions that keep the rules which bytes and hand-made ones share.
    sound: u32,
}

impl Decoder {
    /// Of a program of at most `limit` slots; nothing is decoded yet.
    ///
    /// # Errors
    /// [`DecodeError::Length`], [`DecodeError::Empty`], [`DecodeError::TooLong`].
    pub fn new(bytes: Vec<u8>, kind: Kind, limit: usize) -> Result<Self, DecodeError> {
        if !bytes.len().is_multiple_of(8) {
            return Err(DecodeError::Length { bytes: bytes.len() });
        }
        check::length(bytes.len() / 8, limit)?;
        let insns = Vec::with_capacity(bytes.len() / 8);
        Ok(Self { kind, bytes, insns, sound: 0 })
    }

    /// Looks at one slot: reads it, or, when all are read, holds it against the rules. The program
    /// behind the last one.
    ///
    /// # Errors
    /// As for [`decode`].
    pub fn advance(&mut self) -> Result<Option<Program>, DecodeError> {
        let words = Words(self.bytes.as_chunks::<8>().0);
        let pc = self.insns.len() as u32;
        if let Some(word) = words.get(pc) {
            let insn = match self.insns.last() {
                Some(Insn::LoadImm64 { .. }) => Insn::LoadImm64High,
                _ => instruction(&word, words)?,
            };
            self.insns.push(insn);
            return Ok(None);
        }
        if check::slot(self.sound, &self.insns)? {
            self.sound += 1;
            return Ok(None);
        }
        check::ending(&self.insns)?;
        Ok(Some(Program::unchecked(self.kind, core::mem::take(&mut self.insns))))
    }
}

/// The slots of a program.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [[u8; 8]]);

impl Words<'_> {
    fn get(self, pc: u32) -> Option<Word> {
        self.0.get(pc as usize).map(|slot| Word::read(pc, *slot))
    }
}

/// One slot as it stands (RFC 9669 §3.1, little-endian encoding).
#[derive(Clone, Copy)]
struct Word {
    pc: u32,
    opcode: u8,
    dst: u8,
    src: u8,
    offset: i16,
    imm: i32,
}

fn instruction(word: &Word, words: Words<'_>) -> Result<Insn, DecodeError> {
    match word.opcode & opcode::CLASS_MASK {
        opcode::LD => load_imm64(word, words),
        opcode::LDX => load(word),
        opcode::ST | opcode::STX => store(word),
        opcode::ALU => alu(word, Width::W32),
        opcode::JMP => jump(word, Width::W64),
        opcode::JMP32 => jump(word, Width::W32),
        _ => alu(word, Width::W64),
    }
}

/// Class LD: only the 64-bit immediate load is left of it (RFC 9669 §5.4 and §5.5).
fn load_imm64(word: &Word, words: Words<'_>) -> Result<Insn, DecodeError> {
    let mode = word.opcode & opcode::MODE_MASK;
    let size = opcode::size(word.opcode);
    if matches!(mode, opcode::ABS | opcode::IND) && size != Size::B8 {
        return Err(DecodeError::LegacyPacket { pc: word.pc, opcode: word.opcode });
    }
    if word.opcode != opcode::LDDW {
        return Err(word.unknown());
    }
    let dst = word.dst()?;
    word.unused(&[Field::Offset])?;
    let pc = word.pc;
    let high = words.get(pc + 1).ok_or(DecodeError::NoSecondSlot { pc })?;
    high.unused(&[Field::Opcode, Field::Dst, Field::Src, Field::Offset])?;
    let (lo, hi) = (word.imm.cast_unsigned(), high.imm.cast_unsigned());
    let imm = match word.src {
        0 => Imm64::Value(u64::from(lo) | u64::from(hi) << 32),
        2 => Imm64::MapValue { fd: lo, offset: hi },
        6 => Imm64::Other { kind: 6, lo, hi },
        kind @ (1 | 3..=5) => {
            high.unused(&[Field::Imm])?;
            if kind == 1 { Imm64::MapFd(lo) } else { Imm64::Other { kind, lo, hi } }
        }
        kind => return Err(DecodeError::UnknownImm64 { pc, kind }),
    };
    Ok(Insn::LoadImm64 { dst, imm })
}

/// Class LDX (RFC 9669 §5.1 and §5.2).
fn load(word: &Word) -> Result<Insn, DecodeError> {
    let size = opcode::size(word.opcode);
    let signed = match word.opcode & opcode::MODE_MASK {
        opcode::MEM => false,
        opcode::MEMSX if size != Size::B8 => true,
        _ => return Err(word.unknown()),
    };
    word.unused(&[Field::Imm])?;
    Ok(Insn::Load { size, signed, dst: word.dst()?, base: word.src()?, offset: word.offset })
}

/// Classes ST and STX (RFC 9669 §5.1 and §5.3).
fn store(word: &Word) -> Result<Insn, DecodeError> {
    let register = word.opcode & opcode::CLASS_MASK == opcode::STX;
    match word.opcode & opcode::MODE_MASK {
        opcode::MEM => {}
        opcode::ATOMIC if register => return atomic(word),
        _ => return Err(word.unknown()),
    }
    let src = if register {
        word.unused(&[Field::Imm])?;
        Operand::Reg(word.src()?)
    } else {
        word.unused(&[Field::Src])?;
        Operand::Imm(word.imm)
    };
    let size = opcode::size(word.opcode);
    Ok(Insn::Store { size, base: word.dst()?, offset: word.offset, src })
}

/// Atomic operations (RFC 9669 §5.3).
fn atomic(word: &Word) -> Result<Insn, DecodeError> {
    let size = opcode::size(word.opcode);
    if size < Size::B4 {
        return Err(word.unknown());
    }
    let unknown = DecodeError::UnknownAtomic { pc: word.pc, imm: word.imm };
    let fetch = word.imm & opcode::FETCH != 0;
    let op = opcode::atomic_op(word.imm & !opcode::FETCH).ok_or(unknown)?;
    let insn =
        Insn::Atomic { size, op, fetch, base: word.dst()?, offset: word.offset, src: word.src()? };
    check::shape(word.pc, &insn).map_err(|_| unknown)?;
    Ok(insn)
}

/// Classes ALU and ALU64 (RFC 9669 §4.1 and §4.2).
fn alu(word: &Word, width: Width) -> Result<Insn, DecodeError> {
    let register = word.opcode & opcode::X != 0;
    match word.opcode & opcode::CODE_MASK {
        opcode::END => endian(word, width),
        opcode::NEG if !register => {
            word.unused(&[Field::Src, Field::Offset, Field::Imm])?;
            Ok(Insn::Neg { width, dst: word.dst()? })
        }
        opcode::MOV if register && word.offset != 0 => move_signed(word, width),
        code => {
            if !opcode::is_alu_code(code) {
                return Err(word.unknown());
            }
            let variant = DecodeError::NoSuchVariant { pc: word.pc, offset: word.offset };
            let op = opcode::alu_op(code, word.offset).ok_or(variant)?;
            Ok(Insn::Alu { width, op, dst: word.dst()?, src: word.operand()? })
        }
    }
}

fn move_signed(word: &Word, width: Width) -> Result<Insn, DecodeError> {
    let variant = DecodeError::NoSuchVariant { pc: word.pc, offset: word.offset };
    let from = match word.offset {
        8 => Size::B1,
        16 => Size::B2,
        32 if width == Width::W64 => Size::B4,
        _ => return Err(variant),
    };
    word.unused(&[Field::Imm])?;
    Ok(Insn::MovSx { width, from, dst: word.dst()?, src: word.src()? })
}

fn endian(word: &Word, width: Width) -> Result<Insn, DecodeError> {
    let order = match (width, word.opcode & opcode::X != 0) {
        (Width::W32, false) => ByteOrder::Le,
        (Width::W32, true) => ByteOrder::Be,
        (Width::W64, false) => ByteOrder::Swap,
        (Width::W64, true) => return Err(word.unknown()),
    };
    word.unused(&[Field::Src, Field::Offset])?;
    let bits = match word.imm {
        16 => 16,
        32 => 32,
        64 => 64,
        bits => return Err(DecodeError::SwapWidth { pc: word.pc, bits }),
    };
    Ok(Insn::Endian { order, bits, dst: word.dst()? })
}

/// Classes JMP and JMP32 (RFC 9669 §4.3).
fn jump(word: &Word, width: Width) -> Result<Insn, DecodeError> {
    let register = word.opcode & opcode::X != 0;
    match (word.opcode & opcode::CODE_MASK, width) {
        (opcode::JA, Width::W64) if !register => {
            word.unused(&[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Insn::Jump { target: word.target(i64::from(word.offset))? })
        }
        (opcode::JA, Width::W32) if !register => {
            word.unused(&[Field::Dst, Field::Src, Field::Offset])?;
            Ok(Insn::Jump { target: word.target(i64::from(word.imm))? })
        }
        (opcode::CALL, Width::W64) => call(word),
        (opcode::EXIT, Width::W64) if !register => {
            word.unused(&[Field::Dst, Field::Src, Field::Offset, Field::Imm])?;
            Ok(Insn::Exit)
        }
        (code, _) => {
            let cond = opcode::cond(code).ok_or(word.unknown())?;
            let (dst, src) = (word.dst()?, word.operand()?);
            let target = word.target(i64::from(word.offset))?;
            Ok(Insn::Branch { width, cond, dst, src, target })
        }
    }
}

/// Calls (RFC 9669 §4.3.1 and §4.3.2); `callx` has its register where clang puts it, in `dst`.
fn call(word: &Word) -> Result<Insn, DecodeError> {
    word.unused(&[Field::Offset])?;
    let target = if word.opcode & opcode::X != 0 {
        word.unused(&[Field::Src, Field::Imm])?;
        CallTarget::Register(word.dst()?)
    } else {
        word.unused(&[Field::Dst])?;
        match word.src {
            0 => CallTarget::Helper(word.imm.cast_unsigned()),
            1 => CallTarget::Local(word.target(i64::from(word.imm))?),
            2 => CallTarget::Kernel(word.imm.cast_unsigned()),
            kind => return Err(DecodeError::UnknownCall { pc: word.pc, kind }),
        }
    };
    Ok(Insn::Call { target })
}

impl Word {
    fn read(pc: u32, slot: [u8; 8]) -> Self {
        let [opcode, regs, o0, o1, i0, i1, i2, i3] = slot;
        Self {
            pc,
            opcode,
            dst: regs & 0x0f,
            src: regs >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    fn unknown(&self) -> DecodeError {
        DecodeError::UnknownOpcode { pc: self.pc, opcode: self.opcode }
    }

    fn dst(&self) -> Result<Reg, DecodeError> {
        self.register(Field::Dst, self.dst)
    }

    fn src(&self) -> Result<Reg, DecodeError> {
        self.register(Field::Src, self.src)
    }

    fn register(&self, field: Field, number: u8) -> Result<Reg, DecodeError> {
        Reg::new(number).ok_or(DecodeError::NoSuchRegister { pc: self.pc, field, number })
    }

    /// The source that the opcode's source bit selects; the other source is unused.
    fn operand(&self) -> Result<Operand, DecodeError> {
        if self.opcode & opcode::X != 0 {
            self.unused(&[Field::Imm])?;
            Ok(Operand::Reg(self.src()?))
        } else {
            self.unused(&[Field::Src])?;
            Ok(Operand::Imm(self.imm))
        }
    }

    fn unused(&self, fields: &[Field]) -> Result<(), DecodeError> {
        for &field in fields {
            let value = match field {
                Field::Dst => i32::from(self.dst),
                Field::Src => i32::from(self.src),
                Field::Offset => i32::from(self.offset),
                Field::Imm => self.imm,
                Field::Opcode => i32::from(self.opcode),
            };
            if value != 0 {
                return Err(DecodeError::ReservedField { pc: self.pc, field, value });
            }
        }
        Ok(())
    }

    /// The slot at a distance from the next one. Only its being a slot number at all is checked
    /// here, the rest with the shared rules.
    fn target(&self, distance: i64) -> Result<u32, DecodeError> {
        let target = i64::from(self.pc) + 1 + distance;
        u32::try_from(target).map_err(|_| DecodeError::TargetOutside { pc: self.pc, target })
    }
}
