//! Obligations: what each instruction requires before it may run.
//!
//! A table from instruction to [`Need`]s; it knows nothing of states. Whether a state meets a need
//! is decided in [`super::entail`], what the instruction then does in [`super::effect`]. An
//! instruction that is missing here could do anything, so the match has no default arm.

use ebpf::{AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Kind, Operand, Reg, Size, Width};

use crate::refusal::UnsafeReason;

/// One thing that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The register is written on every path.
    Written(Reg),
    /// The register holds a number.
    Number(Reg),
    /// The operands may be combined so.
    Arithmetic(Width, AluOp, Reg, Operand),
    /// The operands may be compared so.
    Comparison(Width, Cond, Reg, Operand),
    /// The bytes may be read.
    Readable(Access),
    /// The bytes may be written.
    Writable(Access),
    /// The value may be stored there.
    Storable(Access, Operand),
    /// The bytes may be read and written atomically.
    Atomic(Access),
    /// The program has a map at this position, and it can exist.
    Map(u32),
    /// The map's first value is at a fixed place and has a byte at this offset.
    MapByte(u32, u32),
    /// The helper exists and its arguments are as it wants them.
    Helper(u32),
    /// The register holds the number of a helper of which the same is true.
    HelperIn(Reg),
    /// What a function returns may be returned.
    Result(Reg),
    /// Never holds.
    Never(UnsafeReason),
}

/// A memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) base: Reg,
    pub(super) offset: i64,
    pub(super) size: usize,
    /// A plain zero-extending load.
    pub(super) zero_extends: bool,
}

/// At most three needs, in the order in which they are reported.
pub(super) type Needs = [Option<Need>; 3];

/// What `insn` requires in a program of this kind.
pub(super) fn needs(kind: Kind, insn: &Insn) -> Needs {
    match *insn {
        Insn::Alu { op: AluOp::Mov, width, dst, src } => moving(width, dst, src),
        Insn::Alu { width, op, dst, src } => one(Need::Arithmetic(width, op, dst, src)),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => one(Need::Number(dst)),
        Insn::MovSx { src, .. } => one(Need::Number(src)),
        Insn::LoadImm64 { imm, .. } => loading(kind, imm),
        Insn::LoadImm64High => one(Need::Never(UnsafeReason::Malformed)),
        Insn::Load { size, signed, base, offset, .. } => {
            one(Need::Readable(access(base, offset, size, !signed)))
        }
        Insn::Store { size, base, offset, src } => storing(access(base, offset, size, false), src),
        Insn::Atomic { size, op, base, offset, src, .. } => {
            updating(op, src, access(base, offset, size, false))
        }
        Insn::Jump { .. } => none(),
        Insn::Branch { width, cond, dst, src, .. } => one(Need::Comparison(width, cond, dst, src)),
        Insn::Call { target } => calling(kind, target),
        Insn::Exit => one(Need::Result(Reg::R0)),
    }
}

fn access(base: Reg, offset: i16, size: Size, zero_extends: bool) -> Access {
    Access { base, offset: offset.into(), size: size.bytes(), zero_extends }
}

const fn none() -> Needs {
    [None; 3]
}

const fn one(need: Need) -> Needs {
    [Some(need), None, None]
}

/// A whole pointer may be moved; half of it would be a number.
fn moving(width: Width, dst: Reg, src: Operand) -> Needs {
    match (width, src) {
        (_, Operand::Imm(_)) => none(),
        (Width::W64, Operand::Reg(reg)) => one(Need::Written(reg)),
        (Width::W32, Operand::Reg(_)) => one(Need::Arithmetic(width, AluOp::Mov, dst, src)),
    }
}

/// A filter has no maps.
fn loading(kind: Kind, imm: Imm64) -> Needs {
    match imm {
        Imm64::Value(_) => none(),
        Imm64::MapFd(map) if kind != Kind::Filter => one(Need::Map(map)),
        Imm64::MapValue { fd, offset } if kind != Kind::Filter => {
            [Some(Need::Map(fd)), Some(Need::MapByte(fd, offset)), None]
        }
        _ => one(Need::Never(UnsafeReason::MapReference)),
    }
}

fn storing(access: Access, src: Operand) -> Needs {
    [Some(Need::Writable(access)), Some(Need::Storable(access, src)), None]
}

fn updating(op: AtomicOp, src: Reg, access: Access) -> Needs {
    let compared = (op == AtomicOp::Cmpxchg).then_some(Need::Number(Reg::R0));
    [Some(Need::Number(src)), Some(Need::Atomic(access)), compared]
}

fn calling(kind: Kind, target: CallTarget) -> Needs {
    match target {
        CallTarget::Helper(id) => one(helper(kind, id)),
        CallTarget::Local(_) if kind == Kind::Filter => one(Need::Never(UnsafeReason::LocalCall)),
        CallTarget::Local(_) => none(),
        CallTarget::Register(_) if kind == Kind::Filter => {
            one(Need::Never(UnsafeReason::IndirectCall))
        }
        CallTarget::Register(reg) => one(Need::HelperIn(reg)),
        CallTarget::Kernel(id) => one(Need::Never(UnsafeReason::KernelFunction(id))),
    }
}

/// What a call of helper `id` requires.
pub(super) fn helper(kind: Kind, id: u32) -> Need {
    match ebpf::helper::by_id(id) {
        None => Need::Never(UnsafeReason::UnknownHelper(id)),
        Some(_) if kind == Kind::Filter => Need::Never(UnsafeReason::HelperNotAllowed(id)),
        Some(_) => Need::Helper(id),
    }
}
