//! What memory accesses must look like.

use ebpf::context::Field;
use ebpf::{AtomicOp, Insn, Operand, Reg, Size, Width};

use super::CheckError;
use super::native::{Arith, At, Atomically, If, Native, R, RAX, at};
use super::program::Matcher;

/// Registers that hold nothing of eBPF's.
const OPERAND: R = R(11);
const OLD_RAX: R = R(10);
const NEW: R = R(9);

const W64: Width = Width::W64;

fn copy(width: Width, dst: R, src: R) -> Native {
    Native::Move { width, dst, src }
}

/// A field of the native context: how wide it is and where (`runtime::native::NativeContext`).
fn native_field(field: Field) -> (Size, i32) {
    match field {
        Field::Data => (Size::B8, 0),
        Field::DataEnd => (Size::B8, 8),
        Field::DataMeta => (Size::B8, 16),
        Field::IngressIfindex => (Size::B4, 24),
        Field::RxQueueIndex => (Size::B4, 28),
    }
}

impl Matcher<'_> {
    fn address(&self, base: Reg, offset: i16) -> Result<At, CheckError> {
        Ok(at(self.home(base)?, i32::from(offset)))
    }

    pub(super) fn load(&mut self, pc: u32, insn: &Insn) -> Result<(), CheckError> {
        let Insn::Load { size, signed, dst, base, offset } = *insn else {
            return self.code.refuse("a load");
        };
        let dst = self.home(dst)?;
        if let Some(field) = self.premises.at(pc) {
            let (size, place) = native_field(field);
            let from = at(self.home(base)?, place);
            return self.code.expect(Native::Load { size, dst, from }, "a load of the context");
        }
        let from = self.address(base, offset)?;
        let native = if signed {
            Native::LoadSigned { size, dst, from }
        } else {
            Native::Load { size, dst, from }
        };
        self.code.expect(native, "a load")
    }

    pub(super) fn store(&mut self, insn: &Insn) -> Result<(), CheckError> {
        let Insn::Store { size, base, offset, src } = *insn else {
            return self.code.refuse("a store");
        };
        let to = self.address(base, offset)?;
        let native = match src {
            Operand::Reg(src) => Native::Store { size, to, src: self.home(src)? },
            Operand::Imm(imm) => Native::StoreConst { size, to, value: truncated(size, imm) },
        };
        self.code.expect(native, "a store")
    }

    pub(super) fn atomic(&mut self, insn: &Insn) -> Result<(), CheckError> {
        let Insn::Atomic { size, op, fetch, base, offset, src } = *insn else {
            return self.code.refuse("an atomic operation");
        };
        let width = if size == Size::B8 { W64 } else { Width::W32 };
        let (to, reg) = (self.address(base, offset)?, self.home(src)?);
        let arith = match op {
            AtomicOp::Add => Arith::Add,
            AtomicOp::Or => Arith::Or,
            AtomicOp::And => Arith::And,
            AtomicOp::Xor => Arith::Xor,
            AtomicOp::Xchg => return self.locked(Atomically::Exchange, width, to, reg),
            AtomicOp::Cmpxchg => {
                self.locked(Atomically::CompareExchange, width, to, reg)?;
                // Success leaves the upper half of rax as it was.
                let clear = width == Width::W32;
                let native = copy(Width::W32, RAX, RAX);
                return if clear { self.code.expect(native, "a 32-bit result") } else { Ok(()) };
            }
        };
        match (fetch, arith) {
            (false, _) => self.locked(Atomically::Arith(arith), width, to, reg),
            (true, Arith::Add) => self.locked(Atomically::ExchangeAdd, width, to, reg),
            (true, _) => self.exchange_loop((arith, width), size, to, reg),
        }
    }

    fn locked(&mut self, op: Atomically, width: Width, to: At, reg: R) -> Result<(), CheckError> {
        self.code.expect(Native::Locked { op, width, to, reg }, "an atomic operation")
    }

    /// A fetching or, and, xor: read, compute, compare-and-exchange, again if it was changed.
    fn exchange_loop(
        &mut self,
        (op, width): (Arith, Width),
        size: Size,
        to: At,
        reg: R,
    ) -> Result<(), CheckError> {
        let what = "a fetching atomic operation";
        let to = if to.base == RAX { at(OLD_RAX, to.offset) } else { to };
        self.code.expect(copy(W64, OLD_RAX, RAX), what)?;
        self.code.expect(copy(W64, OPERAND, reg), what)?;
        self.code.expect(Native::Load { size, dst: RAX, from: to }, what)?;
        let again = self.code.at();
        self.code.expect(copy(W64, NEW, RAX), what)?;
        self.code.expect(Native::Arith { op, width, dst: NEW, src: OPERAND }, what)?;
        self.locked(Atomically::CompareExchange, width, to, NEW)?;
        if self.code.jump_if(If::NotEqual, what)? != again {
            return self.code.refuse("the loop to begin at the comparison");
        }
        if reg != RAX {
            self.code.expect(copy(W64, reg, RAX), what)?;
            self.code.expect(copy(W64, RAX, OLD_RAX), what)?;
        }
        Ok(())
    }
}

/// An immediate as a store of this size leaves it, sign-extended again.
fn truncated(size: Size, imm: i32) -> i32 {
    match size {
        Size::B1 => i32::from(imm as i8),
        Size::B2 => i32::from(imm as i16),
        Size::B4 | Size::B8 => imm,
    }
}
