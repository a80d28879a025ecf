//! `init`: the first library OS.
//!
//! It has everything and keeps almost nothing: from the manifest in the initrd it derives the
//! grants, starts the environments, and hands each what the manifest says. Then it obeys control
//! frames ([`control`]). What fails is said in one line; the rest goes on.
#![no_std]
#![no_main]

extern crate alloc;

mod archive;
mod cast;
mod control;
mod grants;

use alloc::vec::Vec;

use libos::{Environment, println};

libos::entry!(main);

fn main(environment: Environment) -> i32 {
    let words = environment.arguments().split_whitespace();
    // The key is nobody's business, not even the serial log's.
    let shown: Vec<&str> = words.filter(|word| !word.starts_with(abi::control::WORD)).collect();
    println!("booted, {}", shown.join(" "));
    match run(&environment) {
        Ok(never) => match never {},
        Err(why) => {
            println!("{why}");
            1
        }
    }
}

fn run(environment: &Environment) -> Result<core::convert::Infallible, alloc::string::String> {
    let archive = archive::Archive::open(environment)?;
    let manifest = archive.manifest()?;
    let grants = grants::derive(environment, &manifest)?;
    let control = control::Control::open(environment);
    let mut cast = cast::Cast::new(environment, archive, manifest, grants)?;
    cast.start_at_boot();
    println!("init: ready");
    control.serve(cast)
}
