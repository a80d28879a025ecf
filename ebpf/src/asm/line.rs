//! One line of assembly to one instruction, jumps still by name.
//!
//! Each instruction family has a function that says `None` if the mnemonic is not of its family;
//! the families are asked in turn. No mnemonic belongs to two of them.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::error::Reason;
use super::operand::{self, Goal};
use crate::insn::{AluOp, AtomicOp, CallTarget, Imm64, Insn, Reg, Size, Width};
use crate::names::{ALU, ATOMIC, BRANCH, ENDIAN, SIZE, thing};

/// An instruction whose target, if it has one, is still a goal.
pub(super) struct Draft {
    pub(super) insn: Insn,
    pub(super) goal: Option<Goal>,
}

impl From<Insn> for Draft {
    fn from(insn: Insn) -> Self {
        Self { insn, goal: None }
    }
}

/// Reads a line without labels and comments.
pub(super) fn read(line: &str) -> Result<Draft, Reason> {
    let (mnemonic, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let operands: Vec<&str> = match rest.trim() {
        "" => Vec::new(),
        rest => rest.split(',').map(str::trim).collect(),
    };
    let operands = operands.as_slice();
    let known = fixed(mnemonic, operands)
        .or_else(|| endian(mnemonic, operands))
        .or_else(|| access(mnemonic, operands))
        .or_else(|| arithmetic(mnemonic, operands))
        .or_else(|| branch(mnemonic, operands));
    known.unwrap_or_else(|| Err(Reason::Mnemonic { found: mnemonic.to_string() }))
}

/// A reading that is `None` if the mnemonic is of another family.
type Reading = Option<Result<Draft, Reason>>;

fn fixed(mnemonic: &str, operands: &[&str]) -> Reading {
    Some(match mnemonic {
        "exit" => exactly(operands).map(|[]| Insn::Exit.into()),
        "ja" | "ja32" | "gotol" => exactly(operands).and_then(|[to]| jump(to)),
        "call" => exactly(operands).and_then(|[target]| call(target)),
        "callx" => exactly(operands).and_then(|[reg]| call(reg)),
        "lock" => exactly(operands).and_then(|[place, src]| atomic(place, src)),
        "lddw" => exactly(operands).and_then(|[dst, imm]| load_imm64(dst, imm)),
        "neg" | "neg64" => exactly(operands).and_then(|[dst]| neg(Width::W64, dst)),
        "neg32" => exactly(operands).and_then(|[dst]| neg(Width::W32, dst)),
        "movsx832" => signed_move(Width::W32, Size::B1, operands),
        "movsx1632" => signed_move(Width::W32, Size::B2, operands),
        "movsx864" => signed_move(Width::W64, Size::B1, operands),
        "movsx1664" => signed_move(Width::W64, Size::B2, operands),
        "movsx3264" => signed_move(Width::W64, Size::B4, operands),
        _ => return None,
    })
}

fn jump(to: &str) -> Result<Draft, Reason> {
    Ok(Draft { insn: Insn::Jump { target: 0 }, goal: Some(operand::goal(to)?) })
}

fn neg(width: Width, dst: &str) -> Result<Draft, Reason> {
    Ok(Insn::Neg { width, dst: operand::register(dst)? }.into())
}

fn signed_move(width: Width, from: Size, operands: &[&str]) -> Result<Draft, Reason> {
    let [dst, src] = exactly(operands)?;
    let (dst, src) = (operand::register(dst)?, operand::register(src)?);
    Ok(Insn::MovSx { width, from, dst, src }.into())
}

/// `call helper 5`, `call 5`, `call local name`, `call kernel 7`, `call %r2`.
fn call(text: &str) -> Result<Draft, Reason> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or(("", text));
    let rest = rest.trim();
    let mut goal = None;
    let target = match word {
        "helper" => CallTarget::Helper(operand::unsigned32(rest)?),
        "kernel" => CallTarget::Kernel(operand::unsigned32(rest)?),
        "local" => {
            goal = Some(operand::goal(rest)?);
            CallTarget::Local(0)
        }
        "" if rest.starts_with(['%', 'r']) => CallTarget::Register(operand::register(rest)?),
        "" => CallTarget::Helper(operand::unsigned32(rest)?),
        _ => return Err(operand::wrong("helper, local or kernel", word)),
    };
    Ok(Draft { insn: Insn::Call { target }, goal })
}

/// `lock add32 [%r1], %r2`, `lock fetch add [%r1], %r2`; the address begins at the bracket.
fn atomic(place: &str, src: &str) -> Result<Draft, Reason> {
    let bracket = place.find('[').ok_or_else(|| operand::wrong("an address ([%r1+4])", place))?;
    let (words, place) = place.split_at(bracket);
    let words: Vec<&str> = words.split_whitespace().collect();
    let (fetch, word) = match words.as_slice() {
        ["fetch", word] => (true, *word),
        [word] => word.strip_prefix("fetch_").map_or((false, *word), |word| (true, word)),
        _ => return Err(operand::wrong("an atomic operation", &words.join(" "))),
    };
    let (op, width) = split_width(word);
    let op = thing(&ATOMIC, op).ok_or_else(|| operand::wrong("an atomic operation", word))?;
    let size = if width == Width::W32 { Size::B4 } else { Size::B8 };
    let fetch = fetch || matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
    let ((base, offset), src) = (operand::address(place)?, operand::register(src)?);
    Ok(Insn::Atomic { size, op, fetch, base, offset, src }.into())
}

/// A number, `map_fd 3`, `map_value 3 8`, or `kind 4 1 2`.
fn load_imm64(dst: &str, text: &str) -> Result<Draft, Reason> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let imm = match words.as_slice() {
        ["map_fd", fd] => Imm64::MapFd(operand::unsigned32(fd)?),
        ["map_value", fd, offset] => {
            let (fd, offset) = (operand::unsigned32(fd)?, operand::unsigned32(offset)?);
            Imm64::MapValue { fd, offset }
        }
        ["kind", kind, lo, hi] => {
            let number = operand::unsigned32(kind)?;
            let wrong = || operand::wrong("a kind (3 to 6)", kind);
            let kind = u8::try_from(number).map_err(|_| wrong())?;
            Imm64::Other { kind, lo: operand::unsigned32(lo)?, hi: operand::unsigned32(hi)? }
        }
        _ => Imm64::Value(operand::imm64(text)?),
    };
    Ok(Insn::LoadImm64 { dst: operand::register(dst)?, imm }.into())
}

fn endian(mnemonic: &str, operands: &[&str]) -> Reading {
    let digits = mnemonic.find(|c: char| c.is_ascii_digit())?;
    let (order, bits) = mnemonic.split_at(digits);
    let order = thing(&ENDIAN, order)?;
    let bits = match bits {
        "16" => 16,
        "32" => 32,
        "64" => 64,
        _ => return None,
    };
    Some(
        exactly(operands).and_then(|[dst]| {
            Ok(Insn::Endian { order, bits, dst: operand::register(dst)? }.into())
        }),
    )
}

/// Loads and stores: `ldxw`, `ldxsw`, `stxw`, `stw`.
fn access(mnemonic: &str, operands: &[&str]) -> Reading {
    let sized = |prefix| mnemonic.strip_prefix(prefix).and_then(|size| thing(&SIZE, size));
    if let Some(size) = sized("ldx") {
        Some(exactly(operands).and_then(|[dst, place]| load(size, false, dst, place)))
    } else if let Some(size) = sized("ldxs").filter(|&size| size != Size::B8) {
        Some(exactly(operands).and_then(|[dst, place]| load(size, true, dst, place)))
    } else if let Some(size) = sized("stx") {
        Some(
            exactly(operands)
                .and_then(|[place, src]| store(size, place, operand::register(src)?.into())),
        )
    } else {
        let size = sized("st")?;
        Some(
            exactly(operands)
                .and_then(|[place, imm]| store(size, place, operand::imm32(imm)?.into())),
        )
    }
}

fn load(size: Size, signed: bool, dst: &str, place: &str) -> Result<Draft, Reason> {
    let (dst, (base, offset)) = (operand::register(dst)?, operand::address(place)?);
    Ok(Insn::Load { size, signed, dst, base, offset }.into())
}

fn store(size: Size, place: &str, src: crate::Operand) -> Result<Draft, Reason> {
    let (base, offset) = operand::address(place)?;
    Ok(Insn::Store { size, base, offset, src }.into())
}

fn arithmetic(mnemonic: &str, operands: &[&str]) -> Reading {
    let (op, width) = split_width(mnemonic);
    let op: AluOp = thing(&ALU, op)?;
    Some(exactly(operands).and_then(|[dst, src]| {
        let (dst, src) = (operand::register(dst)?, operand::source(src)?);
        Ok(Insn::Alu { width, op, dst, src }.into())
    }))
}

fn branch(mnemonic: &str, operands: &[&str]) -> Reading {
    let (cond, width) = split_width(mnemonic);
    let cond = thing(&BRANCH, cond)?;
    Some(exactly(operands).and_then(|[dst, src, to]| {
        let (dst, src): (Reg, _) = (operand::register(dst)?, operand::source(src)?);
        let insn = Insn::Branch { width, cond, dst, src, target: 0 };
        Ok(Draft { insn, goal: Some(operand::goal(to)?) })
    }))
}

/// Splits the width off a mnemonic; without one it is 64 bits.
fn split_width(mnemonic: &str) -> (&str, Width) {
    if let Some(rest) = mnemonic.strip_suffix("32") {
        return (rest, Width::W32);
    }
    (mnemonic.strip_suffix("64").unwrap_or(mnemonic), Width::W64)
}

/// The operands, if there are as many as the instruction has.
fn exactly<'a, const N: usize>(operands: &[&'a str]) -> Result<[&'a str; N], Reason> {
    let wrong = Reason::OperandCount { expected: N, found: operands.len() };
    operands.try_into().map_err(|_| wrong)
}
