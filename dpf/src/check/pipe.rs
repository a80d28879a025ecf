//! A pipe's passes and its loop, side by side.
//!
//! The form is fixed: two rounds of whole words, a half, a byte, the sums, return. Within a unit
//! there must be a load from the source, what each pass says, and a store of the same size to the
//! same place of the destination. Memory safety is in the form itself: a round of `n` bytes is
//! entered only under "at least `n` left" and takes `n` away, so every access lies within the
//! length; and the loops end because each round makes the length smaller.

use ebpf::{Size, Width};

use super::CheckError;
use super::cursor::Cursor;
use super::native::{Arith, Direction, If, Native, R, RAX, RCX, RDX, at};
use crate::dilp::{Pass, Pipeline};

const SOURCE: R = R(7);
const DESTINATION: R = R(6);
const LEFT: R = RDX;
const SPARE: R = R(8);
const FIRST: R = R(9);
const SECOND: R = R(10);

/// Refuses code that is not the pipeline's.
pub(super) fn implements(pipeline: &Pipeline, code: &[u8]) -> Result<(), CheckError> {
    let mut form = Form { code: Cursor::new(code), passes: pipeline.passes() };
    for sum in [FIRST, SECOND] {
        form.code.expect(Native::Const { dst: sum, value: 0 }, "a sum to begin at zero")?;
    }
    form.round(16)?;
    form.round(4)?;
    form.tail()?;
    for (sum, offset) in [(FIRST, 0), (SECOND, 8)] {
        let store = Native::Store { size: Size::B8, to: at(RCX, offset), src: sum };
        form.code.expect(store, "a sum to be stored")?;
    }
    form.code.expect(Native::Return, "a return")?;
    form.code.ends()
}

struct Form<'a> {
    code: Cursor<'a>,
    passes: &'a [Pass],
}

impl Form<'_> {
    /// `while left >= bytes { words; advance; left -= bytes }`
    fn round(&mut self, bytes: i32) -> Result<(), CheckError> {
        let enough = constant(Arith::Compare, LEFT, bytes);
        self.code.expect(enough, "a look at what is left")?;
        let over = self.code.jump_if(If::Below, "a way past the loop")?;
        let begin = self.code.at();
        for offset in (0..bytes).step_by(4) {
            self.unit(Size::B4, offset, 0)?;
        }
        self.advance(bytes)?;
        self.code.expect(constant(Arith::Sub, LEFT, bytes), "less to be left")?;
        self.code.expect(enough, "a look at what is left")?;
        if self.code.jump_if(If::AboveEqual, "the next round")? != begin {
            return self.code.refuse("the next round to begin with the first word");
        }
        self.code.lands(over, "the way past the loop to end behind it")
    }

    fn tail(&mut self) -> Result<(), CheckError> {
        let no_half = self.unless(2)?;
        self.unit(Size::B2, 0, 0)?;
        self.advance(2)?;
        let over = self.unless(1)?;
        self.unit(Size::B1, 0, 16)?;
        let done = self.code.jump("a way past the other byte")?;
        self.code.lands(no_half, "the case without a half")?;
        let nothing = self.unless(1)?;
        self.unit(Size::B1, 0, 0)?;
        [over, done, nothing]
            .iter()
            .try_for_each(|way| self.code.lands(*way, "the end of the data"))
    }

    fn unless(&mut self, value: i32) -> Result<usize, CheckError> {
        let test = Native::TestConst { width: Width::W64, left: LEFT, value };
        self.code.expect(test, "a look at the last bytes")?;
        self.code.jump_if(If::Equal, "a way past what is not there")
    }

    fn advance(&mut self, bytes: i32) -> Result<(), CheckError> {
        self.code.expect(constant(Arith::Add, SOURCE, bytes), "the source to advance")?;
        self.code.expect(constant(Arith::Add, DESTINATION, bytes), "the destination to advance")
    }

    /// `shift`: bits of a key that fall to the bytes before this one.
    fn unit(&mut self, size: Size, offset: i32, shift: u32) -> Result<(), CheckError> {
        let load = Native::Load { size, dst: RAX, from: at(SOURCE, offset) };
        self.code.expect(load, "a unit to be loaded")?;
        let mut sum = FIRST;
        for pass in self.passes {
            self.pass(*pass, size, shift, sum)?;
            if *pass == Pass::Checksum {
                sum = SECOND;
            }
        }
        let store = Native::Store { size, to: at(DESTINATION, offset), src: RAX };
        self.code.expect(store, "the unit to be stored")
    }

    fn pass(&mut self, pass: Pass, size: Size, shift: u32, sum: R) -> Result<(), CheckError> {
        match (pass, size) {
            (Pass::Checksum, _) => {
                let add = Native::Arith { op: Arith::Add, width: Width::W64, dst: sum, src: RAX };
                self.code.expect(add, "the sum")
            }
            (Pass::Xor(key), _) => {
                let mask = match size {
                    Size::B1 => 0xff,
                    Size::B2 => 0xffff,
                    _ => u32::MAX,
                };
                let value = ((key >> shift) & mask).cast_signed();
                let xor = Native::ArithConst { op: Arith::Xor, width: Width::W32, dst: RAX, value };
                self.code.expect(xor, "the key")
            }
            (Pass::Swap16, Size::B4) => self.swap_halves(),
            (Pass::Swap16, Size::B2) => {
                self.code.expect(Native::SwapLowBytes { dst: RAX }, "two bytes to change places")
            }
            (Pass::Swap32, Size::B4) => {
                let swap = Native::ByteSwap { width: Width::W32, dst: RAX };
                self.code.expect(swap, "four bytes to be reversed")
            }
            (Pass::Copy | Pass::Swap16 | Pass::Swap32, _) => Ok(()),
        }
    }

    /// Both 16-bit words of the unit.
    fn swap_halves(&mut self) -> Result<(), CheckError> {
        let width = Width::W32;
        for native in [
            Native::ByteSwap { width, dst: RAX },
            Native::Move { width, dst: SPARE, src: RAX },
            Native::ShiftConst { op: Direction::Right, width, dst: SPARE, count: 16 },
            Native::ShiftConst { op: Direction::Left, width, dst: RAX, count: 16 },
            Native::Arith { op: Arith::Or, width, dst: RAX, src: SPARE },
        ] {
            self.code.expect(native, "the bytes of two words to change places")?;
        }
        Ok(())
    }
}

fn constant(op: Arith, dst: R, value: i32) -> Native {
    Native::ArithConst { op, width: Width::W64, dst, value }
}
