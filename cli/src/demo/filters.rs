//! Who was granted what, and whose filters were accepted.

use std::io::Write;

use abi::record::Record;
use abi::start::Manifest;

use super::Stage;
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::report::Report;
use crate::roster::Roster;

/// Library OSes that must hold so many bindings before anything is asked of them.
const BOUND: [(&str, usize); 4] = [("netd", 2), ("echo", 1), ("bare", 1), ("talk", 1)];

/// Waits until everybody who is started at boot has bound what it needs.
///
/// # Errors
/// As [`Machine::wait`]; the message names who is late.
pub fn wait_bound(machine: &Machine, manifest: &Manifest) -> Result<(), MachineError> {
    for (name, count) in BOUND {
        machine.wait(&format!("waiting for {name} to bind its filters"), limits::RECORD, || {
            let roster = Roster::read(machine.journal(), manifest);
            (roster.bindings_of(name).count() >= count).then_some(())
        })?;
    }
    Ok(())
}

/// Waits for everybody and shows who runs.
pub(super) fn show_boot<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Boot");
    match wait_bound(stage.machine, &stage.image.manifest) {
        Ok(()) => {}
        // What is missing is told by name later; a machine that died is no machine to ask.
        Err(died @ MachineError::Died { .. }) => return Err(died),
        Err(late) => {
            report.expect("everybody binds its filters", false, late);
        }
    }
    let boot = stage.machine.journal().find(0, |record| match record {
        Record::Boot { frames, mac, tsc_hz, .. } => Some((*frames, *mac, *tsc_hz)),
        _ => None,
    });
    if let Some((frames, mac, hz)) = boot {
        let card = mac.map_or("no card".to_owned(), |m| crate::wire::frames::Mac(m).to_string());
        report.line(format!(
            "kernel up: {} MiB in {frames} frames, card {card}, clock {} MHz",
            frames / 256,
            hz / 1_000_000
        ));
    }
    report.expect("the kernel says on the framed channel that it is up", boot.is_some(), "");
    let running = stage.roster().environments;
    let names: Vec<&str> = running.values().map(|e| e.0.as_str()).collect();
    report.line(format!("library OSes: {}", names.join(", ")));
    report.expect(
        "at least four library OSes run beside each other",
        running.len() >= 4,
        running.len(),
    );
    Ok(())
}

/// The grants.
pub(super) fn show_grants<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) {
    report.part("Grants: who may receive what (programs, proven inside their parent)");
    let roster = stage.roster();
    for grant in &roster.grants {
        let micros = roster.micros(grant.proof_cycles);
        report.line(format!("{:<8} {}", grant.name, grant.expression));
        let holders = holders(stage, &grant.name);
        report.line(format!("{:<8} held by {holders}; proven in {micros:.0} us", ""));
    }
    for spec in &stage.image.manifest.grants {
        let derived = roster.grants.iter().any(|grant| grant.name == spec.name);
        report.expect(&format!("grant {} is derived", spec.name), derived, "");
    }
}

fn holders(stage: &Stage<'_>, grant: &str) -> String {
    let environments = stage.image.manifest.environments.iter();
    let names: Vec<&str> = environments
        .filter(|e| e.grants.iter().any(|g| g == grant))
        .map(|e| e.name.as_str())
        .collect();
    if names.is_empty() { "init".to_owned() } else { names.join(", ") }
}

/// The bindings.
pub(super) fn show_bindings<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) {
    report.part("Filters accepted (claim extracted from the program, proven, compiled)");
    let roster = stage.roster();
    report.line(format!(
        "{:<10} {:<8} {:>6} {:>6} {:>10} {:>12}",
        "owner", "grant", "filter", "ASH", "proof", "compilation"
    ));
    for bound in &roster.bindings {
        report.line(format!(
            "{:<10} {:<8} {:>6} {:>6} {:>7.0} us {:>9.0} us",
            bound.owner,
            roster.grant(bound.grant),
            bound.filter.len() / 8,
            bound.ash_slots,
            roster.micros(bound.proof_cycles),
            roster.micros(bound.compile_cycles)
        ));
    }
    let with_ash = |name: &str| roster.bindings_of(name).any(|bound| bound.ash_slots > 0);
    for name in ["netd", "echo", "bare"] {
        report.expect(&format!("{name} has a filter and an ASH"), with_ash(name), "");
    }
    let talk = roster.bindings_of("talk").next().is_some() && !with_ash("talk");
    report.expect("talk has a filter and answers in ring 3", talk, "");
}
