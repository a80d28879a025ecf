//! Addresses that are found out: IPv4 from a DHCP server, IPv6 neighbours and routers by discovery;
//! and who is there, by ICMP.

use std::time::Duration;

use etherparse::PacketBuilder;
use sluice::limits;
use sluice::machine::{Board, Machine, Options};
use sluice::wire::frames::{self, GUEST_IP6, GUEST_MAC, HOST_MAC, link_local};

use super::boots::{image, ready, turn};

#[test]
fn netd_asks_for_an_address() {
    let _turn = turn();
    let words = "log=info dhcp".to_owned();
    let options = Options { board: Board::Microvm, words, ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    // QEMU's user-mode stack has a server.
    machine.wait_serial("was given 10.0.2.15/24", Duration::from_secs(30)).unwrap();
    machine.wait_serial("port 7 is answered", limits::CONTROL).unwrap();
    let request = frames::udp(44_000, 7, b"by that address");
    let echo = |f: &[u8]| frames::is_echo(f, 44_000, 7, b"by that address");
    let answer = machine.exchange("an echo", &request, limits::REPLY, echo);
    assert!(answer.is_ok(), "{}\n{}", answer.unwrap_err(), machine.serial());
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

/// Our station's link-local address.
fn ours() -> [u8; 16] {
    link_local(HOST_MAC)
}

/// "Who has that address?", to the group of those that end like it.
fn question(target: [u8; 16], hops: u8) -> Vec<u8> {
    let [.., a, b, c] = target;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let builder = PacketBuilder::ethernet2(HOST_MAC, [0x33, 0x33, 0xff, a, b, c])
        .ipv6(ours(), group, hops)
        .icmpv6_raw(135, 0, [0; 4]);
    let mut frame = Vec::new();
    let payload = [&target[..], &[1, 1], &HOST_MAC].concat();
    builder.write(&mut frame, &payload).unwrap();
    frame
}

/// Where an advertisement says that the address is.
fn answer(frame: &[u8], target: [u8; 16]) -> Option<[u8; 6]> {
    let to_us = frame.get(..6)? == HOST_MAC && frame.get(12..14)? == [0x86, 0xdd];
    let right = frame.get(54)? == &136 && frame.get(62..78)? == target;
    let link = frame.get(78..86)?;
    (to_us && right && link[..2] == [2, 1]).then(|| link[2..].try_into().ok())?
}

#[test]
fn ipv6_neighbours_find_us_and_ping_us() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    machine.wait_serial("answers neighbour discovery", limits::CONTROL).unwrap();
    for target in [link_local(GUEST_MAC), GUEST_IP6] {
        let found = machine
            .exchange("an answer", &question(target, 255), limits::REPLY, |f| answer(f, target));
        let mac = found.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
        assert_eq!(mac, GUEST_MAC);
        let ping = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
            .ipv6(ours(), target, 64)
            .icmpv6_echo_request(7, 8);
        let mut frame = Vec::new();
        ping.write(&mut frame, b"sixteen bytes or").unwrap();
        let pong =
            |f: &[u8]| (f.get(54)? == &129 && f.ends_with(b"sixteen bytes or")).then_some(());
        let answered = machine.exchange("a pong", &frame, limits::REPLY, pong);
        assert!(answered.is_ok(), "{}\n{}", answered.unwrap_err(), machine.serial());
    }
    // Through a router, or about somebody else: not answered.
    let far = question(GUEST_IP6, 64);
    let silent = machine.silence("no answer", &far, |f| answer(f, GUEST_IP6)).unwrap();
    assert_eq!(silent, None);
    let mut other = GUEST_IP6;
    other[2] ^= 1;
    let silent = machine.silence("no answer", &question(other, 255), |f| answer(f, other));
    assert_eq!(silent.unwrap(), None);
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

/// A router's word, to all nodes: how long it is one.
fn route(from: [u8; 16], seconds: u16) -> Vec<u8> {
    let all = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let [high, low] = seconds.to_be_bytes();
    let builder = PacketBuilder::ethernet2(HOST_MAC, [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(from, all, 255)
        .icmpv6_raw(134, 0, [64, 0, high, low]);
    let mut frame = Vec::new();
    let payload = [&[0; 8][..], &[1, 1], &HOST_MAC].concat();
    builder.write(&mut frame, &payload).unwrap();
    frame
}

#[test]
fn an_ipv6_router_is_heard_until_it_says_otherwise() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    machine.wait_serial("answers neighbour discovery", limits::CONTROL).unwrap();
    // QEMU's own router speaks as well; ours is the last that did.
    let name = std::net::Ipv6Addr::from(ours()).to_string();
    machine.send(&route(ours(), 1800)).unwrap();
    machine.wait_serial(&format!("{name} is the IPv6 router"), limits::REPLY).unwrap();
    machine.send(&route(ours(), 0)).unwrap();
    machine.wait_serial(&format!("{name} is no IPv6 router any more"), limits::REPLY).unwrap();
    // Not from this link.
    machine.send(&route([0xfd; 16], 1800)).unwrap();
    machine.send(&route(ours(), 2)).unwrap();
    machine.wait_serial("the IPv6 router has not been heard of", limits::REPLY).unwrap();
    let other = std::net::Ipv6Addr::from([0xfd; 16]).to_string();
    assert!(!machine.serial().contains(&other), "{}", machine.serial());
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

#[test]
fn a_program_pings_the_gateway() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    let mut mark = machine.wire().mark();
    machine.command("start ping").unwrap();
    // No echo request passes the switch's gate: the replies are ours, the last one twice.
    for number in 0..5 {
        let request = machine.wait("waiting for a ping", limits::CONTROL, || {
            machine.wire().find(mark, |frame| frames::pong(frame, number))
        });
        let reply = request.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
        mark = machine.wire().mark();
        machine.send(&reply).unwrap();
        if number == 4 {
            machine.send(&reply).unwrap();
        }
    }
    machine.wait_serial("5 of 5 came back", limits::CONTROL).unwrap();
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}
