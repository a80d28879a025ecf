//! Instructions, one purpose at a time.
//!
//! The [`Emitter`] owns the register assignment and the jumps to the next rule, whose target is
//! only known when the rule is done.

use alloc::vec::Vec;

use ebpf::{AluOp, Cond, Insn, Operand, Reg, Size, Width, context};

use crate::cell::HeaderBase;

/// Start of the frame.
const DATA: Reg = Reg::R2;
/// End of the frame.
const DATA_END: Reg = Reg::R3;
/// `data` plus the variable part of a header base.
const HEADER: Reg = Reg::R4;
/// What was loaded.
const VALUE: Reg = Reg::R5;
/// An end to be compared with `data_end`.
const END: Reg = Reg::R6;

/// What a load's offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The start of the frame.
    Frame,
    /// The header base loaded last.
    Header,
}

impl Place {
    fn register(self) -> Reg {
        match self {
            Place::Frame => DATA,
            Place::Header => HEADER,
        }
    }
}

/// A filter in the making.
pub(super) struct Emitter {
    insns: Vec<Insn>,
    /// Branches that go to the next rule.
    open: Vec<usize>,
}

impl Emitter {
    pub(super) fn new() -> Emitter {
        Emitter { insns: Vec::new(), open: Vec::new() }
    }

    /// Loads the frame's bounds from the context.
    pub(super) fn prologue(&mut self) {
        self.load(Size::B4, DATA, Reg::R1, context::DATA);
        self.load(Size::B4, DATA_END, Reg::R1, context::DATA_END);
    }

    /// `r0 = value; exit`
    pub(super) fn verdict(&mut self, value: i32) {
        self.alu(AluOp::Mov, Reg::R0, value.into());
        self.insns.push(Insn::Exit);
    }

    /// Goes on to the next rule unless `distance` bytes behind `place` are inside the frame.
    pub(super) fn require_end(&mut self, place: Place, distance: u16) {
        self.alu(AluOp::Mov, END, place.register().into());
        self.alu(AluOp::Add, END, i32::from(distance).into());
        self.fail_if(Width::W64, Cond::Gt, END, DATA_END.into());
    }

    /// Goes on to the next rule if the frame is longer than `length` bytes.
    pub(super) fn require_length_at_most(&mut self, length: u16) {
        self.alu(AluOp::Mov, END, DATA_END.into());
        self.alu(AluOp::Sub, END, DATA.into());
        self.fail_if(Width::W64, Cond::Gt, END, i32::from(length).into());
    }

    /// Leaves `data + ((frame[at] & mask) << shift)` (or `>>`) in the header register. The guard is
    /// known to exist, because rules are at least that long.
    pub(super) fn load_base(&mut self, base: HeaderBase) {
        self.load(Size::B1, VALUE, DATA, base.at as i16);
        self.alu(AluOp::And, VALUE, i32::from(base.mask).into());
        let count = i32::from(base.shift.unsigned_abs());
        match base.shift {
            0 => {}
            ..0 => self.alu(AluOp::Rsh, VALUE, count.into()),
            _ => self.alu(AluOp::Lsh, VALUE, count.into()),
        }
        self.alu(AluOp::Mov, HEADER, DATA.into());
        self.alu(AluOp::Add, HEADER, VALUE.into());
    }

    /// Goes on to the next rule unless these 1, 2 or 4 bytes stand there. Compared as loaded, in
    /// the machine's (little-endian) order.
    pub(super) fn require_bytes(&mut self, place: Place, offset: u16, bytes: &[u8]) {
        let (size, width) = match bytes.len() {
            1 => (Size::B1, Width::W64),
            2 => (Size::B2, Width::W64),
            // A 64-bit comparison would extend the immediate's sign.
            _ => (Size::B4, Width::W32),
        };
        let mut value = [0; 4];
        value[..bytes.len()].copy_from_slice(bytes);
        self.load(size, VALUE, place.register(), offset as i16);
        self.fail_if(width, Cond::Ne, VALUE, i32::from_le_bytes(value).into());
    }

    /// Loads one byte and keeps the bits of `mask`.
    pub(super) fn load_byte(&mut self, place: Place, offset: u16, mask: u8) {
        self.load(Size::B1, VALUE, place.register(), offset as i16);
        if mask != 0xff {
            self.alu(AluOp::And, VALUE, i32::from(mask).into());
        }
    }

    /// Goes on to the next rule if the loaded byte compares so.
    pub(super) fn fail_if_byte(&mut self, cond: Cond, value: u8) {
        self.fail_if(Width::W64, cond, VALUE, i32::from(value).into());
    }

    /// A branch on the loaded byte whose target is set later by [`Emitter::land`].
    pub(super) fn branch_byte(&mut self, cond: Cond, value: u8) -> usize {
        let src = i32::from(value).into();
        self.insns.push(Insn::Branch { width: Width::W64, cond, dst: VALUE, src, target: 0 });
        self.insns.len() - 1
    }

    /// Lets the branch at `index` go to what comes next.
    pub(super) fn land(&mut self, index: usize) {
        let here = self.insns.len() as u32;
        if let Some(Insn::Branch { target, .. }) = self.insns.get_mut(index) {
            *target = here;
        }
    }

    /// What comes next is the next rule.
    pub(super) fn next_rule(&mut self) {
        for index in core::mem::take(&mut self.open) {
            self.land(index);
        }
    }

    pub(super) fn finish(self) -> Vec<Insn> {
        self.insns
    }

    fn fail_if(&mut self, width: Width, cond: Cond, dst: Reg, src: Operand) {
        self.open.push(self.insns.len());
        self.insns.push(Insn::Branch { width, cond, dst, src, target: 0 });
    }

    fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.insns.push(Insn::Load { size, signed: false, dst, base, offset });
    }

    fn alu(&mut self, op: AluOp, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width: Width::W64, op, dst, src });
    }
}
