//! The plan of the merged classifier: which shapes there are, in which order, under which key.
//!
//! The idea (design decision 10): rules that test the same bits of the same bytes have one *shape*
//! and differ only in values, so that one keyed hash look-up answers for all of them, however many.
//! The plan is the list of shapes. Three things follow it and must agree: the generated code
//! ([`crate::dispatch`]), the checker of that code, and the interpreter
//! ([`crate::Engine::classify_interpreted`]).

mod hash;
mod shape;
#[cfg(test)]
mod tests;

pub use hash::HashKey;
pub(crate) use shape::{ByteRange, Group, Key, Load, Shape, SplitRule};

use alloc::vec::Vec;

/// Shapes in the order in which they are probed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) key: HashKey,
}

impl Plan {
    /// Key words of each shape's table.
    pub(crate) fn geometry(&self) -> Vec<usize> {
        self.shapes.iter().map(Shape::words).collect()
    }

    /// Key words of the widest shape.
    pub(crate) fn words_max(&self) -> usize {
        self.shapes.iter().map(Shape::words).max().unwrap_or(0)
    }
}
