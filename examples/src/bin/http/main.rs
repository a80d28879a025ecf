//! A web server as a library OS: static pages over HTTP/1.1 on port 80.
//!
//! Every response is made and summed before the first request comes, and sent from where it lies:
//! the server is a stack of its own ([`libos_net::cached`]) under one filter. Nothing of this is in
//! the kernel, which sees that filter and its rings. `libos_net::http::serve` serves the same site
//! over streams, for who wants both on one stack.
#![no_std]
#![no_main]

extern crate alloc;

mod pages;

use core::net::Ipv6Addr;

use libos::{Environment, println};
use libos_net::cached::Server;
use libos_net::http::{Limits, Site};
use libos_net::{Net, SocketError, explain};

libos::entry!(main);

const PORT: u16 = 80;

fn main(environment: Environment) -> i32 {
    match open(&environment) {
        Ok(mut server) => {
            println!("port {PORT} serves {} pages", pages::PAGES.len());
            server.run()
        }
        Err(error) => explain::failed(&error),
    }
}

fn open(environment: &Environment) -> Result<Server, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("http")?;
    // At every address of ours, of both families.
    let local = (Ipv6Addr::UNSPECIFIED, PORT);
    Server::bind(&net, grant, local, Site::new(pages::PAGES), Limits::default())
}
