//! A TCP listener on port 7080 that only hosts which exist get to.
//!
//! The handler (`ash/syn.c`) answers the first SYN of a source with a challenge and keeps nothing
//! for it; who answers the challenge is passed on. What gets here is greeted, line by line.
#![no_std]
#![no_main]

use libos::map::Map;
use libos::object::Handlers;
use libos::{Environment, println};
use libos_net::{ListenOptions, Net, Shutdown, SocketError, Stack, TcpListener, TcpStream};
use sluice_examples::service::ServiceError;
use zerocopy::{FromBytes, Immutable, IntoBytes};

libos::entry!(main);

const PORT: u16 = 7080;
/// How long a client may take to close, in nanoseconds.
const PATIENCE_NS: u64 = 5_000_000_000;
static HANDLER: &[u8] = include_bytes!("../../ash/syn.o");

/// `struct state` of `ash/syn.c`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct State {
    secret: [u64; 2],
    challenged: u64,
    known: u64,
    passed: u64,
    dropped: u64,
}

fn main(environment: Environment) -> i32 {
    let Err(error) = serve(&environment);
    error.lines().iter().for_each(|line| println!("{line}"));
    1
}

fn serve(environment: &Environment) -> Result<core::convert::Infallible, ServiceError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("guarded").map_err(SocketError::from)?;
    let mut handlers = Handlers::open(HANDLER)?;
    let guard: Map<u32, State> = handlers.map("guard")?;
    let secret = [libos::sys::entropy(), libos::sys::entropy()];
    let state = State { secret, challenged: 0, known: 0, passed: 0, dropped: 0 };
    let failed = |status| ServiceError::Map { doing: "writing the secret", status };
    guard.store(&0, &state).map_err(failed)?;
    let handler = handlers.handler("syn")?;
    let stack = Stack::new(&net);
    let behind = (Some(&handler.code[..]), &handler.maps[..]);
    let listener = TcpListener::bind_behind(&stack, grant, PORT, ListenOptions::default(), behind)?;
    println!("port {PORT} is guarded");
    loop {
        let Ok((stream, from)) = listener.accept() else { continue };
        let state = guard.load(&0).map_err(failed)?;
        println!("{from} got through; {} challenged, {} known", state.challenged, state.known);
        greet(stream);
    }
}

fn greet(mut stream: TcpStream) {
    stream.set_timeout(PATIENCE_NS);
    // A client that is gone is its own affair.
    if stream.write_all(b"you exist\n").is_ok() && stream.flush().is_ok() {
        stream.shutdown(Shutdown::Both);
    }
}
