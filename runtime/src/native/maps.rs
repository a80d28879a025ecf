//! Bodies of the helpers that generated code calls with maps and memory.
//!
//! The verifier has proven what each argument is: the address of a map that the code was sealed
//! with, and memory of the sizes that the map or the next argument says. No body is reachable but
//! through generated code.
//!
//! Memory of the program may be a value of a map, which is atomic words to everybody else. While a
//! body has a slice of it nothing is written: keys are only read, and a value is copied word by
//! word through its address.

use ebpf::helper::{CSUM_DIFF, MAP_DELETE, MAP_LOOKUP, MAP_UPDATE};
use ebpf::{MapKind, MapSpec};

use super::effects::{ContextBody, Entry};
use crate::checksum;
use crate::map::{Errno, Map, status};

/// The bodies by number, ascending.
pub(crate) const TABLE: [Entry; 4] = [
    (MAP_LOOKUP, map_lookup as ContextBody),
    (MAP_UPDATE, map_update as ContextBody),
    (MAP_DELETE, map_delete as ContextBody),
    (CSUM_DIFF, csum_diff as ContextBody),
];

/// `map_lookup_elem(map, key)`: the value's address, or 0.
unsafe extern "C" fn map_lookup(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let (map, key) = unsafe { open(map, key) };
    map.lookup(key).map_or(0, |slot| map.value_address(slot))
}

/// The body of `map_lookup_elem` for a map that is known when a program is compiled, if there is a
/// shorter one: hash maps whose keys are a word or half a word.
pub(crate) fn look_up(spec: &MapSpec) -> Option<ContextBody> {
    match (spec.kind, spec.key_size) {
        (MapKind::Hash, 4) => Some(look_up_hashed::<u32>),
        (MapKind::Hash, 8) => Some(look_up_hashed::<u64>),
        _ => None,
    }
}

/// `map_lookup_elem(map, key)` where the map is a hash map and its keys are such numbers.
unsafe extern "C" fn look_up_hashed<K: Into<u64> + Copy>(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    let map = core::ptr::with_exposed_provenance::<Map>(map as usize);
    let key = core::ptr::with_exposed_provenance::<K>(key as usize);
    // SAFETY: the verifier has proven the one to be the map that this body was chosen for, which
    // outlives the call and is only ever shared, and the other as many readable bytes as its keys
    // have: a `K`'s, any of which are one.
    let (map, key) = unsafe { (&*map, key.read_unaligned()) };
    map.lookup_word(key.into()).map_or(0, |slot| map.value_address(slot))
}

/// `map_update_elem(map, key, value, flags)`: 0 or a negative error number.
unsafe extern "C" fn map_update(map: u64, key: u64, value: u64, flags: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let (map, key) = unsafe { open(map, key) };
    if map.spec().read_only {
        return Errno::NotPermitted.status();
    }
    match map.claim(key, flags) {
        // SAFETY: the verifier has proven that the argument leads to as many bytes as a value has.
        Ok(slot) => unsafe { copy_value(map, slot, value) },
        Err(errno) => return errno.status(),
    }
    0
}

/// `map_delete_elem(map, key)`: 0 or a negative error number.
unsafe extern "C" fn map_delete(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let (map, key) = unsafe { open(map, key) };
    if map.spec().read_only {
        return Errno::NotPermitted.status();
    }
    status(map.delete(key))
}

/// `csum_diff(from, length, to, length, seed)`: the checksum, or a negative error number.
unsafe extern "C" fn csum_diff(from: u64, bytes: u64, to: u64, more: u64, seed: u64) -> u64 {
    // SAFETY: the verifier has proven both pairs to be memory that may be read, or of length 0;
    // nothing is written while the slices live.
    let (from, to) = unsafe { (slice(from, bytes), slice(to, more)) };
    checksum::difference(from, to, seed).unwrap_or_else(Errno::status)
}

/// The map and the key that a call names.
///
/// # Safety
/// `map` must be the address of a map that outlives the call, `key` that of as many readable bytes
/// as its keys have, which nothing writes while the result lives.
unsafe fn open<'a>(map: u64, key: u64) -> (&'a Map, &'a [u8]) {
    let map = core::ptr::with_exposed_provenance::<Map>(map as usize);
    // SAFETY: the caller says that it is one; a map is only ever shared.
    let map = unsafe { &*map };
    // SAFETY: the caller's promise.
    let key = unsafe { slice(key, u64::from(map.spec().key_size)) };
    (map, key)
}

/// Memory of the program that runs.
///
/// # Safety
/// So many bytes at the address must be readable and unwritten while the result lives, or none.
pub(super) unsafe fn slice<'a>(address: u64, bytes: u64) -> &'a [u8] {
    if bytes == 0 {
        return &[];
    }
    let start = core::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the caller's promise; a length that was proven to be readable is no longer than
    // memory is.
    unsafe { core::slice::from_raw_parts(start, bytes as usize) }
}

/// Copies a value into a slot, word by word: it may be the slot's own.
///
/// # Safety
/// As many bytes as the map's values have must be readable at the address.
unsafe fn copy_value(map: &Map, slot: u32, from: u64) {
    let from = core::ptr::with_exposed_provenance::<u8>(from as usize);
    let (first, size) = (map.value_word(slot), map.spec().value_size as usize);
    for at in 0..size / 8 {
        // SAFETY: whole words inside the value that the caller promises.
        let word = unsafe { from.add(at * 8).cast::<u64>().read_unaligned() };
        map.values().set(first + at, word);
    }
    let mut rest = [0; 8];
    for at in size / 8 * 8..size {
        // SAFETY: inside the value that the caller promises.
        let byte = unsafe { from.add(at).read() };
        if let Some(place) = rest.get_mut(at % 8) {
            *place = byte;
        }
    }
    if !size.is_multiple_of(8) {
        map.values().set(first + size / 8, u64::from_le_bytes(rest));
    }
}
