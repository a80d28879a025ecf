//! A vector with holes: indices stay valid while others come and go.

use alloc::vec::Vec;

use crate::error::EngineError;

/// Values by index.
#[derive(Debug)]
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }

    /// Puts a value in: its index.
    pub(super) fn insert(&mut self, value: T) -> Result<usize, EngineError> {
        if let Some(index) = self.free.pop() {
            if let Some(place) = self.values.get_mut(index) {
                *place = Some(value);
            }
            return Ok(index);
        }
        let index = self.values.len();
        // Room in `free` too, so that `remove` never allocates.
        self.values.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
        self.free.try_reserve(index + 1).map_err(|_| EngineError::NoMemory)?;
        self.values.push(Some(value));
        Ok(index)
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.values.get_mut(index)?.take()?;
        self.free.push(index);
        Some(value)
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.values.iter().enumerate().filter_map(|(at, value)| Some((at, value.as_ref()?)))
    }
}
