//! A machine made out of nothing: what the kernel is handed, and the small things around it.

use super::devices::{Console, Nic};
use super::memory::FramePool;

/// Everything that the kernel is handed when it starts.
pub struct Boot {
    /// The kernel command line.
    pub command_line: &'static str,
    /// The initial file, or nothing.
    pub initrd: &'static [u8],
    /// The free frames.
    pub frames: FramePool,
    /// Where generated code lives.
    pub code: CodeWindow,
    /// The network card, if there is one.
    pub nic: Option<Nic>,
    /// The framed channel to the host, if there is one.
    pub console: Option<Console>,
    /// Seeds that differ from boot to boot on bare metal (not here).
    pub entropy: [u64; 4],
    /// Unix time at boot, in nanoseconds.
    pub wall_clock_ns: u64,
}

impl Boot {
    /// A machine with so many free frames, a card and a console.
    pub fn host(frames: usize) -> Self {
        Self {
            command_line: "",
            initrd: &[],
            frames: FramePool::new(frames),
            code: CodeWindow::default(),
            nic: Some(Nic::new()),
            console: Some(Console::default()),
            entropy: [0x5eed, 1, 2, 3],
            wall_clock_ns: 1_750_000_000_000_000_000,
        }
    }
}

/// Where generated code lives.
pub type CodeWindow = runtime::native::HostPages;

/// What each processor keeps for itself.
pub struct Cpu {
    number: u32,
}

impl Cpu {
    /// Its number, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Faults that went straight to ring 3's handlers: none here, all come out as events.
    pub fn fault_upcalls(&self) -> u64 {
        0
    }
}

/// The processor that this runs on. There is one.
pub fn this_cpu() -> &'static Cpu {
    static CPU: Cpu = Cpu { number: 0 };
    &CPU
}

/// Text to the serial line: standard error, here.
pub mod serial {
    /// Prints text.
    pub fn print(text: core::fmt::Arguments<'_>) {
        eprint!("{text}");
    }
}

/// Names for addresses in backtraces: the host has its own.
pub mod symbols {
    /// Sets the table: text, one `hexaddress name` per line, sorted.
    pub fn set(_table: &'static [u8]) {}
}
