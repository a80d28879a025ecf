//! Control frames: the host's words to init, over the wire.
//!
//! A frame of EtherType 0x88b5 to our address carries a line of text under a tag that only the host
//! tool can make (`abi::control`); whatever has none is dropped, and counted. The answer goes to
//! its sender with the same text and ` ok VALUE` or ` err STATUS`. The grant is derived from the
//! root like any other, so that the channel obeys the rules that it serves to show. Booted without
//! a key there is no channel.
//!
//! `start NAME [COUNT]`, `kill NAME`, `cycle NAME COUNT [MICROSECONDS]`, `alive`, `audit`, `books`,
//! `revoke NAME pages|bindings|grants N MICROSECONDS`, `revoked NAME`, `recall GRANT MICROSECONDS`,
//! `halt CODE`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use abi::Status;
use abi::control::Key;
use abi::limits::FRAME_BYTES_MAX;
use ebpf::Kind;
use libos::capability::{audit, books, halt};
use libos::clock::{NEVER, now_ns, wait};
use libos::program::{assemble, mac_words};
use libos::rings::SendError;
use libos::{Environment, Rings, println, revocation};

use crate::cast::Cast;

/// EtherType of control frames.
const ETHERTYPE: [u8; 2] = abi::control::ETHERTYPE.to_be_bytes();
/// Shortest frame on a real wire, without its check sequence.
const FRAME_BYTES_PADDED: usize = 60;
/// How long a full card is left alone at most; the kernel's word that there is room comes sooner.
const AGAIN_NS: u64 = 1_000_000;
/// Where an Ethernet header has its destination and its source.
const DESTINATION_AT: u64 = 0;
const SOURCE_AT: u64 = 6;

/// The control channel, if the kernel gave one.
#[derive(Debug)]
pub(crate) struct Control {
    channel: Option<(Rings, Key)>,
    mac: [u8; 6],
    /// The number of the last frame that was obeyed.
    last: u64,
    /// Frames that had no right tag, or an old number.
    ignored: u64,
    /// An answer is in the ring that the card had no room for.
    held_back: bool,
}

impl Control {
    /// Derives the grant and binds the filter. Without a card, or refused, there is no channel.
    pub(crate) fn open(environment: &Environment) -> Control {
        let mac = environment.mac();
        let key = Key::from_words(environment.arguments()).ok_or("no key on the command line");
        let opened = key
            .map_err(String::from)
            .and_then(|key| open_rings(environment, mac).map(|rings| (rings, key)));
        let channel = match opened {
            Ok(channel) => Some(channel),
            Err(why) => {
                println!("no control channel: {why}");
                None
            }
        };
        Control { channel, mac, last: 0, ignored: 0, held_back: false }
    }

    /// Obeys for ever.
    pub(crate) fn serve(mut self, mut cast: Cast) -> Result<Infallible, String> {
        let mut buffer = [0; FRAME_BYTES_MAX];
        loop {
            cast.bury();
            if self.held_back && !self.flushed() {
                wait(now_ns().saturating_add(AGAIN_NS));
                continue;
            }
            let Some(length) = self.next(&mut buffer) else {
                wait(NEVER);
                continue;
            };
            if let Some(request) = self.read(&buffer[..length]) {
                let answer = answer(&mut cast, request.line);
                self.reply(&request, &answer);
            }
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.channel.as_mut()?.0.receive(buffer)
    }

    /// A line that may be obeyed. The first frame that may not is said, the others are only
    /// counted.
    fn read<'a>(&mut self, frame: &'a [u8]) -> Option<Request<'a>> {
        let (_, key) = self.channel.as_ref()?;
        let opened = frame.get(14..).and_then(|payload| key.open(self.last, payload));
        let Some((number, line)) = opened else {
            self.ignored += 1;
            if self.ignored == 1 {
                println!("a control frame without the right tag: ignored, as all others will be");
            }
            return None;
        };
        self.last = number;
        let sender = *frame.get(6..12)?.first_chunk::<6>()?;
        Some(Request { sender, line })
    }

    fn reply(&mut self, request: &Request<'_>, answer: &str) {
        let mut frame = Vec::with_capacity(FRAME_BYTES_PADDED);
        frame.extend_from_slice(&request.sender);
        frame.extend_from_slice(&self.mac);
        frame.extend_from_slice(&ETHERTYPE);
        frame.extend_from_slice(answer.as_bytes());
        frame.resize(frame.len().max(FRAME_BYTES_PADDED), 0);
        let sent = self.channel.as_mut().map(|(rings, _)| rings.send(&frame));
        self.settle(sent);
    }

    /// Tries again what a full card did not take; whether it is gone.
    fn flushed(&mut self) -> bool {
        let sent = self.channel.as_mut().map(|(rings, _)| rings.flush().map(drop));
        self.settle(sent);
        !self.held_back
    }

    /// A full card is one that is asked again, before the next command; whatever else kept an
    /// answer is said.
    fn settle(&mut self, sent: Option<Result<(), SendError>>) {
        self.held_back = matches!(sent, Some(Err(SendError::Kernel { status: Status::Busy })));
        if let Some(Err(why)) = sent
            && !self.held_back
        {
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
