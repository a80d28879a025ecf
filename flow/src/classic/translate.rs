//! A classic program as a filter.
//!
//! r6 is the accumulator, r7 the index register, r8 and r9 the frame's bounds; memory is on the
//! stack. Registers and memory start at 0, as in the classic machine. A load that might leave the
//! frame is tested first and ends the filter with 0, as there.

use alloc::vec::Vec;

use ebpf::{
    AluOp, ByteOrder, Cond, DecodeError, Insn as Target, Kind, Operand as To, Program, Reg, Size,
    Width, context,
};

use super::{Classic, Insn, MEMORY, Op, Operand, Source, Test};
use crate::limits::FRAME_MAX;

const A: Reg = Reg::R6;
const X: Reg = Reg::R7;
const DATA: Reg = Reg::R8;
const DATA_END: Reg = Reg::R9;
const PLACE: Reg = Reg::R4;
const END: Reg = Reg::R5;

impl Classic {
    /// A filter that accepts what the program accepts, for frames of 14 to 1,522 bytes.
    ///
    /// # Errors
    /// The filter has more instructions than a program may have.
    pub fn to_filter(&self) -> Result<Program, DecodeError> {
        let mut out = Translation { insns: Vec::new(), nothing: Vec::new() };
        out.start(self);
        let mut starts = Vec::with_capacity(self.insns.len());
        let mut jumps = Vec::new();
        let reached = self.reached();
        for (at, insn) in self.insns.iter().enumerate() {
            starts.push(out.insns.len() as u32);
            if reached.get(at) == Some(&true) {
                out.insn(insn, at, &mut jumps);
            }
        }
        for (place, to) in jumps {
            let there = starts.get(to).copied().unwrap_or(0);
            set_target(&mut out.insns, place, there);
        }
        let nothing = core::mem::take(&mut out.nothing);
        if !nothing.is_empty() {
            let here = out.insns.len() as u32;
            out.verdict(0);
            nothing.into_iter().for_each(|place| set_target(&mut out.insns, place, here));
        }
        Program::from_insns(Kind::Filter, out.insns)
    }

    /// Which instructions can be come to: a filter has no others.
    fn reached(&self) -> Vec<bool> {
        let mut reached = alloc::vec![false; self.insns.len()];
        let mark = |at: usize, reached: &mut Vec<bool>| {
            if let Some(place) = reached.get_mut(at) {
                *place = true;
            }
        };
        mark(0, &mut reached);
        for (at, insn) in self.insns.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            match *insn {
                Insn::Branch { taken, other, .. } => {
                    mark(at + 1 + usize::from(taken), &mut reached);
                    mark(at + 1 + usize::from(other), &mut reached);
                }
                Insn::Jump(by) => mark(at + 1 + by as usize, &mut reached),
                Insn::Return(_) => {}
                _ => mark(at + 1, &mut reached),
            }
        }
        reached
    }

    fn uses_memory(&self, slot: u32) -> bool {
        self.insns
            .iter()
            .any(|insn| matches!(insn, Insn::Set { from: Source::Memory(it), .. } if *it == slot))
    }
}

/// A filter in the making.
struct Translation {
    insns: Vec<Target>,
    /// Branches to where nothing is accepted.
    nothing: Vec<usize>,
}

fn set_target(insns: &mut [Target], place: usize, there: u32) {
    let insn = insns.get_mut(place);
    if let Some(Target::Branch { target, .. } | Target::Jump { target }) = insn {
        *target = there;
    }
}

/// Offset of a word of memory from the top of the stack.
const fn slot_offset(slot: u32) -> i16 {
    -(((MEMORY - slot) * 8) as i16)
}

impl Translation {
    fn start(&mut self, classic: &Classic) {
        for (dst, offset) in [(DATA, context::DATA), (DATA_END, context::DATA_END)] {
            self.insns.push(Target::Load {
                size: Size::B4,
                signed: false,
                dst,
                base: Reg::R1,
                offset,
            });
        }
        self.alu(Width::W64, AluOp::Mov, A, 0.into());
        self.alu(Width::W64, AluOp::Mov, X, 0.into());
        for slot in (0..MEMORY).filter(|&slot| classic.uses_memory(slot)) {
            self.store(slot, 0.into());
        }
    }

    fn insn(&mut self, insn: &Insn, at: usize, jumps: &mut Vec<(usize, usize)>) {
        match *insn {
            Insn::Load { bytes, behind_index, at } => self.load(bytes, behind_index, at, A),
            Insn::Set { index, from } => self.set(if index { X } else { A }, from),
            Insn::HeaderLength { at } => {
                self.load(1, false, at, X);
                self.alu(Width::W32, AluOp::And, X, 0x0f.into());
                self.alu(Width::W32, AluOp::Lsh, X, 2.into());
            }
            Insn::Store { index, slot } => self.store(slot, (if index { X } else { A }).into()),
            Insn::Alu { op, operand } => self.compute(op, operand),
            Insn::Neg => self.insns.push(Target::Neg { width: Width::W32, dst: A }),
            Insn::Branch { test, operand, taken, other } => {
                let (taken, other) = (at + 1 + usize::from(taken), at + 1 + usize::from(other));
                let cond = match test {
                    Test::Equal => Cond::Eq,
                    Test::Greater => Cond::Gt,
                    Test::NotLess => Cond::Ge,
                    Test::Common => Cond::Set,
                };
                jumps.push((self.insns.len(), taken));
                self.branch(Width::W32, cond, A, to(operand));
                jumps.push((self.insns.len(), other));
                self.insns.push(Target::Jump { target: 0 });
            }
            Insn::Jump(by) => {
                jumps.push((self.insns.len(), at + 1 + by as usize));
                self.insns.push(Target::Jump { target: 0 });
            }
            Insn::Return(Some(k)) => self.verdict(i32::from(k != 0)),
            Insn::Return(None) => {
                self.alu(Width::W32, AluOp::Mov, Reg::R0, A.into());
                self.insns.push(Target::Exit);
            }
            Insn::Move(true) => self.alu(Width::W32, AluOp::Mov, X, A.into()),
            Insn::Move(false) => self.alu(Width::W32, AluOp::Mov, A, X.into()),
        }
    }

    /// Loads a big-endian number, or accepts nothing where the frame is too short.
    fn load(&mut self, bytes: u8, behind_index: bool, at: u32, dst: Reg) {
        let Some(offset) = u16::try_from(at).ok().filter(|&at| at < FRAME_MAX) else {
            // No frame is that long. The comparison is always true.
            self.alu(Width::W64, AluOp::Mov, dst, 0.into());
            return self.give_up(Width::W64, Cond::Eq, dst, 0.into());
        };
        self.alu(Width::W64, AluOp::Mov, PLACE, DATA.into());
        if behind_index {
            self.give_up(Width::W64, Cond::Gt, X, i32::from(FRAME_MAX).into());
            self.alu(Width::W64, AluOp::Add, PLACE, X.into());
        }
        self.alu(Width::W64, AluOp::Mov, END, PLACE.into());
        self.alu(Width::W64, AluOp::Add, END, (i32::from(offset) + i32::from(bytes)).into());
        self.give_up(Width::W64, Cond::Gt, END, DATA_END.into());
        let size = match bytes {
            1 => Size::B1,
            2 => Size::B2,
            _ => Size::B4,
        };
        let offset = offset as i16;
        self.insns.push(Target::Load { size, signed: false, dst, base: PLACE, offset });
        if bytes > 1 {
            self.insns.push(Target::Endian { order: ByteOrder::Be, bits: bytes * 8, dst });
        }
    }

    fn set(&mut self, dst: Reg, from: Source) {
        match from {
            Source::Constant(k) => self.alu(Width::W32, AluOp::Mov, dst, k.cast_signed().into()),
            Source::Memory(slot) => self.insns.push(Target::Load {
                size: Size::B8,
                signed: false,
                dst,
                base: Reg::R10,
                offset: slot_offset(slot),
            }),
            Source::Length => {
                self.alu(Width::W64, AluOp::Mov, dst, DATA_END.into());
                self.alu(Width::W64, AluOp::Sub, dst, DATA.into());
            }
        }
    }

    fn compute(&mut self, op: Op, operand: Operand) {
        let target = match op {
            Op::Add => AluOp::Add,
            Op::Sub => AluOp::Sub,
            Op::Mul => AluOp::Mul,
            Op::Div => AluOp::Div,
            Op::Mod => AluOp::Mod,
            Op::Or => AluOp::Or,
            Op::And => AluOp::And,
            Op::Xor => AluOp::Xor,
            Op::Left => AluOp::Lsh,
            Op::Right => AluOp::Rsh,
        };
        match (op, operand) {
            (Op::Div | Op::Mod, Operand::Index) => {
                self.give_up(Width::W32, Cond::Eq, X, 0.into());
            }
            // A shift by the word or more leaves nothing; the new machine would mask the count.
            (Op::Left | Op::Right, Operand::Index) => {
                let here = self.insns.len() as u32;
                self.branch(Width::W32, Cond::Lt, X, 32.into());
                self.alu(Width::W32, AluOp::Mov, A, 0.into());
                set_target(&mut self.insns, here as usize, here + 2);
            }
            _ => {}
        }
        self.alu(Width::W32, target, A, to(operand));
    }

    fn store(&mut self, slot: u32, src: To) {
        let offset = slot_offset(slot);
        self.insns.push(Target::Store { size: Size::B8, base: Reg::R10, offset, src });
    }

    fn verdict(&mut self, value: i32) {
        self.alu(Width::W64, AluOp::Mov, Reg::R0, value.into());
        self.insns.push(Target::Exit);
    }

    fn give_up(&mut self, width: Width, cond: Cond, dst: Reg, src: To) {
        self.nothing.push(self.insns.len());
        self.branch(width, cond, dst, src);
    }

    fn branch(&mut self, width: Width, cond: Cond, dst: Reg, src: To) {
        self.insns.push(Target::Branch { width, cond, dst, src, target: 0 });
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: To) {
        self.insns.push(Target::Alu { width, op, dst, src });
    }
}

fn to(operand: Operand) -> To {
    match operand {
        Operand::Constant(k) => k.cast_signed().into(),
        Operand::Index => X.into(),
    }
}
