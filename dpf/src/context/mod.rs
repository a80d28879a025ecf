//! Which loads read the context.
//!
//! eBPF programs load 32 bits at the offsets of `struct xdp_md`; the native context has pointers of
//! 64 bits at other offsets, so those loads must be rewritten, and only those. The verifier knows
//! which they are. Compiler and checker both use this: it speaks about eBPF, not emitted code.

#[cfg(test)]
mod analysis;

use alloc::collections::BTreeMap;

use ebpf::context::Field;
use verifier::Verified;

/// The slots whose loads read the context, and the fields that they read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContextLoads {
    fields: BTreeMap<u32, Field>,
}

impl ContextLoads {
    /// What the verifier found.
    pub(crate) fn of(verified: &Verified) -> Self {
        let slots = 0..verified.program().len() as u32;
        let fields = slots.filter_map(|pc| Some((pc, verified.context_load(pc)?))).collect();
        Self { fields }
    }

    /// The field that the load at `pc` reads.
    pub(crate) fn at(&self, pc: u32) -> Option<Field> {
        self.fields.get(&pc).copied()
    }
}
