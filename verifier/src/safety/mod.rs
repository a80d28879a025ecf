//! Is this program safe to run.
//!
//! Placeholder of the module's documentation.

use alloc::sync::Arc;

use ebpf::{Kind, Program};

use crate::fuel::{Fuel, Step};
use crate::refusal::Refusal;

/// Proves a program safe.
#[derive(Debug)]
pub struct SafetyProof {
    program: Option<Program>,
}

/// A program that was proven safe: made by [`SafetyProof`] only.
#[derive(Clone, Debug)]
pub struct Verified {
    program: Arc<Program>,
    worst_case: u32,
}

impl SafetyProof {
    /// Starts the proof.
    #[must_use]
    pub fn new(program: Program) -> SafetyProof {
        SafetyProof { program: Some(program) }
    }

    /// Works until the fuel is spent or the answer is there.
    pub fn step(&mut self, _fuel: &mut Fuel) -> Step<Verified> {
        let _unfinished = &self.program;
        core::task::Poll::Ready(Err(Refusal::new(crate::refusal::RefusalCode::Finished)))
    }
}

impl Verified {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.program.kind()
    }

    /// The most instructions that one run can take.
    #[must_use]
    pub const fn worst_case(&self) -> u32 {
        self.worst_case
    }
}
