//! Sockets against a kernel's double: what they claim, and what crosses the rings.
#![cfg(test)]

use std::cell::RefCell;
use std::rc::Rc;

use abi::refusal::{Blame, Code, Record};
use abi::{Call, Handle, Status};
use ebpf::{Kind, Program};
use libos::addresses::{AddressPage, Addresses};
use libos::sys::host::{self, Guard, Peer};
use libos::sys::{Bind, Request};
use libos::{Env, Grant};
use sluice_libos_net::frames::{Path, icmp, ipv4, udp};
use std::net::SocketAddr;

use sluice_libos_net::{FilterError, Net, RawSocket, SocketError, UdpSocket, explain, filter};

const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const IP: [u8; 4] = [10, 0, 2, 15];
const THERE: Path = Path {
    source_mac: [0x52, 0x54, 0x00, 0x00, 0x00, 0x99],
    destination_mac: MAC,
    source: [10, 0, 2, 99],
    destination: IP,
};
const BACK: Path = Path {
    source_mac: MAC,
    destination_mac: THERE.source_mac,
    source: IP,
    destination: THERE.source,
};
const GRANT: Grant = Grant(Handle(2));

/// What a kernel that agrees to everything has seen.
#[derive(Default)]
struct Kernel {
    pages: u64,
    now: u64,
    peer: Option<Peer>,
    filter: Vec<u8>,
    out: Vec<Vec<u8>>,
    /// Statuses of `Transmit`, last first.
    transmit: Vec<Status>,
    refuse: Option<Record>,
}

impl Kernel {
    fn answer(&mut self, request: Request<'_>) -> (u64, u64) {
        match request {
            Request::Plain { call: Call::PageAlloc, .. } => {
                self.pages += 1;
                (0, 1000 + self.pages)
            }
            Request::Plain { call: Call::Clock, .. } => (0, self.now),
            Request::Plain { call: Call::Wait, args } => {
                self.now = args[0];
                (0, abi::ring::EVENT_DEADLINE)
            }
            Request::Plain { call: Call::Transmit, .. } => {
                let peer = self.peer.as_mut().unwrap();
                if let Some(status) = self.transmit.pop() {
                    return (status as u64, 0);
                }
                self.out.extend(peer.take());
                peer.complete();
                (0, 1)
            }
            Request::Bind(bind) => self.bind(bind),
            _ => (0, 0),
        }
    }

    fn bind(&mut self, bind: Bind<'_>) -> (u64, u64) {
        assert_eq!(bind.grant, GRANT.0);
        if let Some(record) = &self.refuse {
            let bytes = record.encode();
            bind.refusal[..bytes.len()].copy_from_slice(&bytes);
            return (Status::Refused as u64, 0);
        }
        self.filter = bind.filter.to_vec();
        self.peer = Some(Peer::of(&bind));
        (0, 50)
    }
}

fn kernel() -> (Rc<RefCell<Kernel>>, Net, AddressPage, Guard) {
    let kernel = Rc::new(RefCell::new(Kernel::default()));
    let inner = kernel.clone();
    let guard = host::script(move |request| inner.borrow_mut().answer(request));
    let page = AddressPage::new(host::page_window(Handle(9))).unwrap();
    page.publish(&Addresses {
        mac: MAC,
        ipv4: IP,
        prefix: 24,
        gateway: [10, 0, 2, 2],
        neighbours: vec![([10, 0, 2, 2], [0x52, 0x55, 10, 0, 2, 2])],
        ..Addresses::default()
    });
    let net = Net::with_page(Env(Handle(1)), page.clone()).unwrap();
    (kernel, net, page, guard)
}

fn deliver(kernel: &Rc<RefCell<Kernel>>, frame: &[u8]) {
    assert!(kernel.borrow_mut().peer.as_mut().unwrap().deliver(frame));
}

fn program(bytes: &[u8]) -> Program {
    ebpf::decode(bytes, Kind::Filter, abi::limits::PROGRAM_SLOTS_MAX).unwrap()
}

#[test]
fn a_socket_claims_its_port_and_nothing_else() {
    let (kernel, net, _page, _guard) = kernel();
    UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let filter = program(&kernel.borrow().filter);
    let accepts = |frame: &[u8]| ebpf::interp::accepts(&filter, frame).unwrap();
    for options in [0, 4, 40] {
        let frame = udp(&THERE, (1, 7777), &vec![1; options], b"mine").unwrap();
        assert!(accepts(&frame));
        for length in 14..38 + options {
            assert!(!accepts(&frame[..length]));
        }
        let other = udp(&THERE, (7777, 7776), &vec![1; options], b"").unwrap();
        assert!(!accepts(&other));
    }
    let elsewhere = Path { destination: [10, 0, 2, 16], ..THERE };
    assert!(!accepts(&udp(&elsewhere, (1, 7777), &[], b"").unwrap()));
    assert!(!accepts(&icmp(&THERE, (8, 0), [0; 4], &[], b"").unwrap()));
    let mut fragment = udp(&THERE, (1, 7777), &[], b"first").unwrap();
    fragment[20] = 0x20;
    assert!(accepts(&fragment));
    fragment[21] = 1;
    assert!(!accepts(&fragment));
    fragment[20..22].copy_from_slice(&[0x1f, 0xff]);
    assert!(!accepts(&fragment));
}

#[test]
fn a_socket_claims_exactly_what_its_expression_means() {
    let bytes = filter::from_expression(&filter::udp_expression(IP, 9)).unwrap();
    let by_hand = include_str!("../../examples/ash/port9.s");
    let address = libos::program::word(IP);
    let by_hand = libos::program::assemble(Kind::Filter, by_hand, &[("IP", address)]).unwrap();
    let (lowered, by_hand) = (program(&bytes), program(&by_hand));
    let base = udp(&THERE, (1, 9), &[1; 8], b"payload").unwrap();
    let mut state = 77u64;
    let mut both = 0;
    for _ in 0..20_000 {
        let mut frame = base.clone();
        for _ in 0..state % 3 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            frame[(state >> 40) as usize % base.len()] = (state >> 20) as u8;
        }
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        frame.truncate(base.len() - (state >> 60) as usize);
        let verdict = ebpf::interp::accepts(&lowered, &frame).unwrap();
        assert_eq!(ebpf::interp::accepts(&by_hand, &frame).unwrap(), verdict, "{frame:x?}");
        both += usize::from(verdict);
    }
    assert!((1000..19_000).contains(&both));
}

#[test]
fn a_datagram_in_and_its_answer_out() {
    let (kernel, net, _page, _guard) = kernel();
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let mut buffer = [0; 1500];
    assert_eq!(socket.try_recv_from(&mut buffer), None);
    for length in [0, 1, 18, 999, 1472] {
        let data = vec![0x5a; length];
        deliver(&kernel, &udp(&THERE, (4000, 7777), &[1; 0], &data).unwrap());
        let (got, from) = socket.try_recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..got], from), (&data[..], SocketAddr::from((THERE.source, 4000))));
        socket.send_to(&buffer[..got], from).unwrap();
        let out = core::mem::take(&mut kernel.borrow_mut().out);
        let mut wanted = udp(&BACK, (7777, 4000), &[], &data).unwrap();
        assert_eq!(out.len(), 1);
        // The stack chooses identification and fragment bits, and with them the header checksum.
        wanted[18..22].copy_from_slice(&out[0][18..22]);
        wanted[24..26].copy_from_slice(&out[0][24..26]);
        assert_eq!(out[0], wanted);
        assert_eq!(sluice_libos_net::checksum::internet(&[&out[0][14..34]]), 0);
    }
    deliver(&kernel, &udp(&THERE, (4000, 7777), &[1; 8], b"options").unwrap());
    assert_eq!(socket.try_recv_from(&mut buffer).map(|(length, _)| length), Some(7));
}

#[test]
fn frames_that_are_no_datagram_for_us_harm_nothing() {
    let (kernel, net, _page, _guard) = kernel();
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let mut buffer = [0; 1500];
    let good = udp(&THERE, (4000, 7777), &[], b"good").unwrap();
    for length in 14..good.len() {
        deliver(&kernel, &good[..length]);
        assert_eq!(socket.try_recv_from(&mut buffer), None, "cut to {length}");
    }
    for place in 14..good.len() {
        let mut other = good.clone();
        other[place] ^= 0xff;
        deliver(&kernel, &other);
        assert_eq!(socket.try_recv_from(&mut buffer), None, "changed at {place}");
    }
    let mut arp = good.clone();
    arp[13] = 6;
    deliver(&kernel, &arp);
    assert_eq!(socket.try_recv_from(&mut buffer), None);
    assert_eq!(socket.counters().not_ip, 1);
    deliver(&kernel, &good);
    assert_eq!(socket.try_recv_from(&mut buffer).map(|(length, _)| length), Some(4));
    assert_eq!(socket.stack().corrupt(), 0);
}

#[test]
fn packets_find_their_next_hop() {
    let (kernel, net, page, _guard) = kernel();
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let to = |address: [u8; 4]| SocketAddr::from((address, 5));
    let gateway = [0x52, 0x55, 10, 0, 2, 2];
    socket.send_to(b"far away", to([8, 8, 8, 8])).unwrap();
    socket.send_to(b"the gateway", to([10, 0, 2, 2])).unwrap();
    let destinations = |kernel: &Rc<RefCell<Kernel>>| -> Vec<Vec<u8>> {
        let out = core::mem::take(&mut kernel.borrow_mut().out);
        out.iter().map(|frame| frame[..6].to_vec()).collect()
    };
    assert_eq!(destinations(&kernel), [gateway, gateway]);
    socket.send_to(b"nobody knows", to([10, 0, 2, 77])).unwrap();
    assert_eq!(destinations(&kernel).len(), 0);
    assert_eq!(socket.counters().unresolved, 1);
    // netd has learnt it.
    let mut now = page.read().unwrap();
    now.learn([10, 0, 2, 77], [2, 0, 0, 0, 0, 0x77]);
    page.publish(&now);
    socket.send_to(b"now somebody does", to([10, 0, 2, 77])).unwrap();
    assert_eq!(destinations(&kernel), [[2, 0, 0, 0, 0, 0x77]]);
    // A sender from far away came through a router; one with a group address is not believed.
    let far = Path { source: [8, 8, 8, 8], source_mac: [2, 0, 0, 0, 0, 0x88], ..THERE };
    deliver(&kernel, &udp(&far, (5, 7777), &[], b"via").unwrap());
    let liar = Path { source: [10, 0, 2, 66], source_mac: [0xff; 6], ..THERE };
    deliver(&kernel, &udp(&liar, (5, 7777), &[], b"group").unwrap());
    assert!(socket.try_recv_from(&mut [0; 64]).is_some());
    assert!(socket.try_recv_from(&mut [0; 64]).is_some());
    socket.send_to(b"back", to([8, 8, 4, 4])).unwrap();
    socket.send_to(b"back", to([10, 0, 2, 66])).unwrap();
    assert_eq!(destinations(&kernel), [[2, 0, 0, 0, 0, 0x88]]);
}

#[test]
fn what_the_kernel_does_not_take_is_counted() {
    let (kernel, net, _page, _guard) = kernel();
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let gateway = SocketAddr::from(([10, 0, 2, 2], 5));
    kernel.borrow_mut().transmit = vec![Status::Busy];
    socket.send_to(b"late", gateway).unwrap();
    let counters = socket.counters();
    assert_eq!((counters.held_back, counters.not_sent, kernel.borrow().out.len()), (1, 0, 0));
    // It is still in the ring, and goes with the next one.
    socket.send_to(b"with it", gateway).unwrap();
    assert_eq!(kernel.borrow().out.len(), 2);
    let too_long = vec![0; 1473];
    let refused = SocketError::Stack { doing: "the datagram" };
    assert_eq!(socket.send_to(&too_long, gateway), Err(refused));
    let nobody = SocketAddr::from(([0; 4], 5));
    assert!(socket.send_to(b"x", nobody).is_err());
    let no_port = UdpSocket::bind(&net, GRANT, 0).map(|_| ());
    assert_eq!(no_port, Err(SocketError::Stack { doing: "the port" }));
}

#[test]
fn what_is_sent_past_the_stack_is_what_the_stack_sends() {
    let (kernel, net, _page, _guard) = kernel();
    for (port, length) in [(1, 0), (2, 1), (53, 18), (4000, 999), (65_535, 1472)] {
        let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
        let data: Vec<u8> = (0..length).map(|i| (i * 7 + port) as u8).collect();
        let gateway = SocketAddr::from(([10, 0, 2, 2], port as u16));
        // The first one stays in its ring, and what waits there sends the second one the long way.
        kernel.borrow_mut().transmit = vec![Status::Busy];
        socket.send_to(&data, gateway).unwrap();
        assert_eq!(kernel.borrow().out.len(), 0);
        socket.send_to(&data, gateway).unwrap();
        let out = core::mem::take(&mut kernel.borrow_mut().out);
        assert_eq!(out.len(), 2);
        assert_eq!(out[0], out[1], "{length} bytes");
    }
}

/// Datagrams with a few bytes changed and, mostly, sums that are right again.
fn changed() -> Vec<Vec<u8>> {
    let mut state = 5u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % below
    };
    let one = |_| {
        let mut frame =
            udp(&THERE, (4000, 7777), &[1; 8][..random(2) * 4], b"sixteen bytes ..").unwrap();
        for _ in 0..random(4) {
            let place = 12 + random(frame.len() - 12);
            frame[place] = [0, 1, 0x20, 0x40, 0x45, 127, 224, 255, random(256) as u8][random(9)];
        }
        let (header, body) = frame[14..].split_at_mut(20);
        let length = [body[4], body[5]];
        let parts: [&[u8]; 3] = [&header[12..20], &[0, 17], &length];
        match random(4) {
            0 => {}
            1 => body[6..8].fill(0),
            _ => {
                body[6..8].fill(0);
                let sum = sluice_libos_net::checksum::internet(&[&parts.concat(), body]);
                body[6..8].copy_from_slice(&sum.to_be_bytes());
            }
        }
        if random(8) > 0 {
            header[10..12].fill(0);
            let sum = sluice_libos_net::checksum::internet(&[header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        frame.truncate(frame.len() - random(20) / 19);
        frame
    };
    (0..20_000).map(one).collect()
}

#[test]
fn what_is_received_past_the_stack_is_what_the_stack_receives() {
    let frames = changed();
    let run = |long: bool| -> Vec<Option<(Vec<u8>, SocketAddr)>> {
        let (kernel, net, _page, _guard) = kernel();
        let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
        let receive = |frame: &Vec<u8>| {
            if long {
                // What waits in the ring has to be looked after first.
                kernel.borrow_mut().transmit = vec![Status::Busy];
                socket.send_to(b"waits", SocketAddr::from(([10, 0, 2, 2], 5))).unwrap();
            }
            deliver(&kernel, frame);
            let mut buffer = [0; 64];
            let received = socket.try_recv_from(&mut buffer);
            received.map(|(length, from)| (buffer[..length].to_vec(), from))
        };
        frames.iter().map(receive).collect()
    };
    let (short, long) = (run(false), run(true));
    for ((frame, short), long) in frames.iter().zip(&short).zip(&long) {
        assert_eq!(short, long, "{frame:x?}");
    }
    let taken = short.iter().flatten().count();
    assert!((2_000..18_000).contains(&taken), "{taken}");
}

#[test]
fn what_waits_for_the_card_goes_out_when_there_is_room() {
    let (kernel, net, _page, _guard) = kernel();
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    kernel.borrow_mut().transmit = vec![Status::Busy];
    socket.send_to(b"late", SocketAddr::from(([10, 0, 2, 2], 5))).unwrap();
    assert_eq!(kernel.borrow().out.len(), 0);
    // Nothing is received: what wakes is that there is room.
    assert_eq!(socket.try_recv_from(&mut [0; 64]), None);
    assert_eq!(kernel.borrow().out.len(), 1);
}

#[test]
fn a_refusal_comes_with_its_witness() {
    let (kernel, net, _page, _guard) = kernel();
    let witness = udp(&THERE, (1, 7777), &[], b"").unwrap();
    kernel.borrow_mut().refuse = Some(Record {
        version: abi::refusal::VERSION,
        code: Code::Overlap,
        blame: Blame::Filter,
        instruction: None,
        limit: None,
        witness: Some(witness.clone()),
        other: Some(3 << 32 | 42),
        explanation: "both accept the witness".into(),
    });
    let error = UdpSocket::bind(&net, GRANT, 7777).map(|_| ()).unwrap_err();
    let SocketError::Bind { error: inner } = &error else { panic!("{error}") };
    assert_eq!(inner.refusal.as_ref().and_then(|record| record.witness.clone()), Some(witness));
    let lines = explain::lines(&error);
    assert!(lines[0].contains("Overlap") && lines[0].contains("both accept"), "{lines:?}");
    assert!(lines[1].contains("42.3"), "{lines:?}");
    assert!(lines[2].contains("10.0.2.15") && lines[2].contains("7777"), "{lines:?}");
}

#[test]
fn bad_expressions_are_refused_here() {
    let own = Env(Handle(1));
    let _guard = host::script(|request| panic!("asked for {request:?}"));
    let error = RawSocket::bind_expression(own, GRANT, "udp and and", None).map(|_| ());
    assert!(matches!(error, Err(SocketError::Filter { error: FilterError::Text { .. } })));
}

#[test]
fn raw_sockets_carry_whole_frames_and_give_up_in_time() {
    let (kernel, net, _page, _guard) = kernel();
    let mut socket = RawSocket::bind_expression(net.own(), GRANT, "arp", None).unwrap();
    let frame = ipv4(&THERE, 250, &[], &[b"anything"]).unwrap();
    deliver(&kernel, &frame);
    assert_eq!(socket.receive(5), Some(&frame[..]));
    assert_eq!(socket.receive(5), None);
    socket.send(&frame).unwrap();
    assert_eq!(kernel.borrow().out, [frame]);
    assert!(socket.send(&[0; 3]).is_err());
}

#[test]
fn without_an_address_there_is_no_socket() {
    let page = AddressPage::new(host::page_window(Handle(77))).unwrap();
    let now = Rc::new(RefCell::new(0));
    let _guard = host::script(move |request| match request {
        Request::Plain { call: Call::Wait, args } => {
            *now.borrow_mut() = args[0];
            (0, abi::ring::EVENT_DEADLINE)
        }
        Request::Plain { call: Call::Clock, .. } => (0, *now.borrow()),
        other => panic!("{other:?}"),
    });
    let net = Net::with_page(Env(Handle(1)), page);
    assert_eq!(net.map(|_| ()), Err(SocketError::NoAddress));
}
