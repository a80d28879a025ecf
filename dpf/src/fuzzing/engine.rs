//! The engine says what the registry says, whatever comes and goes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::Poll;

use flow::{Space, expr, lower};
use runtime::pages::CodePages;
use verifier::{
    BindingId, Claim, ClaimProof, Derivation, Fuel, GrantId, Ownership, Placement, Registry,
    Transmit,
};

use super::native::verified;
use crate::engine::{Engine, Verdict};
use crate::plan::HashKey;

const STEPS_MAX: usize = 40;
const ALL: u32 = u32::MAX;

struct World<'a> {
    registry: Registry,
    engine: Engine,
    pages: &'a mut dyn CodePages,
    bindings: Vec<BindingId>,
    grants: Vec<GrantId>,
    /// Frames to ask about: near everything that was ever asked for.
    frames: Vec<Vec<u8>>,
}

/// Each byte pair is a step: grant, bind, release or revoke something. After each step engine,
/// interpreted plan and registry must answer alike for all frames. Returns the steps that changed
/// something.
///
/// # Panics
/// If they differ, or if the engine keeps what was taken out.
#[must_use]
pub fn engine_is_registry(bytes: &[u8], pages: &mut dyn CodePages) -> usize {
    let mut world = World {
        registry: Registry::new(),
        engine: Engine::new(HashKey::new(bytes.len() as u64)),
        pages,
        bindings: Vec::new(),
        grants: alloc::vec![GrantId::ROOT],
        frames: Vec::new(),
    };
    let mut changes = 0;
    for step in bytes.chunks_exact(3).take(STEPS_MAX) {
        let [what, which, value] = [0, 1, 2].map(|at| step.get(at).copied().unwrap_or(0));
        changes += usize::from(world.step(what, which, value));
        world.compare();
    }
    world.clear();
    changes
}

/// Expressions that often meet, nest and share shapes.
pub(super) fn expression(which: u8, value: u8) -> String {
    let (port, host) = (value % 6, value % 5);
    match which % 12 {
        0 => format!("udp and dst port {port}"),
        1 => format!("udp and dst portrange {port}-{}", port + value % 9),
        2 => format!("udp and dst port {port} and src host 10.0.0.{host}"),
        3 => format!("udp and dst port {port} and not src host 10.0.0.{host}"),
        4 => format!("tcp and dst port {port} and src port {}", value >> 4),
        5 => String::from("udp"),
        6 => format!("ip and dst net 10.0.{host}.0/24"),
        7 => format!("arp and ether[21] == {port}"),
        8 => format!("udp and less {}", 60 + u16::from(value)),
        9 => format!("ip6 and udp and dst port {port}"),
        10 => format!("ip6 and tcp and dst port {port}"),
        _ => format!("vlan {port} and udp and dst port {port}"),
    }
}

pub(super) fn claim(text: &str) -> Option<(Claim, Space)> {
    let space = expr::parse(text).ok()?.to_space().ok()?;
    let verified = verified(lower::lower(&space).ok()?)?;
    match ClaimProof::new(verified).step(&mut Fuel(ALL)) {
        Poll::Ready(claim) => Some((claim.ok()?, space)),
        Poll::Pending => None,
    }
}

/// A frame of each rule of a space, and that with one of the bytes changed which matter.
pub(super) fn near(space: &Space) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for rule in space.rules() {
        let Ok(Some(witness)) = rule.witness() else { continue };
        for (cell, _) in rule.cells() {
            let mut frame = witness.clone();
            let byte = cell.address(&frame).and_then(|at| frame.get_mut(at));
            if let Some(byte) = byte {
                *byte = byte.wrapping_add(1);
            }
            frames.push(frame);
        }
        frames.push(witness);
    }
    frames
}

impl World<'_> {
    fn step(&mut self, what: u8, which: u8, value: u8) -> bool {
        match what % 8 {
            0..=3 => self.bind(what, which, value).is_some(),
            4 | 5 => self.grant(what, which, value).is_some(),
            6 => self.release(which),
            _ => self.revoke(which),
        }
    }

    fn choose_grant(&self, number: u8) -> Option<GrantId> {
        self.grants.get(usize::from(number >> 3) % self.grants.len()).copied()
    }

    fn bind(&mut self, what: u8, which: u8, value: u8) -> Option<()> {
        let grant = self.choose_grant(what)?;
        let (claim, space) = claim(&expression(which, value))?;
        self.watch(&space);
        let mut proof = Placement::bind(&self.registry, grant, claim).ok()?;
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else { return None };
        let owned = self.registry.own(placed.ok()?).ok()?;
        let prepared = self.engine.prepare(&owned, self.pages).ok()?;
        if value == 0xff {
            drop(owned);
            self.engine.discard(prepared, self.pages);
            return None;
        }
        let id = owned.commit();
        self.engine.publish(prepared, id);
        self.bindings.push(id);
        Some(())
    }

    fn grant(&mut self, what: u8, which: u8, value: u8) -> Option<()> {
        let parent = self.choose_grant(what)?;
        let (claim, space) = claim(&expression(which, value))?;
        self.watch(&space);
        let transmit = Transmit::Space(Space::all());
        let mut proof = Derivation::new(&self.registry, parent, claim, transmit).ok()?;
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else { return None };
        let placed = placed.ok()?;
        let prepared = self.engine.prepare_grant(&self.registry, &placed, self.pages).ok()?;
        match self.registry.adopt(placed) {
            Ok(id) => {
                self.engine.publish_grant(prepared, id);
                self.grants.push(id);
                Some(())
            }
            Err(_) => {
                self.engine.discard_grant(prepared, self.pages);
                None
            }
        }
    }

    fn release(&mut self, which: u8) -> bool {
        if self.bindings.is_empty() {
            return false;
        }
        let id = self.bindings.swap_remove(usize::from(which) % self.bindings.len());
        assert!(self.registry.release(id).is_some(), "the registry lost {id}");
        assert!(self.engine.remove(id, self.pages), "the engine lost {id}");
        true
    }

    fn revoke(&mut self, which: u8) -> bool {
        let Some(id) = self.grants.get(usize::from(which) % self.grants.len()).copied() else {
            return false;
        };
        let revoked = self.registry.revoke(id);
        for id in &revoked.bindings {
            assert!(self.engine.remove(*id, self.pages), "the engine lost {id}");
        }
        for id in &revoked.grants {
            assert!(self.engine.remove_grant(*id, self.pages), "the engine lost {id}");
        }
        self.bindings.retain(|id| !revoked.bindings.contains(id));
        self.grants.retain(|id| !revoked.grants.contains(id));
        !revoked.grants.is_empty() || !revoked.bindings.is_empty()
    }

    /// Notes frames in and near a space.
    fn watch(&mut self, space: &Space) {
        self.frames.extend(near(space));
        let surplus = self.frames.len().saturating_sub(400);
        self.frames.drain(..surplus);
    }

    fn compare(&self) {
        for frame in &self.frames {
            let verdict = self.engine.classify(frame);
            let owner = match self.registry.owner_of(frame) {
                Ownership::Bound(id) => Verdict::Bound(id),
                Ownership::Unbound(grant) => Verdict::Unbound(Some(grant)),
            };
            assert_eq!(verdict, owner, "{}", flow::witness::render(frame));
            assert_eq!(verdict, self.engine.classify_interpreted(frame));
        }
    }

    fn clear(&mut self) {
        while self.release(0) {}
        let _everything = self.revoke(0);
        let stats = self.engine.stats();
        assert_eq!((stats.entries, stats.bindings, stats.grants), (0, 0, 0), "{stats:?}");
    }
}
