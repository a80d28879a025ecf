//! One machine in QEMU: booted, watched, talked to, and gone when its handle is.
//!
//! A [`Machine`] joins the process ([`keeper`]), the framed channel ([`crate::channel`]), the raw
//! wire ([`crate::wire`]), the forwarded UDP ports and the serial log. Whoever waits for something
//! waits through it: a machine that dies ends every wait at once, with the tail of its log.

mod arguments;
mod keeper;
mod options;
mod ports;
pub mod sockets;
mod talk;
pub mod tap;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use abi::control::Key;

use crate::build::Image;
use crate::channel::Journal;
use crate::limits;
use crate::wire::{Gate, Wire, frames};

pub use keeper::kill_all;
pub use options::{Board, Counter, Net, Options, qemu_program};
pub use ports::{Forward, PortError, Protocol};

/// What the serial log shows once `init` has started everything.
pub const READY: &str = "init: ready";

/// QEMU finds a hub without a card odd; ours joins a stack to a cable.
const KNOWN_WARNING: &str = "hub 0 with no nics";

/// A running machine. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Machine {
    keeper: keeper::Keeper,
    journal: Journal,
    wire: Wire,
    forwards: Vec<Forward>,
    tap: Option<tap::Tap>,
    log: PathBuf,
    errors: PathBuf,
    started: Instant,
    boot_limit: Duration,
    /// Seals commands to `init`, and numbers them.
    key: Key,
    commands: AtomicU64,
    _sockets: tempfile::TempDir,
}

/// Why a machine is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A host port that was asked for.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The network namespace could not be set up.
    #[error(transparent)]
    Tap(#[from] tap::TapError),
    /// A socket or log file could not be made, or QEMU could not be started.
    #[error("{what}: {source}")]
    Setup {
        /// What was being done.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// QEMU ended before it was asked to.
    #[error(
        "the machine died while {during} ({}). Serial log: {}\n{tail}",
        exit_text(*.status), log.display()
    )]
    Died {
        /// What was being waited for.
        during: String,
        /// QEMU's exit status.
        status: ExitStatus,
        /// The serial log.
        log: PathBuf,
        /// Its last lines, and QEMU's own complaints.
        tail: String,
    },
    /// `init` refused a command.
    #[error("init answered `{answer}` to `{command}`")]
    Command {
        /// The command.
        command: String,
        /// The answer, without the command.
        answer: String,
    },
    /// Nothing happened in time.
    #[error("nothing came within {within:?} while {during}. Serial log: {}\n{tail}", log.display())]
    Hung {
        /// What was being waited for.
        during: String,
        /// For how long.
        within: Duration,
        /// The serial log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
}

/// QEMU's exit status as people and the kernel mean it: isa-debug-exit makes `2 * code + 1` of it.
pub fn guest_code(status: ExitStatus) -> Option<u8> {
    let code = status.code()?;
    (code % 2 == 1).then(|| u8::try_from(code / 2).ok()).flatten()
}

fn exit_text(status: ExitStatus) -> String {
    match guest_code(status) {
        Some(0x7f) => "the kernel stopped itself: a fault or a panic, code 0x7f".to_owned(),
        Some(code) if code > 0 => format!("the guest stopped it with code {code:#x}"),
        _ => format!("QEMU ended: {status}"),
    }
}

impl Machine {
    /// Starts QEMU on the image. Returns as soon as it runs; see [`Machine::wait_ready`].
    ///
    /// # Errors
    /// [`MachineError::Port`], [`MachineError::Tap`] or [`MachineError::Setup`].
    pub fn boot(image: &Image, options: &Options) -> Result<Machine, MachineError> {
        let setup = |what: &str| {
            let what = what.to_owned();
            move |source| MachineError::Setup { what, source }
        };
        std::fs::create_dir_all(&options.directory).map_err(setup("making the run directory"))?;
        let log = options.file("serial.log");
        let errors = options.file("qemu.log");
        std::fs::write(&log, "").map_err(setup("making the serial log"))?;
        let complaints = std::fs::File::create(&errors).map_err(setup("making QEMU's log"))?;
        let sockets = sockets::directory().map_err(setup("making a directory for sockets"))?;
        let gate = match options.net {
            Net::User => Gate::Services {
                udp: options.forwards.iter().map(|f| f.0).collect(),
                tcp: options.tcp.iter().map(|f| f.0).collect(),
            },
            Net::Tap => Gate::Open,
        };
        let wire = Wire::bind(sockets.path(), gate, options.frame_time)
            .map_err(setup("binding the raw wire"))?;
        let channel = UnixListener::bind(sockets.path().join(arguments::CHANNEL_SOCKET))
            .map_err(setup("binding the framed channel"))?;
        let journal = Journal::accept(channel).map_err(setup("listening for the machine"))?;
        let tap = (options.net == Net::Tap).then(tap::Tap::up).transpose()?;
        let forwards = ports::choose(&options.forwards, &options.tcp)?;
        let key = key().map_err(setup("drawing a key for the control channel"))?;
        let words = format!("{} {}", options.words, key.word());
        let options = &Options { words, ..options.clone() };
        let arguments = arguments::arguments(image, options, &forwards, sockets.path(), &log);
        let mut command = keeper::bound_to_us(&options.qemu, tap.as_ref().map(tap::Tap::namespace));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        write_command(&options.file("qemu.command"), &command);
        let keeper = keeper::Keeper::start(command)
            .map_err(setup(&format!("starting {}", options.qemu.display())))?;
        Ok(Machine {
            keeper,
            journal,
            wire,
            forwards,
            tap,
            log,
            errors,
            started: Instant::now(),
            boot_limit: options.timeout,
            key,
            commands: AtomicU64::new(0),
            _sockets: sockets,
        })
    }

    /// Waits until `init` says that everything runs; returns how long that took.
    ///
    /// # Errors
    /// [`MachineError::Died`] and [`MachineError::Hung`].
    pub fn wait_ready(&self) -> Result<Duration, MachineError> {
        self.wait_serial(READY, self.boot_limit)?;
        Ok(self.started.elapsed())
    }

    /// Waits until the serial log holds `text`.
    ///
    /// # Errors
    /// [`MachineError::Died`] and [`MachineError::Hung`].
    pub fn wait_serial(&self, text: &str, within: Duration) -> Result<(), MachineError> {
        self.wait(&format!("waiting for `{text}` on the serial line"), within, || {
            self.serial().contains(text).then_some(())
        })
    }

    /// Waits until `look` finds what it looks for; `during` says what that is.
    ///
    /// # Errors
    /// [`MachineError::Died`] and [`MachineError::Hung`].
    pub fn wait<T>(
        &self,
        during: &str,
        within: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, MachineError> {
        let deadline = Instant::now() + within;
        loop {
            // The end is looked at first: what happened before it must still be found.
            let ended = self.keeper.ended();
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Some(status) = ended {
                let (log, tail) = (self.log.clone(), self.tail());
                return Err(MachineError::Died { during: during.to_owned(), status, log, tail });
            }
            if Instant::now() >= deadline {
                let (log, tail) = (self.log.clone(), self.tail());
                return Err(MachineError::Hung { during: during.to_owned(), within, log, tail });
            }
            std::thread::sleep(limits::POLL);
        }
    }

    /// Waits for the machine to stop by itself; returns QEMU's status.
    ///
    /// # Errors
    /// [`MachineError::Hung`].
    pub fn wait_end(&self, within: Duration) -> Result<ExitStatus, MachineError> {
        self.wait("waiting for the machine to stop", within, || self.keeper.ended())
    }

    /// QEMU's status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.keeper.ended()
    }

    /// QEMU's process id.
    pub fn process(&self) -> u32 {
        self.keeper.process()
    }

    /// A command to `init` in a frame that `init` obeys once.
    pub fn sealed(&self, text: &str) -> Vec<u8> {
        let number = self.commands.fetch_add(1, Ordering::Relaxed) + 1;
        frames::sealed(&self.key, number, text)
    }

    /// What came over the framed channel.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The raw wire.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Where a host socket reaches that UDP port of the guest.
    pub fn address(&self, guest_port: u16) -> Option<SocketAddr> {
        self.reach(Protocol::Udp, guest_port)
    }

    /// Where a host socket reaches that TCP port of the guest.
    pub fn tcp_address(&self, guest_port: u16) -> Option<SocketAddr> {
        self.reach(Protocol::Tcp, guest_port)
    }

    fn reach(&self, protocol: Protocol, guest_port: u16) -> Option<SocketAddr> {
        if self.tap.is_some() {
            return Some(SocketAddrV4::new(frames::GUEST_IP.into(), guest_port).into());
        }
        let is = |f: &&Forward| f.protocol == protocol && f.guest == guest_port;
        let forward = self.forwards.iter().find(is)?;
        Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, forward.host).into())
    }

    /// The namespace with the machine's network, under `--net tap`.
    pub fn tap(&self) -> Option<&tap::Tap> {
        self.tap.as_ref()
    }

    /// The serial log's path.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The serial log so far. What is no UTF-8 in it is replaced.
    pub fn serial(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the serial log, and QEMU's own complaints.
    fn tail(&self) -> String {
        let serial = self.serial();
        let lines: Vec<&str> = serial.lines().collect();
        let from = lines.len().saturating_sub(limits::TAIL_LINES);
        let mut tail = lines[from..].iter().map(|line| format!("    {line}\n")).collect::<String>();
        let complaints = std::fs::read(&self.errors).unwrap_or_default();
        for line in String::from_utf8_lossy(&complaints).lines() {
            if line.ends_with(KNOWN_WARNING) {
                continue;
            }
            tail.push_str(&format!("    qemu: {line}\n"));
        }
        tail
    }
}

/// A key of the system's randomness.
fn key() -> std::io::Result<Key> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Key::new(bytes))
}

/// Kept beside the logs, so that a person can run the same machine again.
fn write_command(path: &Path, command: &Command) {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push_str(&format!(" '{}'", argument.to_string_lossy()));
    }
    text.push('\n');
    // Only a convenience: a run does not fail over it.
    let _ = std::fs::write(path, text);
}
