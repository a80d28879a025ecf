//! memcached over UDP on port 11211: hits are answered in the kernel, everything else here.
//!
//! The store is this program's; the handler's map holds answers that are ready to be sent. A change
//! is made in the map before it is acknowledged: who was told `STORED` is never shown what was
//! there before.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use abi::Status;
use libos::clock::{NEVER, now_ns};
use libos::map::Map;
use libos::object::Handlers;
use libos::{Environment, println};
use sluice_examples::memcached::{Change, Clock, Entry, Key, Server};
use sluice_examples::service::{self, ServiceError};

libos::entry!(main);

const PORT: u16 = 11_211;
/// Bytes of all values and keys together.
const STORE_BYTES: usize = 2 << 20;
static HANDLER: &[u8] = include_bytes!("../../ash/kv.o");

fn main(environment: Environment) -> i32 {
    let Err(error) = serve(&environment);
    error.lines().iter().for_each(|line| println!("{line}"));
    1
}

fn serve(environment: &Environment) -> Result<core::convert::Infallible, ServiceError> {
    let mut handlers = Handlers::open(HANDLER)?;
    let cache = handlers.map::<Key, Entry>("cache")?;
    let mut socket = service::open(environment, "kv", PORT, &mut handlers, "kv")?;
    println!("port {PORT} keeps values: what is in the map is answered in the kernel");
    let mut server = Server::new(STORE_BYTES);
    let mut buffer = [0; 1500];
    loop {
        let Some((length, from)) = socket.recv_from(&mut buffer, NEVER) else { continue };
        for datagram in answer(&mut server, cache, &buffer[..length]) {
            if let Err(error) = socket.send_to(&datagram, from) {
                println!("{error}");
            }
        }
    }
}

/// The answer, once the map says what it says.
fn answer(server: &mut Server, cache: Map<Key, Entry>, request: &[u8]) -> Vec<Vec<u8>> {
    let now = now_ns();
    let unix_s = libos::exposed::Exposed::new().unix_ns().map_or(0, |ns| ns / 1_000_000_000);
    let served = server.serve(request, Clock { now_ns: now, unix_s });
    for change in &served.changes {
        if let Err(status) = apply(cache, change) {
            println!("the map of answers: {status:?}");
            return Server::failed(request);
        }
    }
    served.answer
}

fn apply(cache: Map<Key, Entry>, change: &Change) -> Result<(), Status> {
    match change {
        // A map that has no room forgets its oldest; if it still fails, the old value must go.
        Change::Put(key, entry) => match cache.store(key, entry) {
            Ok(()) => Ok(()),
            Err(_) => remove(cache, key),
        },
        Change::Remove(key) => remove(cache, key),
        Change::Clear => {
            while let Ok(key) = cache.next(None) {
                remove(cache, &key)?;
            }
            Ok(())
        }
    }
}

fn remove(cache: Map<Key, Entry>, key: &Key) -> Result<(), Status> {
    match cache.remove(key) {
        Ok(()) | Err(Status::NoEntry) => Ok(()),
        Err(status) => Err(status),
    }
}
