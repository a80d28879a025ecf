//! A rate limiter: a handler counts and drops, its library OS sets the limit and reads the counts.
//!
//! Port 7120 is echoed in the kernel, [`LIMIT`] packets of each source in a [`WINDOW_NS`]; the rest
//! of a flood ends there. Handler (`ash/limit.c`) and program share two maps: counts by source, and
//! one entry with the policy and the drops. The program sleeps; when it wakes and the drops have
//! changed it reports them, with every source's count.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;

use abi::map::EXIST;
use libos::capability::{RingPages, report};
use libos::clock::{now_ns, wait};
use libos::map::Map;
use libos::object::Handlers;
use libos::{Environment, println};
use libos_net::{Net, SocketError, filter};
use sluice_examples::service::ServiceError;

libos::entry!(main);

const PORT: u16 = 7120;
/// Packets of one source that are answered in a window.
const LIMIT: u64 = 10;
/// Nanoseconds of a window.
const WINDOW_NS: u64 = 60_000_000_000;
/// Nanoseconds between two looks at the map.
const PERIOD_NS: u64 = 10_000_000;

static HANDLER: &[u8] = include_bytes!("../../ash/limit.o");

fn main(environment: Environment) -> i32 {
    let limiter = match Limiter::open(&environment) {
        Ok(limiter) => limiter,
        Err(error) => {
            error.lines().iter().for_each(|line| println!("{line}"));
            return 1;
        }
    };
    println!("port {PORT} answers {LIMIT} packets of each source");
    let mut seen = 0;
    loop {
        let _ = wait(now_ns() + PERIOD_NS);
        match limiter.policy.load(&0) {
            Ok([_, _, dropped]) if dropped != seen => {
                seen = dropped;
                limiter.tell(dropped);
            }
            Ok(_) => {}
            Err(status) => {
                println!("the map is gone: {status:?}");
                return 1;
            }
        }
    }
}

struct Limiter {
    /// Beginning of the window and packets since, by source address as it stands in the packet.
    sources: Map<u32, [u64; 2]>,
    /// The limit, the window, and packets dropped.
    policy: Map<u32, [u64; 3]>,
}

impl Limiter {
    fn open(environment: &Environment) -> Result<Limiter, ServiceError> {
        let net = Net::new(environment)?;
        let grant = environment.grant("public").map_err(SocketError::from)?;
        let mut handlers = Handlers::open(HANDLER)?;
        let (sources, policy) = (handlers.map("sources")?, handlers.map("policy")?);
        let limiter = Limiter { sources, policy };
        let failed = |status| ServiceError::Map { doing: "writing the policy", status };
        limiter.policy.store_if(&0, &[LIMIT, WINDOW_NS, 0], EXIST).map_err(failed)?;
        let handler = handlers.handler("limit")?;
        let expression = filter::udp_expression(net.addresses().ipv4, PORT);
        let filter = filter::from_expression(&expression).map_err(SocketError::from)?;
        // No rings: what is over the limit, nobody wants.
        let pages = RingPages { maps: &handler.maps, ..RingPages::default() };
        grant.bind_pages(&filter, Some(&handler.code), &pages).map_err(SocketError::from)?;
        Ok(limiter)
    }

    /// One line: the drops, and each source with its count.
    fn tell(&self, dropped: u64) {
        let mut line = format!("limiter dropped={dropped}");
        let mut source = self.sources.next(None);
        while let Ok(address) = source {
            let [a, b, c, d] = address.to_le_bytes();
            let [_, count] = self.sources.load(&address).unwrap_or_default();
            line.push_str(&format!(" {a}.{b}.{c}.{d}={count}"));
            source = self.sources.next(Some(&address));
        }
        if report(line.as_bytes()).is_err() {
            println!("{line}");
        }
    }
}
