//! An IPv4 address from a DHCP server, when the manifest gives none.
//!
//! It is asked for before anything else: nobody's filter can be built without it. The lease is
//! taken as it was given; the grants that the manifest made say whether its address is one that may
//! be used.

use alloc::string::String;

use libos::clock::{now_ns, wait};
use libos::{Grant, println, sys};
use libos_net::dhcp::{CLIENT_PORT, Client, Lease, SERVER_PORT};
use libos_net::ethernet::BROADCAST;
use libos_net::frames::{Path, udp};

use crate::{Page, bind};

/// Bytes before the payload: Ethernet, the shortest IPv4 header, UDP.
const IP_AT: usize = 14;
const UDP_BYTES: usize = 8;

/// Asks until it is answered; publishes what it got.
pub(crate) fn configure(page: &mut Page, grant: Grant) -> Result<(), String> {
    let filter = alloc::format!("udp and src port {SERVER_PORT} and dst port {CLIENT_PORT}");
    let mut socket = bind(page, grant, &filter, None)?;
    let mut client = Client::new(page.addresses.mac, sys::entropy() as u32);
    println!("asks for an address");
    loop {
        if let Some(question) = client.poll(now_ns()) {
            let path = Path {
                source_mac: page.addresses.mac,
                destination_mac: BROADCAST,
                source: [0; 4],
                destination: [255; 4],
            };
            let ports = (CLIENT_PORT, SERVER_PORT);
            if let Some(frame) = udp(&path, ports, &[], &question)
                && let Err(why) = socket.send(&frame)
            {
                println!("question for an address not sent: {why:?}");
            }
        }
        wait(client.deadline());
        while let Some(frame) = socket.try_receive() {
            let answer = payload(frame).and_then(|payload| client.receive(payload, now_ns()));
            if let Some(lease) = answer {
                return take(page, lease, socket.binding());
            }
        }
    }
}

fn take(page: &mut Page, lease: Lease, binding: libos::Binding) -> Result<(), String> {
    let [a, b, c, d] = lease.address;
    println!("was given {a}.{b}.{c}.{d}/{} for {} s", lease.prefix, lease.seconds);
    page.addresses.ipv4 = lease.address;
    page.addresses.prefix = lease.prefix;
    page.addresses.gateway = lease.gateway;
    page.net.page().publish(&page.addresses);
    binding.unbind().map_err(|status| alloc::format!("the conversation's binding: {status:?}"))
}

/// What a UDP datagram in an Ethernet frame carries; the filter has looked at all before it.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(IP_AT..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    let udp = ip.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(UDP_BYTES..length)
}
