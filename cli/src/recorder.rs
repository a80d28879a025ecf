//! A capture that is written as it happens.
//!
//! [`Recorder::pump`] writes what has passed on the wire and what the kernel has said since the
//! last time, in one piece of whole blocks: whoever kills this tool, the file is a capture up to
//! then. Each frame of the kernel's trace carries what became of it, by whose binding, under which
//! grant.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abi::record::{Record, Verdict};
use abi::start::Manifest;

use crate::capture::{Capture, Interface};
use crate::channel::Entry;
use crate::machine::Machine;
use crate::roster::Roster;
use crate::wire::{Passed, Side};

/// Between two writes, where a thread does them.
const PERIOD: Duration = Duration::from_millis(100);

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Frames on the wire.
    pub frames: usize,
    /// Frames of the kernel's trace.
    pub verdicts: usize,
    /// Packets that show why a proof failed.
    pub witnesses: usize,
    /// Frames that passed and could not be kept for writing.
    pub unkept: u64,
}

/// A capture in the making.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    capture: Capture<Vec<u8>>,
    roster: Roster,
    written: Written,
    wire: usize,
    journal: usize,
}

impl Recorder {
    /// Makes the file, and its folder.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let (file, capture) = (File::create(path)?, Capture::new(Vec::new())?);
        let (roster, written) = (Roster::default(), Written::default());
        Ok(Recorder { file, capture, roster, written, wire: 0, journal: 0 })
    }

    /// Writes what is new; how much there is by now.
    ///
    /// # Errors
    /// The file's.
    pub fn pump(&mut self, machine: &Machine, manifest: &Manifest) -> io::Result<Written> {
        let passed = machine.wire().since(self.wire);
        self.wire += passed.len();
        passed.iter().try_for_each(|passed| self.frame(passed))?;
        let entries = machine.journal().since(self.journal);
        self.journal += entries.len();
        entries.into_iter().try_for_each(|entry| self.entry(entry, manifest))?;
        self.written.unkept = machine.wire().unkept();
        self.file.write_all(&self.capture.take())?;
        Ok(self.written)
    }

    /// How many frames of the wire it has taken: what comes before may be forgotten.
    pub fn frames(&self) -> usize {
        self.wire
    }

    /// The same of the journal's records.
    pub fn records(&self) -> usize {
        self.journal
    }

    fn frame(&mut self, passed: &Passed) -> io::Result<()> {
        let comment = match passed.side {
            Side::Us => "sent raw by sluice",
            Side::Guest => "sent by the guest",
            Side::Outside => "",
        };
        self.written.frames += 1;
        self.capture.packet(Interface::Wire, passed.at, &passed.frame, comment)
    }

    fn entry(&mut self, entry: Entry, manifest: &Manifest) -> io::Result<()> {
        match &entry.record {
            Record::Packet { verdict, frame, .. } => {
                self.written.verdicts += 1;
                let comment = verdict_text(&self.roster, *verdict);
                self.capture.packet(Interface::Kernel, entry.at, frame, &comment)
            }
            Record::Refused { environment, refusal, .. } => {
                let Some(witness) = &refusal.witness else { return Ok(()) };
                self.written.witnesses += 1;
                let who = self.roster.environment(*environment);
                let why = &refusal.explanation;
                let comment = format!("witness: {who}: {:?}: {why}", refusal.code);
                self.capture.packet(Interface::Witness, entry.at, witness, &comment)
            }
            _ => {
                self.roster.take(entry.record, manifest);
                Ok(())
            }
        }
    }
}

/// Pumps on a thread of its own while `work` runs, and once more behind it.
///
/// # Errors
/// The file's; what `work` said comes back beside.
pub fn recorded<T>(
    recorder: &mut Recorder,
    (machine, manifest): (&Machine, &Manifest),
    work: impl FnOnce() -> T,
) -> (T, io::Result<Written>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pumping = scope.spawn(|| -> io::Result<Written> {
            while !over.load(Ordering::Relaxed) {
                recorder.pump(machine, manifest)?;
                std::thread::sleep(PERIOD);
            }
            recorder.pump(machine, manifest)
        });
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        let panicked = |_| Err(io::Error::other("the thread that writes the capture panicked"));
        (outcome, pumping.join().unwrap_or_else(panicked))
    })
}

/// What became of a packet, at whose hands.
pub fn verdict_text(roster: &Roster, verdict: Verdict) -> String {
    match verdict {
        Verdict::Answered(id) => format!("answered by the ASH of {}", roster.full_name(id)),
        Verdict::Delivered(id) => format!("delivered to {}", roster.full_name(id)),
        Verdict::Dropped(reason, None) => format!("dropped[{}]", reason.name()),
        Verdict::Dropped(reason, Some(id)) => {
            format!("dropped[{}] at {}", reason.name(), roster.full_name(id))
        }
        Verdict::Sent(id) => format!("sent for {}", roster.full_name(id)),
        Verdict::Refused(reason, id) => {
            format!("refused[{}]: transmission of {}", reason.name(), roster.full_name(id))
        }
    }
}
