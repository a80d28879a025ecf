//! A name server on port 53: addresses are answered in the kernel, everything else here.
//!
//! The zone is `zone.txt`. What can be answered by a handler is put into its map once; whoever asks
//! for something else, or cannot be understood, gets a whole answer from ring 3.
#![no_std]
#![no_main]

use libos::clock::NEVER;
use libos::object::Handlers;
use libos::{Environment, println};
use sluice_examples::dns::{self, Answer, Key, Zone};
use sluice_examples::service::{self, ServiceError};

libos::entry!(main);

const PORT: u16 = 53;
const ORIGIN: &str = "sluice.test.";
static ZONE: &str = include_str!("../../zone.txt");
static HANDLER: &[u8] = include_bytes!("../../ash/dns.o");

fn main(environment: Environment) -> i32 {
    let zone = match Zone::parse(ORIGIN, ZONE) {
        Ok(zone) => zone,
        Err(error) => {
            println!("{error}");
            return 1;
        }
    };
    let Err(error) = serve(&environment, &zone);
    error.lines().iter().for_each(|line| println!("{line}"));
    1
}

fn serve(
    environment: &Environment,
    zone: &Zone,
) -> Result<core::convert::Infallible, ServiceError> {
    let mut handlers = Handlers::open(HANDLER)?;
    let answers = handlers.map::<Key, Answer>("answers")?;
    let entries = dns::cached(zone);
    for (key, answer) in &entries {
        let failed = |status| ServiceError::Map { doing: "filling the map of answers", status };
        answers.store(key, answer).map_err(failed)?;
    }
    let mut socket = service::open(environment, "dns", PORT, &mut handlers, "dns")?;
    println!("port {PORT} answers for {ORIGIN}: {} answers in the kernel", entries.len());
    let mut buffer = [0; 1500];
    loop {
        let Some((length, from)) = socket.recv_from(&mut buffer, NEVER) else { continue };
        let Some(answer) = dns::answer(zone, &buffer[..length]) else { continue };
        if let Err(error) = socket.send_to(&answer, from) {
            println!("{error}");
        }
    }
}
