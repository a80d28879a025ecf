//! The drivers against devices that keep the rules and devices that do not.

mod fake;

use super::DeviceError;
use super::console::Port;
use super::net::Net;
use crate::limits::{
    BUFFERS, CONSOLE_SLOT, CONSOLE_SLOTS, FRAME_MAX, NIC_QUEUE, REFILL, TRANSMIT_HEADER_MAX,
    TRANSMIT_SLOTS,
};
use crate::wire::{InFlight, NicError};
use core::ptr::NonNull;
use fake::{Fake, HostHal};

const GOOD: u64 = 1 << 32 | 1 << 5;
const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

type Card = Net<HostHal, Fake>;

fn card() -> (Fake, Card) {
    let device = Fake::new(GOOD | 1 << 29 | 1 << 15, &ADDRESS);
    let net = Net::new(device.clone(), || true).unwrap();
    (device, net)
}

fn why(device: Fake) -> DeviceError {
    Net::<HostHal, _>::new(device, || true).err().unwrap()
}

#[test]
fn a_card_is_set_up_with_two_features_and_a_full_queue() {
    let (device, net) = card();
    assert_eq!(device.accepted(), GOOD);
    assert_eq!(net.mac(), ADDRESS);
    assert_eq!(net.in_flight(), InFlight { receive: NIC_QUEUE, ..InFlight::default() });
    assert_eq!(device.notified(), [0]);
}

#[test]
fn a_card_that_makes_no_sense_is_not_used() {
    assert_eq!(why(Fake::new(1 << 5, &ADDRESS)), DeviceError::Features { missing: 1 << 32 });
    assert_eq!(why(Fake::new(1 << 32, &ADDRESS)), DeviceError::Features { missing: 1 << 5 });
    assert_eq!(why(Fake::new(GOOD, &ADDRESS).refuse()), DeviceError::Refused);
    assert_eq!(why(Fake::new(GOOD, &ADDRESS).queue_max(128)), DeviceError::Queue { queue: 0 });
    assert_eq!(why(Fake::new(GOOD, &[0; 6])), DeviceError::Configuration);
    assert_eq!(why(Fake::new(GOOD, &[0xff; 6])), DeviceError::Configuration);
    assert_eq!(why(Fake::new(GOOD, &[2, 0, 0])), DeviceError::Configuration);
    let mute = Net::<HostHal, _>::new(Fake::new(GOOD, &ADDRESS), || false);
    assert_eq!(mute.err(), Some(DeviceError::Interrupt));
}

#[test]
fn a_frame_is_answered_in_its_own_buffer() {
    let (device, mut net) = card();
    device.notified();
    assert!(!net.pending());
    device.deliver(b"a frame that wants an answer");
    assert!(net.pending());
    net.acknowledge();
    let mut received = net.receive().unwrap();
    assert_eq!(received.frame(), b"a frame that wants an answer");
    assert_eq!(received.buffer().headroom(), 256);
    assert_eq!(net.in_flight().held, 1);
    received.frame_mut()[0] = b'A';
    assert!(net.reply(received).is_ok());
    assert_eq!(net.in_flight().replies, 1);
    assert_eq!(device.notified(), [0; 0]);
    net.kick();
    // One place in the receive queue is not worth a word.
    assert_eq!(device.notified(), [1]);
    assert_eq!(
        device.collect(1).unwrap(),
        [&[0; 12][..], b"A frame that wants an answer"].concat()
    );
    assert!(net.completed().is_none());
    assert_eq!(net.in_flight(), InFlight { receive: NIC_QUEUE, ..InFlight::default() });
    assert!(net.receive().is_none());
}

#[test]
fn a_frame_whose_ends_were_moved_is_sent_from_where_it_is() {
    let (device, mut net) = card();
    device.deliver(b"outer frame");
    let mut received = net.receive().unwrap();
    let mut buffer = received.buffer();
    assert!(buffer.move_start(6) && buffer.move_end(-1));
    let (start, len) = (buffer.start(), buffer.len());
    // Without room for the virtio header, or beyond the buffer: nothing changes.
    received.adopt(start, usize::MAX);
    received.adopt(0, len);
    assert_eq!(received.frame(), b"outer frame");
    received.adopt(start, len);
    assert_eq!(received.frame(), b"fram");
    assert!(net.reply(received).is_ok());
    device.notified();
    net.kick_transmit();
    assert_eq!(device.notified(), [1]);
    assert_eq!(device.collect(1).unwrap(), [&[0; 12][..], b"fram"].concat());
}

#[test]
fn the_queue_survives_the_wrap_of_its_index() {
    let (device, mut net) = card();
    for round in 0..70_000_u32 {
        device.deliver(&round.to_le_bytes());
        let received = net.receive().unwrap();
        assert_eq!(received.frame(), round.to_le_bytes());
        assert!(net.reply(received).is_ok());
        net.kick();
        assert!(device.collect(1).is_some());
    }
    net.kick();
    assert!(net.completed().is_none());
    let flight = net.in_flight();
    assert_eq!((net.malformed(), flight.replies, flight.held), (0, 0, 0));
    assert!(flight.receive > NIC_QUEUE - REFILL);
}

#[test]
fn the_card_is_told_of_answers_and_of_buffers_when_it_runs_dry_whatever_it_says() {
    let (device, mut net) = card();
    device.notified();
    device.quiet(true);
    // As a device says that is busy, and as QEMU's thread may still say when it is not any more.
    for round in 1..=2 * BUFFERS {
        device.deliver(b"frame");
        let received = net.receive().unwrap();
        assert!(net.reply(received).is_ok());
        net.kick();
        assert_eq!(device.notified(), [1], "{round}");
        assert!(device.collect(1).is_some());
        net.finish();
    }
    // It has used up all that it was given.
    let (mut held, most) = (Vec::new(), net.in_flight().receive);
    for _ in 0..most {
        device.deliver(b"flood");
        held.push(net.receive().unwrap());
    }
    held.into_iter().for_each(|received| net.recycle(received));
    net.kick();
    assert_eq!(device.notified(), [0]);
}

#[test]
fn who_finds_no_room_is_told_by_an_interrupt_when_there_is_some() {
    let (device, mut net) = card();
    while net.in_flight().replies < NIC_QUEUE {
        device.deliver(b"frame");
        assert!(net.receive().is_some_and(|received| net.reply(received).is_ok()));
        net.kick();
    }
    assert_eq!(net.transmit(b"mine", None), Err(NicError::Full));
    assert!(device.wants_no_interrupt(1) && !net.has_room_again());
    net.tell_of_room();
    assert!(!device.wants_no_interrupt(1) && !net.has_room_again() && !net.pending());
    for _ in 0..2 {
        assert!(device.collect(1).is_some());
    }
    assert!(net.pending() && net.has_room_again() && !net.has_room_again());
    assert!(device.wants_no_interrupt(1) && !net.pending());
    assert!(net.transmit(b"mine", None).is_ok());
    assert_eq!(net.in_flight().transmit, 1);
}

#[test]
fn lengths_that_do_not_fit_are_refused_and_counted() {
    let (device, mut net) = card();
    let lengths = [0, 11, 12 + FRAME_MAX as u32 + 1, u32::MAX];
    for length in lengths {
        let (id, _) = device.next(0).unwrap();
        device.use_up(0, id, length);
    }
    assert!(net.receive().is_none());
    assert_eq!(net.malformed(), lengths.len() as u64);
    assert!(!net.broken());
    assert_eq!(net.in_flight(), InFlight { receive: NIC_QUEUE, ..InFlight::default() });
    for length in [12, 12 + FRAME_MAX as u32] {
        let (id, _) = device.next(0).unwrap();
        device.use_up(0, id, length);
        let received = net.receive().unwrap();
        assert_eq!(received.len(), length as usize - 12);
        net.recycle(received);
    }
}

#[test]
fn an_id_out_of_range_ends_the_queue_and_not_the_kernel() {
    for id in [NIC_QUEUE as u32, 0xffff] {
        let (device, mut net) = card();
        device.use_up(0, id, 60);
        assert!(net.receive().is_none());
        assert_eq!((net.malformed(), net.broken()), (1, true));
        assert!(!net.pending());
        assert!(net.receive().is_none());
        assert_eq!(net.malformed(), 1);
    }
}

#[test]
fn an_id_that_was_returned_already_ends_the_queue() {
    let (device, mut net) = card();
    // With no spare buffer left, an id that came back stays out of use.
    let held: Vec<_> = (0..BUFFERS - NIC_QUEUE)
        .map(|_| {
            device.deliver(b"held");
            net.receive().unwrap()
        })
        .collect();
    let id = device.deliver(b"once");
    device.use_up(0, id, 16);
    let received = net.receive().unwrap();
    held.into_iter().for_each(|received| assert_eq!(received.frame(), b"held"));
    assert!(net.receive().is_none());
    assert!(net.broken());
    assert_eq!(received.frame(), b"once");
    net.recycle(received);
    assert_eq!(net.malformed(), 1);
}

#[test]
fn an_id_never_given_on_the_transmit_queue_ends_it() {
    let (device, mut net) = card();
    device.use_up(1, 7, 0);
    assert_eq!(net.completed(), None);
    assert!(net.broken());
    device.deliver(b"still received");
    let received = net.receive().unwrap();
    assert!(net.reply(received).is_err());
    assert_eq!(net.transmit(b"x", None), Err(NicError::Full));
}

#[test]
fn transmissions_complete_in_order_and_free_their_slots() {
    let (device, mut net) = card();
    let mut rest = *b"the rest of the frame";
    let part = NonNull::from(&mut rest[..]);
    let first = net.transmit(b"header ", Some(part)).unwrap();
    let second = net.transmit(b"alone", None).unwrap();
    assert_ne!(first, second);
    assert_eq!(net.completed(), None);
    assert_eq!(device.collect(1).unwrap()[12..], *b"header the rest of the frame");
    assert!(net.pending());
    assert!(net.finish());
    assert_eq!(net.completed(), Some(first));
    assert_eq!(net.completed(), None);
    assert_eq!(device.collect(1).unwrap(), [&[0; 12][..], b"alone"].concat());
    assert_eq!(net.completed(), Some(second));
    assert_eq!(net.in_flight().transmit, 0);
}

#[test]
fn a_full_transmit_queue_says_so() {
    let (device, mut net) = card();
    for _ in 0..TRANSMIT_SLOTS {
        assert!(net.transmit(b"x", None).is_ok());
    }
    assert_eq!(net.transmit(b"x", None), Err(NicError::Full));
    assert_eq!(net.in_flight().transmit, TRANSMIT_SLOTS);
    while device.collect(1).is_some() {}
    assert_eq!(std::iter::from_fn(|| net.completed()).count(), TRANSMIT_SLOTS);
    assert!(net.transmit(b"x", None).is_ok());
}

#[test]
fn what_is_too_long_or_empty_is_not_sent() {
    let (device, mut net) = card();
    let mut page = [0; 4096];
    let mut part = |len: usize| Some(NonNull::from(&mut page[..len]));
    let header = [0; TRANSMIT_HEADER_MAX + 1];
    assert_eq!(net.transmit(&header, None), Err(NicError::TooLong));
    assert_eq!(net.transmit(b"h", part(FRAME_MAX)), Err(NicError::TooLong));
    assert_eq!(net.transmit(b"", None), Err(NicError::TooLong));
    assert_eq!(net.transmit(b"", part(0)), Err(NicError::TooLong));
    assert!(device.collect(1).is_none());
    assert!(net.transmit(b"h", part(FRAME_MAX - 1)).is_ok());
    assert_eq!(device.collect(1).unwrap().len(), 12 + FRAME_MAX);
}

#[test]
fn replies_that_find_no_room_come_back() {
    let (device, mut net) = card();
    let mut sent = 0;
    let back = loop {
        device.deliver(b"frame");
        match net.receive().map(|received| net.reply(received)) {
            Some(Ok(())) => sent += 1,
            Some(Err(back)) => break back,
            None => panic!("nothing received"),
        }
        net.kick();
    };
    assert_eq!(sent, NIC_QUEUE);
    assert_eq!(back.frame(), b"frame");
    net.recycle(back);
    let flight = net.in_flight();
    assert_eq!((flight.replies, flight.receive), (NIC_QUEUE, BUFFERS - NIC_QUEUE));
}

#[test]
fn a_console_takes_what_fits_and_no_more() {
    let device = Fake::new(1 << 32, &[]);
    let mut port = Port::<HostHal, _>::new(device.clone()).unwrap();
    assert_eq!(port.write(b""), 0);
    assert_eq!(port.write(b"record"), 6);
    assert_eq!(device.notified(), [1]);
    assert_eq!(device.collect(1).unwrap(), b"record");
    let capacity = CONSOLE_SLOTS * CONSOLE_SLOT;
    assert_eq!(port.write(&vec![1; capacity + 1]), capacity);
    assert_eq!(port.write(b"lost"), 0); // The device takes nothing here until it is asked to.
    assert_eq!(device.collect(1).unwrap().len(), CONSOLE_SLOT);
    assert_eq!(port.write(b"kept"), 4);
    assert_eq!(port.malformed(), 0);
}

#[test]
fn a_console_that_lies_is_not_believed() {
    let device = Fake::new(1 << 32, &[]);
    let mut port = Port::<HostHal, _>::new(device.clone()).unwrap();
    device.use_up(1, 3, 0);
    assert_eq!(port.write(b"the lie is seen after this"), 26);
    assert_eq!(port.write(b"record"), 0);
    assert_eq!(port.malformed(), 1);
    let old = Port::<HostHal, _>::new(Fake::new(0, &[]));
    assert_eq!(old.err(), Some(DeviceError::Features { missing: 1 << 32 }));
}
