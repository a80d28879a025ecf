//! Maps as the kernel keeps them: in frames that their owner pays for.
//!
//! The idea: a map is one allocation arena over a run of frames, so that what it costs is known to
//! the frame before it is made, and all of it goes back at once. A map lives while somebody holds
//! a capability to it or a binding of its owner uses it, and no longer than its owner. Only its
//! owner binds it: so everybody's handlers stand on memory that they pay for.
//!
//! Making a map fills its memory; the card is served in between.

use abi::Status;
use abi::map::{MAP_BYTES_MAX, MAPS_MAX};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ebpf::MapSpec;
use machine::heap::Arena;
use runtime::map::{MakeError, Maker, Map};
use runtime::random::mix;

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::limits::{MAP_FILL_WORDS, MAP_OVERHEAD};
use crate::reserve::Need;

/// Names a map; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MapId(u64);

/// A map and what it stands on.
pub(crate) struct Held {
    pub(crate) map: Arc<Map>,
    pub(crate) owner: EnvironmentId,
    arena: Arena,
    frames: u64,
    /// Capabilities to it, in all tables.
    holders: u32,
    /// Bindings that use it.
    pins: u32,
}

/// All maps.
pub(crate) struct Maps {
    table: BTreeMap<MapId, Held>,
    serial: u64,
    secret: u64,
}

impl Maps {
    /// None yet; the secret goes into the hashes of all of them.
    pub(crate) fn new(secret: u64) -> Maps {
        Maps { table: BTreeMap::new(), serial: 0, secret }
    }

    /// The map with this name, if it is still there.
    pub(crate) fn get(&self, id: MapId) -> Option<&Held> {
        self.table.get(&id)
    }

    /// Frames that an environment's maps stand on.
    pub(crate) fn frames_of(&self, owner: EnvironmentId) -> u64 {
        self.table.values().filter(|held| held.owner == owner).map(|held| held.frames).sum()
    }

    /// Every map has as many pins as bindings name it.
    pub(crate) fn agree(&self, used: impl Fn(MapId) -> usize) -> bool {
        self.table.iter().all(|(&id, held)| {
            used(id) == held.pins as usize && (held.holders > 0 || held.pins > 0)
        })
    }
}

/// Frames that a map of this kind stands on, the allocator's needs included.
fn frames_for(spec: &MapSpec) -> usize {
    (Map::bytes(spec) + MAP_OVERHEAD).div_ceil(abi::limits::PAGE_BYTES)
}

impl Kernel {
    /// Makes a map for `owner`, which holds no capability to it yet.
    ///
    /// # Errors
    /// [`Status::BadArgument`], [`Status::Limit`], [`Status::NoMemory`].
    pub(crate) fn make_map(
        &mut self,
        owner: EnvironmentId,
        spec: MapSpec,
    ) -> Result<MapId, Status> {
        spec.validate().map_err(|_| Status::BadArgument)?;
        let mine = self.maps.table.values().filter(|held| held.owner == owner).count();
        if Map::bytes(&spec) > MAP_BYTES_MAX || mine >= MAPS_MAX {
            return Err(Status::Limit);
        }
        let frames = frames_for(&spec);
        let need = Need { frames: frames as u64, charge: 0, heap: 4096 };
        self.reserve(owner, need)?;
        let run = self.memory.take_run(frames).ok_or(Status::NoMemory)?;
        let mut arena = Arena::new(run);
        match self.fill_map(&mut arena, spec) {
            Ok(map) => {
                if let Some(environment) = self.environments.get_mut(owner) {
                    environment.account.maps += frames as u64;
                }
                let id = MapId(self.maps.serial);
                let (frames, holders, pins) = (frames as u64, 0, 0);
                self.maps.table.insert(id, Held { map, owner, arena, frames, holders, pins });
                Ok(id)
            }
            Err(error) => {
                self.give_arena(arena, frames as u64);
                Err(match error {
                    MakeError::Spec(_) => Status::BadArgument,
                    MakeError::NoMemory { .. } => Status::NoMemory,
                })
            }
        }
    }

    fn fill_map(&mut self, arena: &mut Arena, spec: MapSpec) -> Result<Arc<Map>, MakeError> {
        self.maps.serial += 1;
        let (secret, serial) = (self.maps.secret, self.maps.serial);
        let secret = [mix(secret ^ mix(serial)), mix(secret.wrapping_add(serial))];
        let mut maker = arena.enter(|| Maker::new(spec, secret))?;
        while !maker.advance(MAP_FILL_WORDS) {
            self.poll_card();
        }
        Ok(arena.enter(|| maker.finish()))
    }

    fn give_arena(&mut self, arena: Arena, frames: u64) {
        match arena.into_run() {
            Ok(run) => self.memory.give_run(run, frames as usize),
            Err(busy) => log::error!("{} parts of a map outlived it: frames kept", busy.alive),
        }
    }

    /// A capability to a map came to be.
    pub(crate) fn hold_map(&mut self, id: MapId) {
        if let Some(held) = self.maps.table.get_mut(&id) {
            held.holders += 1;
        }
    }

    /// A capability to a map is gone.
    pub(crate) fn forget_map(&mut self, id: MapId) {
        if let Some(held) = self.maps.table.get_mut(&id) {
            held.holders = held.holders.saturating_sub(1);
            self.collect_map(id);
        }
    }

    /// A binding uses these maps from now on.
    pub(crate) fn pin_maps(&mut self, ids: &[MapId]) {
        for id in ids {
            if let Some(held) = self.maps.table.get_mut(id) {
                held.pins += 1;
            }
        }
    }

    /// A binding that used these maps is gone, its code with it.
    pub(crate) fn unpin_maps(&mut self, ids: &[MapId]) {
        for &id in ids {
            if let Some(held) = self.maps.table.get_mut(&id) {
                held.pins = held.pins.saturating_sub(1);
                self.collect_map(id);
            }
        }
    }

    /// The maps themselves, for code that is about to be loaded; none if one is gone or not the
    /// owner's.
    pub(crate) fn maps_of(&self, owner: EnvironmentId, ids: &[MapId]) -> Option<Vec<Arc<Map>>> {
        let held = ids.iter().map(|&id| self.maps.get(id).filter(|held| held.owner == owner));
        held.map(|held| held.map(|held| Arc::clone(&held.map))).collect()
    }

    /// Gives a map back that nobody can reach any more.
    fn collect_map(&mut self, id: MapId) {
        if self.maps.get(id).is_some_and(|held| held.holders == 0 && held.pins == 0) {
            self.free_map(id);
        }
    }

    fn free_map(&mut self, id: MapId) {
        let Some(held) = self.maps.table.remove(&id) else { return };
        let Held { map, owner, arena, frames, .. } = held;
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.account.maps = environment.account.maps.saturating_sub(frames);
        }
        drop(map);
        self.give_arena(arena, frames);
    }

    /// Gives back every map of an environment that ends; its bindings are gone already.
    pub(crate) fn free_maps_of(&mut self, owner: EnvironmentId) {
        let first = |kernel: &Kernel| {
            let mut maps = kernel.maps.table.iter();
            maps.find(|(_, held)| held.owner == owner).map(|(&id, _)| id)
        };
        while let Some(id) = first(self) {
            self.free_map(id);
        }
    }
}

const _: () = assert!(MAP_BYTES_MAX <= ebpf::limits::MAP_BYTES_MAX);
const _: () = assert!(abi::map::KEY_BYTES_MAX == ebpf::limits::MAP_KEY_BYTES_MAX);
const _: () = assert!(abi::map::BINDING_MAPS_MAX <= ebpf::limits::MAPS_MAX);
const _: () = assert!(MAPS_MAX * abi::limits::ENVIRONMENTS_MAX <= machine::limits::ARENAS_FOR_MAPS);
