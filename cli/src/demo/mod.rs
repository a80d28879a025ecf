//! The demo: one packet's whole way, shown step by step, judged step by step.
//!
//! Read [`run`] from top to bottom: one call per part of the report. Every part states what it
//! expects by name; the exit status is good only if all of it happened.

mod answers;
mod books;
mod counting;
mod filters;
mod refusals;
mod saved;
mod services;
mod stations;
mod web;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::build::{self, BuildError, Image, cast};
use crate::limits;
use crate::machine::{Machine, MachineError, Net, Options, guest_code};
use crate::progress::Progress;
use crate::recorder::{self, Recorder};
use crate::report::Report;
use crate::roster::Roster;

pub use answers::Times;
pub use counting::{Row, print, print_stages, spread_per_mille, stages, table, table_of};
pub use filters::wait_bound;

/// What the demo varies in, beside the machine.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The machine; `counting` and `words` are the demo's own to set.
    pub machine: Options,
    /// Log level of the kernel.
    pub log: String,
    /// Where the capture goes.
    pub capture: PathBuf,
    /// Leave the machine running after the report, until somebody interrupts.
    pub keep: bool,
}

/// Why the demo could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine did not come up, or went away.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The capture could not be written.
    #[error("writing {}: {source}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What the parts share.
struct Stage<'a> {
    machine: &'a Machine,
    image: &'a Image,
}

impl Stage<'_> {
    /// Who is who by now.
    fn roster(&self) -> Roster {
        Roster::read(self.machine.journal(), &self.image.manifest)
    }
}

/// Builds, boots and shows everything. `Ok(true)` if all that was expected happened.
///
/// # Errors
/// [`DemoError`] when there is no machine to show, or it went away under our hands.
pub fn run(wanted: &Wanted) -> Result<bool, DemoError> {
    let image = build::image()?;
    let mut report = Report::on_screen();
    let machine = boot(&image, wanted)?;
    let stage = Stage { machine: &machine, image: &image };
    let failed = |source| DemoError::Capture { path: wanted.capture.clone(), source };
    let mut recorder = Recorder::create(&wanted.capture).map_err(failed)?;
    let pair = (&machine, &image.manifest);
    // The capture is worth most when something goes wrong: it is written as it happens.
    let (told, saved) = recorder::recorded(&mut recorder, pair, || tell(&mut report, &stage));
    told?;
    saved::show(&mut report, &wanted.capture, &saved.map_err(failed)?);
    if wanted.keep {
        keep(&mut report, &machine);
    }
    stop(&mut report, &machine)?;
    drop(machine);
    counted(&mut report, &image, wanted)?;
    Ok(report.finish())
}

/// The parts that the first machine shows.
fn tell<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    filters::show_boot(report, stage)?;
    filters::show_grants(report, stage);
    filters::show_bindings(report, stage);
    answers::show(report, stage)?;
    stations::show(report, stage)?;
    services::show(report, stage)?;
    web::show(report, stage)?;
    refusals::show(report, stage)?;
    stations::show_faulter(report, stage)?;
    books::show(report, stage)
}

fn boot(image: &Image, wanted: &Wanted) -> Result<Machine, MachineError> {
    let progress = Progress::spinner("booting");
    let mut options = wanted.machine.clone();
    options.words = format!("log={} trace", wanted.log);
    options.counting = false;
    let machine = Machine::boot(image, &options)?;
    progress.now(&format!("{:?}, {} MiB", options.board, options.memory_mib).to_lowercase());
    let took = machine.wait_ready()?;
    let log = machine.log().display().to_string();
    progress.done(&format!("ready after {} ms (serial log: {log})", took.as_millis()));
    Ok(machine)
}

fn keep<W: Write>(report: &mut Report<W>, machine: &Machine) {
    report.part("The machine keeps running");
    for port in [cast::ECHO_PORT, cast::BARE_PORT, cast::TALK_PORT] {
        if let Some(address) = machine.address(port) {
            report.line(format!("UDP port {port}: {address}"));
        }
    }
    if let Some(address) = machine.tcp_address(cast::HTTP_PORT) {
        report.line(format!("the web server: http://{address}/"));
    }
    if let Some(tap) = machine.tap() {
        let inside = format!("ip netns exec {}", tap.namespace());
        report.line(format!("from its network: `{inside} ping 10.0.2.15`"));
    }
    report.line("Ctrl-C ends it.");
    while machine.ended().is_none() {
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn stop<W: Write>(report: &mut Report<W>, machine: &Machine) -> Result<(), MachineError> {
    if machine.ended().is_some() {
        return Ok(());
    }
    report.part("Halt");
    let status = machine.halt(0)?;
    let detail = format!("{status} stands for code 0 of the guest");
    report.expect("the machine halts when init says so", guest_code(status) == Some(0), detail);
    Ok(())
}

/// A second boot, with instruction counting.
fn counted<W: Write>(
    report: &mut Report<W>,
    image: &Image,
    wanted: &Wanted,
) -> Result<(), MachineError> {
    let progress = Progress::spinner("booting again, counting instructions");
    let machine = Machine::boot(image, &counting_options(&wanted.machine, &wanted.log))?;
    machine.wait_ready()?;
    let rows = table(&machine, &image.manifest, |row| progress.now(row))?;
    progress.done("counted");
    counting::show(report, &rows);
    machine.halt(0)?;
    Ok(())
}

/// The same machine with its clock made of instructions, and nothing traced.
pub fn counting_options(machine: &Options, log: &str) -> Options {
    Options {
        counting: true,
        kvm: false,
        net: Net::User,
        words: format!("log={log} latency"),
        run: format!("{}-counting", machine.run),
        // Counting makes the guest's time as long as its work; boots are slower by a little.
        timeout: machine.timeout + limits::BOOT,
        ..machine.clone()
    }
}
