//! What arithmetic must look like.

use ebpf::{AluOp, ByteOrder, Operand, Reg, Size, Width};

use super::CheckError;
use super::native::{Arith, Direction, If, Native, One, R, RAX, RCX, RDX};
use super::program::Matcher;

/// Registers that hold nothing of eBPF's.
const SCRATCH: R = R(11);
const OLD_RAX: R = R(10);
const OLD_RDX: R = R(9);

const W64: Width = Width::W64;

fn copy(width: Width, dst: R, src: R) -> Native {
    Native::Move { width, dst, src }
}

/// An immediate as the 64 bits of a register.
fn widened(width: Width, imm: i32) -> u64 {
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

/// Division: the quotient (or remainder) is made in scratch, `rax` and `rdx` are put back, and the
/// destination is written last.
impl Matcher<'_> {
    fn division(
        &mut self,
        op: AluOp,
        width: Width,
        dst: R,
        src: Operand,
    ) -> Result<(), CheckError> {
        let signed = matches!(op, AluOp::Sdiv | AluOp::Smod);
        match src {
            Operand::Imm(0) => self.by_zero(op, width, dst)?,
            Operand::Imm(-1) if signed => self.by_minus_one(op, width, dst)?,
            Operand::Imm(imm) => {
                let value = widened(width, imm);
                self.code.expect(Native::Const { dst: SCRATCH, value }, "a divisor")?;
                self.saves()?;
                self.plain_division(op, width, dst)?;
                self.restores()?;
            }
            Operand::Reg(src) => {
                let src = self.home(src)?;
                self.code.expect(copy(width, SCRATCH, src), "a divisor")?;
                self.saves()?;
                self.guarded_division(op, width, dst)?;
                self.restores()?;
            }
        }
        self.code.expect(copy(W64, dst, SCRATCH), "a quotient or remainder")
    }

    /// Zero, and -1 if signed, must take their own ways round the instruction that would trap.
    fn guarded_division(&mut self, op: AluOp, width: Width, dst: R) -> Result<(), CheckError> {
        let what = "a guarded division";
        let zero_test = Native::Test { width, left: SCRATCH, right: SCRATCH };
        self.code.expect(zero_test, what)?;
        let zero = self.code.jump_if(If::Equal, what)?;
        let mut minus_one = None;
        if matches!(op, AluOp::Sdiv | AluOp::Smod) {
            let compare = Native::ArithConst { op: Arith::Compare, width, dst: SCRATCH, value: -1 };
            self.code.expect(compare, what)?;
            minus_one = Some(self.code.jump_if(If::Equal, what)?);
        }
        self.plain_division(op, width, dst)?;
        let mut ends = [Some(self.code.jump(what)?), None];
        if let Some(start) = minus_one {
            self.code.lands(start, "the way for a divisor of -1")?;
            self.by_minus_one(op, width, dst)?;
            ends[1] = Some(self.code.jump(what)?);
        }
        self.code.lands(zero, "the way for a divisor of 0")?;
        self.by_zero(op, width, dst)?;
        for end in ends.into_iter().flatten() {
            self.code.lands(end, "the end of a division")?;
        }
        Ok(())
    }

    fn plain_division(&mut self, op: AluOp, width: Width, dst: R) -> Result<(), CheckError> {
        let what = "a division";
        self.code.expect(copy(width, RAX, dst), what)?;
        let divide = if matches!(op, AluOp::Sdiv | AluOp::Smod) {
            self.code.expect(Native::SignIntoRdx { width }, what)?;
            One::DivideSigned
        } else {
            let clear = Native::Arith { op: Arith::Xor, width: Width::W32, dst: RDX, src: RDX };
            self.code.expect(clear, what)?;
            One::Divide
        };
        self.code.expect(Native::One { op: divide, width, reg: SCRATCH }, what)?;
        let result = if matches!(op, AluOp::Mod | AluOp::Smod) { RDX } else { RAX };
        self.code.expect(copy(width, SCRATCH, result), what)
    }

    /// RFC 9669 §4.1: the quotient is 0, the remainder is the dividend.
    fn by_zero(&mut self, op: AluOp, width: Width, dst: R) -> Result<(), CheckError> {
        let what = "a division by 0";
        match op {
            AluOp::Mod | AluOp::Smod => self.code.expect(copy(width, SCRATCH, dst), what),
            _ => self.code.expect(Native::Const { dst: SCRATCH, value: 0 }, what),
        }
    }

    /// The quotient is the negated dividend, even of the least number; the remainder is 0.
    fn by_minus_one(&mut self, op: AluOp, width: Width, dst: R) -> Result<(), CheckError> {
        let what = "a division by -1";
        if op == AluOp::Smod {
            return self.code.expect(Native::Const { dst: SCRATCH, value: 0 }, what);
        }
        self.code.expect(copy(width, SCRATCH, dst), what)?;
        self.code.expect(Native::One { op: One::Negate, width, reg: SCRATCH }, what)
    }

    fn saves(&mut self) -> Result<(), CheckError> {
        self.code.expect(copy(W64, OLD_RAX, RAX), "rax to be kept")?;
        self.code.expect(copy(W64, OLD_RDX, RDX), "rdx to be kept")
    }

    fn restores(&mut self) -> Result<(), CheckError> {
        self.code.expect(copy(W64, RAX, OLD_RAX), "rax to be put back")?;
        self.code.expect(copy(W64, RDX, OLD_RDX), "rdx to be put back")
    }
}
