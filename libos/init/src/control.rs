//! Control frames: the host's words to init, over the wire.
//!
//! A frame of EtherType 0x88b5 to our address carries a line of text; the answer goes to its sender
//! with the same text and ` ok VALUE` or ` err STATUS`. The grant is derived from the root like any
//! other, so that the channel obeys the rules that it serves to show. Anyone on the wire may speak:
//! this is a machine for demonstrations and tests.
//!
//! `start NAME [COUNT]`, `kill NAME`, `cycle NAME COUNT [MICROSECONDS]`, `alive`, `audit`, `books`,
//! `revoke NAME pages|bindings|grants N MICROSECONDS`, `revoked NAME`, `recall GRANT MICROSECONDS`,
//! `halt CODE`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use abi::Status;
use abi::limits::FRAME_BYTES_MAX;
use ebpf::Kind;
use libos::capability::{audit, books, halt};
use libos::clock::{NEVER, now_ns, wait};
use libos::program::{assemble, mac_words};
use libos::{Environment, Rings, println, revocation};

use crate::cast::Cast;

/// EtherType of control frames.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Shortest frame on a real wire, without its check sequence.
const FRAME_BYTES_PADDED: usize = 60;
/// Longest line that is obeyed.
const LINE_BYTES_MAX: usize = 200;
/// Where an Ethernet header has its destination and its source.
const DESTINATION_AT: u64 = 0;
const SOURCE_AT: u64 = 6;

/// The control channel, if the kernel gave one.
#[derive(Debug)]
pub(crate) struct Control {
    rings: Option<Rings>,
    mac: [u8; 6],
}

impl Control {
    /// Derives the grant and binds the filter. Without a card, or refused, there is no channel.
    pub(crate) fn open(environment: &Environment) -> Control {
        let mac = environment.mac();
        let rings = match open_rings(environment, mac) {
            Ok(rings) => Some(rings),
            Err(why) => {
                println!("no control channel: {why}");
                None
            }
        };
        Control { rings, mac }
    }

    /// Obeys for ever.
    pub(crate) fn serve(mut self, mut cast: Cast) -> Result<Infallible, String> {
        let mut buffer = [0; FRAME_BYTES_MAX];
        loop {
            cast.bury();
            if let Some(length) = self.next(&mut buffer)
                && let Some(request) = Request::read(&buffer[..length])
            {
                let answer = answer(&mut cast, request.line);
                self.reply(&request, &answer);
                continue;
            }
            wait(NEVER);
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.rings.as_mut()?.receive(buffer)
    }

    fn reply(&mut self, request: &Request<'_>, answer: &str) {
        let mut frame = Vec::with_capacity(FRAME_BYTES_PADDED);
        frame.extend_from_slice(&request.sender);
        frame.extend_from_slice(&self.mac);
        frame.extend_from_slice(&ETHERTYPE);
        frame.extend_from_slice(answer.as_bytes());
        frame.resize(frame.len().max(FRAME_BYTES_PADDED), 0);
        let sent = self.rings.as_mut().map(|rings| rings.send(&frame));
        if let Some(Err(why)) = sent {
            println!("answer not sent: {why:?}");
        }
    }
}

fn open_rings(environment: &Environment, mac: [u8; 6]) -> Result<Rings, String> {
    let text = |missing| format!("{missing}");
    let own = environment.own().map_err(text)?;
    let root = environment.grant("root").map_err(text)?;
    let program = |at: u64| {
        let (low, high) = mac_words(mac);
        let values = [("MAC_AT", at), ("MAC_END_AT", at + 4), ("MAC_LOW", low), ("MAC_HIGH", high)];
        assemble(Kind::Filter, include_str!("filter.s"), &values)
            .map_err(|error| format!("control filter: {error}"))
    };
    let (to_us, from_us) = (program(DESTINATION_AT)?, program(SOURCE_AT)?);
    let grant = root.derive(&to_us, Some(&from_us)).map_err(|error| format!("{error}"))?;
    println!("grant control: EtherType 0x88b5 to our address");
    Rings::bind(own, grant, &to_us, None).map_err(|error| format!("{error}"))
}

/// One line, and who sent it.
struct Request<'a> {
    sender: [u8; 6],
    line: &'a str,
}

impl Request<'_> {
    /// Text up to the padding; `None` for what is no text or too long.
    fn read(frame: &[u8]) -> Option<Request<'_>> {
        let sender = frame.get(6..12)?.first_chunk::<6>()?;
        let payload = frame.get(14..)?;
        let end = payload.iter().position(|&byte| byte == 0).unwrap_or(payload.len());
        let line = core::str::from_utf8(&payload[..end]).ok()?.trim_end();
        (line.len() <= LINE_BYTES_MAX).then_some(Request { sender: *sender, line })
    }
}

fn answer(cast: &mut Cast, line: &str) -> String {
    println!("told to {line}");
    match obey(cast, line) {
        Ok(value) => format!("{line} ok {value}"),
        Err(status) => format!("{line} err {status:?}"),
    }
}

fn obey(cast: &mut Cast, line: &str) -> Result<u64, Status> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["start", name] => cast.start(name, None),
        ["start", name, count] => cast.start(name, Some(number(count)?)),
        ["kill", name] => Ok(cast.kill(name)),
        ["revoke", name, kind, amount, micros] => {
            cast.revoke(name, (self::kind(kind)?, number(amount)?), deadline(micros)?)
        }
        ["revoked", name] => cast.revoked(name),
        ["recall", grant, micros] => cast.recall(grant, deadline(micros)?),
        ["cycle", name, count] => cast.cycle(name, number(count)?, 0),
        ["cycle", name, count, micros] => {
            let hold = number(micros)?.checked_mul(1000).ok_or(Status::BadArgument)?;
            cast.cycle(name, number(count)?, hold)
        }
        ["alive"] => Ok(cast.alive()),
        ["audit"] => audit(),
        ["books"] => books().map(|books| books.rx.received),
        ["halt", code] => {
            let code = u8::try_from(number(code)?).map_err(|_| Status::BadArgument)?;
            halt(code).map(|()| 0)
        }
        _ => Err(Status::BadArgument),
    }
}

fn kind(word: &str) -> Result<revocation::Kind, Status> {
    match word {
        "pages" => Ok(revocation::Kind::Pages),
        "bindings" => Ok(revocation::Kind::Bindings),
        "grants" => Ok(revocation::Kind::Grants),
        _ => Err(Status::BadArgument),
    }
}

/// So many microseconds from now.
fn deadline(micros: &str) -> Result<u64, Status> {
    let ns = number(micros)?.checked_mul(1000).ok_or(Status::BadArgument)?;
    Ok(now_ns().saturating_add(ns))
}

fn number(word: &str) -> Result<u64, Status> {
    word.parse().map_err(|_| Status::BadArgument)
}
