//! The kernel's double on the host: a test's script answers every call.
//!
//! Per thread. Pages have memory behind them, found by their handle, so that a script can play the
//! kernel's side of a ring with a [`Window`] of its own.

mod peer;

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use abi::limits::PAGE_BYTES;
use abi::{Call, Handle, Status};

pub use peer::Peer;

use super::{Request, Window};

/// What answers: status and value, as in the registers.
pub type Script = Box<dyn FnMut(Request<'_>) -> (u64, u64)>;

std::thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    static MEMORY: RefCell<BTreeMap<u64, Window>> = const { RefCell::new(BTreeMap::new()) };
}

/// Removes the script again when dropped.
#[must_use = "the script is removed when this is dropped"]
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        SCRIPT.with_borrow_mut(|script| *script = None);
        MEMORY.with_borrow_mut(BTreeMap::clear);
        super::remember(Handle::NONE, Handle::NONE);
    }
}

/// From now on `script` answers this thread's calls.
pub fn script(script: impl FnMut(Request<'_>) -> (u64, u64) + 'static) -> Guard {
    SCRIPT.with_borrow_mut(|slot| *slot = Some(Box::new(script)));
    Guard(())
}

/// The memory of the page of that name.
pub fn page_window(page: Handle) -> Window {
    window(0, &[page])
}

/// A window that shows `pages` in a row, which must not have memory elsewhere yet.
pub(super) fn window(_base: u64, pages: &[Handle]) -> Window {
    MEMORY.with_borrow_mut(|memory| {
        if let ([page], true) = (pages, pages.len() == 1)
            && let Some(known) = memory.get(&page.0)
        {
            return known.clone();
        }
        let whole = leak(pages.len());
        for (place, page) in pages.iter().enumerate() {
            memory.insert(page.0, part(&whole, place));
        }
        whole
    })
}

fn leak(pages: usize) -> Window {
    let bytes = pages * PAGE_BYTES;
    let words: &'static mut [u64] = Vec::leak(std::vec![0; bytes / 8]);
    // SAFETY: leaked memory, aligned to 8, borrowed by nobody else.
    unsafe { Window::at(words.as_mut_ptr().cast(), bytes) }
}

fn part(whole: &Window, place: usize) -> Window {
    // SAFETY: inside the leaked memory that `whole` shows.
    unsafe { Window::at(whole.base.add(place * PAGE_BYTES), PAGE_BYTES) }
}

/// Asks the script. Without one the call is unknown.
pub(super) fn perform(request: Request<'_>) -> (u64, u64) {
    // The script may make no calls of its own: it is taken out while it runs.
    let Some(mut script) = SCRIPT.with_borrow_mut(Option::take) else {
        return (Status::UnknownCall as u64, 0);
    };
    let answer = script(request);
    SCRIPT.with_borrow_mut(|slot| *slot = Some(script));
    answer
}

/// A raw call.
pub(super) fn registers(number: u64, args: [u64; 6]) -> (u64, u64) {
    match Call::from_number(number) {
        Some(call) => perform(Request::Plain { call, args }),
        None => (Status::UnknownCall as u64, 0),
    }
}

/// A test that exits has ended.
pub(super) fn stuck() {
    panic!("the program has exited")
}

/// There are no regions on the host.
pub(crate) fn region(_at: u64, _bytes: u64) -> &'static [u8] {
    &[]
}

/// A region of `bytes`, zeroed.
pub(crate) fn shared_region(_at: u64, bytes: u64) -> Window {
    leak((bytes as usize).div_ceil(PAGE_BYTES))
}
