//! What can go wrong between a proven program and its place in the engine.

use core::fmt;

use runtime::pages::CodeError;

use crate::check::CheckError;
use crate::compile::CompileError;

/// Why a program could not be loaded, or a binding or grant not prepared.
///
/// Nothing has changed then: neither the engine's verdicts nor the pages in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineError {
    /// The compiler cannot do it.
    Compile(CompileError),
    /// The checker does not accept what the compiler emitted: a bug in one of the two.
    Check(CheckError),
    /// No pages for the code.
    Pages(CodeError),
    /// The rules of a grant and its relatives have more mask shapes than they may together.
    GrantShapes {
        /// `SHAPES_PER_GRANT`.
        limit: usize,
    },
    /// The engine has as many mask shapes as it may.
    Shapes {
        /// `SHAPES_MAX`.
        limit: usize,
    },
    /// Too many keys of one shape fall together; the keys are to blame.
    Collisions {
        /// `SLOTS_PER_ENTRY_MAX`.
        limit: usize,
    },
    /// Too many rules that only differ in ranges or lengths share one key.
    Claimants {
        /// `CLAIMANTS_MAX`.
        limit: usize,
    },
    /// What may have to be asked about one key would take too long.
    ResidualCost {
        /// `RESIDUAL_COST_MAX`, instructions.
        limit: u64,
    },
    /// The grant is too deep to be ranked.
    Depth {
        /// `DEPTH_MAX`.
        limit: u32,
    },
    /// The grant is not in the registry (any more).
    NoSuchGrant,
    /// No memory for tables and entries.
    NoMemory,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compile(error) => write!(f, "{error}"),
            Self::Check(error) => write!(f, "emitted code refused: {error}"),
            Self::Pages(error) => write!(f, "{error}"),
            Self::GrantShapes { limit } => {
                write!(f, "the grant's subtree tests more than {limit} sets of fields")
            }
            Self::Shapes { limit } => {
                write!(f, "all rules together test more than {limit} sets of fields")
            }
            Self::Collisions { limit } => {
                write!(f, "keys collide: a table would need {limit} slots per entry")
            }
            Self::Claimants { limit } => {
                write!(f, "more than {limit} rules differ only in ranges or lengths")
            }
            Self::ResidualCost { limit } => {
                write!(
                    f,
                    "rules that differ only in ranges or lengths cost more than {limit} steps"
                )
            }
            Self::Depth { limit } => write!(f, "grants nest deeper than {limit}"),
            Self::NoSuchGrant => write!(f, "the grant is gone"),
            Self::NoMemory => write!(f, "no memory for the engine's tables"),
        }
    }
}

impl core::error::Error for EngineError {}

impl From<CompileError> for EngineError {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}

impl From<CheckError> for EngineError {
    fn from(error: CheckError) -> Self {
        Self::Check(error)
    }
}

impl From<CodeError> for EngineError {
    fn from(error: CodeError) -> Self {
        Self::Pages(error)
    }
}
