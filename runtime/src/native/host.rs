//! Executable pages from the host's operating system.
//!
//! The idea: each region is one anonymous mapping of its own: read-write until sealed, then
//! read-execute (`mprotect`), which drops write permission from the only mapping there is. Bytes
//! never written are filled with `int3`, so that running into them traps.
//!
//! Sealed mappings outlive the [`HostPages`] they came from, as [`CodePages`] demands: what was
//! not freed is leaked, never unmapped under a `Code`.

use alloc::collections::BTreeMap;
use core::mem::{forget, take};

use memmap2::{Mmap, MmapMut};

use super::pages::{CodeError, CodePages, CodeRegion, Sealed};

const PAGE_BYTES: usize = 4096;
const TRAP: u8 = 0xcc;

/// Code pages on the host; bounded by a capacity in bytes.
#[derive(Debug)]
pub struct HostPages {
    open: BTreeMap<usize, MmapMut>,
    sealed: BTreeMap<usize, Mmap>,
    capacity: usize,
    used: usize,
}

impl HostPages {
    /// Pages for at most `capacity` bytes of code at a time (whole pages count).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { open: BTreeMap::new(), sealed: BTreeMap::new(), capacity, used: 0 }
    }

    /// Bytes of pages in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }
}

impl Default for HostPages {
    /// 256 MiB.
    fn default() -> Self {
        Self::new(256 << 20)
    }
}

// SAFETY: every region is an anonymous private mapping of its own, so it belongs to nobody else and
// has no alias; `make_exec` maps it read-execute; `sealed` keeps it until `free` finds it there,
// and `drop` leaks what is left. `free` looks regions up in its own list, so a foreign `Sealed` is
// ignored (its mapping stays).
unsafe impl CodePages for HostPages {
    fn reserve(&mut self, bytes: usize) -> Result<CodeRegion, CodeError> {
        let full = CodeError::NoMemory { bytes, limit: self.capacity };
        let len = bytes.max(1).checked_next_multiple_of(PAGE_BYTES).ok_or(full)?;
        if len > self.capacity.saturating_sub(self.used) {
            return Err(full);
        }
        let mut map = MmapMut::map_anon(len).map_err(|_| full)?;
        map.fill(TRAP);
        let base = map.as_mut_ptr().expose_provenance();
        self.open.insert(base, map);
        self.used += len;
        // SAFETY: the mapping is new, ours alone, and mapped without execute permission.
        Ok(unsafe { CodeRegion::new(base, len) })
    }

    fn write(&mut self, region: &CodeRegion, offset: usize, bytes: &[u8]) -> Result<(), CodeError> {
        let error = CodeError::OutsideRegion { offset, bytes: bytes.len(), len: region.len() };
        let map = self.open.get_mut(&region.base()).ok_or(error)?;
        let end = offset.checked_add(bytes.len()).ok_or(error)?;
        map.get_mut(offset..end).ok_or(error)?.copy_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, region: CodeRegion) -> Result<Sealed, CodeError> {
        let map = self.open.remove(&region.base()).ok_or(CodeError::SealFailed)?;
        let Ok(map) = map.make_exec() else {
            self.used -= region.len();
            return Err(CodeError::SealFailed);
        };
        self.sealed.insert(region.base(), map);
        // SAFETY: `make_exec` has just mapped the region read-execute; it has no other mapping.
        Ok(unsafe { Sealed::new(region) })
    }

    fn abandon(&mut self, region: CodeRegion) {
        if self.open.remove(&region.base()).is_some() {
            self.used -= region.len();
        }
    }

    fn free(&mut self, sealed: Sealed) {
        if self.sealed.remove(&sealed.base()).is_some() {
            self.used -= sealed.len();
        }
    }
}

impl Drop for HostPages {
    fn drop(&mut self) {
        for (_, map) in take(&mut self.sealed) {
            forget(map);
        }
    }
}
