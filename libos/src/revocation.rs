//! Being asked for resources, losing some, and asking others.
//!
//! Being asked arrives as an event of `Wait` and as the upcall [`Kind::Revoke`]; [`pending`] says
//! what is asked for. What is not given back in time is taken, newest first, and stands in the
//! [`Vector`]; [`vital`] pages are never taken. Handlers are registered with [`crate::upcall::on`].

use abi::revocation::{
    BACKING_MAX, CONSUMED, ENTRIES, ENTRY_BYTES, ENTRY_FIRST, Entry, LOST, PRODUCED,
};
use abi::{Call, Handle, Status};
use zerocopy::{FromBytes, IntoBytes};

pub use abi::revocation::{Kind, Pending, Progress, VITAL_MAX};

use crate::capability::{Env, Grant, Page};
use crate::sys::{Request, Window, new_window, perform, plain};

/// Requests that [`pending`] reads at a time.
const PENDING_MAX: usize = 8;

/// The repossession vector: what the kernel took, in order.
#[derive(Debug)]
pub struct Vector {
    window: Window,
    page: Page,
    consumed: u32,
}

impl Vector {
    /// A vector in a page of one's own, which is never taken.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new(own: Env) -> Result<Vector, Status> {
        let (window, pages) = new_window(own, 1)?;
        let page = *pages.first().ok_or(Status::NoMemory)?;
        let vector = Vector { window, page, consumed: 0 };
        vector.back(&[])?;
        Ok(vector)
    }

    /// Pages of somebody else's into which contents go, each once; in the place of those before.
    /// What was not read of the vector is forgotten.
    ///
    /// # Errors
    /// `BadArgument` for a page of one's own or more than `BACKING_MAX`, `MissingRight` for one
    /// that may not be written.
    pub fn back(&self, pages: &[Page]) -> Result<(), Status> {
        let mut handles = [Handle::NONE; BACKING_MAX];
        let places = handles.get_mut(..pages.len()).ok_or(Status::BadArgument)?;
        places.iter_mut().zip(pages).for_each(|(place, page)| *place = page.0);
        let first = Some(self.page.0.0);
        let handles = handles.get(..pages.len()).unwrap_or_default();
        perform(Request::List { call: Call::RepossessionSet, first, handles }).map(drop)
    }

    /// The next thing that was taken, if there is one.
    pub fn take(&mut self) -> Option<Entry> {
        if self.window.load_u32(PRODUCED) == self.consumed {
            return None;
        }
        let place = (self.consumed % ENTRIES) as usize;
        let mut bytes = [0; ENTRY_BYTES];
        self.window.read(ENTRY_FIRST + place * ENTRY_BYTES, &mut bytes);
        self.consumed = self.consumed.wrapping_add(1);
        self.window.store_u32(CONSUMED, self.consumed);
        Entry::read_from_bytes(&bytes).ok()
    }

    /// Things that were taken while the vector was full.
    pub fn lost(&self) -> u32 {
        self.window.load_u32(LOST)
    }
}

/// Names the pages that are never taken, in the place of those named before. Save areas and the
/// vector are such pages anyway.
///
/// # Errors
/// `BadArgument` for more than `VITAL_MAX` or a page of somebody else's.
pub fn vital(pages: &[Page]) -> Result<(), Status> {
    let mut handles = [Handle::NONE; VITAL_MAX];
    let places = handles.get_mut(..pages.len()).ok_or(Status::BadArgument)?;
    places.iter_mut().zip(pages).for_each(|(place, page)| *place = page.0);
    let handles = handles.get(..pages.len()).unwrap_or_default();
    perform(Request::List { call: Call::VitalSet, first: None, handles }).map(drop)
}

/// Calls `see` with each request that is open; how many there were.
pub fn pending(mut see: impl FnMut(&Pending)) -> usize {
    let mut all = [Pending::default(); PENDING_MAX];
    let into = all.as_mut_bytes();
    let count = perform(Request::Fill { call: Call::RevokePending, first: None, into });
    let open = all.get(..count.unwrap_or_default() as usize).unwrap_or_default();
    open.iter().for_each(&mut see);
    open.len()
}

/// The filter program of what one's bindings (those under `grant`, if one is named) still
/// receive: its bytes.
///
/// # Errors
/// `BadArgument` if the buffer is too short, `Limit` if the space makes no program.
pub fn residual(grant: Option<Grant>, into: &mut [u8]) -> Result<usize, Status> {
    let first = Some(grant.map_or(0, |grant| grant.0.0));
    perform(Request::Fill { call: Call::FlowResidual, first, into }).map(|bytes| bytes as usize)
}

impl Env {
    /// Asks the environment for so many of a kind until a time; the request's number.
    ///
    /// # Errors
    /// `MissingRight` without `CONTROL`, `WrongState` while another request of one's own to it is
    /// open or if it has ended, `BadArgument` for an amount of zero or too many.
    pub fn revoke(self, kind: Kind, amount: u64, deadline_ns: u64) -> Result<u64, Status> {
        plain(Call::Revoke, &[self.0.0, kind as u64, amount, deadline_ns])
    }

    /// What has become of that.
    ///
    /// # Errors
    /// `WrongState` if there was no request, or its end was reported before.
    pub fn revoked(self) -> Result<Progress, Status> {
        plain(Call::RevokeStatus, &[self.0.0]).map(Progress::unpack)
    }
}

impl Grant {
    /// Asks whoever uses the grant to stop, until a time at which it is revoked.
    ///
    /// # Errors
    /// `MissingRight`; `BadArgument` for the root; `WrongState` if that was done before.
    pub fn recall(self, deadline_ns: u64) -> Result<u64, Status> {
        plain(Call::GrantRecall, &[self.0.0, deadline_ns])
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Vector, pending, vital};
    use crate::capability::{Env, Page};
    use crate::sys::{Request, host};
    use abi::revocation::{CONSUMED, ENTRY_BYTES, ENTRY_FIRST, Entry, PRODUCED, Pending};
    use abi::{Call, Handle, Status};
    use zerocopy::IntoBytes;

    const PAGE: u64 = 5 << 32;

    fn kernel(request: Request<'_>) -> (u64, u64) {
        match request {
            Request::Plain { call: Call::PageAlloc, .. } => (0, PAGE),
            Request::Fill { call: Call::RevokePending, into, .. } => {
                let it = Pending { kind: Kind::Pages as u64, left: 7, ..Pending::default() };
                into[..size_of::<Pending>()].copy_from_slice(it.as_bytes());
                (0, 1)
            }
            Request::List { call, first, handles } => {
                assert_eq!(call == Call::RepossessionSet, first == Some(PAGE));
                (if handles.len() == 3 { Status::BadArgument as u64 } else { 0 }, 0)
            }
            _ => (0, 0),
        }
    }

    #[test]
    fn entries_come_out_once_and_in_order() {
        let _guard = host::script(kernel);
        let mut vector = Vector::new(Env(Handle(1))).unwrap();
        let page = host::page_window(Handle(PAGE));
        assert_eq!(vector.take(), None);
        for produced in 1..=130u32 {
            let entry = Entry { name: u64::from(produced), ..Entry::default() };
            let place = (produced - 1) as usize % 64;
            page.write(ENTRY_FIRST + place * ENTRY_BYTES, entry.as_bytes());
            page.store_u32(PRODUCED, produced);
            assert_eq!(vector.take(), Some(entry));
            assert_eq!((vector.take(), page.load_u32(CONSUMED)), (None, produced));
        }
        assert_eq!(vector.lost(), 0);
        assert_eq!(vector.back(&[Page(Handle(1)); 3]), Err(Status::BadArgument));
        assert_eq!(vector.back(&[Page(Handle(1)); 17]), Err(Status::BadArgument));
    }

    #[test]
    fn requests_are_seen_and_lists_are_bounded() {
        let _guard = host::script(kernel);
        let mut left = 0;
        assert_eq!(pending(|it| left += it.left), 1);
        assert_eq!(left, 7);
        assert_eq!(vital(&[Page(Handle(1)); 10]), Ok(()));
        assert_eq!(vital(&[Page(Handle(1)); 11]), Err(Status::BadArgument));
    }
}
