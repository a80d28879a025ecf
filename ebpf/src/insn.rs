//! Instructions, named as in RFC 9669.
//!
//! An [`Insn`] is what one 64-bit slot means, not how it is packed: jumps name the absolute slot
//! they go to, and what the encoding squeezes into offset and immediate fields (signed division,
//! sign-extending moves, atomic operations) has a name of its own. The second slot of the only
//! two-slot instruction is [`Insn::LoadImm64High`], so that the index of an instruction in a
//! program is always its slot, and verifier, compiler and refusals can all count in slots.
//!
//! Values of these types may be combined into instructions that do not exist (a sign-extending
//! move from eight bytes); [`crate::Program::from_insns`] and [`crate::decode`] refuse those.

/// Operand width of arithmetic and of comparisons. 32-bit arithmetic zero-extends its result
/// (RFC 9669 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32 bits (classes ALU and JMP32).
    W32,
    /// All 64 bits (classes ALU64 and JMP).
    W64,
}

/// Size of a memory access (RFC 9669 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// One byte (`B`).
    B1,
    /// Two bytes (`H`).
    B2,
    /// Four bytes (`W`).
    B4,
    /// Eight bytes (`DW`).
    B8,
}

impl Size {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::B1 => 1,
            Self::B2 => 2,
            Self::B4 => 4,
            Self::B8 => 8,
        }
    }

    /// The size in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::B1 => 8,
            Self::B2 => 16,
            Self::B4 => 32,
            Self::B8 => 64,
        }
    }
}

/// One of the eleven registers. Always a valid number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// Return value.
    pub const R0: Self = Self(0);
    /// First argument; at entry the context (or the buffer).
    pub const R1: Self = Self(1);
    /// Second argument; at entry the buffer's length in programs of kind `Memory`.
    pub const R2: Self = Self(2);
    /// Third argument.
    pub const R3: Self = Self(3);
    /// Fourth argument.
    pub const R4: Self = Self(4);
    /// Fifth argument.
    pub const R5: Self = Self(5);
    /// Saved by the callee.
    pub const R6: Self = Self(6);
    /// Saved by the callee.
    pub const R7: Self = Self(7);
    /// Saved by the callee.
    pub const R8: Self = Self(8);
    /// Saved by the callee.
    pub const R9: Self = Self(9);
    /// The frame pointer, never written.
    pub const R10: Self = Self(10);
    /// All registers in order.
    pub const ALL: [Self; 11] = [
        Self::R0,
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R10,
    ];

    /// The register with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 10 { Some(Self(number)) } else { None }
    }

    /// The register's number, 0 to 10.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The register's number as it stands in an encoded instruction.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Two-operand arithmetic (RFC 9669 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// `dst += src`, wrapping.
    Add,
    /// `dst -= src`, wrapping.
    Sub,
    /// `dst *= src`, wrapping.
    Mul,
    /// Unsigned division; by zero gives 0.
    Div,
    /// Signed division, rounding towards zero; by zero gives 0, `MIN / -1` gives `MIN`.
    Sdiv,
    /// Unsigned remainder; by zero leaves `dst` (zero-extended from 32 bits).
    Mod,
    /// Signed remainder with the dividend's sign; by zero leaves `dst`, `MIN % -1` gives 0.
    Smod,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Left shift; the count is masked to the width.
    Lsh,
    /// Logical right shift; the count is masked to the width.
    Rsh,
    /// Arithmetic right shift; the count is masked to the width.
    Arsh,
    /// `dst = src`.
    Mov,
}

impl AluOp {
    /// All operations, in the order above.
    pub const ALL: [Self; 14] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Sdiv,
        Self::Mod,
        Self::Smod,
        Self::Or,
        Self::And,
        Self::Xor,
        Self::Lsh,
        Self::Rsh,
        Self::Arsh,
        Self::Mov,
    ];
}

/// A source operand: a register, or an immediate that is sign-extended to the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The register's value.
    Reg(Reg),
    /// The immediate, sign-extended.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

/// The comparison of a conditional branch (RFC 9669 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// `dst == src`
    Eq,
    /// `dst != src`
    Ne,
    /// `dst > src`, unsigned
    Gt,
    /// `dst >= src`, unsigned
    Ge,
    /// `dst < src`, unsigned
    Lt,
    /// `dst <= src`, unsigned
    Le,
    /// `dst & src != 0`
    Set,
    /// `dst > src`, signed
    Sgt,
    /// `dst >= src`, signed
    Sge,
    /// `dst < src`, signed
    Slt,
    /// `dst <= src`, signed
    Sle,
}

impl Cond {
    /// All comparisons, in the order above.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Ne,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
        Self::Set,
        Self::Sgt,
        Self::Sge,
        Self::Slt,
        Self::Sle,
    ];
}

/// What a byte swap converts to (RFC 9669 §4.2). On x86-64 the native order is little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// To little endian: truncates to the width, swaps nothing.
    Le,
    /// To big endian: truncates and swaps.
    Be,
    /// Unconditional swap (`bswap`): truncates and swaps.
    Swap,
}

/// Atomic read-modify-write operations (RFC 9669 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// `*addr += src`
    Add,
    /// `*addr |= src`
    Or,
    /// `*addr &= src`
    And,
    /// `*addr ^= src`
    Xor,
    /// `src = xchg(addr, src)`; always fetches.
    Xchg,
    /// `r0 = cmpxchg(addr, r0, src)`; always fetches, into `r0`.
    Cmpxchg,
}

impl AtomicOp {
    /// All operations, in the order above.
    pub const ALL: [Self; 6] =
        [Self::Add, Self::Or, Self::And, Self::Xor, Self::Xchg, Self::Cmpxchg];
}

/// What a call calls (RFC 9669 §4.3.1 and §4.3.2, and `callx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallTarget {
    /// The helper function with this number.
    Helper(u32),
    /// The program's own function at this slot.
    Local(u32),
    /// `callx`: the helper function whose number is in the register.
    Register(Reg),
    /// A kernel function by BTF id. Decodes, but every later stage refuses it by name.
    Kernel(u32),
}

/// What a 64-bit immediate load loads (RFC 9669 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// A plain number (`src` = 0).
    Value(u64),
    /// The map behind a descriptor (`src` = 1).
    MapFd(u32),
    /// The address of a byte in the first value of the map behind a descriptor (`src` = 2).
    MapValue {
        /// The map's descriptor.
        fd: u32,
        /// Offset in the value, in bytes.
        offset: u32,
    },
    /// Kinds that are decoded but mean nothing here yet (`src` = 3 to 6): variable address, code
    /// address, map by index, map value by index.
    Other {
        /// The `src` field, 3 to 6.
        kind: u8,
        /// The first slot's immediate.
        lo: u32,
        /// The second slot's immediate; zero unless `kind` is 6.
        hi: u32,
    },
}

/// One slot of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Insn {
    /// `dst = dst op src`
    Alu {
        /// Operand width.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Destination and left operand.
        dst: Reg,
        /// Right operand.
        src: Operand,
    },
    /// `dst = -dst`, wrapping.
    Neg {
        /// Operand width.
        width: Width,
        /// Destination and operand.
        dst: Reg,
    },
    /// `dst = (width)(signed from)src`
    MovSx {
        /// Width of the result; a 32-bit result is then zero-extended.
        width: Width,
        /// Size of the source: one or two bytes, or four if `width` is 64 bits.
        from: Size,
        /// Destination.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// Byte swap; the result is zero-extended from `bits`.
    Endian {
        /// What to convert to.
        order: ByteOrder,
        /// 16, 32 or 64.
        bits: u8,
        /// Destination and operand.
        dst: Reg,
    },
    /// `dst = imm`; the next slot is [`Insn::LoadImm64High`].
    LoadImm64 {
        /// Destination.
        dst: Reg,
        /// What is loaded.
        imm: Imm64,
    },
    /// Second slot of the instruction before it; never executed, never a jump's target.
    LoadImm64High,
    /// `dst = *(size *)(base + offset)`, zero- or sign-extended.
    Load {
        /// Access size.
        size: Size,
        /// Sign-extend; not with eight bytes.
        signed: bool,
        /// Destination.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Added to the address, in bytes.
        offset: i16,
    },
    /// `*(size *)(base + offset) = src`
    Store {
        /// Access size.
        size: Size,
        /// Address.
        base: Reg,
        /// Added to the address, in bytes.
        offset: i16,
        /// The value, truncated to the size.
        src: Operand,
    },
    /// Atomic read-modify-write of `*(size *)(base + offset)`.
    Atomic {
        /// Four or eight bytes.
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Whether the old value is returned in `src` (in `r0` for `Cmpxchg`), zero-extended.
        fetch: bool,
        /// Address.
        base: Reg,
        /// Added to the address, in bytes.
        offset: i16,
        /// The operand.
        src: Reg,
    },
    /// Unconditional jump (`ja`, `gotol`).
    Jump {
        /// Absolute slot.
        target: u32,
    },
    /// Jump if `dst cond src`, otherwise go on.
    Branch {
        /// Operand width.
        width: Width,
        /// The comparison.
        cond: Cond,
        /// Left operand.
        dst: Reg,
        /// Right operand.
        src: Operand,
        /// Absolute slot.
        target: u32,
    },
    /// Call; arguments in `r1` to `r5`, result in `r0`, `r1` to `r5` are lost.
    Call {
        /// What is called.
        target: CallTarget,
    },
    /// Return `r0` from the function, or from the program.
    Exit,
}

impl Insn {
    /// The register that the instruction writes, if any. A call writes `r0` and loses `r1` to
    /// `r5`; of those only `r0` is named here.
    #[must_use]
    pub const fn written(&self) -> Option<Reg> {
        match *self {
            Self::Alu { dst, .. }
            | Self::Neg { dst, .. }
            | Self::MovSx { dst, .. }
            | Self::Endian { dst, .. }
            | Self::LoadImm64 { dst, .. }
            | Self::Load { dst, .. } => Some(dst),
            Self::Atomic { op: AtomicOp::Cmpxchg, .. } | Self::Call { .. } => Some(Reg::R0),
            Self::Atomic { fetch: true, src, .. } => Some(src),
            _ => None,
        }
    }

    /// The slot that the instruction may jump to within its function, if any.
    #[must_use]
    pub const fn jump_target(&self) -> Option<u32> {
        match *self {
            Self::Jump { target } | Self::Branch { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Whether control may go on to the next slot.
    #[must_use]
    pub const fn falls_through(&self) -> bool {
        !matches!(self, Self::Jump { .. } | Self::Exit)
    }
}
