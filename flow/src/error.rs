//! How an operation on spaces can fail to give a yes.
//!
//! The algebra is exact: it answers with a proof or with a frame that disproves. The only third
//! answer is that a named limit was reached, and then nothing is claimed at all.

use alloc::vec::Vec;
use core::fmt;

/// An operation on spaces was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowError {
    /// The limit of that name in [`crate::limits`] was reached.
    Budget {
        /// The constant's name.
        limit: &'static str,
    },
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlowError::Budget { limit } = self;
        write!(f, "gave up at the limit {limit}")
    }
}

impl core::error::Error for FlowError {}

/// Why a statement about two spaces is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// It is false, and this frame shows it.
    Witness(Vec<u8>),
    /// It is open: the limit of that name in [`crate::limits`] was reached.
    Budget {
        /// The constant's name.
        limit: &'static str,
    },
}

impl From<FlowError> for Contradiction {
    fn from(error: FlowError) -> Contradiction {
        let FlowError::Budget { limit } = error;
        Contradiction::Budget { limit }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contradiction::Witness(frame) => {
                write!(f, "disproved by a frame of {} bytes", frame.len())
            }
            Contradiction::Budget { limit } => write!(f, "undecided at the limit {limit}"),
        }
    }
}

impl core::error::Error for Contradiction {}
