//! What the merged classifier's code must look like.
//!
//! The plan says which bytes each shape loads; the code must load those and no others, behind a
//! comparison with the frame's length; touch table references and slots only where the geometry
//! says; write pending values one behind the other, at most one per shape; and jump forward only.

use alloc::vec::Vec;

use ebpf::{Size, Width};
use flow::Base;
use runtime::native::dispatch::BUCKET_SLOTS;

use super::CheckError;
use super::cursor::Cursor;
use super::native::{Arith, Direction, If, Native, One, R, RAX, RCX, RDX, at};
use crate::plan::{ByteRange, Group, Load, Plan, Shape};

const FRAME: R = R(7);
const LENGTH: R = R(6);
const TABLES: R = R(11);
const PENDING: R = RCX;
const BEST: R = R(10);
const HEADER: R = R(8);
const SECOND: R = R(9);
const KEY: [R; 6] = [R(3), R(5), R(12), R(13), R(14), R(15)];

const W64: Width = Width::W64;
const W32: Width = Width::W32;

/// Refuses code that is not the plan's.
pub(super) fn implements(plan: &Plan, code: &[u8]) -> Result<(), CheckError> {
    let mut matcher = Matcher { code: Cursor::new(code), plan, exits: Vec::new(), least: 0 };
    let words = plan.words_max();
    let Some(saved) = KEY.get(..words) else {
        return matcher.code.refuse("keys of six words at most");
    };
    for reg in saved {
        matcher.code.expect(Native::Push(*reg), "a key register to be saved")?;
    }
    matcher.code.expect(Native::Move { width: W64, dst: TABLES, src: RDX }, "the tables")?;
    matcher.code.expect(Native::Const { dst: BEST, value: 0 }, "no best value yet")?;
    for (table, shape) in plan.shapes.iter().enumerate() {
        matcher.shape(table as i32, shape)?;
    }
    let end = Native::StoreConst { size: Size::B8, to: at(PENDING, 0), value: 0 };
    matcher.code.expect(end, "the end of the pending values")?;
    matcher.code.expect(Native::Move { width: W64, dst: RAX, src: BEST }, "the result")?;
    for reg in saved.iter().rev() {
        matcher.code.expect(Native::Pop(*reg), "a key register to be restored")?;
    }
    matcher.code.expect(Native::Return, "a return")?;
    matcher.code.ends()
}

struct Matcher<'a> {
    code: Cursor<'a>,
    plan: &'a Plan,
    /// Jumps of the current block that must land at its end.
    exits: Vec<usize>,
    /// What the current block has compared the frame's length with, bytes.
    least: u16,
}

impl Matcher<'_> {
    fn shape(&mut self, table: i32, shape: &Shape) -> Result<(), CheckError> {
        let Some(key) = KEY.get(..shape.words()) else {
            return self.code.refuse("keys of six words at most");
        };
        let value = i32::from(shape.min_length);
        let long = Native::ArithConst { op: Arith::Compare, width: W64, dst: LENGTH, value };
        self.code.expect(long, "a comparison with the frame's length")?;
        self.exit_if(If::Below)?;
        self.least = shape.min_length;
        for range in &shape.ranges {
            self.range(range)?;
        }
        let mut filled = [false; KEY.len()];
        for group in &shape.groups {
            self.group(group, &mut filled)?;
        }
        self.hash(key)?;
        self.code.expect(Native::Move { width: W64, dst: SECOND, src: RAX }, "the hash")?;
        let mut hits = self.probe(table, RAX, key)?;
        let upper = Native::ShiftConst { op: Direction::Right, width: W64, dst: SECOND, count: 32 };
        self.code.expect(upper, "the hash's upper half")?;
        hits.extend(self.probe(table, SECOND, key)?);
        self.exit()?;
        for hit in hits {
            self.code.lands(hit, "a hit to be noted")?;
        }
        self.note()?;
        for exit in core::mem::take(&mut self.exits) {
            self.code.lands(exit, "the next shape")?;
        }
        Ok(())
    }

    fn exit_if(&mut self, cond: If) -> Result<(), CheckError> {
        let target = self.code.jump_if(cond, "a jump to the next shape")?;
        self.exits.push(target);
        Ok(())
    }

    fn exit(&mut self) -> Result<(), CheckError> {
        let target = self.code.jump("a jump to the next shape")?;
        self.exits.push(target);
        Ok(())
    }

    fn range(&mut self, range: &ByteRange) -> Result<(), CheckError> {
        let what = "a byte's range";
        if range.offset >= self.least {
            return self.code.refuse("a length that covers every byte loaded");
        }
        let (low, high) = (i32::from(range.low), i32::from(range.high));
        let from = at(FRAME, i32::from(range.offset));
        self.code.expect(Native::Load { size: Size::B1, dst: RAX, from }, what)?;
        let below = Native::ArithConst { op: Arith::Sub, width: W32, dst: RAX, value: low };
        self.code.expect(below, what)?;
        let (op, value) = (Arith::Compare, high - low);
        self.code.expect(Native::ArithConst { op, width: W32, dst: RAX, value }, what)?;
        self.exit_if(If::Above)
    }

    /// A header's bytes must be behind a comparison of their end with the frame's length.
    fn group(&mut self, group: &Group, filled: &mut [bool; 6]) -> Result<(), CheckError> {
        let what = "a header's place";
        let (base, add) = match group.base {
            Base::Frame if group.end > self.least => {
                return self.code.refuse("a length that covers every byte loaded");
            }
            Base::Frame => (FRAME, 0),
            Base::Header(header) if header.at >= self.least || header.shift > 31 => {
                return self.code.refuse("a length that covers every guard");
            }
            Base::Header(header) => {
                let from = at(FRAME, i32::from(header.at));
                self.code.expect(Native::Load { size: Size::B1, dst: HEADER, from }, what)?;
                let value = i32::from(header.mask);
                let mask = Native::ArithConst { op: Arith::And, width: W32, dst: HEADER, value };
                self.code.expect(mask, what)?;
                let (op, count) = (Direction::Left, header.shift);
                let shift = Native::ShiftConst { op, width: W32, dst: HEADER, count };
                self.code.expect(shift, what)?;
                let end = at(HEADER, i32::from(header.add) + i32::from(group.end));
                self.code.expect(Native::Address { width: W64, dst: SECOND, of: end }, what)?;
                let op = Arith::Compare;
                let compare = Native::Arith { op, width: W64, dst: LENGTH, src: SECOND };
                self.code.expect(compare, what)?;
                self.exit_if(If::Below)?;
                let add = Native::Arith { op: Arith::Add, width: W64, dst: HEADER, src: FRAME };
                self.code.expect(add, what)?;
                (HEADER, i32::from(header.add))
            }
        };
        for load in &group.loads {
            // The length comparison covers `end` bytes behind the base.
            if usize::from(load.offset) + load.size.bytes() > usize::from(group.end) {
                return self.code.refuse("loads inside what was compared");
            }
            self.load(load, base, add + i32::from(load.offset), filled)?;
        }
        Ok(())
    }

    fn load(
        &mut self,
        load: &Load,
        base: R,
        offset: i32,
        filled: &mut [bool; 6],
    ) -> Result<(), CheckError> {
        let what = "a part of the key";
        let (Some(word), Some(filled)) = (KEY.get(load.word), filled.get_mut(load.word)) else {
            return self.code.refuse("keys of six words at most");
        };
        let dst = if *filled { RAX } else { *word };
        let native = Native::Load { size: load.size, dst, from: at(base, offset) };
        self.code.expect(native, what)?;
        let full = u64::MAX >> (64 - load.size.bits());
        if load.mask != full && load.size == Size::B8 {
            self.code.expect(Native::Const { dst: RDX, value: load.mask }, what)?;
            let mask = Native::Arith { op: Arith::And, width: W64, dst, src: RDX };
            self.code.expect(mask, what)?;
        } else if load.mask != full {
            let value = load.mask as u32 as i32;
            let mask = Native::ArithConst { op: Arith::And, width: W32, dst, value };
            self.code.expect(mask, what)?;
        }
        if load.shift != 0 {
            let (op, count) = (Direction::Left, load.shift);
            self.code.expect(Native::ShiftConst { op, width: W64, dst, count }, what)?;
        }
        if *filled {
            let join = Native::Arith { op: Arith::Or, width: W64, dst: *word, src: RAX };
            self.code.expect(join, what)?;
        }
        *filled = true;
        Ok(())
    }

    fn hash(&mut self, key: &[R]) -> Result<(), CheckError> {
        let what = "the key's hash";
        let fold = |src| Native::Arith { op: Arith::Xor, width: W64, dst: RAX, src };
        self.code.expect(Native::Const { dst: RAX, value: self.plan.key.start() }, what)?;
        for (word, value) in key.iter().zip(self.plan.key.factors()) {
            self.code.expect(fold(*word), what)?;
            self.code.expect(Native::Const { dst: RDX, value: *value }, what)?;
            let multiply = Native::One { op: One::Multiply, width: W64, reg: RDX };
            self.code.expect(multiply, what)?;
            self.code.expect(fold(RDX), what)?;
        }
        Ok(())
    }

    /// A bucket's slots; returns where the hits jump to.
    fn probe(&mut self, table: i32, bucket: R, key: &[R]) -> Result<Vec<usize>, CheckError> {
        let what = "a probe";
        let words = key.len() as i32;
        let slot_bytes = words * 8 + 8;
        let from = at(TABLES, table * 16 + 8);
        let mask = Native::ArithMemory { op: Arith::And, width: W64, dst: bucket, from };
        self.code.expect(mask, what)?;
        let value = slot_bytes * BUCKET_SLOTS as i32;
        let scale = Native::MultiplyConst { width: W64, dst: bucket, src: bucket, value };
        self.code.expect(scale, what)?;
        let from = at(TABLES, table * 16);
        let place = Native::ArithMemory { op: Arith::Add, width: W64, dst: bucket, from };
        self.code.expect(place, what)?;
        let mut hits = Vec::new();
        for slot in 0..BUCKET_SLOTS as i32 {
            let start = slot * slot_bytes;
            let from = at(bucket, start + words * 8);
            self.code.expect(Native::Load { size: Size::B8, dst: RDX, from }, what)?;
            self.code.expect(Native::Test { width: W64, left: RDX, right: RDX }, what)?;
            let mut misses = alloc::vec![self.code.jump_if(If::Equal, what)?];
            for (nth, word) in key.iter().enumerate() {
                let from = at(bucket, start + nth as i32 * 8);
                let op = Arith::Compare;
                let compare = Native::ArithMemory { op, width: W64, dst: *word, from };
                self.code.expect(compare, what)?;
                misses.push(self.code.jump_if(If::NotEqual, what)?);
            }
            hits.push(self.code.jump(what)?);
            for miss in misses {
                self.code.lands(miss, "the next slot")?;
            }
        }
        Ok(hits)
    }

    fn note(&mut self) -> Result<(), CheckError> {
        let what = "a hit to be noted";
        self.code.expect(Native::TestConst { width: W32, left: RDX, value: 1 }, what)?;
        let exact = self.code.jump_if(If::Equal, what)?;
        let store = Native::Store { size: Size::B8, to: at(PENDING, 0), src: RDX };
        self.code.expect(store, what)?;
        let next = Native::ArithConst { op: Arith::Add, width: W64, dst: PENDING, value: 8 };
        self.code.expect(next, what)?;
        self.exit()?;
        self.code.lands(exact, what)?;
        let compare = Native::Arith { op: Arith::Compare, width: W64, dst: BEST, src: RDX };
        self.code.expect(compare, what)?;
        let raise = Native::MoveIf { cond: If::Below, width: W64, dst: BEST, src: RDX };
        self.code.expect(raise, what)
    }
}
