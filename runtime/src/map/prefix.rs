//! Longest-prefix match.
//!
//! The idea: prefixes of one length, cut to that length, are keys of a hash table like any others;
//! so one table holds all prefixes, and a look-up probes it once for each length that some entry
//! has, longest first. That is bounded by the key's bits, as a trie's walk is, needs no inner
//! nodes, and shares the table that hash maps have (decision 031).
//!
//! A key is a prefix length (`u32`, little endian) and the data, most significant bit first
//! (`struct bpf_lpm_trie_key`). Entries are kept with the bits behind the prefix zero.

use core::sync::atomic::AtomicU32;

use ebpf::MapSpec;
use ebpf::limits::LPM_DATA_BYTES_MAX;

use super::table::Table;
use super::words::{Growing, Numbers, word};

/// Bytes of the length in front of the data.
const LENGTH: usize = 4;

/// Bits of a key's data.
pub(super) const fn bits(spec: &MapSpec) -> usize {
    (spec.key_size as usize).saturating_sub(LENGTH) * 8
}

/// A key cut to its prefix.
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    bytes: [u8; LENGTH + LPM_DATA_BYTES_MAX],
    size: usize,
    bits: u32,
}

impl Prefix {
    /// The prefix that a key says; `None` if it is longer than the key's data.
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let bits = word(key.get(..LENGTH)?) as u32;
        Self::cut(key, bits)
    }

    /// The first so many bits of a key.
    fn cut(key: &[u8], bits: u32) -> Option<Self> {
        let mut bytes = [0; LENGTH + LPM_DATA_BYTES_MAX];
        let (whole, rest) = (bits as usize / 8, bits % 8);
        bytes.get_mut(..LENGTH)?.copy_from_slice(&bits.to_le_bytes());
        let data = key.get(LENGTH..)?;
        bytes.get_mut(LENGTH..LENGTH + whole)?.copy_from_slice(data.get(..whole)?);
        if rest != 0 {
            *bytes.get_mut(LENGTH + whole)? = data.get(whole)? & !(0xff >> rest);
        }
        Some(Self { bytes, size: key.len(), bits })
    }

    /// As the table knows it.
    pub(super) fn key(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }

    /// Its length.
    pub(super) const fn bits(&self) -> u32 {
        self.bits
    }
}

/// How many entries have each prefix length.
#[derive(Debug)]
pub(super) struct Lengths {
    counts: Numbers,
    most: u32,
}

/// The same, being filled.
#[derive(Debug)]
pub(super) struct LengthsMaker {
    counts: Growing<AtomicU32>,
    most: u32,
}

impl LengthsMaker {
    /// Reserves them for so many bits.
    pub(super) fn reserve(bits: usize) -> Option<Self> {
        Some(Self { counts: Growing::reserve(bits + 1)?, most: bits as u32 })
    }

    /// Fills at most so many; true once all are there.
    pub(super) fn fill(&mut self, budget: &mut usize) -> bool {
        self.counts.fill(budget, |_| AtomicU32::new(0))
    }

    /// The counts, once filled.
    pub(super) fn finish(self) -> Lengths {
        Lengths { counts: self.counts.into(), most: self.most }
    }
}

impl Lengths {
    /// The entry with the longest prefix of the key, none longer than the key says.
    pub(super) fn longest(&self, table: &Table, key: &[u8]) -> Option<u32> {
        let asked = word(key.get(..LENGTH)?) as u32;
        if asked > self.most {
            return None;
        }
        let used = (0..=asked).rev().filter(|&bits| self.counts.get(bits) != 0);
        used.filter_map(|bits| Prefix::cut(key, bits)).find_map(|prefix| table.find(prefix.key()))
    }

    /// An entry with such a prefix came.
    pub(super) fn gained(&self, bits: u32) {
        self.counts.set(bits, self.counts.get(bits).wrapping_add(1));
    }

    /// An entry with such a prefix went.
    pub(super) fn lost(&self, bits: u32) {
        self.counts.set(bits, self.counts.get(bits).wrapping_sub(1));
    }
}
