//! Loads and stores; loads of the context are rewritten to the native context.

use ebpf::context::Field;
use ebpf::{Insn, Operand, Reg, Size};
use runtime::native::NativeContext;

use super::Emitter;
use super::map::machine;
use crate::x86::Mem;

/// Where a field of `struct xdp_md` stands in the native context, and how wide it is there.
pub(super) fn native_field(field: Field) -> (Size, i32) {
    let (size, at) = match field {
        Field::Data => (Size::B8, core::mem::offset_of!(NativeContext, data)),
        Field::DataEnd => (Size::B8, core::mem::offset_of!(NativeContext, data_end)),
        Field::DataMeta => (Size::B8, core::mem::offset_of!(NativeContext, data_meta)),
        Field::IngressIfindex => (Size::B4, core::mem::offset_of!(NativeContext, ingress_ifindex)),
        Field::RxQueueIndex => (Size::B4, core::mem::offset_of!(NativeContext, rx_queue_index)),
    };
    (size, at as i32)
}

impl Emitter<'_> {
    pub(super) fn load(&mut self, pc: u32, insn: &Insn) {
        let Insn::Load { size, signed, dst, base, offset } = *insn else { return };
        if let Some(field) = self.premises.at(pc) {
            let (size, at) = native_field(field);
            self.asm.load(size, machine(dst), Mem::new(machine(base), at));
        } else if signed {
            self.asm.load_signed(size, machine(dst), memory(base, offset));
        } else {
            self.asm.load(size, machine(dst), memory(base, offset));
        }
    }

    pub(super) fn store(&mut self, size: Size, (base, offset): (Reg, i16), src: Operand) {
        match src {
            Operand::Reg(src) => self.asm.store_r(size, memory(base, offset), machine(src)),
            Operand::Imm(imm) => self.asm.store_i(size, memory(base, offset), imm),
        }
    }
}

/// The machine operand of an eBPF address.
pub(super) fn memory(base: Reg, offset: i16) -> Mem {
    Mem::new(machine(base), i32::from(offset))
}
