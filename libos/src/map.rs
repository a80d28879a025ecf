//! Maps: memory shared with one's own handlers, by keys.
//!
//! A [`Map`] knows the sizes of its keys and values, and the kernel checks them with each call, so
//! that a name of somebody else's map cannot have more written than there is room for. Values are
//! plain bytes; [`Map::load`] and [`Map::store`] read and write any type that is.

use core::marker::PhantomData;

use abi::map::{ANY, MapRequest};
use abi::{Call, Handle, Status};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sys::{MapMemory, Request, perform};

/// What kind of map, by Linux's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// Any keys; full is full.
    Hash = 1,
    /// Keys are the numbers (`u32`) below the number of entries.
    Array = 2,
    /// Any keys; full forgets what was not used for long.
    LruHash = 9,
    /// Keys are a prefix length (`u32`) and data.
    LpmTrie = 11,
}

/// A map with keys `K` and values `V`. Copying the name copies nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct Map<K, V> {
    handle: Handle,
    types: PhantomData<(K, V)>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Map<K, V> {}

impl<K: IntoBytes + FromBytes + Immutable, V: IntoBytes + FromBytes + Immutable> Map<K, V> {
    /// A new map of at most so many entries; its memory comes out of one's own frames.
    ///
    /// # Errors
    /// `BadArgument` for sizes that the kind does not have, `Limit`, `NoMemory`.
    pub fn new(kind: Kind, max_entries: u32, name: &str) -> Result<Self, Status> {
        let mut bytes = [0; 16];
        for (place, byte) in bytes.iter_mut().take(15).zip(name.bytes()) {
            *place = byte;
        }
        let request = MapRequest {
            kind: kind as u64,
            key_size: size_of::<K>() as u64,
            value_size: size_of::<V>() as u64,
            max_entries: max_entries.into(),
            flags: 0,
            name: bytes,
        };
        let bytes = request.as_bytes();
        let handle = perform(Request::Block { call: Call::MapCreate, bytes })?;
        Ok(Self::adopt(Handle(handle)))
    }

    /// The map of that name, from somebody who says what is in it. If that is wrong the kernel
    /// refuses every call on it.
    #[must_use]
    pub const fn adopt(handle: Handle) -> Self {
        Map { handle, types: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub const fn handle(self) -> Handle {
        self.handle
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `NoEntry`; `MissingRight`, `BadHandle`.
    pub fn load(self, key: &K) -> Result<V, Status> {
        let mut value = V::new_zeroed();
        let memory = MapMemory::Into(value.as_mut_bytes());
        self.call(Call::MapLookup, key.as_bytes(), memory, 0)?;
        Ok(value)
    }

    /// Writes the value of a key, new or not.
    ///
    /// # Errors
    /// `Limit` if the map is full; `MissingRight`, `BadHandle`.
    pub fn store(self, key: &K, value: &V) -> Result<(), Status> {
        self.store_if(key, value, ANY)
    }

    /// The same with Linux's flags ([`abi::map::NO_EXIST`], [`abi::map::EXIST`]).
    ///
    /// # Errors
    /// `Exists`, `NoEntry` as the flags say; those of [`Map::store`].
    pub fn store_if(self, key: &K, value: &V, flags: u64) -> Result<(), Status> {
        let memory = MapMemory::Value(value.as_bytes());
        self.call(Call::MapUpdate, key.as_bytes(), memory, flags)
    }

    /// Takes a key out.
    ///
    /// # Errors
    /// `NoEntry`; `BadArgument` for arrays; `MissingRight`, `BadHandle`.
    pub fn remove(self, key: &K) -> Result<(), Status> {
        self.call(Call::MapDelete, key.as_bytes(), MapMemory::None, 0)
    }

    /// The key after this one, or the first.
    ///
    /// # Errors
    /// `NoEntry` after the last; `MissingRight`, `BadHandle`.
    pub fn next(self, key: Option<&K>) -> Result<K, Status> {
        let mut next = K::new_zeroed();
        let key = key.map_or(&[][..], IntoBytes::as_bytes);
        let memory = MapMemory::Key(next.as_mut_bytes());
        self.call(Call::MapNext, key, memory, 0)?;
        Ok(next)
    }

    /// Forgets the name; a binding that uses the map keeps it.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn drop_name(self) -> Result<(), Status> {
        crate::sys::plain(Call::CapDrop, &[self.handle.0]).map(drop)
    }

    fn call(self, call: Call, key: &[u8], memory: MapMemory<'_>, flags: u64) -> Result<(), Status> {
        perform(Request::Map { call, map: self.handle, key, memory, flags }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Map};
    use crate::sys::host;
    use crate::sys::{MapMemory, Request};
    use abi::{Call, Handle, Status};

    #[test]
    fn keys_and_values_go_as_bytes_of_their_sizes() {
        let _guard = host::script(|request| match request {
            Request::Block { call: Call::MapCreate, bytes } => {
                assert_eq!(bytes.len(), size_of::<abi::map::MapRequest>());
                (0, 77)
            }
            Request::Map { call: Call::MapLookup, map, key, memory, flags: 0 } => {
                assert_eq!((map, key), (Handle(77), &[3, 0, 0, 0][..]));
                let MapMemory::Into(into) = memory else { panic!("no room") };
                into.copy_from_slice(&9_u64.to_le_bytes());
                (0, 0)
            }
            Request::Map { call: Call::MapUpdate, memory, flags: 1, .. } => {
                assert!(matches!(memory, MapMemory::Value(bytes) if bytes.len() == 8));
                (Status::Exists as u64, 0)
            }
            Request::Map { call: Call::MapNext, key: &[], memory, .. } => {
                let MapMemory::Key(into) = memory else { panic!("no room") };
                into.copy_from_slice(&[5, 0, 0, 0]);
                (0, 0)
            }
            other => panic!("{other:?}"),
        });
        let map: Map<u32, u64> = Map::new(Kind::Hash, 8, "a name that is long").unwrap();
        assert_eq!(map.load(&3), Ok(9));
        assert_eq!(map.store_if(&3, &1, 1), Err(Status::Exists));
        assert_eq!(map.next(None), Ok(5));
    }
}
