//! x86-64 encoding: instruction forms, labels, bytes. Knows nothing above.
//!
//! The idea: an [`Assembler`] appends one instruction per call. What can be encoded is exactly what
//! the compilers need: general registers, `[base + disp]` operands, no vector unit, no prefix that
//! changes a segment or an address size. Jumps name labels; each jump is emitted long (32-bit
//! displacement) unless the caller knows, from a first pass, that it can be short.
//!
//! The checker (`check`) has a decoder of its own and uses nothing of this.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.

mod encode;
mod jump;
mod reg;
#[cfg(test)]
mod tests;

pub use jump::{Assembled, Label, Labels};
pub use reg::{Cc, Gpr, Mem};

use alloc::vec::Vec;
use jump::Jumps;

/// Operand width of an arithmetic instruction.
pub use ebpf::{Size, Width};

/// Two-operand arithmetic of the 00-3F opcode block; the number is its column there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alu {
    /// `add`
    Add = 0,
    /// `or`
    Or = 1,
    /// `and`
    And = 4,
    /// `sub`
    Sub = 5,
    /// `xor`
    Xor = 6,
    /// `cmp`
    Cmp = 7,
}

/// Shifts; the number is the opcode extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// `shl`
    Shl = 4,
    /// `shr`
    Shr = 5,
    /// `sar`
    Sar = 7,
}

/// One-operand arithmetic of opcode F7; the number is the opcode extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `neg r`
    Neg = 3,
    /// `mul r`: `rdx:rax = rax * r`
    Mul = 4,
    /// `div r`: `rax, rdx = rdx:rax / r, rdx:rax % r`, unsigned
    Div = 6,
    /// `idiv r`: the same, signed
    Idiv = 7,
}

/// Atomic read-modify-write with a memory destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// `lock add/or/and/xor [m], r`
    Alu(Alu),
    /// `lock xadd [m], r`
    Xadd,
    /// `xchg [m], r` (locks without a prefix)
    Xchg,
    /// `lock cmpxchg [m], r`
    Cmpxchg,
}

/// Appends instructions to a buffer.
#[derive(Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    jumps: Jumps,
}

impl Assembler {
    /// An empty buffer. `short` says, for each jump in the order emitted, whether an earlier pass
    /// found it to fit in 8 bits; missing entries mean no.
    #[must_use]
    pub fn new(short: Vec<bool>) -> Self {
        Self { bytes: Vec::new(), jumps: Jumps::new(short) }
    }

    /// Bytes emitted so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True before the first instruction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A label not yet bound.
    pub fn label(&mut self) -> Label {
        self.jumps.label()
    }

    /// So many labels not yet bound.
    pub fn labels(&mut self, count: usize) -> Labels {
        self.jumps.labels(count)
    }

    /// Binds `label` to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.jumps.bind(label, self.bytes.len());
    }

    /// Patches one jump; false if all are. `None` if its label was never bound or is too far.
    #[must_use]
    pub fn patch(&mut self) -> Option<bool> {
        self.jumps.patch(&mut self.bytes)
    }

    /// Patches all jumps and returns the code; `None` if a label was never bound or is too far.
    #[must_use]
    pub fn finish(mut self) -> Option<Assembled> {
        while self.patch()? {}
        Some(Assembled { bytes: self.bytes, fits_short: self.jumps.fits_short() })
    }
}
