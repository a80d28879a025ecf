//! IPv6: questions about us and pings, answered; neighbours and the router, learnt.
//!
//! A router that the manifest names stays. Without one, the last that said that it is one is it,
//! for as long as it said (RFC 4861, 6.3.4); at the start routers are asked to say so.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use libos::clock::{NEVER, now_ns};
use libos::{Grant, println};
use libos_net::RawSocket;
use libos_net::ndp::{ALL_NODES, Message, Path6, ask_routers, pong, read, solicited_node, tell};

use crate::{Page, bind};

/// Questions for routers, and the time between them (RFC 4861, 10).
const ASK_TIMES: u32 = 3;
const ASK_NS: u64 = 4_000_000_000;

/// The binding of ICMPv6.
pub(crate) struct Six {
    socket: RawSocket,
    /// Whether the manifest names a router.
    fixed: bool,
    /// Until when the router is one.
    until: u64,
    asked: u32,
    ask_at: u64,
}

impl Six {
    /// `None`, said in a line, where the grant does not cover our IPv6 addresses.
    pub(crate) fn open(page: &Page, grant: Grant) -> Option<Six> {
        let ours = ours(page);
        let fixed = page.addresses.six.router != [0; 16];
        // Where the grant does not cover all nodes, nobody hears of routers.
        let socket = if fixed {
            listen(page, grant, &ours, &[])
        } else {
            let all = listen(page, grant, &ours, &[ALL_NODES]);
            all.or_else(|_| listen(page, grant, &ours, &[]))
        };
        match socket {
            Ok(socket) => {
                let names: Vec<String> = ours.iter().map(|ip| format!("{ip}")).collect();
                println!("answers neighbour discovery and ping for {}", names.join(", "));
                Some(Six { socket, fixed, until: NEVER, asked: 0, ask_at: 0 })
            }
            Err(why) => {
                println!("no IPv6: {why}");
                None
            }
        }
    }

    /// Asks for routers while there is none, and forgets one that has not said that it still is:
    /// when there is something to do again.
    pub(crate) fn ask(&mut self, page: &mut Page) -> u64 {
        let now = now_ns();
        if now >= self.until {
            println!("the IPv6 router has not been heard of");
            (page.addresses.six.router, self.until, self.asked) = ([0; 16], NEVER, 0);
            page.news = true;
        }
        let known = self.fixed || page.addresses.six.router != [0; 16];
        if known || self.asked == ASK_TIMES {
            return self.until;
        }
        if now >= self.ask_at {
            self.asked += 1;
            self.ask_at = now.saturating_add(ASK_NS);
            let source = Ipv6Addr::from(page.addresses.six.link_local);
            if let Err(why) = self.socket.send(&ask_routers(page.addresses.mac, source)) {
                println!("question for routers not sent: {why:?}");
            }
        }
        self.ask_at
    }

    fn route(&mut self, page: &mut Page, path: &Path6, (link, seconds): (Option<[u8; 6]>, u16)) {
        let six = &mut page.addresses.six;
        let router = path.source.octets();
        if self.fixed || (seconds == 0 && six.router != router) {
            return;
        }
        let (new, until) = match seconds {
            0 => ([0; 16], NEVER),
            _ => (router, now_ns().saturating_add(u64::from(seconds) * 1_000_000_000)),
        };
        self.until = until;
        if core::mem::replace(&mut six.router, new) != new {
            page.news = true;
            match seconds {
                0 => println!("{} is no IPv6 router any more", path.source),
                _ => println!("{} is the IPv6 router", path.source),
            }
        }
        learn(page, path.source, link.or(Some(path.source_mac)));
    }

    /// Takes and answers what is there.
    pub(crate) fn serve(&mut self, page: &mut Page) {
        let mac = page.addresses.mac;
        while let Some(frame) = self.socket.try_receive().map(<[u8]>::to_vec) {
            let Some((path, message)) = read(&frame) else { continue };
            let answer = match message {
                Message::Solicitation { target, link } => {
                    learn(page, path.source, link);
                    page.addresses.six.is_ours(target.octets()).then(|| tell(&path, mac, target))
                }
                Message::Advertisement { target, link } => {
                    learn(page, target, link);
                    None
                }
                Message::Router { link, seconds } => {
                    self.route(page, &path, (link, seconds));
                    None
                }
                Message::Echo { word, data } => {
                    let to_us = page.addresses.six.is_ours(path.destination.octets());
                    to_us.then(|| pong(&path, mac, word, data))
                }
            };
            if let Some(answer) = answer
                && let Err(why) = self.socket.send(&answer)
            {
                println!("answer not sent: {why:?}");
            }
        }
    }
}

/// Binds what is for us, for who has an address like ours, and for these groups.
fn listen(
    page: &Page,
    grant: Grant,
    ours: &[Ipv6Addr],
    groups: &[Ipv6Addr],
) -> Result<RawSocket, String> {
    let all = ours.iter().flat_map(|&ip| [ip, solicited_node(ip)]).chain(groups.iter().copied());
    let hosts: Vec<String> = all.map(|ip| format!("dst host {ip}")).collect();
    bind(page, grant, &format!("icmp6 and ({})", hosts.join(" or ")), None)
}

fn ours(page: &Page) -> Vec<Ipv6Addr> {
    let six = &page.addresses.six;
    let all = [Ipv6Addr::from(six.link_local), Ipv6Addr::from(six.address)];
    all.into_iter().filter(|ip| !ip.is_unspecified()).collect()
}

fn learn(page: &mut Page, address: Ipv6Addr, link: Option<[u8; 6]>) {
    let Some(mac) = link else { return };
    let octets = address.octets();
    let somebody = !address.is_unspecified() && !page.addresses.six.is_ours(octets);
    if somebody && page.addresses.six.is_local(octets) {
        page.news |= page.addresses.six.learn(octets, mac);
    }
}
