//! What is known of a number in a register: a set of numbers, and who else holds it.

use super::name::{Name, Names};
use super::number::Num;

/// A number's set and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) num: Num,
    /// The number is what is called `name`, plus `delta`, wrapping.
    pub(crate) name: Name,
    pub(crate) delta: u64,
    /// How far it is to the packet's end, if it is that.
    pub(crate) distance: Option<Distance>,
}

/// The number is the packet's length - base - bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    pub(crate) base: Name,
    pub(crate) bytes: i64,
}

impl Scalar {
    /// One number.
    pub(super) const fn constant(value: u64) -> Scalar {
        Scalar { num: Num::constant(value), name: Name::ZERO, delta: value, distance: None }
    }

    /// A number that nothing else is known to hold.
    pub(super) const fn new(num: Num, names: &mut Names) -> Scalar {
        match num.as_constant() {
            Some(value) => Scalar::constant(value),
            None => Scalar { num, name: names.fresh(), delta: 0, distance: None },
        }
    }

    /// The same number with a smaller set.
    pub(super) const fn refined(self, num: Num) -> Scalar {
        match num.as_constant() {
            Some(value) => Scalar::constant(value),
            None => Scalar { num, ..self },
        }
    }

    /// The only number it can be.
    pub(super) const fn as_constant(&self) -> Option<u64> {
        self.num.as_constant()
    }
}
