//! A time server on port 123, answered in the kernel: the program says what the clock is worth.
//!
//! The date is the board's clock, read once at boot and never disciplined: stratum 10. Without such
//! a clock, or with the argument `unset`, every answer says that it is not synchronised.
#![no_std]
#![no_main]

use libos::clock::{NEVER, now_ns};
use libos::object::Handlers;
use libos::{Environment, println};
use sluice_examples::ntp::{self, Time};
use sluice_examples::service::{self, ServiceError};

libos::entry!(main);

const PORT: u16 = 123;
static HANDLER: &[u8] = include_bytes!("../../ash/ntp.o");

fn main(environment: Environment) -> i32 {
    let Err(error) = serve(&environment);
    error.lines().iter().for_each(|line| println!("{line}"));
    1
}

fn serve(environment: &Environment) -> Result<core::convert::Infallible, ServiceError> {
    let set = environment.arguments() != "unset";
    let unix = libos::exposed::Exposed::new().unix_ns().filter(|_| set);
    let time = Time::new(unix.map(|ns| ns.saturating_sub(now_ns())));
    let mut handlers = Handlers::open(HANDLER)?;
    let clock = handlers.map::<u32, Time>("clock")?;
    let failed = |status| ServiceError::Map { doing: "writing the clock's map", status };
    clock.store(&0, &time).map_err(failed)?;
    let mut socket = service::open(environment, "ntp", PORT, &mut handlers, "ntp")?;
    println!("port {PORT} tells the time, stratum {}", time.stratum);
    let mut buffer = [0; 1500];
    loop {
        let Some((length, from)) = socket.recv_from(&mut buffer, NEVER) else { continue };
        let Some(answer) = ntp::answer(&time, &buffer[..length], now_ns()) else { continue };
        if let Err(error) = socket.send_to(&answer, from) {
            println!("{error}");
        }
    }
}
