//! The network card: batches in both directions, replies in place, no copy on receive.
//!
//! Each receive buffer has [`HEADROOM`] bytes before the frame; the virtio header lies at their
//! end, so that header and frame are one descriptor, and a reply is the same descriptor turned
//! round. Features: `VERSION_1` and `MAC`, nothing else; in particular no `EVENT_IDX`, whose
//! notification test in `virtio-drivers` 0.13 does not survive the wrap of the index.
//!
//! Interrupts come for received frames, and for transmissions only when somebody asked for them
//! ([`Net::tell`], [`Net::tell_of_room`]) or half of the slots are out. What is finished besides is
//! collected on the way, in large numbers, and so are empty buffers given.

use super::buffers::{Block, pool};
use super::ring::{Direction, Ring};
use super::{DeviceError, VERSION_1, negotiate};
use crate::limits::{
    BUFFER, BUFFERS, FRAME_MAX, HEADROOM, NET_HEADER, NIC_QUEUE, REAP, REFILL, TRANSMIT_HEADER_MAX,
    TRANSMIT_SLOT, TRANSMIT_SLOTS,
};
use crate::wire::{InFlight, NicError, TransmitId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ptr::NonNull;
use runtime::PacketBuffer;
use virtio_drivers::Hal;
use virtio_drivers::transport::Transport;

const MAC: u64 = 1 << 5;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const START: usize = HEADROOM - NET_HEADER;

/// One received frame in its buffer: a pointer and a word, so that it travels in registers.
pub(crate) struct Received {
    block: Block<BUFFER>,
    /// Where the frame begins, and its length.
    place: Place,
}

/// Start in the upper half, length in the lower.
#[derive(Clone, Copy)]
struct Place(u32);

impl Place {
    #[inline(always)]
    const fn new(start: usize, len: usize) -> Self {
        Self((start as u32) << 16 | len as u32)
    }

    #[inline(always)]
    const fn start(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline(always)]
    const fn len(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

impl Received {
    /// The frame's bytes.
    #[inline(always)]
    pub(crate) fn frame(&self) -> &[u8] {
        &self.block.bytes()[self.place.start()..self.place.start() + self.place.len()]
    }

    /// The frame's bytes, to be changed in place.
    #[inline(always)]
    pub(crate) fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.block.bytes_mut()[self.place.start()..self.place.start() + self.place.len()]
    }

    /// The frame in its buffer, as programs want it.
    #[inline(always)]
    pub(crate) fn buffer(&mut self) -> PacketBuffer<'_> {
        match PacketBuffer::new(self.block.bytes_mut(), self.place.start(), self.place.len()) {
            Some(buffer) => buffer,
            None => unreachable!("the length was checked on receipt"),
        }
    }

    /// The frame lies elsewhere in its buffer now: a program moved its ends. A place with no room
    /// for the frame or, before it, for the virtio header changes nothing.
    #[inline(always)]
    pub(crate) fn adopt(&mut self, start: usize, len: usize) {
        let end = start.checked_add(len).filter(|end| *end <= BUFFER);
        if start >= NET_HEADER && end.is_some() {
            self.place = Place::new(start, len);
        }
    }

    /// The frame's length in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.place.len()
    }
}

/// What keeps the memory of something on its way out.
enum Outgoing {
    /// A received frame's buffer.
    Reply(Block<BUFFER>),
    /// A header's slot. Its owner keeps what follows until it is told that this is done.
    Sent(Block<TRANSMIT_SLOT>, TransmitId),
}

/// The driver.
pub(crate) struct Net<H: Hal, T: Transport> {
    transport: T,
    receive: Ring<H, Block<BUFFER>, NIC_QUEUE>,
    transmit: Ring<H, Outgoing, NIC_QUEUE>,
    /// Receive buffers in all.
    buffers: usize,
    spare: Vec<Block<BUFFER>>,
    slots: Vec<Block<TRANSMIT_SLOT>>,
    done: VecDeque<TransmitId>,
    mac: [u8; 6],
    next: u64,
    /// Transmissions (not replies) that the device has, and one if somebody waits for room.
    watched: usize,
    /// Whether somebody does.
    awaited: bool,
}

// SAFETY: the only pointers are to memory in flight, which is tied to no thread.
unsafe impl<H: Hal, T: Transport + Send> Send for Net<H, T> {}

impl<H: Hal, T: Transport> Net<H, T> {
    /// Sets the card up. `route` connects its interrupt, after the queues exist and before the
    /// device runs; false means that it could not.
    pub(crate) fn new(mut transport: T, route: impl FnOnce() -> bool) -> Result<Self, DeviceError> {
        negotiate(&mut transport, VERSION_1 | MAC)?;
        let mac = mac(&transport)?;
        let mut receive = Ring::new(&mut transport, RECEIVE, Direction::ToDriver)?;
        let mut transmit = Ring::new(&mut transport, TRANSMIT, Direction::ToDevice)?;
        if !route() {
            return Err(DeviceError::Interrupt);
        }
        receive.interrupts(true);
        transmit.interrupts(false);
        transport.finish_init();
        let spare = pool::<H, _>(BUFFERS);
        let slots = pool::<H, _>(TRANSMIT_SLOTS);
        let done = VecDeque::with_capacity(TRANSMIT_SLOTS);
        let mut net = Self {
            transport,
            receive,
            transmit,
            buffers: spare.len(),
            spare,
            slots,
            done,
            mac,
            next: 0,
            watched: 0,
            awaited: false,
        };
        net.refill();
        net.kick();
        Ok(net)
    }

    /// The card's address.
    pub(crate) fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Whether `receive` or `completed` would find something.
    #[inline(always)]
    pub(crate) fn pending(&self) -> bool {
        self.receive.ready() || !self.done.is_empty() || self.watched > 0 && self.transmit.ready()
    }

    /// Takes one received frame. Lengths that do not fit their buffer are refused and counted.
    #[inline(always)]
    pub(crate) fn receive(&mut self) -> Option<Received> {
        // Each turn takes one chain out of the ring, so there are at most as many as it holds.
        while let Some((block, used)) = self.receive.take() {
            let len = (used as usize).checked_sub(NET_HEADER).filter(|len| *len <= FRAME_MAX);
            match len {
                Some(len) => {
                    return Some(Received { block, place: Place::new(HEADROOM, len) });
                }
                None => {
                    self.receive.count_malformed();
                    self.post(block);
                }
            }
        }
        None
    }

    /// Sends a received frame back in its own buffer. It is given back when the queue is full.
    #[inline(always)]
    pub(crate) fn reply(&mut self, received: Received) -> Result<(), Received> {
        match self.send_back(received) {
            Ok(()) => Ok(()),
            Err(received) => self.reply_later(received),
        }
    }

    /// The queue was full: once more, when it was looked at what is out.
    #[cold]
    #[inline(never)]
    fn reply_later(&mut self, received: Received) -> Result<(), Received> {
        self.reap();
        self.send_back(received)
    }

    #[inline(always)]
    fn send_back(&mut self, received: Received) -> Result<(), Received> {
        let Received { mut block, place } = received;
        let end = place.start() + place.len();
        let chain = &mut block.bytes_mut()[place.start() - NET_HEADER..end];
        if let Some(header) = chain.first_chunk_mut::<NET_HEADER>() {
            *header = [0; NET_HEADER];
        }
        let chain = NonNull::from(chain);
        // SAFETY: part of the buffer, which is exclusive, and no shorter than the virtio header.
        match unsafe { self.transmit.add(Outgoing::Reply(block), chain, None) } {
            Ok(()) => Ok(()),
            Err(Outgoing::Reply(block)) => Err(Received { block, place }),
            Err(Outgoing::Sent(..)) => unreachable!("a reply went in"),
        }
    }

    /// Gives a received frame's buffer back to the card.
    pub(crate) fn recycle(&mut self, received: Received) {
        self.post(received.block);
    }

    /// Sends a copied header and, after it, memory that stays in place until [`Net::completed`]
    /// has returned the identifier.
    pub(crate) fn transmit(
        &mut self,
        header: &[u8],
        rest: Option<NonNull<[u8]>>,
    ) -> Result<TransmitId, NicError> {
        let rest = rest.filter(|rest| !rest.is_empty());
        let len = header.len() + rest.map_or(0, |rest| rest.len());
        if header.len() > TRANSMIT_HEADER_MAX || len > FRAME_MAX || len == 0 {
            return Err(NicError::TooLong);
        }
        self.reap();
        let mut slot = self.slots.pop().ok_or(NicError::Full)?;
        slot.bytes_mut()[..NET_HEADER].fill(0);
        slot.bytes_mut()[NET_HEADER..NET_HEADER + header.len()].copy_from_slice(header);
        let id = TransmitId(self.next);
        let first = NonNull::from(&mut slot.bytes_mut()[..NET_HEADER + header.len()]);
        // SAFETY: part of the slot, which is exclusive, and memory that the caller keeps in place,
        // neither of them empty.
        match unsafe { self.transmit.add(Outgoing::Sent(slot, id), first, rest) } {
            Ok(()) => {
                self.next += 1;
                self.watched += 1;
                if self.slots.len() <= TRANSMIT_SLOTS / 2 {
                    self.tell();
                }
                Ok(id)
            }
            Err(Outgoing::Sent(slot, _)) => {
                self.slots.push(slot);
                Err(NicError::Full)
            }
            Err(Outgoing::Reply(_)) => unreachable!("no reply went in"),
        }
    }

    /// An interrupt, please, when what is being transmitted is done.
    pub(crate) fn tell(&mut self) {
        self.transmit.interrupts(true);
    }

    /// An interrupt, please, when there is room for a transmission: none was taken just now.
    pub(crate) fn tell_of_room(&mut self) {
        if !self.awaited {
            self.awaited = true;
            self.watched += 1;
        }
        self.tell();
    }

    /// Whether there is room again for who asked to be told. Asked once for each time that there
    /// is.
    pub(crate) fn has_room_again(&mut self) -> bool {
        self.reap();
        let room = self.awaited && self.transmit.room() > 1 && !self.slots.is_empty();
        if room {
            self.awaited = false;
            self.look_away();
        }
        room
    }

    /// Collects what the device has sent, if somebody waits for it or it has become much; whether a
    /// transmission is among it, or was before.
    #[inline(always)]
    pub(crate) fn finish(&mut self) -> bool {
        if self.watched > 0 || self.transmit.in_flight() >= REAP {
            self.reap();
        }
        !self.done.is_empty()
    }

    /// The next transmission that is done, if any.
    pub(crate) fn completed(&mut self) -> Option<TransmitId> {
        self.reap();
        self.done.pop_front()
    }

    /// Tells the card about what there is to send: before anything that can wait.
    #[inline(always)]
    pub(crate) fn kick_transmit(&mut self) {
        self.transmit.kick(&mut self.transport);
    }

    /// Gives the card buffers when it has room for many, and tells it about everything queued since
    /// the last kick. Nothing that [`Net::receive`] took out is replaced before.
    #[inline(always)]
    pub(crate) fn kick(&mut self) {
        if self.receive.room() >= REFILL {
            self.refill();
        }
        self.receive.kick_if_low(&mut self.transport);
        self.transmit.kick(&mut self.transport);
    }

    /// Acknowledges the card's interrupt, where that needs the device.
    pub(crate) fn acknowledge(&mut self) {
        let _ = self.transport.ack_interrupt();
    }

    /// Ids and lengths from the device that were refused.
    pub(crate) fn malformed(&self) -> u64 {
        self.receive.malformed() + self.transmit.malformed()
    }

    /// Whether a queue broke down, so that the card is of no more use.
    pub(crate) fn broken(&self) -> bool {
        self.receive.broken() || self.transmit.broken()
    }

    /// Where the buffers are.
    pub(crate) fn in_flight(&self) -> InFlight {
        let sending = self.watched - usize::from(self.awaited);
        let (receive, replies) = (self.receive.in_flight(), self.transmit.in_flight() - sending);
        InFlight {
            receive,
            // Received and not given back: whatever is nowhere else.
            held: self.buffers - receive - replies - self.spare.len(),
            replies,
            transmit: sending + self.done.len(),
        }
    }

    /// Collects what the device has sent.
    #[inline(always)]
    fn reap(&mut self) {
        while let Some((outgoing, _)) = self.transmit.take() {
            match outgoing {
                Outgoing::Reply(block) => self.post(block),
                Outgoing::Sent(slot, id) => {
                    self.slots.push(slot);
                    self.done.push_back(id);
                    self.look_away();
                }
            }
        }
    }

    /// One less is waited for: of none, there are no interrupts.
    fn look_away(&mut self) {
        self.watched -= 1;
        if self.watched == 0 {
            self.transmit.interrupts(false);
        }
    }

    /// Gives a buffer to the device, or keeps it for when the queue has room.
    #[inline(always)]
    fn post(&mut self, block: Block<BUFFER>) {
        if let Err(block) = self.give(block) {
            self.spare.push(block);
        }
    }

    /// Gives the device spare buffers while there are any and it has room.
    #[inline(never)]
    fn refill(&mut self) {
        while self.receive.has_room() {
            let Some(block) = self.spare.pop() else { return };
            if let Err(block) = self.give(block) {
                self.spare.push(block);
                return;
            }
        }
    }

    /// Gives the device a buffer, if its queue has room.
    #[inline(always)]
    fn give(&mut self, mut block: Block<BUFFER>) -> Result<(), Block<BUFFER>> {
        let room = NonNull::from(&mut block.bytes_mut()[START..]);
        // SAFETY: part of the buffer, which is exclusive, and longer than the virtio header.
        unsafe { self.receive.add(block, room, None) }
    }
}

/// The card's address, which must be one that a single machine can have.
fn mac<T: Transport>(transport: &T) -> Result<[u8; 6], DeviceError> {
    let mut mac = [0; 6];
    for (offset, byte) in mac.iter_mut().enumerate() {
        let read = transport.read_config_space::<u8>(offset);
        *byte = read.map_err(|_| DeviceError::Configuration)?;
    }
    let sane = mac != [0; 6] && mac[0] & 1 == 0;
    if sane { Ok(mac) } else { Err(DeviceError::Configuration) }
}

const _: () = assert!(BUFFER < 1 << 16, "a place is two half words");
