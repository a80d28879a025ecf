//! What compiler and checker take for granted of a program: what the verifier found, and its maps.
//!
//! eBPF programs load 32 bits at the offsets of `struct xdp_md`; the native context has pointers of
//! 64 bits at other offsets, so those loads must be rewritten, and only those. A look-up in an
//! array is a comparison and an address, if it is the same array on every path. The verifier knows
//! both. Compiler and checker use the same premises: they speak about eBPF, not emitted code.

#[cfg(test)]
mod analysis;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ebpf::context::Field;
use ebpf::{CallTarget, Insn, MapSpec, Passed, Program, Reg};
use runtime::map::Map;
use verifier::Verified;

/// What is taken for granted of one program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Premises {
    /// The slots whose loads read the context, and the fields that they read.
    fields: BTreeMap<u32, Field>,
    /// The slots whose calls are given a map, and which.
    lookups: BTreeMap<u32, u32>,
    /// The slots that call a helper by register, and which.
    helpers: BTreeMap<u32, u32>,
    /// Which optional arguments calls pass.
    passed: Passed,
    /// The maps, by position.
    maps: Vec<Arc<Map>>,
    /// Whether all this was proven: what it says nothing of is then never run.
    proven: bool,
}

impl Premises {
    /// What the verifier found, and these maps; `None` if they are not the program's.
    pub(crate) fn of(verified: &Verified, maps: &[Arc<Map>]) -> Option<Self> {
        let program = verified.program();
        let specs = maps.iter().map(|map| map.spec());
        if !program.maps().iter().eq(specs) {
            return None;
        }
        let slots = 0..program.len() as u32;
        let fields = slots.clone().filter_map(|pc| Some((pc, verified.context_load(pc)?)));
        let lookups = slots.clone().filter_map(|pc| Some((pc, verified.map_at(pc)?)));
        let helpers = slots.clone().filter_map(|pc| Some((pc, verified.helper_at(pc)?)));
        Some(Self {
            fields: fields.collect(),
            lookups: lookups.collect(),
            helpers: helpers.collect(),
            passed: ebpf::passed(program),
            maps: maps.to_vec(),
            proven: true,
        })
    }

    /// The field that the load at `pc` reads.
    pub(crate) fn at(&self, pc: u32) -> Option<Field> {
        self.fields.get(&pc).copied()
    }

    /// The map that the helper call at `pc` is given, on every path.
    pub(crate) fn map_at(&self, pc: u32) -> Option<&Map> {
        self.map(*self.lookups.get(&pc)?)
    }

    /// The helper that the call at `pc` calls by register, on every path; `Some(None)` where no run
    /// comes by.
    pub(crate) fn helper_at(&self, pc: u32) -> Option<Option<u32>> {
        match self.helpers.get(&pc) {
            Some(id) => Some(Some(*id)),
            None => self.proven.then_some(None),
        }
    }

    /// The map at a position.
    pub(crate) fn map(&self, position: u32) -> Option<&Map> {
        self.maps.get(position as usize).map(Arc::as_ref)
    }

    /// Whether the call at `pc` passes an optional argument.
    pub(crate) fn passes(&self, pc: u32, reg: Reg) -> bool {
        self.passed.at(pc, reg)
    }

    /// The maps, for whoever keeps the code.
    pub(crate) fn maps(&self) -> Vec<Arc<Map>> {
        self.maps.clone()
    }
}

/// Address of a map, as helpers take it.
pub(crate) fn object_address(map: &Map) -> u64 {
    core::ptr::from_ref(map).expose_provenance() as u64
}

/// Address of a byte of a map's only value, if a 64-bit load may have it.
pub(crate) fn direct_address(map: &Map, offset: u32) -> Option<u64> {
    let inside = map.spec().direct_bytes().is_some_and(|bytes| offset < bytes);
    inside.then(|| map.values_address() + u64::from(offset))
}

/// Whether looking something up is a comparison and an address.
pub(crate) fn is_inlined(spec: &MapSpec) -> bool {
    spec.kind.is_array()
}

/// Whether the program calls a helper that gets the run's context as its sixth argument, so that
/// its frame must keep it.
pub(crate) fn keeps_run(program: &Program) -> bool {
    let wants = |insn: &Insn| match *insn {
        Insn::Call { target: CallTarget::Helper(id) } => id == runtime::native::WITH_RUN,
        // It may be that helper.
        Insn::Call { target: CallTarget::Register(_) } => true,
        _ => false,
    };
    program.insns().iter().any(wants)
}
