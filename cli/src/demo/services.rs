//! Services with a handler in front: what is common is answered in the kernel, the rest in ring 3.
//!
//! Handlers in C, as `clang -target bpf` made them, share maps with the library OSes behind them.
//! Each step asks for something that the handler knows and for something that it does not; the
//! books say who has answered.

use std::io::Write;

use etherparse::{SlicedPacket, TransportSlice};

use super::Stage;
use crate::build::cast::{DNS_PORT, KV_PORT, NTP_PORT};
use crate::limits;
use crate::machine::MachineError;
use crate::report::Report;
use crate::wire::frames;

const OURS: u16 = 40_053;
/// Starts each service and asks it.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Services: handlers from clang, their maps shared with the library OS behind");
    let start = |name: &str, line: &str| {
        stage.machine.command(&format!("start {name}"))?;
        stage.machine.wait_serial(line, limits::CONTROL)
    };
    start("dns", "port 53 answers")?;
    names(report, stage)?;
    start("kv", "port 11211 keeps")?;
    values(report, stage)?;
    start("ntp", "port 123 tells")?;
    time(report, stage)
}

/// The answer to a datagram, and whether a handler gave it.
fn ask(stage: &Stage<'_>, port: u16, question: &[u8]) -> Result<(Vec<u8>, bool), MachineError> {
    let before = stage.machine.books()?.rx;
    let during = format!("waiting for an answer from port {port}");
    let frame = frames::udp(OURS, port, question);
    let told = stage.machine.exchange(&during, &frame, limits::CONTROL, |f| payload(f, port))?;
    let after = stage.machine.books()?.rx;
    Ok((told, after.answered > before.answered))
}

fn payload(frame: &[u8], port: u16) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return None };
    let ours = (udp.source_port(), udp.destination_port()) == (port, OURS);
    ours.then(|| udp.payload().to_vec())
}

fn names<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    let query = |name: &str| {
        let mut message = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        [message, b"\0\0\x01\0\x01".to_vec()].concat()
    };
    let (told, in_kernel) = ask(stage, DNS_PORT, &query("www.sluice.test"))?;
    let right = told.windows(4).any(|bytes| bytes == [10, 0, 2, 15]) && told.get(3) == Some(&0);
    report.expect("DNS: an address, out of the map", right && in_kernel, "www.sluice.test");
    let (told, in_kernel) = ask(stage, DNS_PORT, &query("nobody.sluice.test"))?;
    let right = told.get(3) == Some(&3) && !in_kernel;
    report.expect("DNS: no such name, from ring 3", right, "nobody.sluice.test");
    Ok(())
}

fn values<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    let ask = |text: &str| -> Result<(String, bool), MachineError> {
        let request = [b"\0\x01\0\0\0\x01\0\0", text.as_bytes()].concat();
        let (told, in_kernel) = ask(stage, KV_PORT, &request)?;
        let told = told.get(8..).unwrap_or_default();
        Ok((String::from_utf8_lossy(told).into_owned(), in_kernel))
    };
    for value in ["first", "second"] {
        let (told, in_kernel) = ask(&format!("set demo 0 0 {}\r\n{value}\r\n", value.len()))?;
        let right = told == "STORED\r\n" && !in_kernel;
        report.expect(&format!("memcached: `{value}` is set, in ring 3"), right, told.trim());
        let (told, in_kernel) = ask("get demo\r\n")?;
        let right = told.contains(&format!("\r\n{value}\r\n")) && in_kernel;
        let name = format!("memcached: `{value}` is what anybody gets now, out of the map");
        report.expect(&name, right, told.split("\r\n").next().unwrap_or_default());
    }
    Ok(())
}

fn time<W: Write>(report: &mut Report<W>, stage: &Stage<'_>) -> Result<(), MachineError> {
    let mut question = [0; 48];
    question[0] = 0x23;
    let (told, in_kernel) = ask(stage, NTP_PORT, &question)?;
    let right = told.len() == 48 && told.first() == Some(&0x24) && in_kernel;
    let stratum = told.get(1).copied().unwrap_or_default();
    report.expect("NTP: the time, from the kernel", right, format!("stratum {stratum}"));
    Ok(())
}
