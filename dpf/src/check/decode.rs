//! The checker's own decoder: a few dozen instruction forms, everything else is refused.
//!
//! It shares no code with the encoder. It is deliberately narrow: no vector instruction, no
//! segment or address-size prefix, no index register but in two forms (`whole`), no `rip`-relative
//! operand, no high byte register, no prefix or REX bit that the instruction does not use.
//! Privileged instructions and indirect jumps have no form here, so they cannot pass.
//!
//! Source: Intel SDM volume 2, chapter 2 (formats) and the instruction pages.

use ebpf::{Size, Width};

use super::native::{Arith, At, Atomically, Direction, If, Native, One, R};

/// What stands in front of the opcode.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    lock: bool,
    small: bool,
    rex: Option<u8>,
}

impl Prefix {
    fn bit(self, bit: u8) -> bool {
        self.rex.is_some_and(|rex| rex & bit != 0)
    }

    fn width(self) -> Width {
        if self.bit(W) { Width::W64 } else { Width::W32 }
    }

    /// A register from a three-bit field and its REX bit.
    fn register(self, field: u8, bit: u8) -> R {
        R((field & 7) | if self.bit(bit) { 8 } else { 0 })
    }
}

const W: u8 = 8;
const REX_R: u8 = 4;
const REX_X: u8 = 2;
const REX_B: u8 = 1;

/// The r/m operand.
#[derive(Debug, Clone, Copy)]
enum Rm {
    Reg(R),
    Mem(At),
}

/// ModRM, read.
#[derive(Debug, Clone, Copy)]
struct Operands {
    /// The reg field with REX.R.
    reg: R,
    rm: Rm,
}

pub(super) struct Reader<'a> {
    pub(super) code: &'a [u8],
    pub(super) at: usize,
}

/// Decodes the instruction at `at`: what it is, and where the next one begins. `None` if it is not
/// one of the known forms, or not whole.
pub(super) fn decode(code: &[u8], at: usize) -> Option<(Native, usize)> {
    let mut reader = Reader { code, at };
    for form in [Reader::load_indexed, Reader::sum, Reader::shift_by] {
        if let Some(native) = form(&mut reader) {
            return Some((native, reader.at));
        }
    }
    let prefix = reader.prefix()?;
    let opcode = reader.byte()?;
    let native = if prefix.lock {
        reader.locked(prefix, opcode)?
    } else if prefix.small {
        reader.small(prefix, opcode)?
    } else if opcode == 0x0f {
        let opcode = reader.byte()?;
        reader.escaped(prefix, opcode)?
    } else {
        reader.plain(prefix, opcode)?
    };
    Some((native, reader.at))
}

/// The tables: one arm per form.
impl Reader<'_> {
    fn plain(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        match opcode {
            0x01 | 0x09 | 0x21 | 0x29 | 0x31 | 0x39 => self.arith(p, opcode),
            0x03 | 0x0b | 0x23 | 0x2b | 0x33 | 0x3b => self.arith_memory(p, opcode),
            0x50..=0x57 => Some(Native::Push(only_b(p, opcode)?)),
            0x58..=0x5f => Some(Native::Pop(only_b(p, opcode)?)),
            0x63 => self.sign_extend(p, Size::B4),
            0x69 => self.multiply_const(p),
            0x70..=0x7f => self.jump_if(p, opcode, true),
            0x81 | 0x83 => self.arith_const(p, opcode == 0x83),
            0x85 => self.test(p),
            0x87 => self.exchange(p),
            0x88 => self.store(p, Size::B1),
            0x89 => self.move_or_store(p),
            0x8b => self.load(p, if p.bit(W) { Size::B8 } else { Size::B4 }),
            0x8d => self.address(p),
            0x99 => no_rxb(p).then_some(Native::SignIntoRdx { width: p.width() }),
            0xb8..=0xbf => self.constant(p, opcode),
            0xc1 => self.shift_const(p),
            0xc3 => p.rex.is_none().then_some(Native::Return),
            0xc6 => self.store_const(p, Size::B1),
            0xc7 => self.constant_or_store(p),
            0xd3 => self.shift_cl(p),
            0xe8 => Some(Native::Call { target: self.relative(p, false)? }),
            0xe9 => Some(Native::Jump { target: self.relative(p, false)? }),
            0xeb => Some(Native::Jump { target: self.relative(p, true)? }),
            0xf7 => self.group_f7(p),
            0xff => self.call_register(p),
            _ => None,
        }
    }

    fn escaped(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        match opcode {
            0x18 => self.prefetch(p),
            0x40..=0x4f => self.move_if(p, opcode),
            0x80..=0x8f => self.jump_if(p, opcode, false),
            0xaf => self.multiply(p),
            0xb6 => self.zero_extend(p, Size::B1),
            0xb7 => self.zero_extend(p, Size::B2),
            0xbe => self.sign_extend(p, Size::B1),
            0xbf => self.sign_extend(p, Size::B2),
            0xc8..=0xcf => {
                let dst = no_rx(p).then(|| p.register(opcode, REX_B))?;
                Some(Native::ByteSwap { width: p.width(), dst })
            }
            _ => None,
        }
    }

    /// With the operand-size prefix: 16-bit stores, and the rotation that swaps two bytes.
    fn small(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        match opcode {
            _ if p.bit(W) => None,
            0x89 => self.store(p, Size::B2),
            0xc7 => self.store_const(p, Size::B2),
            0xc1 => {
                let dst = self.extended_register(p, 0)?;
                (self.byte()? == 8).then_some(Native::SwapLowBytes { dst })
            }
            _ => None,
        }
    }

    /// With the lock prefix: memory destination only.
    fn locked(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        let op = match opcode {
            _ if p.small => return None,
            0x01 | 0x09 | 0x21 | 0x29 | 0x31 => Atomically::Arith(arith(opcode >> 3)?),
            0x0f => match self.byte()? {
                0xb1 => Atomically::CompareExchange,
                0xc1 => Atomically::ExchangeAdd,
                _ => return None,
            },
            _ => return None,
        };
        self.atomically(p, op)
    }
}

/// The forms.
impl Reader<'_> {
    fn arith(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        let (src, dst) = self.two_registers(p)?;
        Some(Native::Arith { op: arith(opcode >> 3)?, width: p.width(), dst, src })
    }

    fn arith_memory(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        let (dst, from) = self.register_and_memory(p)?;
        Some(Native::ArithMemory { op: arith(opcode >> 3)?, width: p.width(), dst, from })
    }

    fn arith_const(&mut self, p: Prefix, short: bool) -> Option<Native> {
        let Operands { reg: R(extension), rm } = self.modrm(p)?;
        let op = arith(extension)?;
        let value = if short { self.i8()? } else { self.i32()? };
        match rm {
            Rm::Reg(dst) => Some(Native::ArithConst { op, width: p.width(), dst, value }),
            Rm::Mem(at) if op == Arith::Compare && !p.bit(W) => {
                Some(Native::CompareConst { at, value })
            }
            Rm::Mem(_) => None,
        }
    }

    fn test(&mut self, p: Prefix) -> Option<Native> {
        let (right, left) = self.two_registers(p)?;
        Some(Native::Test { width: p.width(), left, right })
    }

    fn move_or_store(&mut self, p: Prefix) -> Option<Native> {
        let Operands { reg: src, rm } = self.modrm(p)?;
        let size = if p.bit(W) { Size::B8 } else { Size::B4 };
        Some(match rm {
            Rm::Reg(dst) => Native::Move { width: p.width(), dst, src },
            Rm::Mem(to) => Native::Store { size, to, src },
        })
    }

    fn constant(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        let dst = no_rx(p).then(|| p.register(opcode, REX_B))?;
        let value = match p.width() {
            Width::W32 => u64::from(self.i32()?.cast_unsigned()),
            Width::W64 => u64::from_le_bytes(self.bytes()?),
        };
        Some(Native::Const { dst, value })
    }

    fn constant_or_store(&mut self, p: Prefix) -> Option<Native> {
        let Operands { rm, .. } = self.extended(p, 0)?;
        let value = self.i32()?;
        let size = if p.bit(W) { Size::B8 } else { Size::B4 };
        Some(match (rm, p.width()) {
            (Rm::Mem(to), _) => Native::StoreConst { size, to, value },
            (Rm::Reg(dst), Width::W64) => {
                Native::Const { dst, value: i64::from(value).cast_unsigned() }
            }
            (Rm::Reg(dst), Width::W32) => {
                Native::Const { dst, value: u64::from(value.cast_unsigned()) }
            }
        })
    }

    fn zero_extend(&mut self, p: Prefix, from: Size) -> Option<Native> {
        let Operands { reg: dst, rm } = self.modrm(p)?;
        match rm {
            _ if p.bit(W) => None,
            Rm::Reg(src) => low_byte(p, from, src).then_some(Native::ZeroExtend { from, dst, src }),
            Rm::Mem(address) => Some(Native::Load { size: from, dst, from: address }),
        }
    }

    /// `movsx`, `movsxd`. A 32-bit `movsxd` is a plain move that nobody emits.
    fn sign_extend(&mut self, p: Prefix, from: Size) -> Option<Native> {
        let Operands { reg: dst, rm } = self.modrm(p)?;
        let width = p.width();
        match rm {
            _ if from == Size::B4 && width == Width::W32 => None,
            Rm::Reg(src) => {
                low_byte(p, from, src).then_some(Native::SignExtend { width, from, dst, src })
            }
            Rm::Mem(address) if width == Width::W64 => {
                Some(Native::LoadSigned { size: from, dst, from: address })
            }
            Rm::Mem(_) => None,
        }
    }

    fn load(&mut self, p: Prefix, size: Size) -> Option<Native> {
        let (dst, from) = self.register_and_memory(p)?;
        Some(Native::Load { size, dst, from })
    }

    fn store(&mut self, p: Prefix, size: Size) -> Option<Native> {
        let (src, to) = self.register_and_memory(p)?;
        let nameable = size != Size::B1 || (low_byte(p, size, src) && !p.bit(W));
        nameable.then_some(Native::Store { size, to, src })
    }

    fn store_const(&mut self, p: Prefix, size: Size) -> Option<Native> {
        let Rm::Mem(to) = self.extended(p, 0)?.rm else { return None };
        let value = match size {
            _ if p.bit(W) => return None,
            Size::B1 => self.i8()?,
            _ => i32::from(i16::from_le_bytes(self.bytes()?)),
        };
        Some(Native::StoreConst { size, to, value })
    }

    fn address(&mut self, p: Prefix) -> Option<Native> {
        let (dst, of) = self.register_and_memory(p)?;
        Some(Native::Address { width: p.width(), dst, of })
    }

    fn multiply(&mut self, p: Prefix) -> Option<Native> {
        let Operands { reg: dst, rm } = self.modrm(p)?;
        let width = p.width();
        Some(match rm {
            Rm::Reg(src) => Native::Multiply { width, dst, src },
            Rm::Mem(from) => Native::MultiplyMemory { width, dst, from },
        })
    }

    fn multiply_const(&mut self, p: Prefix) -> Option<Native> {
        let (dst, src) = self.two_registers(p)?;
        Some(Native::MultiplyConst { width: p.width(), dst, src, value: self.i32()? })
    }

    fn shift_const(&mut self, p: Prefix) -> Option<Native> {
        let (extension, dst) = self.group(p)?;
        let (width, count) = (p.width(), self.byte()?);
        Some(match extension {
            0 => Native::Rotate { width, dst, count },
            _ => Native::ShiftConst { op: direction(extension)?, width, dst, count },
        })
    }

    fn shift_cl(&mut self, p: Prefix) -> Option<Native> {
        let (extension, dst) = self.group(p)?;
        Some(Native::ShiftCl { op: direction(extension)?, width: p.width(), dst })
    }

    fn group_f7(&mut self, p: Prefix) -> Option<Native> {
        let (extension, reg) = self.group(p)?;
        let width = p.width();
        let op = match extension {
            0 => return Some(Native::TestConst { width, left: reg, value: self.i32()? }),
            3 => One::Negate,
            4 => One::Multiply,
            6 => One::Divide,
            7 => One::DivideSigned,
            _ => return None,
        };
        Some(Native::One { op, width, reg })
    }

    fn move_if(&mut self, p: Prefix, opcode: u8) -> Option<Native> {
        let Operands { reg: dst, rm } = self.modrm(p)?;
        let (cond, width) = (condition(opcode)?, p.width());
        Some(match rm {
            Rm::Reg(src) => Native::MoveIf { cond, width, dst, src },
            Rm::Mem(from) => Native::MoveIfMemory { cond, width, dst, from },
        })
    }

    /// `prefetcht0`
    fn prefetch(&mut self, p: Prefix) -> Option<Native> {
        let Rm::Mem(at) = self.extended(p, 1)?.rm else { return None };
        (!p.bit(W)).then_some(Native::Prefetch { at })
    }

    fn jump_if(&mut self, p: Prefix, opcode: u8, short: bool) -> Option<Native> {
        Some(Native::JumpIf { cond: condition(opcode)?, target: self.relative(p, short)? })
    }

    fn exchange(&mut self, p: Prefix) -> Option<Native> {
        self.atomically(p, Atomically::Exchange)
    }

    fn atomically(&mut self, p: Prefix, op: Atomically) -> Option<Native> {
        let (reg, to) = self.register_and_memory(p)?;
        Some(Native::Locked { op, width: p.width(), to, reg })
    }

    fn call_register(&mut self, p: Prefix) -> Option<Native> {
        let reg = self.extended_register(p, 2)?;
        (!p.bit(W)).then_some(Native::CallRegister(reg))
    }
}

/// Operands.
impl Reader<'_> {
    /// Prefixes in the order lock, operand size, REX; each at most once.
    fn prefix(&mut self) -> Option<Prefix> {
        let lock = self.take(|byte| byte == 0xf0).is_some();
        let small = self.take(|byte| byte == 0x66).is_some();
        let rex = self.take(|byte| byte & 0xf0 == 0x40);
        let prefix = Prefix { lock, small, rex };
        (!prefix.bit(REX_X)).then_some(prefix)
    }

    fn modrm(&mut self, p: Prefix) -> Option<Operands> {
        let byte = self.byte()?;
        let reg = p.register(byte >> 3, REX_R);
        if byte >> 6 == 3 {
            return Some(Operands { reg, rm: Rm::Reg(p.register(byte, REX_B)) });
        }
        // An r/m of 4 means a SIB byte; only "no index, base rsp or r12" is known.
        if byte & 7 == 4 && self.byte()? != 0x24 {
            return None;
        }
        let offset = match byte >> 6 {
            // Without displacement, an r/m of 5 means rip-relative.
            0 if byte & 7 == 5 => return None,
            0 => 0,
            1 => self.i8()?,
            _ => self.i32()?,
        };
        Some(Operands { reg, rm: Rm::Mem(At { base: p.register(byte, REX_B), offset }) })
    }

    /// (reg, r/m), both registers.
    fn two_registers(&mut self, p: Prefix) -> Option<(R, R)> {
        match self.modrm(p)? {
            Operands { reg, rm: Rm::Reg(rm) } => Some((reg, rm)),
            Operands { rm: Rm::Mem(_), .. } => None,
        }
    }

    fn register_and_memory(&mut self, p: Prefix) -> Option<(R, At)> {
        match self.modrm(p)? {
            Operands { reg, rm: Rm::Mem(memory) } => Some((reg, memory)),
            Operands { rm: Rm::Reg(_), .. } => None,
        }
    }

    /// An opcode extension in the reg field, and a register.
    fn group(&mut self, p: Prefix) -> Option<(u8, R)> {
        let (reg, rm) = self.two_registers(p)?;
        (!p.bit(REX_R)).then_some((reg.0, rm))
    }

    fn extended(&mut self, p: Prefix, extension: u8) -> Option<Operands> {
        let operands = self.modrm(p)?;
        (operands.reg == R(extension)).then_some(operands)
    }

    fn extended_register(&mut self, p: Prefix, extension: u8) -> Option<R> {
        match self.extended(p, extension)?.rm {
            Rm::Reg(reg) => Some(reg),
            Rm::Mem(_) => None,
        }
    }

    /// The target of a jump relative to the next instruction.
    fn relative(&mut self, p: Prefix, short: bool) -> Option<usize> {
        let distance = if short { self.i8()? } else { self.i32()? };
        let target = i64::try_from(self.at).ok()? + i64::from(distance);
        usize::try_from(target).ok().filter(|_| p.rex.is_none())
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> Option<u8> {
        let byte = self.code.get(self.at).copied().filter(|byte| wanted(*byte))?;
        self.at += 1;
        Some(byte)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(|_| true)
    }

    fn i8(&mut self) -> Option<i32> {
        Some(i32::from(self.byte()?.cast_signed()))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.code.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }
}

fn no_rx(p: Prefix) -> bool {
    !p.bit(REX_R)
}

fn no_rxb(p: Prefix) -> bool {
    !p.bit(REX_R) && !p.bit(REX_B)
}

/// The register in the opcode of `push` and `pop`: of REX only the B bit means something.
fn only_b(p: Prefix, opcode: u8) -> Option<R> {
    (no_rx(p) && !p.bit(W)).then(|| p.register(opcode, REX_B))
}

/// Whether a byte operand is a register's *low* byte: without REX, 4 to 7 are `ah` to `bh`.
fn low_byte(p: Prefix, size: Size, reg: R) -> bool {
    size != Size::B1 || p.rex.is_some() || reg.0 < 4
}

fn arith(column: u8) -> Option<Arith> {
    Some(match column {
        0 => Arith::Add,
        1 => Arith::Or,
        4 => Arith::And,
        5 => Arith::Sub,
        6 => Arith::Xor,
        7 => Arith::Compare,
        _ => return None,
    })
}

fn direction(extension: u8) -> Option<Direction> {
    Some(match extension {
        4 => Direction::Left,
        5 => Direction::Right,
        7 => Direction::RightSigned,
        _ => return None,
    })
}

fn condition(opcode: u8) -> Option<If> {
    Some(match opcode & 15 {
        2 => If::Below,
        3 => If::AboveEqual,
        4 => If::Equal,
        5 => If::NotEqual,
        6 => If::BelowEqual,
        7 => If::Above,
        12 => If::Less,
        13 => If::GreaterEqual,
        14 => If::LessEqual,
        15 => If::Greater,
        _ => return None,
    })
}
