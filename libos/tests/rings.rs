//! Rings against a kernel's double: in order, around the corner, and against indices that lie.
#![cfg(test)]

use std::cell::RefCell;
use std::rc::Rc;

use abi::ring::{RX_CONSUMED, RX_PRODUCED, TX_COMPLETED};
use abi::{Call, Handle, Status};
use sluice_libos::rings::SendError;
use sluice_libos::sys::Request;
use sluice_libos::sys::host::{self, Guard, Peer};
use sluice_libos::{Env, Grant, Rings};

type Shared = Rc<RefCell<Option<Peer>>>;

/// A binding, its other side, and what keeps the script in place.
fn bound() -> (Rings, Shared, Guard) {
    let peer: Shared = Rc::default();
    let other = peer.clone();
    let mut next = 10;
    let guard = host::script(move |request| match request {
        Request::Plain { call: Call::PageAlloc, .. } => {
            next += 1;
            (0, next)
        }
        Request::Bind(bind) => {
            *other.borrow_mut() = Some(Peer::of(&bind));
            (0, 7)
        }
        _ => (0, 0),
    });
    let rings = Rings::bind(Env(Handle(1)), Grant(Handle(2)), &[0; 8], None).unwrap();
    (rings, peer, guard)
}

fn frame(n: usize) -> Vec<u8> {
    (0..60 + n % 1400).map(|i| (i + n) as u8).collect()
}

#[test]
fn frames_come_in_order_many_times_around() {
    let (mut rings, peer, _guard) = bound();
    let mut peer = peer.borrow_mut();
    let peer = peer.as_mut().unwrap();
    let mut buffer = [0; 1522];
    let (mut sent, mut got) = (0, 0);
    for round in 0..400 {
        for _ in 0..round % 40 {
            if !peer.deliver(&frame(sent)) {
                break;
            }
            sent += 1;
        }
        while let Some(length) = rings.receive(&mut buffer) {
            assert_eq!(buffer[..length], frame(got)[..]);
            got += 1;
        }
        assert!(!rings.pending());
    }
    assert_eq!(sent, got);
    assert!(sent > 1000);
}

#[test]
fn a_full_transmit_ring_refuses_until_the_card_is_done() {
    let (mut rings, peer, _guard) = bound();
    let mut peer = peer.borrow_mut();
    let peer = peer.as_mut().unwrap();
    for round in 0..50 {
        let mut pushed = Vec::new();
        while rings.push(&frame(round + pushed.len())).is_ok() {
            pushed.push(frame(round + pushed.len()));
        }
        assert_eq!(pushed.len(), 16);
        assert_eq!(rings.push(&frame(0)), Err(SendError::Full));
        assert_eq!(peer.take(), pushed);
        assert_eq!(rings.push(&frame(0)), Err(SendError::Full));
        peer.complete();
    }
    assert_eq!(rings.push(&[0; 13]), Err(SendError::Length { length: 13 }));
    assert_eq!(rings.push(&[0; 1523]), Err(SendError::Length { length: 1523 }));
    assert!(rings.push(&[0; 1522]).is_ok());
}

#[test]
fn lengths_that_lie_are_skipped_and_counted() {
    let (mut rings, peer, _guard) = bound();
    let mut peer = peer.borrow_mut();
    let peer = peer.as_mut().unwrap();
    let mut buffer = [0; 1522];
    for length in [0, 13, 1523, 2048, u32::MAX] {
        assert!(peer.deliver_as(&[1; 64], length));
    }
    assert!(peer.deliver(&frame(3)));
    assert_eq!(rings.receive(&mut buffer), Some(frame(3).len()));
    assert_eq!(rings.corrupt(), 5);
    assert!(peer.deliver(&frame(3)));
    assert_eq!(rings.receive(&mut buffer[..20]), None);
    assert_eq!(rings.corrupt(), 6);
}

#[test]
fn an_index_from_nowhere_gives_nothing() {
    let (mut rings, peer, _guard) = bound();
    let peer = peer.borrow();
    let control = &peer.as_ref().unwrap().control;
    let mut buffer = [0; 1522];
    for index in [33, 1 << 31, u32::MAX] {
        control.store_u32(RX_PRODUCED, index);
        assert_eq!(rings.receive(&mut buffer), None);
        assert_eq!(control.load_u32(RX_CONSUMED), index);
    }
    assert_eq!(rings.corrupt(), 3);
    control.store_u32(TX_COMPLETED, 1000);
    assert_eq!(rings.push(&[0; 60]), Err(SendError::Full));
}

#[test]
fn a_refused_transmission_comes_back_with_its_status() {
    let (mut rings, peer, _guard) = bound();
    drop(peer);
    let _busy = host::script(|_| (Status::Busy as u64, 0));
    let busy = SendError::Kernel { status: Status::Busy };
    assert_eq!(rings.send(&[0; 60]), Err(busy));
}

#[test]
fn a_refused_binding_gives_its_pages_back() {
    let pages = Rc::new(RefCell::new(Vec::new()));
    let inner = pages.clone();
    let _guard = host::script(move |request| {
        let mut pages = inner.borrow_mut();
        match request {
            Request::Plain { call: Call::PageAlloc, .. } => {
                let page = 100 + pages.len() as u64;
                pages.push(page);
                (0, page)
            }
            Request::Plain { call: Call::PageFree, args } => {
                pages.retain(|page| *page != args[0]);
                (0, 0)
            }
            Request::Bind(bind) => {
                assert_eq!(pages.len(), 1 + bind.rx.len() + bind.tx.len());
                (Status::Refused as u64, 0)
            }
            _ => (0, 0),
        }
    });
    let error = Rings::bind(Env(Handle(1)), Grant(Handle(2)), &[0; 8], None).map(|_| ());
    assert_eq!(error.map_err(|error| error.status), Err(Status::Refused));
    assert_eq!(pages.borrow().len(), 0);
}

#[test]
fn page_counts_are_powers_of_two() {
    let _guard = host::script(|_| (0, 1));
    for (rx, tx) in [(3, 1), (1, 5), (128, 1), (1, 65)] {
        let made = sluice_libos::rings::RingMemory::new(Env(Handle(1)), rx, tx);
        assert_eq!(made.err(), Some(Status::BadArgument));
    }
}
