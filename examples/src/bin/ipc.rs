//! What it costs to talk to another environment: pipe, shared memory, local RPC, bare transfer.
//!
//! Two environments of this one program on one machine: the parent measures, the twin echoes. Every
//! figure is in counts of the time-stamp counter per operation (guest instructions where the
//! machine counts those) and one way, except the RPC, which is there and back, as in the literature
//! (SOSP '95, table 8).
#![no_std]
#![no_main]

extern crate alloc;

use abi::Status;
use alloc::string::String;
use libos::capability::{grant_handle, report};
use libos::ipc::{self, Counter, Pipe, Procedures};
use libos::sys::transfer::{bounce, cycles, timed_null_call, timed_null_transfer};
use libos::sys::twin::{self, page_at, shared_page};
use libos::transfer::{Message, Served, serve};
use libos::{Env, Environment, Handle, Page, Rights, println};

libos::entry!(main);

const FRAMES: u64 = 160;
const ROUNDS: u32 = 64;

fn main(environment: Environment) -> i32 {
    match run(&environment) {
        Ok(()) => 0,
        Err(status) => {
            println!("ipc: {status:?}");
            1
        }
    }
}

fn run(environment: &Environment) -> Result<(), Status> {
    let own = environment.own()?;
    let mut text = String::from("ipc");
    let mut note = |name: &str, value: u64| {
        println!("{name}: {value}");
        text += &alloc::format!(" {name}={value}");
    };
    note("null_call", least(timed_null_call));
    note("transfer", bare_transfer(own)?);
    note("lrpc", remote_call(own)?);
    note("pipe", pipe(own)?);
    note("shm", shared(own)?);
    report(text.as_bytes())
}

fn least(mut once: impl FnMut() -> u64) -> u64 {
    (0..ROUNDS).map(|_| once()).min().unwrap_or(0)
}

/// A twin that shares a page with us and can name us; the first words say where the page is and
/// what our handle is there.
fn partner(own: Env, main: twin::Main, page: Option<(u64, Page)>) -> Result<Env, Status> {
    twin::spawn(own, ("partner", FRAMES), main, |twin| {
        let us = grant_handle(own.0, twin, Rights::empty())?;
        let mut words = [0, us.0, 0, 0, 0, 0];
        if let (Some((address, page)), [first, ..]) = (page, &mut words) {
            page.map(twin, address, true)?;
            *first = address;
        }
        Ok(words)
    })
}

/// A twin that serves ends only if it could not.
fn end(result: Result<core::convert::Infallible, Status>) {
    let Err(status) = result;
    println!("does not serve: {status:?}");
}

/// Waits until a twin is parked: until then a transfer finds it busy.
fn until_parked(twin: Env) -> Result<(), Status> {
    while twin.status()?.0 != abi::start::State::Waiting {
        libos::slice::yield_to(twin)?;
    }
    Ok(())
}

/// One way of the shortest transfer there is; the kernel's part of it and ring 3's.
fn bare_transfer(own: Env) -> Result<u64, Status> {
    let twin = partner(own, |_| end(bounce()), None)?;
    until_parked(twin)?;
    let (_, first) = timed_null_transfer(twin.0);
    if let Some(status) = abi::transfer::failure(first) {
        return Err(status);
    }
    let both = least(|| timed_null_transfer(twin.0).0);
    twin.kill()?;
    Ok(both / 2)
}

const PROCEDURES: Procedures = &[|_, [a, b, c, d]| [a + b, b, c, d]];

fn service(served: Served, message: &mut Message) {
    ipc::dispatch(PROCEDURES, served, message);
}

fn remote_call(own: Env) -> Result<u64, Status> {
    let twin = partner(own, |_| end(serve(service)), None)?;
    until_parked(twin)?;
    let mut best = u64::MAX;
    for number in 0..u64::from(ROUNDS) {
        let before = cycles();
        let [sum, ..] = ipc::call(twin, 0, [number, 2, 3, 4])?;
        best = best.min(cycles().wrapping_sub(before));
        if sum != number + 2 {
            return Err(Status::RingCorrupt);
        }
    }
    if ipc::call(twin, 1, [0; 4]) != Err(Status::UnknownCall) {
        return Err(Status::RingCorrupt);
    }
    twin.kill()?;
    Ok(best)
}

/// A word each way, over and over; half a round trip.
fn pipe(own: Env) -> Result<u64, Status> {
    let (window, page) = shared_page(own)?;
    let twin = partner(own, echo_pipe, Some((window.address(), page)))?;
    let to = Pipe::new(window.clone(), 0, twin);
    let from = to.clone().back();
    let mut best = u64::MAX;
    for number in 0..ROUNDS {
        let before = cycles();
        to.write(&number.to_le_bytes())?;
        let mut answer = [0; 4];
        let mut filled = 0;
        while let Some(rest) = answer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += from.read(rest)?;
        }
        best = best.min(cycles().wrapping_sub(before));
        if u32::from_le_bytes(answer) != number {
            return Err(Status::RingCorrupt);
        }
    }
    twin.kill()?;
    Ok(best / 2)
}

fn echo_pipe([address, us, ..]: [u64; twin::WORDS]) {
    let from = Pipe::new(page_at(address), 0, Env(Handle(us)));
    let to = from.clone().back();
    let mut buffer = [0; 64];
    while let Ok(count) = from.read(&mut buffer) {
        let sent = buffer.get(..count).map(|bytes| to.write(bytes));
        if !matches!(sent, Some(Ok(()))) {
            return;
        }
    }
}

/// Hands a word to and fro; half a round trip.
fn shared(own: Env) -> Result<u64, Status> {
    let (window, page) = shared_page(own)?;
    let twin = partner(own, step_odd, Some((window.address(), page)))?;
    let counter = Counter::new(window, twin);
    counter.step(false)?;
    let mut best = u64::MAX;
    for _ in 0..ROUNDS {
        let before = cycles();
        counter.step(false)?;
        best = best.min(cycles().wrapping_sub(before));
    }
    twin.kill()?;
    Ok(best / 2)
}

fn step_odd([address, us, ..]: [u64; twin::WORDS]) {
    let counter = Counter::new(page_at(address), Env(Handle(us)));
    while counter.step(true).is_ok() {}
}
