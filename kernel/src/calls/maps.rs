//! Calls on maps: made, read and written by the environment, beside its handlers.

use abi::bind::{BindRequest, MapList, WITH_MAPS};
use abi::map::{BINDING_MAPS_MAX, KEY_BYTES_MAX, MapRequest, READ_ONLY, sizes};
use abi::{Handle, Rights, Status};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ebpf::{MapKind, MapName, MapSpec};
use runtime::map::{Errno, Map};

use super::{Answer, Arguments, Done, bounded, permitted};
use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::maps::MapId;

/// Bytes of a value that are copied at a time.
const CHUNK: usize = 512;

impl Kernel {
    /// `(&MapRequest)` → map capability.
    pub(super) fn map_create(&mut self, a: &Arguments) -> Answer {
        let request: MapRequest = self.read_block(a.caller, a.words[0])?;
        let spec = spec(&request).ok_or(Status::BadArgument)?;
        self.reserve_slot(a.caller)?;
        let id = self.make_map(a.caller, spec)?;
        let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
        let handle = self.give(a.caller, Capability { object: Object::Map(id), rights })?;
        Ok(Done::Value(handle.0))
    }

    /// `(map, key, value, 0, sizes)`: copies the value out.
    pub(super) fn map_lookup(&mut self, a: &Arguments) -> Answer {
        let map = self.map_of(a, Rights::READ, true)?;
        let key = self.key_in(a.caller, &map, a.words[1])?;
        let slot = map.peek(key.bytes()).ok_or(Status::NoEntry)?;
        let size = map.spec().value_size as usize;
        if !self.reaches(a.caller, (a.words[2], size as u64), true) {
            return Err(Status::BadAddress);
        }
        let mut chunk = [0; CHUNK];
        for at in (0..size).step_by(CHUNK) {
            let part = chunk.get_mut(..CHUNK.min(size - at)).ok_or(Status::BadAddress)?;
            let inside = map.read(slot, at, part);
            debug_assert!(inside, "a value is as long as its map says");
            self.copy_out(a.caller, a.words[2] + at as u64, part)?;
        }
        Ok(Done::Value(0))
    }

    /// `(map, key, value, flags, sizes)`: writes the value.
    pub(super) fn map_update(&mut self, a: &Arguments) -> Answer {
        let map = self.map_of(a, Rights::WRITE, true)?;
        let key = self.key_in(a.caller, &map, a.words[1])?;
        let size = map.spec().value_size as usize;
        if !self.reaches(a.caller, (a.words[2], size as u64), false) {
            return Err(Status::BadAddress);
        }
        let slot = map.claim(key.bytes(), a.words[3]).map_err(refused)?;
        let mut chunk = [0; CHUNK];
        for at in (0..size).step_by(CHUNK) {
            let part = chunk.get_mut(..CHUNK.min(size - at)).ok_or(Status::BadAddress)?;
            self.copy_into(a.caller, a.words[2] + at as u64, part)?;
            let inside = map.write(slot, at, part);
            debug_assert!(inside, "a value is as long as its map says");
        }
        Ok(Done::Value(0))
    }

    /// `(map, key, 0, 0, sizes)`: takes the key out.
    pub(super) fn map_delete(&mut self, a: &Arguments) -> Answer {
        let map = self.map_of(a, Rights::WRITE, false)?;
        let key = self.key_in(a.caller, &map, a.words[1])?;
        map.delete(key.bytes()).map_err(refused)?;
        Ok(Done::Value(0))
    }

    /// `(map, key or 0, next key, 0, sizes)`: copies out the key after that one, or the first.
    pub(super) fn map_next(&mut self, a: &Arguments) -> Answer {
        let map = self.map_of(a, Rights::READ, false)?;
        let key = match a.words[1] {
            0 => None,
            address => Some(self.key_in(a.caller, &map, address)?),
        };
        let mut next = Key::of(&map)?;
        map.next_key(key.as_ref().map(Key::bytes), next.bytes_mut()).map_err(refused)?;
        self.copy_out(a.caller, a.words[2], next.bytes())?;
        Ok(Done::Value(0))
    }

    /// The maps listed behind a bind request at an address: the caller's own, to be read and
    /// written.
    pub(super) fn map_list(
        &self,
        caller: EnvironmentId,
        address: u64,
        request: &BindRequest,
    ) -> Result<Vec<MapId>, Status> {
        if request.flags & WITH_MAPS == 0 {
            return Ok(Vec::new());
        }
        let behind = address.checked_add(size_of::<BindRequest>() as u64);
        let list: MapList = self.read_block(caller, behind.ok_or(Status::BadAddress)?)?;
        let count = bounded(list.count, BINDING_MAPS_MAX)?;
        let bytes = self.copy_in(caller, list.maps, count * 8)?;
        let handles = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
        handles.map(|word| self.own_map(caller, Handle(u64::from_le_bytes(word)))).collect()
    }

    /// A map that the caller may read and write (a read-only one: read), and pays for itself.
    fn own_map(&self, caller: EnvironmentId, handle: Handle) -> Result<MapId, Status> {
        let (id, rights) = self.map_named(caller, handle)?;
        let held = self.maps.get(id).ok_or(Status::BadHandle)?;
        let read_only = held.map.spec().read_only;
        let wanted = if read_only { Rights::READ } else { Rights::READ | Rights::WRITE };
        permitted(rights, wanted)?;
        if held.owner == caller { Ok(id) } else { Err(Status::BadArgument) }
    }

    fn map_named(&self, caller: EnvironmentId, handle: Handle) -> Result<(MapId, Rights), Status> {
        match self.capability(caller, handle)? {
            Capability { object: Object::Map(id), rights } => Ok((id, rights)),
            _ => Err(Status::WrongKind),
        }
    }

    /// The map that a call is about, if the capability has these rights and the caller knows the
    /// sizes of its keys and, where the call has a value, of its values.
    fn map_of(&self, a: &Arguments, wanted: Rights, value: bool) -> Result<Arc<Map>, Status> {
        let (id, rights) = self.map_named(a.caller, a.handle())?;
        permitted(rights, wanted)?;
        let held = self.maps.get(id).ok_or(Status::BadHandle)?;
        let spec = held.map.spec();
        let value_size = if value { spec.value_size } else { 0 };
        if a.words[4] != sizes(spec.key_size, value_size) {
            return Err(Status::BadArgument);
        }
        Ok(Arc::clone(&held.map))
    }

    fn key_in(&self, caller: EnvironmentId, map: &Map, address: u64) -> Result<Key, Status> {
        let mut key = Key::of(map)?;
        self.copy_into(caller, address, key.bytes_mut())?;
        Ok(key)
    }
}

/// A key of some map.
struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    size: usize,
}

impl Key {
    /// Room for a key.
    fn of(map: &Map) -> Result<Key, Status> {
        let size = bounded(map.spec().key_size.into(), KEY_BYTES_MAX)?;
        Ok(Key { bytes: [0; KEY_BYTES_MAX], size })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.size).unwrap_or_default()
    }
}

/// The specification in a request; `None` if it is none.
fn spec(request: &MapRequest) -> Option<MapSpec> {
    let number = |word: u64| u32::try_from(word).ok();
    let MapRequest { kind, key_size, value_size, max_entries, flags, name } = *request;
    if flags & !READ_ONLY != 0 {
        return None;
    }
    Some(MapSpec {
        kind: MapKind::from_number(number(kind)?)?,
        key_size: number(key_size)?,
        value_size: number(value_size)?,
        max_entries: number(max_entries)?,
        read_only: flags & READ_ONLY != 0,
        name: MapName::from_bytes(&name),
    })
}

fn refused(errno: Errno) -> Status {
    match errno {
        Errno::NoEntry => Status::NoEntry,
        Errno::Exists => Status::Exists,
        Errno::TooBig | Errno::NoSpace => Status::Limit,
        Errno::NotPermitted => Status::MissingRight,
        Errno::Fault => Status::BadAddress,
        Errno::Invalid => Status::BadArgument,
    }
}
