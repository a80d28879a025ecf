//! Statements of rich programs about what is nearly a pointer: halves of packet pointers and their
//! differences, kept or not, and the optional arguments of `trace_printk`, which may be numbers,
//! left over, or what they must not be.

use super::generate::Generator;
use super::rich::{KEPT, ROOM};
use crate::helper;
use crate::insn::{AluOp, CallTarget, Insn, Operand, Reg, Size, Width};
use crate::program::Kind;

/// Formats with as many conversions as there are arguments, and fewer, and one that is none.
const FORMATS: [&[u8; 8]; 6] =
    [b"%d %x\n\0\0", b"%u\0\0\0\0\0\0", b"%llx %d\0", b"%p%i%u\n\0", b"plain\n\0\0", b"%s%d%%%\0"];

impl Generator<'_> {
    /// How far two packet pointers are apart, from their low halves or as a whole.
    pub(super) fn difference(&mut self) {
        if self.kind == Kind::Memory {
            return self.trace();
        }
        let (dst, other) = (Reg::R4, Reg::R1);
        let width = if self.source.byte() & 3 == 0 { Width::W64 } else { Width::W32 };
        let way = self.source.below(32);
        let (left, right) = match way {
            0..=26 => (Reg::R3, Reg::R2),
            27..=28 => (Reg::R2, Reg::R3),
            29..=30 => (Reg::R2, Reg::R2),
            // What must not be: the difference would be an address.
            _ => (Reg::R3, Reg::R10),
        };
        self.insns.push(Insn::Alu { width, op: AluOp::Mov, dst, src: left.into() });
        if self.source.byte() & 1 == 0 {
            let (size, base) = (Size::B8, Reg::R10);
            self.insns.push(Insn::Store { size, base, offset: KEPT, src: dst.into() });
            self.insns.push(Insn::Load { size, signed: false, dst, base, offset: KEPT });
        }
        self.insns.push(Insn::Alu { width, op: AluOp::Mov, dst: other, src: right.into() });
        // One in thirty-two goes on with half an address.
        if self.source.byte() & 31 != 31 {
            self.insns.push(Insn::Alu { width, op: AluOp::Sub, dst, src: other.into() });
        }
        let number = self.scratch();
        self.insns.push(Insn::Alu { width, op: AluOp::Mov, dst: number, src: dst.into() });
        self.state.numbers |= 1 << number.index();
    }

    /// `trace_printk` with none to three values.
    pub(super) fn trace(&mut self) {
        let format = self.source.pick(&FORMATS, FORMATS[0]);
        let halves = [&format[..4], &format[4..]];
        for (at, half) in (0i16..).zip(halves) {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(half);
            let (src, offset) = (i32::from_le_bytes(bytes).into(), ROOM + at * 4);
            self.insns.push(Insn::Store { size: Size::B4, base: Reg::R10, offset, src });
        }
        let values = self.source.below(4);
        let mut sources = [Operand::Imm(0); 3];
        for source in &mut sources {
            *source = match self.source.below(32) {
                31 => Reg::R10.into(),
                _ => self.operand(),
            };
        }
        for (dst, src) in [Reg::R3, Reg::R4, Reg::R5].into_iter().zip(sources) {
            // A source that was overwritten is a number all the same.
            if dst.index() < 3 + usize::from(values) {
                self.insns.push(Insn::Alu { width: Width::W64, op: AluOp::Mov, dst, src });
            }
        }
        self.stack_pointer(Reg::R1, ROOM);
        self.mov(Reg::R2, 8.into());
        self.insns.push(Insn::Call { target: CallTarget::Helper(helper::PRINT) });
        self.called();
    }
}
