//! `ping` as a library OS: five echo requests to the gateway, and how long the replies took.
//!
//! Its grant holds echo replies to our address, its socket those with one identifier.
#![no_std]
#![no_main]

use core::net::Ipv4Addr;

use libos::clock::now_ns;
use libos::{Environment, println};
use libos_net::{IcmpSocket, Net, SocketError, explain};

libos::entry!(main);

const IDENTIFIER: u16 = 0x51c3;
const TIMES: u16 = 5;
const PATIENCE_NS: u64 = 2_000_000_000;

fn main(environment: Environment) -> i32 {
    match ping(&environment) {
        Ok(answered) => i32::from(answered != TIMES),
        Err(error) => explain::failed(&error),
    }
}

fn ping(environment: &Environment) -> Result<u16, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("ping")?;
    let gateway = Ipv4Addr::from(net.addresses().gateway);
    let mut socket = IcmpSocket::bind(&net, grant, IDENTIFIER)?;
    let mut answered = 0;
    for number in 0..TIMES {
        let data = [b'.'; 56];
        match socket.ping(gateway, number, &data, now_ns() + PATIENCE_NS)? {
            Some(took) => {
                answered += 1;
                println!("{gateway}: {} bytes, number {number}, {} us", data.len(), took / 1000);
            }
            None => println!("{gateway}: nothing heard of number {number}"),
        }
    }
    println!("{answered} of {TIMES} came back");
    Ok(answered)
}
