//! Several eBPF instructions as one machine instruction.
//!
//! eBPF has two-operand arithmetic and no operand in memory, so compilers write a copy and a sum
//! where x86 has `lea`, four instructions for a rotation, two shifts for a narrowing. These are
//! recognised here, from the slot at hand on, if nothing jumps into their middle and if a register
//! that they leave out is never read again.
//!
//! What is recognised is checked by an own table (`crate::check`), which shares nothing with this.

use ebpf::{AluOp, Cond, Insn, Operand, Reg, Size, Width};

use super::map::machine;
use super::memory::memory;
use super::{CompileError, Emitter};
use crate::x86::{Alu, Cc, Mem, Shift};

/// The slots of an idiom at most.
const LONGEST: usize = 4;

const W64: Width = Width::W64;

/// An instruction of the kind that idioms are made of.
#[derive(Clone, Copy, PartialEq)]
struct Step {
    width: Width,
    op: AluOp,
    dst: Reg,
    src: Operand,
}

/// The instructions from a slot on that nothing jumps between.
struct Window<'a> {
    insns: [Option<&'a Insn>; LONGEST],
}

impl Window<'_> {
    fn step(&self, nth: usize) -> Option<Step> {
        match self.insns.get(nth)? {
            Some(Insn::Alu { width, op, dst, src }) => {
                Some(Step { width: *width, op: *op, dst: *dst, src: *src })
            }
            _ => None,
        }
    }

    /// The constant of the nth instruction, if it is this operation on this register.
    fn constant(&self, nth: usize, op: AluOp, dst: Reg, width: Width) -> Option<i32> {
        let step = self.step(nth).filter(|it| (it.op, it.dst, it.width) == (op, dst, width))?;
        match step.src {
            Operand::Imm(imm) => Some(imm),
            Operand::Reg(_) => None,
        }
    }

    /// The other operand of the nth instruction, if it is this operation on this register.
    fn other(&self, nth: usize, op: AluOp, dst: Reg) -> Option<Reg> {
        let step = self.step(nth).filter(|it| (it.op, it.dst, it.width) == (op, dst, W64))?;
        match step.src {
            Operand::Reg(src) if src != dst => Some(src),
            _ => None,
        }
    }
}

impl Emitter<'_> {
    /// Emits the idiom that begins at `pc`, if one does, and returns how many slots it is.
    pub(super) fn idiom(&mut self, pc: u32) -> Result<Option<u32>, CompileError> {
        let mut window = Window { insns: [None; LONGEST] };
        for (nth, place) in (0_u32..).zip(&mut window.insns) {
            if nth != 0 && self.premises.joined(pc + nth) {
                break;
            }
            *place = self.program.get(pc + nth);
        }
        let found = match window.insns[0] {
            Some(Insn::Alu { op: AluOp::Mov, .. }) => self.after_copy(pc, &window),
            Some(Insn::Alu { op: AluOp::Lsh, .. }) => self.after_shift(&window),
            Some(Insn::Load { signed: false, .. }) => self.after_load(pc, &window)?,
            _ => None,
        };
        Ok(found)
    }

    fn after_copy(&mut self, pc: u32, window: &Window<'_>) -> Option<u32> {
        let copy = window.step(0)?;
        let Operand::Reg(from) = copy.src else { return None };
        let to = copy.dst;
        if to == from {
            return None;
        }
        if let Some(slots) = self.rotation(pc, window, (to, from)) {
            return Some(slots);
        }
        // Of a copied half the upper one is gone.
        let whole = if copy.width == W64 { self.shifted(window, 1, (to, from)) } else { None };
        whole.or_else(|| self.three_operands(window, copy.width, (to, from)))
    }

    fn after_shift(&mut self, window: &Window<'_>) -> Option<u32> {
        let reg = window.step(0)?.dst;
        self.shifted(window, 0, (reg, reg))
    }

    fn shifted(&mut self, window: &Window<'_>, at: usize, regs: (Reg, Reg)) -> Option<u32> {
        self.narrowed(window, at, regs).or_else(|| self.scaled_sum(window, at, regs))
    }

    /// `t = a; t <<= k; a >>= w - k; a |= t` or the other way round, where `t` is dead.
    fn rotation(&mut self, pc: u32, window: &Window<'_>, (t, a): (Reg, Reg)) -> Option<u32> {
        let (first, second) = (window.step(1)?, window.step(2)?);
        let width = first.width;
        let bits = if width == W64 { 64 } else { 32 };
        let part =
            |nth, op, reg| window.constant(nth, op, reg, width).filter(|k| *k > 0 && *k < bits);
        let (left, right) = match (first.op, second.op) {
            (AluOp::Lsh, AluOp::Rsh) => (part(1, AluOp::Lsh, t)?, part(2, AluOp::Rsh, a)?),
            (AluOp::Rsh, AluOp::Lsh) => (part(2, AluOp::Lsh, a)?, part(1, AluOp::Rsh, t)?),
            _ => return None,
        };
        let last = window.step(3)?;
        let joins = last.op == AluOp::Or && (last.width == width || width == Width::W32);
        let copied = window.step(0)?.width == width || width == Width::W32;
        let count = u8::try_from(left).ok().filter(|_| left + right == bits)?;
        if !joins || !copied || last.src == Operand::Reg(last.dst) {
            return None;
        }
        let dead = match (last.dst == a, last.src == Operand::Reg(t)) {
            (true, true) => t,
            _ if last.dst == t && last.src == Operand::Reg(a) => a,
            _ => return None,
        };
        if !self.premises.is_dead(self.program, pc + 4, dead) {
            return None;
        }
        if dead == a {
            self.asm.mov_rr(width, machine(t), machine(a));
        }
        self.asm.rotate_ri(width, machine(last.dst), count);
        Some(4)
    }

    /// `(a = b;) a <<= k; a >>= k` for 8, 16 or 32 bits that are left.
    fn narrowed(&mut self, window: &Window<'_>, at: usize, (a, b): (Reg, Reg)) -> Option<u32> {
        let up = window.constant(at, AluOp::Lsh, a, W64)?;
        let op = window.step(at + 1)?.op;
        let from = match up {
            32 => Size::B4,
            48 => Size::B2,
            56 => Size::B1,
            _ => return None,
        };
        let down = window.constant(at + 1, op, a, W64).filter(|down| *down == up);
        match (op, down) {
            (AluOp::Rsh, Some(_)) => self.asm.zero_extend(from, machine(a), machine(b)),
            (AluOp::Arsh, Some(_)) => self.asm.sign_extend(W64, from, machine(a), machine(b)),
            _ => return None,
        }
        Some(at as u32 + 2)
    }

    /// `(a = b;) a <<= k; a += c`, k from 1 to 3.
    fn scaled_sum(&mut self, window: &Window<'_>, at: usize, (a, b): (Reg, Reg)) -> Option<u32> {
        let up = window.constant(at, AluOp::Lsh, a, W64)?;
        let scale = u8::try_from(up).ok().filter(|scale| (1..=3).contains(scale))?;
        let base = window.other(at + 1, AluOp::Add, a)?;
        self.asm.lea_sum(machine(a), machine(base), (machine(b), scale));
        Some(at as u32 + 2)
    }

    /// `a = b; a op= c`.
    fn three_operands(
        &mut self,
        window: &Window<'_>,
        width: Width,
        (a, b): (Reg, Reg),
    ) -> Option<u32> {
        let second = window.step(1).filter(|second| second.dst == a)?;
        let (dst, src) = (machine(a), machine(b));
        match (second.op, second.src) {
            (AluOp::And, Operand::Imm(0xff)) => self.asm.zero_extend(Size::B1, dst, src),
            (AluOp::And, Operand::Imm(0xffff)) => self.asm.zero_extend(Size::B2, dst, src),
            _ if second.width != width => return None,
            (AluOp::Mul, Operand::Imm(imm)) => self.asm.imul_rri(width, dst, src, imm),
            (AluOp::Add, Operand::Imm(imm)) => self.asm.lea(width, dst, Mem::new(src, imm)),
            (AluOp::Sub, Operand::Imm(imm)) => {
                self.asm.lea(width, dst, Mem::new(src, imm.checked_neg()?));
            }
            (AluOp::Add, Operand::Reg(other)) if other != a && width == W64 => {
                self.asm.lea_sum(dst, src, (machine(other), 0));
            }
            (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Reg(count))
                if count != a && self.premises.bmi2() =>
            {
                let op = match second.op {
                    AluOp::Lsh => Shift::Shl,
                    AluOp::Rsh => Shift::Shr,
                    _ => Shift::Sar,
                };
                self.asm.shift_by(op, width, (dst, src), machine(count));
            }
            _ => return None,
        }
        Some(2)
    }

    /// `t = *p; d op= t` and `t = *p; if d cond t`, where `t` is dead.
    fn after_load(&mut self, pc: u32, window: &Window<'_>) -> Result<Option<u32>, CompileError> {
        let Some(Insn::Load { size, dst: t, base, offset, .. }) = window.insns[0] else {
            return Ok(None);
        };
        let (t, mem) = (*t, memory(*base, *offset));
        let loaded = match size {
            Size::B4 => Width::W32,
            Size::B8 => W64,
            _ => return Ok(None),
        };
        if self.premises.at(pc).is_some() {
            return Ok(None);
        }
        match window.insns[1] {
            Some(Insn::Alu { width, op, dst, src })
                if *width == loaded && *src == Operand::Reg(t) && *dst != t =>
            {
                let Some(op) = with_memory(*op) else { return Ok(None) };
                if !self.premises.is_dead(self.program, pc + 2, t) {
                    return Ok(None);
                }
                match op {
                    Some(op) => self.asm.alu_rm(op, loaded, machine(*dst), mem),
                    None => self.asm.imul_rm(loaded, machine(*dst), mem),
                }
            }
            Some(branch @ Insn::Branch { width, target, .. }) if *width == loaded => {
                let Some((cc, left)) = equality(branch, t) else { return Ok(None) };
                let both = [pc + 2, *target];
                if !both.iter().all(|way| self.premises.is_dead(self.program, *way, t)) {
                    return Ok(None);
                }
                let target = self.slot(*target)?;
                self.asm.alu_rm(Alu::Cmp, loaded, machine(left), mem);
                self.asm.jcc(cc, target);
            }
            _ => return Ok(None),
        }
        Ok(Some(2))
    }
}

/// The arithmetic that takes an operand in memory; `Some(None)` for the product.
fn with_memory(op: AluOp) -> Option<Option<Alu>> {
    Some(match op {
        AluOp::Add => Some(Alu::Add),
        AluOp::Sub => Some(Alu::Sub),
        AluOp::And => Some(Alu::And),
        AluOp::Or => Some(Alu::Or),
        AluOp::Xor => Some(Alu::Xor),
        AluOp::Mul => None,
        _ => return None,
    })
}

/// The other side of a comparison with `t` that does not care which side is which.
fn equality(branch: &Insn, t: Reg) -> Option<(Cc, Reg)> {
    let Insn::Branch { cond, dst, src: Operand::Reg(src), .. } = *branch else { return None };
    let cc = match cond {
        Cond::Eq => Cc::E,
        Cond::Ne => Cc::Ne,
        _ => return None,
    };
    match (dst == t, src == t) {
        (true, false) => Some((cc, src)),
        (false, true) => Some((cc, dst)),
        _ => None,
    }
}
