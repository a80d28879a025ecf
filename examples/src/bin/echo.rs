//! UDP echo on port 7, wholly inside the kernel: the library OS binds a handler and sleeps.
#![no_std]
#![no_main]

use libos::clock::{NEVER, wait};
use libos::{Environment, println};
use libos_net::{Net, SocketError, explain, filter};

libos::entry!(main);

const PORT: u16 = 7;
static ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bpf"));

fn main(environment: Environment) -> i32 {
    if let Err(error) = bind(&environment) {
        return explain::failed(&error);
    }
    println!("port {PORT} is answered in the kernel");
    loop {
        wait(NEVER);
    }
}

fn bind(environment: &Environment) -> Result<(), SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("echo")?;
    let expression = filter::udp_expression(net.addresses().ipv4, PORT);
    let filter = filter::from_expression(&expression)?;
    // No rings: what the handler does not answer, nobody wants.
    grant.bind(&filter, Some(ECHO))?;
    Ok(())
}
