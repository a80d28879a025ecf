//! Pages that every address space shows, read-only.

use super::memory::{Frame, FramePool, Page};
use crate::memory::{EXPOSED_END, EXPOSED_START, FrameNumber, MapError, PAGE};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What is shown: number and bytes of each page, by address.
pub(super) type Shown = Arc<Mutex<BTreeMap<u64, (FrameNumber, Page)>>>;

/// What is shown, and frames in the place of the tables that a real machine would have.
pub struct Exposed {
    pub(super) shown: Shown,
    directory: Frame,
    leaves: Vec<Frame>,
    regions: BTreeSet<u64>,
}

impl Exposed {
    /// Nothing yet. Takes a frame.
    pub fn new(pool: &mut FramePool) -> Option<Self> {
        let (leaves, regions) = (Vec::new(), BTreeSet::new());
        Some(Self { shown: Shown::default(), directory: pool.take()?, leaves, regions })
    }

    /// Shows a frame at a page, in every address space that shows this. For good.
    pub fn show(&mut self, pool: &mut FramePool, va: u64, frame: &Frame) -> Result<(), MapError> {
        if !va.is_multiple_of(PAGE as u64) {
            return Err(MapError::Misaligned);
        }
        if !(EXPOSED_START..EXPOSED_END).contains(&va) {
            return Err(MapError::NotUser);
        }
        if !self.regions.contains(&(va >> 21)) {
            self.leaves.push(pool.take().ok_or(MapError::NoFrames)?);
            self.regions.insert(va >> 21);
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.contains_key(&va) {
            return Err(MapError::Occupied);
        }
        shown.insert(va, (frame.number(), frame.page.clone()));
        Ok(())
    }

    /// Frames that the tables take.
    pub fn table_frames(&self) -> usize {
        let _always_there = &self.directory;
        1 + self.leaves.len()
    }
}
