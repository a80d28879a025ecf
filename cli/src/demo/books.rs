//! The kernel's books: nothing is lost without being counted.

use std::io::Write;

use abi::books::{Books, REASONS, Reason};

use super::Stage;
use crate::machine::MachineError;
use crate::report::Report;

/// Shows the books and checks that they add up, here and in the kernel.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Books");
    let books = stage.machine.books()?;
    print(report, &books);
    let failing = books.failing();
    let detail = failing.map_or("both sides of every line are equal".to_owned(), |check| {
        format!("{check:?} does not")
    });
    report.expect("the books add up", failing.is_none(), detail);
    let audit = stage.machine.audit();
    if let Some(failing) = report.attempt("the kernel's audit finds nothing", audit) {
        let detail = failing.clone().unwrap_or_default();
        report.expect("the kernel's audit finds nothing", failing.is_none(), detail);
    }
    let journal = stage.machine.journal();
    let garbled = journal.garbled();
    report.expect("the framed channel makes sense to its end", garbled.is_none(), "");
    let lost = journal.lost();
    let counted = lost <= books.records_lost;
    let detail = format!("{lost} missing here, {} counted there", books.records_lost);
    report.expect("no record is lost without being counted", counted, detail);
    Ok(())
}

fn print<W: Write>(report: &mut Report<W>, books: &Books) {
    let (rx, tx, frames) = (&books.rx, &books.tx, &books.frames);
    report.line(format!(
        "rx     {} = {} answered + {} delivered + {} dropped + {} in flight",
        rx.received,
        rx.answered,
        rx.delivered,
        rx.dropped.iter().sum::<u64>(),
        rx.in_flight
    ));
    report.line(format!("       dropped: {}", reasons(&rx.dropped)));
    report.line(format!(
        "tx     {} = {} sent + {} refused ({})",
        tx.requested,
        tx.sent,
        tx.refused.iter().sum::<u64>(),
        reasons(&tx.refused)
    ));
    report.line(format!(
        "frames {} = {} free + {} owned + {} kernel",
        frames.total, frames.free, frames.owned, frames.kernel
    ));
    report.line(format!(
        "{} environments, {} grants, {} bindings",
        books.environments, books.grants, books.bindings
    ));
}

fn reasons(counts: &[u64; REASONS]) -> String {
    let named = Reason::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    let texts: Vec<String> = named.map(|(reason, n)| format!("{} {n}", reason.name())).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
