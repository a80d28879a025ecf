//! What the network card's two sides share: identifiers, errors, counts.

/// Names one transmission until [`crate::Nic::completed`] has returned it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransmitId(pub u64);

/// Why a frame was not handed to the card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NicError {
    /// The transmit queue has no room now; ask again after completions.
    Full,
    /// The header is longer than [`crate::limits::TRANSMIT_HEADER_MAX`], the whole is longer than
    /// [`crate::limits::FRAME_MAX`], nothing is to be sent, or the rest leaves its frame.
    TooLong,
}

/// Where the card's buffers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InFlight {
    /// Buffers with the device, waiting for a frame.
    pub receive: usize,
    /// Received frames that the kernel holds.
    pub held: usize,
    /// Replies with the device, on their way out in their receive buffer.
    pub replies: usize,
    /// Transmissions with the device, or done and not yet collected.
    pub transmit: usize,
}
