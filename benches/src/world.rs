//! A registry and an engine under the same filters, and the stages that lead into them.
//!
//! The stages are those of the kernel's filter path, in its order, without its fuel: `proven`
//! (decode, safe, claim), `placed` (inside the grant, apart from all others), `published` (owned,
//! prepared, committed, visible).

use std::task::Poll;

use dpf::{Engine, HashKey};
use ebpf::{Kind, Program, limits};
use flow::{Space, headers, lower};
use runtime::native::HostPages;
use verifier::{
    BindingId, Claim, ClaimProof, Fuel, GrantId, Placed, Placement, Refusal, Registry, SafetyProof,
    Verified,
};

/// The address that all filters are for.
pub const ADDRESS: [u8; 4] = [10, 0, 0, 1];

/// The port of the first filter; the others follow it.
pub const FIRST_PORT: u16 = 1024;

/// Who owns what, and the code that says so.
#[derive(Debug)]
pub struct World {
    /// The proofs' side.
    pub registry: Registry,
    /// The packets' side.
    pub engine: Engine,
    /// Where the engine's code is.
    pub pages: HostPages,
    /// The bindings, in the order of their ports.
    pub bindings: Vec<BindingId>,
}

/// The bytecode of a filter for UDP datagrams to [`ADDRESS`] and the `number`-th port.
#[must_use]
pub fn udp_filter(number: u16) -> Vec<u8> {
    lowered(&headers::udp_to(ADDRESS, FIRST_PORT + number))
}

/// The bytecode of a filter of another shape: one TCP connection.
#[must_use]
pub fn tcp_filter() -> Vec<u8> {
    lowered(&headers::tcp_from_to(([10, 0, 0, 2], 4000), (ADDRESS, 80)))
}

/// The bytecode of a filter for a space.
#[must_use]
pub fn lowered(space: &Space) -> Vec<u8> {
    match lower::lower(space) {
        Ok(program) => ebpf::encode(&program),
        Err(error) => panic!("{error}"),
    }
}

/// Decoded.
#[must_use]
pub fn decoded(kind: Kind, bytes: &[u8]) -> Program {
    ebpf::decode(bytes, kind, limits::KERNEL_SLOTS).unwrap_or_else(|error| panic!("{error}"))
}

/// Decoded and proven safe.
#[must_use]
pub fn safe(program: Program) -> Verified {
    finished(SafetyProof::new(program).step(&mut all()))
        .unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Decoded, proven safe, its claim extracted.
#[must_use]
pub fn proven(bytes: &[u8]) -> Claim {
    let verified = safe(decoded(Kind::Filter, bytes));
    finished(ClaimProof::new(verified).step(&mut all()))
        .unwrap_or_else(|refusal| panic!("{refusal}"))
}

impl World {
    /// The filters for the first `count` ports, all admitted.
    #[must_use]
    pub fn with_udp_filters(count: u16) -> World {
        let mut world = World {
            registry: Registry::new(),
            engine: Engine::new(HashKey::new(0x5eed)),
            pages: HostPages::default(),
            bindings: Vec::new(),
        };
        for number in 0..count {
            let claim = proven(&udp_filter(number));
            let placed = world.placed(claim).unwrap_or_else(|refusal| panic!("{refusal}"));
            let id = world.published(placed);
            world.bindings.push(id);
        }
        world
    }

    /// Inside the root grant and apart from all other bindings.
    ///
    /// # Errors
    /// The verifier's refusal.
    pub fn placed(&self, claim: Claim) -> Result<Placed, Refusal> {
        let mut proof = Placement::bind(&self.registry, GrantId::ROOT, claim)?;
        finished(proof.step(&self.registry, &mut all()))
    }

    /// Owned, prepared, committed, visible.
    pub fn published(&mut self, placed: Placed) -> BindingId {
        let owned = self.registry.own(placed).unwrap_or_else(|refusal| panic!("{refusal}"));
        let prepared = self.engine.prepare(&owned, &mut self.pages);
        let prepared = prepared.unwrap_or_else(|error| panic!("{error}"));
        let id = owned.commit();
        self.engine.publish(prepared, id);
        id
    }

    /// Takes a binding out again.
    pub fn withdraw(&mut self, id: BindingId) {
        assert!(self.registry.release(id).is_some() && self.engine.remove(id, &mut self.pages));
    }
}

/// Fuel for any proof.
#[must_use]
pub const fn all() -> Fuel {
    Fuel::UNLIMITED
}

/// Unlimited fuel always gets to the end.
pub fn finished<T>(step: Poll<T>) -> T {
    match step {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("out of fuel"),
    }
}
