//! What a UDP echo costs: per packet in steady state, and as others want the processor, too.
//!
//! The exokernel paper's figure 2 again, with a Linux guest beside it on the same machine. Sluice
//! answers by an ASH or through a library OS, Linux in the card's driver (XDP, running the very
//! same ASH) or by a socket. Three measurements, each by one method on all sides:
//!
//! 1. [`steady`]: instructions per echo, everything that the guest runs, counted from the outside
//!    by a plugin of QEMU;
//! 2. the kernel's own count from receive interrupt to transmit kick (Sluice only, `-icount`);
//! 3. [`timed`]: round trips as the host sees them, in microseconds, with 1 to 32 others runnable.

mod plot;
mod storm;
mod table;

use std::path::PathBuf;

use crate::build::{self, BuildError, Image, cast};
use crate::demo::{self, Row};
use crate::limits;
use crate::linux::{Peer, PeerError, Task};
use crate::machine::{Counter, Machine, MachineError, Options};

pub use plot::{Series, plot};
pub use storm::{Trips, storm, trips};
pub use table::{Measured, report};

/// Port of the Linux guest's echo.
const LINUX_PORT: u16 = 7;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Sluice, in the kernel.
    Ash,
    /// Sluice, in a library OS.
    Library,
    /// Linux, in the card's driver.
    Xdp,
    /// Linux, by a socket.
    Socket,
}

/// All of them, in the tables' order.
pub const ALL: [Who; 4] = [Who::Ash, Who::Library, Who::Xdp, Who::Socket];

impl Who {
    /// As tables name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Who::Ash => "Sluice, ASH",
            Who::Library => "Sluice, library OS",
            Who::Xdp => "Linux, XDP_TX",
            Who::Socket => "Linux, socket",
        }
    }

    /// Where it answers.
    pub(crate) fn port(self) -> u16 {
        match self {
            Who::Ash => cast::ECHO_PORT,
            Who::Library => cast::TALK_PORT,
            Who::Xdp | Who::Socket => LINUX_PORT,
        }
    }

    fn task(self, spinning: u32) -> Option<Task> {
        match self {
            Who::Ash | Who::Library => None,
            Who::Xdp => Some(Task::Xdp(spinning)),
            Who::Socket => Some(Task::Socket(spinning)),
        }
    }
}

/// Guest instructions per echo, all that the guest ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// Who answered.
    pub who: Who,
    /// One request at a time: ring 3 and kernel.
    pub alone: (u64, u64),
    /// [`limits::WINDOW`] at a time.
    pub window: (u64, u64),
}

/// Round trips with so many others runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Who answered.
    pub who: Who,
    /// Runnable beside it.
    pub runnable: u32,
    /// What they took.
    pub trips: Trips,
}

/// The machines of one run: Sluice's image, and a Linux guest where one is to be had.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    /// What Sluice boots.
    pub image: &'a Image,
    /// The machine.
    pub options: &'a Options,
    /// The Linux guest.
    pub peer: Option<&'a Peer>,
}

impl Stage<'_> {
    /// Boots who is asked for; `None` without a Linux guest.
    fn boot(
        &self,
        who: Who,
        spinning: u32,
        options: &Options,
    ) -> Result<Option<Machine>, PeerError> {
        if let Some(task) = who.task(spinning) {
            return self.peer.map(|peer| peer.serving(task, options)).transpose();
        }
        let machine = Machine::boot(self.image, options)?;
        machine.wait_ready()?;
        demo::wait_bound(&machine, &self.image.manifest)?;
        Ok(Some(machine))
    }

    /// Instructions per echo of everybody.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn steady(&self, progress: impl Fn(&str)) -> Result<Vec<Steady>, PeerError> {
        let plugin = plugin()?;
        let mut all = Vec::new();
        for who in ALL {
            progress(who.name());
            let file = self.options.file("instructions");
            let counter = Counter { plugin: plugin.clone(), file, each: false };
            let options = Options { counter: Some(counter.clone()), ..self.options.clone() };
            let Some(machine) = self.boot(who, 0, &options)? else { continue };
            let per_echo = |window| -> Result<(u64, u64), PeerError> {
                storm(&machine, who.port(), window, limits::WARMING)?;
                let before = read(&counter)?;
                storm(&machine, who.port(), window, limits::AVERAGED)?;
                let after = read(&counter)?;
                let each = |at: usize| (after[at] - before[at]) / limits::AVERAGED as u64;
                Ok((each(0), each(1)))
            };
            let (alone, window) = (per_echo(1)?, per_echo(limits::WINDOW)?);
            all.push(Steady { who, alone, window });
        }
        Ok(all)
    }

    /// Sluice's instructions from receive interrupt to transmit kick.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn counted(&self, progress: impl Fn(&str)) -> Result<Vec<Row>, MachineError> {
        let machine = Machine::boot(self.image, &demo::counting_options(self.options, "info"))?;
        machine.wait_ready()?;
        demo::table_of(&machine, &self.image.manifest, &limits::LOADED, progress)
    }

    /// Round trips of everybody, in time.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn timed(&self, progress: impl Fn(&str)) -> Result<Vec<Timed>, PeerError> {
        let mut all = Vec::new();
        // One machine does for Sluice: it starts environments when asked.
        if let Some(machine) = self.boot(Who::Ash, 0, self.options)? {
            let mut running = 0;
            for runnable in limits::LOADED {
                progress(&format!("Sluice, {runnable} runnable"));
                machine.command(&format!("start spin {}", runnable - running))?;
                running = runnable;
                for who in [Who::Ash, Who::Library] {
                    let trips = trips(&machine, who.port())?;
                    all.push(Timed { who, runnable, trips });
                }
            }
        }
        for who in [Who::Xdp, Who::Socket] {
            for runnable in limits::LOADED {
                progress(&format!("{}, {runnable} runnable", who.name()));
                let Some(machine) = self.boot(who, runnable, self.options)? else { continue };
                let trips = trips(&machine, who.port())?;
                all.push(Timed { who, runnable, trips });
            }
        }
        Ok(all)
    }
}

/// Builds the plugin that counts; its file.
///
/// # Errors
/// [`BuildError`] as of any build.
pub fn plugin() -> Result<PathBuf, BuildError> {
    /// What QEMU runs on.
    const HOST: &str = "x86_64-unknown-linux-gnu";
    build::cargo_program("sluice-count-instructions", "count_instructions", HOST, "")
}

/// What was counted so far: ring 3, kernel.
///
/// # Errors
/// [`BuildError::File`].
pub(crate) fn read(counter: &Counter) -> Result<[u64; 2], BuildError> {
    let failed = |source| BuildError::File { path: counter.file.clone(), source };
    let bytes = std::fs::read(&counter.file).map_err(failed)?;
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|it| it.try_into().ok());
        bytes.map(u64::from_ne_bytes).unwrap_or_default()
    };
    Ok([word(0), word(8)])
}
