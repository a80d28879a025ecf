//! What an expert writes by hand for one shape and nothing else.
//!
//! Header checks are whole-word comparisons; then a table by port, a map, or a bucket of one cache
//! line compared with vector instructions (the host has them, the kernel's code may not use them).

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashMap;

use super::workload::{FIRST_PORT, Frame, LISTENER, Variant, Workload};

/// A number at a place of a frame.
#[inline(always)]
fn word(frame: &Frame, at: usize) -> u32 {
    frame[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[inline(always)]
fn half(frame: &Frame, at: usize) -> u16 {
    frame[at..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// The part of a frame that tells its filter apart, if everything else is right.
#[inline(always)]
fn udp_key(frame: &Frame) -> Option<u64> {
    let a = (word(frame, 12) ^ 0x0045_0008) & 0x00ff_ffff;
    let b = (word(frame, 20) ^ 17 << 24) & 0xff00_ff1f;
    let c = word(frame, 30) ^ 0x0100_000a;
    (a | b | c == 0).then(|| half(frame, 36).into())
}

#[inline(always)]
fn tcp_key(frame: &Frame) -> Option<u64> {
    let a = (word(frame, 12) ^ 0x0045_0008) & 0x00ff_ffff;
    let b = (word(frame, 20) ^ 6 << 24) & 0xff00_ff1f;
    let c = word(frame, 30) ^ 0x0100_000a;
    let d = u32::from(half(frame, 36) ^ LISTENER.swap_bytes());
    let key = || u64::from(word(frame, 26)) | u64::from(half(frame, 34)) << 32;
    (a | b | c | d == 0).then(key)
}

#[inline(always)]
fn key<const UDP: bool>(frame: &Frame) -> Option<u64> {
    if UDP { udp_key(frame) } else { tcp_key(frame) }
}

/// The keys and owners of a workload.
fn owners(workload: &Workload) -> impl Iterator<Item = (u64, u32)> {
    workload.keys.iter().copied().zip(1..)
}

/// A table with a place for each port.
#[derive(Debug)]
pub struct Direct {
    table: Vec<u32>,
}

impl Direct {
    /// For `udp`.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        Self { table: owners(workload).map(|(_, owner)| owner).collect() }
    }

    /// The owner.
    #[inline(never)]
    #[must_use]
    pub fn owner(&self, frame: &Frame) -> u32 {
        let Some(key) = udp_key(frame) else { return 0 };
        let at = (key as u16).swap_bytes().wrapping_sub(FIRST_PORT);
        self.table.get(usize::from(at)).copied().unwrap_or(0)
    }
}

/// One multiplication per word (what `rustc-hash` 2 does).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FxHash(u64);

impl Hasher for FxHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.wrapping_add(word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

impl BuildHasher for FxHash {
    type Hasher = FxHash;

    #[inline]
    fn build_hasher(&self) -> FxHash {
        FxHash(0)
    }
}

macro_rules! by_map {
    ($name:ident, $hasher:ty, $what:literal) => {
        #[doc = $what]
        #[derive(Debug)]
        pub struct $name {
            map: HashMap<u64, u32, $hasher>,
        }

        impl $name {
            /// For `udp` and `tcp5`.
            #[must_use]
            pub fn new(workload: &Workload) -> Self {
                Self { map: owners(workload).collect() }
            }

            /// The owner.
            #[inline(never)]
            #[must_use]
            pub fn owner<const UDP: bool>(&self, frame: &Frame) -> u32 {
                let Some(key) = key::<UDP>(frame) else { return 0 };
                self.map.get(&key).copied().unwrap_or(0)
            }
        }
    };
}

by_map!(Fx, FxHash, "`hashbrown` with one multiplication.");
by_map!(Foldhash, hashbrown::DefaultHashBuilder, "`hashbrown` with foldhash, its default.");

/// `hashbrown` for connections, and what is left is the listener's.
#[derive(Debug)]
pub struct Nested {
    map: HashMap<u64, u32, FxHash>,
    listener: u32,
}

impl Nested {
    /// For `nested`.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let listener = workload.filters.len() as u32;
        assert_eq!(workload.variant, Variant::Nested);
        Self { map: owners(workload).collect(), listener }
    }

    /// The owner.
    #[inline(never)]
    #[must_use]
    pub fn owner(&self, frame: &Frame) -> u32 {
        let Some(key) = tcp_key(frame) else { return 0 };
        self.map.get(&key).copied().unwrap_or(self.listener)
    }
}

/// Four keys and owners in one cache line; another bucket if it ran over.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    keys: [u64; 4],
    owners: [u32; 4],
    over: u32,
}

/// A hash table of such lines, half full at most.
#[derive(Debug)]
pub struct Bucket {
    lines: Vec<Line>,
    vector: bool,
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

impl Bucket {
    /// For `udp` and `tcp5`.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let count = (workload.keys.len() / 2).next_power_of_two().max(2);
        let empty = Line { keys: [u64::MAX; 4], owners: [0; 4], over: 0 };
        let vector = std::arch::is_x86_feature_detected!("avx2");
        let mut table = Self { lines: vec![empty; count], vector };
        for (key, owner) in owners(workload) {
            let places = [table.place(key, FIRST), table.place(key, SECOND)];
            let walk = places[1]..places[1] + count;
            let all = core::iter::once(places[0]).chain(walk.map(|at| at % count));
            for at in all {
                let line = &mut table.lines[at];
                if let Some(slot) = line.keys.iter().position(|known| *known == u64::MAX) {
                    line.keys[slot] = key;
                    line.owners[slot] = owner;
                    break;
                }
                line.over = 1;
            }
        }
        table
    }

    #[inline(always)]
    fn place(&self, key: u64, factor: u64) -> usize {
        let shift = 64 - self.lines.len().trailing_zeros();
        (key.wrapping_mul(factor) >> shift) as usize
    }

    /// The owner.
    #[allow(unsafe_code)]
    #[inline(always)]
    #[must_use]
    pub fn owner<const UDP: bool>(&self, frame: &Frame) -> u32 {
        if self.vector {
            // SAFETY: the processor has it.
            unsafe { self.by_vector::<UDP>(frame) }
        } else {
            self.by_word::<UDP>(frame)
        }
    }

    #[target_feature(enable = "avx2")]
    fn by_vector<const UDP: bool>(&self, frame: &Frame) -> u32 {
        let Some(key) = key::<UDP>(frame) else { return 0 };
        let line = &self.lines[self.place(key, FIRST)];
        let found = line.find_by_vector(key);
        if found == 0 && line.over != 0 { self.further(key) } else { found }
    }

    #[inline(never)]
    fn by_word<const UDP: bool>(&self, frame: &Frame) -> u32 {
        let Some(key) = key::<UDP>(frame) else { return 0 };
        let line = &self.lines[self.place(key, FIRST)];
        let found = line.find(key);
        if found == 0 && line.over != 0 { self.further(key) } else { found }
    }

    #[cold]
    fn further(&self, key: u64) -> u32 {
        let start = self.place(key, SECOND);
        for at in 0..self.lines.len() {
            let line = &self.lines[(start + at) % self.lines.len()];
            let found = line.find(key);
            if found != 0 || line.over == 0 {
                return found;
            }
        }
        0
    }
}

impl Line {
    #[allow(unsafe_code)]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn find_by_vector(&self, key: u64) -> u32 {
        use std::arch::x86_64::{
            _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_load_si256, _mm256_movemask_pd,
            _mm256_set1_epi64x,
        };
        // SAFETY: the line is aligned to 64 bytes and begins with 32 bytes of keys.
        let keys = unsafe { _mm256_load_si256(self.keys.as_ptr().cast()) };
        let same = _mm256_cmpeq_epi64(keys, _mm256_set1_epi64x(key.cast_signed()));
        let found = _mm256_movemask_pd(_mm256_castsi256_pd(same));
        let at = found.trailing_zeros() as usize & 3;
        self.owners[at] & u32::from(found != 0).wrapping_neg()
    }

    #[inline(always)]
    fn find(&self, key: u64) -> u32 {
        let pairs = self.keys.iter().zip(&self.owners);
        pairs.fold(0, |found, (known, owner)| if *known == key { *owner } else { found })
    }
}
