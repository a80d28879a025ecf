//! The bindings of one grant, oldest first: a list through the bindings themselves.
//!
//! A list, because taking one of a million out must not move the others.

use super::ids::{BindingId, GrantId};
use super::slots::Slots;
use super::{Binding, Grant, Registry};

/// The ends of a grant's list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    oldest: Option<BindingId>,
    newest: Option<BindingId>,
    pub(super) count: usize,
}

/// A binding's neighbours in the list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    older: Option<BindingId>,
    newer: Option<BindingId>,
}

impl Held {
    /// Puts a binding that is in the table at the end.
    pub(super) fn push(&mut self, bindings: &mut Slots<Binding>, id: BindingId) {
        let newest = self.newest.replace(id);
        if let Some(binding) = bindings.get_mut(id.0) {
            binding.links = Links { older: newest, newer: None };
        }
        match newest.and_then(|newest| bindings.get_mut(newest.0)) {
            Some(newest) => newest.links.newer = Some(id),
            None => self.oldest = Some(id),
        }
        self.count += 1;
    }

    /// Takes out a binding that is no longer in the table.
    pub(super) fn unlink(&mut self, bindings: &mut Slots<Binding>, links: Links) {
        match links.older.and_then(|older| bindings.get_mut(older.0)) {
            Some(older) => older.links.newer = links.newer,
            None => self.oldest = links.newer,
        }
        match links.newer.and_then(|newer| bindings.get_mut(newer.0)) {
            Some(newer) => newer.links.older = links.older,
            None => self.newest = links.older,
        }
        self.count -= 1;
    }
}

impl Registry {
    /// The bindings made directly under a grant, oldest first; none if there is no such grant.
    pub fn bindings_under(&self, grant: GrantId) -> impl Iterator<Item = BindingId> {
        let mut next = self.grant(grant).and_then(|grant| grant.held.oldest);
        core::iter::from_fn(move || {
            let id = next?;
            next = self.binding(id).and_then(|binding| binding.links.newer);
            Some(id)
        })
    }

    /// The oldest binding directly under a grant that came in after `seen`, unless more than `most`
    /// did.
    ///
    /// # Errors
    /// More than `most` came in.
    pub(crate) fn binding_since(
        &self,
        grant: GrantId,
        seen: u64,
        most: usize,
    ) -> Result<Option<BindingId>, TooMany> {
        let (mut found, mut count) = (None, 0);
        let mut next = self.grant(grant).and_then(|grant| grant.held.newest);
        while let Some((id, binding)) = next.and_then(|id| Some((id, self.binding(id)?))) {
            if binding.born <= seen {
                break;
            }
            count += 1;
            if count > most {
                return Err(TooMany);
            }
            (found, next) = (Some(id), binding.links.older);
        }
        Ok(found)
    }

    /// As [`Registry::binding_since`], for the grants derived from a grant.
    pub(crate) fn child_since(
        &self,
        grant: GrantId,
        seen: u64,
        most: usize,
    ) -> Result<Option<GrantId>, TooMany> {
        let all = self.grant(grant).map_or(&[][..], Grant::children);
        let born = |id: &GrantId| self.grant(*id).map_or(0, |grant| grant.born);
        let since = &all[all.partition_point(|id| born(id) <= seen)..];
        if since.len() > most { Err(TooMany) } else { Ok(since.first().copied()) }
    }
}

/// More came in than can be compared at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;
