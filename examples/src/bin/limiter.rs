//! A rate limiter: a handler counts and drops, its library OS sets the limit and reads the counts.
//!
//! Port 7120 is echoed in the kernel, [`LIMIT`] packets for each source. Handler and program share
//! two maps: counts by source, and one entry with the limit and the drops. The program sleeps; when
//! it wakes and the drops have changed it reports them, with every source's count.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;

use abi::map::EXIST;
use libos::capability::{RingPages, report};
use libos::clock::{now_ns, wait};
use libos::map::{Kind, Map};
use libos::{BindError, Environment, Status, println};
use libos_net::{Net, SocketError, explain, filter};

libos::entry!(main);

const PORT: u16 = 7120;
/// Packets of one source that are answered.
const LIMIT: u64 = 10;
/// Sources that are remembered.
const SOURCES: u32 = 64;
/// Nanoseconds between two looks at the map.
const PERIOD_NS: u64 = 10_000_000;

static LIMITER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/limit.bpf"));

fn main(environment: Environment) -> i32 {
    let limiter = match Limiter::open(&environment) {
        Ok(limiter) => limiter,
        Err(error) => {
            for line in explain::lines(&error) {
                println!("{line}");
            }
            return 1;
        }
    };
    println!("port {PORT} answers {LIMIT} packets of each source");
    let mut seen = 0;
    loop {
        let _ = wait(now_ns() + PERIOD_NS);
        match limiter.policy.load(&0) {
            Ok([_, dropped]) if dropped != seen => {
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
    /// Packets by source address, as it stands in the packet.
    sources: Map<u32, u64>,
    /// The limit, and packets dropped.
    policy: Map<u32, [u64; 2]>,
}

impl Limiter {
    fn open(environment: &Environment) -> Result<Limiter, SocketError> {
        let net = Net::new(environment)?;
        let grant = environment.grant("public")?;
        let sources = Map::new(Kind::LruHash, SOURCES, "sources").map_err(without_record)?;
        let policy = Map::new(Kind::Array, 1, "policy").map_err(without_record)?;
        policy.store_if(&0, &[LIMIT, 0], EXIST).map_err(without_record)?;
        let expression = filter::udp_expression(net.addresses().ipv4, PORT);
        let maps = [sources.handle(), policy.handle()];
        let pages = RingPages { maps: &maps, ..RingPages::default() };
        grant.bind_pages(&filter::from_expression(&expression)?, Some(LIMITER), &pages)?;
        Ok(Limiter { sources, policy })
    }

    /// One line: the drops, and each source with its count.
    fn tell(&self, dropped: u64) {
        let mut line = format!("limiter dropped={dropped}");
        let mut source = self.sources.next(None);
        while let Ok(address) = source {
            let [a, b, c, d] = address.to_le_bytes();
            let count = self.sources.load(&address).unwrap_or_default();
            line.push_str(&format!(" {a}.{b}.{c}.{d}={count}"));
            source = self.sources.next(Some(&address));
        }
        if report(line.as_bytes()).is_err() {
            println!("{line}");
        }
    }
}

fn without_record(status: Status) -> BindError {
    BindError { status, refusal: None }
}
