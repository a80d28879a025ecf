//! The same maps for the reference interpreter.

use alloc::sync::Arc;

use ebpf::interp::Maps;

use super::{Map, status};

/// A program's maps, by position.
#[derive(Debug, Clone, Copy)]
pub struct MapSet<'a>(pub &'a [Arc<Map>]);

impl MapSet<'_> {
    fn map(&self, position: u32) -> Option<&Map> {
        self.0.get(position as usize).map(Arc::as_ref)
    }
}

impl Maps for MapSet<'_> {
    fn lookup(&mut self, map: u32, key: &[u8]) -> Option<u32> {
        self.map(map)?.lookup(key)
    }

    fn update(&mut self, map: u32, key: &[u8], value: &[u8], flags: u64) -> u64 {
        let map = self.map(map).ok_or(super::Errno::NoEntry);
        status(map.and_then(|map| map.update(key, value, flags)))
    }

    fn delete(&mut self, map: u32, key: &[u8]) -> u64 {
        let map = self.map(map).ok_or(super::Errno::NoEntry);
        status(map.and_then(|map| map.delete(key)))
    }

    fn read(&self, map: u32, slot: u32, offset: usize, into: &mut [u8]) -> bool {
        self.map(map).is_some_and(|map| map.read(slot, offset, into))
    }

    fn write(&mut self, map: u32, slot: u32, offset: usize, bytes: &[u8]) -> bool {
        self.map(map).is_some_and(|map| map.write(slot, offset, bytes))
    }
}
