//! Downloads what must not run, and what may but must not get far; says what came of it.
//!
//! Refused at once: a handler that forges its context, a predicate that never ends, one that reads
//! too far, one over a page that is not its own, pipes that are none or somebody else's. Let in,
//! and held by guard, limit and allowance: a handler on port 7110 that multiplies packets; a test
//! sends it some and looks at the books. Ends when 7110 has seen a packet, with 0 if the kernel
//! stopped all of it.
#![no_std]
#![no_main]

extern crate alloc;

use abi::refusal::Code;
use abi::{Handle, Status};
use libos::clock::{now_ns, wait};
use libos::download::{Pass, set_pipe, set_predicate, wait_until, word};
use libos::{BindError, Binding, Environment, Page, println};
use libos_net::{Net, SocketError, filter};

libos::entry!(main);

const PORT: u16 = 7110;
/// How long to wait for a packet.
const PATIENCE_NS: u64 = 20_000_000_000;

static AMPLIFY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/amplify.bpf"));
static FORGED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forged-context.bpf"));
static ENDLESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/endless.bpf"));
static BATCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/batch.bpf"));

fn main(environment: Environment) -> i32 {
    match attack(&environment) {
        Ok(0) => 0,
        Ok(escaped) => {
            println!("{escaped} escaped");
            1
        }
        Err(error) => {
            println!("{error}");
            2
        }
    }
}

fn attack(environment: &Environment) -> Result<usize, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("public")?;
    let text = filter::udp_expression(net.addresses().ipv4, PORT);
    let filter = filter::from_expression(&text)?;
    let own = Page::alloc(net.own()).map_err(without_record)?;
    let nobodys = Page(Handle(0x0000_0009_0000_0003));
    let amplifier = grant.bind(&filter, Some(AMPLIFY))?;
    let outcomes = [
        ("forged context", refused(grant.bind(&other(&net)?, Some(FORGED)))),
        ("endless predicate", refused(set_predicate(ENDLESS, &[]))),
        ("predicate as handler", refused(grant.bind(&other(&net)?, Some(ENDLESS)))),
        ("words of nobody", failed(set_predicate(BATCH, &[word(nobodys, 0)]), Status::BadHandle)),
        (
            "word across the page",
            failed(set_predicate(BATCH, &[word(own, 4096)]), Status::BadArgument),
        ),
        ("unaligned word", failed(set_predicate(BATCH, &[word(own, 3)]), Status::BadArgument)),
        ("wait without a predicate", wait_until(now_ns()) == Err(Status::WrongState)),
        ("nine passes", set_pipe(amplifier, &[Pass::Copy; 9]) == Err(Status::BadArgument)),
        ("three sums", set_pipe(amplifier, &[Pass::Checksum; 3]) == Err(Status::BadArgument)),
        ("pipe of nobody", set_pipe(Binding(nobodys.0), &[Pass::Copy]) == Err(Status::BadHandle)),
        ("pipe on a page", set_pipe(Binding(own.0), &[Pass::Copy]) == Err(Status::WrongKind)),
    ];
    for (name, stopped) in outcomes {
        println!("{name}: {}", if stopped { "stopped" } else { "ESCAPED" });
    }
    println!("port {PORT} amplifies");
    let end = now_ns().saturating_add(PATIENCE_NS);
    while amplifier.stats().unwrap_or_default().received == 0 && now_ns() < end {
        wait(now_ns().saturating_add(1_000_000));
    }
    let stats = amplifier.stats().map_err(without_record)?;
    println!("amplifier: {} in, {} out", stats.received, stats.initiated + stats.answered);
    let contained = stats.received > 0 && stats.initiated == 0 && stats.answered == 0;
    let escaped = outcomes.iter().filter(|(_, stopped)| !stopped).count();
    Ok(escaped + usize::from(!contained))
}

fn without_record(status: Status) -> BindError {
    BindError { status, refusal: None }
}

/// A filter for a port that is free.
fn other(net: &Net) -> Result<alloc::vec::Vec<u8>, SocketError> {
    let text = filter::udp_expression(net.addresses().ipv4, PORT + 1);
    Ok(filter::from_expression(&text)?)
}

/// Whether the kernel refused a program as unsafe, or as no program of its kind.
fn refused<T>(outcome: Result<T, BindError>) -> bool {
    let Err(BindError { refusal: Some(record), .. }) = outcome else { return false };
    matches!(record.code, Code::Unsafe | Code::Malformed)
}

fn failed(outcome: Result<(), BindError>, status: Status) -> bool {
    outcome.is_err_and(|error| error.status == status)
}
