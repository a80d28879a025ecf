//! Runs an XDP object as it is: any file from `clang -target bpf`, its maps shown as they change.
//!
//! The object is `ash/stats.o`, or what `SLUICE_OBJECT` named when this was built. Its first
//! program gets UDP ports 7130 and 7131, with rings behind it. Whenever an entry of one of its
//! maps, or what became of its packets, has changed, it is reported.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::limits::FRAME_BYTES_MAX;
use libos::capability::report;
use libos::clock::{now_ns, wait};
use libos::object::Handlers;
use libos::rings::{RX_PAGES, RingMemory};
use libos::{BindError, Environment, Rings, println};
use libos_net::{Net, SocketError, filter};
use sluice_examples::service::ServiceError;

libos::entry!(main);

const PORTS: (u16, u16) = (7130, 7131);
/// Nanoseconds between two looks at the maps.
const PERIOD_NS: u64 = 20_000_000;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xdp.o"));

fn main(environment: Environment) -> i32 {
    let Err(error) = serve(&environment);
    error.lines().iter().for_each(|line| println!("{line}"));
    1
}

fn serve(environment: &Environment) -> Result<core::convert::Infallible, ServiceError> {
    let mut handlers = Handlers::open(OBJECT)?;
    let programs = handlers.object().programs().iter().map(|program| program.name().into());
    let programs: Vec<String> = programs.collect();
    let name = programs.first().cloned().unwrap_or_default();
    let mut rings = bind(environment, &mut handlers, &name)?;
    println!("ports {} and {} run `{name}` of {programs:?}", PORTS.0, PORTS.1);
    let maps = handlers.object().maps().iter();
    let maps: Vec<String> =
        maps.filter(|map| map.spec().is_ok()).map(|map| map.name().into()).collect();
    let mut seen: Vec<String> = Vec::new();
    let mut frame = [0; FRAME_BYTES_MAX];
    loop {
        let _ = wait(now_ns() + PERIOD_NS);
        while rings.receive(&mut frame).is_some() {}
        let mut lines = Vec::new();
        if let Ok(stats) = rings.binding().stats() {
            lines.push(format!("xdp {stats:?}"));
        }
        for map in &maps {
            for (key, value) in handlers.entries(map)? {
                if value.iter().any(|&byte| byte != 0) {
                    lines.push(format!("xdp {map}[{}] = {}", number(&key), number(&value)));
                }
            }
        }
        for line in lines.iter().filter(|line| !seen.contains(line)) {
            if report(line.as_bytes()).is_err() {
                println!("{line}");
            }
        }
        seen = lines;
    }
}

fn bind(
    environment: &Environment,
    handlers: &mut Handlers,
    name: &str,
) -> Result<Rings, ServiceError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("public").map_err(SocketError::from)?;
    let handler = handlers.handler(name)?;
    let [a, b, c, d] = net.addresses().ipv4;
    let (first, last) = PORTS;
    let text = format!("udp and dst host {a}.{b}.{c}.{d} and dst portrange {first}-{last}");
    let filter = filter::from_expression(&text).map_err(SocketError::from)?;
    let without_record = |status| SocketError::Bind { error: BindError { status, refusal: None } };
    let memory = RingMemory::new(net.own(), RX_PAGES, 0).map_err(without_record)?;
    let bound = memory.bind_with(grant, &filter, Some(&handler.code), &handler.maps);
    Ok(bound.map_err(SocketError::from)?)
}

/// A few words of eight bytes, or one of four, as numbers.
fn number(bytes: &[u8]) -> String {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        format!("{}", u64::from_le_bytes(word))
    };
    bytes.chunks(8).take(8).map(word).collect::<Vec<_>>().join(" ")
}
