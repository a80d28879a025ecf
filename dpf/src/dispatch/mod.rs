//! Code for the merged classifier.
//!
//! The idea: the plan's graph, step by step. A step that fails jumps to the end of its block, so
//! the code only goes forward and ends after at most one pass. Everything that varies with the
//! *number* of filters is in the tables, so that insertion is a data write and the code changes
//! only with the set of lanes.
//!
//! There are three entries of one form ([`Mode`]). The first only keeps the greatest value; if that
//! says "somebody must be asked", the second is called, which notes each that says so. The third
//! looks into no table but fetches what the others will look at.
//!
//! Where no frame gets to two lanes, a hit is the answer and the first entry returns with it.
//! Otherwise the first lane's value is the best so far, and each further one is compared.
//!
//! Registers: `rdi` frame, `rsi` length, `rcx` table references, `r11` next pending word, `r10`
//! best value; key words in `r8` and callee-saved registers; `rax` values, `rdx` buckets, `r9` a
//! header's place or a digest; `r14 r15` slots.
//! Convention and table layouts: `runtime::native::dispatch`.

mod lane;

use alloc::vec::Vec;

use ebpf::{Size, Width};
use runtime::native::dispatch::Layout;

use crate::compile::CompileError;
use crate::limits::KEY_WORDS_MAX;
use crate::plan::{Block, ByteRange, Plan, Step, Window};
use crate::x86::{Alu, Assembled, Assembler, Cc, Gpr, Label, Mem};

const FRAME: Gpr = Gpr::RDI;
const LENGTH: Gpr = Gpr::RSI;
const TABLES: Gpr = Gpr::RCX;
const PENDING: Gpr = Gpr::R11;
const BEST: Gpr = Gpr::R10;
const HEADER: Gpr = Gpr::R9;
const HASH: Gpr = Gpr::R9;
const NEAR: Gpr = Gpr::R14;
const SLOT: Gpr = Gpr::R15;
const KEY: [Gpr; KEY_WORDS_MAX] = [Gpr::R8, Gpr::RBX, Gpr::RBP, Gpr::R12, Gpr::R13];

const W64: Width = Width::W64;
const W32: Width = Width::W32;

/// The code of a plan.
pub(crate) struct Emitted {
    pub(crate) bytes: Vec<u8>,
    /// Offset of the entry that notes what is pending.
    pub(crate) full: usize,
    /// Offset of the entry that fetches.
    pub(crate) prefetch: usize,
    /// Offset at which each lane's part begins, in the order emitted, for reading only.
    pub(crate) parts: Vec<(usize, usize)>,
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The greatest value, whatever it says.
    Greatest,
    /// The greatest value of those that are settled; the others are noted.
    Full,
    /// Nothing but to fetch.
    Fetch,
}

/// Generates the code of a plan.
pub(crate) fn emit(plan: &Plan) -> Result<Emitted, CompileError> {
    let (long, _) = pass(plan, Vec::new())?;
    let (code, emitted) = pass(plan, long.fits_short)?;
    Ok(Emitted { bytes: code.bytes, ..emitted })
}

fn pass(plan: &Plan, short: Vec<bool>) -> Result<(Assembled, Emitted), CompileError> {
    let asm = Assembler::new(short);
    let (mode, cold, parts) = (Mode::Greatest, Vec::new(), Vec::new());
    let single = most_looks(&plan.graph) <= 1;
    let mut emitter = Emitter { asm, plan, mode, single, looked: false, cold, parts };
    emitter.entry(Mode::Greatest);
    let full = emitter.asm.len();
    emitter.entry(Mode::Full);
    let prefetch = emitter.asm.len();
    emitter.entry(Mode::Fetch);
    let parts = emitter.parts;
    let code = emitter.asm.finish().ok_or(CompileError::Internal)?;
    Ok((code, Emitted { bytes: Vec::new(), full, prefetch, parts }))
}

struct Emitter<'a> {
    asm: Assembler,
    plan: &'a Plan,
    /// Which entry is being made.
    mode: Mode,
    /// No frame gets to two lanes.
    single: bool,
    /// A frame that gets here may have got to a lane before.
    looked: bool,
    /// What is seldom needed, to be emitted behind the end.
    cold: Vec<Cold>,
    parts: Vec<(usize, usize)>,
}

/// What is seldom needed of a lane.
enum Cold {
    /// The search that goes on when the first bucket has not got the key.
    Search { lane: usize, start: Label, hit: Label, next: Label },
    /// The window that numbers come from.
    Window { table: i32, start: Label, hit: Label, next: Label },
    /// A value that says that somebody must be asked.
    Pending { start: Label, next: Label },
}

/// To how many lanes a frame gets at most.
fn most_looks(block: &Block) -> usize {
    let step = |step: &Step| match step {
        Step::Look(_) => 1,
        Step::Nested(block) => most_looks(block),
        Step::Switch(_, cases) => cases.iter().map(|(_, case)| most_looks(case)).max().unwrap_or(0),
        Step::Length(_) | Step::Range(_) | Step::Test(_) => 0,
    };
    block.iter().map(step).sum()
}

/// The registers that a plan's code must save.
fn saved(plan: &Plan) -> Vec<Gpr> {
    let keys = KEY.get(1..plan.words_max().max(1)).unwrap_or(&[]);
    let wide: &[Gpr] = if plan.has_wide() { &[NEAR, SLOT] } else { &[] };
    keys.iter().chain(wide).copied().collect()
}

impl Emitter<'_> {
    /// One of the entries, from the first instruction to the last.
    fn entry(&mut self, mode: Mode) {
        self.mode = mode;
        self.looked = false;
        for reg in saved(self.plan) {
            self.asm.push(reg);
        }
        if mode == Mode::Full {
            self.asm.mov_rr(W64, PENDING, Gpr::RDX);
        }
        let keeps = mode == Mode::Full || (mode == Mode::Greatest && !self.single);
        if keeps {
            self.zero(BEST);
        }
        let end = self.asm.label();
        let plan = self.plan;
        self.block(&plan.graph, end);
        self.asm.bind(end);
        match mode {
            _ if keeps => self.asm.mov_rr(W64, Gpr::RAX, BEST),
            Mode::Greatest | Mode::Full => self.zero(Gpr::RAX),
            Mode::Fetch => {}
        }
        if mode == Mode::Full {
            self.asm.mov_rr(W64, Gpr::RDX, PENDING);
        }
        self.leave();
        for cold in core::mem::take(&mut self.cold) {
            match cold {
                Cold::Search { lane, start, hit, next } => self.search_on(lane, start, hit, next),
                Cold::Window { table, start, hit, next } => {
                    self.old_window(table, start, hit, next)
                }
                Cold::Pending { start, next } => self.pending(start, next),
            }
        }
    }

    /// Registers back, and return.
    fn leave(&mut self) {
        for reg in saved(self.plan).iter().rev() {
            self.asm.pop(*reg);
        }
        self.asm.ret();
    }

    /// `reg` = 0
    fn zero(&mut self, reg: Gpr) {
        self.asm.alu_rr(Alu::Xor, W32, reg, reg);
    }

    /// The steps of a block; who fails goes to `leave`.
    fn block(&mut self, block: &Block, leave: Label) {
        for step in block {
            match step {
                Step::Length(least) => self.length(*least, leave),
                Step::Range(range) => self.range(*range, leave),
                Step::Test(window) => self.test(window, FRAME, 0, leave),
                Step::Switch(window, cases) => self.switch(window, cases),
                Step::Nested(block) => {
                    let end = self.asm.label();
                    self.block(block, end);
                    self.asm.bind(end);
                }
                Step::Look(lane) => self.look(*lane),
            }
        }
    }

    fn length(&mut self, least: u16, leave: Label) {
        self.asm.alu_ri(Alu::Cmp, W64, LENGTH, i32::from(least));
        self.asm.jcc(Cc::B, leave);
    }

    /// A byte from `low` to `high`: subtract `low`, and what is below wraps above.
    fn range(&mut self, range: ByteRange, leave: Label) {
        let (offset, low, high) = (range.offset, i32::from(range.low), i32::from(range.high));
        self.asm.load(Size::B1, Gpr::RAX, Mem::new(FRAME, i32::from(offset)));
        self.asm.alu_ri(Alu::Sub, W32, Gpr::RAX, low);
        self.asm.alu_ri(Alu::Cmp, W32, Gpr::RAX, high - low);
        self.asm.jcc(Cc::A, leave);
    }

    /// Bytes behind a base register must have a value.
    fn test(&mut self, window: &Window, base: Gpr, add: i32, leave: Label) {
        match u32::try_from(window.value) {
            Ok(value) if window.size == Size::B4 && window.is_full() => {
                let at = Mem::new(base, add + i32::from(window.offset));
                self.asm.cmp_mi(at, value.cast_signed());
            }
            _ => {
                self.masked(window, base, add);
                self.compare(window.value, window.size);
            }
        }
        self.asm.jcc(Cc::Ne, leave);
    }

    /// `rax` = the window's bits.
    fn masked(&mut self, window: &Window, base: Gpr, add: i32) {
        self.asm.load(window.size, Gpr::RAX, Mem::new(base, add + i32::from(window.offset)));
        if window.is_full() {
            return;
        }
        match (window.size, u32::try_from(window.mask)) {
            (Size::B1 | Size::B2 | Size::B4, Ok(mask)) => {
                self.asm.alu_ri(Alu::And, W32, Gpr::RAX, mask.cast_signed());
            }
            _ => {
                self.asm.mov_ri(Gpr::RDX, window.mask);
                self.asm.alu_rr(Alu::And, W64, Gpr::RAX, Gpr::RDX);
            }
        }
    }

    /// Compares `rax` with a value.
    fn compare(&mut self, value: u64, size: Size) {
        match (size, u32::try_from(value)) {
            (Size::B1 | Size::B2 | Size::B4, Ok(value)) => {
                self.asm.alu_ri(Alu::Cmp, W32, Gpr::RAX, value.cast_signed());
            }
            _ => {
                self.asm.mov_ri(Gpr::RDX, value);
                self.asm.alu_rr(Alu::Cmp, W64, Gpr::RAX, Gpr::RDX);
            }
        }
    }

    /// One load, a comparison per value, a block behind each. Whoever is done with a block goes on
    /// behind the switch.
    fn switch(&mut self, window: &Window, cases: &[(u64, Block)]) {
        let end = self.asm.label();
        self.masked(window, FRAME, 0);
        let before = self.looked;
        let mut after = before;
        for (nth, (value, block)) in cases.iter().enumerate() {
            self.looked = before;
            self.compare(*value, window.size);
            let last = nth + 1 == cases.len();
            let next = if last { end } else { self.asm.label() };
            self.asm.jcc(Cc::Ne, next);
            self.block(block, end);
            after |= self.looked;
            if !last {
                self.asm.jmp(end);
                self.asm.bind(next);
            }
        }
        self.looked = after;
        self.asm.bind(end);
    }

    /// One lane, from its headers to the value.
    fn look(&mut self, at: usize) {
        let plan = self.plan;
        let Some(lane) = plan.lanes.get(at) else { return };
        self.parts.push((self.asm.len(), at));
        let (next, hit) = (self.asm.label(), self.asm.label());
        self.key(lane, next);
        let table = at as i32;
        match lane.layout {
            Layout::Single => self.single(table),
            Layout::Direct => self.direct(table, hit, next),
            Layout::Plain | Layout::Wide { .. } => self.hashed(lane, at, hit, next),
        }
        self.asm.bind(hit);
        match self.mode {
            Mode::Greatest if self.single => self.leave(),
            Mode::Greatest => self.raise(),
            Mode::Full => self.note(next),
            Mode::Fetch => {}
        }
        self.looked = true;
        self.asm.bind(next);
    }
}
