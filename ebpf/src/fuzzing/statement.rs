//! The statements that generated programs are made of.
//!
//! Each keeps the generator's [`State`](super::generate::State) true: what it relies on was
//! checked before, what it makes known is recorded.

use super::generate::{End, Generator, slot};
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Cond, Imm64, Insn, Operand, Reg, Size, Width,
};
use crate::program::Kind;

/// Deepest nesting of skipped blocks.
pub(super) const DEPTH: u8 = 3;

pub(super) const SIZES: [Size; 4] = [Size::B1, Size::B2, Size::B4, Size::B8];

/// Sizes, offsets and values of header fields as a little-endian load sees them.
const HEADERS: [(Size, u16, i32); 12] = [
    (Size::B2, 12, 0x0008),
    (Size::B2, 12, 0xdd86_u16 as i32),
    (Size::B2, 12, 0x0608),
    (Size::B1, 14, 0x45),
    (Size::B1, 23, 17),
    (Size::B1, 23, 6),
    (Size::B1, 20, 17),
    (Size::B2, 20, 0),
    (Size::B4, 30, 0x0f02_000a),
    (Size::B2, 36, 0x3500),
    (Size::B2, 36, 0x611e),
    (Size::B4, 26, 0x0202_000a),
];

impl Generator<'_> {
    /// One statement of a sort that the next byte chooses.
    pub(super) fn statement(&mut self) {
        let rich = self.kind != Kind::Filter;
        match self.source.below(32) {
            0..=3 => self.check_length(),
            4..=8 => self.load_field(),
            9..=11 => self.test_field(),
            12..=16 => self.arithmetic(),
            17 => self.swap(),
            18..=20 => self.leave_if(),
            21..=23 => self.skip_block(),
            24 => self.header_base(),
            25 => self.length_test(),
            26 if rich => self.store_field(),
            27 if rich => self.store_stack(),
            28 if rich => self.load_stack(),
            29 if rich => self.atomic(),
            30 if rich => self.call(),
            31 => self.constant(),
            _ => self.test_field(),
        }
    }

    /// Leaves unless so many bytes exist, as clang writes it.
    pub(super) fn check_length(&mut self) {
        let bytes = match self.source.byte() {
            0..=95 => 42,
            96..=127 => 14,
            128..=159 => 34,
            160..=191 => 54,
            other => u16::from(other),
        };
        if self.kind == Kind::Memory {
            let length = self.length();
            self.branch(Cond::Lt, length, i32::from(bytes).into(), End::No);
        } else {
            self.mov(Reg::R4, Reg::R2.into());
            self.add(Reg::R4, i32::from(bytes).into());
            self.branch(Cond::Gt, Reg::R4, Reg::R3.into(), End::No);
        }
        self.state.checked = self.state.checked.max(bytes);
    }

    /// An offset at which `size` bytes were checked; rarely one at which they were not.
    pub(super) fn offset(&mut self, size: Size) -> Option<i16> {
        if self.source.byte() & 31 == 31 {
            return Some(i16::from(self.source.byte()));
        }
        let room = usize::from(self.state.checked).checked_sub(size.bytes())?;
        let bound = u16::try_from(room + 1).ok()?;
        i16::try_from(self.source.below(bound)).ok()
    }

    fn load_field(&mut self) {
        let size = self.source.pick(&SIZES, Size::B1);
        let Some(offset) = self.offset(size) else { return };
        let signed = self.kind != Kind::Filter && size != Size::B8 && self.source.byte() & 7 == 0;
        let (dst, base) = (self.scratch(), self.base());
        self.insns.push(Insn::Load { size, signed, dst, base, offset });
        self.state.numbers |= 1 << dst.index();
    }

    /// A header field and a value it often has.
    fn test_field(&mut self) {
        let header = self.source.pick(&HEADERS, HEADERS[0]);
        let (size, at, value) = header;
        if usize::from(at) + size.bytes() > usize::from(self.state.checked) {
            return self.check_length();
        }
        let (dst, base) = (self.scratch(), self.base());
        let offset = at.cast_signed();
        self.insns.push(Insn::Load { size, signed: false, dst, base, offset });
        self.state.numbers |= 1 << dst.index();
        let cond = if self.source.byte() & 7 == 0 { Cond::Eq } else { Cond::Ne };
        self.branch(cond, dst, value.into(), End::No);
    }

    fn arithmetic(&mut self) {
        const PLAIN: [AluOp; 6] =
            [AluOp::And, AluOp::Rsh, AluOp::Lsh, AluOp::Add, AluOp::Or, AluOp::Mov];
        let rich = self.kind != Kind::Filter;
        let op = if rich {
            self.source.pick(&AluOp::ALL, AluOp::Add)
        } else {
            self.source.pick(&PLAIN, AluOp::And)
        };
        let (width, dst) = (self.width(), self.number());
        let src = match op {
            // The verifier may refuse counts that the shift would mask.
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => Operand::Imm(i32::from(self.source.below(32))),
            _ => self.operand(),
        };
        let insn = match self.source.byte() {
            0..=15 if rich => Insn::Neg { width, dst },
            16..=31 if rich => Insn::MovSx { width, from: Size::B2, dst, src: dst },
            _ => Insn::Alu { width, op, dst, src },
        };
        self.insns.push(insn);
    }

    fn swap(&mut self) {
        let dst = self.number();
        let orders = [ByteOrder::Be, ByteOrder::Le, ByteOrder::Swap];
        let order = self.source.pick(&orders, ByteOrder::Be);
        let bits = self.source.pick(&[16, 32, 64], 16);
        self.insns.push(Insn::Endian { order, bits, dst });
    }

    /// A comparison that goes to one of the ends.
    fn leave_if(&mut self) {
        let (dst, src) = (self.number(), self.operand());
        let cond = self.source.pick(&Cond::ALL, Cond::Eq);
        let end = if self.source.byte() & 1 == 0 { End::No } else { End::Yes };
        self.branch(cond, dst, src, end);
    }

    /// A comparison over a block.
    fn skip_block(&mut self) {
        if self.depth == DEPTH {
            return self.leave_if();
        }
        let (width, dst, src) = (self.width(), self.number(), self.operand());
        let cond = self.source.pick(&Cond::ALL, Cond::Eq);
        let (at, before) = (self.insns.len(), self.state);
        self.insns.push(Insn::Branch { width, cond, dst, src, target: 0 });
        self.depth += 1;
        for _ in 0..=self.source.below(4) {
            self.any_statement();
        }
        self.depth -= 1;
        self.state = self.state.meet(before);
        let target = slot(self.insns.len());
        if let Some(insn) = self.insns.get_mut(at) {
            *insn = Insn::Branch { width, cond, dst, src, target };
        }
    }

    /// A load behind the IPv4 header, whose length is in the packet.
    fn header_base(&mut self) {
        if self.kind == Kind::Memory || self.state.checked < 15 {
            return self.check_length();
        }
        let (length, dst) = (Reg::R5, self.scratch());
        let size = self.source.pick(&[Size::B2, Size::B1, Size::B4], Size::B2);
        let offset = 14 + i16::try_from(self.source.below(8)).unwrap_or(0);
        let width = Width::W64;
        let base = Reg::R2;
        self.insns.push(Insn::Load {
            size: Size::B1,
            signed: false,
            dst: length,
            base,
            offset: 14,
        });
        self.insns.push(Insn::Alu { width, op: AluOp::And, dst: length, src: 15.into() });
        self.insns.push(Insn::Alu { width, op: AluOp::Lsh, dst: length, src: 2.into() });
        self.mov(Reg::R4, Reg::R2.into());
        self.add(Reg::R4, length.into());
        let end = Reg::R8;
        self.mov(end, Reg::R4.into());
        self.add(end, (i32::from(offset) + size.bytes() as i32).into());
        self.branch(Cond::Gt, end, Reg::R3.into(), End::No);
        self.insns.push(Insn::Load { size, signed: false, dst, base: Reg::R4, offset });
        self.state.numbers &= !(1 << end.index());
        self.state.numbers |= 1 << dst.index() | 1 << length.index();
    }

    /// A test of the length as a number.
    fn length_test(&mut self) {
        let (bytes, cond) = (self.source.byte(), self.source.pick(&[Cond::Lt, Cond::Gt], Cond::Lt));
        let length = if self.kind == Kind::Memory {
            self.length()
        } else {
            self.mov(Reg::R4, Reg::R3.into());
            let (width, op, src) = (Width::W64, AluOp::Sub, Reg::R2.into());
            self.insns.push(Insn::Alu { width, op, dst: Reg::R4, src });
            Reg::R4
        };
        self.branch(cond, length, i32::from(bytes).into(), End::No);
    }

    fn store_field(&mut self) {
        let size = self.source.pick(&SIZES, Size::B1);
        let Some(offset) = self.offset(size) else { return };
        let (base, src) = (self.base(), self.operand());
        self.insns.push(Insn::Store { size, base, offset, src });
    }

    /// A stack word: its number and its offset from `r10`.
    fn stack_word(&mut self) -> (u16, i16) {
        let word = self.source.below(8);
        (word, -8 * (word.cast_signed() + 1))
    }

    fn store_stack(&mut self) {
        let ((word, offset), src) = (self.stack_word(), self.operand());
        self.insns.push(Insn::Store { size: Size::B8, base: Reg::R10, offset, src });
        self.state.stack |= 1 << word;
    }

    fn load_stack(&mut self) {
        let (word, offset) = self.stack_word();
        if self.state.stack & 1 << word == 0 {
            return self.store_stack();
        }
        let (size, dst) = (self.source.pick(&SIZES, Size::B8), self.scratch());
        self.insns.push(Insn::Load { size, signed: false, dst, base: Reg::R10, offset });
        self.state.numbers |= 1 << dst.index();
    }

    fn atomic(&mut self) {
        let (word, offset) = self.stack_word();
        if self.state.stack & 1 << word == 0 {
            return self.store_stack();
        }
        let size = self.source.pick(&[Size::B4, Size::B8], Size::B8);
        let op = self.source.pick(&AtomicOp::ALL, AtomicOp::Add);
        if op == AtomicOp::Cmpxchg && !self.holds_number(Reg::R0) {
            self.set_number(Reg::R0);
        }
        let implied = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
        let fetch = implied || self.source.byte() & 1 == 0;
        let src = self.number();
        self.insns.push(Insn::Atomic { size, op, fetch, base: Reg::R10, offset, src });
    }

    /// A helper or the local function; `r1` to `r5` are lost and the bounds loaded again.
    fn call(&mut self) {
        if self.kind == Kind::Memory && !self.rich {
            return self.arithmetic();
        }
        let local = self.source.byte() >= 240;
        let target = if local {
            let argument = self.number();
            self.mov(Reg::R1, argument.into());
            self.calls.push((self.insns.len(), 0));
            CallTarget::Local(0)
        } else {
            CallTarget::Helper(self.source.pick(&[5, 7, 8], 7))
        };
        self.insns.push(Insn::Call { target });
        self.called();
    }

    /// The argument registers are lost, the result is a number, the bounds are loaded again.
    pub(super) fn called(&mut self) {
        self.state.numbers &= !0b11_1110;
        self.state.numbers |= 1;
        self.load_bounds();
    }

    fn constant(&mut self) {
        let dst = self.scratch();
        let value = u64::from(self.source.word()) << 32 | u64::from(self.source.word());
        self.insns.push(Insn::LoadImm64 { dst, imm: Imm64::Value(value) });
        self.insns.push(Insn::LoadImm64High);
        self.state.numbers |= 1 << dst.index();
    }
}
