//! The server that sends from its cache, against a client of smoltcp over wires of all kinds.
#![cfg(test)]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Client, Faults, GRANT, World, world};
use sluice_libos_net::cached::{Counters, HALF_OPEN_MAX, Server};
use sluice_libos_net::frames::{Path, ipv4};
use sluice_libos_net::http::{File, Limits, Site};
use smoltcp::socket::tcp::State;

static LARGE: [u8; 100_000] = {
    let mut bytes = [0; 100_000];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = (i % 251) as u8;
        i += 1;
    }
    bytes
};
const FILES: &[File] = &[
    File { path: "/index.html", kind: "text/html", bytes: b"<p>hello" },
    File { path: "/large", kind: "text/plain", bytes: &LARGE },
];

/// What a client heard, whether it saw the end, what the server counted.
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
    counters: Counters,
    world: Rc<RefCell<World>>,
}

impl Heard {
    fn statuses(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        text.split("HTTP/1.1 ").skip(1).map(|part| part[..3].to_owned()).collect()
    }
}

/// Says the pieces, each when nothing has been heard for a while, then ends its half or not; the
/// server runs for so many seconds.
fn talk(faults: Faults, pieces: &[&[u8]], close: bool, seconds: u64) -> Heard {
    let heard = Rc::new(RefCell::new((Vec::new(), false)));
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let (mut next, mut sent, mut quiet, mut handle) = (0, 0, 0, None);
    let inner = heard.clone();
    let (world, net, _guard) = world(faults, move |client: &mut Client, _| {
        let handle = *handle.get_or_insert_with(|| client.connect(4000, 80));
        let socket = client.tcp(handle);
        quiet += 1;
        if let Some(piece) = pieces.get(next).filter(|_| socket.may_send() && quiet > 5) {
            sent += socket.send_slice(&piece[sent..]).unwrap();
            if sent == piece.len() {
                (next, sent, quiet) = (next + 1, 0, 0);
            }
        } else if close && next == pieces.len() && quiet > 5 {
            socket.close();
        }
        while socket.can_recv() {
            quiet = 0;
            let take = |bytes: &mut [u8]| {
                inner.borrow_mut().0.extend_from_slice(bytes);
                (bytes.len(), ())
            };
            socket.recv(take).unwrap();
        }
        let over = [State::CloseWait, State::TimeWait, State::LastAck, State::Closing];
        inner.borrow_mut().1 |= next > 0 && (!socket.may_recv() || over.contains(&socket.state()));
    });
    let limits = Limits { requests: 50, ..Limits::default() };
    let mut server = Server::bind(&net, GRANT, 80, Site::new(FILES), limits).unwrap();
    while world.borrow().now < seconds * 1_000_000_000 {
        let next = server.turn();
        server.wait(next);
    }
    let (bytes, ended) = heard.borrow().clone();
    Heard { bytes, ended, counters: server.counters(), world }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const CLEAN: Faults = Faults { lost: 0, corrupted: 0, doubled: 0, late: 0 };

#[test]
fn requests_one_after_the_other_and_pipelined() {
    let heard = talk(CLEAN, &[GET, GET], true, 2);
    assert_eq!(heard.statuses(), ["200", "200"]);
    assert!(heard.bytes.ends_with(b"\r\n\r\n<p>hello") && heard.ended);
    assert_eq!((heard.counters.known, heard.counters.live), (1, 0));
    // The answers carry the acknowledgements: bare are the SYN's, the end's, and no more.
    assert!(heard.counters.bare <= 3, "{:?}", heard.counters);

    let missing = b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = b"HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345";
    let all = [GET, missing, head, post, LAST, GET].concat();
    let heard = talk(CLEAN, &[&all], false, 2);
    assert_eq!(heard.statuses(), ["200", "404", "200", "405", "200"]);
    assert!(heard.ended);
    let heard = talk(CLEAN, &GET.chunks(1).collect::<Vec<_>>(), true, 2);
    assert_eq!(heard.statuses(), ["200"]);
}

#[test]
fn more_in_a_pipeline_than_has_room_is_answered_all_the_same() {
    let heard = talk(CLEAN, &[&GET.repeat(49), LAST], false, 5);
    assert_eq!(heard.statuses().len(), 50);
    assert!(heard.ended);
}

#[test]
fn a_large_page_comes_whole_over_any_wire() {
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let wires = [
        CLEAN,
        Faults { lost: 4, ..CLEAN },
        Faults { corrupted: 4, ..CLEAN },
        Faults { doubled: 10, late: 10, ..CLEAN },
        Faults { lost: 4, corrupted: 2, doubled: 5, late: 5 },
        Faults { lost: 20, ..CLEAN },
    ];
    for faults in wires {
        let seconds = if faults.lost > 10 { 300 } else { 60 };
        let heard = talk(faults, &[request], false, seconds);
        let at = heard.bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        let (now, counters) = (heard.world.borrow().now, heard.counters);
        assert_eq!(heard.bytes[at..].len(), LARGE.len(), "{faults:?} at {now}: {counters:?}");
        assert!(heard.bytes[at..] == LARGE && heard.ended);
        assert_eq!(heard.counters.live, 0, "{:?}", heard.counters);
    }
}

#[test]
fn a_lost_segment_is_sent_again_before_the_timer() {
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let heard = talk(Faults { lost: 1, ..CLEAN }, &[request], false, 10);
    assert!(heard.ended && heard.bytes.len() > LARGE.len());
    // 69 segments and few more: what was not lost is not sent twice.
    assert!(heard.counters.sent < 100, "{:?}", heard.counters);
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let long = [b"GET /", &[b'a'; 5000][..]].concat();
    let large = [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", &[b'a'; 9000][..]].concat();
    let cases: [(&[u8], &str); 5] = [
        (b"garbage\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505"),
        (&long, "414"),
        (&large, "431"),
    ];
    for (bytes, status) in cases {
        let heard = talk(CLEAN, &[bytes, GET], false, 5);
        assert_eq!(heard.statuses(), [status]);
        assert!(heard.ended);
    }
}

#[test]
fn who_takes_too_long_is_told_so_and_put_out() {
    let heard = talk(CLEAN, &[b"GET / HT"], false, 15);
    assert_eq!(heard.statuses(), ["408"]);
    assert!(heard.ended);
    let heard = talk(CLEAN, &[GET], false, 45);
    assert_eq!(heard.statuses(), ["200"]);
    assert!(heard.ended && heard.counters.live == 0, "{:?}", heard.counters);
}

/// A TCP segment of ours by hand: ports, numbers, flags.
fn segment(port: u16, (sequence, ack): (u32, u32), flags: u8, payload: &[u8]) -> Vec<u8> {
    let path = Path {
        source_mac: common::CLIENT_MAC,
        destination_mac: common::MAC,
        source: common::CLIENT_IP,
        destination: common::IP,
    };
    let mut header = [0; 20];
    header[..2].copy_from_slice(&port.to_be_bytes());
    header[2..4].copy_from_slice(&80_u16.to_be_bytes());
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[8..12].copy_from_slice(&ack.to_be_bytes());
    header[12..16].copy_from_slice(&[0x50, flags, 0x20, 0]);
    let length = (20 + payload.len()) as u16;
    let [high, low] = length.to_be_bytes();
    let pseudo = [0, 6, high, low];
    let parts: [&[u8]; 5] = [&path.source, &path.destination, &pseudo, &header, payload];
    let sum = sluice_libos_net::checksum::internet(&parts);
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(&path, 6, &[], &[&header, payload]).unwrap()
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[test]
fn a_flood_of_first_segments_leaves_room_for_who_means_it() {
    let (world, net, _guard) = world(CLEAN, |_: &mut Client, _| {});
    let limits = Limits::default();
    let mut server = Server::bind(&net, GRANT, 80, Site::new(FILES), limits).unwrap();
    for port in 1000..2000 {
        world.borrow_mut().deliver_frame(&segment(port, (7, 0), SYN, b""));
        server.turn();
    }
    let counters = server.counters();
    assert_eq!(counters.live, HALF_OPEN_MAX as u64);
    assert_eq!(counters.given_up, 1000 - HALF_OPEN_MAX as u64);
    // The last one finishes: on the host first numbers repeat.
    let first = libos::sys::entropy() as u32;
    let ack = (8, first.wrapping_add(1));
    world.borrow_mut().deliver_frame(&segment(1999, ack, ACK, GET));
    server.turn();
    let after = server.counters();
    assert_eq!(after.sent - counters.sent, 1, "the answer, with the acknowledgement in it");
    assert_eq!(after.bare, counters.bare);
}

#[test]
fn resets_must_be_exact_and_strays_are_reset() {
    let (world, net, _guard) = world(CLEAN, |_: &mut Client, _| {});
    let limits = Limits::default();
    let mut server = Server::bind(&net, GRANT, 80, Site::new(FILES), limits).unwrap();
    let mut send = |bytes: Vec<u8>| {
        world.borrow_mut().deliver_frame(&bytes);
        server.turn();
        server.counters()
    };
    let first = libos::sys::entropy() as u32;
    let ours = first.wrapping_add(1);
    assert_eq!(send(segment(5, (7, 0), SYN, b"")).live, 1);
    // An acknowledgement of what was never sent is reset, and does not open it.
    assert_eq!(send(segment(5, (8, ours.wrapping_add(5)), ACK, b"")).sent, 2);
    assert_eq!(send(segment(5, (8, ours), ACK, b"")).sent, 2);
    // Near the number: challenged. Far off: nothing. Exact: over.
    let challenged = send(segment(5, (9, 0), RST, b""));
    assert_eq!((challenged.live, challenged.sent), (1, 3));
    let ignored = send(segment(5, (8 + 40_000, 0), RST, b""));
    assert_eq!((ignored.live, ignored.sent), (1, 3));
    // A SYN within it changes nothing.
    assert_eq!(send(segment(5, (9, 0), SYN, b"")).live, 1);
    assert_eq!(send(segment(5, (8, 0), RST, b"")).live, 0);
    // Nobody's: reset, but no reset for a reset.
    let before = send(segment(6, (1, 1), ACK, b"")).sent;
    assert_eq!(send(segment(6, (1, 1), RST, b"")).sent, before);
    // Damaged: not even looked at.
    let mut wrong = segment(6, (1, 1), ACK, b"x");
    *wrong.last_mut().unwrap() ^= 1;
    let counters = send(wrong);
    assert_eq!((counters.sent, counters.unreadable), (before, 1));
}

#[test]
fn a_full_ring_holds_back_and_nothing_is_lost() {
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let heard = talk(CLEAN, &[request], false, 5);
    let without = heard.counters.sent;
    assert!(heard.ended && heard.world.borrow().undelivered == 0);
    assert!(without < 100);
}
