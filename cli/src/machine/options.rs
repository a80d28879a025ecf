//! What kind of machine is wanted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Forward, Protocol};
use crate::build::cast::{BULK_PORT, HTTP_PORT};
use crate::limits;

/// Which board QEMU plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// A PC with PCI Express; the card is a PCI function.
    #[default]
    Q35,
    /// A board without firmware tables; the card is virtio-mmio.
    Microvm,
}

/// What the guest's card is plugged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Net {
    /// QEMU's user-mode stack: no privilege needed, the guest reaches nothing but us.
    #[default]
    User,
    /// A tap device in a network namespace of its own: root only, for real clients.
    Tap,
}

/// A plugin of QEMU, and the file that it counts into.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The plugin.
    pub plugin: PathBuf,
    /// Eight bytes for ring 3, eight for the kernel, in the host's byte order.
    pub file: PathBuf,
    /// Whether the kernel's addresses are counted one by one as well.
    pub each: bool,
}

/// All that a boot can vary in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The emulator.
    pub qemu: PathBuf,
    /// The board.
    pub board: Board,
    /// The network.
    pub net: Net,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Use KVM instead of emulation.
    pub kvm: bool,
    /// Count instructions: the guest's clock is its retired instructions, one per nanosecond.
    pub counting: bool,
    /// Counts instructions from the outside, into a file, with time as it is.
    pub counter: Option<Counter>,
    /// Words for the kernel's command line.
    pub words: String,
    /// From start to ready, at most.
    pub timeout: Duration,
    /// UDP ports of the guest that the host can reach.
    pub forwards: Vec<(u16, Option<u16>)>,
    /// TCP ports of the guest that the host can reach.
    pub tcp: Vec<(u16, Option<u16>)>,
    /// What a frame of the guest's takes on the wire: nothing, or what makes the card fall behind.
    pub frame_time: Duration,
    /// Where logs go.
    pub directory: PathBuf,
    /// Makes the log files of this run distinct.
    pub run: String,
}

impl Default for Options {
    fn default() -> Options {
        static RUN: AtomicU32 = AtomicU32::new(0);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        Options {
            qemu: qemu_program(),
            board: Board::Q35,
            net: Net::User,
            memory_mib: limits::MEMORY_MIB,
            kvm: false,
            counting: false,
            counter: None,
            words: "log=info".to_owned(),
            timeout: limits::BOOT,
            forwards: vec![(7, None), (9, None), (7777, None)],
            tcp: vec![(HTTP_PORT, None), (BULK_PORT, None)],
            frame_time: Duration::ZERO,
            directory: crate::build::workspace().join("target/sluice"),
            run: format!("{}-{run}", std::process::id()),
        }
    }
}

impl Options {
    /// A log file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}-{name}", self.run))
    }
}

/// The emulator: `SLUICE_QEMU`, or the usual name.
pub fn qemu_program() -> PathBuf {
    std::env::var_os("SLUICE_QEMU").map_or_else(|| "qemu-system-x86_64".into(), PathBuf::from)
}

impl Forward {
    /// The part of QEMU's `user` option that makes this forward.
    pub fn rule(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        format!("hostfwd={protocol}:127.0.0.1:{}-:{}", self.host, self.guest)
    }
}
