//! Where a program's ways meet, and which registers nobody reads any more.
//!
//! The idea: several eBPF instructions may become one machine instruction if nothing jumps between
//! them, and if what they leave in a register on the way is never read. Both are facts about the
//! eBPF program. Whether a register is dead is asked rarely and for a register just used, so it is
//! looked for on the spot, a few instructions ahead on every way; who looks too far gets "alive".

use alloc::vec::Vec;

use ebpf::{AluOp, AtomicOp, CallTarget, Insn, Operand, Program, Reg};

/// Instructions that one question about a register may look at.
const AHEAD: usize = 32;

const BITS: usize = u64::BITS as usize;

/// The slots that something jumps to or calls, as bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joins {
    joined: Vec<u64>,
    /// The slot whose way is noted next.
    next: u32,
}

impl Joins {
    /// Looks at one slot; true when all were looked at.
    pub(crate) fn advance(&mut self, program: &Program) -> bool {
        if self.joined.is_empty() {
            self.joined = alloc::vec![0; program.len().div_ceil(BITS)];
        }
        let Some(insn) = program.get(self.next) else { return true };
        self.next += 1;
        let called = match insn {
            Insn::Call { target: CallTarget::Local(slot) } => Some(*slot),
            _ => None,
        };
        for slot in insn.jump_target().into_iter().chain(called) {
            if let Some(word) = self.joined.get_mut(slot as usize / BITS) {
                *word |= 1 << (slot as usize % BITS);
            }
        }
        false
    }

    /// Whether a slot is reached from elsewhere than the one before it.
    pub(crate) fn at(&self, pc: u32) -> bool {
        let word = self.joined.get(pc as usize / BITS);
        word.is_none_or(|word| word >> (pc as usize % BITS) & 1 == 1)
    }
}

/// Whether no way from `pc` on reads `reg` before it is written. `uses` are the registers that the
/// call at a slot reads, as bits; `None` if that is not known.
pub(crate) fn is_dead(
    program: &Program,
    pc: u32,
    reg: Reg,
    uses: impl Fn(u32) -> Option<u16>,
) -> bool {
    let mut ways = [0; AHEAD];
    let (mut seen, mut todo) = (1, 0);
    if let Some(first) = ways.first_mut() {
        *first = pc;
    }
    while let Some(pc) = ways.get(todo).copied().filter(|_| todo < seen) {
        todo += 1;
        let Some(insn) = program.get(pc) else { return false };
        match after(insn, reg, || uses(pc)) {
            After::Read => return false,
            After::Written => continue,
            After::Kept => {}
        }
        let next = insn.falls_through().then_some(pc + 1);
        for way in next.into_iter().chain(insn.jump_target()) {
            if ways.iter().take(seen).any(|known| *known == way) {
                continue;
            }
            let Some(place) = ways.get_mut(seen) else { return false };
            *place = way;
            seen += 1;
        }
    }
    true
}

/// What an instruction does with what a register held before.
enum After {
    Read,
    Written,
    Kept,
}

fn after(insn: &Insn, reg: Reg, uses: impl Fn() -> Option<u16>) -> After {
    let read = match *insn {
        Insn::Call { target: CallTarget::Local(_) } => true,
        Insn::Call { .. } => uses().is_none_or(|uses| uses >> reg.index() & 1 == 1),
        Insn::Exit => reg == Reg::R0,
        _ => reads(insn, reg),
    };
    let lost = matches!(insn, Insn::Call { .. }) && reg <= Reg::R5;
    if read {
        After::Read
    } else if lost || matches!(insn, Insn::Exit) || insn.written() == Some(reg) {
        After::Written
    } else {
        After::Kept
    }
}

fn reads(insn: &Insn, reg: Reg) -> bool {
    let source = |src: Operand| src == Operand::Reg(reg);
    match *insn {
        Insn::Alu { op: AluOp::Mov, src, .. } => source(src),
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => dst == reg || source(src),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => dst == reg,
        Insn::MovSx { src, .. } => src == reg,
        Insn::Load { base, .. } => base == reg,
        Insn::Store { base, src, .. } => base == reg || source(src),
        Insn::Atomic { op, base, src, .. } => {
            base == reg || src == reg || (op == AtomicOp::Cmpxchg && reg == Reg::R0)
        }
        Insn::LoadImm64 { .. } | Insn::LoadImm64High | Insn::Jump { .. } => false,
        Insn::Call { .. } | Insn::Exit => true,
    }
}
