//! The kernel's books: nothing is lost without being counted.
//!
//! `rx.received = answered + delivered + Σ dropped + in_flight` and
//! `frames.total = free + owned + kernel`, at any instant between calls.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// Why a received packet was dropped, or a transmission refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name = $number,)* }

        impl Reason {
            /// All reasons, in order of number.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The reason's name in `dropped[...]`.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Shorter than an Ethernet header or longer than the longest frame.
    Length = 0 "length",
    /// A later IP fragment of whose first nothing is known (received), or any fragment
    /// (transmitted).
    Fragment = 1 "fragment",
    /// Nobody owns it, or it lies in carved space that nobody bound.
    Unbound = 2 "unbound",
    /// The owner's ASH said `XDP_DROP`.
    AshDrop = 3 "ash-drop",
    /// The owner's ASH said `XDP_ABORTED`, or a number that is no action.
    AshAborted = 4 "ash-aborted",
    /// The owner's ring was full.
    RingFull = 5 "ring-full",
    /// The owner's ring indices make no sense.
    RingCorrupt = 6 "ring-corrupt",
    /// To be delivered, but the binding has no ring.
    NoRing = 7 "no-ring",
    /// The reply or transmission lies outside the guard.
    Guard = 8 "guard",
    /// The card had no room for the reply.
    CardFull = 9 "card-full",
    /// The owner's allowance for its ASH is spent, and there is no ring to fall back to.
    OwnerBroke = 10 "owner-broke",
    /// A copy that an ASH wanted to send was one too many for its run.
    CopyLimit = 11 "copy-limit",
    /// A later fragment whose bytes have come already, or the first of another owner's datagram.
    FragmentOverlap = 12 "fragment-overlap",
    /// A later fragment before which one is missing.
    FragmentOrder = 13 "fragment-order",
    /// A fragment whose lengths make no sense.
    FragmentLength = 14 "fragment-length",
    /// One fragment more than a datagram may come in.
    FragmentFlood = 15 "fragment-flood",
}

/// How many reasons there are.
pub const REASONS: usize = Reason::ALL.len();

/// Physical frames, by who holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameBooks {
    /// All frames that the kernel manages.
    pub total: u64,
    /// On the free list.
    pub free: u64,
    /// Owned by environments as pages.
    pub owned: u64,
    /// Held by the kernel: page tables, heap, buffers, arenas.
    pub kernel: u64,
}

/// Received packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveBooks {
    /// Taken from the card.
    pub received: u64,
    /// Answered by an ASH: the reply was handed to the card.
    pub answered: u64,
    /// Put into an owner's ring.
    pub delivered: u64,
    /// Dropped, by [`Reason`].
    pub dropped: [u64; REASONS],
    /// Taken from the card and not yet decided.
    pub in_flight: u64,
    /// Buffers that the card returned with a wrong id or length; not part of `received`.
    pub malformed: u64,
    /// Packets that no ASH saw because its owner's allowance was spent; delivered or dropped.
    pub fell_back: u64,
}

/// Transmissions that library OSes asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransmitBooks {
    /// Slots taken from transmit rings.
    pub requested: u64,
    /// Handed to the card.
    pub sent: u64,
    /// Refused, by [`Reason`].
    pub refused: [u64; REASONS],
    /// Handed to the card and not yet completed.
    pub in_flight: u64,
}

/// All books, as `Call::Books` and the framed channel carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Nanoseconds since boot.
    pub at_ns: u64,
    /// Memory.
    pub frames: FrameBooks,
    /// Received packets.
    pub rx: ReceiveBooks,
    /// Transmissions.
    pub tx: TransmitBooks,
    /// Live environments, grants and bindings.
    pub environments: u32,
    /// Live grants, the root's included.
    pub grants: u32,
    /// Live bindings.
    pub bindings: u32,
    /// Records that the framed channel could not take.
    pub records_lost: u64,
}

/// The checks of an audit, in order; `Call::Audit` returns the number of the first that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Check {
    /// `frames.total = free + owned + kernel`.
    Frames = 1,
    /// `rx.received = answered + delivered + Σ dropped + in_flight`.
    Receive = 2,
    /// `tx.requested = sent + Σ refused`.
    Transmit = 3,
    /// Every binding has one live owner, and the engine and the registry hold the same bindings.
    Bindings = 4,
    /// Every page has one live owner whose count of frames agrees.
    Owners = 5,
    /// Every owned position of the vector of slices has one live owner.
    Slices = 6,
}

impl Books {
    /// The first of the arithmetic checks that does not hold.
    pub fn failing(&self) -> Option<Check> {
        let f = &self.frames;
        let dropped: u64 = self.rx.dropped.iter().sum();
        let refused: u64 = self.tx.refused.iter().sum();
        if f.total != f.free + f.owned + f.kernel {
            Some(Check::Frames)
        } else if self.rx.received
            != self.rx.answered + self.rx.delivered + dropped + self.rx.in_flight
        {
            Some(Check::Receive)
        } else if self.tx.requested != self.tx.sent + refused {
            Some(Check::Transmit)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Books, Check, REASONS, Reason};

    #[test]
    fn reasons_are_numbered_by_place() {
        for (place, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        assert_eq!(REASONS, Reason::ALL.len());
    }

    #[test]
    fn a_lost_packet_fails_the_audit() {
        let mut books = Books::default();
        assert_eq!(books.failing(), None);
        books.rx.received = 1;
        assert_eq!(books.failing(), Some(Check::Receive));
        books.rx.dropped[Reason::Unbound as usize] = 1;
        assert_eq!(books.failing(), None);
        books.tx.requested = 1;
        assert_eq!(books.failing(), Some(Check::Transmit));
        books.frames.total = 1;
        assert_eq!(books.failing(), Some(Check::Frames));
    }
}
