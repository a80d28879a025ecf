//! What a pager does to real memory: five operations, so that it can be tested without any.

use abi::bind::{BATCH_MAP, BATCH_UNMAP, BatchEntry};
use abi::{Rights, Status};

use crate::capability::{Env, Page};
use crate::sys::paged;

/// Bytes of a page.
const PAGE: u64 = abi::limits::PAGE_BYTES as u64;

/// What a pager needs of the machine.
pub trait Memory {
    /// A page of zeros.
    ///
    /// # Errors
    /// What the kernel said.
    fn page(&mut self) -> Result<Page, Status>;

    /// Gives a page back.
    ///
    /// # Errors
    /// What the kernel said.
    fn free(&mut self, page: Page) -> Result<(), Status>;

    /// Binds a page at an address; `write`: also for writing.
    ///
    /// # Errors
    /// What the kernel said.
    fn bind(&mut self, page: Page, address: u64, write: bool) -> Result<(), Status>;

    /// Breaks a binding.
    ///
    /// # Errors
    /// What the kernel said.
    fn unbind(&mut self, address: u64) -> Result<(), Status>;

    /// Makes bound pages in a row writable or not.
    ///
    /// # Errors
    /// What the kernel said; nothing has changed then.
    fn protect(&mut self, address: u64, pages: usize, write: bool) -> Result<(), Status>;

    /// Copies what is bound at `address` into `copy` and binds that there, for writing.
    ///
    /// # Errors
    /// What the kernel said.
    fn copy(&mut self, address: u64, copy: Page) -> Result<(), Status>;
}

/// The program's own memory, in the range of [`crate::sys::paged`].
#[derive(Clone, Copy, Debug)]
pub struct Own {
    env: Env,
    /// A page of the range through which copies are made.
    scratch: u64,
}

impl Own {
    /// With a page of the range that nothing else is ever bound at.
    pub fn new(env: Env, scratch: u64) -> Own {
        Own { env, scratch }
    }

    fn batch(&self, entries: &[BatchEntry]) -> Result<(), Status> {
        paged::batch(self.env, entries).map(drop).map_err(|(_, status)| status)
    }
}

fn rights(write: bool) -> Rights {
    if write { Rights::READ | Rights::WRITE } else { Rights::READ }
}

impl Memory for Own {
    fn page(&mut self) -> Result<Page, Status> {
        Page::alloc(self.env)
    }

    fn free(&mut self, page: Page) -> Result<(), Status> {
        page.free()
    }

    fn bind(&mut self, page: Page, address: u64, write: bool) -> Result<(), Status> {
        paged::map(self.env, page, address, rights(write))
    }

    fn unbind(&mut self, address: u64) -> Result<(), Status> {
        paged::unmap(self.env, address)
    }

    fn protect(&mut self, address: u64, pages: usize, write: bool) -> Result<(), Status> {
        paged::protect(self.env, address, pages, rights(write))
    }

    fn copy(&mut self, address: u64, copy: Page) -> Result<(), Status> {
        let map = |page: Page, address| {
            let rights = u64::from(rights(true).bits());
            BatchEntry { operation: BATCH_MAP, page: page.0.0, address, rights }
        };
        let unmap =
            |address| BatchEntry { operation: BATCH_UNMAP, address, ..BatchEntry::default() };
        self.batch(&[map(copy, self.scratch)])?;
        for offset in (0..PAGE).step_by(8) {
            paged::store(self.scratch + offset, paged::load(address + offset));
        }
        self.batch(&[unmap(self.scratch), unmap(address), map(copy, address)])
    }
}
