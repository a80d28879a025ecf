//! A Linux guest on the same machine: what stands beside Sluice's figures.
//!
//! A distribution's kernel ([`kernel`]), a program of this tree as its whole initial file system
//! ([`program`], `initramfs`), booted by the same [`Machine`] with the same board, processor,
//! memory and devices as Sluice. The kernel's mitigations and hardening are off ([`WORDS`]), which
//! makes it cheaper than what people run; whoever prints a comparison says so.

mod initramfs;
mod kernel;
mod nginx;
mod program;

use std::path::PathBuf;

use crate::build::{self, BuildError, Image};
use crate::limits;
use crate::machine::{Machine, MachineError, Options};
use crate::wire::frames::{GUEST_IP, HOST_IP, HOST_MAC, Mac};

/// What the guest's kernel is told, beside what to run. `no_timer_check`: on a loaded host the
/// emulated timer can be late enough for its check to fail. `clearcpuid`: it copies and fills with
/// `rep movsq` in the place of `rep movsb`, of which QEMU counts every round.
pub const WORDS: &str = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable nokaslr \
                         mitigations=off init_on_alloc=0 randomize_kstack_offset=off audit=0 \
                         clearcpuid=erms,fsrm";

/// What the guest says when it answers packets.
const READY: &str = "linux ready";
/// What it says when it has measured everything.
const DONE: &str = "linux done";
/// What it says when something went wrong.
const FAILED: &str = "linux failed";

/// Everything that it takes to boot the guest.
#[derive(Clone, Debug)]
pub struct Peer {
    kernel: kernel::Unpacked,
    program: PathBuf,
    more: Vec<initramfs::Entry>,
}

/// Why there is no guest, or no figures from it.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Something is missing, or did not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine did not come up, or went away.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The guest's program failed.
    #[error("the Linux guest: {said}")]
    Guest {
        /// What it said last.
        said: String,
    },
}

/// What the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Measures the papers' primitives.
    Papers,
    /// Echoes UDP port 7 with a socket, beside so many processes that only run.
    Socket(u32),
    /// Echoes UDP port 7 in the card's driver, by the ASH that Sluice runs, beside so many.
    Xdp(u32),
    /// Serves HTTP by nginx.
    Web,
}

impl Task {
    fn words(self) -> String {
        let net = || {
            let [ours, theirs] = [GUEST_IP, HOST_IP].map(std::net::Ipv4Addr::from);
            format!("{ours} {theirs} {}", Mac(HOST_MAC))
        };
        match self {
            Task::Papers => "papers".to_owned(),
            Task::Socket(spinning) => format!("udp {} {spinning}", net()),
            Task::Xdp(spinning) => format!("xdp {} {spinning}", net()),
            Task::Web => format!("web {} 0", net()),
        }
    }
}

/// Finds the kernel, or gets it (saying so), and builds the program.
///
/// # Errors
/// [`BuildError::Missing`] with the exact command to run, or what the build said.
pub fn peer() -> Result<Peer, BuildError> {
    let kernel = kernel::ensure()?;
    Ok(Peer { kernel, program: program::build()?, more: Vec::new() })
}

/// The same with nginx in it.
///
/// # Errors
/// As [`peer`].
pub fn web_peer() -> Result<Peer, BuildError> {
    let more = nginx::files()?;
    Ok(Peer { more, ..peer()? })
}

impl Peer {
    /// The kernel's release, as `uname -r` has it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.kernel.release
    }

    /// Boots it on that machine; returns as soon as QEMU runs.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn boot(&self, task: Task, options: &Options) -> Result<Machine, PeerError> {
        let modules = if task == Task::Papers { &[] } else { self.kernel.modules.as_slice() };
        let path = options.file("linux.cpio");
        let initrd = initramfs::write(&self.program, modules, &self.more, &path)?;
        let image = Image {
            kernel: self.kernel.image.clone(),
            initrd,
            manifest: abi::start::Manifest::default(),
        };
        let words = format!("{WORDS} -- {}", task.words());
        let timeout = options.timeout + limits::LINUX;
        let options = Options { words, timeout, ..options.clone() };
        Ok(Machine::boot(&image, &options)?)
    }

    /// Boots it and gives the lines that it measured.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn papers(&self, options: &Options) -> Result<Vec<String>, PeerError> {
        let machine = self.boot(Task::Papers, options)?;
        let lines = wait_for(&machine, DONE, options)?;
        Ok(lines.into_iter().filter(|line| line.contains('=')).collect())
    }

    /// Boots it and waits until it answers packets.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn serving(&self, task: Task, options: &Options) -> Result<Machine, PeerError> {
        let machine = self.boot(task, options)?;
        wait_for(&machine, READY, options)?;
        Ok(machine)
    }
}

/// Waits until the guest says `word`; what it said until then.
fn wait_for(machine: &Machine, word: &str, options: &Options) -> Result<Vec<String>, PeerError> {
    let during = format!("waiting for the Linux guest to say `{word}`");
    let over = |line: &String| line.starts_with(word) || line.starts_with(FAILED);
    let lines = machine.wait(&during, options.timeout + limits::LINUX, || {
        let lines = said(&machine.serial());
        lines.iter().any(over).then_some(lines)
    })?;
    match lines.iter().find(|line| line.starts_with(FAILED)) {
        Some(said) => Err(PeerError::Guest { said: said.clone() }),
        None => Ok(lines),
    }
}

/// The program's own lines on the serial line; the kernel may have put a time in front of them.
fn said(serial: &str) -> Vec<String> {
    // The last line may still be on its way.
    let whole = serial.rfind('\n').and_then(|end| serial.get(..end)).unwrap_or_default();
    let lines = whole.lines().filter_map(|line| line.find("linux ").map(|at| line.split_at(at).1));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// Where downloads are kept between runs and between copies of the tree.
fn cache() -> PathBuf {
    let under = |name: &str, rest: &str| {
        let place = std::env::var_os(name).filter(|it| !it.is_empty())?;
        Some(PathBuf::from(place).join(rest).join("sluice"))
    };
    under("XDG_CACHE_HOME", "")
        .or_else(|| under("HOME", ".cache"))
        .unwrap_or_else(|| build::workspace().join("target/sluice/cache"))
}

#[cfg(test)]
mod tests {
    use super::{Task, said};

    #[test]
    fn the_programs_lines_are_told_from_the_kernels() {
        let serial = "[    0.1] Booting\r\nlinux call null=96\r\n[ 1.0] x: linux done\r\nlinux fa";
        assert_eq!(said(serial), ["linux call null=96", "linux done"]);
        assert!(said("linux call nu").is_empty());
    }

    #[test]
    fn the_guest_is_told_who_asks() {
        assert_eq!(Task::Papers.words(), "papers");
        assert_eq!(Task::Socket(3).words(), "udp 10.0.2.15 10.0.2.99 52:54:00:00:00:99 3");
        assert!(Task::Xdp(0).words().starts_with("xdp 10.0.2.15 "));
    }
}
