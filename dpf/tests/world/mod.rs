//! A registry and an engine that are told the same, through the whole chain of proofs.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::task::Poll;

use flow::{Space, expr, lower};
use runtime::native::HostPages;
use sluice_dpf::fuzzing::verified;
use sluice_dpf::{Engine, EngineError, HashKey, Verdict};
use verifier::{
    BindingId, Claim, ClaimProof, Derivation, Fuel, GrantId, Ownership, Placement, Registry,
    Transmit,
};

/// Fuel for any proof here.
const ALL: u32 = u32::MAX;

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) engine: Engine,
    pub(crate) pages: HostPages,
}

/// The space of an expression.
pub(crate) fn space(text: &str) -> Space {
    expr::parse(text).unwrap().to_space().unwrap()
}

/// The claim of the filter that an expression is lowered to.
pub(crate) fn claim(text: &str) -> Claim {
    claim_of(&space(text))
}

pub(crate) fn claim_of(space: &Space) -> Claim {
    let verified = verified(lower::lower(space).unwrap()).expect("a lowered filter is safe");
    match ClaimProof::new(verified).step(&mut Fuel(ALL)) {
        Poll::Ready(claim) => claim.unwrap(),
        Poll::Pending => panic!("out of fuel"),
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let engine = Engine::new(HashKey::new(seed));
        Self { registry: Registry::new(), engine, pages: HostPages::default() }
    }

    pub(crate) fn grant(&mut self, parent: GrantId, text: &str) -> GrantId {
        self.try_grant(parent, claim(text)).unwrap()
    }

    pub(crate) fn try_grant(
        &mut self,
        parent: GrantId,
        claim: Claim,
    ) -> Result<GrantId, EngineError> {
        let transmit = Transmit::Space(Space::all());
        let mut proof = Derivation::new(&self.registry, parent, claim, transmit).unwrap();
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else {
            panic!("out of fuel");
        };
        let placed = placed.unwrap();
        let prepared = self.engine.prepare_grant(&self.registry, &placed, &mut self.pages)?;
        let id = self.registry.adopt(placed).unwrap();
        self.engine.publish_grant(prepared, id);
        Ok(id)
    }

    pub(crate) fn bind(&mut self, grant: GrantId, text: &str) -> BindingId {
        self.try_bind(grant, claim(text)).unwrap()
    }

    pub(crate) fn try_bind(
        &mut self,
        grant: GrantId,
        claim: Claim,
    ) -> Result<BindingId, EngineError> {
        let mut proof = Placement::bind(&self.registry, grant, claim).unwrap();
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else {
            panic!("out of fuel");
        };
        let owned = self.registry.own(placed.unwrap()).unwrap();
        let prepared = self.engine.prepare(&owned, &mut self.pages)?;
        let id = owned.commit();
        self.engine.publish(prepared, id);
        Ok(id)
    }

    pub(crate) fn release(&mut self, id: BindingId) {
        assert!(self.registry.release(id).is_some());
        assert!(self.engine.remove(id, &mut self.pages));
    }

    pub(crate) fn revoke(&mut self, id: GrantId) {
        let revoked = self.registry.revoke(id);
        for binding in revoked.bindings {
            assert!(self.engine.remove(binding, &mut self.pages));
        }
        for grant in revoked.grants {
            assert!(self.engine.remove_grant(grant, &mut self.pages));
        }
    }

    /// Three answers that must be one.
    pub(crate) fn owner(&self, frame: &[u8]) -> Verdict {
        let verdict = self.engine.classify(frame);
        let interpreted = self.engine.classify_interpreted(frame);
        assert_eq!(verdict, interpreted, "code and plan, {}", flow::witness::render(frame));
        let owner = match self.registry.owner_of(frame) {
            Ownership::Bound(id) => Verdict::Bound(id),
            Ownership::Unbound(grant) => Verdict::Unbound(Some(grant)),
        };
        assert_eq!(verdict, owner, "engine and registry, {}", flow::witness::render(frame));
        verdict
    }
}

/// Frames at and around the boundaries of a space: for each rule a witness, and that with single
/// bytes changed, cut and lengthened.
pub(crate) fn frames_near(space: &Space) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    for rule in space.rules() {
        let Some(witness) = rule.witness().unwrap() else { continue };
        for (cell, _) in rule.cells() {
            let Some(at) = cell.address(&witness) else { continue };
            for change in [1_u8, 0x80, 0xff, 0x10, 0x04] {
                let mut frame = witness.clone();
                frame[at] ^= change;
                frames.push(frame);
            }
            for value in [0, 0xff] {
                let mut frame = witness.clone();
                frame[at] = value;
                frames.push(frame);
            }
        }
        for length in [14, witness.len().saturating_sub(1).max(14), witness.len() + 1, 200, 1522] {
            let mut frame = witness.clone();
            frame.resize(length, 0x45);
            frames.push(frame);
        }
        frames.push(witness);
    }
    frames
}
