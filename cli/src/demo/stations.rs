//! Raw frames from a station of our own: ARP, ping, odd but right frames, and wrong ones.

use std::io::Write;

use abi::books::Reason;
use abi::record::Record;
use abi::start::State;

use super::Stage;
use crate::build::cast::{ECHO_PORT, TALK_PORT};
use crate::limits;
use crate::machine::MachineError;
use crate::report::Report;
use crate::wire::frames::{self, GUEST_IP, GUEST_MAC, Mac};
use crate::wire::hostile;

/// A source port of ours.
const OURS: u16 = 40_000;

/// ARP, ping, IP options, a VLAN tag, and everything malformed.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Raw frames: ARP and ping, answered by netd's ASHs");
    arp_and_ping(report, stage);
    variants(report, stage)?;
    malformed(report, stage)
}

fn arp_and_ping<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) {
    let request = frames::arp_request(GUEST_IP);
    let found = stage.machine.exchange("waiting for an ARP reply", &request, limits::REPLY, |f| {
        frames::arp_answer(f, GUEST_IP)
    });
    if let Some(mac) = report.attempt("ARP is answered", found) {
        report.expect("ARP is answered", mac == GUEST_MAC, Mac(mac));
    }
    for size in [0usize, 56, 1400] {
        let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let name = format!("a ping with {size} bytes is answered");
        let request = frames::ping(0x51, size as u16, &payload);
        let found = stage.machine.exchange(&name, &request, limits::REPLY, |f| {
            frames::is_pong(f, 0x51, size as u16, &payload)
        });
        if report.attempt(&name, found).is_some() {
            report.expect(&name, true, "");
        }
    }
}

fn variants<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    let text = b"behind IPv4 options";
    let request = frames::udp_with_options(3, OURS, ECHO_PORT, text);
    let found = stage.machine.exchange("waiting for an echo", &request, limits::REPLY, |f| {
        frames::is_echo(f, OURS, ECHO_PORT, text)
    });
    let name = "a request behind IPv4 options reaches its owner";
    if report.attempt(name, found).is_some() {
        report.expect(name, true, "");
    }
    let text = b"behind a VLAN tag";
    let request = frames::udp_in_vlan(5, OURS, ECHO_PORT, text);
    let answer = |f: &[u8]| (f.ends_with(text) && f.get(6..12) == Some(&GUEST_MAC)).then_some(());
    let found = stage.machine.silence("waiting for no answer", &request, answer)?;
    report.expect("a VLAN that nobody was granted is nobody's", found.is_none(), "");
    fragments(report, stage)
}

/// A datagram for `talk` in three fragments, with one of each that is wrong in between.
fn fragments<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    const ID: u16 = 0x5101;
    let before = stage.machine.books()?;
    let first = [frames::udp_header(OURS, TALK_PORT, 48).as_slice(), &[1; 16]].concat();
    for frame in [
        frames::piece(ID, (3, true), &[2; 16]),
        frames::piece(ID, (0, true), &first),
        frames::piece(ID, (5, false), &[3; 16]),
        frames::piece(ID, (3, true), &[2; 16]),
        frames::piece(ID, (4, true), &[4; 16]),
        frames::piece6(ID.into(), (3, false), &[5; 16]),
        frames::piece(ID, (5, false), &[3; 16]),
    ] {
        stage.machine.send(&frame)?;
    }
    let still = still_answers(stage);
    let after = stage.machine.books()?;
    let dropped =
        |reason: Reason| after.rx.dropped[reason as usize] - before.rx.dropped[reason as usize];
    let wrong = [Reason::Fragment, Reason::FragmentOrder, Reason::FragmentOverlap].map(dropped);
    let delivered = after.rx.delivered - before.rx.delivered;
    let detail = format!("{delivered} delivered; without a first, early, over another: {wrong:?}");
    let fine = delivered >= 3 && wrong == [2, 1, 1] && still.is_ok();
    report.expect("fragments reach the owner of their first, one after the other", fine, detail);
    Ok(())
}

fn malformed<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    report.part("Malformed frames: dropped and counted, or answered as their bytes deserve");
    let before = stage.machine.books()?;
    let list = hostile::malformed();
    for hostile in &list {
        stage.machine.send(&hostile.frame)?;
    }
    let still = still_answers(stage);
    let after = stage.machine.books()?;
    let dropped: Vec<String> = Reason::ALL
        .iter()
        .filter_map(|&reason| {
            let count = after.rx.dropped[reason as usize] - before.rx.dropped[reason as usize];
            (count > 0).then(|| format!("{} dropped[{}]", count, reason.name()))
        })
        .collect();
    report.line(format!("{} frames sent: {}", list.len(), dropped.join(", ")));
    report.expect("malformed frames are dropped and counted", !dropped.is_empty(), "");
    if report.attempt("the echo still answers after them", still).is_some() {
        report.expect("the echo still answers after them", true, "");
    }
    Ok(())
}

/// One raw echo.
fn still_answers(stage: &Stage<'_>) -> Result<(), MachineError> {
    let text = b"still there?";
    let request = frames::udp(OURS, ECHO_PORT, text);
    stage.machine.exchange("waiting for an echo", &request, limits::REPLY, |f| {
        frames::is_echo(f, OURS, ECHO_PORT, text)
    })
}

/// A library OS that reads kernel memory ends, alone.
pub(super) fn show_faulter<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("A library OS that faults takes nothing with it");
    let mark = stage.machine.journal().mark();
    let started = stage.machine.command("start faulter");
    if report.attempt("init starts faulter", started).is_none() {
        return Ok(());
    }
    let ended = stage.machine.record(mark, "waiting for faulter's end", |record| match record {
        Record::Environment { name, state: State::Faulted, detail, .. }
            if name.starts_with("faulter") =>
        {
            Some(*detail)
        }
        _ => None,
    });
    if let Some(vector) = report.attempt("faulter ends by its fault", ended) {
        report.expect("faulter ends by its fault", true, format!("vector {vector}"));
    }
    let still = still_answers(stage);
    if report.attempt("the echo answers after the fault", still).is_some() {
        report.expect("the echo answers after the fault", true, "");
    }
    Ok(())
}
