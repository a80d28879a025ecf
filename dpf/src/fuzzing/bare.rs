//! An engine without proofs: for measuring with more rules than anybody wants to prove first.
//!
//! Nothing here is safe from overlaps: two rules that meet share a frame as their depths decide.
//! A product binds through `verifier::Registry`.

use flow::Rule;
use runtime::pages::CodePages;
use verifier::BindingId;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::HashKey;

/// An engine whose bindings are given as rules.
#[derive(Debug)]
pub struct Bare {
    engine: Engine,
}

impl Bare {
    /// Without any binding.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self { engine: Engine::new(key) }
    }

    /// A binding at a depth. Each rule must be one of masked comparisons only.
    ///
    /// # Errors
    /// [`EngineError`]; the engine then answers as before.
    pub fn insert(
        &mut self,
        rules: &[Rule],
        (depth, number): (u32, u32),
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        self.engine.insert_bare(rules, (depth, handle(number)), pages)
    }

    /// Takes a binding out; true if it was there.
    pub fn remove(&mut self, number: u32, pages: &mut dyn CodePages) -> bool {
        self.engine.remove(handle(number), pages)
    }

    /// The engine, to ask.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// The handle of a number, of the first generation.
fn handle(number: u32) -> BindingId {
    BindingId::from_raw(1 << 32 | u64::from(number))
}
