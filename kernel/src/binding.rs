//! Bindings as the kernel keeps them: owner, handler, rings, counts; and how they go.

use abi::bind::BindingStats;
use abi::record::Record;
use alloc::vec::Vec;
use dpf::NativeProgram;
use dpf::dilp::NativePipe;
use verifier::{BindingId, GrantId};

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::maps::MapId;
use crate::ring::Rings;

/// A published filter with what belongs to it.
pub(crate) struct Binding {
    pub(crate) owner: EnvironmentId,
    pub(crate) grant: GrantId,
    pub(crate) ash: Option<NativeProgram>,
    /// Whether the ASH calls helpers, which may do things besides.
    pub(crate) ash_calls: bool,
    /// The most instructions that one run of the ASH takes: what each run is charged.
    pub(crate) ash_cost: u32,
    pub(crate) rings: Option<Rings>,
    /// The maps that the ASH uses, all its owner's.
    pub(crate) maps: Vec<MapId>,
    /// What delivery does to a packet besides moving it.
    pub(crate) pipe: Option<NativePipe>,
    pub(crate) stats: BindingStats,
    /// When the last packet that was delivered was picked up, in cycles; none once answered.
    pub(crate) picked_up: Option<u64>,
    /// Kernel heap charged to the owner, in bytes.
    pub(crate) cost: u64,
}

impl Kernel {
    /// Takes a binding out of registry and engine and gives back what it held. What the card still
    /// sends for it is finished; nobody is told of the completion.
    pub(crate) fn remove_binding(&mut self, id: BindingId) {
        let grant = self.network.bindings.get(&id).map(|binding| binding.grant);
        let _claim = self.network.registry.release(id);
        self.take_down(id);
        if let Some(grant) = grant {
            self.collect_grant(grant);
        }
    }

    /// The same for a binding that the registry has let go already.
    pub(crate) fn take_down(&mut self, id: BindingId) {
        let network = &mut self.network;
        if !network.engine.remove(id, &mut network.code) {
            log::error!("binding {id} was not in the engine");
        }
        network.pieces.forget(id);
        let Some(binding) = network.bindings.remove(&id) else { return };
        if let Some(ash) = binding.ash {
            ash.free(&mut network.code);
        }
        let maps = binding.maps;
        if let Some(pipe) = binding.pipe {
            pipe.free(&mut network.code);
        }
        if let Some(owner) = self.environments.get_mut(binding.owner) {
            owner.bindings = owner.bindings.saturating_sub(1);
            owner.account.heap = owner.account.heap.saturating_sub(binding.cost);
        }
        let frames: Vec<u64> = binding.rings.iter().flat_map(Rings::frames).collect();
        // A frame can only be given back when no handle of the rings' is left.
        drop(binding.rings);
        frames.into_iter().for_each(|frame| self.unpin(frame));
        self.unpin_maps(&maps);
        self.returned(binding.owner, abi::revocation::Kind::Bindings);
        log::info!("binding {id} is gone");
        self.channel.emit(16, || Record::Unbound { binding: id.to_raw() });
    }

    /// Removes every binding of an environment.
    pub(crate) fn remove_bindings_of(&mut self, owner: EnvironmentId) {
        let theirs = self.network.bindings.iter().filter(|(_, it)| it.owner == owner);
        let ids: Vec<BindingId> = theirs.map(|(&id, _)| id).collect();
        for id in ids {
            self.remove_binding(id);
            self.poll_card();
        }
    }

    /// The pages of a ring stay where they are while it lives.
    pub(crate) fn pin(&mut self, frame: u64) {
        if let Some(page) = self.memory.at_mut(frame) {
            page.pins += 1;
        }
    }

    /// It may go again, once nothing pins it.
    pub(crate) fn unpin(&mut self, frame: u64) {
        if let Some(page) = self.memory.at_mut(frame) {
            page.pins = page.pins.saturating_sub(1);
        }
        self.collect_page(frame);
    }
}
