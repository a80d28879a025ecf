//! Rings whose indices and lengths lie.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::ring::{RX_CONSUMED, SLOT_DATA, SLOT_LENGTH, TX_COMPLETED, TX_PRODUCED};
use abi::{Handle, Status};
use libos::capability::RingPages;
use libos::sys::{Window, new_window};
use libos::{Binding, Page};
use libos_net::filter;
use libos_net::frames::{Path, udp};

use crate::attack::{Attack, Outcome};
use crate::lab::Lab;
use crate::tricks::verdict;

/// A port of the shared grant that the attacker binds.
const BOUND: u16 = 7900;
/// Slots of each ring: one page.
const SLOTS: u32 = 2;

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (name, produced) in [
        ("producer far ahead", 0x8000_0000u32),
        ("producer behind", u32::MAX),
        ("producer one too far ahead", SLOTS + 1),
        ("producer ahead by a wrap", u32::MAX - 1),
    ] {
        attacks.push(Attack::custom("ring", name, move |lab| {
            with(lab, |ring| {
                ring.control.store_u32(TX_PRODUCED, produced);
                let answer = ring.binding.transmit();
                verdict(answer == Err(Status::RingCorrupt), format!("{answer:?}"))
            })
        }));
    }
    for (name, length) in [
        ("a slot of no length", 0u32),
        ("a slot of thirteen bytes", 13),
        ("a slot of 1,523 bytes", 1523),
        ("a slot longer than itself", 2048),
        ("a slot longer than memory", u32::MAX),
        ("a slot of negative length", 0x8000_0000),
    ] {
        attacks.push(Attack::custom("ring", name, move |lab| {
            with(lab, |ring| {
                ring.tx.store_u32(SLOT_LENGTH, length);
                refused(ring)
            })
        }));
    }
    for (name, frame) in forged() {
        attacks.push(Attack::custom("transmission", name, move |lab| {
            let frame = frame(lab).ok_or("no such frame")?;
            with(lab, |ring| {
                ring.tx.write(SLOT_DATA, &frame);
                ring.tx.store_u32(SLOT_LENGTH, frame.len() as u32);
                refused(ring)
            })
        }));
    }
    attacks.extend(indices());
    for (name, counts) in [
        ("three receive pages", (3usize, 1usize)),
        ("the same page for all", (0, 0)),
        ("no control page", (1, 1)),
    ] {
        attacks.push(Attack::custom("ring", name, move |lab| odd_pages(lab, name, counts)));
    }
    attacks
}

/// Words and pages that are the kernel's while the ring lives.
fn indices() -> Vec<Attack> {
    let mut attacks = Vec::new();
    attacks.push(Attack::custom("ring", "the kernel's index changed", |lab| {
        with(lab, |ring| {
            ring.control.store_u32(TX_COMPLETED, 77);
            ring.tx.store_u32(SLOT_LENGTH, 0);
            refused(ring)
        })
    }));
    attacks.push(Attack::custom("ring", "indices that flip between calls", |lab| {
        with(lab, |ring| {
            let mut said = Vec::new();
            for round in 0..64u32 {
                let value = round.wrapping_mul(0x9e37_79b9);
                ring.control.store_u32(TX_PRODUCED, value);
                ring.control.store_u32(RX_CONSUMED, value.rotate_left(7));
                said.push(ring.binding.transmit());
            }
            let corrupt = said.iter().filter(|it| **it == Err(Status::RingCorrupt)).count();
            verdict(corrupt > 32, format!("{corrupt} of 64 corrupt"))
        })
    }));
    attacks.push(Attack::custom("ring", "free the ring's pages", |lab| {
        with(lab, |ring| {
            let answers: Vec<_> = ring.pages.iter().map(|page| page.free()).collect();
            let fine = answers.iter().all(|it| *it == Err(Status::WrongState));
            verdict(fine, format!("{answers:?}"))
        })
    }));
    attacks
}

struct Ring {
    binding: Binding,
    control: Window,
    tx: Window,
    pages: Vec<Page>,
}

/// A ring bound to a port of its own, for one attack.
fn with(lab: &mut Lab, attack: impl FnOnce(&Ring) -> Outcome) -> Outcome {
    let text = |status: Status| format!("pages: {status:?}");
    let (control, mut pages) = new_window(lab.own, 1).map_err(text)?;
    let (_, rx) = new_window(lab.own, 1).map_err(text)?;
    let (tx, tx_pages) = new_window(lab.own, 1).map_err(text)?;
    let names = |list: &[Page]| -> Vec<Handle> { list.iter().map(|page| page.0).collect() };
    let (rx_names, tx_names) = (names(&rx), names(&tx_pages));
    pages.extend(rx);
    pages.extend(tx_pages);
    let text = filter::udp_expression(lab.net.addresses().ipv4, BOUND);
    let filter = filter::from_expression(&text).map_err(|error| format!("{error}"))?;
    let first = pages.first().map_or(Handle::NONE, |page| page.0);
    let ring_pages =
        RingPages { control: first, rx: &rx_names, tx: &tx_names, ..RingPages::default() };
    let bound = lab.grant.bind_pages(&filter, None, &ring_pages);
    let outcome = match bound {
        Ok(binding) => {
            let ring = Ring { binding, control, tx, pages: pages.clone() };
            let outcome = attack(&ring);
            let unbound = binding.unbind();
            unbound.map_err(|status| format!("unbind: {status:?}")).and(outcome)
        }
        Err(error) => Err(format!("{error}")),
    };
    for page in pages {
        // What the attack freed is gone already.
        let _ = page.free();
    }
    outcome
}

/// One slot goes in, and is taken, counted and not sent.
fn refused(ring: &Ring) -> Outcome {
    ring.control.store_u32(TX_PRODUCED, 1);
    let taken = ring.binding.transmit();
    let stats = ring.binding.stats().unwrap_or_default();
    let fine = taken == Ok(1) && stats.refused == 1 && stats.transmitted == 0;
    verdict(fine, format!("{taken:?}, {} refused, {} sent", stats.refused, stats.transmitted))
}

type Frame = fn(&Lab) -> Option<Vec<u8>>;

fn honest(lab: &Lab) -> Option<Vec<u8>> {
    let addresses = lab.net.addresses();
    let path = Path {
        source_mac: addresses.mac,
        destination_mac: [0x02, 0, 0, 0, 0, 0x77],
        source: addresses.ipv4,
        destination: addresses.gateway,
    };
    udp(&path, (BOUND, 4000), &[], b"forged")
}

fn changed(lab: &Lab, at: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut frame = honest(lab)?;
    frame.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(frame)
}

/// A frame of the attacker's own with one field changed.
fn forged() -> [(&'static str, Frame); 12] {
    [
        ("another ethertype", |lab| changed(lab, 12, &[0x86, 0xdd])),
        ("arp instead", |lab| changed(lab, 12, &[0x08, 0x06])),
        ("the control channel's ethertype", |lab| changed(lab, 12, &[0x88, 0xb5])),
        ("a vlan tag", |lab| changed(lab, 12, &[0x81, 0x00])),
        ("ip version 5", |lab| changed(lab, 14, &[0x55])),
        ("ip options that hide the ports", |lab| changed(lab, 14, &[0x4f])),
        ("a first fragment", |lab| changed(lab, 20, &[0x20, 0])),
        ("a later fragment", |lab| changed(lab, 20, &[0, 9])),
        ("tcp instead", |lab| changed(lab, 23, &[6])),
        ("another source address", |lab| changed(lab, 26, &[8, 8, 8, 8])),
        ("another source port", |lab| changed(lab, 34, &[0, 53])),
        ("the victim's source port", |lab| changed(lab, 34, &[0, 7])),
    ]
}

/// Ring pages that are no ring.
fn odd_pages(lab: &mut Lab, name: &str, (rx, tx): (usize, usize)) -> Outcome {
    let text = |status: Status| format!("pages: {status:?}");
    let (_, pages) = new_window(lab.own, 5).map_err(text)?;
    let all: Vec<Handle> = pages.iter().map(|page| page.0).collect();
    let [control, a, ..] = all[..] else { return Err(String::from("no pages")) };
    let same = [control; 2];
    let expression = filter::udp_expression(lab.net.addresses().ipv4, BOUND);
    let filter = filter::from_expression(&expression).map_err(|error| format!("{error}"))?;
    let request = match name {
        "the same page for all" => {
            RingPages { control, rx: &same, tx: &same, ..RingPages::default() }
        }
        "no control page" => RingPages { rx: &[a], tx: &[a], ..RingPages::default() },
        _ => {
            let (rx, tx) = (&all[1..1 + rx], &all[4..4 + tx]);
            RingPages { control, rx, tx, ..RingPages::default() }
        }
    };
    let answer = lab.grant.bind_pages(&filter, None, &request);
    let status = answer.map_err(|error| error.status);
    let fine = match status {
        Err(Status::BadArgument | Status::BadHandle | Status::WrongState) => true,
        // One page in two places is the binder's own trouble.
        Ok(binding) => binding.unbind().is_ok() && name == "the same page for all",
        Err(_) => false,
    };
    for page in pages {
        let _ = page.free();
    }
    verdict(fine, format!("{status:?}"))
}
