//! Numbers that depend on the frame's length.
//!
//! A [`Measure`] is the distance from a base to the frame's end, plus a constant, modulo a power of
//! two; and then a few operations with constants, done one after the other. The distances that
//! there can be are few enough to be tried (`lengths`), so that any operation will do.

use ebpf::interp::arith;
use ebpf::{AluOp, ByteOrder, Size, Width};
use flow::Base;

use super::word::low_mask;

/// Operations on a length that are remembered.
const OPERATIONS_MAX: usize = 4;

/// A number that depends on the frame's length.
///
/// Normal form: no operation stands behind an empty place; without operations a sum that cannot
/// wrap has width 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Measure {
    pub(super) base: Base,
    plus: u64,
    width: u32,
    operations: [Option<Operation>; OPERATIONS_MAX],
}

/// An operation with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// The number is on the left.
    Left(Width, AluOp, u64),
    /// The number is on the right.
    Right(Width, AluOp, u64),
    /// The low bits, sign-extended.
    Extend(Width, Size),
    /// Another byte order.
    Swap(ByteOrder, u8),
}

impl Measure {
    /// `length - base + plus`.
    pub(super) fn new(base: Base, plus: u64) -> Measure {
        Measure { base, plus, width: 64, operations: [None; OPERATIONS_MAX] }
    }

    /// The low `width` bits; `None` if there is no room for the operation.
    pub(super) fn cut(self, width: u32) -> Option<Measure> {
        match (self.operations[0], width) {
            (_, 64..) => Some(self),
            (None, _) => Some(self.low(width)),
            _ => self.then(Operation::Left(Width::W64, AluOp::And, low_mask(width))),
        }
    }

    /// The low bits of a number without operations.
    fn low(self, width: u32) -> Measure {
        let width = width.min(self.width);
        let (least, most) = super::lengths::range(self.base);
        let fits = |end: i32| {
            let sum = i64::from(end).checked_add(self.plus.cast_signed());
            sum.is_some_and(|end| end >= 0 && end.cast_unsigned() <= low_mask(width))
        };
        match fits(least) && fits(most) {
            true => Measure { width: 64, ..self },
            false => Measure { plus: self.plus & low_mask(width), width, ..self },
        }
    }

    /// The number after one more operation; `None` if there is no room for it.
    pub(super) fn then(mut self, operation: Operation) -> Option<Measure> {
        if self.operations[0].is_none()
            && let Some(simple) = self.simply(operation)
        {
            return Some(simple);
        }
        let place = self.operations.iter_mut().find(|place| place.is_none())?;
        *place = Some(operation);
        Some(self)
    }

    /// The same without remembering an operation, where that is possible.
    fn simply(self, operation: Operation) -> Option<Measure> {
        let (width, op, by) = match operation {
            Operation::Left(width, op, by) => (width, op, by),
            Operation::Right(width, op @ (AluOp::Add | AluOp::And), by) => (width, op, by),
            _ => return None,
        };
        let wide = match width {
            Width::W32 => 32,
            Width::W64 => 64,
        };
        let plus = match op {
            AluOp::Add if self.width >= wide => self.plus.wrapping_add(by),
            AluOp::Sub if self.width >= wide => self.plus.wrapping_sub(by),
            // A mask of low bits.
            AluOp::And if by & by.wrapping_add(1) == 0 && by != 0 => {
                return Some(self.low((64 - by.leading_zeros()).min(wide)));
            }
            _ => return None,
        };
        Some(Measure { plus, width: wide, ..self }.low(wide))
    }

    /// The distances at which a comparison of the number with a constant can change, if the number
    /// is a distance plus a constant: where it becomes the constant, where it becomes more, and
    /// where it becomes what is not negative.
    pub(super) fn changes(&self, constant: u64) -> Option<[i32; 3]> {
        let far = 1_i64 << 30;
        let plus = self.plus.cast_signed();
        if self.width != 64 || self.operations[0].is_some() || !(-far..far).contains(&plus) {
            return None;
        }
        // What is far away from every distance stays there.
        let constant = constant.cast_signed().clamp(-far * far, far * far);
        let at = |number: i64| i32::try_from(number - plus).unwrap_or(i32::MAX);
        Some([at(constant), at(constant + 1), at(0)])
    }

    /// The number in a frame that ends so many bytes behind the base.
    pub(super) fn at(&self, distance: i32) -> u64 {
        let start = i64::from(distance).cast_unsigned().wrapping_add(self.plus);
        let start = start & low_mask(self.width);
        self.operations.iter().flatten().fold(start, |number, operation| match *operation {
            Operation::Left(width, op, by) => arith::alu(width, op, number, by),
            Operation::Right(width, op, by) => arith::alu(width, op, by, number),
            Operation::Extend(width, from) => arith::sign_extend(width, from, number),
            Operation::Swap(order, bits) => arith::endian(order, bits, number),
        })
    }

    /// The same number where its base has become another.
    pub(super) fn moved(self, to: Base, further: u16) -> Measure {
        let plus = self.plus.wrapping_sub(further.into()) & low_mask(self.width);
        Measure { base: to, plus, ..self }
    }
}
