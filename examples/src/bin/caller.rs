//! Is always in the middle of a call: binds and unbinds, creates and kills, allocates and frees,
//! waits. What the kernel makes of ending it at any such moment is the question.
#![no_std]
#![no_main]

use libos::capability::drop_handle;
use libos::clock::{now_ns, wait};
use libos::{Env, Environment, Page, println};
use libos_net::{Net, SocketError, filter};

libos::entry!(main);

/// A port of the shared grant that nobody else binds.
const PORT: u16 = 7999;

fn main(environment: Environment) -> i32 {
    match call(&environment) {
        Ok(never) => match never {},
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

fn call(environment: &Environment) -> Result<core::convert::Infallible, SocketError> {
    let net = Net::new(environment)?;
    let (own, grant) = (net.own(), environment.grant("public")?);
    let text = filter::udp_expression(net.addresses().ipv4, PORT);
    let program = filter::from_expression(&text).unwrap_or_default();
    // Refusals are part of it: memory may be short.
    loop {
        if let Ok(binding) = grant.bind(&program, None) {
            let _ = binding.unbind();
        }
        if let Ok(child) = Env::create(16, "child") {
            let _ = Page::alloc(child);
            let _ = child.kill();
            let _ = drop_handle(child.0);
        }
        if let Ok(page) = Page::alloc(own) {
            let _ = page.free();
        }
        wait(now_ns() + 20_000);
    }
}
