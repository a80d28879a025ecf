//! Labels and jumps: long by default, short where a first pass has shown that they fit.
//!
//! Shortening a jump only brings labels closer, so that whatever fits in 8 bits after the first
//! pass still fits after the second. `patch` checks it all the same.

use alloc::vec::Vec;

/// A place in the code, bound once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// Labels that were made together, by number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels {
    first: usize,
    count: usize,
}

impl Labels {
    /// The label with this number.
    #[must_use]
    pub fn get(self, number: usize) -> Option<Label> {
        (number < self.count).then(|| Label(self.first + number))
    }
}

/// Finished code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The code.
    pub bytes: Vec<u8>,
    /// For each jump in order: whether its displacement fits in 8 bits.
    pub fits_short: Vec<bool>,
}

#[derive(Debug)]
struct Jump {
    label: Label,
    /// Offset of the displacement field.
    field: usize,
    width: Displacement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displacement {
    Short,
    Long,
    /// Always 32 bits (`call`).
    Fixed,
}

impl Displacement {
    pub(super) fn bytes(self) -> usize {
        if self == Self::Short { 1 } else { 4 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Jumps {
    short: Vec<bool>,
    bound: Vec<Option<usize>>,
    jumps: Vec<Jump>,
    sized: usize,
    /// Of those that are patched.
    fits_short: Vec<bool>,
    patched: usize,
}

impl Jumps {
    pub(super) fn new(short: Vec<bool>) -> Self {
        Self { short, ..Self::default() }
    }

    pub(super) fn label(&mut self) -> Label {
        self.bound.push(None);
        Label(self.bound.len() - 1)
    }

    pub(super) fn labels(&mut self, count: usize) -> Labels {
        let first = self.bound.len();
        self.bound.resize(first + count, None);
        Labels { first, count }
    }

    pub(super) fn bind(&mut self, label: Label, at: usize) {
        if let Some(place) = self.bound.get_mut(label.0) {
            *place = Some(at);
        }
    }

    /// The width of the next jump to be emitted.
    pub(super) fn next_width(&mut self) -> Displacement {
        let short = self.short.get(self.sized).copied().unwrap_or(false);
        self.sized += 1;
        if short { Displacement::Short } else { Displacement::Long }
    }

    pub(super) fn add(&mut self, label: Label, field: usize, width: Displacement) {
        self.jumps.push(Jump { label, field, width });
    }

    /// Patches the next jump; false if there is none left.
    pub(super) fn patch(&mut self, bytes: &mut [u8]) -> Option<bool> {
        let Some(jump) = self.jumps.get(self.patched) else { return Some(false) };
        let target = (*self.bound.get(jump.label.0)?)?;
        let next = jump.field + jump.width.bytes();
        let distance = i32::try_from(target as i64 - next as i64).ok()?;
        let short = i8::try_from(distance);
        let field = bytes.get_mut(jump.field..next)?;
        match jump.width {
            Displacement::Short => field.copy_from_slice(&short.ok()?.to_le_bytes()),
            _ => field.copy_from_slice(&distance.to_le_bytes()),
        }
        if jump.width != Displacement::Fixed {
            self.fits_short.push(short.is_ok());
        }
        self.patched += 1;
        Some(true)
    }

    /// What was found of the jumps that are patched.
    pub(super) fn fits_short(self) -> Vec<bool> {
        self.fits_short
    }
}
