//! Who is who in one machine's records: numbers to names.

use std::collections::BTreeMap;

use abi::record::Record;
use abi::start::{Manifest, State};

use crate::channel::Journal;

/// A grant that was derived.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its number.
    pub id: u64,
    /// Its parent's number.
    pub parent: u64,
    /// The name in the manifest, or what kind of grant it must be.
    pub name: String,
    /// The expression that people read.
    pub expression: String,
    /// Filter program of its receive space.
    pub receive: Vec<u8>,
    /// Cycles that the proof took.
    pub proof_cycles: u64,
}

/// A filter that was accepted.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The binding's number.
    pub id: u64,
    /// Under this grant.
    pub grant: u64,
    /// Whose it is.
    pub owner: String,
    /// The filter's bytes.
    pub filter: Vec<u8>,
    /// Instructions of the ASH; zero without one.
    pub ash_slots: u32,
    /// Cycles from decode to disjoint.
    pub proof_cycles: u64,
    /// Cycles from merge to seal.
    pub compile_cycles: u64,
}

/// What the records say about who exists.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Cycles per second of the time-stamp counter.
    pub tsc_hz: u64,
    /// Environments by number: name and last state with its detail.
    pub environments: BTreeMap<u32, (String, State, u64)>,
    /// Grants in the order of their derivation.
    pub grants: Vec<Granted>,
    /// Bindings in the order of their acceptance, those that are gone included.
    pub bindings: Vec<Bound>,
}

impl Roster {
    /// Reads the whole journal.
    pub fn read(journal: &Journal, manifest: &Manifest) -> Roster {
        let mut roster = Roster::default();
        for entry in journal.since(0) {
            roster.take(entry.record, manifest);
        }
        roster
    }

    /// Takes one more record.
    pub fn take(&mut self, record: Record, manifest: &Manifest) {
        match record {
            Record::Boot { tsc_hz, .. } => self.tsc_hz = tsc_hz,
            Record::Environment { id, name, state, detail } => {
                self.environments.insert(id, (name, state, detail));
            }
            Record::Granted { grant, parent, receive, proof_cycles, .. } => {
                let spec = manifest.grants.iter().find(|spec| spec.receive == receive);
                let (name, expression) = match spec {
                    Some(spec) => (spec.name.clone(), spec.expression.clone()),
                    None => ("control".to_owned(), "frames of EtherType 0x88b5".to_owned()),
                };
                let id = grant;
                self.grants.push(Granted { id, parent, name, expression, receive, proof_cycles });
            }
            Record::Bound {
                binding,
                grant,
                environment,
                filter,
                ash_slots,
                proof_cycles,
                compile_cycles,
            } => {
                let owner = self.environment(environment);
                let id = binding;
                self.bindings.push(Bound {
                    id,
                    grant,
                    owner,
                    filter,
                    ash_slots,
                    proof_cycles,
                    compile_cycles,
                });
            }
            _ => {}
        }
    }

    /// The environment's name, or its number.
    pub fn environment(&self, id: u32) -> String {
        self.environments.get(&id).map_or_else(|| format!("environment {id}"), |e| e.0.clone())
    }

    /// The number of the environment with that name; the last one, if there were several.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.environments.iter().rev().find(|(_, e)| e.0 == name).map(|(&id, _)| id)
    }

    /// The grant's name, or its number.
    pub fn grant(&self, id: u64) -> String {
        let found = self.grants.iter().find(|grant| grant.id == id);
        found.map_or_else(|| format!("grant {id:#x}"), |grant| grant.name.clone())
    }

    /// A binding as people name it: whose it is.
    pub fn binding(&self, id: u64) -> String {
        let found = self.bindings.iter().find(|bound| bound.id == id);
        found.map_or_else(
            || format!("binding {id:#x}"),
            |bound| format!("{}'s binding", bound.owner),
        )
    }

    /// Whose binding it is, or its number.
    pub fn owner(&self, id: u64) -> String {
        let found = self.bindings.iter().rev().find(|bound| bound.id == id);
        found.map_or_else(|| self.full_name(id), |bound| bound.owner.clone())
    }

    /// A binding with its number, its owner and its grant.
    pub fn full_name(&self, id: u64) -> String {
        let number = verifier::BindingId::from_raw(id);
        let found = self.bindings.iter().rev().find(|bound| bound.id == id);
        found.map_or_else(
            || format!("binding {number}"),
            |bound| {
                format!("{}'s binding {number}, grant {}", bound.owner, self.grant(bound.grant))
            },
        )
    }

    /// The bindings of the environment with that name.
    pub fn bindings_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Bound> {
        self.bindings.iter().filter(move |bound| bound.owner == owner)
    }

    /// Cycles as microseconds.
    pub fn micros(&self, cycles: u64) -> f64 {
        cycles as f64 * 1e6 / self.tsc_hz.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Roster;
    use abi::record::Record;
    use abi::start::{GrantSpec, Manifest, State};

    #[test]
    fn numbers_get_the_names_of_the_manifest() {
        let spec = GrantSpec { name: "echo".into(), receive: vec![1], ..GrantSpec::default() };
        let manifest = Manifest { grants: vec![spec], ..Manifest::default() };
        let mut roster = Roster::default();
        let boot = Record::Boot { version: 1, frames: 1, mac: None, tsc_hz: 2_000_000 };
        let (name, state) = ("talk".to_owned(), State::Runnable);
        let environment = Record::Environment { id: 3, name, state, detail: 0 };
        let (grant, parent, proof_cycles) = (9, 0, 4);
        let receive = vec![1];
        let granted = Record::Granted { grant, parent, environment: 1, receive, proof_cycles };
        let bound = Record::Bound {
            binding: 5,
            grant: 9,
            environment: 3,
            filter: vec![],
            ash_slots: 0,
            proof_cycles: 10,
            compile_cycles: 0,
        };
        for record in [boot, environment, granted, bound] {
            roster.take(record, &manifest);
        }
        assert_eq!((roster.environment(3), roster.grant(9)), ("talk".into(), "echo".into()));
        assert_eq!(roster.binding(5), "talk's binding");
        let number = verifier::BindingId::from_raw(5);
        assert_eq!(roster.full_name(5), format!("talk's binding {number}, grant echo"));
        assert!(roster.full_name(6).starts_with("binding "));
        assert_eq!(
            (roster.environment(8), roster.number("talk")),
            ("environment 8".into(), Some(3))
        );
        assert_eq!(roster.bindings_of("talk").count(), 1);
        assert!((roster.micros(10) - 5.0).abs() < 1e-9);
    }
}
