//! The capture file: every frame on the wire, every verdict, every witness.

use std::io::Write;
use std::path::Path;

use crate::recorder::Written;
use crate::report::Report;

/// Says what was written and checks that nothing is missing.
pub(super) fn show<W: Write>(report: &mut Report<W>, path: &Path, saved: &Written) {
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
