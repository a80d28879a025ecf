//! Real fragments on the wire: to the owner of the first, or counted.

use abi::books::Reason;
use abi::ring::{RX_CONSUMED, RX_PRODUCED};
use abi::{Call, Status};

use crate::harness::{
    BindPlan, CONTROL, MAC, Machine, PEER, RECEIVE, THEM, US, ash, bind, filter, udp,
};

/// A UDP datagram for port 7000, cut into fragments of so many bytes: IPv4 from the peer.
fn fragments(id: u16, payload: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let whole = udp(5000, 7000, payload);
    let (header, datagram) = whole.split_at(34);
    let pieces = datagram.len().div_ceil(cut);
    (0..pieces)
        .map(|n| {
            let part = &datagram[n * cut..datagram.len().min((n + 1) * cut)];
            let mut frame = header.to_vec();
            frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            frame[18..20].copy_from_slice(&id.to_be_bytes());
            let more = if n + 1 < pieces { 0x2000 } else { 0 };
            frame[20..22].copy_from_slice(&((n * cut / 8) as u16 | more).to_be_bytes());
            frame.extend(part);
            frame
        })
        .collect()
}

/// The same over IPv6, for port 7000 of anybody.
fn fragments6(id: u32, payload: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let mut datagram = [5000u16, 7000, 8 + payload.len() as u16, 0].map(u16::to_be_bytes).concat();
    datagram.extend(payload);
    let pieces = datagram.len().div_ceil(cut);
    (0..pieces)
        .map(|n| {
            let part = &datagram[n * cut..datagram.len().min((n + 1) * cut)];
            let mut frame = [MAC.as_slice(), &PEER, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
            frame.extend((8 + part.len() as u16).to_be_bytes());
            frame.extend([44, 64]);
            frame.extend([0xfe; 16]);
            frame.extend([0xfd; 16]);
            frame.extend([17, 0]);
            frame.extend(((n * cut) as u16 | u16::from(n + 1 < pieces)).to_be_bytes());
            frame.extend(id.to_be_bytes());
            frame.extend(part);
            frame
        })
        .collect()
}

/// Bound to a filter with rings of eight pages; the binding's handle.
fn bound(expression: &str, handler: &[u8]) -> (Machine, u64) {
    let mut machine = Machine::new();
    let (grant, own) = (machine.handle("grant:root"), machine.handle("self"));
    let (who, program) = (machine.init, filter(expression));
    let plan = BindPlan { who, own, grant, filter: &program, ash: handler, pages: 8 };
    let (status, binding) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    (machine, binding)
}

const PORT: &str = "udp and dst host 10.0.2.15 and dst port 7000";

fn dropped(machine: &Machine, reason: Reason) -> u64 {
    machine.kernel.books().rx.dropped[reason as usize]
}

/// Takes everything out of the ring.
fn received(machine: &Machine) -> Vec<Vec<u8>> {
    let who = machine.init;
    let produced = machine.read_u32(who, CONTROL + RX_PRODUCED as u64);
    let consumed = machine.read_u32(who, CONTROL + RX_CONSUMED as u64);
    let frames = (consumed..produced).map(|n| {
        let slot = RECEIVE + u64::from(n % 16) * 2048;
        machine.read(who, slot + 16, machine.read_u32(who, slot) as usize)
    });
    let frames = frames.collect();
    machine.write(who, CONTROL + RX_CONSUMED as u64, &produced.to_le_bytes());
    frames
}

#[test]
fn a_datagram_in_fragments_arrives_whole() {
    let (mut machine, _) = bound(PORT, &[]);
    let sent = fragments(7, &[0x5a; 400], 64);
    sent.iter().for_each(|frame| machine.receive(frame));
    assert_eq!(received(&machine), sent);
    assert_eq!(machine.kernel.books().rx.delivered, sent.len() as u64);
    // It is complete: a second last fragment is nobody's.
    machine.receive(sent.last().unwrap());
    assert_eq!(dropped(&machine, Reason::Fragment), 1);
}

#[test]
fn over_ipv6_likewise() {
    let expression =
        "ip6 proto 44 and ip6[40] == 17 and ip6[42:2] & 0xfff8 == 0 and ip6[50:2] == 7000";
    let (mut machine, _) = bound(expression, &[]);
    let sent = fragments6(70_000, &[0x5a; 400], 128);
    sent.iter().for_each(|frame| machine.receive(frame));
    assert_eq!(received(&machine), sent);
    // Another datagram's later fragment, and one before its first.
    machine.receive(&fragments6(70_001, &[0; 400], 128)[1]);
    assert_eq!(dropped(&machine, Reason::Fragment), 1);
}

#[test]
fn what_a_later_fragment_pretends_to_be_is_not_asked() {
    let (mut machine, binding) = bound(PORT, &ash("mov %r0, 1\nexit\n"));
    let other = filter("udp and dst host 10.0.2.15 and dst port 6666");
    let (grant, own) = (machine.handle("grant:root"), machine.handle("self"));
    let who = machine.init;
    let plan = BindPlan { who, own, grant, filter: &other, ash: &[], pages: 0 };
    let (_, decoy) = bind(&mut machine, &plan);
    // Where ports would be it says 6666.
    let mut sent = fragments(9, &[0; 100], 56);
    sent[1][34..38].copy_from_slice(&[0x13, 0x88, 0x1a, 0x0a]);
    sent.iter().for_each(|frame| machine.receive(frame));
    // The handler saw the first and dropped it; it does not see the later one, which has no ports.
    assert_eq!(dropped(&machine, Reason::AshDrop), 1);
    assert_eq!(received(&machine), sent[1..]);
    let at = crate::harness::SCRATCH + 0x300;
    for (handle, expected) in [(binding, 2u64), (decoy, 0)] {
        machine.ok(Call::BindingStats, &[handle, at]);
        assert_eq!(machine.read(who, at, 8), expected.to_le_bytes());
    }
}

#[test]
fn each_way_of_coming_wrong_is_counted_by_its_name() {
    let (mut machine, _) = bound(PORT, &[]);
    let sent = fragments(11, &[0x11; 600], 64);
    // Out of order: a later one first, then one too early.
    machine.receive(&sent[1]);
    assert_eq!(dropped(&machine, Reason::Fragment), 1);
    machine.receive(&sent[0]);
    machine.receive(&sent[2]);
    assert_eq!(dropped(&machine, Reason::FragmentOrder), 1);
    machine.receive(&sent[1]);
    // Overlapping: the same again, and eight bytes over the one before.
    machine.receive(&sent[1]);
    let mut over = sent[2].clone();
    over[21] -= 1;
    machine.receive(&over);
    assert_eq!(dropped(&machine, Reason::FragmentOverlap), 2);
    // Longer than its frame.
    let mut long = sent[2].clone();
    long[16] = 0x7f;
    machine.receive(&long);
    assert_eq!(dropped(&machine, Reason::FragmentLength), 1);
    machine.receive(&sent[2]);
    assert_eq!(received(&machine), sent[..3]);
    // Too late.
    machine::host::advance(16_000_000_000);
    machine.receive(&sent[3]);
    assert_eq!(dropped(&machine, Reason::Fragment), 2);
}

#[test]
fn a_flood_takes_no_more_than_its_owners_share() {
    let (mut machine, _) = bound(PORT, &[]);
    let (child, handle, own) = machine.child(6_000);
    let root = machine.handle("grant:root");
    let grant = machine.ok(Call::CapGrant, &[root, handle, 32]);
    let program = filter("udp and dst host 10.0.2.15 and dst port 7001");
    let plan = BindPlan { who: child, own, grant, filter: &program, ash: &[], pages: 0 };
    let (status, theirs) = bind(&mut machine, &plan);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let victim = fragments(1, &[0x77; 300], 64);
    machine.receive(&victim[0]);
    for id in 0..2_000 {
        let mut first = fragments(id, &[0; 100], 64).remove(0);
        (first[36], first[37], first[29]) = (0x1b, 0x59, 98);
        machine.receive(&first);
    }
    victim[1..].iter().for_each(|frame| machine.receive(frame));
    assert_eq!(received(&machine), victim);
    // Tiny pieces without an end.
    let tiny = fragments(2, &[0; 8 * 80], 8);
    for frame in &tiny {
        machine.receive(frame);
        received(&machine);
    }
    assert_eq!(dropped(&machine, Reason::FragmentFlood), 1);
    assert_eq!(dropped(&machine, Reason::Fragment), tiny.len() as u64 - 65);
    // The flooder's binding goes, and its datagrams with it.
    machine.ok_as(child, Call::Unbind, &[theirs]);
    let mut later = fragments(1_999, &[0; 100], 64).remove(1);
    later[29] = 98;
    machine.receive(&later);
    assert_eq!(dropped(&machine, Reason::Fragment), tiny.len() as u64 - 64);
    assert_eq!(THEM[3], 99, "the flood comes from another address");
    assert_eq!(US[3], 15);
}
