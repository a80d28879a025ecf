//! The proof index of each grant, kept in step with its bindings and children.
//!
//! A rule's tag is the slot of whose it is, and which of the claim's rules.

use alloc::vec::Vec;

use flow::limits::RULES_MAX;

use super::{BindingId, Grant, GrantId, Registry};
use crate::claim::Claim;
use crate::fuel::Fuel;
use crate::hash::HashKey;
use crate::index::{Form, Index, Work};
use crate::limits::{FILL_AT_ONCE, Limits};
use crate::refusal::{Party, Refusal};

/// Fuel for putting one rule into a table.
const FILL_UNITS: u32 = 40;

fn tag(slot: usize, rule: usize) -> u32 {
    (slot * RULES_MAX + rule) as u32
}

fn forms_of(claim: &Claim) -> Vec<Form> {
    claim.space().rules().iter().map(Form::of).collect()
}

/// The form of the rule behind a tag; `None` if it has left.
fn form_behind(tag: u32, claim: impl Fn(usize) -> Option<Claim>) -> Option<Form> {
    let (slot, rule) = (tag as usize / RULES_MAX, tag as usize % RULES_MAX);
    claim(slot)?.space().rules().get(rule).map(Form::of)
}

/// Whether an index may take so many shapes in.
///
/// # Errors
/// [`crate::RefusalCode::Limit`].
pub(super) fn room<'f>(
    index: &Index,
    forms: impl Iterator<Item = &'f Form>,
    limits: Limits,
) -> Result<(), Refusal> {
    if index.shapes() + index.new_shapes(forms) > limits.shapes {
        return Err(Refusal::limit("INDEX_SHAPES_MAX", limits.shapes as u64));
    }
    Ok(())
}

impl Registry {
    /// The secret of its tables, for the proofs of whoever asks it for something.
    #[must_use]
    pub const fn hash_key(&self) -> HashKey {
        self.key
    }

    /// What the last insertion, removal or [`Registry::settle`] did to the proof index.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// Heap that the proof index of a grant holds, in bytes.
    #[must_use]
    pub fn index_bytes(&self, grant: GrantId) -> usize {
        self.grant(grant).map_or(0, |grant| grant.bound.bytes() + grant.carved.bytes())
    }

    /// Shapes that the rules of the bindings under a grant have: look-ups of a proof.
    #[must_use]
    pub fn index_shapes(&self, grant: GrantId) -> usize {
        self.grant(grant).map_or(0, |grant| grant.bound.shapes())
    }

    /// Heap that the tables of grants and bindings themselves hold, in bytes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.grants.bytes() + self.bindings.bytes()
    }

    /// Fills the tables that a new shape made necessary under a grant, until the fuel is spent.
    /// `true`: all are whole. Every commit and release does a little of it; whoever has time to
    /// spare calls this, so that proofs need not ask rules one by one.
    pub fn settle(&mut self, grant: GrantId, fuel: &mut Fuel) -> bool {
        self.work = Work::default();
        loop {
            if fuel.is_empty() {
                return false;
            }
            fuel.spend(FILL_UNITS);
            if !self.fill(grant, 1) {
                return true;
            }
        }
    }

    pub(super) fn enter_binding(&mut self, id: BindingId, grant: GrantId, forms: &[Form]) {
        self.work = Work::default();
        self.charge_rules(grant, forms.len());
        let slots = self.limits.shapes;
        if let Some(grant) = self.grants.get_mut(grant.0) {
            for (rule, form) in forms.iter().enumerate() {
                grant.bound.insert(form, tag(id.index(), rule), slots, &mut self.work);
            }
        }
        self.fill(grant, FILL_AT_ONCE);
    }

    pub(super) fn enter_child(&mut self, id: GrantId, parent: GrantId, forms: &[Form]) {
        self.work = Work::default();
        self.charge_rules(parent, forms.len());
        let slots = self.limits.shapes;
        if let Some(parent) = self.grants.get_mut(parent.0) {
            for (rule, form) in forms.iter().enumerate() {
                parent.carved.insert(form, tag(id.index(), rule), slots, &mut self.work);
            }
        }
        self.fill(parent, FILL_AT_ONCE);
    }

    pub(super) fn leave_binding(&mut self, id: BindingId, grant: GrantId, claim: &Claim) {
        self.work = Work::default();
        let top = self.grant(grant).and_then(|grant| grant.top);
        self.refund_rules(top, claim.space().rules().len());
        if let Some(grant) = self.grants.get_mut(grant.0) {
            for (rule, form) in forms_of(claim).iter().enumerate() {
                grant.bound.remove(form, tag(id.index(), rule), &mut self.work);
            }
        }
        self.fill(grant, FILL_AT_ONCE);
    }

    pub(super) fn leave_child(&mut self, id: GrantId, parent: GrantId, claim: &Claim) {
        self.work = Work::default();
        let top = self.grant(parent).and_then(|parent| parent.top);
        self.refund_rules(top, claim.space().rules().len());
        if let Some(parent) = self.grants.get_mut(parent.0) {
            for (rule, form) in forms_of(claim).iter().enumerate() {
                parent.carved.remove(form, tag(id.index(), rule), &mut self.work);
            }
        }
        self.fill(parent, FILL_AT_ONCE);
    }

    /// Fills unfinished tables under a grant by so many rules. `false`: all are whole.
    fn fill(&mut self, id: GrantId, count: usize) -> bool {
        let Some(grant) = self.grants.get_mut(id.0) else { return false };
        let bindings = &self.bindings;
        let of_binding = |tag| {
            form_behind(tag, |slot| bindings.at(slot).map(|(_, binding)| binding.claim.clone()))
        };
        if grant.bound.fill(count, of_binding, &mut self.work) {
            return true;
        }
        // Taken out for a moment: the children are in the same table as their parent.
        let key = self.key;
        let mut carved = core::mem::replace(&mut grant.carved, Index::new(key));
        let grants = &self.grants;
        let of_child = |tag| {
            form_behind(tag, |slot| grants.at(slot).and_then(|(_, grant)| grant.claim.clone()))
        };
        let more = carved.fill(count, of_child, &mut self.work);
        if let Some(grant) = self.grants.get_mut(id.0) {
            grant.carved = carved;
        }
        more
    }

    /// Whose a tag of an index is, the claim, and which rule of it.
    pub(crate) fn tagged(&self, of: Tables, tag: u32) -> Option<(Party, &Claim, usize)> {
        let (slot, rule) = (tag as usize / RULES_MAX, tag as usize % RULES_MAX);
        match of {
            Tables::Bound => {
                let (handle, binding) = self.bindings.at(slot)?;
                Some((Party::Binding(BindingId(handle)), &binding.claim, rule))
            }
            Tables::Carved => {
                let (handle, grant) = self.grants.at(slot)?;
                Some((Party::Grant(GrantId(handle)), grant.claim.as_ref()?, rule))
            }
        }
    }

    /// One of the indexes of a grant.
    pub(crate) fn index(&self, grant: GrantId, of: Tables) -> Option<&Index> {
        self.grant(grant).map(|grant: &Grant| match of {
            Tables::Bound => &grant.bound,
            Tables::Carved => &grant.carved,
        })
    }
}

/// Whose rules are looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Those of the bindings under a grant.
    Bound,
    /// Those of the grants derived from it.
    Carved,
}
