//! All that packets need: card, registry, engine, code, bindings, grants, and what is being sent.

use abi::limits::{ENVIRONMENTS_MAX, FRAME_BYTES_MAX};
use alloc::boxed::Box;
use alloc::vec::Vec;
use dpf::{Engine, HashKey};
use machine::{CodeWindow, Nic, TransmitId};
use verifier::{BindingId, GrantId, Limits, Registry};

use crate::binding::Binding;
use crate::charge;
use crate::environment::EnvironmentId;
use crate::grant::GrantRecord;
use crate::initiate::Staging;
use crate::pieces::Pieces;
use crate::slots::Slots;

/// The network side of the kernel.
pub(crate) struct Network {
    pub(crate) nic: Option<Nic>,
    mac: Option<[u8; 6]>,
    pub(crate) code: CodeWindow,
    pub(crate) registry: Registry,
    pub(crate) engine: Engine,
    pub(crate) bindings: Slots<BindingId, Binding>,
    pub(crate) grants: Slots<GrantId, GrantRecord>,
    /// Copies that handlers sent.
    pub(crate) staging: Staging,
    /// Transmissions with the card; never more than it has room for.
    pub(crate) sending: Vec<Sending>,
    /// Who is told when the card has room again.
    pub(crate) held_back: Vec<EnvironmentId>,
    /// When the card's last interrupt came, in cycles, until its packets are picked up.
    interrupted: Option<u64>,
    /// The period of the clock that packets are charged in ([`crate::charge`]).
    pub(crate) period: u64,
    /// When the next one begins, in nanoseconds since boot.
    period_ends: u64,
    /// Whose later fragments are.
    pub(crate) pieces: Pieces,
    /// Where a transmission's header is copied to. Beyond the header it is always zero.
    pub(crate) header: Box<[u8; FRAME_BYTES_MAX]>,
}

/// A transmission that the card has not completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) id: TransmitId,
    pub(crate) binding: BindingId,
    /// The slot's index in the binding's ring.
    pub(crate) index: u32,
    /// The frame that the card reads the rest from, if there is a rest.
    pub(crate) frame: Option<u64>,
}

impl Network {
    pub(crate) fn new(
        nic: Option<Nic>,
        code: CodeWindow,
        staging: Staging,
        entropy: [u64; 4],
    ) -> Network {
        let [key, _, first, second] = entropy;
        let root = GrantRecord { guard: None, holders: 0, payer: None, cost: 0 };
        let mut grants = Slots::new();
        grants.insert(GrantId::ROOT, root);
        Network {
            mac: nic.as_ref().map(Nic::mac),
            nic,
            code,
            registry: Registry::with(Limits::KERNEL, verifier::HashKey::new(first, second)),
            engine: Engine::new(HashKey::new(key)),
            bindings: Slots::new(),
            grants,
            staging,
            sending: Vec::with_capacity(machine::limits::TRANSMIT_SLOTS),
            held_back: Vec::with_capacity(ENVIRONMENTS_MAX),
            interrupted: None,
            period: 0,
            period_ends: 0,
            pieces: Pieces::new(verifier::HashKey::new(second, key)),
            header: Box::new([0; FRAME_BYTES_MAX]),
        }
    }

    /// The card's address, if there is a card.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// What time it is: the period may be another.
    #[inline(always)]
    pub(crate) fn tick(&mut self, now_ns: u64) {
        // The clock does not go back.
        if now_ns >= self.period_ends {
            self.period = charge::period_of(now_ns);
            self.period_ends = charge::end_of(self.period);
        }
    }

    /// The card's interrupt came; when, if that is asked for.
    #[inline(always)]
    pub(crate) fn interrupted(&mut self, cycles: Option<u64>) {
        if let Some(nic) = &mut self.nic {
            nic.acknowledge();
        }
        self.interrupted = self.interrupted.or(cycles);
    }

    /// Whether the card has something for the kernel.
    pub(crate) fn is_pending(&self) -> bool {
        self.nic.as_ref().is_some_and(Nic::pending)
    }

    /// The card has nothing: an interrupt that came before was about something else.
    pub(crate) fn quiet(&mut self) {
        self.interrupted = None;
    }

    /// When what the card holds now was picked up: at its interrupt, or just now.
    pub(crate) fn pick_up(&mut self) -> u64 {
        self.interrupted.take().unwrap_or_else(machine::time::cycles)
    }

    /// Whether the card is still reading a frame.
    pub(crate) fn is_in_flight(&self, frame: u64) -> bool {
        self.sending.iter().any(|sending| sending.frame == Some(frame))
    }

    /// Transmissions with the card.
    pub(crate) fn in_flight(&self) -> usize {
        self.sending.len() + self.staging.in_flight()
    }

    /// Buffers that the card returned with a wrong id or length.
    pub(crate) fn malformed(&self) -> u64 {
        self.nic.as_ref().map_or(0, Nic::malformed)
    }

    /// A capability to the grant came to be.
    pub(crate) fn hold_grant(&mut self, id: GrantId) {
        if let Some(record) = self.grants.get_mut(&id) {
            record.holders += 1;
        }
    }

    /// Whether engine, registry and the tables here count the same.
    pub(crate) fn engine_agrees(&self) -> bool {
        let stats = self.engine.stats();
        let (grants, bindings) = self.registry.counts();
        stats.bindings == bindings && stats.grants + 1 == grants && self.grants.len() == grants
    }
}
