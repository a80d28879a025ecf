//! A second environment with this program's image, running another function of it.
//!
//! Image and boot heap are copied page by page as they are now, so that statics and function
//! addresses mean the same; capabilities are not: the twin has what it is granted, and finds the
//! handles in the words that it is started with. Its stack is new. The heap must not have grown
//! beyond the boot heap yet: what lies in further pages is not copied.

use abi::limits::PAGE_BYTES;
use abi::{Handle, Rights, Status};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{exit, new_window, with_scratch};
use crate::capability::{Env, Page, grant_handle};
use crate::layout::{STACK_PAGES, STACK_TOP};

/// Words that a twin is started with.
pub const WORDS: usize = 6;

/// What a twin runs.
pub type Main = fn([u64; WORDS]);

static MAIN: AtomicUsize = AtomicUsize::new(0);
static ARGUMENTS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static HANDLES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Makes and starts a twin with a quota of `frames`. `prepare` grants it what it is to have and
/// says the words that it is started with.
///
/// # Errors
/// What the kernel said; nothing is left of the twin then.
pub fn spawn(
    own: Env,
    (name, frames): (&str, u64),
    main: Main,
    prepare: impl FnOnce(Env) -> Result<[u64; WORDS], Status>,
) -> Result<Env, Status> {
    let twin = Env::create(frames, name)?;
    let made = fill(own, twin, main, prepare);
    if let Err(status) = made {
        // The first refusal is the one to report.
        let _ = twin.kill();
        return Err(status);
    }
    Ok(twin)
}

fn fill(
    own: Env,
    twin: Env,
    main: Main,
    prepare: impl FnOnce(Env) -> Result<[u64; WORDS], Status>,
) -> Result<(), Status> {
    let own_there = grant_handle(twin.0, twin, Rights::CONTROL | Rights::GRANT)?;
    // Without a channel that may be passed on it is silent.
    let debug_there = grant_handle(super::debug(), twin, Rights::WRITE).unwrap_or(Handle::NONE);
    let words = prepare(twin)?;
    MAIN.store(main as usize, Ordering::Relaxed);
    for (place, word) in ARGUMENTS.iter().zip(words) {
        place.store(word, Ordering::Relaxed);
    }
    for (place, handle) in HANDLES.iter().zip([own_there, debug_there]) {
        place.store(handle.0, Ordering::Relaxed);
    }
    let [text, rodata, data, end] = image();
    for (from, to, rights) in [
        (text, rodata, Rights::READ | Rights::EXECUTE),
        (rodata, data, Rights::READ),
        (data, end, Rights::READ | Rights::WRITE),
    ] {
        for at in (from..to).step_by(PAGE_BYTES) {
            copy_page(own, twin, at, rights)?;
        }
    }
    for place in 1..=STACK_PAGES as u64 {
        let page = Page::alloc(twin)?;
        page.map(twin, STACK_TOP - place * PAGE_BYTES as u64, true)?;
        page.forget()?;
    }
    twin.start(entry(), STACK_TOP, 0)
}

fn copy_page(own: Env, twin: Env, at: u64, rights: Rights) -> Result<(), Status> {
    let page = Page::alloc(twin)?;
    with_scratch(own, page, |window| window.write(0, bytes(at)))?;
    page.map_with(twin, at, rights)?;
    page.forget()
}

/// A page of one's own that a twin shares: where both see it, and its name.
///
/// # Errors
/// What the kernel said.
pub fn shared_page(own: Env) -> Result<(super::Window, Page), Status> {
    let (window, pages) = new_window(own, 1)?;
    pages.first().map(|&page| (window, page)).ok_or(Status::NoMemory)
}

impl super::Window {
    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.base as u64
    }
}

/// A page that was shared with this twin before it started, at the address that it was told.
pub fn page_at(address: u64) -> super::Window {
    super::shared_region(address, PAGE_BYTES as u64)
}

static PAGE: AtomicU64 = AtomicU64::new(0);

/// Keeps the address of a shared page where handlers find it.
pub fn remember_page(address: u64) {
    PAGE.store(address, Ordering::Relaxed);
}

/// The page of that address.
pub fn remembered_page() -> super::Window {
    page_at(PAGE.load(Ordering::Relaxed))
}

#[cfg(target_os = "none")]
mod machine {
    use super::{ARGUMENTS, HANDLES, Handle, MAIN, Main, Ordering, PAGE_BYTES, exit};

    unsafe extern "C" {
        static __text: u8;
        static __rodata: u8;
        static __data: u8;
        static __end: u8;
    }

    /// Where text, read-only data and data begin, and where the image ends; whole pages.
    pub(super) fn image() -> [u64; 4] {
        let at = |symbol: *const u8| symbol as u64;
        let last = at(&raw const __end).next_multiple_of(PAGE_BYTES as u64);
        [at(&raw const __text), at(&raw const __rodata), at(&raw const __data), last]
    }

    /// What is in a page of the image now.
    pub(super) fn bytes(at: u64) -> &'static [u8] {
        // SAFETY: the image is mapped readable for good. Its data may change between this and the
        // copy only by this thread, which is busy copying.
        unsafe { core::slice::from_raw_parts(at as *const u8, PAGE_BYTES) }
    }

    pub(super) fn entry() -> u64 {
        start as *const () as u64
    }

    /// # Safety
    /// Not to be called: a twin begins here.
    #[unsafe(naked)]
    unsafe extern "C" fn start() -> ! {
        core::arch::naked_asm!(
            "xor ebp, ebp",
            "and rsp, -16",
            "call {run}",
            "ud2",
            run = sym run,
        )
    }

    extern "C" fn run() -> ! {
        let [own, debug] = [0, 1].map(|at: usize| {
            Handle(HANDLES.get(at).map_or(0, |word| word.load(Ordering::Relaxed)))
        });
        crate::sys::remember(own, debug);
        let words = core::array::from_fn(|at| {
            ARGUMENTS.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
        });
        // SAFETY: `spawn` stored a `Main`, and the image was copied after it.
        let main: Main = unsafe { core::mem::transmute(MAIN.load(Ordering::Relaxed)) };
        main(words);
        exit(0)
    }
}

#[cfg(target_os = "none")]
use machine::{bytes, entry, image};

#[cfg(not(target_os = "none"))]
fn image() -> [u64; 4] {
    [0; 4]
}

#[cfg(not(target_os = "none"))]
fn bytes(_at: u64) -> &'static [u8] {
    &[]
}

#[cfg(not(target_os = "none"))]
fn entry() -> u64 {
    // A twin of a test would end at once.
    let _ = exit as fn(u64) -> !;
    0
}
