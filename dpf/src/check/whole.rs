//! The decoder's few forms that are recognised by all their bytes at once.
//!
//! Two forms have an index register, and three shifts an encoding of their own (VEX): exactly these
//! bytes, in exactly this order, or it is no such instruction. Everything else is `decode`'s.

use ebpf::Width;

use super::decode::Reader;
use super::native::{Direction, Native, R};

impl Reader<'_> {
    /// `mov low, [low + high * 8]` without displacement.
    pub(super) fn load_indexed(&mut self) -> Option<Native> {
        let [0x4a, 0x8b, modrm, sib] = *self.code.get(self.at..)?.first_chunk()? else {
            return None;
        };
        let form = modrm & 0xc7 == 0x04 && sib >> 6 == 3 && sib & 7 != 5;
        form.then(|| {
            self.at += 4;
            Native::LoadIndexed {
                dst: R(modrm >> 3 & 7),
                base: R(sib & 7),
                index: R(8 | sib >> 3 & 7),
            }
        })
    }

    /// `lea dst, [base + index * 2^scale]`, 64 bits, without displacement.
    pub(super) fn sum(&mut self) -> Option<Native> {
        let [rex, 0x8d, modrm, sib] = *self.code.get(self.at..)?.first_chunk()? else {
            return None;
        };
        let (dst, index, base) = (
            modrm >> 3 & 7 | (rex & 4) << 1,
            sib >> 3 & 7 | (rex & 2) << 2,
            sib & 7 | (rex & 1) << 3,
        );
        // An index of 4 is none; a base of 5 has a displacement, here of zero.
        let displaced = sib & 7 == 5;
        let mode = if displaced { 0x44 } else { 0x04 };
        if rex & 0xf8 != 0x48 || modrm & 0xc7 != mode || index == 4 {
            return None;
        }
        if displaced && *self.code.get(self.at + 4)? != 0 {
            return None;
        }
        self.at += 4 + usize::from(displaced);
        Some(Native::Sum { dst: R(dst), base: R(base), index: R(index), scale: sib >> 6 })
    }

    /// `shlx`, `shrx`, `sarx` between registers: VEX.LZ.0F38 F7.
    pub(super) fn shift_by(&mut self) -> Option<Native> {
        let [0xc4, first, second, 0xf7, modrm] = *self.code.get(self.at..)?.first_chunk()? else {
            return None;
        };
        // Register bits are inverted; X must say "none", L must be zero, both operands registers.
        if first & 0x5f != 0x42 || second & 4 != 0 || modrm >> 6 != 3 {
            return None;
        }
        let op = match second & 3 {
            1 => Direction::Left,
            2 => Direction::RightSigned,
            3 => Direction::Right,
            _ => return None,
        };
        let high = |bit: u8| if first & bit == 0 { 8 } else { 0 };
        self.at += 5;
        Some(Native::ShiftBy {
            op,
            width: if second & 0x80 != 0 { Width::W64 } else { Width::W32 },
            dst: R(modrm >> 3 & 7 | high(0x80)),
            src: R(modrm & 7 | high(0x20)),
            count: R(!second >> 3 & 15),
        })
    }
}
