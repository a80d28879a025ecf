//! Two bindings that take the place of one, all at once.
//!
//! Both are prepared while the old one still answers; then the old one goes and the two are there,
//! before anything is classified.

use runtime::pages::CodePages;
use verifier::{BindingId, Exchange};

use super::value::Rank;
use super::{Engine, Prepared, Request};
use crate::error::EngineError;
use crate::load::Loading;

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
        self.prepare_exchange_with(exchange, [None, None], pages)
    }

    /// The same, with the programs of both claims compiled already where
    /// [`crate::keeps_program`] says so.
    ///
    /// # Errors
    /// As for [`Engine::prepare_exchange`].
    pub fn prepare_exchange_with(
        &mut self,
        exchange: &Exchange<'_>,
        residuals: [Option<Loading>; 2],
        pages: &mut dyn CodePages,
    ) -> Result<[Prepared; 2], EngineError> {
        for id in exchange.bindings() {
            self.bindings.reserve(id.index())?;
        }
        let rank = Rank::binding(exchange.depth())?;
        let charged = self.account_under(exchange.grant())?;
        let [first, second] =
            exchange.claims().each_ref().map(|claim| Request::of(claim, rank, charged));
        let [one, other] = residuals;
        let first = Prepared { holder: self.hold(first.with(one), pages)? };
        match self.hold(second.with(other), pages) {
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
