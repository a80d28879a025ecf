//! Echoes by an ICMP socket, and datagrams that come in fragments.
#![cfg(test)]

mod common;

use common::{CLIENT_IP, CLIENT_MAC, Client, Faults, GRANT, IP, MAC, world};
use sluice_libos_net::checksum::internet;
use sluice_libos_net::frames::{Path, udp};
use sluice_libos_net::{IcmpSocket, SocketError, UdpSocket};
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, Socket};
use std::net::Ipv4Addr;

const IDENTIFIER: u16 = 0x1234;

/// A client that answers requests, once it has heard `deaf` of them.
fn answering(mut deaf: usize) -> impl FnMut(&mut Client, u64) + 'static {
    let mut handle = None;
    move |client: &mut Client, _| {
        let handle = *handle.get_or_insert_with(|| {
            let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 8], vec![0; 8192]);
            let mut socket = Socket::new(buffer(), buffer());
            socket.bind(Endpoint::Ident(IDENTIFIER)).unwrap();
            client.sockets.add(socket)
        });
        let socket = client.sockets.get_mut::<Socket<'_>>(handle);
        while let Ok((message, from)) = socket.recv() {
            let mut reply = message.to_vec();
            assert_eq!(&reply[..2], &[8, 0]);
            reply[..4].fill(0);
            match deaf {
                0 => socket.send_slice(&reply, from).unwrap(),
                _ => deaf -= 1,
            }
        }
    }
}

#[test]
fn an_echo_comes_back_to_who_sent_it() {
    let (world, net, _guard) = world(Faults::default(), answering(0));
    let mut socket = IcmpSocket::bind(&net, GRANT, IDENTIFIER).unwrap();
    let there = Ipv4Addr::from(CLIENT_IP);
    for (number, length) in [0, 1, 56, 1472].into_iter().enumerate() {
        let data = vec![7; length];
        let until = world.borrow().now + 1_000_000_000;
        let took = socket.ping(there, number as u16, &data, until).unwrap();
        assert!(took.is_some_and(|ns| ns < 1_000_000_000), "{length}: {took:?}");
    }
    assert!(matches!(socket.ping(there, 9, &[0; 1473], 0), Err(SocketError::Stack { .. })));
    // Somebody else's reply, and a request to us, are not for this socket.
    let filter = world.borrow().rings[0].1.clone();
    let program = ebpf::decode(&filter, ebpf::Kind::Filter, 4096).unwrap();
    let path =
        Path { source_mac: CLIENT_MAC, destination_mac: MAC, source: CLIENT_IP, destination: IP };
    let accepts = |kind: u8, word: [u8; 4]| {
        let frame = sluice_libos_net::frames::icmp(&path, (kind, 0), word, &[], b"").unwrap();
        ebpf::interp::accepts(&program, &frame).unwrap()
    };
    assert!(accepts(0, [0x12, 0x34, 0, 0]));
    assert!(!accepts(0, [0x12, 0x35, 0, 0]) && !accepts(8, [0x12, 0x34, 0, 0]));
}

#[test]
fn silence_is_waited_for_and_no_longer() {
    let (world, net, _guard) = world(Faults::default(), answering(2));
    let mut socket = IcmpSocket::bind(&net, GRANT, IDENTIFIER).unwrap();
    let there = Ipv4Addr::from(CLIENT_IP);
    for wanted in [false, false, true] {
        let until = world.borrow().now + 50_000_000;
        let took = socket.ping(there, 1, b"anybody", until).unwrap();
        assert_eq!(took.is_some(), wanted);
    }
}

/// The fragments of a frame, cut at these offsets of what follows the IP header.
fn cut(frame: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let (head, body) = frame.split_at(34);
    let mut ends = places.to_vec();
    ends.push(body.len());
    let mut from = 0;
    let mut all = Vec::new();
    for end in ends {
        let mut header = head.to_vec();
        let length = (20 + end - from) as u16;
        let more = if end < body.len() { 0x2000 } else { 0 };
        header[16..18].copy_from_slice(&length.to_be_bytes());
        header[18..20].copy_from_slice(&[0x51, 0xce]);
        header[20..22].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
        header[24..26].fill(0);
        let sum = internet(&[&header[14..34]]);
        header[24..26].copy_from_slice(&sum.to_be_bytes());
        all.push([&header, &body[from..end]].concat());
        from = end;
    }
    all
}

#[test]
fn a_datagram_in_fragments_comes_out_whole() {
    let (world, net, _guard) = world(Faults::default(), |_: &mut Client, _| {});
    let mut socket = UdpSocket::bind(&net, GRANT, 7777).unwrap();
    let path =
        Path { source_mac: CLIENT_MAC, destination_mac: MAC, source: CLIENT_IP, destination: IP };
    let mut buffer = vec![0; 8192];
    let mut random = 7_usize;
    for length in [2000, 3000, 6000] {
        let data: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let frame = udp(&path, (4000, 7777), &[], &data).unwrap();
        let places: Vec<usize> = (1..=length / 1400).map(|part| part * 1400).collect();
        let mut pieces = cut(&frame, &places);
        // In any order, one of them twice.
        pieces.push(pieces[0].clone());
        for left in (1..pieces.len()).rev() {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            pieces.swap(left, (random >> 16) % (left + 1));
        }
        for piece in &pieces {
            // The kernel gives all to the owner of the first (decision 8).
            assert!(world.borrow_mut().rings[0].2.deliver(piece));
        }
        let (count, from) = socket.try_recv_from(&mut buffer).unwrap();
        assert_eq!((count, from.port()), (length, 4000));
        assert!(buffer[..count] == data);
        while socket.try_recv_from(&mut buffer).is_some() {}
    }
    // Without its middle it is nothing, and what comes next is not held up.
    let frame = udp(&path, (4000, 7777), &[], &[1; 4000]).unwrap();
    let pieces = cut(&frame, &[1400, 2800]);
    for piece in [&pieces[0], &pieces[2]] {
        assert!(world.borrow_mut().rings[0].2.deliver(piece));
    }
    assert_eq!(socket.try_recv_from(&mut buffer), None);
    let small = udp(&path, (4000, 7777), &[], b"small").unwrap();
    world.borrow_mut().deliver_frame(&small);
    assert_eq!(socket.try_recv_from(&mut buffer).map(|(count, _)| count), Some(5));
    // What would have to be cut is refused: transmitted fragments are (decision 7).
    let to = std::net::SocketAddr::from((CLIENT_IP, 9));
    assert!(matches!(socket.send_to(&[0; 1473], to), Err(SocketError::Stack { .. })));
}
