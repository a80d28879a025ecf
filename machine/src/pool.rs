//! What is the same for both pools of frames: counts, and the table of whose each frame is.
//!
//! Each platform has a [`FramePool`] of its own that takes and gives frames its own way; both keep
//! a `FrameMap` of what is free and, once asked to, the `Owners` that ring 3 may read.

#[cfg(target_os = "none")]
use alloc::vec::Vec;

use crate::memory::{FrameNumber, MapError, PAGE};
use crate::owners::{self, Owners};
use crate::{Exposed, Frame, FramePool};

impl FramePool {
    /// Free frames now.
    pub fn free(&self) -> usize {
        self.map.free()
    }

    /// Frames that this pool was made with.
    pub fn total(&self) -> usize {
        self.map.total()
    }

    /// Whether this frame is free.
    pub fn is_free(&self, number: FrameNumber) -> bool {
        self.map.is_free(number.0)
    }

    /// Keeps a table of whose each frame is, from now on, and shows it from `va` on; the layout is
    /// that of `abi::exposed`. Its frames come out of this pool, for good.
    pub fn keep_owners(&mut self, shown: &mut Exposed, va: u64) -> Result<(), MapError> {
        let mut frames = Vec::new();
        let places = (va..).step_by(PAGE).take(owners::frames_for(self.map.limit()));
        for place in places {
            let frame = self.take().ok_or(MapError::NoFrames)?;
            shown.show(self, place, &frame)?;
            frames.push(frame);
        }
        let map = &self.map;
        self.owners = Owners::new(frames, |number| map.is_free(number));
        Ok(())
    }

    /// The frames of that table, in order; none before [`FramePool::keep_owners`].
    pub fn owner_table(&self) -> &[Frame] {
        self.owners.frames()
    }

    /// Says in that table whose a frame is that was taken from here.
    pub fn owned_by(&self, number: FrameNumber, owner: u32) {
        self.owners.set(number.0, owner);
    }
}
