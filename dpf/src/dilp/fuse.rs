//! The fused loop: each word is loaded once, passes through every pass, and is stored once.
//!
//! ```text
//! 16 bytes at a time, while there are 16:  load, passes, store, four times
//!  4 bytes at a time, while there are 4:   load, passes, store
//!  2 bytes, if there are 2:                load, passes, store
//!  1 byte, if there is one:                load, passes, store
//! ```
//!
//! Registers: `rdi` source, `rsi` destination, `rdx` bytes left, `rcx` where the sums go, `rax` the
//! word, `r8` scratch, `r9` and `r10` the sums. All of them may be lost in a call (System V), so
//! there is no frame. A sum of 32-bit words in 64 bits cannot overflow below 16 GiB of data.

use ebpf::{Size, Width};

use super::{Pass, Pipeline};
use crate::compile::{CompileError, Emitted};
use crate::x86::{Alu, Assembler, Cc, Gpr, Label, Mem, Shift};

const SOURCE: Gpr = Gpr::RDI;
const DESTINATION: Gpr = Gpr::RSI;
const LEFT: Gpr = Gpr::RDX;
const SUMS: Gpr = Gpr::RCX;
const WORD: Gpr = Gpr::RAX;
const SCRATCH: Gpr = Gpr::R8;
const ACCUMULATORS: [Gpr; super::SUMS_MAX] = [Gpr::R9, Gpr::R10];

/// Emits a pipeline's loop: once with long jumps, then with the short ones that were found.
pub(super) fn fuse(pipeline: &Pipeline) -> Result<Emitted, CompileError> {
    let long = emit(pipeline, Assembler::default()).finish().ok_or(CompileError::Internal)?;
    let short = emit(pipeline, Assembler::new(long.fits_short));
    let code = short.finish().ok_or(CompileError::Internal)?;
    Ok(Emitted { bytes: code.bytes })
}

fn emit(pipeline: &Pipeline, asm: Assembler) -> Assembler {
    let mut fuse = Fuse { asm, pipeline };
    for sum in ACCUMULATORS {
        fuse.asm.mov_ri(sum, 0);
    }
    fuse.whole_words(4);
    fuse.whole_words(1);
    fuse.tail();
    for (sum, at) in ACCUMULATORS.into_iter().zip([0, 8]) {
        fuse.asm.store_r(Size::B8, Mem::new(SUMS, at), sum);
    }
    fuse.asm.ret();
    fuse.asm
}

struct Fuse<'a> {
    asm: Assembler,
    pipeline: &'a Pipeline,
}

impl Fuse<'_> {
    /// As many rounds of so many words as there are.
    fn whole_words(&mut self, words: i32) {
        let (again, over) = (self.asm.label(), self.asm.label());
        self.asm.alu_ri(Alu::Cmp, Width::W64, LEFT, 4 * words);
        self.asm.jcc(Cc::B, over);
        self.asm.bind(again);
        for word in 0..words {
            self.unit(Size::B4, 4 * word, 0);
        }
        self.advance(4 * words);
        self.asm.alu_ri(Alu::Sub, Width::W64, LEFT, 4 * words);
        self.asm.alu_ri(Alu::Cmp, Width::W64, LEFT, 4 * words);
        self.asm.jcc(Cc::Ae, again);
        self.asm.bind(over);
    }

    /// The last one to three bytes: where the last byte stands decides its byte of a key.
    fn tail(&mut self) {
        let (no_half, over) = (self.asm.label(), self.asm.label());
        self.unless(2, no_half);
        self.unit(Size::B2, 0, 0);
        self.advance(2);
        self.unless(1, over);
        self.unit(Size::B1, 0, 2);
        self.asm.jmp(over);
        self.asm.bind(no_half);
        self.unless(1, over);
        self.unit(Size::B1, 0, 0);
        self.asm.bind(over);
    }

    fn unless(&mut self, bytes: i32, otherwise: Label) {
        self.asm.test_ri(Width::W64, LEFT, bytes);
        self.asm.jcc(Cc::E, otherwise);
    }

    fn advance(&mut self, bytes: i32) {
        self.asm.alu_ri(Alu::Add, Width::W64, SOURCE, bytes);
        self.asm.alu_ri(Alu::Add, Width::W64, DESTINATION, bytes);
    }

    /// One load, every pass, one store. `phase`: which byte of a key is the unit's first.
    fn unit(&mut self, size: Size, at: i32, phase: usize) {
        self.asm.load(size, WORD, Mem::new(SOURCE, at));
        let mut sums = ACCUMULATORS.into_iter();
        for pass in self.pipeline.passes() {
            match *pass {
                Pass::Copy => {}
                Pass::Checksum => {
                    if let Some(sum) = sums.next() {
                        self.asm.alu_rr(Alu::Add, Width::W64, sum, WORD);
                    }
                }
                Pass::Swap16 => self.swap_16(size),
                Pass::Swap32 if size == Size::B4 => self.asm.bswap(Width::W32, WORD),
                Pass::Swap32 => {}
                Pass::Xor(key) => {
                    self.asm.alu_ri(Alu::Xor, Width::W32, WORD, part(key, size, phase))
                }
            }
        }
        self.asm.store_r(size, Mem::new(DESTINATION, at), WORD);
    }

    /// Reversing four bytes and exchanging the halves swaps both words.
    fn swap_16(&mut self, size: Size) {
        match size {
            Size::B4 => {
                self.asm.bswap(Width::W32, WORD);
                self.asm.mov_rr(Width::W32, SCRATCH, WORD);
                self.asm.shift_ri(Shift::Shr, Width::W32, SCRATCH, 16);
                self.asm.shift_ri(Shift::Shl, Width::W32, WORD, 16);
                self.asm.alu_rr(Alu::Or, Width::W32, WORD, SCRATCH);
            }
            Size::B2 => self.asm.swap_low_bytes(WORD),
            _ => {}
        }
    }
}

/// The bytes of a key that meet a unit. The word keeps its upper bytes zero, as a sum wants it.
fn part(key: u32, size: Size, phase: usize) -> i32 {
    let key = key >> (8 * phase);
    let kept = match size {
        Size::B1 => key & 0xff,
        Size::B2 => key & 0xffff,
        _ => key,
    };
    kept.cast_signed()
}
