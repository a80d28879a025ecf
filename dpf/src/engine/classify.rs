//! From a frame to its owner.
//!
//! Two ways that must agree: generated code over the tables, and the same plan interpreted. The
//! first is the product, the second its oracle, and what there is where code cannot be generated.

use flow::limits::{FRAME_MAX, FRAME_MIN};

use super::holder::Holder;
use super::room::slots_of;
use super::value;
use super::{Engine, Verdict};
use crate::plan::{Key, Lane};
use runtime::native::dispatch::{BATCH_MAX, Bank, Layout};

/// Bytes of tables beyond which a batch fetches first: what a second-level cache surely holds.
const FETCH_FROM: usize = 512 << 10;

impl Engine {
    /// To whom a frame belongs, by generated code.
    #[inline]
    #[must_use]
    pub fn classify(&self, frame: &[u8]) -> Verdict {
        if !is_frame(frame) {
            return Verdict::Unbound(None);
        }
        let Some(dispatcher) = &self.merged.dispatcher else { return value::verdict(0) };
        let best = dispatcher.run(frame);
        if value::index(best).is_none() { value::verdict(best) } else { self.ask(frame) }
    }

    /// The same where somebody must be asked.
    #[cold]
    fn ask(&self, frame: &[u8]) -> Verdict {
        let Some(dispatcher) = &self.merged.dispatcher else { return value::verdict(0) };
        let best = dispatcher.run_full(frame, |best, pending| {
            self.resolve(best, pending, |holder| holder.confirms(frame))
        });
        self.answer(best)
    }

    /// To whom each of some frames belongs; the same verdicts as one by one. Frames without a place
    /// in `verdicts` are not looked at.
    pub fn classify_batch(&self, frames: &[&[u8]], verdicts: &mut [Verdict]) {
        let large = self.table_bytes > FETCH_FROM;
        for (frames, verdicts) in frames.chunks(BATCH_MAX).zip(verdicts.chunks_mut(BATCH_MAX)) {
            if let (true, Some(dispatcher)) = (large, &self.merged.dispatcher) {
                frames.iter().for_each(|frame| dispatcher.prefetch(frame));
            }
            for (frame, verdict) in frames.iter().zip(verdicts) {
                *verdict = self.classify(frame);
            }
        }
    }

    /// To whom a frame belongs, by the same plan without generated code.
    #[must_use]
    pub fn classify_interpreted(&self, frame: &[u8]) -> Verdict {
        if !is_frame(frame) {
            return Verdict::Unbound(None);
        }
        let confirm = |holder: &Holder| holder.confirms_interpreted(frame);
        let best = (0..self.merged.plan.lanes.len()).fold(0, |best, at| {
            let found = self.look_up(at, frame).map_or(0, |(_, value)| value);
            if value::index(found).is_some() {
                self.resolve(best, found, confirm)
            } else {
                value::greater(best, found)
            }
        });
        self.answer(best)
    }

    /// A frame's key in a lane, and its value; `None` if the frame is in no rule of the lane.
    pub(super) fn look_up(&self, at: usize, frame: &[u8]) -> Option<(Key, u64)> {
        let lane = self.merged.plan.lanes.get(at)?;
        let table = self.merged.table(at)?;
        let key = lane.key_of(frame)?;
        let hash = lane.hash(&self.merged.plan.key, &key);
        let banks = core::iter::once(table.current()).chain(table.old());
        let mut values = banks.map(|bank| value_in(lane, bank, &key, hash));
        Some((key, values.find(|value| *value != 0).unwrap_or(0)))
    }

    /// The greater of `best` and what the pending entry turns out to be worth.
    fn resolve(&self, best: u64, pending: u64, confirm: impl Fn(&Holder) -> bool) -> u64 {
        if value::greater(best, pending) == best {
            return best;
        }
        let entry = value::index(pending).and_then(|index| self.merged.entries.get(index));
        let Some(entry) = entry else { return best };
        let winner = entry.visible().find(|claimant| {
            claimant.exact || self.holders.get(claimant.holder).is_some_and(&confirm)
        });
        winner.map_or(best, |winner| {
            let by_holder = || value::pending(winner.rank, winner.holder);
            value::greater(best, winner.settled.unwrap_or_else(by_holder))
        })
    }

    /// A value as a verdict. A pending one names the holder, whose handle has too many bits.
    #[inline]
    fn answer(&self, best: u64) -> Verdict {
        match value::index(best) {
            None => value::verdict(best),
            Some(index) => self.verdict_of(index),
        }
    }

    #[cold]
    fn verdict_of(&self, holder: u32) -> Verdict {
        let verdict = self.holders.get(holder).and_then(|holder| holder.verdict);
        verdict.unwrap_or_else(|| value::verdict(0))
    }
}

/// The value of a key in one bank, less its mark; 0 if it is not there.
fn value_in(lane: &Lane, bank: &Bank, key: &Key, hash: u64) -> u64 {
    let mark = runtime::native::dispatch::MARK;
    match lane.layout {
        Layout::Single => bank.value(0),
        Layout::Direct => bank.slot_of(Lane::number(key)).map_or(0, |slot| bank.value(slot)),
        Layout::Plain | Layout::Wide { .. } => {
            let digest = lane.digest(key, hash);
            let mut slots = bank.buckets_of(hash).into_iter().flat_map(slots_of);
            let same = |slot: &usize| {
                bank.digest(*slot) == digest
                    && bank.value(*slot) & !mark != 0
                    && super::store::key_in(lane, bank, *slot) == *key
            };
            slots.find(same).map_or(0, |slot| bank.value(slot) & !mark)
        }
    }
}

#[inline]
pub(super) fn is_frame(frame: &[u8]) -> bool {
    (usize::from(FRAME_MIN)..=usize::from(FRAME_MAX)).contains(&frame.len())
}
