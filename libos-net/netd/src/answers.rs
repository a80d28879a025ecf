//! ARP and ICMP: answered by handlers in the kernel, learnt from here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::Kind;
use libos::addresses::Addresses;
use libos::clock::{NEVER, now_ns};
use libos::program::{ProgramError, assemble, mac_words, word};
use libos::{Grant, println};
use libos_net::ethernet::is_unicast;
use libos_net::frames::ArpMessage;
use libos_net::{RawSocket, unreachable};

use crate::{Page, bind};

/// How long between two questions for the gateway, and how many there are.
const ASK_NS: u64 = 1_000_000_000;
const ASK_TIMES: u32 = 5;

/// Both bindings.
pub(crate) struct Answers {
    arp: RawSocket,
    icmp: RawSocket,
    asked: u32,
    ask_at: u64,
}

impl Answers {
    pub(crate) fn open(page: &Page, grant: Grant) -> Result<Answers, String> {
        let ashes = ashes(&page.addresses).map_err(|error| format!("{error}"))?;
        let arp = bind(page, grant, "arp", Some(&ashes[0]))?;
        let [a, b, c, d] = page.addresses.ipv4;
        // Replies are who asked's.
        let to_us = format!("icmp and dst host {a}.{b}.{c}.{d} and icmp[0] != 0");
        let icmp = bind(page, grant, &to_us, Some(&ashes[1]))?;
        println!("answers ARP and ping for {a}.{b}.{c}.{d}");
        Ok(Answers { arp, icmp, asked: 0, ask_at: 0 })
    }

    /// Asks while the gateway is unknown: when to ask again.
    pub(crate) fn ask_gateway(&mut self, page: &Page) -> u64 {
        let gateway = page.addresses.gateway;
        let known = gateway == [0; 4] || page.addresses.neighbour(gateway).is_some();
        if known || self.asked == ASK_TIMES {
            return NEVER;
        }
        let now = now_ns();
        if now >= self.ask_at {
            self.asked += 1;
            self.ask_at = now.saturating_add(ASK_NS);
            let sender = (page.addresses.mac, page.addresses.ipv4);
            let question = ArpMessage::request(sender, gateway).frame();
            if let Err(why) = self.arp.send(&question) {
                println!("question for the gateway not sent: {why:?}");
            }
        }
        self.ask_at
    }

    /// Takes what the handlers passed on.
    pub(crate) fn learn(&mut self, page: &mut Page) {
        while let Some(frame) = self.arp.try_receive() {
            let Some(message) = ArpMessage::read(frame) else { continue };
            let (mac, ip) = message.sender;
            let somebody = ip != [0; 4] && ip != page.addresses.ipv4;
            if somebody && page.addresses.is_local(ip) && is_unicast(mac) {
                page.news |= page.addresses.learn(ip, mac);
            }
        }
        while let Some(frame) = self.icmp.try_receive() {
            if let Some(error) = unreachable::read(frame, page.addresses.ipv4) {
                page.errors.publish(&error);
            }
        }
    }
}

/// The handlers of ARP and ICMP.
fn ashes(addresses: &Addresses) -> Result<[Vec<u8>; 2], ProgramError> {
    let (low, high) = mac_words(addresses.mac);
    let values = [("IP", word(addresses.ipv4)), ("MAC_LOW", low), ("MAC_HIGH", high)];
    Ok([
        assemble(Kind::Ash, include_str!("arp.s"), &values)?,
        assemble(Kind::Ash, include_str!("ping.s"), &values)?,
    ])
}
