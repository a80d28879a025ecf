//! What the host is told of grants and bindings that came to be.

use abi::record::Record;
use alloc::vec::Vec;
use verifier::{BindingId, GrantId};

use crate::Kernel;
use crate::environment::EnvironmentId;

impl Kernel {
    /// A grant with its filter's bytes, under a parent.
    pub(super) fn tell_granted(
        &mut self,
        (owner, parent, id): (EnvironmentId, GrantId, GrantId),
        receive: Vec<u8>,
        proof_cycles: u64,
    ) {
        self.channel.emit(receive.len() + 64, || Record::Granted {
            grant: id.to_raw(),
            parent: parent.to_raw(),
            environment: owner.0,
            receive,
            proof_cycles,
        });
    }

    /// A binding with its filter's bytes and the slots of its ASH, under a grant; cycles of its
    /// proof, and of what came behind that.
    pub(super) fn tell_bound(
        &mut self,
        (owner, grant, id): (EnvironmentId, GrantId, BindingId),
        (filter, ash_slots): (Vec<u8>, usize),
        [proof_cycles, compile_cycles]: [u64; 2],
    ) {
        self.channel.emit(filter.len() + 64, || Record::Bound {
            binding: id.to_raw(),
            grant: grant.to_raw(),
            environment: owner.0,
            filter,
            ash_slots: ash_slots as u32,
            proof_cycles,
            compile_cycles,
        });
    }
}
