//! Rings against indices and lengths from nowhere.

use abi::Status;
use abi::books::Reason;
use abi::limits::FRAME_BYTES_MAX;
use abi::ring::{
    RX_CONSUMED, RX_DROPPED, RX_PRODUCED, SLOT_DATA, SLOT_LENGTH, TX_COMPLETED, TX_PRODUCED,
};

use alloc::boxed::Box;

use super::Rings;
use crate::environment::EnvironmentId;
use crate::pages::Memory;

fn rings(receive: usize, transmit: usize) -> (Memory, Rings) {
    let mut memory = Memory::new(machine::Boot::host(64).frames);
    let mut page = || {
        let frame = memory.allocate(EnvironmentId(1), None).unwrap().frame;
        memory.frame(frame).unwrap().pin()
    };
    let control = page();
    let receive = (0..receive).map(|_| page()).collect();
    let transmit = (0..transmit).map(|_| page()).collect();
    let rings = Rings::new(control, receive, transmit);
    rings.reset();
    (memory, rings)
}

fn control(rings: &Rings, offset: usize) -> u32 {
    rings.control.load_u32(offset)
}

fn set(rings: &Rings, offset: usize, value: u32) {
    rings.control.store_u32(offset, value);
}

#[test]
fn frames_arrive_in_their_slots_until_the_ring_is_full() {
    let (_memory, mut rings) = rings(2, 0);
    for n in 0..4u8 {
        assert_eq!(rings.deliver(&[n; 60], None), Ok(()));
    }
    assert_eq!(rings.deliver(&[9; 60], None), Err(Reason::RingFull));
    assert_eq!(control(&rings, RX_PRODUCED), 4);
    assert_eq!(control(&rings, RX_DROPPED), 1);
    let page = &rings.receive[1];
    let mut byte = [0];
    page.read(2048 + SLOT_DATA, &mut byte);
    assert_eq!((page.load_u32(2048 + SLOT_LENGTH), byte), (60, [3]));
    set(&rings, RX_CONSUMED, 1);
    assert_eq!(rings.deliver(&[9; 60], None), Ok(()));
}

#[test]
fn a_receive_index_from_nowhere_is_corrupt_and_harmless() {
    let (_memory, mut rings) = rings(1, 0);
    for index in [1, 2, 3, 1 << 31, u32::MAX - 2] {
        set(&rings, RX_CONSUMED, index);
        assert_eq!(rings.deliver(&[1; 60], None), Err(Reason::RingCorrupt), "{index}");
    }
    set(&rings, RX_CONSUMED, 0);
    assert_eq!(rings.deliver(&[1; 60], None), Ok(()));
}

#[test]
fn without_slots_there_is_no_ring() {
    let (_memory, mut rings) = rings(0, 0);
    assert_eq!(rings.deliver(&[1; 60], None), Err(Reason::NoRing));
    assert_eq!(rings.waiting(), Err(Status::BadArgument));
}

#[test]
fn a_transmit_index_from_nowhere_is_corrupt() {
    let (_memory, rings) = rings(0, 1);
    for index in [3, 4, 1 << 31, u32::MAX] {
        set(&rings, TX_PRODUCED, index);
        assert_eq!(rings.waiting(), Err(Status::RingCorrupt), "{index}");
    }
    set(&rings, TX_PRODUCED, 2);
    assert_eq!(rings.waiting(), Ok(2));
}

#[test]
fn slots_in_flight_count_against_the_ring() {
    let (_memory, mut rings) = rings(0, 1);
    set(&rings, TX_PRODUCED, 2);
    rings.take(false);
    rings.take(false);
    set(&rings, TX_PRODUCED, 3);
    assert_eq!(rings.waiting(), Err(Status::RingCorrupt));
    rings.complete(0);
    assert_eq!(rings.waiting(), Ok(1));
}

#[test]
fn completions_are_told_in_ring_order() {
    let (_memory, mut rings) = rings(0, 2);
    set(&rings, TX_PRODUCED, 4);
    let first = rings.take(false);
    let second = rings.take(false);
    rings.take(true);
    rings.complete(second);
    assert_eq!(control(&rings, TX_COMPLETED), 0);
    rings.complete(first);
    assert_eq!(control(&rings, TX_COMPLETED), 3);
    rings.complete(77);
    assert_eq!(control(&rings, TX_COMPLETED), 3);
}

#[test]
fn lengths_from_nowhere_are_refused() {
    let (_memory, rings) = rings(0, 1);
    let page = &rings.transmit[0];
    let mut header = Box::new([0; FRAME_BYTES_MAX]);
    for length in [0, 13, 1523, 2048, 4096, u32::MAX] {
        page.store_u32(SLOT_LENGTH, length);
        assert!(matches!(rings.peek(&mut header), Err(Reason::Length)), "{length}");
    }
    page.store_u32(SLOT_LENGTH, 1522);
    let out = rings.peek(&mut header).ok().unwrap();
    assert_eq!((out.length, out.copied), (1522, 256));
}
