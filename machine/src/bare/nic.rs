//! The network card and the console, on whichever bus they were found.

use super::frame::Frame;
use super::hal::KernelHal;
use super::transport::Device;
use crate::memory::PAGE;
use crate::virtio::console::Port;
use crate::virtio::net::{self, Net};
use crate::wire::{InFlight, NicError, TransmitId};
use alloc::boxed::Box;
use core::ptr::NonNull;
use runtime::PacketBuffer;

/// The network card.
pub struct Nic {
    net: Box<Net<KernelHal, Device>>,
    /// Whether interrupts must be acknowledged at the device (those of MSI-X need not).
    acknowledge: bool,
}

impl Nic {
    pub(super) fn new(net: Net<KernelHal, Device>, acknowledge: bool) -> Self {
        Self { net: Box::new(net), acknowledge }
    }

    /// The card's address.
    pub fn mac(&self) -> [u8; 6] {
        self.net.mac()
    }

    /// Whether `receive` or `completed` would find something.
    #[inline(always)]
    pub fn pending(&self) -> bool {
        self.net.pending()
    }

    /// Takes one received frame.
    #[inline(always)]
    pub fn receive(&mut self) -> Option<Received> {
        self.net.receive().map(Received)
    }

    /// Sends a received frame back in its own buffer. It is given back when the queue is full.
    #[inline(always)]
    pub fn reply(&mut self, received: Received) -> Result<(), Received> {
        self.net.reply(received.0).map_err(Received)
    }

    /// Gives a received frame's buffer back to the card.
    #[inline(always)]
    pub fn recycle(&mut self, received: Received) {
        self.net.recycle(received.0);
    }

    /// Sends a copied header and, after it, part of a frame that the caller keeps until
    /// [`Nic::completed`] has returned the identifier.
    #[inline]
    pub fn transmit(
        &mut self,
        header: &[u8],
        rest: Option<(&Frame, usize, usize)>,
    ) -> Result<TransmitId, NicError> {
        let rest = match rest {
            None => None,
            Some((_, offset, len)) if offset > PAGE || len > PAGE - offset => {
                return Err(NicError::TooLong);
            }
            Some((frame, offset, len)) => {
                NonNull::new(frame.at(offset, len)).map(|at| NonNull::slice_from_raw_parts(at, len))
            }
        };
        self.net.transmit(header, rest)
    }

    /// An interrupt, please, when what is being transmitted is done. Look at [`Nic::pending`]
    /// after: it may be done already.
    #[inline(always)]
    pub fn tell(&mut self) {
        self.net.tell();
    }

    /// An interrupt, please, when there is room: a transmission found none. Look at
    /// [`Nic::pending`] after.
    pub fn tell_of_room(&mut self) {
        self.net.tell_of_room();
    }

    /// Whether there is room again for who asked to be told.
    pub fn has_room_again(&mut self) -> bool {
        self.net.has_room_again()
    }

    /// Collects what the card has sent; whether [`Nic::completed`] would find something.
    #[inline(always)]
    pub fn finish(&mut self) -> bool {
        self.net.finish()
    }

    /// The next transmission that is done, if any.
    #[inline(always)]
    pub fn completed(&mut self) -> Option<TransmitId> {
        self.net.completed()
    }

    /// Tells the card about what there is to send, before anything that can wait.
    #[inline(always)]
    pub fn kick_transmit(&mut self) {
        self.net.kick_transmit();
    }

    /// Gives the card the buffers that it has room for, and tells it about everything queued since
    /// the last kick.
    #[inline(always)]
    pub fn kick(&mut self) {
        self.net.kick();
    }

    /// Acknowledges the card's interrupt. Look at [`Nic::pending`] after, not before.
    #[inline(always)]
    pub fn acknowledge(&mut self) {
        if self.acknowledge {
            self.net.acknowledge();
        }
    }

    /// Used-ring ids and lengths that were refused.
    pub fn malformed(&self) -> u64 {
        self.net.malformed()
    }

    /// Whether the card broke its contract so badly that it is not used any more.
    pub fn broken(&self) -> bool {
        self.net.broken()
    }

    /// Where the buffers are.
    pub fn in_flight(&self) -> InFlight {
        self.net.in_flight()
    }
}

/// One received frame in its buffer, with 256 bytes before it that a program may move it into.
#[must_use = "give it back with Nic::recycle or Nic::reply"]
pub struct Received(net::Received);

impl Received {
    /// The frame's bytes.
    #[inline(always)]
    pub fn frame(&self) -> &[u8] {
        self.0.frame()
    }

    /// The frame's bytes, to be changed in place.
    #[inline(always)]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        self.0.frame_mut()
    }

    /// The frame in its buffer, as programs want it.
    #[inline(always)]
    pub fn buffer(&mut self) -> PacketBuffer<'_> {
        self.0.buffer()
    }

    /// The frame lies elsewhere in its buffer now: a program moved its ends. A place with no room
    /// for it changes nothing.
    #[inline(always)]
    pub fn adopt(&mut self, start: usize, len: usize) {
        self.0.adopt(start, len);
    }

    /// The frame's length in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the frame has no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The framed channel to the host: output only.
pub struct Console(Box<Port<KernelHal, Device>>);

impl Console {
    pub(super) fn new(port: Port<KernelHal, Device>) -> Self {
        Self(Box::new(port))
    }

    /// Writes bytes and says how many were taken; the rest is lost unless the caller keeps it.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes)
    }

    /// Used-ring ids that were refused.
    pub fn malformed(&self) -> u64 {
        self.0.malformed()
    }
}
