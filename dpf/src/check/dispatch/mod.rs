//! What the merged classifier's code must look like.
//!
//! The plan says what is tested before which lane, and where each lane's key and values are; the
//! code must do that and nothing else. What makes it harmless is checked on the way, whatever the
//! plan says: every byte of the frame is loaded behind a comparison that covers it; table
//! references and tables are only touched where the geometry says; each lane is looked into once
//! and notes at most one pending value; jumps only go forward, to where a step begins.

mod lane;

use alloc::vec::Vec;

use ebpf::{Size, Width};

use super::CheckError;
use super::cursor::Cursor;
use super::native::{Arith, If, Native, R, RAX, RCX, RDX, at};
use crate::plan::{Block, ByteRange, Plan, Step, Window};
use lane::Later;

const FRAME: R = R(7);
const LENGTH: R = R(6);
const TABLES: R = RCX;
const PENDING: R = R(11);
const BEST: R = R(10);
const HEADER: R = R(9);
const HASH: R = R(9);
const NEAR: R = R(14);
const SLOT: R = R(15);
const KEY: [R; 5] = [R(8), R(3), R(5), R(12), R(13)];

const W64: Width = Width::W64;
const W32: Width = Width::W32;

/// What an entry must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Keep the greatest value.
    Greatest,
    /// Keep the greatest that is not pending, and store the others.
    Full,
    /// Fetch.
    Fetch,
}

/// Refuses code that is not the plan's; the second and third entry must be at `full` and
/// `prefetch`.
pub(super) fn implements(
    plan: &Plan,
    code: &[u8],
    (full, prefetch): (usize, usize),
) -> Result<(), CheckError> {
    let mut matcher = Matcher {
        code: Cursor::new(code),
        plan,
        entry: Entry::Greatest,
        keeps: true,
        after: false,
        saved: Vec::new(),
        later: Vec::new(),
        looked: alloc::vec![false; plan.lanes.len()],
    };
    matcher.entry(Entry::Greatest)?;
    matcher.code.lands(full, "the entry that notes")?;
    matcher.entry(Entry::Full)?;
    matcher.code.lands(prefetch, "the entry that fetches")?;
    matcher.entry(Entry::Fetch)?;
    matcher.code.ends()
}

struct Matcher<'a> {
    code: Cursor<'a>,
    plan: &'a Plan,
    entry: Entry,
    /// A best value is kept. If not, a hit returns, and no frame may get to a second lane.
    keeps: bool,
    /// A frame that gets here may have got to a lane before.
    after: bool,
    /// Registers to be restored.
    saved: Vec<R>,
    /// What must stand behind the end.
    later: Vec<Later>,
    /// Lanes that were looked into: none twice, or there were too many pending values.
    looked: Vec<bool>,
}

/// `reg` = 0
fn zero(reg: R) -> Native {
    Native::Arith { op: Arith::Xor, width: W32, dst: reg, src: reg }
}

/// Jumps that leave a block: where they land.
type Exits = Vec<usize>;

impl Matcher<'_> {
    /// One entry, from the saved registers to what stands behind its return.
    fn entry(&mut self, entry: Entry) -> Result<(), CheckError> {
        self.entry = entry;
        self.looked.fill(false);
        let words = self.plan.words_max();
        let Some(keys) = KEY.get(1..words.max(1)) else {
            return self.code.refuse("keys of five words at most");
        };
        let wide: &[R] = if self.plan.has_wide() { &[NEAR, SLOT] } else { &[] };
        self.saved = keys.iter().chain(wide).copied().collect();
        for reg in &self.saved {
            self.code.expect(Native::Push(*reg), "a register to be saved")?;
        }
        self.after = false;
        if entry == Entry::Full {
            let room = Native::Move { width: W64, dst: PENDING, src: RDX };
            self.code.expect(room, "room for pending values")?;
        }
        self.keeps = match entry {
            Entry::Full => self.zero(BEST, "no best value yet").map(|()| true)?,
            Entry::Greatest => self.code.skip(zero(BEST)),
            Entry::Fetch => false,
        };
        let plan = self.plan;
        for exit in self.block(&plan.graph, 0)? {
            self.code.lands(exit, "the end of the graph")?;
        }
        match entry {
            _ if self.keeps => {
                let result = Native::Move { width: W64, dst: RAX, src: BEST };
                self.code.expect(result, "the result")?;
            }
            Entry::Fetch => {}
            Entry::Greatest | Entry::Full => self.zero(RAX, "no value")?,
        }
        if entry == Entry::Full {
            let end = Native::Move { width: W64, dst: RDX, src: PENDING };
            self.code.expect(end, "the end of the pending values")?;
        }
        self.leave()?;
        for later in core::mem::take(&mut self.later) {
            self.later(&later)?;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), CheckError> {
        for reg in self.saved.iter().rev() {
            self.code.expect(Native::Pop(*reg), "a register to be restored")?;
        }
        self.code.expect(Native::Return, "a return")
    }

    fn zero(&mut self, reg: R, what: &'static str) -> Result<(), CheckError> {
        self.code.expect(zero(reg), what)
    }

    /// A block that begins where the frame is known to have `least` bytes.
    fn block(&mut self, block: &Block, mut least: u16) -> Result<Exits, CheckError> {
        let mut exits = Exits::new();
        for step in block {
            match step {
                Step::Length(value) => {
                    exits.push(self.length(*value)?);
                    least = least.max(*value);
                }
                Step::Range(range) => exits.push(self.range(*range, least)?),
                Step::Test(window) => {
                    self.inside(window, least)?;
                    exits.push(self.test(window, FRAME, 0)?);
                }
                Step::Switch(window, cases) => self.switch(window, cases, least)?,
                Step::Nested(inner) => {
                    for exit in self.block(inner, least)? {
                        self.code.lands(exit, "the end of a block")?;
                    }
                }
                Step::Look(lane) => self.look(*lane, least)?,
            }
        }
        Ok(exits)
    }

    fn length(&mut self, least: u16) -> Result<usize, CheckError> {
        let value = i32::from(least);
        let long = Native::ArithConst { op: Arith::Compare, width: W64, dst: LENGTH, value };
        self.code.expect(long, "a comparison with the frame's length")?;
        self.code.jump_if(If::Below, "a jump out of the block")
    }

    fn range(&mut self, range: ByteRange, least: u16) -> Result<usize, CheckError> {
        let what = "a byte's range";
        if range.offset >= least {
            return self.code.refuse("a length that covers every byte loaded");
        }
        let (low, high) = (i32::from(range.low), i32::from(range.high));
        let from = at(FRAME, i32::from(range.offset));
        self.code.expect(Native::Load { size: Size::B1, dst: RAX, from }, what)?;
        let below = Native::ArithConst { op: Arith::Sub, width: W32, dst: RAX, value: low };
        self.code.expect(below, what)?;
        let (op, value) = (Arith::Compare, high - low);
        self.code.expect(Native::ArithConst { op, width: W32, dst: RAX, value }, what)?;
        self.code.jump_if(If::Above, what)
    }

    /// A window on the frame must be covered by what its length was compared with.
    fn inside(&self, window: &Window, least: u16) -> Result<(), CheckError> {
        if usize::from(window.offset) + window.size.bytes() > usize::from(least) {
            return self.code.refuse("a length that covers every byte loaded");
        }
        Ok(())
    }

    /// Bytes behind a base must have a value: where the code goes if not.
    fn test(&mut self, window: &Window, base: R, add: i32) -> Result<usize, CheckError> {
        if window.size == Size::B4 && window.mask == u64::from(u32::MAX) {
            let value = window.value as u32 as i32;
            let compare =
                Native::CompareConst { at: at(base, add + i32::from(window.offset)), value };
            self.code.expect(compare, "a comparison of bytes")?;
        } else {
            self.bits(window, base, add)?;
            self.compare(window)?;
        }
        self.code.jump_if(If::NotEqual, "a jump out of the block")
    }

    fn bits(&mut self, window: &Window, base: R, add: i32) -> Result<(), CheckError> {
        let what = "tested bytes";
        let from = at(base, add + i32::from(window.offset));
        self.code.expect(Native::Load { size: window.size, dst: RAX, from }, what)?;
        let all = u64::MAX >> (64 - window.size.bits());
        if window.mask == all {
            return Ok(());
        }
        if window.size == Size::B8 {
            self.code.expect(Native::Const { dst: RDX, value: window.mask }, what)?;
            let and = Native::Arith { op: Arith::And, width: W64, dst: RAX, src: RDX };
            return self.code.expect(and, what);
        }
        let value = window.mask as u32 as i32;
        self.code.expect(Native::ArithConst { op: Arith::And, width: W32, dst: RAX, value }, what)
    }

    fn compare(&mut self, window: &Window) -> Result<(), CheckError> {
        let (what, op) = ("a comparison of bytes", Arith::Compare);
        if window.size == Size::B8 {
            self.code.expect(Native::Const { dst: RDX, value: window.value }, what)?;
            return self.code.expect(Native::Arith { op, width: W64, dst: RAX, src: RDX }, what);
        }
        let value = window.value as u32 as i32;
        self.code.expect(Native::ArithConst { op, width: W32, dst: RAX, value }, what)
    }

    fn switch(
        &mut self,
        window: &Window,
        cases: &[(u64, Block)],
        least: u16,
    ) -> Result<(), CheckError> {
        self.inside(window, least)?;
        self.bits(window, FRAME, 0)?;
        let mut exits = Exits::new();
        let before = self.after;
        let mut after = before;
        for (nth, (value, block)) in cases.iter().enumerate() {
            self.after = before;
            self.compare(&Window { value: *value, ..*window })?;
            let other = self.code.jump_if(If::NotEqual, "a jump to the next value")?;
            exits.extend(self.block(block, least)?);
            after |= self.after;
            if nth + 1 == cases.len() {
                exits.push(other);
            } else {
                exits.push(self.code.jump("a jump behind the switch")?);
                self.code.lands(other, "the next value")?;
            }
        }
        self.after = after;
        for exit in exits {
            self.code.lands(exit, "the end of the switch")?;
        }
        Ok(())
    }
}
