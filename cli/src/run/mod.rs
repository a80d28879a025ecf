//! `sluice run NAME`: one's own library OS on a machine, until Ctrl-C.
//!
//! Read [`run`] from top to bottom. The machine holds `netd` and that library OS; the ports of the
//! latter are forwarded from the host, under their own numbers where those are free. What it says
//! comes out under its name, and so does how it ended. An interruption is an ordinary end: the
//! machine halts, the capture is whole, nothing stays behind.

pub mod log;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use abi::record::Record;
use abi::start::State;

use crate::build::{self, BuildError, Image, Project};
use crate::interrupt::Patience;
use crate::machine::{Machine, MachineError, Options};
use crate::new;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::roster::Roster;
use log::{Line, Log};

/// Between two looks at what the machine has said.
const PERIOD: Duration = Duration::from_millis(50);

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A name in `apps/`, or a folder.
    pub what: String,
    /// The machine; ports that are given there stay as they are.
    pub machine: Options,
    /// Log level of the kernel.
    pub log: String,
    /// Everything on the serial line is shown.
    pub verbose: bool,
    /// Where every packet goes, if anywhere.
    pub capture: Option<PathBuf>,
}

/// Why it could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine did not come up, or went away.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The log could not be read, or the capture not written.
    #[error("{what}: {source}")]
    File {
        /// What was being done.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

pub(crate) fn file(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::File { what, source }
}

/// Builds, boots, shows, until it ends or somebody ends it. `Ok(true)` unless it failed by itself.
///
/// # Errors
/// [`RunError`].
pub fn run(wanted: &Wanted) -> Result<bool, RunError> {
    let project = Project::read(&new::folder(&wanted.what))?;
    let image = build::image_of(&project)?;
    let patience = Patience::new();
    let trace = if wanted.capture.is_some() { " trace" } else { "" };
    let words = format!("log={}{trace}", wanted.log);
    let machine = boot(&image, &project, &words, wanted)?;
    let mut follower = Follower::new(&machine, &image, wanted)?;
    for line in reachable(&machine, &project) {
        follower.say(&line);
    }
    let good = loop {
        follower.step()?;
        if patience.is_over() {
            break true;
        }
        if let Some((state, detail)) = follower.end_of(&project.name) {
            break state == State::Exited && detail == 0;
        }
        if machine.ended().is_some() {
            // Says how, with the tail of its log.
            machine.wait("running", Duration::ZERO, || None::<()>)?;
        }
        std::thread::sleep(PERIOD);
    };
    follower.farewell()?;
    Ok(good)
}

/// A machine with the project's ports forwarded.
///
/// # Errors
/// [`MachineError`].
pub(crate) fn boot(
    image: &Image,
    project: &Project,
    words: &str,
    wanted: &Wanted,
) -> Result<Machine, MachineError> {
    let progress = Progress::spinner("booting");
    let mut options = Options { words: words.to_owned(), ..wanted.machine.clone() };
    forward(&mut options, project);
    let machine = Machine::boot(image, &options)?;
    let took = machine.wait_ready()?;
    let log = machine.log().display().to_string();
    progress.done(&format!("ready after {} ms (serial log: {log})", took.as_millis()));
    Ok(machine)
}

/// The project's ports, each under its own number if the host has it free and nobody said
/// otherwise. Ports of ours that it did not ask for are nobody's.
fn forward(options: &mut Options, project: &Project) {
    let chosen = [std::mem::take(&mut options.forwards), std::mem::take(&mut options.tcp)].concat();
    let said = |guest: u16| chosen.iter().find(|it| it.0 == guest).and_then(|it| it.1);
    let udp = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port);
    let tcp = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port);
    let wishes = &project.wishes;
    options.forwards = wishes.udp.iter().map(|&p| (p, said(p).or_else(|| udp(p)))).collect();
    options.tcp = wishes.tcp.iter().map(|&p| (p, said(p).or_else(|| tcp(p)))).collect();
}

/// Where its ports are to be reached.
fn reachable(machine: &Machine, project: &Project) -> Vec<String> {
    let name = &project.name;
    let mut lines = Vec::new();
    for &port in &project.wishes.udp {
        if let Some(address) = machine.address(port) {
            lines.push(format!("UDP port {port} of {name} is {address}"));
        }
    }
    for &port in &project.wishes.tcp {
        if let Some(address) = machine.tcp_address(port) {
            lines.push(format!("TCP port {port} of {name} is {address}"));
        }
    }
    if let Some(tap) = machine.tap() {
        lines.push(format!("in the network namespace {}", tap.namespace()));
    }
    lines.push("Ctrl-C ends it.".to_owned());
    lines
}

/// Shows what a machine says and writes what passes.
pub struct Follower<'a> {
    machine: &'a Machine,
    image: &'a Image,
    log: Log,
    recorder: Option<Recorder>,
    roster: Roster,
    seen: usize,
    width: usize,
}

impl<'a> Follower<'a> {
    fn new(machine: &'a Machine, image: &'a Image, wanted: &Wanted) -> Result<Self, RunError> {
        let recorder = wanted.capture.as_deref().map(Recorder::create).transpose();
        let names = image.manifest.environments.iter().map(|it| it.name.len());
        Ok(Follower {
            machine,
            image,
            log: Log::new(machine.log(), wanted.verbose),
            recorder: recorder.map_err(file("making the capture"))?,
            roster: Roster::default(),
            seen: 0,
            width: names.max().unwrap_or(0).max("sluice".len()),
        })
    }

    /// Whatever is new.
    fn step(&mut self) -> Result<(), RunError> {
        if let Some(recorder) = &mut self.recorder {
            let written = recorder.pump(self.machine, &self.image.manifest);
            written.map_err(file("writing the capture"))?;
        }
        let upto = self.recorder.as_ref().map_or(usize::MAX, Recorder::records);
        let mut entries = self.machine.journal().since(self.seen);
        entries.truncate(upto.saturating_sub(self.seen));
        self.seen += entries.len();
        let mut later = Vec::new();
        for entry in entries {
            later.extend(log::told(&entry.record, &self.roster));
            if !matches!(entry.record, Record::Packet { .. }) {
                self.roster.take(entry.record, &self.image.manifest);
            }
        }
        // What it said itself stands before how it ended.
        let said = self.log.more(&self.roster).map_err(file("reading the serial log"))?;
        said.iter().chain(&later).for_each(|line| self.show(line));
        let frames = self.recorder.as_ref().map_or(self.machine.wire().mark(), Recorder::frames);
        self.machine.journal().forget(self.seen);
        self.machine.wire().forget(frames);
        Ok(())
    }

    fn show(&self, line: &Line) {
        // A reader that went away (a closed pipe) does not change what happened.
        let _ = writeln!(io::stdout(), "{:>1$} | {2}", line.who, self.width, line.text);
    }

    fn say(&self, text: &str) {
        self.show(&Line { who: "sluice".to_owned(), text: text.to_owned() });
    }

    fn end_of(&self, name: &str) -> Option<(State, u64)> {
        let (_, state, detail) = self.roster.environments.get(&self.roster.number(name)?)?;
        matches!(state, State::Exited | State::Faulted | State::Killed).then_some((*state, *detail))
    }

    /// Halts the machine, shows the rest and the books, completes the capture.
    fn farewell(mut self) -> Result<(), RunError> {
        let books = self.machine.books();
        let halted = self.machine.halt(0);
        self.step()?;
        if let Ok(books) = books {
            let (rx, tx) = (&books.rx, &books.tx);
            let dropped: u64 = rx.dropped.iter().sum();
            self.say(&format!(
                "{} packets received = {} answered in the kernel + {} delivered + {dropped} \
                 dropped + {} in flight; {} sent",
                rx.received, rx.answered, rx.delivered, rx.in_flight, tx.sent
            ));
        }
        self.say(if halted.is_ok() { "halted" } else { "ended" });
        Ok(())
    }
}
