//! Filters for sockets: an expression, its flow space, the program that accepts exactly that.
//!
//! The kernel sees only the program, and extracts its claim from it: what is written here is a
//! convenience that the proof does not rely on.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use flow::FlowError;
use flow::expr::ExprError;
use flow::lower::LowerError;

/// Why an expression gave no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The text is no expression.
    Text {
        /// Where, and what was expected.
        error: ExprError,
    },
    /// Its meaning passes a limit.
    Meaning {
        /// Which limit.
        error: FlowError,
    },
    /// It cannot be written as a program.
    Lower {
        /// Why.
        error: LowerError,
    },
}

impl core::fmt::Display for FilterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Text { error } => write!(f, "{error}"),
            Self::Meaning { error } => write!(f, "{error}"),
            Self::Lower { error } => write!(f, "{error}"),
        }
    }
}

/// The filter program of an expression, as bytes for `Bind`.
///
/// # Errors
/// [`FilterError`].
pub fn from_expression(text: &str) -> Result<Vec<u8>, FilterError> {
    let expression = flow::expr::parse(text).map_err(|error| FilterError::Text { error })?;
    let space = expression.to_space().map_err(|error| FilterError::Meaning { error })?;
    let program = flow::lower::lower(&space).map_err(|error| FilterError::Lower { error })?;
    Ok(ebpf::encode(&program))
}

/// What a UDP socket asks for: datagrams to that address and port.
pub fn udp_expression([a, b, c, d]: [u8; 4], port: u16) -> String {
    format!("udp and dst host {a}.{b}.{c}.{d} and dst port {port}")
}
