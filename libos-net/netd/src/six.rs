//! IPv6: questions about us and pings, answered; neighbours, learnt.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use libos::{Grant, println};
use libos_net::RawSocket;
use libos_net::ndp::{Message, pong, read, solicited_node, tell};

use crate::{Page, bind};

/// The binding of ICMPv6.
pub(crate) struct Six {
    socket: RawSocket,
}

impl Six {
    /// `None`, said in a line, where the grant does not cover our IPv6 addresses.
    pub(crate) fn open(page: &Page, grant: Grant) -> Option<Six> {
        let ours = ours(page);
        let hosts: Vec<String> = ours
            .iter()
            .flat_map(|&ip| [ip, solicited_node(ip)])
            .map(|ip| format!("dst host {ip}"))
            .collect();
        let expression = format!("icmp6 and ({})", hosts.join(" or "));
        match bind(page, grant, &expression, None) {
            Ok(socket) => {
                let names: Vec<String> = ours.iter().map(|ip| format!("{ip}")).collect();
                println!("answers neighbour discovery and ping for {}", names.join(", "));
                Some(Six { socket })
            }
            Err(why) => {
                println!("no IPv6: {why}");
                None
            }
        }
    }

    /// Takes and answers what is there.
    pub(crate) fn serve(&mut self, page: &mut Page) {
        let mac = page.addresses.mac;
        while let Some(frame) = self.socket.try_receive() {
            let Some((path, message)) = read(frame) else { continue };
            let answer = match message {
                Message::Solicitation { target, link } => {
                    learn(page, path.source, link);
                    page.addresses.six.is_ours(target.octets()).then(|| tell(&path, mac, target))
                }
                Message::Advertisement { target, link } => {
                    learn(page, target, link);
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
