//! A web server as a library OS: static pages over HTTP/1.1 on port 80.
//!
//! One stack, one listener, a task for each connection. The pages are in the program; every
//! response is made before the first request comes. Nothing of this is in the kernel, which sees
//! one filter and its rings.
#![no_std]
#![no_main]

extern crate alloc;

mod pages;

use alloc::rc::Rc;
use core::net::Ipv6Addr;

use libos::executor::Executor;
use libos::{Environment, println};
use libos_net::http::{Limits, Site, serve};
use libos_net::{ListenOptions, Net, SocketError, Stack, StreamOptions, TcpListener, explain};

libos::entry!(main);

const PORT: u16 = 80;
/// Connections at once; others wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 128;

fn main(environment: Environment) -> i32 {
    let listener = match open(&environment) {
        Ok(listener) => listener,
        Err(error) => {
            for line in explain::lines(&error) {
                println!("{line}");
            }
            return 1;
        }
    };
    println!("port {PORT} serves {} pages", pages::PAGES.len());
    let executor = Executor::new();
    executor.turn(listener.stack().clone());
    executor.block_on(accept(executor.clone(), listener, Rc::new(Site::new(pages::PAGES))));
    0
}

fn open(environment: &Environment) -> Result<TcpListener, SocketError> {
    let stack = Stack::new(&Net::new(environment)?);
    let grant = environment.grant("http")?;
    let stream = StreamOptions { receive_bytes: 8 * 1024, ..StreamOptions::default() };
    let options = ListenOptions { stream, ..ListenOptions::default() };
    // At every address of ours, of both families.
    TcpListener::bind_with(&stack, grant, (Ipv6Addr::UNSPECIFIED, PORT), options)
}

/// Starts a task for each connection, for ever.
async fn accept(executor: Executor, listener: TcpListener, site: Rc<Site>) {
    loop {
        // One that was reset while it waited is nobody's loss.
        let Ok((stream, _)) = listener.accept_async().await else { continue };
        let (inner, site) = (executor.clone(), Rc::clone(&site));
        let task = async move {
            serve(&inner, stream, &site, &Limits::default()).await;
        };
        if executor.spawn(task).is_err() {
            println!("no room for a task");
        }
        while executor.tasks() >= CONNECTIONS_MAX {
            executor.sleep(core::time::Duration::from_millis(1)).await;
        }
    }
}
