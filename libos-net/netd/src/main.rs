//! `netd`: what all stacks share.
//!
//! Three bindings: ARP, ICMP to our address, and ICMPv6. The ASHs of the first two answer questions
//! about us and pings inside the kernel; what they pass on comes here, where neighbours are learnt
//! from it and put into the page of addresses that every stack reads. IPv6's questions and pings
//! are answered here, and its routers listened to ([`six`]). The gateway is asked for until it has
//! answered. An address that the manifest does not give is asked of a DHCP server, and renewed
//! ([`four`]). ICMP errors are put into a page that every stack reads: each takes those about its
//! own ports.
#![no_std]
#![no_main]

extern crate alloc;

mod answers;
mod four;
mod six;

use alloc::format;
use alloc::string::String;

use libos::addresses::Addresses;
use libos::clock::wait;
use libos::errors::ErrorPage;
use libos::{Environment, Grant, println};
use libos_net::{Net, RawSocket, explain};

use answers::Answers;
use four::Four;
use six::Six;

libos::entry!(main);

fn main(environment: Environment) -> i32 {
    let why = match Netd::open(&environment) {
        Ok(mut netd) => netd.serve(),
        Err(why) => why,
    };
    println!("{why}");
    1
}

/// What the parts share: the page's content, as it is to be.
struct Page {
    net: Net,
    addresses: Addresses,
    errors: ErrorPage,
    news: bool,
}

impl Page {
    /// Publishes if there is news.
    fn publish(&mut self) {
        if core::mem::take(&mut self.news) {
            self.net.page().publish(&self.addresses);
            let (four, six) = (&self.addresses.neighbours, &self.addresses.six.neighbours);
            println!("{} neighbours known", four.len() + six.len());
        }
    }
}

struct Netd {
    page: Page,
    answers: Answers,
    four: Option<Four>,
    six: Option<Six>,
}

impl Netd {
    fn open(environment: &Environment) -> Result<Netd, String> {
        let text = |error| explain::lines(&error).join("; ");
        let net = Net::without_address(environment).map_err(text)?;
        let grant = environment.grant("netd").map_err(|missing| format!("{missing}"))?;
        let addresses = net.addresses().clone();
        let errors = environment.errors().map_err(|missing| format!("{missing}"))?;
        let mut page = Page { net, addresses, errors, news: false };
        let leased = page.addresses.ipv4 == [0; 4];
        let four = leased.then(|| four::configure(&mut page, grant)).transpose()?;
        let answers = Answers::open(&page, grant)?;
        let six = Six::open(&page, grant);
        Ok(Netd { page, answers, four, six })
    }

    /// Only comes back with a complaint, and there is none yet.
    fn serve(&mut self) -> String {
        loop {
            let mut deadline = self.answers.ask_gateway(&self.page);
            if let Some(four) = &mut self.four {
                deadline = deadline.min(four.ask(&mut self.page));
            }
            if let Some(six) = &mut self.six {
                deadline = deadline.min(six.ask(&mut self.page));
            }
            self.page.publish();
            wait(deadline);
            self.answers.learn(&mut self.page);
            if let Some(four) = &mut self.four {
                four.serve(&mut self.page);
            }
            if let Some(six) = &mut self.six {
                six.serve(&mut self.page);
            }
            self.page.publish();
        }
    }
}

fn bind(
    page: &Page,
    grant: Grant,
    expression: &str,
    ash: Option<&[u8]>,
) -> Result<RawSocket, String> {
    RawSocket::bind_expression(page.net.own(), grant, expression, ash)
        .map_err(|error| format!("{expression}: {}", explain::lines(&error).join("; ")))
}
