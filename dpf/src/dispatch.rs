//! Code for the merged classifier.
//!
//! The idea: one block per shape, all alike. Is the frame long enough? Load the tested bytes, mask
//! them, pack them into key words; hash; look at the two buckets that the hash names; on a hit
//! either raise the best value or note the value as pending. Blocks only jump forward, so the code
//! ends after at most one pass. Everything that varies with the *number* of filters is in the
//! tables, so that insertion is a data write and the code changes only with the set of shapes.
//!
//! Registers: `rdi` frame, `rsi` length, `r11` table references, `rcx` next pending word, `r10`
//! best value; key words in callee-saved registers; `rax rdx r8 r9` scratch. Convention and table
//! layout: `runtime::native::dispatch`.

use alloc::vec::Vec;

use ebpf::{Size, Width};
use flow::Base;
use runtime::native::dispatch::BUCKET_SLOTS;

use crate::compile::{CompileError, Emitted};
use crate::limits::KEY_WORDS_MAX;
use crate::plan::{ByteRange, Group, Load, Plan, Shape};
use crate::x86::{Alu, Assembled, Assembler, Cc, Gpr, Label, Mem, Shift, Unary};

const FRAME: Gpr = Gpr::RDI;
const LENGTH: Gpr = Gpr::RSI;
const TABLES: Gpr = Gpr::R11;
const PENDING: Gpr = Gpr::RCX;
const BEST: Gpr = Gpr::R10;
const HEADER: Gpr = Gpr::R8;
const SECOND: Gpr = Gpr::R9;
const KEY: [Gpr; KEY_WORDS_MAX] = [Gpr::RBX, Gpr::RBP, Gpr::R12, Gpr::R13, Gpr::R14, Gpr::R15];

const W64: Width = Width::W64;
const W32: Width = Width::W32;

/// Generates the code of a plan.
pub(crate) fn emit(plan: &Plan) -> Result<Emitted, CompileError> {
    let long = pass(plan, Vec::new())?;
    let code = pass(plan, long.fits_short)?;
    Ok(Emitted { bytes: code.bytes })
}

fn pass(plan: &Plan, short: Vec<bool>) -> Result<Assembled, CompileError> {
    let mut emitter = Emitter { asm: Assembler::new(short), plan };
    let saved = KEY.get(..plan.words_max()).unwrap_or(&KEY);
    emitter.enter(saved);
    for (table, shape) in (0_i32..).zip(&plan.shapes) {
        emitter.shape(table, shape);
    }
    emitter.leave(saved);
    emitter.asm.finish().ok_or(CompileError::Internal)
}

struct Emitter<'a> {
    asm: Assembler,
    plan: &'a Plan,
}

impl Emitter<'_> {
    fn enter(&mut self, saved: &[Gpr]) {
        for reg in saved {
            self.asm.push(*reg);
        }
        self.asm.mov_rr(W64, TABLES, Gpr::RDX);
        self.asm.mov_ri(BEST, 0);
    }

    fn leave(&mut self, saved: &[Gpr]) {
        self.asm.store_i(Size::B8, Mem::new(PENDING, 0), 0);
        self.asm.mov_rr(W64, Gpr::RAX, BEST);
        for reg in saved.iter().rev() {
            self.asm.pop(*reg);
        }
        self.asm.ret();
    }

    /// One shape's block.
    fn shape(&mut self, table: i32, shape: &Shape) {
        let (next, hit) = (self.asm.label(), self.asm.label());
        self.asm.alu_ri(Alu::Cmp, W64, LENGTH, i32::from(shape.min_length));
        self.asm.jcc(Cc::B, next);
        for range in &shape.ranges {
            self.range(range, next);
        }
        let mut filled = [false; KEY_WORDS_MAX];
        for group in &shape.groups {
            self.group(group, &mut filled, next);
        }
        let key = KEY.get(..shape.words()).unwrap_or(&KEY);
        self.hash(key);
        self.asm.mov_rr(W64, SECOND, Gpr::RAX);
        self.probe(table, Gpr::RAX, key, hit);
        self.asm.shift_ri(Shift::Shr, W64, SECOND, 32);
        self.probe(table, SECOND, key, hit);
        self.asm.jmp(next);
        self.asm.bind(hit);
        self.note(next);
        self.asm.bind(next);
    }

    /// A byte from `low` to `high`: subtract `low`, and what is below wraps above.
    fn range(&mut self, range: &ByteRange, next: Label) {
        let (offset, low, high) = (range.offset, i32::from(range.low), i32::from(range.high));
        self.asm.load(Size::B1, Gpr::RAX, Mem::new(FRAME, i32::from(offset)));
        self.asm.alu_ri(Alu::Sub, W32, Gpr::RAX, low);
        self.asm.alu_ri(Alu::Cmp, W32, Gpr::RAX, high - low);
        self.asm.jcc(Cc::A, next);
    }

    /// Loads the bytes behind one base.
    fn group(&mut self, group: &Group, filled: &mut [bool; KEY_WORDS_MAX], next: Label) {
        let (base, add) = match group.base {
            Base::Frame => (FRAME, 0),
            Base::Header(header) => {
                self.asm.load(Size::B1, HEADER, Mem::new(FRAME, i32::from(header.at)));
                self.asm.alu_ri(Alu::And, W32, HEADER, i32::from(header.mask));
                self.asm.shift_ri(Shift::Shl, W32, HEADER, header.shift);
                let end = i32::from(header.add) + i32::from(group.end);
                self.asm.lea(W64, SECOND, Mem::new(HEADER, end));
                self.asm.alu_rr(Alu::Cmp, W64, LENGTH, SECOND);
                self.asm.jcc(Cc::B, next);
                self.asm.alu_rr(Alu::Add, W64, HEADER, FRAME);
                (HEADER, i32::from(header.add))
            }
        };
        for load in &group.loads {
            self.load(load, Mem::new(base, add + i32::from(load.offset)), filled);
        }
    }

    fn load(&mut self, load: &Load, from: Mem, filled: &mut [bool; KEY_WORDS_MAX]) {
        let (Some(word), Some(filled)) = (KEY.get(load.word), filled.get_mut(load.word)) else {
            return;
        };
        let target = if *filled { Gpr::RAX } else { *word };
        self.asm.load(load.size, target, from);
        self.mask(load, target);
        if load.shift != 0 {
            self.asm.shift_ri(Shift::Shl, W64, target, load.shift);
        }
        if *filled {
            self.asm.alu_rr(Alu::Or, W64, *word, Gpr::RAX);
        }
        *filled = true;
    }

    fn mask(&mut self, load: &Load, target: Gpr) {
        if load.mask == u64::MAX >> (64 - load.size.bits()) {
            return;
        }
        match u32::try_from(load.mask) {
            Ok(mask) if load.size != Size::B8 => {
                self.asm.alu_ri(Alu::And, W32, target, mask.cast_signed());
            }
            _ => {
                self.asm.mov_ri(Gpr::RDX, load.mask);
                self.asm.alu_rr(Alu::And, W64, target, Gpr::RDX);
            }
        }
    }

    /// `rax` = hash of the key (`plan::HashKey::hash`).
    fn hash(&mut self, key: &[Gpr]) {
        self.asm.mov_ri(Gpr::RAX, self.plan.key.start());
        for (word, factor) in key.iter().zip(self.plan.key.factors()) {
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RAX, *word);
            self.asm.mov_ri(Gpr::RDX, *factor);
            self.asm.unary(Unary::Mul, W64, Gpr::RDX);
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RAX, Gpr::RDX);
        }
    }

    /// Looks at the bucket that `at` (a hash) names; on a hit goes on at `hit` with the value in
    /// `rdx`.
    fn probe(&mut self, table: i32, at: Gpr, key: &[Gpr], hit: Label) {
        let words = key.len() as i32;
        let slot_bytes = (words + 1) * 8;
        self.asm.alu_rm(Alu::And, W64, at, Mem::new(TABLES, table * 16 + 8));
        self.asm.imul_rri(W64, at, at, slot_bytes * BUCKET_SLOTS as i32);
        self.asm.alu_rm(Alu::Add, W64, at, Mem::new(TABLES, table * 16));
        for slot in 0..BUCKET_SLOTS as i32 {
            let miss = self.asm.label();
            let start = slot * slot_bytes;
            self.asm.load(Size::B8, Gpr::RDX, Mem::new(at, start + words * 8));
            self.asm.test_rr(W64, Gpr::RDX, Gpr::RDX);
            self.asm.jcc(Cc::E, miss);
            for (nth, word) in (0_i32..).zip(key) {
                self.asm.alu_rm(Alu::Cmp, W64, *word, Mem::new(at, start + nth * 8));
                self.asm.jcc(Cc::Ne, miss);
            }
            self.asm.jmp(hit);
            self.asm.bind(miss);
        }
    }

    /// The value in `rdx` is pending if odd, else a candidate for the best.
    fn note(&mut self, next: Label) {
        let exact = self.asm.label();
        self.asm.test_ri(W32, Gpr::RDX, 1);
        self.asm.jcc(Cc::E, exact);
        self.asm.store_r(Size::B8, Mem::new(PENDING, 0), Gpr::RDX);
        self.asm.alu_ri(Alu::Add, W64, PENDING, 8);
        self.asm.jmp(next);
        self.asm.bind(exact);
        self.asm.alu_rr(Alu::Cmp, W64, BEST, Gpr::RDX);
        self.asm.cmov(Cc::B, W64, BEST, Gpr::RDX);
    }
}
