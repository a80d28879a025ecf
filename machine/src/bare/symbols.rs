//! Names for addresses, out of a table that comes with the initrd.
//!
//! The table is text, one `hexaddress name` per line, sorted by address. It is only read while
//! reporting a fault, line by line, so a bad table gives bad names and nothing worse.

use core::str;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static TABLE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Sets the table: text, one `hexaddress name` per line, sorted.
pub fn set(table: &'static [u8]) {
    LENGTH.store(0, Ordering::Relaxed);
    TABLE.store(table.as_ptr().cast_mut(), Ordering::Relaxed);
    LENGTH.store(table.len(), Ordering::Relaxed);
}

/// The symbol that an address lies in (mangled) and the offset in it.
pub(super) fn find(address: u64) -> Option<(&'static str, u64)> {
    let length = LENGTH.load(Ordering::Relaxed);
    if length == 0 {
        return None;
    }
    // SAFETY: pointer and length are those of a `&'static [u8]` that `set` was given.
    let table = unsafe { core::slice::from_raw_parts(TABLE.load(Ordering::Relaxed), length) };
    let mut best = None;
    for line in table.split(|byte| *byte == b'\n') {
        let Some((start, name)) = str::from_utf8(line).ok().and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let Ok(start) = u64::from_str_radix(start, 16) else { continue };
        if start > address {
            break;
        }
        best = Some((name, address - start));
    }
    best
}
