//! What nobody should send: malformed frames, questions with wrong bytes, floods.
//!
//! Rounds of a bounded number of frames, each followed by an echo of its own: so the machine is
//! sent as much as it takes, and no queue before it grows without bound.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::build::cast::{DNS_PORT, ECHO_PORT, KV_PORT, NTP_PORT, TALK_PORT};
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::wire::{frames, hostile};

/// Frames of a round.
const ROUND: usize = 32;
const OURS: u16 = 41_999;
/// The rate limiter's port, and one that nobody has.
const LIMITED_PORT: u16 = 7120;
const NOBODYS_PORT: u16 = 9999;

/// A generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Sends until it is told to stop: how many frames.
///
/// # Errors
/// [`MachineError`], when the machine is gone or answers no echo.
pub(super) fn run(machine: &Machine, stop: &AtomicBool) -> Result<u64, MachineError> {
    let mut random = Random(0x00ad_5a21);
    // Control frames are commands: whoever sends those is not on our side.
    let control = frames::CONTROL.to_be_bytes();
    let malformed = hostile::malformed().into_iter().map(|hostile| hostile.frame);
    let malformed: Vec<Vec<u8>> =
        malformed.filter(|frame| frame.get(12..14) != Some(&control[..])).collect();
    let mut sent = 0;
    let mut round = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..ROUND {
            machine.send(&frame(&mut random, &malformed))?;
            sent += 1;
        }
        round += 1;
        let text = format!("round {round}");
        let echo = frames::udp(OURS, ECHO_PORT, text.as_bytes());
        machine.exchange("waiting for the adversary's echo", &echo, limits::REPLY, |f| {
            frames::is_echo(f, OURS, ECHO_PORT, text.as_bytes())
        })?;
    }
    Ok(sent)
}

fn frame(random: &mut Random, malformed: &[Vec<u8>]) -> Vec<u8> {
    let ports = [DNS_PORT, KV_PORT, NTP_PORT, ECHO_PORT, TALK_PORT, LIMITED_PORT, NOBODYS_PORT];
    let port = ports[random.below(ports.len())];
    match random.below(8) {
        0 => malformed.get(random.below(malformed.len())).cloned().unwrap_or_default(),
        1 => frames::later_fragment(random.below(8000) as u16, b"a part of nothing"),
        2 => frames::udp(OURS, LIMITED_PORT, b"more than my share"),
        // The sender's own address is ours: an answer would go round for ever.
        3 => frames::udp_between((frames::GUEST_IP, port), (frames::GUEST_IP, port), b"to you"),
        4 => {
            let bytes: Vec<u8> = (0..random.below(1400)).map(|_| random.below(256) as u8).collect();
            frames::udp(OURS, port, &bytes)
        }
        _ => mutated(random),
    }
}

/// A good question of one of the services, with a few bytes changed and perhaps an end.
fn mutated(random: &mut Random) -> Vec<u8> {
    let dns = b"\0\x01\x01\0\0\x01\0\0\0\0\0\x01\x03www\x06sluice\x04test\0\0\x01\0\x01\
                \0\0\x29\x04\xd0\0\0\0\0\0\0";
    let set = b"\0\x01\0\0\0\x01\0\0set others 0 0 5\r\nvalue\r\n";
    let get = b"\0\x01\0\0\0\x01\0\0get others\r\n";
    let ntp = [0x23; 48];
    let (port, question): (u16, &[u8]) = match random.below(4) {
        0 => (DNS_PORT, dns),
        1 => (KV_PORT, set),
        2 => (KV_PORT, get),
        _ => (NTP_PORT, &ntp),
    };
    let mut bytes = question.to_vec();
    for _ in 0..random.below(4) {
        let place = random.below(bytes.len());
        bytes[place] = random.below(256) as u8;
    }
    if random.below(4) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    let mut frame = frames::udp(OURS, port, &bytes);
    if random.below(4) == 0 {
        let place = 14 + random.below(28);
        if let Some(byte) = frame.get_mut(place) {
            *byte ^= 1 << random.below(8);
        }
    }
    // Never a frame to everybody's control channel, whatever was changed.
    frame
}
