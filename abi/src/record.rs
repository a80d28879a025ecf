//! The framed channel: what the kernel tells the host, record by record.
//!
//! A byte stream of frames: `u32` length, `u32` sequence number (both little-endian), then that
//! many bytes of `postcard` [`Record`]. A gap in the sequence is a record that the channel could
//! not
//! take; the books count those.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::books::{Books, Reason};
use crate::refusal;
use crate::start::State;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 8;
/// Bytes of a frame's body at most.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the kernel did with a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The ASH of this binding replied.
    Answered(u64),
    /// Put into the ring of this binding.
    Delivered(u64),
    /// Dropped; the binding, where one owned it.
    Dropped(Reason, Option<u64>),
    /// Sent for this binding.
    Sent(u64),
    /// A transmission of this binding was refused.
    Refused(Reason, u64),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "a record is written or looked at as soon as it is made; none is kept beside others"
)]
pub enum Record {
    /// The kernel is up.
    Boot {
        /// [`crate::VERSION`].
        version: u32,
        /// Frames of RAM that it manages.
        frames: u64,
        /// The card's address.
        mac: Option<[u8; 6]>,
        /// Cycles per second of the time-stamp counter.
        tsc_hz: u64,
    },
    /// An environment came to be, changed state or ended.
    Environment {
        /// Its number.
        id: u32,
        /// Its name.
        name: String,
        /// The new state.
        state: State,
        /// Exit code or fault vector.
        detail: u64,
    },
    /// A grant was derived.
    Granted {
        /// The child.
        grant: u64,
        /// Its parent.
        parent: u64,
        /// Who asked.
        environment: u32,
        /// Filter program of the receive space.
        #[serde(serialize_with = "whole")]
        receive: Vec<u8>,
        /// Cycles of the time-stamp counter that the proof took.
        proof_cycles: u64,
    },
    /// A filter was accepted and published.
    Bound {
        /// The binding.
        binding: u64,
        /// Under this grant.
        grant: u64,
        /// Who asked.
        environment: u32,
        /// The filter.
        #[serde(serialize_with = "whole")]
        filter: Vec<u8>,
        /// Instructions of the ASH; zero if there is none.
        ash_slots: u32,
        /// Cycles of the time-stamp counter for decode to disjoint.
        proof_cycles: u64,
        /// Cycles for merge, compile, check and seal.
        compile_cycles: u64,
    },
    /// A filter, ASH or grant was refused.
    Refused {
        /// Who asked.
        environment: u32,
        /// Under this grant.
        grant: u64,
        /// The program at fault.
        #[serde(serialize_with = "whole")]
        program: Vec<u8>,
        /// Why.
        refusal: refusal::Record,
        /// Cycles of the time-stamp counter until the refusal.
        proof_cycles: u64,
    },
    /// A binding is gone.
    Unbound {
        /// The binding.
        binding: u64,
    },
    /// What happened to a packet (only with `trace` on the command line).
    Packet {
        /// Nanoseconds since boot.
        at_ns: u64,
        /// The verdict.
        verdict: Verdict,
        /// The frame, as received or as sent.
        frame: Vec<u8>,
    },
    /// Time-stamp cycles from the receive interrupt to the transmit kick of the answer to it.
    Latency {
        /// The binding that answered.
        binding: u64,
        /// Whether the ASH did, or the library OS.
        in_kernel: bool,
        /// Cycles; guest instructions when the machine counts those.
        cycles: u64,
        /// Environments that were runnable.
        runnable: u32,
    },
    /// The books.
    Books(Books),
    /// Bytes that an environment reported.
    User {
        /// Who.
        environment: u32,
        /// What.
        bytes: Vec<u8>,
    },
    /// The machine stops.
    Halt {
        /// The code that `Call::Halt` was given.
        code: u8,
    },
    /// A line that a handler printed (`trace_printk`).
    Printed {
        /// The handler's binding.
        binding: u64,
        /// Whose it is.
        environment: u32,
        /// The line, ASCII.
        line: Vec<u8>,
    },
    /// Time-stamp cycles of each stage of a packet's way that was answered in the kernel and came
    /// alone: driver (from the receive interrupt), classification, handler, reply (until the
    /// transmit kick).
    Stages {
        /// The binding that answered.
        binding: u64,
        /// Cycles of each stage; guest instructions when the machine counts those.
        cycles: [u64; 4],
    },
    /// A proof is over, whatever came of it (only with `latency` on the command line).
    Proof {
        /// Whose.
        environment: u32,
        /// Its steps.
        steps: u32,
        /// Cycles of the longest step.
        step: u64,
        /// Cycles of the longest stretch, from the call to its answer, in which nobody looked at
        /// the card.
        longest: u64,
        /// Steps of each stage, and the cycles of the longest of each, as [`PROOF_STAGES`] says.
        stages: [(u32, u64); PROOF_STAGES.len()],
    },
}

/// The stages of a proof, from the call to its answer.
pub const PROOF_STAGES: [&str; 9] =
    ["copy in", "decode", "proof", "claim", "placement", "compile", "check", "publish", "close"];

/// Bytes as they are in a frame either way, written at once and not one by one: a program has many.
fn whole<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

impl Record {
    /// The frame: header and body.
    pub fn frame(&self, sequence: u32) -> Vec<u8> {
        let body = postcard::to_allocvec(self).unwrap_or_default();
        let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&sequence.to_le_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    /// Takes the next whole frame off the front of a stream: (sequence, record, bytes used).
    /// `Ok(None)` while it is incomplete; `Err` where the stream is no channel.
    pub fn take(stream: &[u8]) -> Result<Option<(u32, Record, usize)>, Garbled> {
        let Some((header, rest)) = stream.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, s0, s1, s2, s3] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(Garbled { length });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let record = postcard::from_bytes(body).map_err(|_| Garbled { length })?;
        Ok(Some((u32::from_le_bytes([s0, s1, s2, s3]), record, HEADER_BYTES + length)))
    }
}

/// The stream does not hold a frame where one should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled {
    /// The length that the header claims, in bytes.
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use super::{Garbled, Record};

    #[test]
    fn frames_come_back_one_by_one() {
        let (grant, parent, environment, receive) = (3, 1, 2, alloc::vec![0, 0x80, 0xff, 1]);
        let granted = Record::Granted { grant, parent, environment, receive, proof_cycles: 77 };
        let records = [Record::Halt { code: 3 }, granted, Record::Unbound { binding: 9 }];
        let stream: alloc::vec::Vec<u8> =
            records.iter().enumerate().flat_map(|(i, r)| r.frame(i as u32)).collect();
        let mut at = 0;
        for (i, record) in records.iter().enumerate() {
            let (sequence, taken, used) = Record::take(&stream[at..]).unwrap().unwrap();
            assert_eq!((sequence, &taken), (i as u32, record));
            at += used;
        }
        assert_eq!(Record::take(&stream[at..]), Ok(None));
        assert_eq!(Record::take(&stream[..5]), Ok(None));
    }

    #[test]
    fn a_length_from_nowhere_is_refused() {
        assert_eq!(Record::take(&[0xff; 16]), Err(Garbled { length: 0xffff_ffff }));
    }
}
