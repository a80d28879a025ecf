//! Argument blocks of the calls that take more than registers hold.
//!
//! All fields are 64 bits wide so that no padding exists; pointers are the caller's virtual
//! addresses, lengths are in bytes unless they say otherwise, and zero means "none".

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What [`crate::Call::Bind`] reads.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BindRequest {
    /// eBPF bytes of the filter.
    pub filter: u64,
    /// Their length.
    pub filter_bytes: u64,
    /// eBPF bytes of the ASH, or zero.
    pub ash: u64,
    /// Their length.
    pub ash_bytes: u64,
    /// Page capability of the control page ([`crate::ring`]), or zero for a binding without rings.
    pub control_page: u64,
    /// Address of an array of page capabilities: the receive slots.
    pub rx_pages: u64,
    /// How many; zero or a power of two, at most [`crate::limits::RING_PAGES_MAX`].
    pub rx_page_count: u64,
    /// Address of an array of page capabilities: the transmit slots.
    pub tx_pages: u64,
    /// How many; zero or a power of two.
    pub tx_page_count: u64,
    /// Where a refusal record goes, or zero.
    pub refusal: u64,
    /// Room there.
    pub refusal_bytes: u64,
    /// [`WITH_MAPS`], [`WITH_CERTIFICATE`], both, or zero.
    pub flags: u64,
}

/// In [`BindRequest::flags`]: a [`MapList`] stands right behind the request.
pub const WITH_MAPS: u64 = 2;

/// In [`BindRequest::flags`]: a [`CertificateAt`] stands behind the request, and behind the
/// [`MapList`] if there is one.
pub const WITH_CERTIFICATE: u64 = 4;

/// Cases in which a filter can be decided that cannot be as it stands ([`crate::certificate`]). In
/// a hand-over they are for the filters of both parts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CertificateAt {
    /// Address of an encoded [`crate::certificate::Certificate`], or zero for none.
    pub certificate: u64,
    /// Its length, at most [`crate::certificate::BYTES_MAX`].
    pub certificate_bytes: u64,
}

/// The maps of an ASH.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MapList {
    /// Address of an array of map capabilities with `READ` and `WRITE`, all the caller's own: what
    /// the ASH's 64-bit loads name by position.
    pub maps: u64,
    /// How many, at most [`crate::map::BINDING_MAPS_MAX`].
    pub count: u64,
}

/// What [`crate::Call::GrantDerive`] reads.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantRequest {
    /// eBPF bytes of a filter whose claim is the child's receive space.
    pub receive: u64,
    /// Their length.
    pub receive_bytes: u64,
    /// eBPF bytes of a filter whose claim is the child's transmit space, or zero: the mirror.
    pub transmit: u64,
    /// Their length.
    pub transmit_bytes: u64,
    /// Where a refusal record goes, or zero.
    pub refusal: u64,
    /// Room there.
    pub refusal_bytes: u64,
}

/// What [`crate::Call::Carve`] reads. What the flags
/// say stands right behind it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CarveRequest {
    /// eBPF bytes of a filter whose claim is the transmit space, or zero: the mirror.
    pub transmit: u64,
    /// Their length.
    pub transmit_bytes: u64,
    /// What is bound; its filter is also the receive space.
    pub bind: BindRequest,
}

/// What [`crate::Call::HandOver`] reads. What the flags
/// say stands right behind it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct HandOverRequest {
    /// eBPF bytes of the first part's filter. It keeps rings, ASH, maps, pipe and counts.
    pub first: u64,
    /// Their length.
    pub first_bytes: u64,
    /// The second part.
    pub second: BindRequest,
}

/// One entry of [`crate::Call::PageBatch`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BatchEntry {
    /// What to do: [`BATCH_MAP`], [`BATCH_UNMAP`] or [`BATCH_PROTECT`].
    pub operation: u64,
    /// Page capability, for a map.
    pub page: u64,
    /// Where.
    pub address: u64,
    /// With which rights, for a map and for a protect.
    pub rights: u64,
}

/// Bind `page` at `address`.
pub const BATCH_MAP: u64 = 0;
/// Break the binding at `address`.
pub const BATCH_UNMAP: u64 = 1;
/// Give the page bound at `address` other rights.
pub const BATCH_PROTECT: u64 = 2;

/// What [`crate::Call::BindingStats`] writes: packets since the binding was made.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BindingStats {
    /// Classified to this binding.
    pub received: u64,
    /// Answered by the ASH inside the kernel.
    pub answered: u64,
    /// Delivered to the ring.
    pub delivered: u64,
    /// Dropped, for any reason.
    pub dropped: u64,
    /// Frames sent from the ring.
    pub transmitted: u64,
    /// Frames refused by the transmit guard, copies that its ASH wanted to send included.
    pub refused: u64,
    /// Packets that the ASH did not see because its owner's allowance was spent.
    pub fell_back: u64,
    /// Instructions charged to the owner for this binding's ASH.
    pub charged: u64,
    /// Copies that the ASH sent.
    pub initiated: u64,
    /// Packets at which the ASH woke its owner.
    pub woken: u64,
    /// Packets that went through the binding's pipe.
    pub piped: u64,
    /// Cycles spent in that pipe.
    pub pipe_cycles: u64,
}
