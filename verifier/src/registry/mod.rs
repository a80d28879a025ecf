//! The grant tree and every binding in it: who holds which frames.
//!
//! A frame belongs to the deepest grant whose receive space holds it, and there to the one binding
//! whose filter accepts it; if there is none it is unbound, never handed to the parent (design
//! decision 3). What makes that a function of the *set* of grants and bindings:
//!
//! - a child's spaces are inside its parent's;
//! - the receive spaces of siblings do not meet;
//! - the claims of bindings under one grant do not meet, and lie in the grant's receive space.
//!
//! The registry only takes in what a proof vouches for ([`Placed`], [`PlacedGrant`]), and compares
//! again with whatever came in since the proof looked. Handles carry a generation, so that a
//! revoked one names nothing.

mod exchange;
mod ids;
mod lists;
mod owned;
mod quota;
mod slots;
mod tables;
mod why;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use flow::Space;

pub use exchange::Exchange;
pub use ids::{BindingId, GrantId};
pub use owned::Owned;
pub use why::{Accusation, Asked, Tested, Why};

use crate::claim::Claim;
use crate::hash::HashKey;
use crate::index::{Index, Work};
use crate::limits::{DEPTH_MAX, Limits};
use crate::placement::{Placed, PlacedGrant};
use crate::refusal::{Party, Refusal, RefusalCode};
pub(crate) use lists::TooMany;
use lists::{Held, Links};
use slots::Slots;
pub(crate) use tables::Tables;

/// The grant tree with its bindings.
#[derive(Debug)]
pub struct Registry {
    identity: u64,
    /// Counts insertions; every grant and binding remembers the count at its own.
    sequence: u64,
    key: HashKey,
    limits: Limits,
    grants: Slots<Grant>,
    bindings: Slots<Binding>,
    /// What the last change of the tables did.
    work: Work,
}

/// A node of the tree: who may receive and transmit what.
#[derive(Debug)]
pub struct Grant {
    receive: Arc<Space>,
    transmit: Arc<Space>,
    /// The filter that the receive space was extracted from; none at the root.
    claim: Option<Claim>,
    parent: Option<GrantId>,
    /// The root's child that it is or is under; none at the root.
    top: Option<GrantId>,
    /// Rules of all that is under it, counted at the root's children only.
    rules: usize,
    depth: u32,
    children: Vec<GrantId>,
    held: Held,
    born: u64,
    /// The rules of its bindings.
    bound: Index,
    /// The rules of its children.
    carved: Index,
}

/// A filter that owns what it accepts of its grant's effective space.
#[derive(Debug)]
pub struct Binding {
    claim: Claim,
    grant: GrantId,
    born: u64,
    links: Links,
}

/// What a revocation took away: the grant named, and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Bindings, each under one of `grants` (or under the root).
    pub bindings: Vec<BindingId>,
    /// Grants, parents before their children.
    pub grants: Vec<GrantId>,
}

/// To whom a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// To a binding.
    Bound(BindingId),
    /// To a grant in which no binding accepts it.
    Unbound(GrantId),
}

impl Grant {
    /// The frames that bindings under the grant may receive, before its children's are taken out.
    #[must_use]
    pub fn receive(&self) -> &Space {
        &self.receive
    }

    /// The frames that bindings under the grant may send.
    #[must_use]
    pub fn transmit(&self) -> &Space {
        &self.transmit
    }

    /// The filter whose claim the receive space is; none at the root.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// Derivations between the root and this grant.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// The grant it was derived from; none at the root.
    #[must_use]
    pub const fn parent(&self) -> Option<GrantId> {
        self.parent
    }

    /// The grants derived from it, oldest first.
    #[must_use]
    pub fn children(&self) -> &[GrantId] {
        &self.children
    }

    /// How many bindings are made directly under it; [`Registry::bindings_under`] names them.
    #[must_use]
    pub const fn bindings(&self) -> usize {
        self.held.count
    }

    pub(crate) fn shared_receive(&self) -> &Arc<Space> {
        &self.receive
    }

    pub(crate) fn shared_transmit(&self) -> &Arc<Space> {
        &self.transmit
    }
}

impl Binding {
    /// The filter and what it accepts.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The grant it was made under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.grant
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// Only the root: every frame, in both directions. With the kernel's limits and a hash that
    /// everybody knows: where tenants choose what is hashed, use [`Registry::with`].
    #[must_use]
    pub fn new() -> Registry {
        Registry::with(Limits::KERNEL, HashKey::PUBLIC)
    }

    /// Only the root, with limits and a secret of the caller's.
    #[must_use]
    pub fn with(limits: Limits, key: HashKey) -> Registry {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let all = Arc::new(Space::all());
        let root = Grant {
            receive: Arc::clone(&all),
            transmit: all,
            claim: None,
            parent: None,
            top: None,
            rules: 0,
            depth: 0,
            children: Vec::new(),
            held: Held::default(),
            born: 0,
            bound: Index::new(key),
            carved: Index::new(key),
        };
        let mut grants = Slots::new();
        // The first slot of a fresh table: what `GrantId::ROOT` names.
        let _root = grants.insert(root);
        Registry {
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            sequence: 0,
            key,
            limits,
            grants,
            bindings: Slots::new(),
            work: Work::default(),
        }
    }

    /// Takes a proven claim in, provisionally: it becomes a binding by [`Owned::commit`] and is
    /// rolled back otherwise.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the grant is gone, the proof is of another registry, or more
    /// than `RECHECK_MAX` neighbours came in since its last step; [`RefusalCode::Overlap`] with
    /// one that came in since; [`RefusalCode::Limit`].
    pub fn own(&mut self, placed: Placed) -> Result<Owned<'_>, Refusal> {
        placed.recheck(self)?;
        let (claim, grant, forms) = placed.into_parts();
        self.provide(grant, [claim], &[forms], 0).map(Owned::new)
    }

    /// Takes a proven derivation in: a child grant of its parent.
    ///
    /// # Errors
    /// As for [`Registry::own`].
    pub fn adopt(&mut self, placed: PlacedGrant) -> Result<GrantId, Refusal> {
        placed.recheck(self)?;
        if self.grants.len() >= self.limits.grants {
            return Err(Refusal::limit("GRANTS_MAX", self.limits.grants as u64));
        }
        let (parent_id, claim, transmit, forms) = placed.into_parts();
        let born = self.sequence + 1;
        let parent = self.grants.get(parent_id.0).ok_or(Refusal::new(RefusalCode::Stale))?;
        if parent.children.len() >= self.limits.neighbours {
            return Err(Refusal::limit("NEIGHBOURS_MAX", self.limits.neighbours as u64));
        }
        tables::room(&parent.carved, forms.iter(), self.limits)?;
        if parent.depth as usize >= DEPTH_MAX {
            return Err(Refusal::limit("DEPTH_MAX", DEPTH_MAX as u64));
        }
        self.rules_left(parent_id, forms.len(), 0)?;
        let child = Grant {
            receive: Arc::clone(claim.shared_space()),
            // A new allocation: the proof's memory is given back to its donor.
            transmit: Arc::new(Space::clone(&transmit)),
            claim: Some(claim),
            parent: Some(parent_id),
            top: parent.top,
            rules: 0,
            depth: parent.depth + 1,
            children: Vec::new(),
            held: Held::default(),
            born,
            bound: Index::new(self.key),
            carved: Index::new(self.key),
        };
        let id = GrantId(self.grants.insert(child));
        if let Some(parent) = self.grants.get_mut(parent_id.0) {
            parent.children.push(id);
        }
        if let Some(child) = self.grants.get_mut(id.0) {
            child.top.get_or_insert(id);
        }
        self.sequence = born;
        self.enter_child(id, parent_id, &forms);
        Ok(id)
    }

    /// Takes a binding out and gives its claim back; `None` if the handle names none.
    pub fn release(&mut self, id: BindingId) -> Option<Claim> {
        let binding = self.bindings.remove(id.0)?;
        if let Some(grant) = self.grants.get_mut(binding.grant.0) {
            grant.held.unlink(&mut self.bindings, binding.links);
        }
        self.leave_binding(id, binding.grant, &binding.claim);
        Some(binding.claim)
    }

    /// Takes a grant out with everything below it. The root itself stays; revoking it takes all
    /// else. A handle that names no grant revokes nothing.
    pub fn revoke(&mut self, id: GrantId) -> Revoked {
        let mut revoked = Revoked::default();
        let (top, mut rules) = (self.grant(id).and_then(|grant| grant.top), 0);
        if let Some((parent, claim)) = self.grant(id).and_then(|grant| {
            let claim = grant.claim.clone()?;
            Some((grant.parent?, claim))
        }) {
            if let Some(parent) = self.grants.get_mut(parent.0) {
                parent.children.retain(|&other| other != id);
            }
            self.leave_child(id, parent, &claim);
        }
        let key = self.key;
        let mut work = alloc::vec![id];
        while let Some(next) = work.pop() {
            let from = revoked.bindings.len();
            revoked.bindings.extend(self.bindings_under(next));
            for binding in revoked.bindings.iter().skip(from) {
                let gone = self.bindings.remove(binding.0);
                rules += gone.map_or(0, |it| it.claim.space().rules().len());
            }
            let Some(grant) = self.grants.get_mut(next.0) else { continue };
            work.append(&mut grant.children);
            (grant.held, grant.bound, grant.carved) =
                (Held::default(), Index::new(key), Index::new(key));
            // The grant revoked itself was charged for where it left its parent's index.
            if next != id
                && let Some(claim) = &grant.claim
            {
                rules += claim.space().rules().len();
            }
            if next != GrantId::ROOT && self.grants.remove(next.0).is_some() {
                revoked.grants.push(next);
            }
        }
        self.refund_rules(top, rules);
        revoked
    }

    /// The grant behind a handle.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(id.0)
    }

    /// The binding behind a handle.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        self.bindings.get(id.0)
    }

    /// Grants and bindings that are there, the root included.
    #[must_use]
    pub const fn counts(&self) -> (usize, usize) {
        (self.grants.len(), self.bindings.len())
    }

    /// To whom a frame belongs, found by running the original programs one after the other: the
    /// oracle that the engine and the proofs are held against, never the packet path.
    #[must_use]
    pub fn owner_of(&self, frame: &[u8]) -> Ownership {
        let deepest = self.deepest_holder(frame);
        let accepts = |id: &BindingId| {
            self.binding(*id).is_some_and(|binding| binding.claim.program_accepts(frame))
        };
        match self.bindings_under(deepest).find(accepts) {
            Some(id) => Ownership::Bound(id),
            None => Ownership::Unbound(deepest),
        }
    }

    /// Every binding whose program accepts a frame and whose grant is the deepest that holds it.
    /// There is never more than one; a test that finds two has found a wrong proof.
    #[must_use]
    pub fn claimants(&self, frame: &[u8]) -> Vec<BindingId> {
        let deepest = self.deepest_holder(frame);
        let accepts = |id: &BindingId| {
            self.binding(*id).is_some_and(|binding| binding.claim.program_accepts(frame))
        };
        self.bindings_under(deepest).filter(accepts).collect()
    }

    fn deepest_holder(&self, frame: &[u8]) -> GrantId {
        let mut deepest = GrantId::ROOT;
        while let Some(grant) = self.grant(deepest) {
            let holds = |id: &&GrantId| {
                let claim = self.grant(**id).and_then(Grant::claim);
                claim.is_some_and(|claim| claim.program_accepts(frame))
            };
            let Some(&child) = grant.children.iter().find(holds) else { break };
            deepest = child;
        }
        deepest
    }

    pub(crate) const fn identity(&self) -> u64 {
        self.identity
    }

    /// How much has come in so far.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// When a neighbour came in.
    pub(crate) fn born(&self, party: Party) -> Option<u64> {
        match party {
            Party::Binding(id) => self.binding(id).map(|binding| binding.born),
            Party::Grant(id) => self.grant(id).map(|grant| grant.born),
        }
    }
}
