//! The memory of a proof: frames that its owner pays for while it runs.

use abi::refusal::{Blame, Code};
use machine::heap::Arena;

use super::{Size, Trouble};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::reserve::Need;

/// What copies of the programs and the allocator's own tables take besides the proofs, at worst.
const OVERHEAD: usize = 64 * 1024;

/// Bytes that one byte of a program takes once it is copied in and decoded.
const DECODED: usize = 8;

/// Bytes of a certificate: what was copied in, and a copy for each program that it is for.
const CERTIFICATE: usize = 3 * abi::certificate::BYTES_MAX;

impl Kernel {
    /// Opens an arena for proofs about programs of this size.
    ///
    /// # Errors
    /// A refusal that names how many frames are missing from the quota or the machine.
    pub(super) fn open_arena(
        &mut self,
        payer: EnvironmentId,
        Size { slots, bytes, certified }: Size,
    ) -> Result<(Arena, u64), Trouble> {
        let slots = slots.min(abi::limits::PROGRAM_SLOTS_MAX);
        let bytes = bytes.min(3 * abi::limits::PROGRAM_SLOTS_MAX * 8);
        let cases = if certified { verifier::certificate_bytes() + CERTIFICATE } else { 0 };
        let room = verifier::arena_bytes(slots) + bytes * DECODED + OVERHEAD + cases;
        let frames = room.div_ceil(abi::limits::PAGE_BYTES);
        let missing =
            || Trouble::limit(Code::NoMemory, Blame::Request, ("proof frames", frames as u64));
        let need = Need { frames: frames as u64, charge: 0, heap: 4096 };
        self.reserve(payer, need).map_err(|_| missing())?;
        let run = self.memory.take_run(frames).ok_or_else(missing)?;
        if let Some(environment) = self.environments.get_mut(payer) {
            environment.account.arena = frames as u64;
        }
        Ok((Arena::new(run), frames as u64))
    }

    /// Gives an arena back. Should something in it be alive, which is a bug, its frames stay the
    /// kernel's.
    pub(super) fn close_arena(&mut self, payer: EnvironmentId, arena: Arena, frames: u64) {
        if let Some(environment) = self.environments.get_mut(payer) {
            environment.account.arena = 0;
        }
        let overflows = machine::heap::arena_overflows();
        if overflows > self.counters.arena_overflows {
            log::error!("{overflows} allocations did not fit the arenas of their proofs");
            self.counters.arena_overflows = overflows;
        }
        match arena.into_run() {
            Ok(run) => self.memory.give_run(run, frames as usize),
            Err(busy) => {
                log::error!("{} allocations outlived their proof: frames kept", busy.alive);
            }
        }
    }
}
