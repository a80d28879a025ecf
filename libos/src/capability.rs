//! Typed names of capabilities.
//!
//! Each type wraps a [`Handle`] and knows the calls that its kind has. A name is freely copied and
//! dropping one changes nothing: the kernel keeps what it names until it is freed, revoked, or its
//! owner ends. A wrong name is refused by the kernel, never by this module.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;

use abi::bind::BindingStats;
use abi::refusal::Record;
use abi::start::State;
use abi::{Call, Handle, Rights, Status};

use crate::sys::{self, Bind, Request, perform, plain};

/// A physical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page(pub Handle);

/// An environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env(pub Handle);

/// A pair of flow spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant(pub Handle);

/// A filter with its ring and ASH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub Handle);

/// Why a derivation or a binding failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// The call's status.
    pub status: Status,
    /// The kernel's record, when the status is [`Status::Refused`].
    pub refusal: Option<Box<Record>>,
}

impl core::fmt::Display for BindError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Some(record) = &self.refusal else { return write!(f, "{:?}", self.status) };
        write!(f, "{:?} ({:?})", record.code, record.blame)?;
        // The kernel's words usually name the instruction and the limit themselves.
        let said = |word: &str| record.explanation.contains(word);
        if let Some(pc) = record.instruction.filter(|_| !said("instruction")) {
            write!(f, " at instruction {pc}")?;
        }
        if let Some((name, value)) = record.limit.as_ref().filter(|(name, _)| !said(name)) {
            write!(f, ", limit {name} = {value}")?;
        }
        write!(f, ": {}", record.explanation)
    }
}

/// Drops a name from the table; what it names stays.
///
/// # Errors
/// `BadHandle`.
pub fn drop_handle(handle: Handle) -> Result<(), Status> {
    plain(Call::CapDrop, &[handle.0]).map(drop)
}

/// Passes a capability on, with no more than `rights`: its handle in `to`'s table.
///
/// # Errors
/// `MissingRight` without `GRANT` on it or `CONTROL` on `to`; `Limit` when the table is full.
pub fn grant_handle(handle: Handle, to: Env, rights: Rights) -> Result<Handle, Status> {
    plain(Call::CapGrant, &[handle.0, to.0.0, u64::from(rights.bits())]).map(Handle)
}

impl Page {
    /// A zeroed page, charged to `owner`.
    ///
    /// # Errors
    /// `NoMemory` when the owner's quota is used up.
    pub fn alloc(owner: Env) -> Result<Page, Status> {
        plain(Call::PageAlloc, &[owner.0.0, u64::MAX]).map(|handle| Page(Handle(handle)))
    }

    /// This very frame, zeroed, charged to `owner`.
    ///
    /// # Errors
    /// `NotFree` if it is somebody's; `NoMemory` when the owner's quota is used up.
    pub fn alloc_at(owner: Env, frame: u64) -> Result<Page, Status> {
        plain(Call::PageAlloc, &[owner.0.0, frame]).map(|handle| Page(Handle(handle)))
    }

    /// The number of its frame.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn name(self) -> Result<u64, Status> {
        plain(Call::PageName, &[self.0.0])
    }

    /// A capability to it with no more than these rights.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn derive(self, rights: Rights) -> Result<Page, Status> {
        let rights = u64::from(rights.bits());
        plain(Call::CapDerive, &[self.0.0, rights]).map(|handle| Page(Handle(handle)))
    }

    /// Gives it a new name: every other capability to it is void and every mapping of it is
    /// broken; what is in it stays.
    ///
    /// # Errors
    /// `MissingRight` without `CONTROL`; `WrongState` while a ring or a save area is in it.
    pub fn renew(self) -> Result<Page, Status> {
        plain(Call::PageRenew, &[self.0.0]).map(|handle| Page(Handle(handle)))
    }

    /// Maps it readable into an environment, writable if asked.
    ///
    /// # Errors
    /// `Occupied`, `NoMemory`, `BadAddress`, `MissingRight`.
    pub fn map(self, into: Env, address: u64, write: bool) -> Result<(), Status> {
        let rights = if write { Rights::READ | Rights::WRITE } else { Rights::READ };
        self.map_with(into, address, rights)
    }

    /// Maps it with these rights.
    ///
    /// # Errors
    /// As [`Page::map`], and `WriteAndExecute`.
    pub fn map_with(self, into: Env, address: u64, rights: Rights) -> Result<(), Status> {
        plain(Call::PageMap, &[into.0.0, self.0.0, address, u64::from(rights.bits())]).map(drop)
    }

    /// Gives the frame back.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn free(self) -> Result<(), Status> {
        plain(Call::PageFree, &[self.0.0]).map(drop)
    }

    /// Forgets the name; mappings stay.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn forget(self) -> Result<(), Status> {
        drop_handle(self.0)
    }
}

impl Env {
    /// A new environment with so many frames of the caller's quota.
    ///
    /// # Errors
    /// `Limit`, `NoMemory`, `BadArgument` for a name that is too long.
    pub fn create(frames: u64, name: &str) -> Result<Env, Status> {
        let request =
            Request::Text { call: Call::EnvCreate, first: frames, bytes: name.as_bytes() };
        perform(request).map(|handle| Env(Handle(handle)))
    }

    /// Makes it runnable.
    ///
    /// # Errors
    /// `WrongState`, `BadAddress`.
    pub fn start(self, entry: u64, stack: u64, argument: u64) -> Result<(), Status> {
        plain(Call::EnvStart, &[self.0.0, entry, stack, argument]).map(drop)
    }

    /// Ends it.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn kill(self) -> Result<(), Status> {
        plain(Call::EnvKill, &[self.0.0]).map(drop)
    }

    /// Its state, and exit code or fault vector.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` for a state that this version does not know.
    pub fn status(self) -> Result<(State, u64), Status> {
        let value = plain(Call::EnvStatus, &[self.0.0])?;
        let state = match value & 0xff {
            0 => State::Created,
            1 => State::Runnable,
            2 => State::Waiting,
            3 => State::Proving,
            4 => State::Exited,
            5 => State::Faulted,
            6 => State::Killed,
            _ => return Err(Status::WrongState),
        };
        Ok((state, value >> 8))
    }

    /// Breaks the mapping there.
    pub(crate) fn unmap(self, address: u64) -> Result<(), Status> {
        plain(Call::PageUnmap, &[self.0.0, address]).map(drop)
    }
}

impl Grant {
    /// A child whose receive space is what `receive` accepts, whose transmit space is what
    /// `transmit` accepts, or the mirror.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record.
    pub fn derive(self, receive: &[u8], transmit: Option<&[u8]>) -> Result<Grant, BindError> {
        with_refusal(|refusal| {
            let transmit = transmit.unwrap_or_default();
            perform(Request::Derive { grant: self.0, receive, transmit, refusal })
        })
        .map(|handle| Grant(Handle(handle)))
    }

    /// A binding under it, without rings: what its ASH passes on is dropped and counted.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record.
    pub fn bind(self, filter: &[u8], ash: Option<&[u8]>) -> Result<Binding, BindError> {
        self.bind_pages(filter, ash, &RingPages::default())
    }

    /// A binding under it with these ring pages.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record.
    pub fn bind_pages(
        self,
        filter: &[u8],
        ash: Option<&[u8]>,
        pages: &RingPages<'_>,
    ) -> Result<Binding, BindError> {
        with_refusal(|refusal| perform(Request::Bind(pages.bind(self.0, (filter, ash), refusal))))
            .map(|handle| Binding(Handle(handle)))
    }

    /// Fills the tables that proofs under it look into, a little; `true` once all are whole.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`, `NoMemory`.
    pub fn settle(self) -> Result<bool, Status> {
        plain(Call::GrantSettle, &[self.0.0]).map(|whole| whole != 0)
    }

    /// Takes it back with all that hangs below it.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn revoke(self) -> Result<(), Status> {
        plain(Call::GrantRevoke, &[self.0.0]).map(drop)
    }
}

/// What a binding has besides programs: names of the pages that a ring lies in, and of maps, and a
/// certificate; the default is none of them.
#[derive(Clone, Copy, Debug)]
pub struct RingPages<'a> {
    /// The control page.
    pub control: Handle,
    /// Receive slots.
    pub rx: &'a [Handle],
    /// Transmit slots.
    pub tx: &'a [Handle],
    /// The maps of the ASH, by the positions that its 64-bit loads name.
    pub maps: &'a [Handle],
    /// Cases in which the filter can be decided, encoded ([`abi::certificate::Certificate`]); in a
    /// hand-over both filters. Empty for none.
    pub certificate: &'a [u8],
}

impl<'a> RingPages<'a> {
    fn bind<'b>(
        &'b self,
        under: Handle,
        (filter, ash): (&'b [u8], Option<&'b [u8]>),
        refusal: &'b mut [u8],
    ) -> Bind<'b>
    where
        'a: 'b,
    {
        Bind {
            grant: under,
            filter,
            ash: ash.unwrap_or_default(),
            control: self.control,
            rx: self.rx,
            tx: self.tx,
            maps: self.maps,
            certificate: self.certificate,
            refusal,
        }
    }
}

impl Default for RingPages<'_> {
    fn default() -> Self {
        RingPages { control: Handle::NONE, rx: &[], tx: &[], maps: &[], certificate: &[] }
    }
}

pub(crate) fn with_refusal(
    call: impl FnOnce(&mut [u8]) -> Result<u64, Status>,
) -> Result<u64, BindError> {
    let mut buffer = vec![0; abi::limits::REFUSAL_BYTES_MAX];
    call(&mut buffer).map_err(|status| {
        let refusal = (status == Status::Refused).then(|| Record::decode(&buffer)).flatten();
        BindError { status, refusal: refusal.map(Box::new) }
    })
}

impl Binding {
    /// A connection carved out of this binding: what `filter` accepts is the new binding's, and
    /// this one's again when that has gone. It may send what `transmit` accepts, or the mirror.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record.
    pub fn carve(
        self,
        (filter, transmit): (&[u8], Option<&[u8]>),
        ash: Option<&[u8]>,
        pages: &RingPages<'_>,
    ) -> Result<Binding, BindError> {
        let (call, program) = (Call::Carve, transmit.unwrap_or_default());
        with_refusal(|refusal| {
            let bind = pages.bind(self.0, (filter, ash), refusal);
            perform(Request::Part { call, program, bind })
        })
        .map(|handle| Binding(Handle(handle)))
    }

    /// Becomes two that are together exactly what it was, between two packets. This one is `first`
    /// from then on, with its rings, ASH and counts; the second is returned, with `pages` and an
    /// ASH of its own.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record: nothing has changed.
    pub fn hand_over(
        self,
        first: &[u8],
        second: &[u8],
        ash: Option<&[u8]>,
        pages: &RingPages<'_>,
    ) -> Result<Binding, BindError> {
        let (call, program) = (Call::HandOver, first);
        with_refusal(|refusal| {
            let bind = pages.bind(self.0, (second, ash), refusal);
            perform(Request::Part { call, program, bind })
        })
        .map(|handle| Binding(Handle(handle)))
    }

    /// Hands what is in the transmit ring to the kernel: how many slots it took.
    ///
    /// # Errors
    /// `Busy`, `RingCorrupt`, `NoDevice`, `MissingRight`.
    pub fn transmit(self) -> Result<u64, Status> {
        plain(Call::Transmit, &[self.0.0])
    }

    /// Packets since it was made.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn stats(self) -> Result<BindingStats, Status> {
        let mut stats = BindingStats::default();
        perform(Request::Stats { binding: self.0, into: &mut stats })?;
        Ok(stats)
    }

    /// Out again.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`.
    pub fn unbind(self) -> Result<(), Status> {
        plain(Call::Unbind, &[self.0.0]).map(drop)
    }
}

/// Bytes of one's own on the framed channel.
///
/// # Errors
/// `Limit` beyond `REPORT_BYTES_MAX`, `BadHandle` without a debug channel.
pub fn report(bytes: &[u8]) -> Result<(), Status> {
    perform(Request::Text { call: Call::Report, first: sys::debug().0, bytes }).map(drop)
}

/// Makes the kernel emit its books on the framed channel, and reads them.
///
/// # Errors
/// What the kernel said; `BadArgument` if what it wrote are no books.
pub fn books() -> Result<abi::books::Books, Status> {
    let mut buffer = vec![0; 1024];
    let used = perform(Request::Books { into: &mut buffer })? as usize;
    let bytes = buffer.get(..used).ok_or(Status::BadArgument)?;
    postcard::from_bytes(bytes).map_err(|_| Status::BadArgument)
}

/// Zero, or the number of the first check of the books that fails.
///
/// # Errors
/// What the kernel said.
pub fn audit() -> Result<u64, Status> {
    plain(Call::Audit, &[sys::debug().0])
}

/// Stops the machine.
///
/// # Errors
/// `MissingRight` without `CONTROL` on the debug channel.
pub fn halt(code: u8) -> Result<(), Status> {
    plain(Call::Halt, &[sys::debug().0, u64::from(code)]).map(drop)
}

/// A name for people.
pub fn state_name(state: State, detail: u64) -> String {
    match state {
        State::Exited => alloc::format!("exited with {detail}"),
        State::Faulted => alloc::format!("faulted, vector {detail}"),
        other => alloc::format!("{other:?}"),
    }
}
