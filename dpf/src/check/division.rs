//! What divisions must look like.

use ebpf::{AluOp, Operand, Width};

use super::CheckError;
use super::arithmetic::{OLD_RAX, OLD_RDX, SCRATCH, copy, widened};
use super::native::{Arith, Direction, If, Native, One, R, RAX, RDX};
use super::program::Matcher;

const W64: Width = Width::W64;

/// Division: the quotient (or remainder) is made in scratch, `rax` and `rdx` are put back, and the
/// destination is written last.
impl Matcher<'_> {
    pub(super) fn division(
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
            Operand::Imm(imm) if imm > 1 && !signed && imm & (imm - 1) == 0 => {
                return self.by_power(op, width, dst, imm);
            }
            Operand::Imm(imm) if imm > 1 && !signed && self.by_product(op, width, dst, imm)? => {
                return Ok(());
            }
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

/// Division by a constant as a product: `n / d = ((n >> before) * factor >> 64) >> after`.
impl Matcher<'_> {
    /// A division by `1 << k`.
    fn by_power(&mut self, op: AluOp, width: Width, dst: R, d: i32) -> Result<(), CheckError> {
        let native = if op == AluOp::Mod {
            Native::ArithConst { op: Arith::And, width, dst, value: d - 1 }
        } else {
            let [count, ..] = d.trailing_zeros().to_le_bytes();
            Native::ShiftConst { op: Direction::Right, width, dst, count }
        };
        self.code.expect(native, "a division by a power of two")
    }

    /// Steps over a division by a product, if the code at hand is one. The factor and the shifts
    /// are the code's; that they give every quotient is shown here ([`exact`]).
    fn by_product(&mut self, op: AluOp, width: Width, dst: R, d: i32) -> Result<bool, CheckError> {
        let what = "a division by a product";
        let Some((Native::Const { dst: SCRATCH, value: factor }, Some(second))) = self.code.peek()
        else {
            return Ok(false);
        };
        // The plain division keeps `rax` here as well, but divides by the constant itself.
        if second != copy(W64, OLD_RAX, RAX) || factor == widened(width, d) {
            return Ok(false);
        }
        self.code.next(what)?;
        self.saves()?;
        self.code.expect(copy(width, RAX, dst), what)?;
        let before = self.right(RAX)?;
        self.code.expect(Native::One { op: One::Multiply, width: W64, reg: SCRATCH }, what)?;
        let after = self.right(RDX)?;
        if !exact(width, d.unsigned_abs(), factor, (before, after)) {
            return self.code.refuse("a factor that gives every quotient");
        }
        self.code.expect(copy(W64, SCRATCH, RDX), what)?;
        self.restores()?;
        if op == AluOp::Mod {
            let product = Native::MultiplyConst { width, dst: SCRATCH, src: SCRATCH, value: d };
            self.code.expect(product, what)?;
            self.code.expect(Native::Arith { op: Arith::Sub, width, dst, src: SCRATCH }, what)?;
        } else {
            self.code.expect(copy(W64, dst, SCRATCH), what)?;
        }
        Ok(true)
    }

    /// The count of a shift of this register to the right; 0 if there is none.
    fn right(&mut self, reg: R) -> Result<u8, CheckError> {
        match self.code.peek() {
            Some((Native::ShiftConst { op, width: W64, dst, count }, _))
                if (op, dst) == (Direction::Right, reg) && count < 64 =>
            {
                self.code.next("a shift")?;
                Ok(count)
            }
            _ => Ok(0),
        }
    }
}

/// Whether `((n >> before) * factor >> 64) >> after` is `n / d` for each n of the width. With
/// `m = n >> before` and `d = e << before` it is `m * factor >> p` for `p = 64 + after`, and that
/// is `m / e` if `factor * e` exceeds `2^p` by no more than `2^p / m` for any m (Granlund and
/// Montgomery, "Division by invariant integers using multiplication", PLDI 1994, theorem 4.2).
fn exact(width: Width, d: u32, factor: u64, (before, after): (u8, u8)) -> bool {
    let bits: u32 = if width == Width::W64 { 64 } else { 32 };
    let (before, after) = (u32::from(before), u32::from(after));
    if before > d.trailing_zeros() || before >= bits || after > 32 {
        return false;
    }
    let (e, power) = (u128::from(d >> before), 1_u128 << (64 + after));
    let (product, largest) = (u128::from(factor) * e, bits - before);
    // m < 2^largest, so that an excess of at most 2^(64 + after - largest) will do. One that is
    // more than e has a smaller factor: there is one right way.
    product > power && product - power <= e.min(power >> largest)
}
