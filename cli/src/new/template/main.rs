//! @NAME@: a UDP service on port @PORT@. Its ASH answers `ping` in the kernel; the rest comes here.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;

use ebpf::Kind;
use libos::clock::NEVER;
use libos::{Environment, Rings, println, program};
use libos_net::{Device, Net, SocketError, UdpSocket, explain, filter};

libos::entry!(main);

const PORT: u16 = @PORT@;
static ASH: &str = include_str!("ash.s");

fn main(environment: Environment) -> i32 {
    let ash = match program::assemble(Kind::Ash, ASH, &[]) {
        Ok(ash) => ash,
        Err(error) => {
            println!("src/ash.s: {error}");
            return 1;
        }
    };
    match open(&environment, &ash) {
        Ok(socket) => serve(socket),
        // What the kernel refuses, it says why: the reason, the instruction, the packet.
        Err(error) => explain::failed(&error),
    }
}

/// Binds a filter for the port, with the ASH in front and a socket behind.
fn open(environment: &Environment, ash: &[u8]) -> Result<UdpSocket, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("@NAME@")?;
    let expression = filter::udp_expression(net.addresses().ipv4, PORT);
    let filter = filter::from_expression(&expression)?;
    let rings = Rings::bind(net.own(), grant, &filter, Some(ash))?;
    UdpSocket::over(Device::new(rings, net.neighbours()), &net, PORT)
}

fn serve(mut socket: UdpSocket) -> i32 {
    println!("port {PORT}: `ping` is answered by the ASH, everything else in ring 3");
    let mut buffer = [0; 1500];
    loop {
        let Some((length, from)) = socket.recv_from(&mut buffer, NEVER) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]);
        println!("{from} says {}", text.trim_end());
        if let Err(error) = socket.send_to(answer(&text).as_bytes(), from) {
            println!("{error}");
        }
    }
}

/// What this service is for.
fn answer(text: &str) -> String {
    format!("@NAME@ heard {text}")
}
