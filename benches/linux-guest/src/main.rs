//! The papers' primitives as a Linux program, so that Sluice's figures have something beside them.
//!
//! The host tool boots a distribution's kernel with this program as the whole initial file system:
//! process 1, which mounts, measures, prints and powers off. Called from a shell it only measures.
//! `papers` prints one line of `name=number` per group, in counts of the time-stamp counter (guest
//! instructions where the machine counts those); `web` runs nginx; `udp` and `xdp` answer UDP on
//! port 7 until the machine is ended, with as many processes that do nothing but run beside them as
//! they are told.
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
mod web;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The kernel hands on what it did not know itself; behind it stands what every machine is told.
    let known = |word: &&str| ["papers", "udp", "xdp", "web"].contains(word);
    let ours = |word: &&str| !word.contains('=');
    let words = arguments.iter().map(String::as_str).skip_while(|word| !known(word));
    let words = words.take_while(ours);
    let words: Vec<&str> = words.collect();
    if std::process::id() == 1 {
        // Linux logs the signals of process 1: the work is another process's.
        let outcome = init::mount().and_then(|()| init::in_a_child(|| report(run(&words))));
        report(outcome);
        init::power_off();
    }
    report(run(&words))
}

fn report(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("linux failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["papers"] => papers(),
        [task @ ("udp" | "xdp" | "web"), address, peer, station, spinning] => {
            network::up(address, peer, station)?;
            init::spinning(spinning.parse().map_err(io::Error::other)?)?;
            match *task {
                "udp" => echo::udp(),
                "xdp" => echo::xdp(),
                _ => web::serve(),
            }
        }
        _ => Err(io::Error::other(
            "say `papers`, or `udp`, `xdp` or `web` with ADDRESS PEER MAC SPINNING",
        )),
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
