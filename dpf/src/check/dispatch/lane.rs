//! What one lane's code must look like, and the rest of its search behind the end.

use alloc::vec::Vec;

use ebpf::Size;
use flow::Base;
use runtime::native::dispatch::Layout;

use super::super::CheckError;
use super::super::native::{Arith, At, Direction, If, Native, One, R, RAX, RDX, at};
use super::{BEST, Entry, FRAME, HASH, HEADER, KEY, LENGTH, Matcher, NEAR, PENDING, SLOT, TABLES};
use super::{W32, W64};
use crate::plan::{Group, Lane, Load};

/// Slots in a bucket, and bytes between them.
const SLOTS: i32 = 4;
const SLOT_BYTES: i32 = 16;
/// Bytes of a line: the first has the slots, those behind the keys.
const LINE: i32 = 64;
/// Bytes of a table reference; offset of its old bank.
const REFERENCE: i32 = 48;
const OLD: i32 = 24;
/// Bit of a value that says "look into the second bucket too".
const MARK: u8 = 55;
/// Bit of a value that says "ask".
const ASK: u8 = 56;

/// What must stand behind the end: jumps that must land where it begins, and where it goes.
pub(super) enum Later {
    /// A lane's search goes on.
    Search { lane: usize, starts: Vec<usize>, hit: usize, next: usize },
    /// A lane's old window.
    Window { table: i32, starts: Vec<usize>, hit: usize, next: usize },
    /// A pending value is noted.
    Pending { start: usize, next: usize },
}

fn reference(table: i32, offset: i32) -> At {
    at(TABLES, table * REFERENCE + offset)
}

/// Whether the layout compares digests that are hashes.
fn wide(lane: &Lane) -> bool {
    matches!(lane.layout, Layout::Wide { .. })
}

impl Matcher<'_> {
    pub(super) fn look(&mut self, index: usize, least: u16) -> Result<(), CheckError> {
        let plan = self.plan;
        match (plan.lanes.get(index), self.looked.get_mut(index)) {
            (Some(_), Some(looked)) if !*looked => *looked = true,
            _ => return self.code.refuse("each lane once"),
        }
        let Some(lane) = plan.lanes.get(index) else { return self.code.refuse("a lane") };
        let expected = match lane.words() {
            0 => lane.layout == Layout::Single,
            1 => matches!(lane.layout, Layout::Plain | Layout::Direct | Layout::Wide { words: 1 }),
            words => lane.layout == Layout::Wide { words },
        };
        if !expected || lane.words() > KEY.len() {
            return self.code.refuse("a layout for the key");
        }
        let mut exits = self.key(lane, least)?;
        let table = index as i32;
        let mut starts = Vec::new();
        match lane.layout {
            Layout::Single => self.single(table)?,
            Layout::Direct => (starts, exits) = self.direct(table, exits)?,
            Layout::Plain | Layout::Wide { .. } => starts = self.hashed(lane, table)?,
        }
        let hit = self.code.at();
        let pending = match self.entry {
            Entry::Greatest if self.keeps => self.raise().map(|()| None)?,
            Entry::Greatest if self.after => return self.code.refuse("a best value to be kept"),
            Entry::Greatest => self.leave().map(|()| None)?,
            Entry::Full => Some(self.note()?),
            Entry::Fetch => None,
        };
        self.after = true;
        for exit in exits {
            self.code.lands(exit, "what follows the lane")?;
        }
        let next = self.code.at();
        if self.entry != Entry::Fetch {
            match lane.layout {
                Layout::Single => {}
                Layout::Direct => self.later.push(Later::Window { table, starts, hit, next }),
                _ => self.later.push(Later::Search { lane: index, starts, hit, next }),
            }
        }
        self.later.extend(pending.map(|start| Later::Pending { start, next }));
        Ok(())
    }

    pub(super) fn later(&mut self, later: &Later) -> Result<(), CheckError> {
        match later {
            Later::Search { lane, starts, hit, next } => {
                self.search_on(*lane, starts, (*hit, *next))
            }
            Later::Window { table, starts, hit, next } => {
                self.old_window(*table, starts, (*hit, *next))
            }
            Later::Pending { start, next } => self.pending(*start, *next),
        }
    }

    /// Tests behind headers and the key's words: jumps to what follows the lane.
    fn key(&mut self, lane: &Lane, least: u16) -> Result<Vec<usize>, CheckError> {
        let mut exits = Vec::new();
        let mut loaded = [0_u64; KEY.len()];
        for group in &lane.groups {
            let (base, add) = self.base(group, lane, least, &mut exits)?;
            for test in &group.tests {
                self.behind(test.offset, test.size, group)?;
                exits.push(self.test(test, base, add)?);
            }
            for load in &group.loads {
                self.behind(load.offset, load.size, group)?;
                self.load(load, at(base, add + i32::from(load.offset)), &mut loaded)?;
            }
        }
        for ((word, mask), loaded) in KEY.iter().zip(&lane.masks).zip(loaded) {
            if loaded & mask == loaded {
                continue;
            }
            let (op, what) = (Arith::And, "a mask on the key");
            if *mask <= u64::from(u32::MAX) {
                let value = *mask as u32 as i32;
                let and = Native::ArithConst { op, width: W32, dst: *word, value };
                self.code.expect(and, what)?;
            } else {
                self.code.expect(Native::Const { dst: RAX, value: *mask }, what)?;
                let and = Native::Arith { op, width: W64, dst: *word, src: RAX };
                self.code.expect(and, what)?;
            }
        }
        Ok(exits)
    }

    /// The length comparison covers `end` bytes behind the base.
    fn behind(&self, offset: u16, size: Size, group: &Group) -> Result<(), CheckError> {
        if usize::from(offset) + size.bytes() > usize::from(group.end) {
            return self.code.refuse("loads inside what was compared");
        }
        Ok(())
    }

    /// A header's bytes must be behind a comparison of their end with the frame's length.
    fn base(
        &mut self,
        group: &Group,
        lane: &Lane,
        least: u16,
        exits: &mut Vec<usize>,
    ) -> Result<(R, i32), CheckError> {
        let what = "a header's place";
        let header = match group.base {
            Base::Frame if group.end > least || lane.shape.min_length > least => {
                return self.code.refuse("a length that covers every byte loaded");
            }
            Base::Frame => return Ok((FRAME, 0)),
            Base::Header(header) => header,
        };
        if header.at >= least || header.shift.unsigned_abs() > 31 {
            return self.code.refuse("a length that covers every guard");
        }
        let from = at(FRAME, i32::from(header.at));
        self.code.expect(Native::Load { size: Size::B1, dst: HEADER, from }, what)?;
        let value = i32::from(header.mask);
        let mask = Native::ArithConst { op: Arith::And, width: W32, dst: HEADER, value };
        self.code.expect(mask, what)?;
        let op = if header.shift < 0 { Direction::Right } else { Direction::Left };
        let count = header.shift.unsigned_abs();
        self.code.expect(Native::ShiftConst { op, width: W32, dst: HEADER, count }, what)?;
        let end = at(HEADER, i32::from(header.add) + i32::from(group.end));
        self.code.expect(Native::Address { width: W64, dst: RAX, of: end }, what)?;
        let compare = Native::Arith { op: Arith::Compare, width: W64, dst: LENGTH, src: RAX };
        self.code.expect(compare, what)?;
        exits.push(self.code.jump_if(If::Below, what)?);
        let add = Native::Arith { op: Arith::Add, width: W64, dst: HEADER, src: FRAME };
        self.code.expect(add, what)?;
        Ok((HEADER, i32::from(header.add)))
    }

    fn load(&mut self, load: &Load, from: At, loaded: &mut [u64; 5]) -> Result<(), CheckError> {
        let what = "a part of the key";
        let (Some(word), Some(loaded)) = (KEY.get(load.word), loaded.get_mut(load.word)) else {
            return self.code.refuse("keys of five words at most");
        };
        let first = *loaded == 0;
        let dst = if first { *word } else { RAX };
        self.code.expect(Native::Load { size: load.size, dst, from }, what)?;
        if load.shift != 0 {
            let (op, count) = (Direction::Left, load.shift);
            self.code.expect(Native::ShiftConst { op, width: W64, dst, count }, what)?;
        }
        if !first {
            let join = Native::Arith { op: Arith::Or, width: W64, dst: *word, src: RAX };
            self.code.expect(join, what)?;
        }
        *loaded |= (u64::MAX >> (64 - load.size.bits())) << load.shift;
        Ok(())
    }

    fn single(&mut self, table: i32) -> Result<(), CheckError> {
        if self.entry == Entry::Fetch {
            return Ok(());
        }
        let what = "the only value";
        let (size, dst) = (Size::B8, RAX);
        self.code.expect(Native::Load { size, dst, from: reference(table, 0) }, what)?;
        self.code.expect(Native::Load { size, dst, from: at(RAX, 0) }, what)
    }

    /// The value at a place that was compared with the window's length.
    fn numbered(&mut self, table: i32, bank: i32) -> Result<(), CheckError> {
        let what = "a value";
        let [index, ..] = KEY;
        let from = reference(table, bank);
        self.code.expect(Native::Load { size: Size::B8, dst: RAX, from }, what)?;
        self.code.expect(Native::LoadIndexed { dst: RAX, base: RAX, index }, what)
    }

    /// A number's value: jumps to the old window, and out of the lane.
    fn direct(
        &mut self,
        table: i32,
        mut exits: Vec<usize>,
    ) -> Result<(Vec<usize>, Vec<usize>), CheckError> {
        let what = "a number's value";
        let [number, ..] = KEY;
        self.code.expect(Native::SwapLowBytes { dst: number }, what)?;
        let outside = self.window(table, 0)?;
        if self.entry == Entry::Fetch {
            let (width, dst) = (W64, number);
            let scale = Native::ShiftConst { op: Direction::Left, width, dst, count: 3 };
            self.code.expect(scale, what)?;
            let from = reference(table, 0);
            self.code.expect(Native::ArithMemory { op: Arith::Add, width, dst, from }, what)?;
            self.code.expect(Native::Prefetch { at: at(number, 0) }, what)?;
            exits.push(outside);
            return Ok((Vec::new(), exits));
        }
        self.numbered(table, 0)?;
        self.code.expect(Native::Test { width: W64, left: RAX, right: RAX }, what)?;
        let missing = self.code.jump_if(If::Equal, what)?;
        Ok((alloc::vec![outside, missing], exits))
    }

    fn old_window(
        &mut self,
        table: i32,
        starts: &[usize],
        (hit, next): (usize, usize),
    ) -> Result<(), CheckError> {
        for start in starts {
            self.code.lands(*start, "the old window")?;
        }
        let [number, ..] = KEY;
        let (op, from) = (Arith::Add, reference(table, 8));
        let whole = Native::ArithMemory { op, width: W64, dst: number, from };
        self.code.expect(whole, "the number itself")?;
        let outside = self.window(table, OLD)?;
        self.numbered(table, OLD)?;
        let found = self.code.jump("a jump to the hit")?;
        if found == hit && outside == next {
            Ok(())
        } else {
            self.code.refuse("jumps into the lane")
        }
    }

    /// Numbers below the window's first wrap, and are above its length then.
    fn window(&mut self, table: i32, bank: i32) -> Result<usize, CheckError> {
        let what = "a number's place in its window";
        let [dst, ..] = KEY;
        let width = W64;
        let from = reference(table, bank + 8);
        self.code.expect(Native::ArithMemory { op: Arith::Sub, width, dst, from }, what)?;
        let from = reference(table, bank + 16);
        self.code.expect(Native::ArithMemory { op: Arith::Compare, width, dst, from }, what)?;
        self.code.jump_if(If::AboveEqual, what)
    }

    /// The first bucket: jumps to where the search goes on.
    fn hashed(&mut self, lane: &Lane, table: i32) -> Result<Vec<usize>, CheckError> {
        self.hash(lane)?;
        if wide(lane) {
            let keep = Native::Move { width: W64, dst: HASH, src: RDX };
            self.code.expect(keep, "the hash to be kept")?;
        }
        self.bucket(table, 0)?;
        if self.entry == Entry::Fetch {
            let what = "a bucket to be fetched";
            self.code.expect(Native::Prefetch { at: at(RDX, 0) }, what)?;
            if wide(lane) {
                self.code.expect(Native::Prefetch { at: at(RDX, LINE) }, what)?;
            }
            return Ok(Vec::new());
        }
        self.search(lane)?;
        let mut starts = alloc::vec![self.code.jump_if(If::Equal, "a miss")?];
        starts.extend(self.verify(lane)?);
        Ok(starts)
    }

    fn hash(&mut self, lane: &Lane) -> Result<(), CheckError> {
        let what = "the key's hash";
        let xor = |dst, src| Native::Arith { op: Arith::Xor, width: W64, dst, src };
        let multiply = |reg| Native::One { op: One::Multiply, width: W64, reg };
        let secrets = *self.plan.key.secrets();
        let [first, second, ..] = secrets;
        let [one, two, ..] = KEY;
        self.code.expect(Native::Const { dst: RAX, value: first }, what)?;
        if lane.words() == 1 {
            self.code.expect(multiply(one), what)?;
        } else {
            self.code.expect(xor(RAX, one), what)?;
            self.code.expect(Native::Const { dst: RDX, value: second }, what)?;
            self.code.expect(xor(RDX, two), what)?;
            self.code.expect(multiply(RDX), what)?;
        }
        for (word, value) in KEY.iter().zip(secrets).take(lane.words()).skip(2) {
            self.code.expect(xor(RAX, RDX), what)?;
            self.code.expect(xor(RAX, *word), what)?;
            self.code.expect(Native::Const { dst: RDX, value }, what)?;
            self.code.expect(multiply(RDX), what)?;
        }
        self.code.expect(xor(RDX, RAX), what)?;
        if wide(lane) {
            let odd = Native::ArithConst { op: Arith::Or, width: W64, dst: RDX, value: 1 };
            self.code.expect(odd, what)?;
        }
        Ok(())
    }

    /// The hash once more: of a short key from the key itself.
    fn again(&mut self, lane: &Lane) -> Result<(), CheckError> {
        if !wide(lane) {
            return self.hash(lane);
        }
        let kept = Native::Move { width: W64, dst: RDX, src: HASH };
        self.code.expect(kept, "the hash that was kept")
    }

    /// The mask keeps the offset inside the bank.
    fn bucket(&mut self, table: i32, bank: i32) -> Result<(), CheckError> {
        let (width, dst) = (W64, RDX);
        let from = reference(table, bank + 8);
        let mask = Native::ArithMemory { op: Arith::And, width, dst, from };
        self.code.expect(mask, "a bucket's offset")?;
        let from = reference(table, bank);
        let place = Native::ArithMemory { op: Arith::Add, width, dst, from };
        self.code.expect(place, "a bucket's place")
    }

    fn search(&mut self, lane: &Lane) -> Result<(), CheckError> {
        let what = "a bucket's slots";
        let [one, ..] = KEY;
        let (width, dst) = (W64, if wide(lane) { HASH } else { one });
        self.zero(RAX, what)?;
        for slot in 0..SLOTS {
            let from = at(RDX, slot * SLOT_BYTES);
            let compare = Native::ArithMemory { op: Arith::Compare, width, dst, from };
            self.code.expect(compare, what)?;
            let (cond, from) = (If::Equal, at(RDX, slot * SLOT_BYTES + 8));
            self.code.expect(Native::MoveIfMemory { cond, width, dst: RAX, from }, what)?;
            if wide(lane) {
                let of = at(RDX, slot * SLOT_BYTES);
                self.code.expect(Native::Address { width, dst: NEAR, of }, what)?;
                let note = Native::MoveIf { cond, width, dst: SLOT, src: NEAR };
                self.code.expect(note, what)?;
            }
        }
        self.code.expect(Native::Test { width, left: RAX, right: RAX }, what)
    }

    /// Only behind a hit is `r15` a slot.
    fn verify(&mut self, lane: &Lane) -> Result<Vec<usize>, CheckError> {
        let mut misses = Vec::new();
        if wide(lane) {
            for (nth, dst) in (0_i32..).zip(KEY).take(lane.words()) {
                let what = "the key in the slot";
                let from = at(SLOT, LINE + nth / 2 * LINE + nth % 2 * 8);
                let op = Arith::Compare;
                self.code.expect(Native::ArithMemory { op, width: W64, dst, from }, what)?;
                misses.push(self.code.jump_if(If::NotEqual, what)?);
            }
        }
        Ok(misses)
    }

    /// Second bucket, then the old bank's two.
    fn search_on(
        &mut self,
        index: usize,
        starts: &[usize],
        (hit, next): (usize, usize),
    ) -> Result<(), CheckError> {
        let what = "the rest of a search";
        let plan = self.plan;
        let table = index as i32;
        let Some(lane) = plan.lanes.get(index) else { return self.code.refuse("a lane") };
        for start in starts {
            self.code.lands(*start, what)?;
        }
        let mut olds = alloc::vec![self.marked()?];
        olds.extend(self.second(lane, (table, 0), hit)?);
        for old in olds {
            self.code.lands(old, "the old bank")?;
        }
        let from = reference(table, OLD);
        self.code.expect(Native::Load { size: Size::B8, dst: RAX, from }, what)?;
        self.code.expect(Native::Test { width: W64, left: RAX, right: RAX }, what)?;
        self.to(If::Equal, next)?;
        self.again(lane)?;
        self.bucket(table, OLD)?;
        for miss in self.found(lane, hit)? {
            self.code.lands(miss, "the old bank's second bucket")?;
        }
        let unmarked = self.marked()?;
        let misses = self.second(lane, (table, OLD), hit)?;
        let end = self.code.jump("a jump to what follows the lane")?;
        if misses.iter().chain([&unmarked, &end]).any(|target| *target != next) {
            return self.code.refuse("jumps to what follows the lane");
        }
        Ok(())
    }

    fn to(&mut self, cond: If, wanted: usize) -> Result<(), CheckError> {
        let target = self.code.jump_if(cond, "a jump into the lane")?;
        if target == wanted { Ok(()) } else { self.code.refuse("a jump into the lane") }
    }

    /// Where the code goes if the bucket is not marked.
    fn marked(&mut self) -> Result<usize, CheckError> {
        let what = "a bucket's mark";
        let from = at(RDX, 8);
        self.code.expect(Native::Load { size: Size::B8, dst: RAX, from }, what)?;
        let (op, count) = (Direction::Right, MARK);
        self.code.expect(Native::ShiftConst { op, width: W64, dst: RAX, count }, what)?;
        self.code.expect(Native::TestConst { width: W32, left: RAX, value: 1 }, what)?;
        self.code.jump_if(If::Equal, what)
    }

    fn second(
        &mut self,
        lane: &Lane,
        (table, bank): (i32, i32),
        hit: usize,
    ) -> Result<Vec<usize>, CheckError> {
        let what = "the second bucket";
        self.again(lane)?;
        let op = Direction::Right;
        let upper = Native::ShiftConst { op, width: W64, dst: RDX, count: 32 };
        self.code.expect(upper, what)?;
        self.bucket(table, bank)?;
        self.found(lane, hit)
    }

    /// To the hit; else the jumps that miss, or on.
    fn found(&mut self, lane: &Lane, hit: usize) -> Result<Vec<usize>, CheckError> {
        self.search(lane)?;
        if !wide(lane) {
            self.to(If::NotEqual, hit)?;
            return Ok(Vec::new());
        }
        let mut misses = alloc::vec![self.code.jump_if(If::Equal, "a miss")?];
        misses.extend(self.verify(lane)?);
        let target = self.code.jump("a jump to the hit")?;
        if target == hit { Ok(misses) } else { self.code.refuse("a jump to the hit") }
    }

    /// A candidate for the best value.
    fn raise(&mut self) -> Result<(), CheckError> {
        let what = "the greater value to be kept";
        if !self.after {
            let first = Native::Move { width: W64, dst: BEST, src: RAX };
            return self.code.expect(first, what);
        }
        let compare = Native::Arith { op: Arith::Compare, width: W64, dst: BEST, src: RAX };
        self.code.expect(compare, what)?;
        let raise = Native::MoveIf { cond: If::Below, width: W64, dst: BEST, src: RAX };
        self.code.expect(raise, what)
    }

    /// The same; where the code goes with a pending value.
    fn note(&mut self) -> Result<usize, CheckError> {
        let what = "a hit to be noted";
        self.code.expect(Native::Move { width: W64, dst: HASH, src: RAX }, what)?;
        let (op, count) = (Direction::Right, ASK);
        self.code.expect(Native::ShiftConst { op, width: W64, dst: HASH, count }, what)?;
        self.code.expect(Native::TestConst { width: W32, left: HASH, value: 1 }, what)?;
        let pending = self.code.jump_if(If::NotEqual, what)?;
        self.raise()?;
        Ok(pending)
    }

    fn pending(&mut self, start: usize, next: usize) -> Result<(), CheckError> {
        let what = "a pending value to be stored";
        self.code.lands(start, what)?;
        let store = Native::Store { size: Size::B8, to: at(PENDING, 0), src: RAX };
        self.code.expect(store, what)?;
        let further = Native::ArithConst { op: Arith::Add, width: W64, dst: PENDING, value: 8 };
        self.code.expect(further, what)?;
        let end = self.code.jump(what)?;
        if end == next { Ok(()) } else { self.code.refuse("a jump to what follows the lane") }
    }
}
