//! Registers, memory operands, conditions.

/// A general register, by its number in an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpr(u8);

impl Gpr {
    /// `rax`
    pub const RAX: Self = Self(0);
    /// `rcx`
    pub const RCX: Self = Self(1);
    /// `rdx`
    pub const RDX: Self = Self(2);
    /// `rbx`
    pub const RBX: Self = Self(3);
    /// `rsp`
    pub const RSP: Self = Self(4);
    /// `rbp`
    pub const RBP: Self = Self(5);
    /// `rsi`
    pub const RSI: Self = Self(6);
    /// `rdi`
    pub const RDI: Self = Self(7);
    /// `r8`
    pub const R8: Self = Self(8);
    /// `r9`
    pub const R9: Self = Self(9);
    /// `r10`
    pub const R10: Self = Self(10);
    /// `r11`
    pub const R11: Self = Self(11);
    /// `r12`
    pub const R12: Self = Self(12);
    /// `r13`
    pub const R13: Self = Self(13);
    /// `r14`
    pub const R14: Self = Self(14);
    /// `r15`
    pub const R15: Self = Self(15);

    /// The low three bits, as they stand in ModRM or the opcode.
    #[must_use]
    pub const fn low(self) -> u8 {
        self.0 & 7
    }

    /// Whether a REX bit must carry the fourth bit.
    #[must_use]
    pub const fn high(self) -> bool {
        self.0 >= 8
    }

    /// Whether the register's low byte can only be named with a REX prefix (`spl` to `dil`).
    #[must_use]
    pub const fn byte_needs_rex(self) -> bool {
        self.0 >= 4
    }
}

/// The memory operand `[base + disp]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mem {
    /// Base register.
    pub base: Gpr,
    /// Displacement in bytes.
    pub disp: i32,
}

impl Mem {
    /// `[base + disp]`
    #[must_use]
    pub const fn new(base: Gpr, disp: i32) -> Self {
        Self { base, disp }
    }
}

/// Condition codes, by their number in an opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cc {
    /// Below (unsigned)
    B = 2,
    /// Above or equal (unsigned)
    Ae = 3,
    /// Equal, zero
    E = 4,
    /// Not equal, not zero
    Ne = 5,
    /// Below or equal (unsigned)
    Be = 6,
    /// Above (unsigned)
    A = 7,
    /// Less (signed)
    L = 12,
    /// Greater or equal (signed)
    Ge = 13,
    /// Less or equal (signed)
    Le = 14,
    /// Greater (signed)
    G = 15,
}
