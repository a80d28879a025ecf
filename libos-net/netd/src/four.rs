//! An IPv4 address from a DHCP server, when the manifest gives none.
//!
//! It is asked for before anything else: nobody's filter can be built without it. The lease is
//! taken as it was given; the grants that the manifest made say whether its address is one that may
//! be used. It is renewed in time; when nobody renews it, the address is taken off the page, and
//! put there again when the same is given. Another one cannot be used: filters and grants are for
//! the first.

use alloc::string::String;

use libos::clock::{now_ns, wait};
use libos::{Grant, println, sys};
use libos_net::RawSocket;
use libos_net::dhcp::{CLIENT_PORT, Client, Lease, SERVER_PORT};
use libos_net::ethernet::BROADCAST;
use libos_net::frames::{Path, udp};

use crate::{Page, bind};

/// Bytes before the payload: Ethernet, the shortest IPv4 header, UDP.
const IP_AT: usize = 14;
const UDP_BYTES: usize = 8;

/// A lease, and the conversation with who gave it.
pub(crate) struct Four {
    socket: RawSocket,
    client: Client,
    /// Where the server's frames come from.
    station: [u8; 6],
    lease: Option<Lease>,
}

/// Asks until it is answered; publishes what it got.
pub(crate) fn configure(page: &mut Page, grant: Grant) -> Result<Four, String> {
    let filter = alloc::format!("udp and src port {SERVER_PORT} and dst port {CLIENT_PORT}");
    let socket = bind(page, grant, &filter, None)?;
    let client = Client::new(page.addresses.mac, sys::entropy() as u32);
    println!("asks for an address");
    let mut four = Four { socket, client, station: BROADCAST, lease: None };
    while four.lease.is_none() {
        let deadline = four.ask(page);
        wait(deadline);
        four.serve(page);
    }
    page.publish();
    Ok(four)
}

impl Four {
    /// Says what is due: when something is due again.
    pub(crate) fn ask(&mut self, page: &mut Page) -> u64 {
        if let Some(question) = self.client.poll(now_ns()) {
            let destination_mac = if question.to.is_some() { self.station } else { BROADCAST };
            let path = Path {
                source_mac: page.addresses.mac,
                destination_mac,
                source: question.from,
                destination: question.to.unwrap_or([255; 4]),
            };
            let ports = (CLIENT_PORT, SERVER_PORT);
            if let Some(frame) = udp(&path, ports, &[], &question.message)
                && let Err(why) = self.socket.send(&frame)
            {
                println!("question for an address not sent: {why:?}");
            }
        }
        if self.client.lease().is_none() && page.addresses.ipv4 != [0; 4] {
            println!("nobody renewed the address: it is given up");
            page.addresses.ipv4 = [0; 4];
            page.news = true;
        }
        self.client.deadline()
    }

    /// Takes what servers say.
    pub(crate) fn serve(&mut self, page: &mut Page) {
        while let Some(frame) = self.socket.try_receive() {
            let Some(payload) = payload(frame) else { continue };
            let Some(lease) = self.client.receive(payload, now_ns()) else { continue };
            if let Some(station) = frame.get(6..12).and_then(|it| it.first_chunk::<6>()) {
                self.station = *station;
            }
            let first = *self.lease.get_or_insert(lease);
            if first.address == lease.address {
                take(page, lease);
            } else {
                println!("was given another address, which no grant covers");
            }
        }
    }
}

fn take(page: &mut Page, lease: Lease) {
    let [a, b, c, d] = lease.address;
    println!("was given {a}.{b}.{c}.{d}/{} for {} s", lease.prefix, lease.seconds);
    page.addresses.ipv4 = lease.address;
    page.addresses.prefix = lease.prefix;
    page.addresses.gateway = lease.gateway;
    page.news = true;
}

/// What a UDP datagram in an Ethernet frame carries; the filter has looked at all before it.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(IP_AT..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    let udp = ip.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(UDP_BYTES..length)
}
