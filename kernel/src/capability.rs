//! Capabilities: what a handle names in one environment's table, and with which rights.
//!
//! A handle is a slot and the slot's generation. Forgetting a capability moves the slot to its
//! next generation, so that an old handle names nothing; a slot whose generations are used up is
//! never used again. That the *object* is still there is asked of its own table by whoever uses
//! the capability: objects have serial numbers or generations of their own.
//!
//! Tables grow by chunks; a chunk is reserved and charged like a frame before it is made.

use abi::handle::Kind;
use abi::{Handle, Rights, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;
use verifier::{BindingId, GrantId};

use crate::environment::EnvironmentId;
use crate::limits::SLOTS_PER_CHUNK;
use crate::maps::MapId;
use crate::pages::PageId;
use crate::scheduler::SliceId;

/// What a capability names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// A physical page.
    Page(PageId),
    /// An environment.
    Environment(EnvironmentId),
    /// A pair of flow spaces.
    Grant(GrantId),
    /// A filter with its ring and ASH.
    Binding(BindingId),
    /// Text and record output, and the power switch.
    Debug,
    /// A position in the vector of slices.
    Slice(SliceId),
    /// The whole vector of slices.
    Vector,
    /// A map.
    Map(MapId),
}

impl Object {
    /// Its kind, as ring 3 knows it.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Object::Page(_) => Kind::Page,
            Object::Environment(_) => Kind::Environment,
            Object::Grant(_) => Kind::Grant,
            Object::Binding(_) => Kind::Binding,
            Object::Debug => Kind::Debug,
            Object::Slice(_) | Object::Vector => Kind::Slice,
            Object::Map(_) => Kind::Map,
        }
    }
}

/// An object and what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) object: Object,
    pub(crate) rights: Rights,
}

impl Capability {
    /// The same with no more than `rights`.
    ///
    /// # Errors
    /// [`Status::BadArgument`] for bits that are no right, [`Status::MissingRight`] for rights
    /// that this one does not have.
    pub(crate) fn shrink(self, rights: u64) -> Result<Capability, Status> {
        let bits = u32::try_from(rights).map_err(|_| Status::BadArgument)?;
        let rights = Rights::from_bits(bits).ok_or(Status::BadArgument)?;
        if self.rights.contains(rights) {
            Ok(Capability { rights, ..self })
        } else {
            Err(Status::MissingRight)
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    held: Option<Capability>,
    next_free: u32,
}

type Chunk = [Slot; SLOTS_PER_CHUNK];

const NONE: u32 = u32::MAX;

/// One environment's capabilities.
#[derive(Debug)]
pub(crate) struct Table {
    chunks: Vec<Box<Chunk>>,
    free: u32,
    held: usize,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table { chunks: Vec::new(), free: NONE, held: 0 }
    }

    /// Whether the next insertion needs a chunk first.
    pub(crate) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Chunks that it has.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Capabilities in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held
    }

    /// Adds a chunk of free slots.
    ///
    /// # Errors
    /// [`Status::Limit`] at `CAPABILITIES_MAX` slots.
    pub(crate) fn grow(&mut self) -> Result<(), Status> {
        let first = self.chunks.len() * SLOTS_PER_CHUNK;
        if first >= abi::limits::CAPABILITIES_MAX {
            return Err(Status::Limit);
        }
        let mut next = self.free;
        let mut chunk = [Slot { generation: 1, held: None, next_free: NONE }; SLOTS_PER_CHUNK];
        for (at, slot) in chunk.iter_mut().enumerate().rev() {
            slot.next_free = next;
            next = (first + at) as u32;
        }
        self.free = next;
        self.chunks.push(Box::new(chunk));
        Ok(())
    }

    /// Puts a capability into a free slot.
    ///
    /// # Errors
    /// [`Status::NoMemory`] if there is none: the caller did not [`Table::grow`] first.
    pub(crate) fn insert(&mut self, capability: Capability) -> Result<Handle, Status> {
        let index = self.free;
        let slot = self.slot_mut(index).ok_or(Status::NoMemory)?;
        slot.held = Some(capability);
        let (generation, next) = (slot.generation, slot.next_free);
        self.free = next;
        self.held += 1;
        Ok(Handle::new(index, generation))
    }

    /// What a handle names.
    ///
    /// # Errors
    /// [`Status::BadHandle`] for one that was never given out or is over.
    pub(crate) fn get(&self, handle: Handle) -> Result<Capability, Status> {
        let slot = self.slot(handle.index()).filter(|slot| slot.generation == handle.generation());
        slot.and_then(|slot| slot.held).ok_or(Status::BadHandle)
    }

    /// A handle names another object from now on, with the same rights; what it named before.
    ///
    /// # Errors
    /// As for [`Table::get`].
    pub(crate) fn rename(&mut self, handle: Handle, object: Object) -> Result<Capability, Status> {
        let capability = self.get(handle)?;
        let slot = self.slot_mut(handle.index()).ok_or(Status::BadHandle)?;
        slot.held = Some(Capability { object, ..capability });
        Ok(capability)
    }

    /// Forgets a capability, and says what it was.
    ///
    /// # Errors
    /// As for [`Table::get`].
    pub(crate) fn remove(&mut self, handle: Handle) -> Result<Capability, Status> {
        let capability = self.get(handle)?;
        let free = self.free;
        let index = handle.index();
        let slot = self.slot_mut(index).ok_or(Status::BadHandle)?;
        slot.held = None;
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            slot.next_free = free;
            self.free = index;
        }
        self.held -= 1;
        Ok(capability)
    }

    /// The last capability in the table whose object is of a kind.
    pub(crate) fn last_of(&self, kind: impl Fn(Object) -> bool) -> Option<(Handle, Object)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter()).enumerate();
        let fits = |(at, slot): (usize, &Slot)| {
            let object = slot.held.map(|it| it.object).filter(|&object| kind(object))?;
            Some((Handle::new(at as u32, slot.generation), object))
        };
        slots.filter_map(fits).last()
    }

    /// Every capability in the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Capability> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).filter_map(|slot| slot.held)
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        let index = index as usize;
        self.chunks.get(index / SLOTS_PER_CHUNK)?.get(index % SLOTS_PER_CHUNK)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        let index = index as usize;
        self.chunks.get_mut(index / SLOTS_PER_CHUNK)?.get_mut(index % SLOTS_PER_CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::{Capability, Object, Table};
    use abi::{Handle, Rights, Status};

    const DEBUG: Capability = Capability { object: Object::Debug, rights: Rights::WRITE };

    #[test]
    fn a_forgotten_handle_names_nothing_even_when_its_slot_is_used_again() {
        let mut table = Table::new();
        assert_eq!(table.insert(DEBUG), Err(Status::NoMemory));
        table.grow().unwrap();
        let old = table.insert(DEBUG).unwrap();
        assert_ne!(old, Handle::NONE);
        assert_eq!(table.remove(old), Ok(DEBUG));
        let new = table.insert(DEBUG).unwrap();
        assert_eq!(new.index(), old.index());
        assert_eq!(table.get(old), Err(Status::BadHandle));
        assert_eq!(table.remove(old), Err(Status::BadHandle));
        assert_eq!(table.get(new), Ok(DEBUG));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_table_ends_at_its_limit() {
        let mut table = Table::new();
        for _ in 0..abi::limits::CAPABILITIES_MAX {
            if table.is_full() {
                table.grow().unwrap();
            }
            table.insert(DEBUG).unwrap();
        }
        assert_eq!(table.grow(), Err(Status::Limit));
        for index in [0, 1, u32::MAX] {
            for generation in [0, 2, u32::MAX] {
                assert_eq!(table.get(Handle::new(index, generation)), Err(Status::BadHandle));
            }
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut table = Table::new();
        table.grow().unwrap();
        let first = table.insert(DEBUG).unwrap();
        table.slot_mut(first.index()).unwrap().generation = u32::MAX;
        let last = Handle::new(first.index(), u32::MAX);
        table.remove(last).unwrap();
        assert_eq!(table.get(last), Err(Status::BadHandle));
        assert_ne!(table.insert(DEBUG).unwrap().index(), first.index());
    }

    #[test]
    fn rights_only_shrink() {
        let both = Capability { rights: Rights::WRITE | Rights::GRANT, ..DEBUG };
        assert_eq!(both.shrink(2), Ok(DEBUG));
        assert_eq!(both.shrink(2 | 64), Err(Status::MissingRight));
        assert_eq!(both.shrink(1 << 31), Err(Status::BadArgument));
        assert_eq!(both.shrink(u64::MAX), Err(Status::BadArgument));
    }
}
