//! The memory primitives (Appel and Li, ASPLOS 1991), as the exokernel paper's table 10 has them.
//!
//! A hundred pages of private memory, all written before. `dirty` is one question about one page,
//! which Linux answers in `/proc/self/pagemap` (bit 55, after a 4 was written to `clear_refs`): the
//! page for which that is cheapest counts, and a hundred in one question are counted as well. A
//! change of rights is `mprotect`, a trap a signal.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use crate::clock;
use crate::exceptions::on_fault;

const PAGE: u64 = 4096;
const PAGES: u64 = 100;
/// Bit of an entry of `pagemap`: written since `clear_refs`.
const SOFT_DIRTY: u64 = 1 << 55;
const READ: i32 = libc::PROT_READ;
const WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// What the handler does about a write to a protected page: one of the following.
static ON_TRAP: AtomicU64 = AtomicU64::new(SKIP);
/// Go on behind the write.
const SKIP: u64 = 0;
/// Open the page, protect the one that [`NEXT`] names.
const SWAP: u64 = 1;
/// Open the page.
const OPEN: u64 = 2;

static NEXT: AtomicU64 = AtomicU64::new(0);
static TRAPS: AtomicU64 = AtomicU64::new(0);

/// Measures all and prints.
pub(crate) fn measure() -> io::Result<()> {
    let base = pages()?;
    let at = |page: u64| base + page * PAGE;
    (0..PAGES).for_each(|page| write(at(page), page));
    match dirty(base)? {
        Some((one, hundred)) => println!("linux dirty one={one} of_hundred={hundred}"),
        None => println!("linux dirty: this kernel does not say"),
    }
    on_fault(handler as *const () as usize)?;
    let open = || protect(base, PAGES, WRITE);
    let prot1 = clock::least_after(open, || protect(at(7), 1, READ));
    let prot100 = clock::least_after(open, || protect(base, PAGES, READ));
    let unprot100 =
        clock::least_after(|| protect(base, PAGES, READ), || protect(base, PAGES, WRITE));
    open();
    let (trap, appel1, appel2) = (trap(base), appel1(base), appel2(base));
    println!("linux memory prot1={prot1} prot100={prot100} unprot100={unprot100} trap={trap}");
    println!("linux memory appel1={appel1} appel2={appel2}");
    // The rounds of the trap, and one for each page of the other two.
    let wanted = u64::from(ROUNDS) + (PAGES - 1) + PAGES;
    match TRAPS.load(Ordering::Relaxed) {
        traps if traps == wanted => Ok(()),
        traps => Err(io::Error::other(format!("{traps} traps in the place of {wanted}"))),
    }
}

const ROUNDS: u32 = 64;

/// Memory of one mapping, the last pages before a multiple of 2 MiB: a question to `pagemap` costs
/// by the pages between the one that is asked for and that boundary.
fn pages() -> io::Result<u64> {
    const STEP: u64 = 2 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let (bytes, at) = (PAGES * PAGE, (1 << 40) + STEP - PAGES * PAGE);
    // SAFETY: fresh memory, at an address where nothing is.
    let at = unsafe { libc::mmap(at as *mut c_void, bytes as usize, WRITE, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at as u64) }
}

fn protect(address: u64, pages: u64, rights: i32) {
    // SAFETY: the pages are this module's own; no Rust object lives in them.
    unsafe { libc::mprotect(address as *mut c_void, (pages * PAGE) as usize, rights) };
}

/// A page asked for alone, and in one question with 99 others; both per page. `None` from a kernel
/// that does not know.
fn dirty(base: u64) -> io::Result<Option<(u64, u64)>> {
    fs::write("/proc/self/clear_refs", "4")?;
    let map = File::open("/proc/self/pagemap")?;
    let bit = |page: u64| -> io::Result<bool> {
        let mut entry = [0; 8];
        map.read_exact_at(&mut entry, (base / PAGE + page) * 8)?;
        Ok(u64::from_le_bytes(entry) & SOFT_DIRTY != 0)
    };
    let clean = bit(3)?;
    write(base + 3 * PAGE, 1);
    if clean || !bit(3)? || bit(4)? {
        return Ok(None);
    }
    let mut entries = [0; 8 * PAGES as usize];
    let one = (0..PAGES).map(|page| clock::least(|| bit(page).is_ok())).min().unwrap_or_default();
    let all = clock::least(|| map.read_exact_at(&mut entries, base / PAGE * 8).is_ok());
    Ok(Some((one, all / PAGES)))
}

/// A write to a protected page, the handler called and returned from.
fn trap(base: u64) -> u64 {
    protect(base + 3 * PAGE, 1, READ);
    ON_TRAP.store(SKIP, Ordering::Relaxed);
    let cost = clock::least(|| write(base + 3 * PAGE, 1));
    protect(base + 3 * PAGE, 1, WRITE);
    cost
}

/// Write to a protected page; the handler opens it and protects another. Per page.
fn appel1(base: u64) -> u64 {
    protect(base, 1, READ);
    ON_TRAP.store(SWAP, Ordering::Relaxed);
    let all = clock::once(|| {
        for page in 0..PAGES - 1 {
            NEXT.store(base + (page + 1) * PAGE, Ordering::Relaxed);
            write(base + page * PAGE + 8, page);
        }
    });
    protect(base + (PAGES - 1) * PAGE, 1, WRITE);
    all / (PAGES - 1)
}

/// Protect a hundred, write to each in mixed order; the handler opens it. Per page.
fn appel2(base: u64) -> u64 {
    ON_TRAP.store(OPEN, Ordering::Relaxed);
    let all = clock::once(|| {
        protect(base, PAGES, READ);
        (0..PAGES).for_each(|page| write(base + page * 37 % PAGES * PAGE + 8, page));
    });
    all / PAGES
}

fn write(address: u64, value: u64) {
    // SAFETY: the address is one of this module's pages, where no Rust object lives; a fault is the
    // handler's to resolve, and the store of three bytes is its to skip.
    unsafe { store(address, value) };
}

/// # Safety
///
/// Nothing of Rust's is at `address`.
#[unsafe(naked)]
unsafe extern "C" fn store(address: u64, value: u64) {
    core::arch::naked_asm!("mov [rdi], rsi", "ret")
}

extern "C" fn handler(_signal: i32, info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    TRAPS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel's, for as long as the handler runs.
    let (address, context) = unsafe { ((*info).si_addr() as u64, &mut *context) };
    let page = address / PAGE * PAGE;
    match ON_TRAP.load(Ordering::Relaxed) {
        SKIP => context.uc_mcontext.gregs[libc::REG_RIP as usize] += 3,
        what => {
            if what == SWAP {
                protect(NEXT.load(Ordering::Relaxed), 1, READ);
            }
            protect(page, 1, WRITE);
        }
    }
}
