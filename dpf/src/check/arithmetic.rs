//! What arithmetic must look like.

use ebpf::{AluOp, ByteOrder, Operand, Reg, Size, Width};

use super::CheckError;
use super::native::{Arith, Direction, Native, One, R, RCX};
use super::program::Matcher;

/// Registers that hold nothing of eBPF's.
pub(super) const SCRATCH: R = R(11);
pub(super) const OLD_RAX: R = R(10);
pub(super) const OLD_RDX: R = R(9);

const W64: Width = Width::W64;

pub(super) fn copy(width: Width, dst: R, src: R) -> Native {
    Native::Move { width, dst, src }
}

/// An immediate as the 64 bits of a register.
pub(super) fn widened(width: Width, imm: i32) -> u64 {
    match width {
        Width::W32 => u64::from(imm as u32),
        Width::W64 => i64::from(imm) as u64,
    }
}

impl Matcher<'_> {
    /// The table: one line per operation.
    pub(super) fn alu(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
    ) -> Result<(), CheckError> {
        let dst = self.home(dst)?;
        match op {
            AluOp::Add => self.simple(Arith::Add, width, dst, src),
            AluOp::Sub => self.simple(Arith::Sub, width, dst, src),
            AluOp::Or => self.simple(Arith::Or, width, dst, src),
            AluOp::And => self.simple(Arith::And, width, dst, src),
            AluOp::Xor => self.simple(Arith::Xor, width, dst, src),
            AluOp::Mul => self.product(width, dst, src),
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => {
                self.division(op, width, dst, src)
            }
            AluOp::Lsh => self.shift(Direction::Left, width, dst, src),
            AluOp::Rsh => self.shift(Direction::Right, width, dst, src),
            AluOp::Arsh => self.shift(Direction::RightSigned, width, dst, src),
            AluOp::Mov => self.mov(width, dst, src),
        }
    }

    fn simple(&mut self, op: Arith, width: Width, dst: R, src: Operand) -> Result<(), CheckError> {
        let native = match src {
            Operand::Reg(src) => Native::Arith { op, width, dst, src: self.home(src)? },
            Operand::Imm(value) => Native::ArithConst { op, width, dst, value },
        };
        self.code.expect(native, "simple arithmetic")
    }

    fn product(&mut self, width: Width, dst: R, src: Operand) -> Result<(), CheckError> {
        let native = match src {
            Operand::Reg(src) => Native::Multiply { width, dst, src: self.home(src)? },
            Operand::Imm(value) => Native::MultiplyConst { width, dst, src: dst, value },
        };
        self.code.expect(native, "a product")
    }

    fn mov(&mut self, width: Width, dst: R, src: Operand) -> Result<(), CheckError> {
        let native = match src {
            Operand::Reg(src) => copy(width, dst, self.home(src)?),
            Operand::Imm(imm) => Native::Const { dst, value: widened(width, imm) },
        };
        self.code.expect(native, "a move")
    }

    pub(super) fn neg(&mut self, width: Width, dst: Reg) -> Result<(), CheckError> {
        let reg = self.home(dst)?;
        self.code.expect(Native::One { op: One::Negate, width, reg }, "a negation")
    }

    pub(super) fn move_signed(
        &mut self,
        width: Width,
        from: Size,
        dst: Reg,
        src: Reg,
    ) -> Result<(), CheckError> {
        let (dst, src) = (self.home(dst)?, self.home(src)?);
        self.code.expect(Native::SignExtend { width, from, dst, src }, "a sign-extending move")
    }

    pub(super) fn endian(
        &mut self,
        order: ByteOrder,
        bits: u8,
        dst: Reg,
    ) -> Result<(), CheckError> {
        let dst = self.home(dst)?;
        let swaps = matches!(order, ByteOrder::Be | ByteOrder::Swap);
        let what = "a change of byte order";
        match (bits, swaps) {
            (16, true) => {
                self.code.expect(Native::SwapLowBytes { dst }, what)?;
                self.code.expect(Native::ZeroExtend { from: Size::B2, dst, src: dst }, what)
            }
            (16, false) => {
                self.code.expect(Native::ZeroExtend { from: Size::B2, dst, src: dst }, what)
            }
            (32, true) => self.code.expect(Native::ByteSwap { width: Width::W32, dst }, what),
            (32, false) => self.code.expect(copy(Width::W32, dst, dst), what),
            (64, true) => self.code.expect(Native::ByteSwap { width: W64, dst }, what),
            (64, false) => Ok(()),
            _ => self.code.refuse("16, 32 or 64 bits"),
        }
    }

    /// Counts are in `cl`; the old `rcx` waits in scratch, unless it is the operand or the count.
    fn shift(
        &mut self,
        op: Direction,
        width: Width,
        dst: R,
        count: Operand,
    ) -> Result<(), CheckError> {
        let what = "a shift";
        let count = match count {
            Operand::Reg(count) => self.home(count)?,
            Operand::Imm(imm) => {
                let mask = if width == W64 { 63 } else { 31 };
                let count = (imm as u32 & mask) as u8;
                return self.code.expect(Native::ShiftConst { op, width, dst, count }, what);
            }
        };
        let by_any = Native::ShiftBy { op, width, dst, src: dst, count };
        if self.premises.bmi2() && self.code.skip(by_any) {
            return Ok(());
        }
        let by_cl = |dst| Native::ShiftCl { op, width, dst };
        if dst == RCX {
            self.code.expect(copy(W64, SCRATCH, RCX), what)?;
            self.code.expect(copy(Width::W32, RCX, count), what)?;
            self.code.expect(by_cl(SCRATCH), what)?;
            self.code.expect(copy(W64, RCX, SCRATCH), what)
        } else if count == RCX {
            self.code.expect(by_cl(dst), what)
        } else {
            self.code.expect(copy(W64, SCRATCH, RCX), what)?;
            self.code.expect(copy(Width::W32, RCX, count), what)?;
            self.code.expect(by_cl(dst), what)?;
            self.code.expect(copy(W64, RCX, SCRATCH), what)
        }
    }
}
