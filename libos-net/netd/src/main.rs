//! `netd`: what all stacks share.
//!
//! Two bindings: ARP and ICMP to our address. Their ASHs answer questions about us and pings inside
//! the kernel; what they pass on comes here, where neighbours are learnt from it and put into the
//! page of addresses that every stack reads. The gateway is asked for until it has answered.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::Kind;
use libos::addresses::Addresses;
use libos::clock::{NEVER, now_ns, wait};
use libos::program::{ProgramError, assemble, mac_words, word};
use libos::{Environment, Grant, println};
use libos_net::frames::ArpMessage;
use libos_net::{Net, RawSocket, explain};

libos::entry!(main);

/// How long between two questions for the gateway, and how many there are.
const ASK_NS: u64 = 1_000_000_000;
const ASK_TIMES: u32 = 5;

fn main(environment: Environment) -> i32 {
    let why = match Netd::open(&environment) {
        Ok(mut netd) => netd.serve(),
        Err(why) => why,
    };
    println!("{why}");
    1
}

struct Netd {
    net: Net,
    addresses: Addresses,
    arp: RawSocket,
    icmp: RawSocket,
    asked: u32,
}

impl Netd {
    fn open(environment: &Environment) -> Result<Netd, String> {
        let text = |error| explain::lines(&error).join("; ");
        let net = Net::new(environment).map_err(text)?;
        let grant = environment.grant("netd").map_err(|missing| format!("{missing}"))?;
        let addresses = net.addresses().clone();
        let ashes = ashes(&addresses).map_err(|error| format!("{error}"))?;
        let arp = bind(&net, grant, "arp", &ashes[0])?;
        let [a, b, c, d] = addresses.ipv4;
        let icmp = bind(&net, grant, &format!("icmp and dst host {a}.{b}.{c}.{d}"), &ashes[1])?;
        println!("answers ARP and ping for {a}.{b}.{c}.{d}");
        Ok(Netd { net, addresses, arp, icmp, asked: 0 })
    }

    /// Only comes back with a complaint, and there is none yet.
    fn serve(&mut self) -> String {
        loop {
            let deadline = self.ask_gateway();
            wait(deadline);
            self.learn();
            while self.icmp.try_receive().is_some() {
                // No stack has asked for ICMP errors yet; taking them frees the ring.
            }
        }
    }

    /// Asks while the gateway is unknown: when to ask again.
    fn ask_gateway(&mut self) -> u64 {
        let gateway = self.addresses.gateway;
        let known = gateway == [0; 4] || self.addresses.neighbour(gateway).is_some();
        if known || self.asked == ASK_TIMES {
            return NEVER;
        }
        self.asked += 1;
        let sender = (self.addresses.mac, self.addresses.ipv4);
        let question = ArpMessage::request(sender, gateway).frame();
        if let Err(why) = self.arp.send(&question) {
            println!("question for the gateway not sent: {why:?}");
        }
        now_ns().saturating_add(ASK_NS)
    }

    /// Takes what the ARP handler passed on; publishes if there is news.
    fn learn(&mut self) {
        let mut news = false;
        while let Some(frame) = self.arp.try_receive() {
            let Some(message) = ArpMessage::read(frame) else { continue };
            let (mac, ip) = message.sender;
            let somebody = ip != [0; 4] && ip != self.addresses.ipv4;
            if somebody && self.addresses.is_local(ip) && libos_net::ethernet::is_unicast(mac) {
                news |= self.addresses.learn(ip, mac);
            }
        }
        if news {
            self.net.page().publish(&self.addresses);
            println!("{} neighbours known", self.addresses.neighbours.len());
        }
    }
}

fn bind(net: &Net, grant: Grant, expression: &str, ash: &[u8]) -> Result<RawSocket, String> {
    RawSocket::bind_expression(net.own(), grant, expression, Some(ash))
        .map_err(|error| format!("{expression}: {}", explain::lines(&error).join("; ")))
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
