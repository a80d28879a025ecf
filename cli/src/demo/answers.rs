//! Requests through real sockets of the host: answered in the kernel, answered in ring 3.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use abi::books::Books;

use super::Stage;
use crate::build::cast;
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::report::Report;

/// Round-trip times of a run of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// In ascending order.
    sorted: Vec<Duration>,
    /// Requests without the right answer.
    pub lost: usize,
}

impl Times {
    /// From measured times, in any order.
    pub fn new(mut times: Vec<Duration>, lost: usize) -> Times {
        times.sort_unstable();
        Times { sorted: times, lost }
    }

    /// The time below which that many hundredths lie (nearest rank); zero if there are none.
    pub fn percentile(&self, hundredths: usize) -> Duration {
        let rank = (self.sorted.len() * hundredths).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// Right answers.
    pub fn answered(&self) -> usize {
        self.sorted.len()
    }
}

/// One kind of service: name, port, and whether the kernel answers for it.
const SERVICES: [(&str, u16, bool); 3] = [
    ("echo: an ASH, in the kernel", cast::ECHO_PORT, true),
    ("bare: an ASH, no library at all", cast::BARE_PORT, true),
    ("talk: a library OS, in ring 3", cast::TALK_PORT, false),
];

/// Asks each service and shows the times.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Answers to real UDP sockets (every verdict traced; round trips in microseconds)");
    let columns = format!("{:<34} {:>9} {:>7} {:>7} {:>7}", "", "answered", "min", "median", "p99");
    report.line(columns);
    for (name, port, in_kernel) in SERVICES {
        let before = stage.machine.books()?;
        let Some(times) = ask(stage.machine, port) else {
            report.expect(name, false, format!("no socket for port {port}"));
            continue;
        };
        let after = stage.machine.books()?;
        report.line(format!(
            "{name:<34} {:>9} {:>7} {:>7} {:>7}",
            times.answered(),
            times.percentile(0).as_micros(),
            times.percentile(50).as_micros(),
            times.percentile(99).as_micros()
        ));
        let all = times.lost == 0 && times.answered() > 0;
        report.expect(
            &format!("port {port} answers every request"),
            all,
            format!("{} of {}", times.answered(), times.answered() + times.lost),
        );
        who_answered(report, port, in_kernel, (&before, &after));
    }
    Ok(())
}

/// The books say whether the kernel answered or the library OS was woken.
fn who_answered<W: Write>(
    report: &mut Report<W>,
    port: u16,
    in_kernel: bool,
    (before, after): (&Books, &Books),
) {
    let answered = after.rx.answered - before.rx.answered;
    let delivered = after.rx.delivered - before.rx.delivered;
    let asked = limits::REQUESTS as u64;
    let (name, met) = if in_kernel {
        // Our own commands are delivered to init; requests are not delivered to anybody.
        (format!("port {port} is answered inside the kernel"), {
            answered >= asked && delivered < asked
        })
    } else {
        (format!("port {port} is answered by the library OS"), delivered >= asked)
    };
    report.expect(&name, met, format!("{answered} answered, {delivered} delivered"));
}

/// Asks that port of the machine [`limits::REQUESTS`] times; `None` if no socket can be had.
fn ask(machine: &Machine, port: u16) -> Option<Times> {
    let address = machine.address(port)?;
    match machine.tap() {
        Some(tap) => tap.inside(|| requests("0.0.0.0:0", address)).ok()?.ok(),
        None => requests("127.0.0.1:0", address).ok(),
    }
}

fn requests(from: &str, to: SocketAddr) -> std::io::Result<Times> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(limits::REPLY))?;
    // The first request pays for address resolution on both sides; it is not counted.
    let _ = request(&socket, u32::MAX);
    let mut times = Vec::new();
    let mut lost = 0;
    for number in 0..limits::REQUESTS as u32 {
        match request(&socket, number) {
            Some(time) => times.push(time),
            None => lost += 1,
        }
        if lost > 3 {
            // Nobody is there; each further request would only cost its whole time limit.
            lost = limits::REQUESTS - times.len();
            break;
        }
    }
    Ok(Times::new(times, lost))
}

fn request(socket: &UdpSocket, number: u32) -> Option<Duration> {
    let text = format!("request {number:>10} of sluice's");
    let start = Instant::now();
    socket.send(text.as_bytes()).ok()?;
    let mut reply = [0; 256];
    loop {
        let count = socket.recv(&mut reply).ok()?;
        if &reply[..count] == text.as_bytes() {
            return Some(start.elapsed());
        }
        // A late answer to an earlier request.
        if start.elapsed() > limits::REPLY {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Times, requests};
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = Times::new((1..=200).rev().map(Duration::from_micros).collect(), 0);
        assert_eq!(times.percentile(0), Duration::from_micros(1));
        assert_eq!(times.percentile(50), Duration::from_micros(100));
        assert_eq!(times.percentile(99), Duration::from_micros(198));
        assert_eq!(times.percentile(100), Duration::from_micros(200));
        assert_eq!(Times::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn an_echo_is_measured() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok((count, from)) = server.recv_from(&mut bytes) {
                let _ = server.send_to(&bytes[..count], from);
            }
        });
        let times = requests("127.0.0.1:0", address).unwrap();
        assert_eq!((times.answered(), times.lost), (crate::limits::REQUESTS, 0));
    }
}
