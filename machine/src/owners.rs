//! Whose each frame is, as a table that ring 3 may read.
//!
//! The pool itself keeps it, so that it cannot be wrong: what is taken is the kernel's, what is
//! given back is free; in between the kernel may say whose a frame is.

use crate::memory::PAGE;
use crate::platform::Frame;
use abi::exposed::{FRAME_FREE, FRAME_KERNEL};
use alloc::vec::Vec;
use core::ops::Range;

/// Entries in one frame of the table.
const PER_FRAME: u64 = (PAGE / 4) as u64;

/// A frame of the table that says free, and one that says the kernel's, throughout.
static FREE: [u8; PAGE] = [0; PAGE];
static KERNEL: [u8; PAGE] = [0xff; PAGE];

const _: () = assert!(FRAME_FREE == 0 && FRAME_KERNEL == u32::MAX);

/// The table, in frames of its own.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    frames: Vec<Frame>,
}

/// Frames that a table for so many frame numbers takes.
pub(crate) fn frames_for(numbers: u64) -> usize {
    numbers.div_ceil(PER_FRAME) as usize
}

impl Owners {
    /// A table in these frames, of what is free now.
    pub(crate) fn new(frames: Vec<Frame>, is_free: impl Fn(u64) -> bool) -> Owners {
        let owners = Owners { frames };
        for number in 0..owners.frames.len() as u64 * PER_FRAME {
            owners.set(number, if is_free(number) { FRAME_FREE } else { FRAME_KERNEL });
        }
        owners
    }

    /// Says whose a frame is. Numbers beyond the table are ignored.
    pub(crate) fn set(&self, number: u64, owner: u32) {
        let place = usize::try_from(number / PER_FRAME).ok();
        if let Some(frame) = place.and_then(|place| self.frames.get(place)) {
            frame.store_u32((number % PER_FRAME) as usize * 4, owner);
        }
    }

    /// Says of frames in a row that they are free or the kernel's: a few copies, not a loop.
    pub(crate) fn set_run(&self, run: Range<u64>, free: bool) {
        let fill = if free { &FREE } else { &KERNEL };
        let mut at = run.start;
        while at < run.end {
            let end = run.end.min((at / PER_FRAME + 1) * PER_FRAME);
            let place = usize::try_from(at / PER_FRAME).ok();
            if let Some(frame) = place.and_then(|place| self.frames.get(place)) {
                let bytes = (end - at) as usize * 4;
                frame.write((at % PER_FRAME) as usize * 4, &fill[..bytes]);
            }
            at = end;
        }
    }

    /// The frames of the table, in order.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }
}
