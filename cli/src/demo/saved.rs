//! The capture file: every frame on the wire, every verdict, every witness.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use abi::record::{Record, Verdict};

use super::Stage;
use crate::capture::{Capture, Interface};
use crate::report::Report;
use crate::roster::Roster;
use crate::wire::Side;

/// What was written.
pub(super) struct Saved {
    frames: usize,
    verdicts: usize,
    witnesses: usize,
    unkept: u64,
}

/// Writes the capture.
///
/// # Errors
/// The file's.
pub(super) fn write(path: &Path, stage: &Stage<'_>) -> io::Result<Saved> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut capture = Capture::new(BufWriter::new(File::create(path)?))?;
    let wire = stage.machine.wire();
    let mut saved = Saved { frames: 0, verdicts: 0, witnesses: 0, unkept: wire.unkept() };
    for passed in wire.since(0) {
        let comment = match passed.side {
            Side::Us => "sent raw by sluice",
            Side::Guest => "sent by the guest",
            Side::Outside => "",
        };
        capture.packet(Interface::Wire, passed.at, &passed.frame, comment)?;
        saved.frames += 1;
    }
    let roster = stage.roster();
    for entry in stage.machine.journal().since(0) {
        match &entry.record {
            Record::Packet { verdict, frame, .. } => {
                let comment = verdict_text(&roster, *verdict);
                capture.packet(Interface::Kernel, entry.at, frame, &comment)?;
                saved.verdicts += 1;
            }
            Record::Refused { environment, refusal, .. } => {
                let Some(witness) = &refusal.witness else { continue };
                let who = roster.environment(*environment);
                let comment =
                    format!("witness: {who}: {:?}: {}", refusal.code, refusal.explanation);
                capture.packet(Interface::Witness, entry.at, witness, &comment)?;
                saved.witnesses += 1;
            }
            _ => {}
        }
    }
    capture.finish()?;
    Ok(saved)
}

fn verdict_text(roster: &Roster, verdict: Verdict) -> String {
    match verdict {
        Verdict::Answered(id) => format!("answered by the ASH of {}", roster.binding(id)),
        Verdict::Delivered(id) => format!("delivered to {}", roster.binding(id)),
        Verdict::Dropped(reason, None) => format!("dropped[{}]", reason.name()),
        Verdict::Dropped(reason, Some(id)) => {
            format!("dropped[{}] at {}", reason.name(), roster.binding(id))
        }
        Verdict::Sent(id) => format!("sent for {}", roster.binding(id)),
        Verdict::Refused(reason, id) => {
            format!("refused[{}]: transmission of {}", reason.name(), roster.binding(id))
        }
    }
}

/// Says what was written and checks that nothing is missing.
pub(super) fn show<W: Write>(report: &mut Report<W>, path: &Path, saved: &Saved) {
    report.part("Capture");
    report.line(format!(
        "{}: {} frames, {} verdicts, {} witnesses",
        path.display(),
        saved.frames,
        saved.verdicts,
        saved.witnesses
    ));
    let whole = saved.frames > 0 && saved.witnesses > 0 && saved.unkept == 0;
    let detail =
        if saved.unkept > 0 { format!("{} too many", saved.unkept) } else { String::new() };
    report.expect("the capture holds every frame and the witnesses", whole, detail);
}
