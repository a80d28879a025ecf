//! Binds many filters, one port each, and sleeps: a crowd, among which a packet's owner is found.
//!
//! The argument says how many; each instance (`crowd.0`, `crowd.1` …) has a block of ports of its
//! own.
#![no_std]
#![no_main]

use libos::capability::report;
use libos::clock::{NEVER, wait};
use libos::{Environment, println};
use libos_net::{Net, SocketError, explain, filter};

libos::entry!(main);

/// First port of all blocks.
const FIRST_PORT: u16 = 20_000;
/// Ports of a block.
const BLOCK: u16 = 256;
/// The block of one that is no instance.
const LAST_BLOCK: u16 = 63;

fn main(environment: Environment) -> i32 {
    match bind(&environment) {
        Ok(count) => {
            // The host counts those who are done.
            let _ = report(b"bound");
            println!("{count} ports are taken");
        }
        Err(error) => return explain::failed(&error),
    }
    loop {
        wait(NEVER);
    }
}

fn bind(environment: &Environment) -> Result<u16, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("crowd")?;
    let count: u16 = environment.arguments().trim().parse().unwrap_or(1).min(BLOCK);
    let instance = environment.name().rsplit_once('.').and_then(|(_, number)| number.parse().ok());
    // Those that are no instances differ by how many they bind.
    let block = instance.unwrap_or(LAST_BLOCK - u16::from(count > 10)).min(LAST_BLOCK);
    for place in 0..count {
        let port = FIRST_PORT + block * BLOCK + place;
        let expression = filter::udp_expression(net.addresses().ipv4, port);
        grant.bind(&filter::from_expression(&expression)?, None)?;
    }
    Ok(count)
}
