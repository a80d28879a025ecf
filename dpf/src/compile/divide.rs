//! Division and remainder.
//!
//! x86 divides `rdx:rax` and traps on a zero divisor and on `MIN / -1`; RFC 9669 §4.1 defines both
//! (0 or unchanged; `MIN` or 0). The sequence keeps `rax` and `rdx` in scratch registers, works in
//! a third, and writes the destination last, so that any register may be any operand.

use ebpf::{Operand, Reg, Width};

use super::Emitter;
use super::alu::immediate;
use super::map::{KEEP_RAX, KEEP_RDX, SCRATCH, machine};
use crate::x86::{Alu, Cc, Gpr, Shift, Unary};

/// Which of the four divisions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    signed: bool,
    remainder: bool,
}

pub(super) const UNSIGNED_QUOTIENT: Division = Division { signed: false, remainder: false };
pub(super) const SIGNED_QUOTIENT: Division = Division { signed: true, remainder: false };
pub(super) const UNSIGNED_REMAINDER: Division = Division { signed: false, remainder: true };
pub(super) const SIGNED_REMAINDER: Division = Division { signed: true, remainder: true };

/// Division by a constant as a product: `n / d = ((n >> before) * factor >> 64) >> after`.
#[derive(Debug, Clone, Copy)]
struct Product {
    factor: u64,
    before: u8,
    after: u8,
}

impl Product {
    /// The factor and the shifts for a divisor that is no power of two; `None` where the factor
    /// would have 65 bits (Granlund and Montgomery, PLDI 1994).
    fn of(width: Width, divisor: i32) -> Option<Self> {
        let divisor = u128::from(u32::try_from(divisor).ok().filter(|d| *d > 2)?);
        let bits = if width == Width::W64 { 64 } else { 32 };
        let zeros = divisor.trailing_zeros();
        // Shifting first leaves fewer bits, so that a shorter factor serves.
        [0, zeros].into_iter().find_map(|before| {
            let (divisor, bits) = (divisor >> before, bits - before);
            (0..=32_u32).find_map(|after| {
                let power = 1_u128 << (64 + after);
                let factor = power / divisor + 1;
                let excess = factor * divisor - power;
                let fits = excess <= power >> bits;
                let factor = u64::try_from(factor).ok().filter(|_| fits)?;
                Some(Self {
                    factor,
                    before: before.to_le_bytes()[0],
                    after: after.to_le_bytes()[0],
                })
            })
        })
    }
}

impl Emitter<'_> {
    pub(super) fn divide(&mut self, how: Division, width: Width, dst: Reg, src: Operand) {
        let dst = machine(dst);
        match src {
            Operand::Imm(0) => self.by_zero(how, width, dst),
            Operand::Imm(-1) if how.signed => self.by_minus_one(how, width, dst),
            Operand::Imm(imm) if imm > 1 && !how.signed && imm & (imm - 1) == 0 => {
                return self.by_power(how, width, dst, imm);
            }
            Operand::Imm(imm) => {
                if let Some(product) = Product::of(width, imm).filter(|_| !how.signed) {
                    return self.by_product(how, width, (dst, imm), product);
                }
                self.asm.mov_ri(SCRATCH, immediate(width, imm));
                self.keep();
                self.divide_by_scratch(how, width, dst);
                self.restore();
            }
            Operand::Reg(src) => {
                self.asm.mov_rr(width, SCRATCH, machine(src));
                self.keep();
                self.divide_by_unknown(how, width, dst);
                self.restore();
            }
        }
        self.asm.mov_rr(Width::W64, dst, SCRATCH);
    }

    fn by_power(&mut self, how: Division, width: Width, dst: Gpr, divisor: i32) {
        if how.remainder {
            self.asm.alu_ri(Alu::And, width, dst, divisor - 1);
        } else {
            let [count, ..] = divisor.trailing_zeros().to_le_bytes();
            self.asm.shift_ri(Shift::Shr, width, dst, count);
        }
    }

    fn by_product(
        &mut self,
        how: Division,
        width: Width,
        (dst, divisor): (Gpr, i32),
        product: Product,
    ) {
        self.asm.mov_ri(SCRATCH, product.factor);
        self.keep();
        self.asm.mov_rr(width, Gpr::RAX, dst);
        if product.before != 0 {
            self.asm.shift_ri(Shift::Shr, Width::W64, Gpr::RAX, product.before);
        }
        self.asm.unary(Unary::Mul, Width::W64, SCRATCH);
        if product.after != 0 {
            self.asm.shift_ri(Shift::Shr, Width::W64, Gpr::RDX, product.after);
        }
        self.asm.mov_rr(Width::W64, SCRATCH, Gpr::RDX);
        self.restore();
        if how.remainder {
            self.asm.imul_rri(width, SCRATCH, SCRATCH, divisor);
            self.asm.alu_rr(Alu::Sub, width, dst, SCRATCH);
        } else {
            self.asm.mov_rr(Width::W64, dst, SCRATCH);
        }
    }

    fn divide_by_unknown(&mut self, how: Division, width: Width, dst: Gpr) {
        let (zero, minus_one, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.test_rr(width, SCRATCH, SCRATCH);
        self.asm.jcc(Cc::E, zero);
        if how.signed {
            self.asm.alu_ri(Alu::Cmp, width, SCRATCH, -1);
            self.asm.jcc(Cc::E, minus_one);
        }
        self.divide_by_scratch(how, width, dst);
        self.asm.jmp(done);
        if how.signed {
            self.asm.bind(minus_one);
            self.by_minus_one(how, width, dst);
            self.asm.jmp(done);
        }
        self.asm.bind(zero);
        self.by_zero(how, width, dst);
        self.asm.bind(done);
    }

    /// `SCRATCH = dst / SCRATCH`, where the divisor is neither 0 nor, if signed, -1.
    fn divide_by_scratch(&mut self, how: Division, width: Width, dst: Gpr) {
        self.asm.mov_rr(width, Gpr::RAX, dst);
        if how.signed {
            self.asm.sign_into_rdx(width);
            self.asm.unary(Unary::Idiv, width, SCRATCH);
        } else {
            self.asm.alu_rr(Alu::Xor, Width::W32, Gpr::RDX, Gpr::RDX);
            self.asm.unary(Unary::Div, width, SCRATCH);
        }
        let result = if how.remainder { Gpr::RDX } else { Gpr::RAX };
        self.asm.mov_rr(width, SCRATCH, result);
    }

    fn by_zero(&mut self, how: Division, width: Width, dst: Gpr) {
        if how.remainder {
            self.asm.mov_rr(width, SCRATCH, dst);
        } else {
            self.asm.mov_ri(SCRATCH, 0);
        }
    }

    fn by_minus_one(&mut self, how: Division, width: Width, dst: Gpr) {
        if how.remainder {
            self.asm.mov_ri(SCRATCH, 0);
        } else {
            self.asm.mov_rr(width, SCRATCH, dst);
            self.asm.unary(Unary::Neg, width, SCRATCH);
        }
    }

    fn keep(&mut self) {
        self.asm.mov_rr(Width::W64, KEEP_RAX, Gpr::RAX);
        self.asm.mov_rr(Width::W64, KEEP_RDX, Gpr::RDX);
    }

    fn restore(&mut self) {
        self.asm.mov_rr(Width::W64, Gpr::RAX, KEEP_RAX);
        self.asm.mov_rr(Width::W64, Gpr::RDX, KEEP_RDX);
    }
}
