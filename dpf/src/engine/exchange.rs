//! Two bindings that take the place of one, all at once.
//!
//! Both are prepared while the old one still answers; then the old one goes and the two are there,
//! before anything is classified.

use runtime::pages::CodePages;
use verifier::{BindingId, Exchange};

use super::value::Rank;
use super::{Engine, Prepared, Request};
use crate::error::EngineError;

impl Engine {
    /// As [`Engine::prepare`], for both parts of a binding.
    ///
    /// # Errors
    /// [`EngineError`]; the engine then answers as before and holds nothing new.
    pub fn prepare_exchange(
        &mut self,
        exchange: &Exchange<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<[Prepared; 2], EngineError> {
        for id in exchange.bindings() {
            self.bindings.reserve(id.index())?;
        }
        let rank = Rank::binding(exchange.depth())?;
        let charged = self.account_under(exchange.grant())?;
        let [first, second] = exchange.claims();
        let first = Prepared { holder: self.hold(&Request::of(first, rank, charged), pages)? };
        match self.hold(&Request::of(second, rank, charged), pages) {
            Ok(holder) => Ok([first, Prepared { holder }]),
            Err(error) => {
                self.discard(first, pages);
                Err(error)
            }
        }
    }

    /// The old binding goes, its parts are visible; true if it was there. Cannot fail.
    pub fn publish_exchange(
        &mut self,
        prepared: [Prepared; 2],
        (old, new): (BindingId, [BindingId; 2]),
        pages: &mut dyn CodePages,
    ) -> bool {
        let gone = self.remove(old, pages);
        for (prepared, id) in prepared.into_iter().zip(new) {
            self.publish(prepared, id);
        }
        gone
    }
}
