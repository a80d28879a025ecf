//! Why a filter, an ASH or a grant was refused.
//!
//! A versioned record, written as `postcard` into the buffer that the caller named, and the same
//! bytes on the framed channel. People read what `sluice` or a library OS makes of it.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The record's version.
pub const VERSION: u8 = 1;

/// What kind of refusal; stable numbers, only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u16)]
pub enum Code {
    /// The bytes are no program.
    Malformed = 1,
    /// The program may do what it must not.
    Unsafe = 2,
    /// The kernel cannot decide which packets the filter accepts.
    Undecided = 3,
    /// The claim leaves its grant; the witness is a frame that shows it.
    OutsideGrant = 4,
    /// The claim meets another binding's or grant's; the witness is a frame that both accept.
    Overlap = 5,
    /// A named limit was met.
    Limit = 6,
    /// The memory that the proof could need at worst is not there.
    NoMemory = 7,
    /// The grant or binding went away while the proof ran.
    Stale = 8,
    /// No default transmit space can be computed for this receive space.
    NoMirror = 9,
    /// The generated code did not pass its checker. A kernel bug; nothing was published.
    Checker = 10,
}

/// Which of the caller's programs is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Blame {
    /// The filter (or a grant's receive filter).
    Filter,
    /// A grant's transmit filter, or the mirror computed in its place.
    Transmit,
    /// The ASH.
    Ash,
    /// No program: the request or the kernel's own limits.
    Request,
    /// A wake-up predicate.
    Predicate,
    /// The filter of a hand-over's second part.
    Rest,
    /// The certificate that came with a filter, whose instruction is named where there is one.
    Certificate,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u8,
    /// What kind.
    pub code: Code,
    /// Whose fault.
    pub blame: Blame,
    /// The instruction (slot) at which the proof failed.
    pub instruction: Option<u32>,
    /// The limit that was met, by name and value.
    pub limit: Option<(String, u64)>,
    /// A frame that shows why.
    pub witness: Option<Vec<u8>>,
    /// The binding or grant that the claim collides with.
    pub other: Option<u64>,
    /// One or two lines that a person can act on.
    pub explanation: String,
}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads a record; `None` if the bytes are none of this version.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let (record, _) = postcard::take_from_bytes::<Record>(bytes).ok()?;
        (record.version == VERSION).then_some(record)
    }
}
