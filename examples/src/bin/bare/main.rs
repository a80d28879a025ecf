//! A library OS that links neither library: the ABI as it looks from outside.
//!
//! Reads its start block by hand ([`block`]), binds a filter and a handler that were assembled when
//! it was built, and sleeps: UDP port 9 is echoed by the kernel. Numbers are those of
//! `docs/abi.md`; what needs unsafe code is in [`sys`].
#![no_std]
#![no_main]

mod block;
mod sys;

use block::Reader;
use sys::{Call, call};

static FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/port9.bpf"));
static ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bpf"));

/// What a binding without rings is made of.
struct BindRequest<'a> {
    filter: &'a [u8],
    ash: &'a [u8],
}

/// Binds and sleeps: the code to exit with, if it cannot.
fn main(block: &[u8]) -> u64 {
    let debug = Reader::new(block).handle("debug").unwrap_or(0);
    let print = |text| call(&Call::Print(debug, text));
    let Some(grant) = Reader::new(block).handle("grant:bare") else {
        print("no grant");
        return 1;
    };
    let status = call(&Call::Bind(grant, &BindRequest { filter: FILTER, ash: ECHO }));
    if status != 0 {
        print("the kernel refused to bind port 9");
        return status;
    }
    print("port 9 is answered in the kernel, without a library");
    loop {
        call(&Call::Wait);
    }
}
