//! The packets and pairs of filters that earlier systems admit, through system calls: each pair
//! under one grant is refused with a witness in both orders, and no packet has two owners.

use abi::refusal::Code;
use abi::{Call, Status};

use crate::binding::bind_filter;
use crate::harness::{Machine, SCRATCH, filter, refusal, udp};

/// Two filters that share a packet, and what they differ in.
const PAIRS: [(&str, &str, &str); 6] = [
    ("identical", "udp and dst port 80", "udp and dst port 80"),
    ("mask", "ether[23] = 17", "ether[23] & 0x0f = 1"),
    ("width", "ether[36:2] = 80", "ether[36] = 0"),
    ("different fields", "ether[36:2] = 80", "ether[23] = 17"),
    ("options", "ether proto 0x800 and ether[23] = 17 and ether[36:2] = 80", "udp and dst port 53"),
    ("tag", "vlan 5 and udp and dst port 80", "ether[16:2] = 0x800 and ether[12:2] = 0x8100"),
];

fn received(machine: &mut Machine, binding: u64) -> u64 {
    machine.ok(Call::BindingStats, &[binding, SCRATCH]);
    u64::from_le_bytes(machine.read(machine.init, SCRATCH, 8).try_into().unwrap())
}

#[test]
fn each_pair_is_refused_with_a_witness_in_both_orders() {
    for (name, one, other) in PAIRS {
        for (first, second) in [(one, other), (other, one)] {
            let mut machine = Machine::new();
            let grant = machine.handle("grant:root");
            let (status, binding) = bind_filter(&mut machine, grant, &filter(first));
            assert_eq!(status, Status::Ok, "{name}: {:?}", machine.last_refusal());
            let (status, _) = bind_filter(&mut machine, grant, &filter(second));
            assert_eq!(status, Status::Refused, "{name}");
            let record = refusal(&machine, machine.init);
            assert_eq!(record.code, Code::Overlap, "{name}: {}", record.explanation);
            let witness = record.witness.unwrap();
            for text in [first, second] {
                let space = flow::expr::parse(text).unwrap().to_space().unwrap();
                assert!(space.contains(&witness), "{name}: {text}");
            }
            machine.receive(&witness);
            let fragments = machine.kernel.books().rx.dropped[1];
            assert_eq!(received(&mut machine, binding) + fragments, 1, "{name}");
        }
    }
}

#[test]
fn the_order_of_insertion_decides_nothing() {
    let texts = ["udp and dst port 7", "udp and dst port 8", "tcp and dst port 7", "arp"];
    let frames: Vec<Vec<u8>> = (5..10).map(|port| udp(1, port, b"")).collect();
    let owners = |order: &[usize]| {
        let mut machine = Machine::new();
        let grant = machine.handle("grant:root");
        let mut bindings = [0; 4];
        for &at in order {
            let (status, binding) = bind_filter(&mut machine, grant, &filter(texts[at]));
            assert_eq!(status, Status::Ok);
            bindings[at] = binding;
        }
        frames.iter().for_each(|frame| machine.receive(frame));
        bindings.map(|binding| received(&mut machine, binding))
    };
    assert_eq!(owners(&[0, 1, 2, 3]), [1, 1, 0, 0]);
    assert_eq!(owners(&[3, 2, 1, 0]), [1, 1, 0, 0]);
    assert_eq!(owners(&[2, 0, 3, 1]), [1, 1, 0, 0]);
}

#[test]
fn a_short_packet_is_nobodys_and_not_read_beyond_its_end() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let (_, binding) = bind_filter(&mut machine, grant, &filter("ether[36:2] = 80"));
    let mut frame = udp(1, 80, b"");
    for length in (14..38).rev() {
        frame.truncate(length);
        machine.receive(&frame);
    }
    assert_eq!(received(&mut machine, binding), 0);
}
