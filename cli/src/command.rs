//! The command line. Without a subcommand it is the demo.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::machine::{self, Board, Net, Options};
use crate::{
    build, check, demo, evidence, exec, interrupt, limits, new, objects, run, soundness, view, why,
};

/// Sluice: an exokernel whose centre is a packet gate. Boots it, talks to it, judges what it says.
#[derive(Debug, Parser)]
#[command(name = "sluice", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    machine: MachineArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The demo: boots, shows every step of a packet's way, checks each (what a bare call does).
    Demo,
    /// Shows what the kernel's proofs say: the claim and the program of a filter, or one line for
    /// each program of an ELF object.
    Check {
        /// A flow expression, a file with a filter (assembly text or raw instructions), or ELF
        /// objects.
        #[arg(value_name = "EXPRESSION|FILE", required = true, num_args = 1..)]
        what: Vec<String>,
        #[command(flatten)]
        shown: check::Shown,
    },
    /// Says whose a packet is, and why: the grants, the rule, and its tests that passed and failed.
    Why {
        /// The packet from its Ethernet header on: bytes in hexadecimal, or a capture (pcap or
        /// pcapng), with `:N` behind it for its N-th packet.
        packet: String,
        #[command(flatten)]
        parties: why::Parties,
    },
    /// Runs one program on one buffer, for conformance suites: the program's bytes in hexadecimal
    /// on standard input, r0 in hexadecimal on standard output.
    Exec {
        /// The buffer's bytes in hexadecimal.
        #[arg(value_name = "MEMORY")]
        buffer: Option<String>,
        /// As native code, after the proof, instead of interpreted.
        #[arg(long)]
        jit: bool,
    },
    /// Makes a library OS of one's own, with its ASH, that runs as it is.
    New {
        /// A name, for a folder in `apps/`; or a folder.
        #[arg(value_name = "NAME|FOLDER")]
        what: String,
        /// Its UDP port.
        #[arg(long = "at", value_name = "PORT")]
        at: Option<u16>,
    },
    /// Builds one's own library OS, boots it and shows what it says, until Ctrl-C.
    Run {
        /// A name in `apps/`, or a folder.
        #[arg(value_name = "NAME|FOLDER")]
        what: String,
        /// Everything that is on the serial line.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Shows a machine while it runs: environments, grants, bindings, packets, ASH time, books.
    View {
        /// One's own library OS, as for `run`; without one, the demo's machine.
        #[arg(value_name = "NAME|FOLDER", default_value = "", hide_default_value = true)]
        what: String,
        #[command(flatten)]
        shown: view::Shown,
    },
    /// Measures what a claim rests on and prints the table.
    Evidence {
        /// Which measurement.
        name: evidence::Name,
        #[command(flatten)]
        extent: soundness::Extent,
        /// `objects` only: the folder that holds them, at any depth.
        #[arg(long, value_name = "DIR")]
        objects: Option<PathBuf>,
        /// `soak` only: how long the load lasts.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        minutes: u64,
    },
}

/// How the machine is made.
#[derive(Debug, clap::Args)]
struct MachineArguments {
    /// User-mode networking, or a tap device in a network namespace (root only).
    #[arg(long, global = true, value_enum, default_value_t)]
    net: Net,
    /// The board.
    #[arg(long, global = true, value_enum, default_value_t)]
    machine: Board,
    /// Memory in MiB.
    #[arg(long, global = true, value_name = "MIB", default_value_t = limits::MEMORY_MIB,
          value_parser = memory)]
    memory: u32,
    /// Log level of the kernel.
    #[arg(long, global = true, value_enum, default_value_t)]
    log: Level,
    /// Seconds from start to ready, at most.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = limits::BOOT.as_secs())]
    timeout: u64,
    /// A host port for a port of the guest (UDP 7, 9 or 7777, TCP 80 or 5201); may be given
    /// several times.
    #[arg(long, global = true, value_name = "GUEST=HOST", value_parser = port)]
    port: Vec<(u16, u16)>,
    /// Where the capture goes.
    #[arg(long, global = true, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Leave the machine running after the demo, until Ctrl-C.
    #[arg(long, global = true)]
    keep: bool,
    /// Use KVM instead of emulation.
    #[arg(long, global = true)]
    kvm: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

fn memory(text: &str) -> Result<u32, String> {
    let mib: u32 = text.parse().map_err(|error| format!("{error}"))?;
    let (min, max) = (limits::MEMORY_MIB_MIN, limits::MEMORY_MIB_MAX);
    if (min..=max).contains(&mib) { Ok(mib) } else { Err(format!("from {min} to {max} MiB")) }
}

fn port(text: &str) -> Result<(u16, u16), String> {
    let (guest, host) = text.split_once('=').ok_or("write GUEST=HOST, for example 7=7007")?;
    let number = |text: &str| text.parse::<u16>().map_err(|error| format!("`{text}`: {error}"));
    let (guest, host) = (number(guest)?, number(host)?);
    if host == 0 { Err("the host's port must not be 0".to_owned()) } else { Ok((guest, host)) }
}

impl MachineArguments {
    fn options(&self) -> Options {
        let mut options = Options {
            board: self.machine,
            net: self.net,
            memory_mib: self.memory,
            kvm: self.kvm,
            timeout: Duration::from_secs(self.timeout),
            ..Options::default()
        };
        for &(guest, host) in &self.port {
            let mut known = options.forwards.iter_mut().chain(&mut options.tcp);
            match known.find(|forward| forward.0 == guest) {
                Some(forward) => forward.1 = Some(host),
                None => options.forwards.push((guest, Some(host))),
            }
        }
        options
    }
}

impl MachineArguments {
    /// What `run` and `view` are to do with a library OS.
    fn runs(&self, what: &str, verbose: bool) -> run::Wanted {
        run::Wanted {
            what: what.to_owned(),
            machine: self.options(),
            log: self.log.word().to_owned(),
            verbose,
            capture: self.capture.clone(),
        }
    }
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::catch();
    machine::sockets::sweep_dead();
    let outcome = obey(&arguments);
    // Whatever was printed last must be seen before the process ends.
    let _ = std::io::stdout().flush();
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sluice: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says what `new` has made and what to do next.
fn made(made: &new::Made, what: &str) {
    let new::Made { folder, name, port } = made;
    println!("{}: a library OS and its ASH, UDP port {port}", folder.display());
    println!("  src/main.rs   {name} in ring 3");
    println!("  src/ash.s     {name} in the kernel");
    println!("Next: `cargo run -- run {what}`, and `docs/guide.md`.");
}

fn obey(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let machine = arguments.machine.options();
    let log = arguments.machine.log.word();
    match &arguments.command {
        None | Some(Command::Demo) => {
            let capture = arguments.machine.capture.clone();
            let wanted = demo::Wanted {
                capture: capture.unwrap_or_else(|| build::workspace().join("target/sluice.pcapng")),
                machine,
                log: log.to_owned(),
                keep: arguments.machine.keep,
            };
            Ok(demo::run(&wanted)?)
        }
        Some(Command::New { what, at }) => {
            made(&new::new(what, *at)?, what);
            Ok(true)
        }
        Some(Command::Run { what, verbose }) => {
            Ok(run::run(&arguments.machine.runs(what, *verbose))?)
        }
        Some(Command::View { what, shown }) => {
            let machine = arguments.machine.runs(what, false);
            Ok(view::run(&view::Wanted { machine, shown: shown.clone() })?)
        }
        Some(Command::Check { what, shown }) => Ok(check::run(what, shown)?),
        Some(Command::Why { packet, parties }) => Ok(why::run(packet, parties, &machine)?),
        Some(Command::Exec { buffer, jit }) => {
            let program = std::io::read_to_string(std::io::stdin())?;
            println!("{:x}", exec::exec(&program, buffer.as_deref().unwrap_or_default(), *jit)?);
            Ok(true)
        }
        Some(Command::Evidence { name: evidence::Name::Objects, objects, .. }) => {
            let folder = objects.clone().unwrap_or(build::workspace().join("testdata/objects"));
            Ok(objects::evidence(&folder)?)
        }
        Some(Command::Evidence { name, extent, minutes, .. }) => {
            match name.campaign() {
                Some(campaign) => soundness::run(campaign, extent)?,
                None => evidence::run(*name, &machine, log, *minutes)?,
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, memory, port};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn ports_and_memory_are_checked() {
        assert_eq!(port("7=7007"), Ok((7, 7007)));
        for bad in ["7", "7=", "=7", "7=0", "7=65536", "x=1"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        assert_eq!(memory("256"), Ok(256));
        for bad in ["1", "99999", "-1", "much"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_reach_the_machine() {
        let line = ["sluice", "--machine", "microvm", "--memory", "128", "--port", "7=7007"];
        let options = Arguments::parse_from(line).machine.options();
        assert_eq!(options.memory_mib, 128);
        assert!(options.forwards.contains(&(7, Some(7007))));
        assert!(Arguments::try_parse_from(["sluice", "--net", "carrier-pigeon"]).is_err());
    }
}
