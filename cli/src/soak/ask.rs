//! Questions with one right answer, asked through sockets of the host.
//!
//! What is right is written here by itself, and not by the programs that answer: an address in the
//! answer, a response code, the value that was acknowledged last.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::build::cast::{DNS_PORT, ECHO_PORT, KV_PORT, TALK_PORT};
use crate::machine::Machine;

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be asked; the first three are answered in the kernel.
pub(super) const KINDS: [(&str, Kind); 6] = [
    ("echo, port 7 (kernel)", Kind::Echo(ECHO_PORT)),
    ("DNS, a name's address (kernel)", Kind::Address),
    ("key-value, get (kernel)", Kind::Get),
    ("echo, port 7777 (ring 3)", Kind::Echo(TALK_PORT)),
    ("DNS, no such name (ring 3)", Kind::NoName),
    ("key-value, set (ring 3)", Kind::Set),
];

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Come back as it is.
    Echo(u16),
    /// An address of the zone.
    Address,
    /// A name that is not in it.
    NoName,
    /// The value that was acknowledged last.
    Get,
    /// A new value.
    Set,
}

/// What came of one kind of question.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Times of right answers.
    pub(super) times: Vec<Duration>,
    /// No answer in time.
    pub(super) lost: u64,
    /// Answers that are not right, the first few in hexadecimal.
    pub(super) wrong: Vec<String>,
}

/// Somebody who asks: its sockets, its key, and the value that was acknowledged last.
#[derive(Debug)]
pub(super) struct Asker {
    sockets: Vec<(u16, UdpSocket)>,
    key: String,
    value: Option<u64>,
    /// A change that was asked for, and not acknowledged: either value is right.
    pending: Option<u64>,
    number: u64,
}

impl Asker {
    /// Sockets in the machine's network.
    ///
    /// # Errors
    /// The system's, when there can be no such sockets.
    pub(super) fn new(machine: &Machine, key: &str) -> std::io::Result<Asker> {
        let mut sockets = Vec::new();
        for port in [ECHO_PORT, TALK_PORT, DNS_PORT, KV_PORT] {
            let to = machine.address(port).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            let socket = match machine.tap() {
                Some(tap) => tap.inside(|| socket("0.0.0.0:0", to))??,
                None => socket("127.0.0.1:0", to)?,
            };
            sockets.push((port, socket));
        }
        Ok(Asker { sockets, key: key.to_owned(), value: None, pending: None, number: 0 })
    }

    /// Asks one question and notes what came.
    pub(super) fn ask(&mut self, kind: Kind, tally: &mut Tally) {
        self.number += 1;
        let number = self.number;
        let (port, question) = self.question(kind, number);
        let found = self.sockets.iter().find(|(known, _)| *known == port);
        let Some((_, socket)) = found else { return };
        let start = Instant::now();
        if kind == Kind::Set {
            self.pending = Some(number);
        }
        // A datagram that the system does not take is lost like any other.
        let _ = socket.send(&question);
        let mut bytes = [0; 2048];
        let told = loop {
            match socket.recv(&mut bytes) {
                // A late answer to an earlier question: the first bytes say so.
                Ok(count) if bytes[..count].first_chunk::<2>() != question.first_chunk::<2>() => {}
                Ok(count) => break Some(&bytes[..count]),
                Err(_) => break None,
            }
            if start.elapsed() > PATIENCE {
                break None;
            }
        };
        let Some(told) = told else {
            tally.lost += 1;
            return;
        };
        if self.is_right(kind, &question, told) {
            tally.times.push(start.elapsed());
        } else if tally.wrong.len() < 10 {
            tally.wrong.push(format!("{kind:?}: asked {question:02x?}, told {told:02x?}"));
        }
    }

    fn question(&self, kind: Kind, number: u64) -> (u16, Vec<u8>) {
        let [.., high, low] = number.to_be_bytes();
        let id = [high, low];
        let framed = |text: String| [&id[..], &[0, 0, 0, 1, 0, 0], text.as_bytes()].concat();
        match kind {
            Kind::Echo(port) => (port, [&id[..], b"an echo is to be heard"].concat()),
            Kind::Address => (DNS_PORT, query(id, &["wWw", "sluice", "test"])),
            Kind::NoName => (DNS_PORT, query(id, &["nobody", "sluice", "test"])),
            Kind::Get => (KV_PORT, framed(format!("get {}\r\n", self.key))),
            Kind::Set => {
                let value = value(number);
                let key = &self.key;
                (KV_PORT, framed(format!("set {key} 7 0 {}\r\n{value}\r\n", value.len())))
            }
        }
    }

    fn is_right(&mut self, kind: Kind, question: &[u8], told: &[u8]) -> bool {
        match kind {
            Kind::Echo(_) => told == question,
            Kind::Address => {
                let address = |last| told.windows(4).any(|bytes| bytes == [10, 0, 2, last]);
                told[2..8] == [0x85, 0, 0, 1, 0, 2]
                    && address(15)
                    && address(16)
                    && told.get(12..question.len()) == question.get(12..)
            }
            Kind::NoName => told.get(2..10) == Some(&[0x85, 3, 0, 1, 0, 0, 0, 1]),
            Kind::Get => {
                let is = |number: Option<u64>| told.get(8..) == Some(&self.text(number)[..]);
                is(self.value) || self.pending.is_some() && is(self.pending)
            }
            Kind::Set => {
                let stored = told.get(8..) == Some(b"STORED\r\n");
                if stored {
                    self.value = self.pending.take();
                }
                stored
            }
        }
    }

    fn text(&self, number: Option<u64>) -> Vec<u8> {
        let Some(number) = number else { return b"END\r\n".to_vec() };
        let value = value(number);
        format!("VALUE {} 7 {}\r\n{value}\r\nEND\r\n", self.key, value.len()).into_bytes()
    }
}

fn socket(from: &str, to: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Values differ in length, too.
fn value(number: u64) -> String {
    format!("{number}:{}", "v".repeat((number % 200) as usize))
}

fn query(id: [u8; 2], labels: &[&str]) -> Vec<u8> {
    let mut message = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in labels {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
