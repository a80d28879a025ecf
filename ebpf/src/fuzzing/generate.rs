//! Programs that a verifier has a good chance to accept, out of arbitrary bytes.
//!
//! Plain programs have forward jumps only; *rich* ones also loops, maps, all helpers, functions
//! and what else `rich` writes. The generator follows what it has written: which registers hold
//! numbers, how many bytes of the packet were checked to exist, which stack words were written. It
//! stays inside that, except for one access in thirty-two, so that most programs are safe and some
//! are not. Registers: for packets `r2` is `data`, `r3` is `data_end`, `r4` a scratch pointer, and
//! an ASH keeps its context in `r9`; for memory `r1` is the buffer and `r2` its length. The rest
//! hold numbers.

use alloc::vec::Vec;

use super::source::Source;
use crate::context;
use crate::insn::{AluOp, CallTarget, Cond, Insn, Operand, Reg, Size, Width};
use crate::program::Kind;

/// Longest program before its two ends, in slots.
const SLOTS: usize = 240;

/// Functions that calls may name.
pub(super) const FUNCTIONS: u8 = 4;

/// What is known where the generator stands.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// Bit n: register n holds a number.
    pub(super) numbers: u16,
    /// Bytes known to exist from the packet's or buffer's start.
    pub(super) checked: u16,
    /// Bit n: the stack word at `r10 - 8 * (n + 1)` is written.
    pub(super) stack: u8,
    /// The map of which `r8` points to a value; rich programs only.
    pub(super) value: Option<u8>,
}

impl State {
    /// What holds on both ways into a join.
    pub(super) fn meet(self, other: Self) -> Self {
        Self {
            numbers: self.numbers & other.numbers,
            checked: self.checked.min(other.checked),
            stack: self.stack & other.stack,
            value: self.value.filter(|_| self.value == other.value),
        }
    }
}

/// The two ends of every program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Yes,
    No,
}

pub(super) struct Generator<'a> {
    pub(super) kind: Kind,
    pub(super) source: Source<'a>,
    pub(super) insns: Vec<Insn>,
    /// Instructions whose target is one of the ends.
    pub(super) ends: Vec<(usize, End)>,
    /// Local calls of the functions after the ends: where, and of which.
    pub(super) calls: Vec<(usize, u8)>,
    pub(super) state: State,
    pub(super) depth: u8,
    /// With loops, maps and all helpers.
    pub(super) rich: bool,
    /// Bit n: register n is no statement's to change.
    pub(super) busy: u16,
}

/// The instructions of a program, which is loop-free unless it is rich.
pub(super) fn generate(kind: Kind, bytes: &[u8], rich: bool) -> Vec<Insn> {
    let state = State { numbers: 0, checked: 0, stack: 0, value: None };
    let source = Source::new(bytes);
    let (insns, ends, calls) = (Vec::new(), Vec::new(), Vec::new());
    let rich = rich && kind != Kind::Filter;
    let mut generator =
        Generator { kind, source, insns, ends, calls, state, depth: 0, rich, busy: 0 };
    generator.prologue();
    while !generator.source.is_empty() && generator.insns.len() < SLOTS {
        generator.any_statement();
    }
    generator.finish();
    generator.insns
}

impl Generator<'_> {
    /// One statement; in a rich program half of them are of the rich sorts.
    pub(super) fn any_statement(&mut self) {
        if self.rich && self.source.byte() & 1 == 0 {
            self.rich_statement();
        } else {
            self.statement();
        }
    }

    fn prologue(&mut self) {
        if self.kind == Kind::Ash || self.rich {
            self.mov(Reg::R9, Reg::R1.into());
        }
        if self.rich {
            self.keep_length();
        }
        self.load_bounds();
        let scratch = self.scratch();
        self.set_number(scratch);
        if self.source.byte() & 7 != 0 {
            self.check_length();
        }
    }

    /// `data` and `data_end` into `r2` and `r3`, from wherever the context is.
    pub(super) fn load_bounds(&mut self) {
        let base = match self.kind {
            // A buffer does not move.
            Kind::Memory => return,
            Kind::Filter => Reg::R1,
            Kind::Ash => Reg::R9,
        };
        for (dst, offset) in [(Reg::R2, context::DATA), (Reg::R3, context::DATA_END)] {
            self.insns.push(Insn::Load { size: Size::B4, signed: false, dst, base, offset });
        }
        self.state.checked = 0;
    }

    /// Registers that may hold numbers.
    fn pool(&self) -> Vec<Reg> {
        let pool = [Reg::R0, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9];
        let keeps = self.kind == Kind::Ash || self.rich;
        let count = if keeps { pool.len() - 1 } else { pool.len() };
        let value = if self.state.value.is_some() { 1 << Reg::R8.index() } else { 0 };
        let free = |reg: &Reg| (self.busy | value) & 1 << reg.index() == 0;
        pool.into_iter().take(count).filter(free).collect()
    }

    /// The register to load from, and the packet's or buffer's start.
    pub(super) fn base(&self) -> Reg {
        match self.kind {
            Kind::Memory if self.rich => Reg::R9,
            Kind::Memory => Reg::R1,
            _ => Reg::R2,
        }
    }

    /// Some register to put a number in.
    pub(super) fn scratch(&mut self) -> Reg {
        let pool = self.pool();
        self.source.pick(&pool, Reg::R0)
    }

    /// Some register that holds a number.
    pub(super) fn number(&mut self) -> Reg {
        let known: Vec<Reg> =
            self.pool().into_iter().filter(|reg| self.holds_number(*reg)).collect();
        if known.is_empty() {
            self.set_number(Reg::R0);
            return Reg::R0;
        }
        self.source.pick(&known, Reg::R0)
    }

    pub(super) fn holds_number(&self, reg: Reg) -> bool {
        self.state.numbers & 1 << reg.index() != 0
    }

    pub(super) fn mov(&mut self, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width: Width::W64, op: AluOp::Mov, dst, src });
    }

    pub(super) fn add(&mut self, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width: Width::W64, op: AluOp::Add, dst, src });
    }

    pub(super) fn set_number(&mut self, dst: Reg) {
        let imm = self.source.immediate();
        self.mov(dst, imm.into());
        self.state.numbers |= 1 << dst.index();
    }

    /// A number, or a register that holds one.
    pub(super) fn operand(&mut self) -> Operand {
        if self.source.byte() & 3 == 0 {
            self.number().into()
        } else {
            self.source.immediate().into()
        }
    }

    pub(super) fn width(&mut self) -> Width {
        if self.source.byte() & 3 == 0 { Width::W32 } else { Width::W64 }
    }

    pub(super) fn branch(&mut self, cond: Cond, dst: Reg, src: Operand, end: End) {
        self.ends.push((self.insns.len(), end));
        self.insns.push(Insn::Branch { width: Width::W64, cond, dst, src, target: 0 });
    }

    /// The two ends, the local function, and everything that goes to them.
    fn finish(&mut self) {
        let (accept, refuse) = match self.kind {
            Kind::Filter => (1, 0),
            Kind::Ash => (
                self.source.pick(&[context::TX, context::PASS], context::TX).cast_signed(),
                context::DROP.cast_signed(),
            ),
            Kind::Memory => (1, 0),
        };
        let computed = self.kind == Kind::Memory && self.holds_number(Reg::R0);
        if computed {
            // The result is worth comparing.
            self.insns.push(Insn::Exit);
        }
        let yes = slot(self.insns.len());
        if !computed || self.goes_to(End::Yes) {
            self.mov(Reg::R0, accept.into());
            self.insns.push(Insn::Exit);
        }
        let no = slot(self.insns.len());
        if self.goes_to(End::No) {
            self.mov(Reg::R0, refuse.into());
            self.insns.push(Insn::Exit);
        }
        self.patch(yes, no);
        self.functions();
    }

    /// Whether any branch goes to an end: what none reaches is not written.
    fn goes_to(&self, end: End) -> bool {
        self.ends.iter().any(|entry| entry.1 == end)
    }

    fn patch(&mut self, yes: u32, no: u32) {
        for &(at, end) in &self.ends {
            let goal = match end {
                End::Yes => yes,
                End::No => no,
            };
            if let Some(Insn::Branch { target, .. }) = self.insns.get_mut(at) {
                *target = goal;
            }
        }
    }

    /// The functions that are called, each once.
    fn functions(&mut self) {
        for number in 0..FUNCTIONS {
            let calls = core::mem::take(&mut self.calls);
            let (mine, rest): (Vec<_>, Vec<_>) =
                calls.into_iter().partition(|call| call.1 == number);
            self.calls = rest;
            let start = slot(self.insns.len());
            if !mine.is_empty() {
                self.function(number);
            }
            for (at, _) in mine {
                if let Some(insn) = self.insns.get_mut(at) {
                    *insn = Insn::Call { target: CallTarget::Local(start) };
                }
            }
        }
    }

    /// Function 0: the complement of its argument; the others are rich.
    fn function(&mut self, number: u8) {
        if number != 0 {
            return self.rich_function(number);
        }
        self.mov(Reg::R0, Reg::R1.into());
        let (width, op, src) = (Width::W32, AluOp::Xor, (-1).into());
        self.insns.push(Insn::Alu { width, op, dst: Reg::R0, src });
        self.insns.push(Insn::Exit);
    }
}

/// A slot number; programs here are far below 2^32 slots.
pub(super) fn slot(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
