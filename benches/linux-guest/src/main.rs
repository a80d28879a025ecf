//! The papers' primitives as a Linux program, so that Sluice's figures have something beside them.
//!
//! The host tool boots a distribution's kernel with this program as the whole initial file system:
//! process 1, which mounts, measures, prints and powers off. Called from a shell it only measures.
//! `papers` prints one line of `name=number` per group, in counts of the time-stamp counter (guest
//! instructions where the machine counts those); `udp` and `xdp` answer UDP on port 7 until the
//! machine is ended.
//!
//! Every measurement is the least of many, and each is written as one would write it for Linux if
//! one wanted it to be cheap: no wrapper, no allocation, nothing checked inside the timed part.

#![allow(unsafe_code)]

mod clock;
mod echo;
mod exceptions;
mod init;
#[path = "../../../examples/src/matrix.rs"]
mod matrix;
mod memory;
mod network;
mod processes;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let first = std::process::id() == 1;
    let outcome = if first { init::mount().and_then(|()| run(&words)) } else { run(&words) };
    if let Err(error) = &outcome {
        println!("linux failed: {error}");
    }
    if first {
        init::power_off();
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["papers"] => papers(),
        ["udp", address, peer, station] => {
            network::up(address, peer, station)?;
            echo::udp()
        }
        ["xdp", address, peer, station] => {
            network::up(address, peer, station)?;
            echo::xdp()
        }
        _ => Err(io::Error::other(format!("papers, or udp|xdp ADDRESS PEER MAC; not {words:?}"))),
    }
}

fn papers() -> io::Result<()> {
    println!("linux call null={}", exceptions::null_call());
    let (to_handler, back) = exceptions::fault()?;
    println!("linux fault to_handler={to_handler} back={back}");
    memory::measure()?;
    processes::measure()?;
    println!("linux matrix multiply={}", clock::once(matrix::multiply_once));
    println!("linux done");
    Ok(())
}
