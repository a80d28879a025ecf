//! The client of both servers: connections that stay, every byte checked.

use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Who;
use crate::build::cast::HTTP_PORT;
use crate::limits;
use crate::linux::PeerError;
use crate::machine::{Machine, MachineError};

/// A file that both servers have: byte `i` is `i % 251`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path without the slash.
    pub name: &'static str,
    /// Its length.
    pub bytes: usize,
    /// Requests over which instructions are averaged.
    requests: usize,
}

/// 1 KiB and 100 KiB.
pub const FILES: [File; 2] = [
    File { name: "kilo.bin", bytes: 1024, requests: 1600 },
    File { name: "large.bin", bytes: 100 * 1024, requests: 160 },
];

/// How a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Connections, each with its next requests as soon as all have their answers.
    pub connections: usize,
    /// Requests sent at once on a connection.
    pub pipelined: usize,
}

/// One at a time, eight connections, eight in a pipeline.
pub const WAYS: [Way; 3] = [
    Way { connections: 1, pipelined: 1 },
    Way { connections: 8, pipelined: 1 },
    Way { connections: 1, pipelined: 8 },
];

impl Way {
    /// In words.
    #[must_use]
    pub fn name(self) -> String {
        match (self.connections, self.pipelined) {
            (1, 1) => "one connection, one request at a time".to_owned(),
            (connections, 1) => format!("{connections} connections, one request each at a time"),
            (_, pipelined) => format!("one connection, {pipelined} requests in a pipeline"),
        }
    }
}

impl File {
    /// What it holds.
    #[must_use]
    pub fn contents(self) -> Vec<u8> {
        (0..self.bytes).map(|i| (i % 251) as u8).collect()
    }
}

/// Asks a tenth to warm up, calls `count(0)`, asks all, calls `count(1)`: how many they were.
///
/// # Errors
/// What the system says; an answer that is not the file.
pub(super) fn ask(
    machine: &Machine,
    file: File,
    way: Way,
    mut count: impl FnMut(usize) + Send,
) -> Result<u64, Error> {
    let address = machine.tcp_address(HTTP_PORT);
    let address = address.ok_or_else(|| Error::other("port 80 is not forwarded"))?;
    let mut work = move || -> Result<u64, Error> {
        let mut all = Asking::open(address, file, way)?;
        let rounds = (file.requests / way.connections / way.pipelined).max(1);
        all.rounds(rounds.div_ceil(10))?;
        count(0);
        all.rounds(rounds)?;
        count(1);
        Ok((rounds * way.connections * way.pipelined) as u64)
    };
    match machine.tap() {
        Some(tap) => tap.inside(work)?,
        None => work(),
    }
}

/// What could not be asked, as an error of the machine's.
pub(super) fn failed(
    machine: &Machine,
    who: Who,
    file: File,
    way: Way,
    error: &Error,
) -> PeerError {
    let during = format!("{who:?}, {}, {}: {error}", file.name, way.name());
    let waited = machine.wait(&during, Duration::ZERO, || None::<()>);
    let died = waited.err();
    died.map_or_else(|| PeerError::Guest { said: during }, |it: MachineError| it.into())
}

/// Connections and what they wait for.
struct Asking {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
    pipelined: usize,
    body: Vec<u8>,
    buffer: Vec<u8>,
}

impl Asking {
    fn open(address: SocketAddr, file: File, way: Way) -> Result<Asking, Error> {
        let stream = |_| -> Result<TcpStream, Error> {
            let stream = connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(limits::REPLY * 3))?;
            Ok(stream)
        };
        let streams = (0..way.connections).map(stream).collect::<Result<_, _>>()?;
        let request = format!("GET /{} HTTP/1.1\r\nHost: sluice\r\n\r\n", file.name);
        let request = request.repeat(way.pipelined).into_bytes();
        let (body, buffer) = (file.contents(), Vec::new());
        Ok(Asking { streams, request, pipelined: way.pipelined, body, buffer })
    }

    fn rounds(&mut self, rounds: usize) -> Result<(), Error> {
        for _ in 0..rounds {
            for stream in &mut self.streams {
                stream.write_all(&self.request)?;
            }
            for stream in &mut self.streams {
                self.buffer.clear();
                for _ in 0..self.pipelined {
                    answer(stream, &mut self.buffer, &self.body)?;
                }
                if !self.buffer.is_empty() {
                    return Err(Error::other("more came than was asked for"));
                }
            }
        }
        Ok(())
    }
}

/// The forwarding stack may need a moment until it knows where the guest is.
fn connect(address: SocketAddr) -> Result<TcpStream, Error> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, limits::REPLY) {
            Ok(stream) => return Ok(stream),
            Err(error) if begin.elapsed() > limits::REPLY => return Err(error),
            Err(_) => std::thread::sleep(limits::POLL),
        }
    }
}

/// Takes one answer out of what came; `200` and the whole file.
fn answer(stream: &mut impl Read, buffer: &mut Vec<u8>, body: &[u8]) -> Result<(), Error> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some(end) = whole(buffer, body)? {
            buffer.drain(..end);
            return Ok(());
        }
        match stream.read(&mut chunk)? {
            0 => return Err(Error::other("the connection ended")),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Where the first answer ends, if it is there as a whole.
fn whole(bytes: &[u8], body: &[u8]) -> Result<Option<usize>, Error> {
    let blank = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let Some(head) = blank.map(|at| at + 4) else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 200 ") {
        return Err(Error::other(String::from_utf8_lossy(&bytes[..head]).into_owned()));
    }
    let Some(got) = bytes.get(head..head + body.len()) else { return Ok(None) };
    if got == body { Ok(Some(head + body.len())) } else { Err(Error::other("another body")) }
}

#[cfg(test)]
mod tests {
    use super::{FILES, WAYS, answer, whole};

    #[test]
    fn answers_are_taken_one_by_one_and_checked() {
        let body = b"abc";
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end], body).unwrap(), None);
        }
        let two = [text.as_slice(), text].concat();
        let (mut from, mut buffer) = (two.as_slice(), Vec::new());
        answer(&mut from, &mut buffer, body).unwrap();
        assert_eq!(buffer, text);
        answer(&mut from, &mut buffer, body).unwrap();
        assert!(buffer.is_empty());
        assert!(answer(&mut from, &mut buffer, body).is_err());
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\nabd", body).is_err());
        assert!(whole(b"HTTP/1.1 404 Not Found\r\n\r\nabc", body).is_err());
    }

    #[test]
    fn every_way_divides_the_requests() {
        for (file, way) in FILES.iter().flat_map(|file| WAYS.map(|way| (file, way))) {
            assert_eq!(file.requests % (way.connections * way.pipelined), 0);
            assert_eq!(file.contents().len(), file.bytes);
        }
    }
}
