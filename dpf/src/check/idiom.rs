//! What one machine instruction may stand for several of eBPF's.
//!
//! The idea: read backwards. The machine instruction at hand says which eBPF instructions it could
//! be; those are written down from its operands and compared with the program. Where the program
//! has just these, from the slot at hand on, they are done; where not, the slot must be found on
//! its own. A slot in the middle has no place in the code, so that nothing can land on it.
//!
//! What is left out on the way (a copy that is shifted, a loaded operand) must be dead behind.

use ebpf::{AluOp, Cond, Insn, Operand, Reg, Size, Width};

use super::CheckError;
use super::native::{Arith, At, Direction, If, Native, R};
use super::program::{HOME, Matcher};

const W32: Width = Width::W32;
const W64: Width = Width::W64;

/// The eBPF register that lives in a machine register.
fn tenant(reg: R) -> Option<Reg> {
    let at = HOME.iter().position(|home| *home == reg.0)?;
    Reg::ALL.get(at).copied()
}

fn with(width: Width, op: AluOp, dst: Reg, src: Reg) -> Insn {
    Insn::Alu { width, op, dst, src: Operand::Reg(src) }
}

fn by(width: Width, op: AluOp, dst: Reg, value: i32) -> Insn {
    Insn::Alu { width, op, dst, src: Operand::Imm(value) }
}

fn copy(width: Width, dst: Reg, src: Reg) -> Insn {
    with(width, AluOp::Mov, dst, src)
}

impl Matcher<'_> {
    /// Steps over an idiom's code; how many slots it is, if the code at hand is one.
    pub(super) fn idiom(&mut self, pc: u32) -> Result<Option<u32>, CheckError> {
        let Some((native, next)) = self.code.peek() else { return Ok(None) };
        let slots = match native {
            Native::ArithMemory { op: Arith::Compare, width, dst, from } => {
                return self.compared(pc, width, dst, from);
            }
            Native::Move { width, dst, src } => {
                let count = match next {
                    Some(Native::Rotate { width: of, dst: it, count }) => {
                        Some(count).filter(|_| (of, it) == (width, dst))
                    }
                    _ => None,
                };
                let copied = count.and_then(|count| self.rotated(pc, width, (dst, src), count));
                if copied.is_some() {
                    self.code.next("a copy")?;
                }
                let half = || self.narrowed(pc, Size::B4, AluOp::Rsh, (dst, src));
                copied.or_else(|| half().filter(|_| width == W32))
            }
            _ => self.said(pc, &native),
        };
        if slots.is_some() {
            self.code.next("an idiom")?;
        }
        Ok(slots)
    }

    /// The table: how many slots from `pc` on say what this instruction does.
    fn said(&self, pc: u32, native: &Native) -> Option<u32> {
        match *native {
            Native::Sum { dst, base, index, scale } => self.sum(pc, dst, base, (index, scale)),
            Native::Address { width, dst, of } => self.moved(pc, width, dst, of),
            Native::MultiplyConst { width, dst, src, value } => {
                let (d, s) = self.pair(dst, src)?;
                self.says(pc, &[copy(width, d, s), by(width, AluOp::Mul, d, value)])
            }
            Native::ZeroExtend { from, dst, src } => self
                .narrowed(pc, from, AluOp::Rsh, (dst, src))
                .or_else(|| self.masked(pc, from, (dst, src))),
            Native::SignExtend { width: W64, from, dst, src } => {
                self.narrowed(pc, from, AluOp::Arsh, (dst, src))
            }
            Native::Rotate { width, dst, count } => self.rotated_in_place(pc, width, dst, count),
            Native::ArithMemory { op, width, dst, from } => {
                let op = match op {
                    Arith::Add => AluOp::Add,
                    Arith::Sub => AluOp::Sub,
                    Arith::And => AluOp::And,
                    Arith::Or => AluOp::Or,
                    Arith::Xor => AluOp::Xor,
                    Arith::Compare => return None,
                };
                self.loaded(pc, op, width, (dst, from))
            }
            Native::MultiplyMemory { width, dst, from } => {
                self.loaded(pc, AluOp::Mul, width, (dst, from))
            }
            Native::ShiftBy { op, width, dst, src, count } => {
                self.shifted(pc, (op, width), (dst, src), count)
            }
            _ => None,
        }
    }

    /// How many instructions these are, if the program has them at `pc`.
    fn says(&self, pc: u32, insns: &[Insn]) -> Option<u32> {
        let same = |(at, insn): (u32, &Insn)| self.program.get(at) == Some(insn);
        (pc..).zip(insns).all(same).then_some(insns.len() as u32)
    }

    /// The tenants of two registers that may be used.
    fn pair(&self, a: R, b: R) -> Option<(Reg, Reg)> {
        let (a, b) = (tenant(a)?, tenant(b)?);
        (self.home(a).is_ok() && self.home(b).is_ok()).then_some((a, b))
    }

    fn is_dead(&self, pc: u32, reg: Reg) -> bool {
        self.premises.is_dead(self.program, pc, reg)
    }

    fn sum(&self, pc: u32, dst: R, base: R, (index, scale): (R, u8)) -> Option<u32> {
        let (d, b) = self.pair(dst, base)?;
        let (_, i) = self.pair(dst, index)?;
        if scale == 0 {
            let insns = [copy(W64, d, b), with(W64, AluOp::Add, d, i)];
            return self.says(pc, &insns).filter(|_| i != d);
        }
        let [up, plus] = [by(W64, AluOp::Lsh, d, i32::from(scale)), with(W64, AluOp::Add, d, b)];
        let copied = self.says(pc, &[copy(W64, d, i), up, plus]);
        copied.or_else(|| self.says(pc, &[up, plus]).filter(|_| d == i)).filter(|_| b != d)
    }

    fn moved(&self, pc: u32, width: Width, dst: R, of: At) -> Option<u32> {
        let (d, b) = self.pair(dst, of.base)?;
        let copied = copy(width, d, b);
        let plus = self.says(pc, &[copied, by(width, AluOp::Add, d, of.offset)]);
        let minus = || {
            let by = by(width, AluOp::Sub, d, of.offset.checked_neg()?);
            self.says(pc, &[copied, by])
        };
        plus.or_else(minus)
    }

    /// Shifts up and down that leave the lowest bytes.
    fn narrowed(&self, pc: u32, from: Size, down: AluOp, (dst, src): (R, R)) -> Option<u32> {
        let (d, s) = self.pair(dst, src)?;
        let count = 64 - from.bits() as i32;
        let [up, down] = [by(W64, AluOp::Lsh, d, count), by(W64, down, d, count)];
        let copied = self.says(pc, &[copy(W64, d, s), up, down]);
        copied.or_else(|| self.says(pc, &[up, down]).filter(|_| d == s))
    }

    /// A copy and a mask of one or two bytes, whatever their widths.
    fn masked(&self, pc: u32, from: Size, (dst, src): (R, R)) -> Option<u32> {
        let (d, s) = self.pair(dst, src)?;
        let mask = match from {
            Size::B1 => 0xff,
            Size::B2 => 0xffff,
            Size::B4 | Size::B8 => return None,
        };
        [(W64, W64), (W64, W32), (W32, W64), (W32, W32)].into_iter().find_map(|(first, second)| {
            self.says(pc, &[copy(first, d, s), by(second, AluOp::And, d, mask)])
        })
    }

    /// `rol a`: a copy that is shifted one way, `a` the other way, and both together in `a`.
    fn rotated_in_place(&self, pc: u32, width: Width, dst: R, count: u8) -> Option<u32> {
        let Some(Insn::Alu { op: AluOp::Mov, dst: t, .. }) = self.program.get(pc) else {
            return None;
        };
        let (a, _) = self.pair(dst, dst)?;
        let found = self.rotation(pc, width, (*t, a), (count, a));
        found.filter(|_| *t != a && self.is_dead(pc + 4, *t))
    }

    /// `mov t, a; rol t`: the same, both together in the copy.
    fn rotated(&self, pc: u32, width: Width, (dst, src): (R, R), count: u8) -> Option<u32> {
        let (t, a) = self.pair(dst, src)?;
        let found = self.rotation(pc, width, (t, a), (count, t));
        found.filter(|_| t != a && self.is_dead(pc + 4, a))
    }

    fn rotation(
        &self,
        pc: u32,
        width: Width,
        (t, a): (Reg, Reg),
        (count, into): (u8, Reg),
    ) -> Option<u32> {
        let bits = if width == W64 { 64 } else { 32 };
        let left = i32::from(count);
        let right = bits - left;
        if left == 0 || right <= 0 {
            return None;
        }
        let ways = [
            [by(width, AluOp::Lsh, t, left), by(width, AluOp::Rsh, a, right)],
            [by(width, AluOp::Rsh, t, right), by(width, AluOp::Lsh, a, left)],
        ];
        let other = if into == t { a } else { t };
        // Shifts of 32 bits look at no more of what was copied, and leave no more.
        let widths = [(width, width), (width, W64), (W64, width), (W64, W64)];
        ways.into_iter().find_map(|[first, second]| {
            widths.into_iter().find_map(|(copied, joined)| {
                let join = with(joined, AluOp::Or, into, other);
                self.says(pc, &[copy(copied, t, a), first, second, join])
            })
        })
    }

    /// The load of an operand that is dead behind its use; not of the context.
    fn operand(&self, pc: u32, width: Width, from: At) -> Option<Reg> {
        let size = if width == W64 { Size::B8 } else { Size::B4 };
        let Some(Insn::Load { size: read, signed: false, dst, base, offset }) =
            self.program.get(pc)
        else {
            return None;
        };
        let place = At { base: self.home(*base).ok()?, offset: i32::from(*offset) };
        let same = *read == size && place == from && self.premises.at(pc).is_none();
        same.then_some(*dst)
    }

    fn loaded(&self, pc: u32, op: AluOp, width: Width, (dst, from): (R, At)) -> Option<u32> {
        let t = self.operand(pc, width, from)?;
        let (d, _) = self.pair(dst, dst)?;
        let second = self.program.get(pc + 1) == Some(&with(width, op, d, t));
        (second && d != t && self.is_dead(pc + 2, t)).then_some(2)
    }

    /// `cmp d, [p]` and the jump: the loaded operand on either side of "equal" or "not equal".
    fn compared(
        &mut self,
        pc: u32,
        width: Width,
        dst: R,
        from: At,
    ) -> Result<Option<u32>, CheckError> {
        let Some(&Insn::Branch { width: of, cond, dst: left, src: Operand::Reg(right), target }) =
            self.program.get(pc + 1)
        else {
            return Ok(None);
        };
        let (Some(t), Some((d, _))) = (self.operand(pc, width, from), self.pair(dst, dst)) else {
            return Ok(None);
        };
        let cond = match cond {
            Cond::Eq => If::Equal,
            Cond::Ne => If::NotEqual,
            _ => return Ok(None),
        };
        let sides = (left, right) == (t, d) || (left, right) == (d, t);
        let dead = self.is_dead(pc + 2, t) && self.is_dead(target, t);
        if of != width || !sides || d == t || !dead {
            return Ok(None);
        }
        self.code.next("a comparison")?;
        let to = self.code.jump_if(cond, "a conditional jump")?;
        self.lands_at(to, target);
        Ok(Some(2))
    }

    fn shifted(
        &self,
        pc: u32,
        (op, width): (Direction, Width),
        (dst, src): (R, R),
        count: R,
    ) -> Option<u32> {
        let (d, s) = self.pair(dst, src)?;
        let (_, c) = self.pair(dst, count)?;
        let op = match op {
            Direction::Left => AluOp::Lsh,
            Direction::Right => AluOp::Rsh,
            Direction::RightSigned => AluOp::Arsh,
        };
        let found = self.says(pc, &[copy(width, d, s), with(width, op, d, c)]);
        found.filter(|_| c != d && self.premises.bmi2())
    }
}
