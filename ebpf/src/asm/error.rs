//! Why a text is not a program.
//!
//! One error for the whole pipeline from text to program: the line, and what is wrong with it,
//! down to the structural rule that the assembled instructions break.

use alloc::string::String;
use core::fmt;

use crate::error::DecodeError;

/// A text that does not assemble: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmError {
    /// Line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line of assembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No instruction has this name.
    Mnemonic {
        /// The word found.
        found: String,
    },
    /// Too few or too many operands.
    OperandCount {
        /// How many the instruction has.
        expected: usize,
        /// How many the line has.
        found: usize,
    },
    /// An operand is not what the instruction needs there.
    Operand {
        /// What it needs.
        expected: &'static str,
        /// The operand found.
        found: String,
    },
    /// A number does not fit its field.
    Range {
        /// The number found.
        found: String,
        /// Width of the field in bits.
        bits: u32,
    },
    /// A label is not a word.
    LabelName {
        /// The label found.
        found: String,
    },
    /// A label is defined a second time.
    LabelTwice {
        /// The label.
        label: String,
    },
    /// A jump to a label that is nowhere.
    LabelUnknown {
        /// The label.
        label: String,
    },
    /// The text is longer than [`crate::limits::TEXT_BYTES`], or the program longer than
    /// [`crate::limits::HOST_SLOTS`].
    TooLong {
        /// The limit that was hit, in bytes or slots.
        limit: usize,
    },
    /// The instructions break a structural rule.
    Structure {
        /// The rule.
        error: DecodeError,
    },
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnemonic { found } => write!(f, "there is no instruction `{found}`"),
            Self::OperandCount { expected, found } => {
                write!(f, "{expected} operands are needed, {found} are given")
            }
            Self::Operand { expected, found } => write!(f, "`{found}` is not {expected}"),
            Self::Range { found, bits } => write!(f, "{found} does not fit {bits} bits"),
            Self::LabelName { found } => write!(f, "`{found}` cannot be a label"),
            Self::LabelTwice { label } => write!(f, "the label `{label}` is defined twice"),
            Self::LabelUnknown { label } => write!(f, "the label `{label}` is not defined"),
            Self::TooLong { limit } => write!(f, "the limit of {limit} is exceeded"),
            Self::Structure { error } => error.fmt(f),
        }
    }
}

impl core::error::Error for AsmError {}
