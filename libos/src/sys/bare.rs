//! Calls on the machine: `syscall` with pointers made from borrowed slices.
//!
//! Invariant: every address in the registers or in an argument block comes from a slice that is
//! borrowed until the call has returned.

use core::arch::asm;

use abi::bind::{
    BindRequest, BindingStats, CarveRequest, CertificateAt, GrantRequest, HandOverRequest, MapList,
    WITH_CERTIFICATE, WITH_MAPS,
};
use abi::download::{PredicateRequest, WordRef};
use abi::limits::PAGE_BYTES;
use abi::{Call, Handle};

use super::{Bind, MapMemory, Request, Window};

const _: () = assert!(size_of::<CarveRequest>() == size_of::<HandOverRequest>());

/// Status and value.
pub(super) fn perform(request: Request<'_>) -> (u64, u64) {
    match request {
        Request::Plain { call, args } => registers(call as u64, args),
        Request::Text { call, first, bytes } => {
            registers(call as u64, [first, address(bytes), bytes.len() as u64, 0, 0, 0])
        }
        Request::Books { into } => {
            let at = into.as_mut_ptr() as u64;
            registers(Call::Books as u64, [at, into.len() as u64, 0, 0, 0, 0])
        }
        Request::Stats { binding, into } => {
            let at = core::ptr::from_mut::<BindingStats>(into) as u64;
            registers(Call::BindingStats as u64, [binding.0, at, 0, 0, 0, 0])
        }
        Request::Derive { grant, receive, transmit, refusal } => {
            let block = GrantRequest {
                receive: address(receive),
                receive_bytes: receive.len() as u64,
                transmit: address(transmit),
                transmit_bytes: transmit.len() as u64,
                refusal: refusal.as_mut_ptr() as u64,
                refusal_bytes: refusal.len() as u64,
            };
            let at = core::ptr::from_ref(&block) as u64;
            registers(Call::GrantDerive as u64, [grant.0, at, 0, 0, 0, 0])
        }
        Request::List { call, first, handles } => {
            behind(call, first, [address(handles), handles.len() as u64])
        }
        Request::Fill { call, first, into } => {
            behind(call, first, [into.as_mut_ptr() as u64, into.len() as u64])
        }
        Request::Bind(bind) => self::bind(bind),
        Request::Part { call, program, bind } => part(call, program, bind),
        Request::Block { call, bytes } => registers(call as u64, [address(bytes), 0, 0, 0, 0, 0]),
        Request::Map { call, map, key, memory, flags } => {
            let (at, size, value) = match memory {
                MapMemory::None => (0, key.len(), 0),
                MapMemory::Value(bytes) => (address(bytes), key.len(), bytes.len()),
                MapMemory::Into(bytes) => (bytes.as_mut_ptr() as u64, key.len(), bytes.len()),
                // The kernel writes as many bytes as keys have, or refuses.
                MapMemory::Key(bytes) => (bytes.as_mut_ptr() as u64, bytes.len(), 0),
            };
            let sizes = size as u64 | (value as u64) << 32;
            registers(call as u64, [map.0, address(key), at, flags, sizes, 0])
        }
        Request::Words { call, first, into } => {
            let at = into.as_mut_ptr() as u64;
            let args = match first {
                Some(first) => [first.0, at, 0, 0, 0, 0],
                None => [at, into.len() as u64, 0, 0, 0, 0],
            };
            registers(call as u64, args)
        }
        Request::Predicate { program, words, refusal } => predicate(program, words, refusal),
        Request::Batch { own, entries } => {
            let count = entries.len() as u64;
            registers(Call::PageBatch as u64, [own.0, address(entries), count, 0, 0, 0])
        }
    }
}

/// Two arguments, behind one that not every call has.
fn behind(call: Call, first: Option<u64>, [at, count]: [u64; 2]) -> (u64, u64) {
    match first {
        Some(first) => registers(call as u64, [first, at, count, 0, 0, 0]),
        None => registers(call as u64, [at, count, 0, 0, 0, 0]),
    }
}

fn predicate(program: &[u8], words: &[WordRef], refusal: &mut [u8]) -> (u64, u64) {
    let block = PredicateRequest {
        program: address(program),
        program_bytes: program.len() as u64,
        words: address(words),
        word_count: words.len() as u64,
        refusal: refusal.as_mut_ptr() as u64,
        refusal_bytes: refusal.len() as u64,
    };
    let at = core::ptr::from_ref(&block) as u64;
    registers(Call::PredicateSet as u64, [at, 0, 0, 0, 0, 0])
}

fn bind(mut bind: Bind<'_>) -> (u64, u64) {
    /// A request and what stands behind it.
    #[repr(C)]
    struct Block(BindRequest, MapList, CertificateAt);
    let (request, maps, certificate) = bound(&mut bind);
    let block = Block(request, maps, certificate);
    let at = core::ptr::from_ref(&block) as u64;
    registers(Call::Bind as u64, [bind.grant.0, at, 0, 0, 0, 0])
}

/// `CarveRequest` and `HandOverRequest` are the same to whoever fills them in.
fn part(call: Call, program: &[u8], mut bind: Bind<'_>) -> (u64, u64) {
    #[repr(C)]
    struct Block(CarveRequest, MapList, CertificateAt);
    let (bound, maps, certificate) = bound(&mut bind);
    let (transmit, transmit_bytes) = (address(program), program.len() as u64);
    let block = Block(CarveRequest { transmit, transmit_bytes, bind: bound }, maps, certificate);
    let at = core::ptr::from_ref(&block) as u64;
    registers(call as u64, [bind.grant.0, at, 0, 0, 0, 0])
}

fn bound(bind: &mut Bind<'_>) -> (BindRequest, MapList, CertificateAt) {
    let request = BindRequest {
        filter: address(bind.filter),
        filter_bytes: bind.filter.len() as u64,
        ash: address(bind.ash),
        ash_bytes: bind.ash.len() as u64,
        control_page: bind.control.0,
        rx_pages: address(bind.rx),
        rx_page_count: bind.rx.len() as u64,
        tx_pages: address(bind.tx),
        tx_page_count: bind.tx.len() as u64,
        refusal: bind.refusal.as_mut_ptr() as u64,
        refusal_bytes: bind.refusal.len() as u64,
        flags: WITH_MAPS | WITH_CERTIFICATE,
    };
    let maps = MapList { maps: address(bind.maps), count: bind.maps.len() as u64 };
    let certificate = CertificateAt {
        certificate: address(bind.certificate),
        certificate_bytes: bind.certificate.len() as u64,
    };
    (request, maps, certificate)
}

/// The address of a slice; zero means none.
fn address<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_ptr() as u64 }
}

/// The instruction itself.
pub(super) fn registers(number: u64, args: [u64; 6]) -> (u64, u64) {
    let [a, b, c, d, e, f] = args;
    let (status, value): (u64, u64);
    // SAFETY: the kernel writes only memory that the arguments name. Callers in this module name
    // only memory that is mutably borrowed for the call, `hostile` only the kernel's own; what is
    // mapped or unmapped lies in ranges of `layout` that no Rust object lives in. `syscall`
    // itself changes rcx and r11 (and rax, rdx by the convention of `abi::call`).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => status,
            in("rdi") a,
            in("rsi") b,
            inlateout("rdx") c => value,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    (status, value)
}

/// After a call that should not return did.
pub(super) fn stuck() {
    core::hint::spin_loop();
}

/// Memory that was mapped read-only before the program started and stays so.
pub(crate) fn region(at: u64, bytes: u64) -> &'static [u8] {
    // SAFETY: the start block names only regions that its writer, the environment's creator,
    // mapped for the program's whole life; the caller takes a slice only of read-only ones.
    unsafe { core::slice::from_raw_parts(at as *const u8, bytes as usize) }
}

/// The window over pages that were just mapped at `base`, in a row.
pub(super) fn window(base: u64, pages: &[Handle]) -> Window {
    // SAFETY: the caller mapped them there, and unmaps them only after the window is gone.
    unsafe { Window::at(base as *mut u8, pages.len() * PAGE_BYTES) }
}

/// The window over a region that the start block names, shared with others.
pub(crate) fn shared_region(at: u64, bytes: u64) -> Window {
    // SAFETY: as for `region`; a shared region is page-aligned and only ever seen through windows.
    unsafe { Window::at(at as *mut u8, bytes as usize) }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => crate::println!("panic: {} at {place}", info.message()),
        None => crate::println!("panic: {}", info.message()),
    }
    super::exit(101)
}
