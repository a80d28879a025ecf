//! The handlers that clang made, run by the reference interpreter on the maps of the kernel.
//!
//! Each file holds one handler against the protocol module of its library OS: the same question,
//! the same answer, byte by byte; and every change of a question, so that nothing malformed is ever
//! answered, trapped on, or answered wrongly.
#![cfg(test)]

mod dns;
mod fixtures;
mod kv;
mod ntp;
mod syn;

use std::cell::Cell;
use std::sync::Arc;
use std::task::Poll;

use ebpf::interp::{self, HelperCall, Helpers, World};
use ebpf::object::Object;
use ebpf::packet::PacketBuffer;
use ebpf::{Program, helper};
use etherparse::{SlicedPacket, TransportSlice};
use runtime::helpers::Standard;
use runtime::map::{Map, MapSet};
use sluice::wire::frames;
use verifier::{Fuel, SafetyProof};

pub(crate) const PASS: u64 = 2;
pub(crate) const TX: u64 = 3;

/// Bytes before and behind the frame, as in the kernel's buffers.
const HEADROOM: usize = 256;
const FRAME_MAX: usize = 1522;

/// A program of an object with its maps, proven.
pub(crate) struct Handler {
    program: Arc<Program>,
    worst_case: u64,
    names: Vec<String>,
    maps: Vec<Arc<Map>>,
    pub(crate) now_ns: Cell<u64>,
}

struct At(u64);

impl Helpers for At {
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64> {
        if id == helper::KTIME { Some(self.0) } else { Standard.call(id, args) }
    }

    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        if call.id == helper::KTIME { Some(self.0) } else { Standard.call_with(call) }
    }
}

impl Handler {
    pub(crate) fn load(object: &[u8], name: &str) -> Handler {
        let object = Object::parse(object).unwrap();
        let linked = object.program(name).unwrap();
        let program = linked.program().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut proof = SafetyProof::new(program.clone());
        let Poll::Ready(verified) = proof.step(&mut Fuel::UNLIMITED.clone()) else { panic!() };
        let verified = verified.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let worst_case = u64::from(verified.worst_case());
        assert!(worst_case < 65_536, "{name} may be bound");
        let made = |&map: &usize| {
            let map = &object.maps()[map];
            let made = Map::new(*map.spec().unwrap(), [7, 9]).unwrap();
            if !map.initial().is_empty() {
                assert!(made.write(0, 0, map.initial()));
            }
            (map.name().to_owned(), made)
        };
        let (names, maps) = linked.maps().iter().map(made).unzip();
        let now_ns = Cell::new(0);
        Handler { program: Arc::new(program.clone()), worst_case, names, maps, now_ns }
    }

    pub(crate) fn map(&self, name: &str) -> &Map {
        let at = self.names.iter().position(|known| known == name).unwrap();
        &self.maps[at]
    }

    /// The verdict, and the frame as the handler left it.
    pub(crate) fn run(&self, frame: &[u8]) -> (u64, Vec<u8>) {
        let mut buffer = vec![0xa5; HEADROOM + FRAME_MAX];
        buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let mut packet = PacketBuffer::new(&mut buffer, HEADROOM, frame.len()).unwrap();
        let mut maps = MapSet(&self.maps);
        let mut helpers = At(self.now_ns.get());
        let world = World { helpers: &mut helpers, maps: &mut maps };
        let result = interp::run(&self.program, &mut packet, world, self.worst_case, &mut |_| ());
        let verdict = result.unwrap_or_else(|trap| panic!("{trap} on {frame:02x?}"));
        (verdict, packet.data().to_vec())
    }

    /// The payload of the answer, every header and checksum of which must be right; `None` if the
    /// packet is passed on, which must leave it as it was.
    pub(crate) fn ask(&self, port: u16, question: &[u8]) -> Option<Vec<u8>> {
        self.ask_frame(port, &frames::udp(40_001, port, question))
    }

    pub(crate) fn ask_frame(&self, port: u16, asked: &[u8]) -> Option<Vec<u8>> {
        match self.run(asked) {
            (PASS, left) => {
                assert_eq!(left, asked, "a packet that is passed on is as it was");
                None
            }
            (TX, told) => Some(payload(port, &told)),
            (verdict, _) => panic!("verdict {verdict} on {asked:02x?}"),
        }
    }
}

/// The payload of a frame that must be a right datagram from the guest's port to ours.
fn payload(port: u16, frame: &[u8]) -> Vec<u8> {
    assert_eq!((&frame[..6], &frame[6..12]), (&frames::HOST_MAC[..], &frames::GUEST_MAC[..]));
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
    let header = ip.header().to_header();
    assert_eq!((header.source, header.destination), (frames::GUEST_IP, frames::HOST_IP));
    assert_eq!(header.calc_header_checksum(), header.header_checksum);
    assert_eq!(usize::from(header.total_len) + 14, frame.len(), "no more and no less");
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP") };
    assert_eq!((udp.source_port(), udp.destination_port()), (port, 40_001));
    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
    assert_eq!(udp.checksum(), sum, "{frame:02x?}");
    udp.payload().to_vec()
}

/// A generator of numbers, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

/// Every truncation and many changes of a frame: a verdict that is an action, and what is answered
/// although it was changed is what `right` says of the payload.
pub(crate) fn survives(
    handler: &Handler,
    port: u16,
    good: &[u8],
    right: impl Fn(&[u8], &[u8]) -> bool,
) {
    let mut random = Random(0x5eed);
    for round in 0..4_000 {
        let mut frame = good.to_vec();
        if round < good.len() - 14 {
            frame.truncate(14 + round);
        } else {
            for _ in 0..=random.below(3) {
                let place = random.below(frame.len());
                frame[place] = random.below(256) as u8;
            }
            // Half of them with no checksum to give them away.
            if round % 2 == 0 && frame.len() >= 42 {
                frame[40..42].fill(0);
            }
        }
        let (verdict, told) = handler.run(&frame);
        assert!(verdict == PASS || verdict == TX, "verdict {verdict} on {frame:02x?}");
        if verdict == TX {
            // Whose port it was, the filter has seen to.
            assert!(told[34..36] == frame[36..38] && told[26..30] == frame[30..34]);
            assert!(right(&frame[42..], &told[42..]), "{port}: {frame:02x?}");
        }
    }
}
