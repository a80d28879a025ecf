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
mod exchange;
mod holder;
mod merge;
mod room;
mod shared;
mod slab;
mod step;
mod store;
#[cfg(test)]
mod tests;
mod value;
mod why;

use alloc::vec::Vec;

use flow::Rule;
use runtime::pages::CodePages;
use verifier::{BindingId, Claim, GrantId, Owned, PlacedGrant, Registry, Verified};

pub use dump::Stats;
pub use shared::{Reader, SharedError, Writer};
pub use why::{Look, Outcome, Why};

use crate::error::EngineError;
use crate::load::{self, Loading};
use crate::plan::{HashKey, Shape, SplitRule};
use entry::Claimant;
use holder::{Account, Holder};
use merge::Merged;
use slab::{Slab, Sparse};
use value::Rank;

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
    holder: u32,
}

/// A grant with all that it needs, not visible yet. Publish it or discard it.
#[must_use = "publish it or discard it"]
#[derive(Debug)]
pub struct PreparedGrant {
    holder: u32,
}

/// All bindings and grants, merged.
#[derive(Debug)]
pub struct Engine {
    merged: Merged,
    holders: Slab<Holder>,
    /// Holders by the index of their handle.
    bindings: Sparse,
    grants: Sparse,
    /// Published.
    bound: usize,
    granted: usize,
    accounts: Slab<Account>,
    /// Bytes of all tables.
    table_bytes: usize,
}

/// What makes a holder.
struct Request<'a> {
    rules: &'a [Rule],
    /// The filter; none is needed by rules that are exact by themselves.
    verified: Option<&'a Verified>,
    /// The rules are only a guard: the program has the last word on every packet.
    guard: bool,
    rank: Rank,
    charged: Option<u32>,
    /// The filter, compiled and checked; if it is needed and not there, both is done at once.
    residual: Option<Loading>,
}

impl<'a> Request<'a> {
    fn of(claim: &'a Claim, rank: Rank, charged: Option<u32>) -> Self {
        let (rules, verified) = (claim.space().rules(), Some(claim.verified()));
        Self { rules, verified, guard: !claim.is_exact(), rank, charged, residual: None }
    }

    fn with(self, residual: Option<Loading>) -> Self {
        Self { residual, ..self }
    }
}

/// Whether whoever holds a claim keeps its program, because the claim is not the whole of it: then
/// the program can be compiled beforehand, and given to [`Engine::prepare_with`] and its like.
///
/// # Errors
/// [`EngineError::NoMemory`].
pub fn keeps_program(claim: &Claim) -> Result<bool, EngineError> {
    for rule in claim.space().rules() {
        if !claim.is_exact() || !SplitRule::of(rule)?.exact {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Engine {
    /// An engine without any binding.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self {
            merged: Merged::new(key),
            holders: Slab::new(),
            bindings: Sparse::new(),
            grants: Sparse::new(),
            bound: 0,
            granted: 0,
            accounts: Slab::new(),
            table_bytes: 0,
        }
    }

    /// Prepares, commits and publishes a binding, in one.
    ///
    /// # Errors
    /// [`EngineError`]; registry and engine are then as before.
    pub fn insert(
        &mut self,
        owned: Owned<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<BindingId, EngineError> {
        let prepared = self.prepare(&owned, pages)?;
        let id = owned.commit();
        self.publish(prepared, id);
        Ok(id)
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
        self.prepare_with(owned, None, pages)
    }

    /// The same, with the claim's program compiled already where [`keeps_program`] says so.
    ///
    /// # Errors
    /// As for [`Engine::prepare`].
    pub fn prepare_with(
        &mut self,
        owned: &Owned<'_>,
        residual: Option<Loading>,
        pages: &mut dyn CodePages,
    ) -> Result<Prepared, EngineError> {
        self.bindings.reserve(owned.binding().index())?;
        let rank = Rank::binding(owned.depth())?;
        let charged = self.account_under(owned.grant())?;
        let request = Request::of(owned.claim(), rank, charged).with(residual);
        Ok(Prepared { holder: self.hold(request, pages)? })
    }

    /// Makes a prepared binding visible. Cannot fail, allocates nothing.
    pub fn publish(&mut self, prepared: Prepared, id: BindingId) {
        self.bindings.set(id.index(), Some(prepared.holder));
        self.bound += 1;
        self.show(prepared.holder, Verdict::Bound(id));
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard(&mut self, prepared: Prepared, pages: &mut dyn CodePages) {
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
        self.prepare_grant_with((registry, placed), None, pages)
    }

    /// The same, with the receive claim's program compiled already where [`keeps_program`] says so.
    ///
    /// # Errors
    /// As for [`Engine::prepare_grant`].
    pub fn prepare_grant_with(
        &mut self,
        (registry, placed): (&Registry, &PlacedGrant),
        residual: Option<Loading>,
        pages: &mut dyn CodePages,
    ) -> Result<PreparedGrant, EngineError> {
        let parent = registry.grant(placed.parent()).ok_or(EngineError::NoSuchGrant)?;
        let rank = Rank::grant(parent.depth().saturating_add(1))?;
        let charged = self.account_under(placed.parent())?;
        let request = Request::of(placed.receive(), rank, charged).with(residual);
        let holder = self.hold(request, pages)?;
        match self.open_account(holder, charged) {
            Ok(()) => Ok(PreparedGrant { holder }),
            Err(error) => {
                self.let_go(holder, pages);
                Err(error)
            }
        }
    }

    /// Makes a prepared grant visible. Cannot fail; allocates nothing if the registry numbers its
    /// grants one after the other.
    pub fn publish_grant(&mut self, prepared: PreparedGrant, id: GrantId) {
        // Made when it was prepared, unless the registry numbers its grants otherwise.
        let _room = self.grants.reserve(id.index());
        self.grants.set(id.index(), Some(prepared.holder));
        self.granted += 1;
        self.show(prepared.holder, Verdict::Unbound(Some(id)));
    }

    /// Gives back what was prepared and will not be published.
    pub fn discard_grant(&mut self, prepared: PreparedGrant, pages: &mut dyn CodePages) {
        self.let_go(prepared.holder, pages);
    }

    /// Takes a binding out; true if it was there.
    pub fn remove(&mut self, id: BindingId, pages: &mut dyn CodePages) -> bool {
        let Some(holder) = self.holder_of(Verdict::Bound(id)) else { return false };
        self.bindings.set(id.index(), None);
        self.bound -= 1;
        self.let_go(holder, pages)
    }

    /// Takes a grant out, not what is under it; true if it was there.
    pub fn remove_grant(&mut self, id: GrantId, pages: &mut dyn CodePages) -> bool {
        let Some(holder) = self.holder_of(Verdict::Unbound(Some(id))) else { return false };
        self.grants.set(id.index(), None);
        self.granted -= 1;
        self.let_go(holder, pages)
    }

    /// The holder that answers with a verdict.
    fn holder_of(&self, verdict: Verdict) -> Option<u32> {
        let holder = match verdict {
            Verdict::Bound(id) => self.bindings.get(id.index())?,
            Verdict::Unbound(id) => self.grants.get(id?.index())?,
        };
        let found = self.holders.get(holder)?;
        (found.verdict == Some(verdict)).then_some(holder)
    }
}

/// For measuring and testing without proofs (see [`crate::fuzzing::Bare`]).
impl Engine {
    /// A binding under a grant at a depth, of exact rules that nobody has proven apart.
    pub(crate) fn insert_bare(
        &mut self,
        rules: &[Rule],
        (depth, id): (u32, BindingId),
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        self.bindings.reserve(id.index())?;
        let rank = Rank::binding(depth)?;
        let (verified, charged, residual) = (None, None, None);
        let request = Request { rules, verified, guard: false, rank, charged, residual };
        let holder = self.hold(request, pages)?;
        self.publish(Prepared { holder }, id);
        Ok(())
    }
}

/// Accounts: one for each subtree under a child of the root.
impl Engine {
    /// The account that what is under a grant is charged to. The root has none: who holds it
    /// decides over everything, up to the engine's own limit.
    fn account_under(&self, grant: GrantId) -> Result<Option<u32>, EngineError> {
        if grant == GrantId::ROOT {
            return Ok(None);
        }
        let holder = self.holder_of(Verdict::Unbound(Some(grant)));
        let holder = holder.and_then(|holder| self.holders.get(holder));
        holder.map(|holder| holder.below).ok_or(EngineError::NoSuchGrant)
    }

    /// A grant's own account: its parent's, or a new one directly under the root. Makes room for
    /// the grant's name too.
    fn open_account(&mut self, holder: u32, charged: Option<u32>) -> Result<(), EngineError> {
        // Registries number grants densely, so one beyond all that are here is far enough.
        self.grants.reserve(self.granted + 1)?;
        self.grants.reserve((self.granted + 1) * 2)?;
        let account = match charged {
            Some(account) => account,
            None => self.accounts.insert(Account::new())?,
        };
        if let Some(found) = self.accounts.get_mut(account) {
            found.members += 1;
        }
        if let Some(found) = self.holders.get_mut(holder) {
            found.below = Some(account);
        }
        Ok(())
    }

    /// One member less; the last one closes it.
    fn leave_account(&mut self, account: Option<u32>) {
        let Some(account) = account else { return };
        let Some(found) = self.accounts.get_mut(account) else { return };
        found.members = found.members.saturating_sub(1);
        if found.members == 0 {
            self.accounts.remove(account);
        }
    }
}

/// Holders come and go.
impl Engine {
    /// Everything that can fail, for one holder: its index.
    fn hold(
        &mut self,
        request: Request<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<u32, EngineError> {
        let rules = request.rules;
        let mut split: Vec<SplitRule> = Vec::new();
        split.try_reserve_exact(rules.len()).map_err(|_| EngineError::NoMemory)?;
        for rule in rules {
            split.push(SplitRule::of(rule)?);
        }
        split.iter_mut().for_each(|rule| rule.exact &= !request.guard);
        self.within_quota(request.charged, &split)?;
        self.merged.admit(&split, pages)?;
        let holder = Holder::new(request.verified.cloned(), request.rank, request.charged);
        let index = self.holders.insert(holder)?;
        if let Some(account) = request.charged.and_then(|at| self.accounts.get_mut(at)) {
            account.members += 1;
        }
        match self.fill(index, request, &split, pages) {
            Ok(()) => {
                self.moved(pages);
                Ok(index)
            }
            Err(error) => {
                self.let_go(index, pages);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        index: u32,
        request: Request<'_>,
        rules: &[SplitRule],
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        let cost = request.verified.map_or(u32::MAX, Verified::worst_case);
        for rule in rules {
            let shape = self.merged.shape_of(&rule.shape).ok_or(EngineError::NoMemory)?;
            self.charge(index, shape);
            let entry = self.merged.enter(shape, &rule.values)?;
            self.note(index, entry)?;
            let (exact, rank) = (rule.exact, request.rank);
            if let Some(entry) = self.merged.entries.get_mut(entry) {
                if !exact {
                    entry.affords(cost)?;
                }
                let (holder, visible, settled) = (index, false, None);
                entry.add(Claimant { holder, rank, exact, cost, visible, settled })?;
            }
        }
        if rules.iter().any(|rule| !rule.exact) {
            let verified = request.verified.ok_or(EngineError::NoSuchGrant)?;
            let ready = request.residual.filter(|residual| residual.is_of(verified));
            let program = match ready {
                Some(ready) => ready.seal(&[], pages)?,
                None => load::load(verified, pages)?,
            };
            if let Some(holder) = self.holders.get_mut(index) {
                holder.residual = Some(program);
            }
        }
        Ok(())
    }

    /// Notes that a holder claims an entry, so that `let_go` finds it.
    fn note(&mut self, index: u32, entry: u32) -> Result<(), EngineError> {
        let Some(holder) = self.holders.get_mut(index) else { return Ok(()) };
        // Should there be no room, an entry that is new must not stay behind.
        holder.entries.add(entry).inspect_err(|_| self.tidy(entry))
    }

    /// The shapes of some rules must be within the quota of the subtree.
    fn within_quota(&self, account: Option<u32>, rules: &[SplitRule]) -> Result<(), EngineError> {
        let Some(account) = account.and_then(|at| self.accounts.get(at)) else { return Ok(()) };
        let mut shapes: Vec<(Option<u32>, &Shape)> = Vec::new();
        shapes.try_reserve_exact(rules.len()).map_err(|_| EngineError::NoMemory)?;
        for rule in rules {
            if !shapes.iter().any(|(_, known)| **known == rule.shape) {
                shapes.push((self.merged.shape_of(&rule.shape), &rule.shape));
            }
        }
        account.affords(&shapes)
    }

    /// Charges a shape to the holder's account, once per holder.
    fn charge(&mut self, index: u32, shape: u32) {
        let Some(holder) = self.holders.get_mut(index) else { return };
        let bit = 1_u64.checked_shl(shape).unwrap_or(0);
        if holder.shapes & bit == 0 {
            holder.shapes |= bit;
            if let Some(account) = holder.charged.and_then(|at| self.accounts.get_mut(at)) {
                account.charge(shape, true);
            }
        }
    }

    fn show(&mut self, index: u32, verdict: Verdict) {
        let Some(holder) = self.holders.get_mut(index) else { return };
        holder.verdict = Some(verdict);
        let settled = value::settled(holder.rank, verdict);
        for entry in holder.entries.iter() {
            if let Some(found) = self.merged.entries.get_mut(entry) {
                found.publish(index, settled);
            }
            self.merged.refresh(entry);
        }
    }

    /// Takes a holder out with all that it claims; true if it was there.
    fn let_go(&mut self, index: u32, pages: &mut dyn CodePages) -> bool {
        let Some(holder) = self.holders.remove(index) else { return false };
        for entry in holder.entries.iter() {
            if let Some(found) = self.merged.entries.get_mut(entry) {
                found.remove(index);
            }
            self.tidy(entry);
        }
        if let Some(account) = holder.charged.and_then(|at| self.accounts.get_mut(at)) {
            let shapes = (0..u64::BITS).filter(|shape| holder.shapes >> shape & 1 == 1);
            shapes.for_each(|shape| account.charge(shape, false));
        }
        self.leave_account(holder.charged);
        self.leave_account(holder.below);
        if let Some(program) = holder.residual {
            program.free(pages);
        }
        self.merged.drop_empty(pages);
        self.moved(pages);
        true
    }

    /// The step that each change takes towards what is unfinished.
    fn moved(&mut self, pages: &mut dyn CodePages) {
        if self.merged.step() {
            self.merged.drop_empty(pages);
        }
        let tables = self.merged.dispatcher.as_ref().map_or(&[][..], |all| all.tables());
        self.table_bytes = tables.iter().map(|table| table.bytes()).sum();
    }

    /// Rewrites an entry's value, or takes it out if nobody claims it.
    fn tidy(&mut self, entry: u32) {
        if self.merged.entries.get(entry).is_some_and(entry::Entry::is_empty) {
            self.merged.leave(entry);
        } else {
            self.merged.refresh(entry);
        }
    }
}
