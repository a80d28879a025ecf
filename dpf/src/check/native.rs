//! What the checker's decoder can say about machine code: one value per understood instruction.
//!
//! Encodings that do the same thing (a short and a long jump, a displacement of 8 or 32 bits)
//! become the same value, so that "equal" means "does the same".

use ebpf::{Size, Width};

/// A general register by number, 0 (`rax`) to 15 (`r15`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct R(pub(super) u8);

/// `rax`
pub(super) const RAX: R = R(0);
/// `rcx`
pub(super) const RCX: R = R(1);
/// `rdx`
pub(super) const RDX: R = R(2);
/// `rsp`
pub(super) const RSP: R = R(4);
/// `rbp`
pub(super) const RBP: R = R(5);

/// `[base + offset]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) base: R,
    pub(super) offset: i32,
}

/// `[base + offset]`
pub(super) const fn at(base: R, offset: i32) -> At {
    At { base, offset }
}

/// Two-operand arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Or,
    And,
    Sub,
    Xor,
    Compare,
}

/// One-operand arithmetic; the last three work on `rdx:rax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum One {
    Negate,
    Multiply,
    Divide,
    DivideSigned,
}

/// Shifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Left,
    Right,
    RightSigned,
}

/// Atomic operations on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atomically {
    Arith(Arith),
    ExchangeAdd,
    Exchange,
    CompareExchange,
}

/// Conditions, by meaning after a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum If {
    Below,
    AboveEqual,
    Equal,
    NotEqual,
    BelowEqual,
    Above,
    Less,
    GreaterEqual,
    LessEqual,
    Greater,
}

/// One understood instruction. Jump targets are offsets from the start of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Arith {
        op: Arith,
        width: Width,
        dst: R,
        src: R,
    },
    ArithConst {
        op: Arith,
        width: Width,
        dst: R,
        value: i32,
    },
    ArithMemory {
        op: Arith,
        width: Width,
        dst: R,
        from: At,
    },
    Test {
        width: Width,
        left: R,
        right: R,
    },
    TestConst {
        width: Width,
        left: R,
        value: i32,
    },
    Move {
        width: Width,
        dst: R,
        src: R,
    },
    /// All 64 bits of `dst` become `value`.
    Const {
        dst: R,
        value: u64,
    },
    ZeroExtend {
        from: Size,
        dst: R,
        src: R,
    },
    SignExtend {
        width: Width,
        from: Size,
        dst: R,
        src: R,
    },
    One {
        op: One,
        width: Width,
        reg: R,
    },
    Multiply {
        width: Width,
        dst: R,
        src: R,
    },
    MultiplyMemory {
        width: Width,
        dst: R,
        from: At,
    },
    MultiplyConst {
        width: Width,
        dst: R,
        src: R,
        value: i32,
    },
    /// `cdq`, `cqo`
    SignIntoRdx {
        width: Width,
    },
    ShiftConst {
        op: Direction,
        width: Width,
        dst: R,
        count: u8,
    },
    /// `rol r, count`
    Rotate {
        width: Width,
        dst: R,
        count: u8,
    },
    /// `shlx`, `shrx`, `sarx`
    ShiftBy {
        op: Direction,
        width: Width,
        dst: R,
        src: R,
        count: R,
    },
    ShiftCl {
        op: Direction,
        width: Width,
        dst: R,
    },
    /// `rol r16, 8`
    SwapLowBytes {
        dst: R,
    },
    ByteSwap {
        width: Width,
        dst: R,
    },
    MoveIf {
        cond: If,
        width: Width,
        dst: R,
        src: R,
    },
    MoveIfMemory {
        cond: If,
        width: Width,
        dst: R,
        from: At,
    },
    Prefetch {
        at: At,
    },
    /// `cmp dword [at], value`
    CompareConst {
        at: At,
        value: i32,
    },
    /// `lea`
    Address {
        width: Width,
        dst: R,
        of: At,
    },
    /// `lea dst, [base + index * 2^scale]`
    Sum {
        dst: R,
        base: R,
        index: R,
        scale: u8,
    },
    Load {
        size: Size,
        dst: R,
        from: At,
    },
    /// `mov dst, [base + index * 8]`
    LoadIndexed {
        dst: R,
        base: R,
        index: R,
    },
    LoadSigned {
        size: Size,
        dst: R,
        from: At,
    },
    Store {
        size: Size,
        to: At,
        src: R,
    },
    StoreConst {
        size: Size,
        to: At,
        value: i32,
    },
    Locked {
        op: Atomically,
        width: Width,
        to: At,
        reg: R,
    },
    Push(R),
    Pop(R),
    JumpIf {
        cond: If,
        target: usize,
    },
    Jump {
        target: usize,
    },
    Call {
        target: usize,
    },
    CallRegister(R),
    Return,
}
