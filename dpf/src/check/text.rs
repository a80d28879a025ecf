//! Decoded code as text, for people.
//!
//! One line per instruction in the order of Intel's manuals: destination first. Only what the
//! checker understands has a text, so a dump shows what was checked and not what a second opinion
//! makes of the same bytes.

use alloc::format;
use alloc::string::String;

use ebpf::{Size, Width};

use super::native::{Arith, At, Atomically, Direction, If, Native, One, R};

const WIDE: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const NARROW: [&str; 16] = [
    "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d",
    "r13d", "r14d", "r15d",
];

fn reg(R(number): R, width: Width) -> &'static str {
    let names = if width == Width::W64 { &WIDE } else { &NARROW };
    names.get(usize::from(number)).copied().unwrap_or("?")
}

fn wide(number: R) -> &'static str {
    reg(number, Width::W64)
}

fn memory(at: At) -> String {
    let base = wide(at.base);
    match at.offset {
        0 => format!("[{base}]"),
        offset if offset < 0 => format!("[{base}-{:#x}]", offset.unsigned_abs()),
        offset => format!("[{base}+{offset:#x}]"),
    }
}

fn sized(size: Size, at: At) -> String {
    let word = match size {
        Size::B1 => "byte",
        Size::B2 => "word",
        Size::B4 => "dword",
        Size::B8 => "qword",
    };
    format!("{word} {}", memory(at))
}

fn arith(op: Arith) -> &'static str {
    match op {
        Arith::Add => "add",
        Arith::Or => "or",
        Arith::And => "and",
        Arith::Sub => "sub",
        Arith::Xor => "xor",
        Arith::Compare => "cmp",
    }
}

fn shift(op: Direction) -> &'static str {
    match op {
        Direction::Left => "shl",
        Direction::Right => "shr",
        Direction::RightSigned => "sar",
    }
}

fn condition(cond: If) -> &'static str {
    match cond {
        If::Below => "b",
        If::AboveEqual => "ae",
        If::Equal => "e",
        If::NotEqual => "ne",
        If::BelowEqual => "be",
        If::Above => "a",
        If::Less => "l",
        If::GreaterEqual => "ge",
        If::LessEqual => "le",
        If::Greater => "g",
    }
}

fn one(op: One) -> &'static str {
    match op {
        One::Negate => "neg",
        One::Multiply => "mul",
        One::Divide => "div",
        One::DivideSigned => "idiv",
    }
}

/// An instruction's text.
pub(super) fn of(native: &Native) -> String {
    match *native {
        Native::Arith { op, width, dst, src } => two(arith(op), width, dst, src),
        Native::ArithConst { op, width, dst, value } => {
            format!("{} {}, {value:#x}", arith(op), reg(dst, width))
        }
        Native::ArithMemory { op, width, dst, from } => {
            format!("{} {}, {}", arith(op), reg(dst, width), memory(from))
        }
        Native::Test { width, left, right } => two("test", width, left, right),
        Native::TestConst { width, left, value } => {
            format!("test {}, {value:#x}", reg(left, width))
        }
        Native::Move { width, dst, src } => two("mov", width, dst, src),
        Native::Const { dst, value } => format!("mov {}, {value:#x}", wide(dst)),
        Native::One { op, width, reg: register } => format!("{} {}", one(op), reg(register, width)),
        Native::Multiply { width, dst, src } => two("imul", width, dst, src),
        Native::MultiplyConst { width, dst, src, value } => {
            format!("imul {}, {}, {value:#x}", reg(dst, width), reg(src, width))
        }
        Native::ShiftConst { op, width, dst, count } => {
            format!("{} {}, {count}", shift(op), reg(dst, width))
        }
        Native::ShiftCl { op, width, dst } => format!("{} {}, cl", shift(op), reg(dst, width)),
        Native::SwapLowBytes { dst } => format!("rol {} (low 16 bits), 8", wide(dst)),
        Native::ByteSwap { width, dst } => format!("bswap {}", reg(dst, width)),
        Native::MoveIf { cond, width, dst, src } => {
            two(&format!("cmov{}", condition(cond)), width, dst, src)
        }
        Native::MoveIfMemory { cond, width, dst, from } => {
            format!("cmov{} {}, {}", condition(cond), reg(dst, width), memory(from))
        }
        Native::CompareConst { at, value } => format!("cmp dword {}, {value:#x}", memory(at)),
        Native::Prefetch { at } => format!("prefetcht0 {}", memory(at)),
        Native::Address { width, dst, of } => format!("lea {}, {}", reg(dst, width), memory(of)),
        Native::Load { size, dst, from } => format!("mov {}, {}", wide(dst), sized(size, from)),
        Native::LoadIndexed { dst, base, index } => {
            format!("mov {}, [{}+{}*8]", wide(dst), wide(base), wide(index))
        }
        Native::LoadSigned { size, dst, from } => {
            format!("movsx {}, {}", wide(dst), sized(size, from))
        }
        Native::Store { size, to, src } => format!("mov {}, {}", sized(size, to), wide(src)),
        Native::StoreConst { size, to, value } => format!("mov {}, {value:#x}", sized(size, to)),
        _ => rare(native),
    }
}

fn two(name: &str, width: Width, dst: R, src: R) -> String {
    format!("{name} {}, {}", reg(dst, width), reg(src, width))
}

fn rare(native: &Native) -> String {
    match *native {
        Native::ZeroExtend { from, dst, src } => {
            format!("movzx {}, {} (low {} bits)", wide(dst), wide(src), from.bits())
        }
        Native::SignExtend { width, from, dst, src } => {
            format!("movsx {}, {} (low {} bits)", reg(dst, width), wide(src), from.bits())
        }
        Native::Rotate { width, dst, count } => format!("rol {}, {count}", reg(dst, width)),
        Native::ShiftBy { op, width, dst, src, count } => {
            format!(
                "{}x {}, {}, {}",
                shift(op),
                reg(dst, width),
                reg(src, width),
                reg(count, width)
            )
        }
        Native::MultiplyMemory { width, dst, from } => {
            format!("imul {}, {}", reg(dst, width), memory(from))
        }
        Native::Sum { dst, base, index, scale } => {
            format!("lea {}, [{}+{}*{}]", wide(dst), wide(base), wide(index), 1 << scale)
        }
        Native::SignIntoRdx { width: Width::W64 } => String::from("cqo"),
        Native::SignIntoRdx { .. } => String::from("cdq"),
        Native::Locked { op, width, to, reg: register } => {
            let name = match op {
                Atomically::Arith(op) => arith(op),
                Atomically::ExchangeAdd => "xadd",
                Atomically::Exchange => "xchg",
                Atomically::CompareExchange => "cmpxchg",
            };
            format!("lock {name} {}, {}", memory(to), reg(register, width))
        }
        Native::Push(register) => format!("push {}", wide(register)),
        Native::Pop(register) => format!("pop {}", wide(register)),
        Native::JumpIf { cond, target } => format!("j{} {target:x}", condition(cond)),
        Native::Jump { target } => format!("jmp {target:x}"),
        Native::Call { target } => format!("call {target:x}"),
        Native::CallRegister(register) => format!("call {}", wide(register)),
        Native::Return => String::from("ret"),
        ref other => format!("{other:?}"),
    }
}
