//! What helpers cost, in instructions: a bound on each body's work, for whoever pays for a run.
//!
//! The idea: a program's worst case counts its instructions, and a call is one of them; but what a
//! helper does is work too, and a loop of calls could hide it. So each call counts as many
//! instructions more as its body takes at worst. The figures are bounds on x86-64 code, rounded up,
//! not measurements: they only have to grow with the work.

use crate::helper;
use crate::limits::{PACKET_MAX, STACK_BYTES};
use crate::map::{MapKind, MapSpec};

/// The call itself, and a body that does next to nothing.
const CALL: u64 = 64;
/// A probe of a hash table, besides the key: the chain of its bucket at its longest.
const PROBE: u64 = 400;
/// A byte of a key: hashed and compared.
const KEY_BYTE: u64 = 4;
/// A byte summed by `csum_diff`, in each of its two regions.
const SUMMED_BYTE: u64 = 2;
/// A line printed: formats and lines are at most 256 bytes.
const LINE: u64 = 6_000;

/// The costs of one program's helper calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// The dearest look-up of any map.
    probe: u64,
    /// The longest value.
    value: u64,
}

impl Costs {
    /// With these maps.
    #[must_use]
    pub fn of(maps: &[MapSpec]) -> Self {
        let probe = maps.iter().map(probe).max().unwrap_or(0);
        let value = maps.iter().map(|map| u64::from(map.value_size)).max().unwrap_or(0);
        Self { probe, value }
    }

    /// Instructions that a call of a helper takes at worst, the call excluded.
    #[must_use]
    pub fn call(&self, id: u32) -> u64 {
        let region = self.value.max(PACKET_MAX as u64).max(STACK_BYTES as u64);
        CALL + match id {
            helper::MAP_LOOKUP | helper::MAP_DELETE => self.probe,
            // Found, found to have no room, another one taken out; and the copy.
            helper::MAP_UPDATE => 3 * self.probe + self.value,
            helper::CSUM_DIFF => 2 * SUMMED_BYTE * region,
            helper::PRINT => LINE,
            helper::ADJUST_HEAD | helper::ADJUST_TAIL => PACKET_MAX as u64,
            helper::LOAD_BYTES | helper::STORE_BYTES => PACKET_MAX as u64,
            _ => 0,
        }
    }

    /// The same for a helper that is not known.
    #[must_use]
    pub fn dearest(&self) -> u64 {
        helper::TABLE.iter().map(|helper| self.call(helper.id)).max().unwrap_or(CALL)
    }
}

/// Instructions of one look-up.
fn probe(map: &MapSpec) -> u64 {
    let once = PROBE + KEY_BYTE * u64::from(map.key_size);
    match map.kind {
        MapKind::Array | MapKind::PercpuArray => 0,
        MapKind::Hash | MapKind::LruHash => once,
        // One for each prefix length that an entry may have.
        MapKind::LpmTrie => {
            let lengths = 8 * u64::from(map.key_size.saturating_sub(4)) + 1;
            once * lengths.min(map.max_entries.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Costs;
    use crate::helper::{CSUM_DIFF, KTIME, MAP_DELETE, MAP_LOOKUP, MAP_UPDATE, TABLE};
    use crate::map::{MapKind, MapSpec};

    #[test]
    fn costs_grow_with_keys_values_and_prefix_lengths() {
        let none = Costs::of(&[]);
        let array = Costs::of(&[MapSpec::array(8, 4)]);
        assert_eq!(array.call(MAP_LOOKUP), none.call(KTIME));
        let hash = |key| Costs::of(&[MapSpec::array(8, 4), MapSpec::hash(key, 8, 4)]);
        assert!(hash(4).call(MAP_LOOKUP) > array.call(MAP_LOOKUP));
        assert!(hash(64).call(MAP_DELETE) > hash(4).call(MAP_DELETE));
        let large = Costs::of(&[MapSpec::hash(4, 30_000, 4)]);
        assert!(large.call(MAP_UPDATE) > hash(4).call(MAP_UPDATE) + 29_000);
        assert!(large.call(CSUM_DIFF) > 60_000);
        let trie = |entries| MapSpec { kind: MapKind::LpmTrie, ..MapSpec::hash(8, 8, entries) };
        let cost = |entries| Costs::of(&[trie(entries)]).call(MAP_LOOKUP);
        assert!(cost(2) < cost(33) && cost(33) == cost(1_000));
    }

    #[test]
    fn every_helper_costs_something_and_none_more_than_the_dearest() {
        let costs = Costs::of(&[MapSpec::hash(256, 32_768, 4)]);
        for helper in TABLE {
            assert!((64..=costs.dearest()).contains(&costs.call(helper.id)), "{}", helper.name);
        }
    }
}
