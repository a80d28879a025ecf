//! Bindings and grants, asked back and taken by force.
//!
//! The newest goes first. A handler runs to its end on one packet before anything else happens, so
//! that it always stops at a packet boundary. What the card still sends for the binding is
//! finished and counted; packets that wait in its ring stay readable there, for the pages are the
//! owner's. Both numbers stand in the entry.
//!
//! A grant that is called back: whoever has bindings under it is told and unbinds; when the last of
//! the others' is gone, or the deadline has passed, the grant goes with everything under it. What
//! an owner still receives after that, the residual flow space, it can read as a filter program.

use abi::revocation::{Entry, Kind};
use abi::{Handle, Status};
use alloc::vec::Vec;
use verifier::{BindingId, GrantId};

use super::{Request, Subject};
use crate::Kernel;
use crate::capability::Object;
use crate::environment::EnvironmentId;
use crate::limits::{RESIDUAL_HEAP, RESIDUAL_RULES_MAX};
use crate::reserve::Need;

impl Kernel {
    /// Calls a grant back: its users are asked to unbind until the deadline.
    ///
    /// # Errors
    /// [`Status::WrongState`] if the caller did so already, [`Status::Limit`].
    pub(crate) fn recall(
        &mut self,
        by: EnvironmentId,
        grant: GrantId,
        deadline: u64,
    ) -> Result<u32, Status> {
        let number = self.revocations.add(by, Subject::Grant(grant), deadline, 1)?;
        self.scheduler.next_deadline = self.scheduler.next_deadline.min(deadline);
        let users: Vec<EnvironmentId> = self.environments.iter().map(|(id, _)| id).collect();
        for user in users.into_iter().filter(|&user| user != by) {
            if self.bindings_under(grant, user) > 0 {
                self.tell(user, (Kind::Grants, number), grant.to_raw(), deadline);
            }
        }
        self.settle_recalls();
        Ok(number)
    }

    /// Bindings of an environment's under a grant or one below it.
    pub(super) fn bindings_under(&self, grant: GrantId, owner: EnvironmentId) -> u64 {
        let theirs = self.network.bindings.values().filter(|it| it.owner == owner);
        theirs.filter(|it| self.is_under(it.grant, grant)).count() as u64
    }

    /// Whether a grant is `above` or was derived from it, directly or not.
    fn is_under(&self, grant: GrantId, above: GrantId) -> bool {
        let mut next = Some(grant);
        while let Some(id) = next {
            if id == above {
                return true;
            }
            next = self.network.registry.grant(id).and_then(verifier::Grant::parent);
        }
        false
    }

    /// Takes back the grants that were called back and that nobody else uses any more.
    pub(super) fn settle_recalls(&mut self) {
        let open = self.revocations.requests.iter().filter(|it| !it.progress.over);
        let recalls: Vec<Request> = open.filter(|it| it.asked().is_none()).copied().collect();
        for Request { number, by, subject, .. } in recalls {
            let Subject::Grant(grant) = subject else { continue };
            let others = self
                .network
                .bindings
                .values()
                .any(|binding| binding.owner != by && self.is_under(binding.grant, grant));
            if !others {
                self.revoke_grant(grant, Some(by));
                self.conclude_recall(number);
            }
        }
    }

    fn conclude_recall(&mut self, number: u32) {
        if let Some(request) = self.revocations.get_mut(number) {
            (request.progress.given, request.progress.short) = (1, 0);
        }
        self.conclude(number);
    }

    /// Notes, in its owner's vector, a binding that goes by somebody else's will.
    pub(crate) fn note_binding(&mut self, id: BindingId) {
        let Some(binding) = self.network.bindings.get(&id) else { return };
        let sending = self.network.sending.iter().filter(|it| it.binding == id).count() as u64;
        let unread = binding.rings.as_ref().map_or(0, |rings| rings.unread());
        let (owner, grant) = (binding.owner, binding.grant);
        let entry = Entry {
            kind: Kind::Bindings as u32,
            name: id.to_raw(),
            address: sending | u64::from(unread) << 32,
            detail: grant.to_raw(),
            ..Entry::default()
        };
        self.note(owner, entry);
    }

    /// Takes the newest binding of an environment; whether there may be another.
    pub(super) fn take_newest_binding(&mut self, id: EnvironmentId) -> bool {
        self.take_binding(id, |_, _| true)
    }

    /// Takes the newest binding under whose rings there are pages that may be taken.
    pub(super) fn take_binding_for_pages(&mut self, id: EnvironmentId) -> bool {
        self.take_binding(id, |kernel, binding| {
            let rings = kernel.network.bindings.get(&binding).and_then(|it| it.rings.as_ref());
            let mut frames = rings.into_iter().flat_map(|rings| rings.frames());
            frames.any(|frame| !kernel.is_vital(id, frame))
        })
    }

    fn take_binding(
        &mut self,
        owner: EnvironmentId,
        fits: impl Fn(&Kernel, BindingId) -> bool,
    ) -> bool {
        let theirs = self.network.bindings.iter().filter(|(_, it)| it.owner == owner);
        let fitting = theirs.map(|(&id, _)| id).filter(|&id| fits(self, id));
        let Some(id) = fitting.max_by_key(|id| id.to_raw()) else { return false };
        self.note_binding(id);
        self.remove_binding(id);
        true
    }

    /// Takes the newest capability to a grant, with the bindings that stand on it; whether there
    /// may be another.
    pub(super) fn take_newest_grant(&mut self, id: EnvironmentId) -> bool {
        let is_grant = |object| matches!(object, Object::Grant(_));
        let held = self.environments.get(id).and_then(|it| it.table.last_of(is_grant));
        let Some((handle, Object::Grant(grant))) = held else { return false };
        while self.take_binding(id, |kernel, binding| {
            let it = kernel.network.bindings.get(&binding);
            it.is_some_and(|it| it.grant == grant)
        }) {
            self.poll_card();
        }
        let entry = Entry {
            kind: Kind::Grants as u32,
            name: grant.to_raw(),
            address: handle.0,
            ..Entry::default()
        };
        self.note(id, entry);
        let gone = self.environments.get_mut(id).map(|it| it.table.remove(handle));
        if let Some(Ok(capability)) = gone {
            self.forget(capability.object);
            self.returned(id, Kind::Grants);
        }
        true
    }

    /// What the bindings of an environment (those under `grant`, if one is named) still receive,
    /// as a filter program; empty if that is nothing.
    ///
    /// # Errors
    /// [`Status::Limit`] for a space of too many rules or one that makes no program;
    /// [`Status::NoMemory`].
    pub(crate) fn residual(
        &mut self,
        owner: EnvironmentId,
        grant: Option<GrantId>,
    ) -> Result<Vec<u8>, Status> {
        self.reserve(owner, Need { heap: RESIDUAL_HEAP, ..Need::default() })?;
        let theirs = self.network.bindings.iter().filter(|(_, it)| {
            it.owner == owner && grant.is_none_or(|grant| self.is_under(it.grant, grant))
        });
        let registry = &self.network.registry;
        let mut rules = Vec::new();
        for binding in theirs.filter_map(|(&id, _)| registry.binding(id)) {
            let mut space = binding.claim().space().clone();
            // What was carved out of its grant since is not its any more.
            let children = registry.grant(binding.grant()).map_or(&[][..], |it| it.children());
            if children.len() > RESIDUAL_RULES_MAX {
                return Err(Status::Limit);
            }
            for child in children.iter().filter_map(|&child| registry.grant(child)) {
                let rest = space.subtract(child.receive(), RESIDUAL_RULES_MAX);
                space = rest.map_err(|_| Status::Limit)?;
            }
            if rules.len() + space.rules().len() > RESIDUAL_RULES_MAX {
                return Err(Status::Limit);
            }
            rules.extend(space.rules().iter().cloned());
        }
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let space = flow::Space::from_rules(rules);
        space.check().map_err(|_| Status::Limit)?;
        let program = flow::lower::lower(&space).map_err(|_| Status::Limit)?;
        Ok(ebpf::encode(&program))
    }

    /// The grant that a handle names, whatever may be done with it.
    pub(crate) fn named_grant(
        &self,
        caller: EnvironmentId,
        handle: Handle,
    ) -> Result<Option<GrantId>, Status> {
        if handle == Handle::NONE {
            return Ok(None);
        }
        match self.capability(caller, handle)?.object {
            Object::Grant(id) => Ok(Some(id)),
            _ => Err(Status::WrongKind),
        }
    }
}
