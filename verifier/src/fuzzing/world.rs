//! A world for fuzzed programs: helpers that return anything they may, and the plainest maps.
//!
//! What a helper does here is chosen by a seed within its signature, not what the real one would
//! do: an accepted program must be safe whatever comes back.

use alloc::vec::Vec;

use ebpf::helper::{self, Return};
use ebpf::interp::{HelperCall, Helpers, Maps, Packet};
use ebpf::{MapKind, MapSpec, Program};

/// Helpers whose results a seed chooses.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The results of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Chance {
        Chance(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        match number >> 62 {
            0 => number & 0xff,
            1 => u64::MAX,
            _ => number,
        }
    }

    /// The packet's ends go somewhere near, if there is room.
    fn move_ends(&mut self, packet: &mut Packet<'_, '_>) {
        let Packet::Exclusive(packet) = packet else { return };
        let by = (self.next() % 128) as isize - 64;
        let _ = if self.next() & 1 == 0 { packet.move_start(by) } else { packet.move_end(by) };
    }
}

impl Helpers for Chance {
    fn call(&mut self, id: u32, _args: [u64; 5]) -> Option<u64> {
        let number = self.next();
        Some(match helper::by_id(id)?.returns {
            Return::Scalar => number,
            Return::Scalar32 => number & u64::from(u32::MAX),
            Return::Status => i64::from(number as u32 as i32).cast_unsigned(),
            Return::MapValueOrNull => 0,
        })
    }

    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        for byte in call.output.iter_mut() {
            *byte = self.next() as u8;
        }
        if helper::by_id(call.id).is_some_and(|helper| helper.moves_packet) {
            self.move_ends(&mut call.packet);
        }
        self.call(call.id, call.args)
    }
}

/// Maps as lists: of each slot its key, if it is in use, and its value.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    maps: Vec<List>,
}

#[derive(Clone, Debug)]
struct List {
    spec: MapSpec,
    keys: Vec<Option<Vec<u8>>>,
    values: Vec<Vec<u8>>,
}

/// `-E2BIG`, `-ENOENT`, `-EINVAL`.
const TOO_BIG: u64 = -7_i64 as u64;
const NO_ENTRY: u64 = -2_i64 as u64;
const INVALID: u64 = -22_i64 as u64;

impl Lists {
    /// The maps of a program, empty.
    #[must_use]
    pub fn of(program: &Program) -> Lists {
        let maps = program.maps().iter().map(|&spec| {
            let entries = spec.max_entries as usize;
            let value = alloc::vec![0; spec.value_size as usize];
            List { spec, keys: alloc::vec![None; entries], values: alloc::vec![value; entries] }
        });
        Lists { maps: maps.collect() }
    }

    fn list(&mut self, map: u32) -> Option<&mut List> {
        self.maps.get_mut(map as usize)
    }
}

impl List {
    /// Of a trie the whole key is compared: any entry, or none, may be what a look-up finds.
    fn find(&self, key: &[u8]) -> Option<u32> {
        if self.spec.kind.is_array() {
            let index = u32::from_le_bytes(key.try_into().ok()?);
            return Some(index).filter(|&index| index < self.spec.max_entries);
        }
        let at = self.keys.iter().position(|there| there.as_deref() == Some(key))?;
        u32::try_from(at).ok()
    }
}

impl Maps for Lists {
    fn lookup(&mut self, map: u32, key: &[u8]) -> Option<u32> {
        self.list(map)?.find(key)
    }

    fn update(&mut self, map: u32, key: &[u8], value: &[u8], flags: u64) -> u64 {
        let Some(list) = self.list(map) else { return NO_ENTRY };
        if flags > 2 {
            return INVALID;
        }
        let free = || list.keys.iter().position(Option::is_none);
        let last = (list.spec.kind == MapKind::LruHash).then_some(0);
        let slot = match list.find(key) {
            Some(slot) => slot as usize,
            None if list.spec.kind.is_array() => return TOO_BIG,
            None => match free().or(last) {
                Some(slot) => slot,
                None => return TOO_BIG,
            },
        };
        if let (Some(there), Some(content)) = (list.keys.get_mut(slot), list.values.get_mut(slot)) {
            *there = Some(key.to_vec());
            *content = value.to_vec();
        }
        0
    }

    fn delete(&mut self, map: u32, key: &[u8]) -> u64 {
        let Some(list) = self.list(map) else { return NO_ENTRY };
        if list.spec.kind.is_array() {
            return INVALID;
        }
        let found = list.find(key).and_then(|slot| list.keys.get_mut(slot as usize));
        match found {
            Some(seat) => {
                *seat = None;
                0
            }
            None => NO_ENTRY,
        }
    }

    fn read(&self, map: u32, slot: u32, offset: usize, into: &mut [u8]) -> bool {
        let value = self.maps.get(map as usize).and_then(|list| list.values.get(slot as usize));
        let bytes = value.and_then(|value| value.get(offset..offset + into.len()));
        bytes.is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }

    fn write(&mut self, map: u32, slot: u32, offset: usize, bytes: &[u8]) -> bool {
        let value = self.list(map).and_then(|list| list.values.get_mut(slot as usize));
        let there = value.and_then(|value| value.get_mut(offset..offset + bytes.len()));
        there.is_some_and(|there| {
            there.copy_from_slice(bytes);
            true
        })
    }
}
