//! UDP echo on port 7777 through a stack of its own in ring 3.
#![no_std]
#![no_main]

use libos::clock::NEVER;
use libos::{Environment, println};
use libos_net::{Net, SocketError, UdpSocket, explain};

libos::entry!(main);

const PORT: u16 = 7777;

fn main(environment: Environment) -> i32 {
    match open(&environment) {
        Ok(socket) => serve(socket),
        Err(error) => explain::failed(&error),
    }
}

fn open(environment: &Environment) -> Result<UdpSocket, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("public")?;
    UdpSocket::bind(&net, grant, PORT)
}

fn serve(mut socket: UdpSocket) -> i32 {
    println!("port {PORT} is answered in ring 3");
    let mut buffer = [0; 1500];
    loop {
        let Some((length, from)) = socket.recv_from(&mut buffer, NEVER) else { continue };
        if let Err(error) = socket.send_to(&buffer[..length], from) {
            println!("{error}");
        }
    }
}
