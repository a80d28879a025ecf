//! One lane's code: key, table, value.
//!
//! A hash bucket is searched without branching: its four digests are compared one by one, and each
//! comparison may move its slot's value into `rax`. No two slots of a bucket have one digest, and
//! an empty slot's digest is that of no key. What is seldom needed computes a short key's hash once
//! more, so that the first bucket's search need not keep it.

use ebpf::Size;
use flow::Base;
use runtime::native::dispatch::{self, BUCKET_SLOTS, Layout, MARK};

use super::{
    BEST, Cold, Emitter, FRAME, HASH, HEADER, KEY, LENGTH, Mode, NEAR, PENDING, SLOT, TABLES, W32,
    W64,
};
use crate::plan::{Group, Lane, Load};
use crate::x86::{Alu, Cc, Gpr, Label, Mem, Shift, Unary};

/// Bytes of a table reference, and where the old bank's part begins.
const REF_BYTES: i32 = 48;
const OLD: i32 = 24;
/// Bytes from one slot of a bucket to the next.
const SLOT_BYTES: i32 = 16;
/// Bytes of a bucket's line.
const LINE: i32 = 64;

fn reference(table: i32, at: i32) -> Mem {
    Mem::new(TABLES, table * REF_BYTES + at)
}

impl Emitter<'_> {
    /// Tests behind headers, and the key words in their registers.
    pub(super) fn key(&mut self, lane: &Lane, next: Label) {
        let mut filled = [0; KEY.len()];
        for group in &lane.groups {
            let (base, add) = self.base(group, next);
            for test in &group.tests {
                self.test(test, base, add, next);
            }
            for load in &group.loads {
                self.load(load, Mem::new(base, add + i32::from(load.offset)), &mut filled);
            }
        }
        for ((word, mask), loaded) in KEY.iter().zip(&lane.masks).zip(filled) {
            if loaded & !mask != 0 {
                self.mask(*word, *mask);
            }
        }
    }

    /// A base register and what to add; a header's end is compared with the frame's.
    fn base(&mut self, group: &Group, next: Label) -> (Gpr, i32) {
        let Base::Header(header) = group.base else { return (FRAME, 0) };
        self.asm.load(Size::B1, HEADER, Mem::new(FRAME, i32::from(header.at)));
        self.asm.alu_ri(Alu::And, W32, HEADER, i32::from(header.mask));
        let how = if header.shift < 0 { Shift::Shr } else { Shift::Shl };
        self.asm.shift_ri(how, W32, HEADER, header.shift.unsigned_abs());
        let end = i32::from(header.add) + i32::from(group.end);
        self.asm.lea(W64, Gpr::RAX, Mem::new(HEADER, end));
        self.asm.alu_rr(Alu::Cmp, W64, LENGTH, Gpr::RAX);
        self.asm.jcc(Cc::B, next);
        self.asm.alu_rr(Alu::Add, W64, HEADER, FRAME);
        (HEADER, i32::from(header.add))
    }

    fn load(&mut self, load: &Load, from: Mem, filled: &mut [u64; KEY.len()]) {
        let (Some(word), Some(filled)) = (KEY.get(load.word), filled.get_mut(load.word)) else {
            return;
        };
        let target = if *filled == 0 { *word } else { Gpr::RAX };
        self.asm.load(load.size, target, from);
        if load.shift != 0 {
            self.asm.shift_ri(Shift::Shl, W64, target, load.shift);
        }
        if *filled != 0 {
            self.asm.alu_rr(Alu::Or, W64, *word, Gpr::RAX);
        }
        *filled |= u64::MAX >> (64 - load.size.bits()) << load.shift;
    }

    /// Clears the bits of a key word that were loaded with others but do not count.
    fn mask(&mut self, word: Gpr, mask: u64) {
        if let Ok(mask) = u32::try_from(mask) {
            self.asm.alu_ri(Alu::And, W32, word, mask.cast_signed());
        } else {
            self.asm.mov_ri(Gpr::RAX, mask);
            self.asm.alu_rr(Alu::And, W64, word, Gpr::RAX);
        }
    }

    /// `rax` = the lane's only value.
    pub(super) fn single(&mut self, table: i32) {
        if self.mode != Mode::Fetch {
            self.asm.load(Size::B8, Gpr::RAX, reference(table, 0));
            self.asm.load(Size::B8, Gpr::RAX, Mem::new(Gpr::RAX, 0));
        }
    }

    /// `rax` = the value of a number in the current window; or on to the old one.
    pub(super) fn direct(&mut self, table: i32, hit: Label, next: Label) {
        let [number, ..] = KEY;
        self.asm.swap_low_bytes(number);
        if self.mode == Mode::Fetch {
            self.window(table, 0, next);
            self.asm.shift_ri(Shift::Shl, W64, number, 3);
            self.asm.alu_rm(Alu::Add, W64, number, reference(table, 0));
            self.asm.prefetch(Mem::new(number, 0));
            return;
        }
        let start = self.asm.label();
        self.window(table, 0, start);
        self.numbered(table, 0);
        self.asm.test_rr(W64, Gpr::RAX, Gpr::RAX);
        self.asm.jcc(Cc::E, start);
        self.cold.push(Cold::Window { table, start, hit, next });
    }

    /// The same in the old window: the number is less the current one's first.
    pub(super) fn old_window(&mut self, table: i32, start: Label, hit: Label, next: Label) {
        let [number, ..] = KEY;
        self.asm.bind(start);
        self.asm.alu_rm(Alu::Add, W64, number, reference(table, 8));
        self.window(table, OLD, next);
        self.numbered(table, OLD);
        self.asm.jmp(hit);
    }

    /// A number's place in a window, or away.
    fn window(&mut self, table: i32, bank: i32, outside: Label) {
        let [number, ..] = KEY;
        self.asm.alu_rm(Alu::Sub, W64, number, reference(table, bank + 8));
        self.asm.alu_rm(Alu::Cmp, W64, number, reference(table, bank + 16));
        self.asm.jcc(Cc::Ae, outside);
    }

    /// `rax` = the value at a place in a window.
    fn numbered(&mut self, table: i32, bank: i32) {
        let [number, ..] = KEY;
        self.asm.load(Size::B8, Gpr::RAX, reference(table, bank));
        self.asm.load_indexed(Gpr::RAX, Gpr::RAX, number);
    }

    /// `rax` = the value of the key in its first bucket, or on to the rest of the search.
    pub(super) fn hashed(&mut self, lane: &Lane, at: usize, hit: Label, next: Label) {
        self.hash(lane);
        if lane.layout != Layout::Plain {
            self.asm.mov_rr(W64, HASH, Gpr::RDX);
        }
        self.bucket(at as i32, 0);
        if self.mode == Mode::Fetch {
            self.asm.prefetch(Mem::new(Gpr::RDX, 0));
            if lane.layout != Layout::Plain {
                self.asm.prefetch(Mem::new(Gpr::RDX, LINE));
            }
            return;
        }
        let start = self.asm.label();
        self.search(lane);
        self.asm.jcc(Cc::E, start);
        self.verify(lane, start);
        self.cold.push(Cold::Search { lane: at, start, hit, next });
    }

    /// `rdx` = hash of the key (`plan::HashKey::hash`, `plan::Lane::hash`).
    fn hash(&mut self, lane: &Lane) {
        let secrets = *self.plan.key.secrets();
        let [first, second, ..] = secrets;
        let words = lane.words();
        let [one, two, ..] = KEY;
        self.asm.mov_ri(Gpr::RAX, first);
        if words == 1 {
            self.asm.unary(Unary::Mul, W64, one);
        } else {
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RAX, one);
            self.asm.mov_ri(Gpr::RDX, second);
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RDX, two);
            self.asm.unary(Unary::Mul, W64, Gpr::RDX);
        }
        for (word, secret) in KEY.iter().zip(secrets).take(words).skip(2) {
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RAX, Gpr::RDX);
            self.asm.alu_rr(Alu::Xor, W64, Gpr::RAX, *word);
            self.asm.mov_ri(Gpr::RDX, secret);
            self.asm.unary(Unary::Mul, W64, Gpr::RDX);
        }
        self.asm.alu_rr(Alu::Xor, W64, Gpr::RDX, Gpr::RAX);
        if lane.layout != Layout::Plain {
            self.asm.alu_ri(Alu::Or, W64, Gpr::RDX, 1);
        }
    }

    /// `rdx` = hash of the key, once more.
    fn again(&mut self, lane: &Lane) {
        if lane.layout == Layout::Plain {
            self.hash(lane);
        } else {
            self.asm.mov_rr(W64, Gpr::RDX, HASH);
        }
    }

    /// `rdx`, a hash, becomes the address of its bucket.
    fn bucket(&mut self, table: i32, bank: i32) {
        self.asm.alu_rm(Alu::And, W64, Gpr::RDX, reference(table, bank + 8));
        self.asm.alu_rm(Alu::Add, W64, Gpr::RDX, reference(table, bank));
    }

    /// `rax` = the value of the digest in the bucket at `rdx`, or 0, and flags say which. Of keys
    /// of several words `r15` is the slot.
    fn search(&mut self, lane: &Lane) {
        let wide = lane.layout != Layout::Plain;
        let [one, ..] = KEY;
        let digest = if wide { HASH } else { one };
        self.zero(Gpr::RAX);
        for slot in 0..BUCKET_SLOTS as i32 {
            let at = slot * SLOT_BYTES;
            self.asm.alu_rm(Alu::Cmp, W64, digest, Mem::new(Gpr::RDX, at));
            self.asm.cmov_m(Cc::E, W64, Gpr::RAX, Mem::new(Gpr::RDX, at + 8));
            if wide {
                self.asm.lea(W64, NEAR, Mem::new(Gpr::RDX, at));
                self.asm.cmov(Cc::E, W64, SLOT, NEAR);
            }
        }
        self.asm.test_rr(W64, Gpr::RAX, Gpr::RAX);
    }

    /// Compares a key of several words with the one in the slot found.
    fn verify(&mut self, lane: &Lane, miss: Label) {
        if lane.layout == Layout::Plain {
            return;
        }
        for (nth, word) in (0_i32..).zip(KEY).take(lane.words()) {
            let at = LINE * (1 + nth / 2) + nth % 2 * 8;
            self.asm.alu_rm(Alu::Cmp, W64, word, Mem::new(SLOT, at));
            self.asm.jcc(Cc::Ne, miss);
        }
    }

    /// The rest of a search: the second bucket if the first is marked, then the same in the old
    /// bank if there is one. `rdx` is the first bucket.
    pub(super) fn search_on(&mut self, at: usize, start: Label, hit: Label, next: Label) {
        let plan = self.plan;
        let Some(lane) = plan.lanes.get(at) else { return };
        let table = at as i32;
        let (old, miss) = (self.asm.label(), self.asm.label());
        self.asm.bind(start);
        self.marked(old);
        self.second(lane, (table, 0), hit, old);
        self.asm.bind(old);
        self.asm.load(Size::B8, Gpr::RAX, reference(table, OLD));
        self.asm.test_rr(W64, Gpr::RAX, Gpr::RAX);
        self.asm.jcc(Cc::E, next);
        self.again(lane);
        self.bucket(table, OLD);
        self.found(lane, hit, miss);
        self.asm.bind(miss);
        self.marked(next);
        self.second(lane, (table, OLD), hit, next);
        self.asm.jmp(next);
    }

    /// Away unless the bucket at `rdx` is marked.
    fn marked(&mut self, not: Label) {
        self.asm.load(Size::B8, Gpr::RAX, Mem::new(Gpr::RDX, 8));
        self.asm.shift_ri(Shift::Shr, W64, Gpr::RAX, MARK.trailing_zeros() as u8);
        self.asm.test_ri(W32, Gpr::RAX, 1);
        self.asm.jcc(Cc::E, not);
    }

    fn second(&mut self, lane: &Lane, (table, bank): (i32, i32), hit: Label, miss: Label) {
        self.again(lane);
        self.asm.shift_ri(Shift::Shr, W64, Gpr::RDX, 32);
        self.bucket(table, bank);
        self.found(lane, hit, miss);
    }

    /// To `hit` if the bucket at `rdx` has the key, else to `miss`, which may be what follows.
    fn found(&mut self, lane: &Lane, hit: Label, miss: Label) {
        self.search(lane);
        if lane.layout == Layout::Plain {
            self.asm.jcc(Cc::Ne, hit);
        } else {
            self.asm.jcc(Cc::E, miss);
            self.verify(lane, miss);
            self.asm.jmp(hit);
        }
    }

    /// The value in `rax` is a candidate for the best; the first one is the best.
    pub(super) fn raise(&mut self) {
        if self.looked {
            self.asm.alu_rr(Alu::Cmp, W64, BEST, Gpr::RAX);
            self.asm.cmov(Cc::B, W64, BEST, Gpr::RAX);
        } else {
            self.asm.mov_rr(W64, BEST, Gpr::RAX);
        }
    }

    /// The same, unless it is pending.
    pub(super) fn note(&mut self, next: Label) {
        let start = self.asm.label();
        self.asm.mov_rr(W64, HASH, Gpr::RAX);
        self.asm.shift_ri(Shift::Shr, W64, HASH, dispatch::PENDING.trailing_zeros() as u8);
        self.asm.test_ri(W32, HASH, 1);
        self.asm.jcc(Cc::Ne, start);
        self.raise();
        self.cold.push(Cold::Pending { start, next });
    }

    /// A pending value is noted.
    pub(super) fn pending(&mut self, start: Label, next: Label) {
        self.asm.bind(start);
        self.asm.store_r(Size::B8, Mem::new(PENDING, 0), Gpr::RAX);
        self.asm.alu_ri(Alu::Add, W64, PENDING, 8);
        self.asm.jmp(next);
    }
}
