//! Maps, as a program knows them: kind, sizes, name. What is in them lives in `runtime`.
//!
//! Kinds and numbers are Linux's (`enum bpf_map_type` in `include/uapi/linux/bpf.h`). A program
//! carries the specifications of its maps ([`crate::Program::maps`]); its 64-bit loads name a map
//! by its position there ([`crate::Imm64::MapFd`], [`crate::Imm64::MapValue`]). Whoever reads an
//! object or takes a program over a system call rewrites relocations and handles to positions
//! first.
//!
//! A [`MapSpec`] has public fields so that it can be written down; everything that works with maps
//! wants it to have passed [`MapSpec::validate`].

use core::fmt;

use crate::limits::{
    LPM_DATA_BYTES_MAX, MAP_BYTES_MAX, MAP_ENTRIES_MAX, MAP_KEY_BYTES_MAX, MAP_VALUE_BYTES_MAX,
};

/// What kind of map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Any keys; full is full.
    Hash,
    /// Keys are the numbers below `max_entries`; every entry always exists.
    Array,
    /// An array with one value for each processor; there is one (design decision 14).
    PercpuArray,
    /// Any keys; full replaces what was not used for long.
    LruHash,
    /// Keys are prefixes; the longest that matches is found.
    LpmTrie,
}

impl MapKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Hash, Self::Array, Self::PercpuArray, Self::LruHash, Self::LpmTrie];

    /// Linux's number (`BPF_MAP_TYPE_*`).
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Hash => 1,
            Self::Array => 2,
            Self::PercpuArray => 6,
            Self::LruHash => 9,
            Self::LpmTrie => 11,
        }
    }

    /// The kind with Linux's number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Hash),
            2 => Some(Self::Array),
            6 => Some(Self::PercpuArray),
            9 => Some(Self::LruHash),
            11 => Some(Self::LpmTrie),
            _ => None,
        }
    }

    /// Linux's name, in lower case and without the prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Array => "array",
            Self::PercpuArray => "percpu_array",
            Self::LruHash => "lru_hash",
            Self::LpmTrie => "lpm_trie",
        }
    }

    /// Whether the key is an index and entries cannot be deleted.
    #[must_use]
    pub const fn is_array(self) -> bool {
        matches!(self, Self::Array | Self::PercpuArray)
    }
}

/// Bytes of a map's name, without the zero that ends it in Linux (`BPF_OBJ_NAME_LEN`).
pub const NAME_BYTES_MAX: usize = 15;

/// A map's name, for messages: at most [`NAME_BYTES_MAX`] bytes of printable ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapName {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl MapName {
    /// As much of a name as has room; bytes that are not printable ASCII become `?`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::from_bytes(name.as_bytes())
    }

    /// [`Self::new`] of bytes, which end at the first zero.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        let mut made = Self::default();
        let text = name.iter().take_while(|&&byte| byte != 0);
        for (place, &byte) in made.bytes.iter_mut().zip(text) {
            *place = if byte.is_ascii_graphic() { byte } else { b'?' };
            made.len += 1;
        }
        made
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapSpec {
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries at most; an array has exactly so many.
    pub max_entries: u32,
    /// Programs may only read (`BPF_F_RDONLY_PROG`): constants (`.rodata`). Arrays only.
    pub read_only: bool,
    /// For messages.
    pub name: MapName,
}

impl MapSpec {
    /// An array of `max_entries` values, without a name.
    #[must_use]
    pub fn array(value_size: u32, max_entries: u32) -> Self {
        Self { kind: MapKind::Array, ..Self::hash(4, value_size, max_entries) }
    }

    /// A hash map, without a name.
    #[must_use]
    pub fn hash(key_size: u32, value_size: u32, max_entries: u32) -> Self {
        let (kind, read_only, name) = (MapKind::Hash, false, MapName::default());
        Self { kind, key_size, value_size, max_entries, read_only, name }
    }

    /// Bytes from one value to the next: values begin at multiples of 8, as in Linux.
    #[must_use]
    pub const fn value_stride(&self) -> usize {
        (self.value_size as usize).next_multiple_of(8)
    }

    /// Bytes of all values together; 0 if there is no such map.
    #[must_use]
    pub const fn value_bytes(&self) -> usize {
        match self.value_stride().checked_mul(self.max_entries as usize) {
            Some(bytes) => bytes,
            None => 0,
        }
    }

    /// Bytes from the first value that a 64-bit load of a map's value may point into: arrays of one
    /// entry only, as in Linux.
    #[must_use]
    pub const fn direct_bytes(&self) -> Option<u32> {
        match self.kind {
            MapKind::Array if self.max_entries == 1 => Some(self.value_size),
            _ => None,
        }
    }

    /// Whether such a map can exist.
    ///
    /// # Errors
    /// The first rule broken, naming the limit.
    pub fn validate(&self) -> Result<(), MapError> {
        let between = |what, value: u32, low: usize, (name, high): (&'static str, usize)| {
            let fits = (low..=high).contains(&(value as usize));
            if fits { Ok(()) } else { Err(MapError::Size { what, value, low, high, limit: name }) }
        };
        let keys = match self.kind {
            MapKind::Array | MapKind::PercpuArray => (4, ("an index", 4)),
            MapKind::Hash | MapKind::LruHash => (1, ("MAP_KEY_BYTES_MAX", MAP_KEY_BYTES_MAX)),
            MapKind::LpmTrie => (5, ("LPM_DATA_BYTES_MAX + 4", LPM_DATA_BYTES_MAX + 4)),
        };
        between("key_size", self.key_size, keys.0, keys.1)?;
        let value = ("MAP_VALUE_BYTES_MAX", MAP_VALUE_BYTES_MAX);
        between("value_size", self.value_size, 1, value)?;
        let entries = ("MAP_ENTRIES_MAX", MAP_ENTRIES_MAX);
        between("max_entries", self.max_entries, 1, entries)?;
        if self.read_only && self.kind != MapKind::Array {
            return Err(MapError::ReadOnlyKind { kind: self.kind });
        }
        let stride = self.value_stride() + (self.key_size as usize).next_multiple_of(8);
        let bytes = stride.saturating_mul(self.max_entries as usize);
        if bytes > MAP_BYTES_MAX {
            return Err(MapError::TooLarge { bytes, limit: MAP_BYTES_MAX });
        }
        Ok(())
    }
}

impl fmt::Display for MapSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key_size, value_size, max_entries, read_only, name } = self;
        let rights = if *read_only { ", read-only" } else { "" };
        let kind = kind.name();
        write!(f, "{name} ({kind}, key {key_size}, value {value_size}, {max_entries}{rights})")
    }
}

/// Why there can be no such map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapError {
    /// A size is outside what its kind of map has.
    Size {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u32,
        /// Smallest allowed.
        low: usize,
        /// Largest allowed.
        high: usize,
        /// The limit's name (a constant of [`crate::limits`]).
        limit: &'static str,
    },
    /// Keys and values of all entries are too much together.
    TooLarge {
        /// Bytes wanted.
        bytes: usize,
        /// `MAP_BYTES_MAX`.
        limit: usize,
    },
    /// Only arrays can be read-only to programs: nothing else could be filled before.
    ReadOnlyKind {
        /// The kind wanted.
        kind: MapKind,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size { what, value, low, high, limit } => {
                write!(f, "{what} {value} is not in {low}..={high} ({limit})")
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "{bytes} bytes of entries are more than {limit} (MAP_BYTES_MAX)")
            }
            Self::ReadOnlyKind { kind } => {
                write!(f, "a map of kind {} cannot be read-only; an array can", kind.name())
            }
        }
    }
}

impl core::error::Error for MapError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{MapError, MapKind, MapName, MapSpec};
    use crate::limits::{MAP_BYTES_MAX, MAP_ENTRIES_MAX, MAP_KEY_BYTES_MAX, MAP_VALUE_BYTES_MAX};

    #[test]
    fn kinds_have_linux_s_numbers_and_no_others_exist() {
        for kind in MapKind::ALL {
            assert_eq!(MapKind::from_number(kind.number()), Some(kind));
        }
        let known = (0..100).filter(|&number| MapKind::from_number(number).is_some());
        assert_eq!(known.collect::<alloc::vec::Vec<_>>(), [1, 2, 6, 9, 11]);
    }

    #[test]
    fn names_are_short_and_printable() {
        assert_eq!(MapName::new("counters").as_str(), "counters");
        assert_eq!(MapName::new("a name that is too long").as_str(), "a?name?that?is?");
        assert_eq!(MapName::from_bytes(b"x\xff\0y").as_str(), "x?");
        assert_eq!(MapName::default().as_str(), "");
    }

    #[test]
    fn every_limit_is_held_and_named() {
        let good = MapSpec::hash(4, 8, 16);
        assert_eq!(good.validate(), Ok(()));
        let named = |spec: MapSpec| spec.validate().unwrap_err().to_string();
        let zeroes = [
            MapSpec { key_size: 0, ..good },
            MapSpec { value_size: 0, ..good },
            MapSpec { max_entries: 0, ..good },
        ];
        for spec in zeroes {
            assert!(matches!(spec.validate(), Err(MapError::Size { value: 0, .. })));
        }
        let key_size = MAP_KEY_BYTES_MAX as u32 + 1;
        assert!(named(MapSpec { key_size, ..good }).contains("MAP_KEY_BYTES_MAX"));
        let value_size = MAP_VALUE_BYTES_MAX as u32 + 1;
        assert!(named(MapSpec { value_size, ..good }).contains("MAP_VALUE_BYTES_MAX"));
        let max_entries = MAP_ENTRIES_MAX as u32 + 1;
        assert!(named(MapSpec { max_entries, ..good }).contains("MAP_ENTRIES_MAX"));
        let huge = MapSpec { value_size: MAP_VALUE_BYTES_MAX as u32, max_entries: 1 << 20, ..good };
        assert!(named(huge).contains("MAP_BYTES_MAX"));
        let extreme = MapSpec { value_size: u32::MAX, max_entries: u32::MAX, ..good };
        assert!(extreme.validate().is_err());
        for key_size in [0, 1, 3, 5, 8] {
            assert!(MapSpec { key_size, ..MapSpec::array(8, 4) }.validate().is_err());
        }
        let trie = MapSpec { kind: MapKind::LpmTrie, ..good };
        assert!(trie.validate().is_err());
        assert_eq!(MapSpec { key_size: 8, ..trie }.validate(), Ok(()));
        assert!(MapSpec { key_size: 37, ..trie }.validate().is_err());
        let constants = MapSpec { read_only: true, ..good };
        assert!(named(constants).contains("read-only"));
        assert!(MapSpec { kind: MapKind::Array, ..constants }.validate().is_ok());
    }

    #[test]
    fn the_largest_maps_fit_the_address_space_that_the_interpreter_has() {
        let spec = MapSpec { max_entries: 1, ..MapSpec::array(MAP_VALUE_BYTES_MAX as u32, 1) };
        assert_eq!(spec.validate(), Ok(()));
        assert!(spec.value_bytes() <= MAP_BYTES_MAX);
        assert_eq!(spec.direct_bytes(), Some(MAP_VALUE_BYTES_MAX as u32));
        assert_eq!(MapSpec::array(8, 2).direct_bytes(), None);
        assert_eq!(MapSpec::hash(4, 8, 1).direct_bytes(), None);
        assert_eq!(MapSpec::array(13, 3).value_bytes(), 48);
    }
}
