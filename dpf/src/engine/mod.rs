//! The engine: all bindings merged, one look-up per mask shape.
use alloc::string::String;
use runtime::pages::CodePages;
use verifier::{BindingId, GrantId, Owned, PlacedGrant, Registry};

use crate::error::EngineError;

/// The secret that keys the engine's hashes, drawn once per boot.
#[derive(Clone, Copy)]
pub struct HashKey(u64);

impl HashKey {
    /// A key from 64 random bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "HashKey(..)")
    }
}

/// To whom a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To this binding.
    Bound(BindingId),
    /// To no binding of this grant, the deepest that holds it; `None` if its length is not that of
    /// any frame.
    Unbound(Option<GrantId>),
}

/// What the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Published bindings.
    pub bindings: usize,
    /// Published derived grants.
    pub grants: usize,
    /// Mask shapes, each a probe per packet.
    pub shapes: usize,
    /// Distinct keys in all tables.
    pub entries: usize,
    /// Slots in all tables.
    pub slots: usize,
    /// Bytes of dispatch code.
    pub code_bytes: usize,
    /// Times that dispatch code was generated.
    pub compilations: u64,
}

/// A binding with all that it needs, not visible yet. Publish it or give it back.
#[must_use]
#[derive(Debug)]
pub struct Prepared(());

/// A grant with all that it needs, not visible yet. Publish it or give it back.
#[must_use]
#[derive(Debug)]
pub struct PreparedGrant(());

/// All bindings and grants, merged.
#[derive(Debug)]
pub struct Engine {
    key: HashKey,
}

impl Engine {
    /// An engine without any binding.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self { key }
    }

    /// Reserves memory, compiles, checks and seals what a binding needs; changes no verdict.
    ///
    /// # Errors
    /// [`EngineError`]; the engine is as before.
    pub fn prepare(
        &mut self,
        owned: &Owned<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<Prepared, EngineError> {
        let _ = (owned, pages, self.key);
        Err(EngineError::NoMemory)
    }

    /// Makes a prepared binding visible. Cannot fail, allocates nothing.
    pub fn publish(&mut self, prepared: Prepared, id: BindingId) {
        let _ = (prepared, id);
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard(&mut self, prepared: Prepared, pages: &mut dyn CodePages) {
        let _ = (prepared, pages);
    }

    /// As [`Engine::prepare`], for a grant about to be adopted.
    ///
    /// # Errors
    /// [`EngineError`]; the engine is as before.
    pub fn prepare_grant(
        &mut self,
        registry: &Registry,
        placed: &PlacedGrant,
        pages: &mut dyn CodePages,
    ) -> Result<PreparedGrant, EngineError> {
        let _ = (registry, placed, pages);
        Err(EngineError::NoMemory)
    }

    /// Makes a prepared grant visible. Cannot fail, allocates nothing.
    pub fn publish_grant(&mut self, prepared: PreparedGrant, id: GrantId) {
        let _ = (prepared, id);
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard_grant(&mut self, prepared: PreparedGrant, pages: &mut dyn CodePages) {
        let _ = (prepared, pages);
    }

    /// Takes a binding out; true if it was there.
    pub fn remove(&mut self, id: BindingId, pages: &mut dyn CodePages) -> bool {
        let _ = (id, pages);
        false
    }

    /// Takes a grant out (not what is under it); true if it was there.
    pub fn remove_grant(&mut self, id: GrantId, pages: &mut dyn CodePages) -> bool {
        let _ = (id, pages);
        false
    }

    /// To whom a frame belongs, by generated code.
    #[must_use]
    pub fn classify(&self, frame: &[u8]) -> Verdict {
        let _ = frame;
        Verdict::Unbound(None)
    }

    /// To whom a frame belongs, by the same plan without generated code.
    #[must_use]
    pub fn classify_interpreted(&self, frame: &[u8]) -> Verdict {
        let _ = frame;
        Verdict::Unbound(None)
    }

    /// Numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Shapes, tables and code as text.
    #[must_use]
    pub fn dump(&self) -> String {
        String::new()
    }
}
