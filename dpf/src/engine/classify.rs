//! From a frame to its owner.
//!
//! Two ways that must agree: generated code over the tables, and the same plan interpreted. The
//! first is the product, the second its oracle.

use flow::limits::{FRAME_MAX, FRAME_MIN};
use verifier::GrantId;

use super::entry::{Value, pack, unpack};
use super::holder::Holder;
use super::{Engine, Verdict};
use crate::limits::KEY_WORDS_MAX;

impl Engine {
    /// To whom a frame belongs, by generated code.
    #[must_use]
    pub fn classify(&self, frame: &[u8]) -> Verdict {
        if !is_frame(frame) {
            return Verdict::Unbound(None);
        }
        let best = self.merged.dispatcher.as_ref().map_or(0, |dispatcher| {
            dispatcher.run(frame, |best, pending| {
                self.resolve(best, pending, |holder| holder.confirms(frame))
            })
        });
        self.answer(best)
    }

    /// To whom a frame belongs, by the same plan without generated code.
    #[must_use]
    pub fn classify_interpreted(&self, frame: &[u8]) -> Verdict {
        if !is_frame(frame) {
            return Verdict::Unbound(None);
        }
        let confirm = |holder: &Holder| holder.confirms_interpreted(frame);
        let best = (0..self.merged.plan.shapes.len()).fold(0, |best, position| {
            let value = self.look_up(position, frame);
            match unpack(value) {
                Some(Value::Pending(_)) => self.resolve(best, value, confirm),
                _ => best.max(value),
            }
        });
        self.answer(best)
    }

    /// The value of a frame's key in the table at a position; 0 if it has none.
    fn look_up(&self, position: usize, frame: &[u8]) -> u64 {
        let (Some(shape), Some(table)) =
            (self.merged.plan.shapes.get(position), self.merged.table(position))
        else {
            return 0;
        };
        let Some(key) = shape.key_of(frame) else { return 0 };
        let key = key.get(..shape.words().min(KEY_WORDS_MAX)).unwrap_or(&key);
        let [a, b] = table.buckets_of(self.merged.plan.key.hash(key));
        let per = runtime::native::dispatch::BUCKET_SLOTS;
        let slots = (a * per..(a + 1) * per).chain(b * per..(b + 1) * per);
        let mut found = slots.filter_map(|slot| table.slot(slot));
        found.find(|(words, value)| *words == key && *value != 0).map_or(0, |(_, value)| value)
    }

    /// The greater of `best` and what the pending entry turns out to be worth.
    fn resolve(&self, best: u64, pending: u64, confirm: impl Fn(&Holder) -> bool) -> u64 {
        let Some(Value::Pending(index)) = unpack(pending) else { return best };
        let Some(entry) = self.merged.entries.get(index) else { return best };
        let winner = entry.visible().find(|claimant| {
            claimant.exact || self.holders.get(claimant.holder).is_some_and(&confirm)
        });
        winner.map_or(best, |winner| best.max(pack(winner.rank, Value::Holder(winner.holder))))
    }

    /// Nobody's frames are the root's.
    fn answer(&self, best: u64) -> Verdict {
        let winner = match unpack(best) {
            Some(Value::Holder(index)) => self.holders.get(index),
            _ => None,
        };
        let verdict = winner.and_then(|holder| holder.verdict);
        verdict.unwrap_or(Verdict::Unbound(Some(GrantId::ROOT)))
    }
}

fn is_frame(frame: &[u8]) -> bool {
    (usize::from(FRAME_MIN)..=usize::from(FRAME_MAX)).contains(&frame.len())
}
