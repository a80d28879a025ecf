//! First packets of a TCP listener: who exists gets through, nobody else.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use sluice::wire::frames::{GUEST_IP, GUEST_MAC, HOST_MAC};

use crate::{Handler, PASS, Random, TX};

const OBJECT: &[u8] = include_bytes!("../../../examples/ash/syn.o");
const DROP: u64 = 1;

fn handler() -> Handler {
    let handler = Handler::load(OBJECT, "syn");
    let secret = [7_u64.to_le_bytes(), 0x1234_5678_9abc_def0_u64.to_le_bytes()].concat();
    assert!(handler.map("guard").write(0, 0, &secret));
    handler.now_ns.set(1 << 40);
    handler
}

fn frame(from: ([u8; 4], u16), to: u16, seq: u32, flags: &str) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ipv4(from.0, GUEST_IP, 64)
        .tcp(from.1, to, seq, 1000);
    let mut frame = Vec::new();
    match flags {
        "syn" => builder.syn().write(&mut frame, &[]),
        "rst" => builder.rst().write(&mut frame, &[]),
        "ack" => builder.ack(99).write(&mut frame, b"data"),
        _ => builder.syn().ack(7).write(&mut frame, &[]),
    }
    .unwrap();
    frame
}

/// The acknowledged number of a challenge, which must be a right segment otherwise.
fn challenged(to: ([u8; 4], u16), from: u16, frame: &[u8]) -> u32 {
    assert_eq!(frame.len(), 54);
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (packet.net, packet.transport)
    else {
        panic!("{frame:02x?}")
    };
    let header = ip.header().to_header();
    assert_eq!(header.calc_header_checksum(), header.header_checksum);
    assert_eq!((header.source, header.destination), (GUEST_IP, to.0));
    assert_eq!((tcp.source_port(), tcp.destination_port()), (from, to.1));
    assert!(tcp.syn() && tcp.ack() && !tcp.rst() && !tcp.fin());
    let sum = tcp.to_header().calc_checksum_ipv4(&header, &[]).unwrap();
    assert_eq!(tcp.checksum(), sum);
    tcp.acknowledgment_number()
}

#[test]
fn who_exists_gets_through_with_the_second_attempt() {
    let handler = handler();
    let mut random = Random(5);
    for number in 0..200_u32 {
        let who = ([10, 1, (number >> 8) as u8, number as u8], 1024 + random.below(60_000) as u16);
        let syn = frame(who, 80, number * 1_000_003, "syn");
        let (verdict, told) = handler.run(&syn);
        assert_eq!(verdict, TX);
        let proof = challenged(who, 80, &told);
        assert_ne!(proof, number.wrapping_mul(1_000_003).wrapping_add(1), "never a right answer");
        for wrong in [proof ^ 1, 0, proof.wrapping_add(1)] {
            assert_eq!(handler.run(&frame(who, 80, wrong, "rst")).0, DROP);
        }
        assert_eq!(handler.run(&syn).0, TX, "not by a wrong number");
        // The answer may be some seconds late.
        handler.now_ns.set(handler.now_ns.get() + (1 << 33));
        assert_eq!(handler.run(&frame(who, 80, proof, "rst")).0, DROP, "it is for the handler");
        assert_eq!(handler.run(&syn), (PASS, syn));
        let data = frame((who.0, 999), 80, 5, "ack");
        assert_eq!(handler.run(&data), (PASS, data), "its other connections as well");
    }
    let mut counts = [0; 16];
    assert!(handler.map("guard").read(0, 16, &mut counts));
    assert_eq!(counts, [400_u64.to_le_bytes(), 200_u64.to_le_bytes()].concat()[..]);
}

#[test]
fn a_late_number_and_another_s_are_worth_nothing() {
    let handler = handler();
    let who = ([10, 0, 2, 99], 5000);
    let (_, told) = handler.run(&frame(who, 80, 1, "syn"));
    let proof = challenged(who, 80, &told);
    for (other, port) in [(([10, 0, 2, 98], 5000), 80), ((who.0, 5001), 80), (who, 81)] {
        handler.run(&frame(other, port, proof, "rst"));
        assert_eq!(handler.run(&frame(other, port, 1, "syn")).0, TX, "{other:?} {port}");
    }
    handler.now_ns.set(handler.now_ns.get() + (2 << 33));
    handler.run(&frame(who, 80, proof, "rst"));
    assert_eq!(handler.run(&frame(who, 80, 1, "syn")).0, TX, "too late");
    let (_, told) = handler.run(&frame(who, 80, 1, "syn"));
    let proof = challenged(who, 80, &told);
    handler.run(&frame(who, 80, proof, "rst"));
    assert_eq!(handler.run(&frame(who, 80, 1, "syn")).0, PASS);
    handler.now_ns.set(handler.now_ns.get() + 3_600_000_000_001);
    assert_eq!(handler.run(&frame(who, 80, 1, "syn")).0, TX, "an hour later");
}

#[test]
fn a_flood_of_made_up_sources_never_gets_through() {
    let handler = handler();
    let mut random = Random(77);
    for _ in 0..20_000 {
        let source = [random.below(224) as u8, random.below(256) as u8, 1, random.below(256) as u8];
        let flags = ["syn", "rst", "ack", "syn-ack"][random.below(4)];
        let port = random.below(65_536) as u16;
        let mut frame = frame((source, port), 80, random.below(1 << 31) as u32, flags);
        if random.below(4) == 0 {
            let place = 14 + random.below(frame.len() - 14);
            frame[place] ^= 1 << random.below(8);
            frame.truncate(14 + random.below(frame.len() - 13));
        }
        let length = frame.len();
        let (verdict, told) = handler.run(&frame);
        assert!(verdict == DROP || verdict == TX, "{frame:02x?}");
        assert!(told.len() <= length, "no amplification");
    }
    let own = frame((GUEST_IP, 80), 80, 1, "syn");
    assert_eq!(handler.run(&own).0, DROP);
}
