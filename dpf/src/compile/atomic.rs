//! Atomic operations (RFC 9669 §5.3).
//!
//! x86 has an instruction for each but the fetching or, and, xor: those are a compare-and-exchange
//! loop, which ends because there is one processor and nothing interrupts it for ever.

use ebpf::{AtomicOp, Insn, Reg, Size, Width};

use super::Emitter;
use super::map::{KEEP_RAX, KEEP_RDX, SCRATCH, machine};
use super::memory::memory;
use crate::x86::{Alu, Cc, Gpr, Locked, Mem};

impl Emitter<'_> {
    pub(super) fn atomic(&mut self, insn: &Insn) {
        let Insn::Atomic { size, op, fetch, base, offset, src } = *insn else { return };
        let width = if size == Size::B4 { Width::W32 } else { Width::W64 };
        let mem = memory(base, offset);
        match (op, fetch) {
            (AtomicOp::Add, true) => self.locked(Locked::Xadd, width, mem, src),
            (AtomicOp::Add, false) => self.locked(Locked::Alu(Alu::Add), width, mem, src),
            (AtomicOp::Or, false) => self.locked(Locked::Alu(Alu::Or), width, mem, src),
            (AtomicOp::And, false) => self.locked(Locked::Alu(Alu::And), width, mem, src),
            (AtomicOp::Xor, false) => self.locked(Locked::Alu(Alu::Xor), width, mem, src),
            (AtomicOp::Or, true) => self.fetching(Alu::Or, width, mem, src),
            (AtomicOp::And, true) => self.fetching(Alu::And, width, mem, src),
            (AtomicOp::Xor, true) => self.fetching(Alu::Xor, width, mem, src),
            (AtomicOp::Xchg, _) => self.locked(Locked::Xchg, width, mem, src),
            (AtomicOp::Cmpxchg, _) => self.compare_exchange(width, mem, src),
        }
    }

    fn locked(&mut self, op: Locked, width: Width, mem: Mem, src: Reg) {
        self.asm.locked(op, width, mem, machine(src));
    }

    /// On success `cmpxchg` leaves `rax` alone, upper half included: clear that.
    fn compare_exchange(&mut self, width: Width, mem: Mem, src: Reg) {
        self.locked(Locked::Cmpxchg, width, mem, src);
        if width == Width::W32 {
            self.asm.mov_rr(Width::W32, Gpr::RAX, Gpr::RAX);
        }
    }

    fn fetching(&mut self, op: Alu, width: Width, mem: Mem, src: Reg) {
        let src = machine(src);
        let base = if mem.base == Gpr::RAX { KEEP_RAX } else { mem.base };
        let mem = Mem::new(base, mem.disp);
        let size = if width == Width::W32 { Size::B4 } else { Size::B8 };
        let again = self.asm.label();
        self.asm.mov_rr(Width::W64, KEEP_RAX, Gpr::RAX);
        self.asm.mov_rr(Width::W64, SCRATCH, src);
        self.asm.load(size, Gpr::RAX, mem);
        self.asm.bind(again);
        self.asm.mov_rr(Width::W64, KEEP_RDX, Gpr::RAX);
        self.asm.alu_rr(op, width, KEEP_RDX, SCRATCH);
        self.asm.locked(Locked::Cmpxchg, width, mem, KEEP_RDX);
        self.asm.jcc(Cc::Ne, again);
        if src != Gpr::RAX {
            self.asm.mov_rr(Width::W64, src, Gpr::RAX);
            self.asm.mov_rr(Width::W64, Gpr::RAX, KEEP_RAX);
        }
    }
}
