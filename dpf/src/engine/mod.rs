//! The engine: all bindings and grants merged, one look-up per mask shape.
//!
//! The idea: each rule of each claim becomes an entry in its shape's table ([`crate::plan`]), under
//! the rank of its holder. A frame is looked up once per shape by generated code; the greatest rank
//! wins. So a packet costs what the shapes cost, not what the filters cost (design decision 10),
//! and the verdict is a function of the set of holders, never of their order (decision 3).
//!
//! The caller's rules:
//! - `prepare` (all that can fail) -> commit in the registry -> `publish` (cannot fail). What is
//!   prepared and not published must be given back with `discard`.
//! - Grants are published too: a frame in a grant that no binding accepts is `Unbound`.
//! - Frames of other than 14 to 1,522 bytes belong to nobody.
//!
//! Preparing changes no verdict: entries wait in the tables with value 0, which dispatch skips.

mod classify;
mod dump;
mod entry;
mod holder;
mod merge;
mod slab;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::HashMap;
use runtime::pages::CodePages;
use verifier::{BindingId, Claim, GrantId, Owned, PlacedGrant, Registry};

pub use dump::Stats;

use crate::error::EngineError;
use crate::limits::{DEPTH_MAX, SHAPES_PER_GRANT};
use crate::load;
use crate::plan::{HashKey, Shape, SplitRule};
use entry::Claimant;
use holder::Holder;
use merge::Merged;
use slab::Slab;

/// To whom a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To this binding.
    Bound(BindingId),
    /// To no binding of this grant, the deepest that holds it; `None` if its length is not that of
    /// any frame.
    Unbound(Option<GrantId>),
}

/// A binding with all that it needs, not visible yet. Publish it or discard it.
#[must_use = "publish it or discard it"]
#[derive(Debug)]
pub struct Prepared {
    holder: usize,
}

/// A grant with all that it needs, not visible yet. Publish it or discard it.
#[must_use = "publish it or discard it"]
#[derive(Debug)]
pub struct PreparedGrant {
    holder: usize,
}

/// All bindings and grants, merged.
#[derive(Debug)]
pub struct Engine {
    merged: Merged,
    holders: Slab<Holder>,
    bindings: HashMap<BindingId, usize>,
    grants: HashMap<GrantId, usize>,
    /// Prepared and neither published nor discarded.
    waiting: usize,
    /// For each grant: its shapes by number, and how many holders use each.
    quotas: HashMap<GrantId, BTreeMap<usize, usize>>,
}

/// What makes a holder.
struct Request<'a> {
    claim: &'a Claim,
    rank: u16,
    quota: GrantId,
}

impl Engine {
    /// An engine without any binding.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self {
            merged: Merged::new(key),
            holders: Slab::new(),
            bindings: HashMap::new(),
            grants: HashMap::new(),
            waiting: 0,
            quotas: HashMap::new(),
        }
    }

    /// Reserves memory, compiles, checks and seals what a binding needs; changes no verdict.
    ///
    /// # Errors
    /// [`EngineError`]; the engine then answers as before and holds nothing new.
    pub fn prepare(
        &mut self,
        owned: &Owned<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<Prepared, EngineError> {
        let rank = rank(owned.depth(), 1)?;
        let request = Request { claim: owned.claim(), rank, quota: owned.grant() };
        Ok(Prepared { holder: self.hold(&request, pages)? })
    }

    /// Makes a prepared binding visible. Cannot fail, allocates nothing.
    pub fn publish(&mut self, prepared: Prepared, id: BindingId) {
        self.bindings.insert(id, prepared.holder);
        self.show(prepared.holder, Verdict::Bound(id));
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard(&mut self, prepared: Prepared, pages: &mut dyn CodePages) {
        self.waiting = self.waiting.saturating_sub(1);
        self.let_go(prepared.holder, pages);
    }

    /// As [`Engine::prepare`], for a grant about to be adopted.
    ///
    /// # Errors
    /// [`EngineError`], [`EngineError::NoSuchGrant`] if its parent is gone.
    pub fn prepare_grant(
        &mut self,
        registry: &Registry,
        placed: &PlacedGrant,
        pages: &mut dyn CodePages,
    ) -> Result<PreparedGrant, EngineError> {
        let quota = placed.parent();
        let parent = registry.grant(quota).ok_or(EngineError::NoSuchGrant)?;
        let rank = rank(parent.depth().saturating_add(1), 0)?;
        let request = Request { claim: placed.receive(), rank, quota };
        Ok(PreparedGrant { holder: self.hold(&request, pages)? })
    }

    /// Makes a prepared grant visible. Cannot fail, allocates nothing.
    pub fn publish_grant(&mut self, prepared: PreparedGrant, id: GrantId) {
        self.grants.insert(id, prepared.holder);
        self.show(prepared.holder, Verdict::Unbound(Some(id)));
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard_grant(&mut self, prepared: PreparedGrant, pages: &mut dyn CodePages) {
        self.waiting = self.waiting.saturating_sub(1);
        self.let_go(prepared.holder, pages);
    }

    /// Takes a binding out; true if it was there.
    pub fn remove(&mut self, id: BindingId, pages: &mut dyn CodePages) -> bool {
        let holder = self.bindings.remove(&id);
        holder.is_some_and(|holder| self.let_go(holder, pages))
    }

    /// Takes a grant out, not what is under it; true if it was there.
    pub fn remove_grant(&mut self, id: GrantId, pages: &mut dyn CodePages) -> bool {
        let holder = self.grants.remove(&id);
        holder.is_some_and(|holder| self.let_go(holder, pages))
    }
}

/// Holders come and go.
impl Engine {
    /// Everything that can fail, for one holder: its index.
    fn hold(
        &mut self,
        request: &Request<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<usize, EngineError> {
        let rules: Vec<SplitRule> =
            request.claim.space().rules().iter().map(SplitRule::of).collect();
        let mut shapes: Vec<Shape> = Vec::new();
        for rule in &rules {
            if !shapes.contains(&rule.shape) {
                shapes.push(rule.shape.clone());
            }
        }
        self.within_quota(request.quota, &shapes)?;
        self.reserve_names()?;
        self.merged.reshape(&shapes, pages)?;
        let index = self.holders.insert(Holder::new(request.claim, request.quota))?;
        self.waiting += 1;
        match self.fill(index, request, &rules, pages) {
            Ok(()) => Ok(index),
            Err(error) => {
                self.waiting -= 1;
                self.let_go(index, pages);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        index: usize,
        request: &Request<'_>,
        rules: &[SplitRule],
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        for rule in rules {
            let number = self.merged.number_of(&rule.shape).ok_or(EngineError::NoMemory)?;
            self.charge(index, number)?;
            let entry = self.merged.enter(number, rule.key)?;
            self.note(index, entry)?;
            let (exact, rank) = (rule.exact, request.rank);
            let claimant = Claimant { holder: index, rank, exact, visible: false };
            if let Some(entry) = self.merged.entries.get_mut(entry) {
                entry.add(claimant)?;
            }
        }
        if rules.iter().any(|rule| !rule.exact) {
            let program = load::load(request.claim.verified(), pages)?;
            if let Some(holder) = self.holders.get_mut(index) {
                holder.residual = Some(program);
            }
        }
        Ok(())
    }

    /// Notes that a holder claims an entry, so that `let_go` finds it.
    fn note(&mut self, index: usize, entry: usize) -> Result<(), EngineError> {
        let Some(holder) = self.holders.get_mut(index) else { return Ok(()) };
        if !holder.entries.contains(&entry) {
            // Should there be no room, an entry that is new must not stay behind.
            if holder.entries.try_reserve(1).is_err() {
                self.tidy(entry);
                return Err(EngineError::NoMemory);
            }
            holder.entries.push(entry);
        }
        Ok(())
    }

    /// A grant's shapes with `shapes` must be within its quota. The root has none: who holds it
    /// decides over everything, up to the engine's own limit.
    fn within_quota(&self, grant: GrantId, shapes: &[Shape]) -> Result<(), EngineError> {
        if grant == GrantId::ROOT {
            return Ok(());
        }
        let used = self.quotas.get(&grant);
        let new = shapes.iter().filter(|shape| {
            let number = self.merged.number_of(shape);
            !number.is_some_and(|number| used.is_some_and(|used| used.contains_key(&number)))
        });
        if used.map_or(0, BTreeMap::len) + new.count() > SHAPES_PER_GRANT {
            return Err(EngineError::GrantShapes { limit: SHAPES_PER_GRANT });
        }
        Ok(())
    }

    /// Charges a shape to the holder's grant, once per holder.
    fn charge(&mut self, index: usize, number: usize) -> Result<(), EngineError> {
        let Some(holder) = self.holders.get_mut(index) else { return Ok(()) };
        if !holder.shapes.contains(&number) {
            self.quotas.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
            holder.shapes.push(number);
            *self.quotas.entry(holder.quota).or_default().entry(number).or_default() += 1;
        }
        Ok(())
    }

    /// Room for one more name in each map, so that publishing does not allocate.
    fn reserve_names(&mut self) -> Result<(), EngineError> {
        let names = self.waiting + 1;
        self.bindings.try_reserve(names).map_err(|_| EngineError::NoMemory)?;
        self.grants.try_reserve(names).map_err(|_| EngineError::NoMemory)
    }

    fn show(&mut self, index: usize, verdict: Verdict) {
        self.waiting = self.waiting.saturating_sub(1);
        let Some(holder) = self.holders.get_mut(index) else { return };
        holder.verdict = Some(verdict);
        for entry in &holder.entries {
            if let Some(found) = self.merged.entries.get_mut(*entry) {
                found.publish(index);
            }
            self.merged.refresh(*entry);
        }
    }

    /// Takes a holder out with all that it claims; true if it was there.
    fn let_go(&mut self, index: usize, pages: &mut dyn CodePages) -> bool {
        let Some(holder) = self.holders.remove(index) else { return false };
        for entry in &holder.entries {
            if let Some(found) = self.merged.entries.get_mut(*entry) {
                found.remove(index);
            }
            self.tidy(*entry);
        }
        if let Some(used) = self.quotas.get_mut(&holder.quota) {
            for number in &holder.shapes {
                if let Some(count) = used.get_mut(number) {
                    *count -= 1;
                }
            }
            used.retain(|_, count| *count != 0);
            if used.is_empty() {
                self.quotas.remove(&holder.quota);
            }
        }
        if let Some(program) = holder.residual {
            program.free(pages);
        }
        // Shapes that nobody uses any more cost a probe until they can be dropped; if there is no
        // page for the new code now, the next change of shapes drops them.
        let _dropped = self.merged.reshape(&[], pages);
        true
    }

    /// Rewrites an entry's value, or takes it out if nobody claims it.
    fn tidy(&mut self, entry: usize) {
        if self.merged.entries.get(entry).is_some_and(entry::Entry::is_empty) {
            self.merged.leave(entry);
        } else {
            self.merged.refresh(entry);
        }
    }
}

/// A binding (`above` = 1) ranks above its grant (`above` = 0), both above what is further up.
fn rank(depth: u32, above: u16) -> Result<u16, EngineError> {
    let deep = EngineError::Depth { limit: DEPTH_MAX };
    let depth = u16::try_from(depth).ok().filter(|depth| u32::from(*depth) <= DEPTH_MAX);
    depth.map(|depth| depth * 2 + above).ok_or(deep)
}
