//! `sluice evidence http`: what a request costs here and with nginx on Linux, in guest
//! instructions.
//!
//! Two guests on the same board, one after the other: Sluice with its web server as a library OS,
//! and the Linux guest with the distribution's nginx ([`crate::linux::nginx`]) and the same files.
//! The same client asks both over the same kind of card ([`client`]), checks every byte, and reads
//! the counters of QEMU's plugin before and after. Everything that the guest ran is counted:
//! handlers, interrupts, timers, idling.

mod client;
mod table;

use crate::build::cast::HTTP_PORT;
use crate::limits;
use crate::linux::{Peer, PeerError, Task};
use crate::machine::{Counter, Machine, Options};
use crate::roundtrip::{plugin, read};

pub use client::{FILES, File, WAYS, Way};
pub use table::report;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The library OS.
    Sluice,
    /// nginx on Linux.
    Nginx,
}

/// Guest instructions per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who served.
    pub who: Who,
    /// What.
    pub file: File,
    /// How it was asked for.
    pub way: Way,
    /// In ring 3.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
}

impl Row {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.user + self.kernel
    }
}

/// Measures the library OS, and nginx where a guest with one is to be had.
///
/// # Errors
/// [`PeerError`].
pub fn run(
    image: &crate::build::Image,
    options: &Options,
    nginx: Option<&Peer>,
    progress: impl Fn(&str),
) -> Result<Vec<Row>, PeerError> {
    let plugin = plugin()?;
    let counted = |name: &str| {
        let counter = Counter { plugin: plugin.clone(), file: options.file(name), each: false };
        Options { counter: Some(counter), ..options.clone() }
    };
    progress("Sluice");
    let ours = counted("http-instructions");
    let machine = Machine::boot(image, &ours)?;
    machine.wait_ready()?;
    crate::demo::wait_bound(&machine, &image.manifest)?;
    machine.command("start http")?;
    machine.wait_serial(&format!("port {HTTP_PORT} serves"), limits::CONTROL)?;
    let mut rows = rows(&machine, &ours, Who::Sluice)?;
    machine.halt(0)?;
    if let Some(nginx) = nginx {
        progress("nginx");
        let theirs = counted("nginx-instructions");
        let machine = nginx.serving(Task::Web, &theirs)?;
        rows.extend(self::rows(&machine, &theirs, Who::Nginx)?);
    }
    Ok(rows)
}

fn rows(machine: &Machine, options: &Options, who: Who) -> Result<Vec<Row>, PeerError> {
    let Some(counter) = &options.counter else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for file in FILES {
        for way in WAYS {
            let mut counts = [[0; 2]; 2];
            let asked = client::ask(machine, file, way, |when| {
                if let Ok(now) = read(counter) {
                    counts[when] = now;
                }
            });
            let requests =
                asked.map_err(|error| client::failed(machine, who, file, way, &error))?;
            let each = |ring: usize| (counts[1][ring] - counts[0][ring]) / requests;
            rows.push(Row { who, file, way, user: each(0), kernel: each(1) });
        }
    }
    Ok(rows)
}
