//! What there is to see of a machine: one model that every rendering shows.
//!
//! It is made of the framed channel's records alone. Who lives, who holds what and which filters
//! are bound come as they happen; the books come when asked for, and rates are the differences of
//! two of them. Counts by binding are of the kernel's trace, so that what the channel lost is
//! missing from them ([`Model::lost`] says how much); the totals are the kernel's own and lack
//! nothing. ASH time is the processor time of handlers whose packet came alone, so that it was
//! measured.

use std::collections::{BTreeMap, VecDeque};

use abi::books::{Books, REASONS, Reason};
use abi::record::{Record, Verdict};
use abi::start::{Manifest, State};
use serde::Serialize;

use crate::roster::Roster;
use crate::run::log::ended;

/// Grants that are kept; carved connections beyond them have numbers, and no names.
const GRANTS_KEPT: usize = 128;
/// Environments that have ended and are still shown.
const ENDED_SHOWN: usize = 16;

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Living {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it does, or how it ended.
    pub state: String,
    /// Whether it has ended.
    pub ended: bool,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its parent's.
    pub parent: String,
    /// What it holds.
    pub receives: String,
}

/// Packets by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic<N> {
    /// By an ASH, in the kernel.
    pub answered: N,
    /// Into a ring.
    pub delivered: N,
    /// Dropped.
    pub dropped: N,
    /// Sent for a library OS.
    pub sent: N,
    /// Not let out.
    pub refused: N,
}

/// A binding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// Its number.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Its grant's name.
    pub grant: String,
    /// Instructions of its filter.
    pub filter: usize,
    /// Instructions of its ASH; zero without one.
    pub ash: u32,
    /// Its packets.
    pub packets: Traffic<u64>,
    /// Handler runs that were measured.
    pub ash_runs: u64,
    /// Nanoseconds that they took.
    pub ash_ns: u64,
}

/// One moment of a machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Model {
    /// Nanoseconds since boot at the last books.
    pub at_ns: u64,
    /// Who lives; those that ended lately last.
    pub environments: Vec<Living>,
    /// Grants in the order of their derivation.
    pub grants: Vec<Held>,
    /// Live bindings.
    pub bindings: Vec<Bound>,
    /// All packets since boot.
    pub packets: Traffic<u64>,
    /// Packets per second, between the last two books.
    pub rates: Traffic<f64>,
    /// Dropped packets by reason, without those that never happened.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Refused transmissions by reason, likewise.
    pub refused: BTreeMap<&'static str, u64>,
    /// Packets taken from the card.
    pub received: u64,
    /// Of them not decided yet.
    pub in_flight: u64,
    /// Pages of memory: all, free, owned by library OSes, the kernel's.
    pub frames: [u64; 4],
    /// The first check of the books that fails.
    pub failing: Option<String>,
    /// Records that the channel lost.
    pub lost: u64,
    #[serde(skip)]
    roster: Roster,
    #[serde(skip)]
    numbers: VecDeque<u64>,
}

impl Model {
    /// Takes one record more. `true` if it was the books: the moment is whole.
    pub fn take(&mut self, record: Record, manifest: &Manifest) -> bool {
        match &record {
            Record::Packet { verdict, .. } => {
                self.packet(*verdict);
                return false;
            }
            Record::Stages { binding, cycles } => {
                let ns = (self.roster.micros(cycles[2]) * 1000.0) as u64;
                if let Some(bound) = self.bound(*binding) {
                    bound.ash_runs += 1;
                    bound.ash_ns += ns;
                }
                return false;
            }
            Record::Books(books) => {
                self.books(books);
                return true;
            }
            _ => {}
        }
        self.roster.take(record.clone(), manifest);
        match record {
            Record::Environment { id, name, state, detail } => {
                self.environment(id, name, state, detail);
            }
            Record::Granted { grant, parent, .. } => self.granted(grant, parent),
            Record::Bound { binding, .. } => self.bind(binding),
            Record::Unbound { binding } => self.unbind(binding),
            _ => {}
        }
        false
    }

    fn environment(&mut self, id: u32, name: String, state: State, detail: u64) {
        let end = ended(state, detail);
        let is_over = end.is_some();
        let state = end.unwrap_or_else(|| format!("{state:?}").to_lowercase());
        let living = Living { id, name, state, ended: is_over };
        self.environments.retain(|it| it.id != id);
        self.environments.push(living);
        self.environments.sort_by_key(|it| (it.ended, it.id));
        let alive = self.environments.iter().filter(|it| !it.ended).count();
        let over = self.environments.len() - alive;
        self.environments.drain(alive..alive + over.saturating_sub(ENDED_SHOWN));
    }

    fn granted(&mut self, grant: u64, parent: u64) {
        if self.roster.grants.len() > GRANTS_KEPT {
            self.roster.grants.pop();
            return;
        }
        let Some(granted) = self.roster.grants.last() else { return };
        let number = |id| verifier::GrantId::from_raw(id).to_string();
        let known = self.roster.grants.iter().find(|it| it.id == parent);
        self.grants.push(Held {
            id: number(grant),
            name: granted.name.clone(),
            parent: known.map_or_else(|| "root".to_owned(), |it| it.name.clone()),
            receives: granted.expression.clone(),
        });
    }

    fn bind(&mut self, id: u64) {
        let Some(bound) = self.roster.bindings.pop() else { return };
        self.numbers.push_back(id);
        self.bindings.push(Bound {
            id: verifier::BindingId::from_raw(id).to_string(),
            owner: bound.owner,
            grant: self.roster.grant(bound.grant),
            filter: bound.filter.len() / 8,
            ash: bound.ash_slots,
            packets: Traffic::default(),
            ash_runs: 0,
            ash_ns: 0,
        });
    }

    fn unbind(&mut self, id: u64) {
        if let Some(at) = self.numbers.iter().position(|&number| number == id) {
            self.numbers.remove(at);
            self.bindings.remove(at);
        }
    }

    fn bound(&mut self, id: u64) -> Option<&mut Bound> {
        let at = self.numbers.iter().position(|&number| number == id)?;
        self.bindings.get_mut(at)
    }

    fn packet(&mut self, verdict: Verdict) {
        let (id, count): (_, fn(&mut Traffic<u64>) -> &mut u64) = match verdict {
            Verdict::Answered(id) => (id, |it| &mut it.answered),
            Verdict::Delivered(id) => (id, |it| &mut it.delivered),
            Verdict::Dropped(_, Some(id)) => (id, |it| &mut it.dropped),
            Verdict::Dropped(_, None) => return,
            Verdict::Sent(id) => (id, |it| &mut it.sent),
            Verdict::Refused(_, id) => (id, |it| &mut it.refused),
        };
        if let Some(bound) = self.bound(id) {
            *count(&mut bound.packets) += 1;
        }
    }

    fn books(&mut self, books: &Books) {
        let (rx, tx, frames) = (&books.rx, &books.tx, &books.frames);
        let now = Traffic {
            answered: rx.answered,
            delivered: rx.delivered,
            dropped: rx.dropped.iter().sum(),
            sent: tx.sent,
            refused: tx.refused.iter().sum(),
        };
        let seconds = books.at_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        if self.at_ns > 0 && seconds > 0.0 {
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let before = self.packets;
            self.rates = Traffic {
                answered: rate(now.answered, before.answered),
                delivered: rate(now.delivered, before.delivered),
                dropped: rate(now.dropped, before.dropped),
                sent: rate(now.sent, before.sent),
                refused: rate(now.refused, before.refused),
            };
        }
        (self.at_ns, self.packets) = (books.at_ns, now);
        (self.received, self.in_flight) = (rx.received, rx.in_flight);
        (self.dropped, self.refused) = (reasons(&rx.dropped), reasons(&tx.refused));
        self.frames = [frames.total, frames.free, frames.owned, frames.kernel];
        self.failing = books.failing().map(|check| format!("{check:?}"));
        self.lost = books.records_lost;
    }
}

fn reasons(counts: &[u64; REASONS]) -> BTreeMap<&'static str, u64> {
    let named = Reason::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    named.map(|(reason, count)| (reason.name(), *count)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::Model;
    use abi::books::{Books, Reason};
    use abi::record::{Record, Verdict};
    use abi::start::{GrantSpec, Manifest, State};

    /// A machine on which things have happened.
    pub(in crate::view) fn sample() -> Model {
        let spec = GrantSpec {
            name: "ec\"ho".into(),
            expression: "udp and dst port 7".into(),
            receive: vec![1],
            ..GrantSpec::default()
        };
        let manifest = Manifest { grants: vec![spec], ..Manifest::default() };
        let mut model = Model::default();
        let environment = |id, name: &str, state, detail| Record::Environment {
            id,
            name: name.to_owned(),
            state,
            detail,
        };
        let bound = |binding, ash_slots| Record::Bound {
            binding,
            grant: 9,
            environment: 3,
            filter: vec![0; 80],
            ash_slots,
            proof_cycles: 1,
            compile_cycles: 1,
        };
        let packet = |verdict| Record::Packet { at_ns: 1, verdict, frame: vec![0; 60] };
        let mut books = Books { at_ns: 1_000_000_000, ..Books::default() };
        let mut records = vec![
            Record::Boot { version: 1, frames: 1, mac: None, tsc_hz: 1_000_000_000 },
            environment(3, "echo", State::Runnable, 0),
            environment(4, "faulter", State::Faulted, 14),
            Record::Granted {
                grant: 9,
                parent: 1,
                environment: 1,
                receive: vec![1],
                proof_cycles: 1,
            },
            bound(5, 60),
            bound(6, 0),
            Record::Unbound { binding: 6 },
            Record::Books(books),
            packet(Verdict::Answered(5)),
            packet(Verdict::Answered(5)),
            packet(Verdict::Dropped(Reason::Guard, Some(5))),
            packet(Verdict::Dropped(Reason::Unbound, None)),
            Record::Stages { binding: 5, cycles: [1, 2, 300, 4] },
            Record::Stages { binding: 5, cycles: [1, 2, 500, 4] },
        ];
        books.at_ns += 2_000_000_000;
        (books.rx.received, books.rx.answered) = (1004, 1000);
        books.rx.dropped[Reason::Unbound as usize] = 4;
        (books.frames.total, books.frames.free, books.frames.kernel) = (10, 6, 4);
        books.records_lost = 7;
        records.push(Record::Books(books));
        let whole: Vec<bool> =
            records.into_iter().map(|record| model.take(record, &manifest)).collect();
        assert_eq!(whole.iter().filter(|it| **it).count(), 2);
        model
    }

    #[test]
    fn records_become_a_moment() {
        let model = sample();
        assert_eq!(model.packets.answered, 1000);
        assert!((model.rates.answered - 500.0).abs() < 1e-9);
        assert!((model.rates.dropped - 2.0).abs() < 1e-9);
        assert_eq!(model.dropped.get("unbound"), Some(&4));
        assert_eq!((model.failing.clone(), model.lost), (None, 7));
        let [bound] = model.bindings.as_slice() else { panic!("{:?}", model.bindings) };
        assert_eq!((bound.owner.as_str(), bound.grant.as_str()), ("echo", "ec\"ho"));
        assert_eq!((bound.packets.answered, bound.packets.dropped), (2, 1));
        assert_eq!((bound.ash_runs, bound.ash_ns), (2, 800));
        let states: Vec<bool> = model.environments.iter().map(|it| it.ended).collect();
        assert_eq!(states, [false, true]);
    }

    #[test]
    fn those_that_ended_long_ago_are_not_shown() {
        let mut model = Model::default();
        for id in 0..100 {
            let name = format!("spin.{id}");
            let record = Record::Environment { id, name, state: State::Killed, detail: 0 };
            model.take(record, &Manifest::default());
        }
        assert_eq!(model.environments.len(), super::ENDED_SHOWN);
        assert_eq!(model.environments.last().unwrap().id, 99);
    }

    #[test]
    fn books_that_do_not_add_up_are_named() {
        let mut model = Model::default();
        let mut books = Books::default();
        books.rx.received = 1;
        assert!(model.take(Record::Books(books), &Manifest::default()));
        assert_eq!(model.failing.as_deref(), Some("Receive"));
    }
}
