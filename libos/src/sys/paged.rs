//! Memory that the program pages itself: a range in which no Rust object ever lives.
//!
//! Everything between [`crate::layout::PAGED`] and its end is the program's to bind, unbind and
//! protect as it likes, and is touched only by the functions here, word by word: what an access
//! there does (fault, wait for a page, be copied) is the program's own doing and never surprises
//! the compiler. *Probes* report a fault instead of suffering it, if the program's fault handler
//! calls [`super::upcall::Upcall::skip_probe`]; they may also reach for what ring 3 cannot have.

use abi::bind::BatchEntry;
use abi::exposed;
use abi::limits::{PAGE_BYTES, USER_END, USER_START};
use abi::{Call, Rights, Status};

use super::{Request, perform, plain};
use crate::capability::{Env, Page};
use crate::layout::{PAGED, PAGED_END};

/// Binds a page in the range.
///
/// # Errors
/// What the kernel said; `BadAddress` outside the range.
pub fn map(own: Env, page: Page, address: u64, rights: Rights) -> Result<(), Status> {
    inside(address, 1)?;
    page.map_with(own, address, rights)
}

/// Breaks a binding in the range.
///
/// # Errors
/// What the kernel said; `BadAddress` outside the range.
pub fn unmap(own: Env, address: u64) -> Result<(), Status> {
    inside(address, 1)?;
    plain(Call::PageUnmap, &[own.0.0, address]).map(drop)
}

/// Gives bound pages of the range other rights, all or none.
///
/// # Errors
/// What the kernel said; `BadAddress` outside the range.
pub fn protect(own: Env, address: u64, pages: usize, rights: Rights) -> Result<(), Status> {
    inside(address, pages)?;
    let rights = u64::from(rights.bits());
    plain(Call::PageProtect, &[own.0.0, address, pages as u64, rights]).map(drop)
}

/// Many of these in one call: how many were done.
///
/// # Errors
/// How many were done before the status that stopped it; `BadAddress` outside the range.
pub fn batch(own: Env, entries: &[BatchEntry]) -> Result<usize, (usize, Status)> {
    for entry in entries {
        inside(entry.address, 1).map_err(|status| (0, status))?;
    }
    let answer = perform(Request::Batch { own: own.0, entries }).map_err(|status| (0, status))?;
    let (done, stopped) = ((answer & 0xffff) as usize, answer >> 16);
    match Status::from_number(stopped) {
        Some(Status::Ok) => Ok(done),
        Some(status) => Err((done, status)),
        None => Err((done, Status::UnknownCall)),
    }
}

fn inside(address: u64, pages: usize) -> Result<(), Status> {
    let bytes = (pages as u64).checked_mul(PAGE_BYTES as u64);
    let end = bytes.and_then(|bytes| address.checked_add(bytes));
    let fits = address >= PAGED && end.is_some_and(|end| end <= PAGED_END);
    if fits { Ok(()) } else { Err(Status::BadAddress) }
}

/// Reads a word of the range. A fault is the fault handler's to resolve.
pub fn load(address: u64) -> u64 {
    assert!(is_word(address), "{address:#x} is no word of the paged range");
    probe_load(address).unwrap_or_default()
}

/// Writes a word of the range.
pub fn store(address: u64, value: u64) {
    assert!(is_word(address), "{address:#x} is no word of the paged range");
    let _ = probe_store(address, value);
}

/// Reads a word of the range, of what the kernel shows, or of what ring 3 cannot have: `None` if
/// that faults and the fault handler skips it.
pub fn probe_load(address: u64) -> Option<u64> {
    assert!(is_word(address) || is_nobodys(address), "{address:#x} may be an object's");
    platform::load(address)
}

/// Writes a word there: `false` if that faults and the fault handler skips it.
pub fn probe_store(address: u64, value: u64) -> bool {
    assert!(is_word(address) || is_nobodys(address), "{address:#x} may be an object's");
    platform::store(address, value)
}

/// Shows the processor's own entries for pages in a row, each with its place in the row. One that
/// was never bound, nor any near it, is a fault at an address of the page tables' window.
pub fn leaves(address: u64, pages: u64, mut each: impl FnMut(u64, u64)) {
    let bytes = pages.checked_mul(PAGE_BYTES as u64);
    let end = bytes.and_then(|bytes| address.checked_add(bytes));
    assert!(end.is_some_and(|end| end <= USER_END), "{pages} pages at {address:#x}");
    let first = exposed::leaf_entry(address);
    for page in 0..pages {
        each(page, platform::shown(first + page * 8));
    }
}

fn is_word(address: u64) -> bool {
    (PAGED..PAGED_END).contains(&address) && address.is_multiple_of(8)
}

/// Addresses at which no Rust object can be.
fn is_nobodys(address: u64) -> bool {
    let shown = (exposed::SYSTEM..exposed::END).contains(&address)
        || (exposed::TABLES..exposed::TABLES_END).contains(&address);
    shown || !(USER_START..USER_END).contains(&address)
}

/// Whether the page of this address is in the range, is the start block's (read-only), or can
/// have no Rust object for another reason.
pub(super) fn is_open(address: u64) -> bool {
    let start = crate::layout::START..crate::layout::START + PAGE_BYTES as u64;
    (PAGED..PAGED_END).contains(&address) || start.contains(&address) || is_nobodys(address)
}

#[cfg(target_os = "none")]
pub(super) use platform::failed as probe_failed;

#[cfg(target_os = "none")]
mod platform {
    use core::arch::global_asm;

    global_asm!(
        "    .text",
        "    .global sluice_probe_load, sluice_probe_load_at",
        "    .global sluice_probe_store, sluice_probe_store_at, sluice_probe_failed",
        "sluice_probe_load:",
        "    xor edx, edx",
        "sluice_probe_load_at:",
        "    mov rax, [rdi]",
        "    ret",
        "sluice_probe_store:",
        "    xor edx, edx",
        "sluice_probe_store_at:",
        "    mov [rdi], rsi",
        "    ret",
        "sluice_probe_failed:",
        "    mov edx, 1",
        "    ret",
    );

    #[repr(C)]
    struct Outcome {
        value: u64,
        failed: u64,
    }

    unsafe extern "C" {
        fn sluice_probe_load(address: u64) -> Outcome;
        fn sluice_probe_store(address: u64, value: u64) -> Outcome;
        static sluice_probe_load_at: u8;
        static sluice_probe_store_at: u8;
        static sluice_probe_failed: u8;
    }

    pub(super) fn load(address: u64) -> Option<u64> {
        // SAFETY: no Rust object is there (checked by the callers); a fault is an upcall or ends
        // the program.
        let outcome = unsafe { sluice_probe_load(address) };
        (outcome.failed == 0).then_some(outcome.value)
    }

    pub(super) fn store(address: u64, value: u64) -> bool {
        // SAFETY: as above: nothing that the compiler knows of changes.
        let outcome = unsafe { sluice_probe_store(address, value) };
        outcome.failed == 0
    }

    /// A word of what the kernel shows.
    pub(super) fn shown(address: u64) -> u64 {
        // SAFETY: the caller's address is one of the page tables' window, where no Rust object is
        // and which others write word by word.
        unsafe { (address as *const u64).read_volatile() }
    }

    /// Where a probe goes on that faulted at `rip`, if that is one.
    pub(in crate::sys) fn failed(rip: u64) -> Option<u64> {
        let at = |symbol: *const u8| symbol as u64;
        let (load, store) = (&raw const sluice_probe_load_at, &raw const sluice_probe_store_at);
        (rip == at(load) || rip == at(store)).then(|| at(&raw const sluice_probe_failed))
    }
}

/// On the host there is no such memory: reads are zero, writes go nowhere.
#[cfg(not(target_os = "none"))]
mod platform {
    pub(super) fn load(_address: u64) -> Option<u64> {
        Some(0)
    }

    pub(super) fn store(_address: u64, _value: u64) -> bool {
        true
    }

    pub(super) fn shown(_address: u64) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{batch, map, protect, unmap};
    use crate::capability::{Env, Page};
    use crate::layout::{PAGED, PAGED_END};
    use crate::sys::{Request, host};
    use abi::bind::BatchEntry;
    use abi::{Handle, Rights, Status};

    const OWN: Env = Env(Handle(7));

    #[test]
    fn nothing_outside_the_range_is_bound_or_unbound() {
        let _guard = host::script(|request| panic!("asked for {request:?}"));
        for address in [0, 0x40_0000, PAGED - 4096, PAGED_END, u64::MAX - 4095] {
            let outside = Err(Status::BadAddress);
            assert_eq!(map(OWN, Page(Handle(1)), address, Rights::READ), outside);
            assert_eq!(unmap(OWN, address), outside);
            assert_eq!(protect(OWN, address, 1, Rights::READ), outside);
            let entry = BatchEntry { address, ..BatchEntry::default() };
            assert_eq!(batch(OWN, &[entry]), Err((0, Status::BadAddress)));
        }
        assert_eq!(protect(OWN, PAGED_END - 4096, 2, Rights::READ), Err(Status::BadAddress));
        assert_eq!(protect(OWN, PAGED, usize::MAX, Rights::READ), Err(Status::BadAddress));
    }

    #[test]
    fn a_batch_says_how_far_it_came() {
        let _guard = host::script(|request| match request {
            Request::Batch { entries, .. } if entries.len() == 3 => (0, 3),
            _ => (0, 1 | (Status::Occupied as u64) << 16),
        });
        let entry = BatchEntry { address: PAGED, ..BatchEntry::default() };
        assert_eq!(batch(OWN, &[entry; 3]), Ok(3));
        assert_eq!(batch(OWN, &[entry; 2]), Err((1, Status::Occupied)));
    }
}
