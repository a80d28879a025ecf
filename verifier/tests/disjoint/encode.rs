//! A filter as a formula: "this frame is accepted", in SMT-LIB 2 (QF_ABV).
//!
//! Written from RFC 9669 alone, instruction by instruction; nothing of the claim or of `flow` is
//! used. Memory is one array of bytes: the context, the frame and the stack lie at fixed addresses
//! in it, so that pointers are plain 64-bit numbers and a load is a load. A program without loops
//! becomes one formula: each slot has a condition ("is come to") and values for the registers,
//! which are chosen by condition where ways meet.

use std::collections::BTreeMap;
use std::fmt::Write;

use ebpf::{AluOp, ByteOrder, Cond, Imm64, Insn, Operand, Program, Size, Width};

/// Where the frame begins; what loads of the context give fits 32 bits.
const FRAME: u64 = 0x10000;
const CONTEXT: u64 = 0x1000;
const STACK: u64 = 0x8000;

/// What every formula begins with: memory and the frame's length, shared by all filters.
pub(crate) const PRELUDE: &str = "
(declare-const mem (Array (_ BitVec 64) (_ BitVec 8)))
(declare-const len (_ BitVec 64))
(assert (and (bvuge len #x000000000000000e) (bvule len #x00000000000005f2)))
";

/// The context's pointers, in memory.
pub(crate) fn context() -> String {
    let mut text = String::new();
    for byte in 0..4 {
        let (high, low) = (byte * 8 + 7, byte * 8);
        let part = |value: &str| format!("((_ extract {high} {low}) {value})");
        for (offset, value) in [
            (0, number(FRAME, 64)),
            (4, format!("(bvadd len {})", number(FRAME, 64))),
            (8, number(FRAME, 64)),
        ] {
            let place = number(CONTEXT + offset + byte, 64);
            let _ = writeln!(text, "(assert (= (select mem {place}) {}))", part(&value));
        }
    }
    text
}

fn number(value: u64, bits: u32) -> String {
    let value = if bits < 64 { value & ((1 << bits) - 1) } else { value };
    format!("(_ bv{value} {bits})")
}

/// What is known at a slot: names of formulas.
#[derive(Clone)]
struct State {
    when: String,
    registers: [String; 11],
    memory: String,
}

/// The formula of one filter.
pub(crate) struct Encoder {
    text: String,
    name: String,
    count: usize,
}

impl Encoder {
    /// Definitions, and the name of the formula that says "accepted"; `None` if the program has
    /// instructions that filters seldom have (calls, atomic operations) or a jump backward.
    pub(crate) fn encode(program: &Program, name: &str) -> Option<(String, String)> {
        let mut encoder = Encoder { text: String::new(), name: name.to_owned(), count: 0 };
        let mut registers: [String; 11] = std::array::from_fn(|_| number(0, 64));
        registers[1] = number(CONTEXT, 64);
        registers[10] = number(STACK, 64);
        let start = State { when: "true".into(), registers, memory: "mem".into() };
        let mut waiting: BTreeMap<u32, Vec<State>> = BTreeMap::from([(0, vec![start])]);
        let mut accepted = Vec::new();
        while let Some((pc, states)) = waiting.pop_first() {
            let mut state = encoder.join(states);
            let mut go = |to: u32, state: State| {
                // Smallest first is only an order if jumps go forward.
                (to > pc).then(|| waiting.entry(to).or_default().push(state))
            };
            match *program.get(pc)? {
                Insn::Exit => {
                    let zero = number(0, 64);
                    let result = &state.registers[0];
                    accepted.push(format!("(and {} (not (= {result} {zero})))", state.when));
                }
                Insn::Jump { target } => {
                    go(target, state)?;
                }
                Insn::Branch { width, cond, dst, src, target } => {
                    let (a, b) = (state.registers[dst.index()].clone(), operand(&state, src));
                    let test = holds(cond, &low(&a, width), &low(&b, width));
                    let test = encoder.define("Bool", &test);
                    let when = |test: String| format!("(and {} {test})", state.when);
                    let (taken, other) = (when(test.clone()), when(format!("(not {test})")));
                    let (taken, other) =
                        (encoder.define("Bool", &taken), encoder.define("Bool", &other));
                    go(target, State { when: taken, ..state.clone() })?;
                    go(pc + 1, State { when: other, ..state })?;
                }
                Insn::LoadImm64High => {
                    go(pc + 1, state)?;
                }
                ref insn => {
                    encoder.step(insn, &mut state)?;
                    go(pc + 1, state)?;
                }
            }
        }
        let any = format!("(or false {})", accepted.join(" "));
        let result = encoder.define("Bool", &any);
        Some((encoder.text, result))
    }

    fn define(&mut self, sort: &str, value: &str) -> String {
        let name = format!("{}{}", self.name, self.count);
        self.count += 1;
        let _ = writeln!(self.text, "(define-fun {name} () {sort} {value})");
        name
    }

    fn word(&mut self, value: &str) -> String {
        self.define("(_ BitVec 64)", value)
    }

    /// One state for all that come here.
    fn join(&mut self, states: Vec<State>) -> State {
        let mut states = states.into_iter();
        let Some(mut all) = states.next() else { unreachable!("a slot that nobody comes to") };
        for other in states {
            for (ours, theirs) in all.registers.iter_mut().zip(&other.registers) {
                if ours != theirs {
                    *ours = self.word(&format!("(ite {} {theirs} {ours})", other.when));
                }
            }
            if all.memory != other.memory {
                let value = format!("(ite {} {} {})", other.when, other.memory, all.memory);
                all.memory = self.define("(Array (_ BitVec 64) (_ BitVec 8))", &value);
            }
            all.when = self.define("Bool", &format!("(or {} {})", all.when, other.when));
        }
        all
    }

    /// An instruction that goes on to the next.
    fn step(&mut self, insn: &Insn, state: &mut State) -> Option<()> {
        let (dst, value) = match *insn {
            Insn::Alu { width, op, dst, src } => {
                let (a, b) = (state.registers[dst.index()].clone(), operand(state, src));
                (dst, wide(&alu(op, width, &low(&a, width), &low(&b, width)), width))
            }
            Insn::Neg { width, dst } => {
                let a = low(&state.registers[dst.index()], width);
                (dst, wide(&format!("(bvneg {a})"), width))
            }
            Insn::MovSx { width, from, dst, src } => {
                let bits = from.bits();
                let a = format!("((_ extract {} 0) {})", bits - 1, state.registers[src.index()]);
                let more = if width == Width::W32 { 32 } else { 64 } - bits;
                (dst, wide(&format!("((_ sign_extend {more}) {a})"), width))
            }
            Insn::Endian { order, bits, dst } => {
                let a = &state.registers[dst.index()];
                let bytes = (0..u32::from(bits) / 8)
                    .map(|byte| format!("((_ extract {} {}) {a})", byte * 8 + 7, byte * 8));
                // The first in a concatenation is the highest.
                let parts: Vec<String> = match order {
                    ByteOrder::Le => bytes.rev().collect(),
                    _ => bytes.collect(),
                };
                (dst, extended(&concat(&parts), bits.into()))
            }
            Insn::LoadImm64 { dst, imm: Imm64::Value(value) } => (dst, number(value, 64)),
            Insn::Load { size, signed, dst, base, offset } => {
                let value = concat(&self.loaded(state, size, base.index(), offset));
                let more = 64 - size.bits();
                let how = if signed { "sign_extend" } else { "zero_extend" };
                (dst, format!("((_ {how} {more}) {value})"))
            }
            Insn::Store { size, base, offset, src } => {
                let value = operand(state, src);
                let at = place(state, base.index(), offset);
                let at = self.word(&at);
                let mut memory = state.memory.clone();
                for byte in 0..size.bytes() as u64 {
                    let part = format!("((_ extract {} {}) {value})", byte * 8 + 7, byte * 8);
                    memory = format!("(store {memory} (bvadd {at} {}) {part})", number(byte, 64));
                }
                state.memory = self.define("(Array (_ BitVec 64) (_ BitVec 8))", &memory);
                return Some(());
            }
            _ => return None,
        };
        state.registers[dst.index()] = self.word(&value);
        Some(())
    }

    /// The bytes of a load, highest first.
    fn loaded(&mut self, state: &State, size: Size, base: usize, offset: i16) -> Vec<String> {
        let at = place(state, base, offset);
        let at = self.word(&at);
        (0..size.bytes() as u64)
            .rev()
            .map(|byte| format!("(select {} (bvadd {at} {}))", state.memory, number(byte, 64)))
            .collect()
    }
}

fn operand(state: &State, operand: Operand) -> String {
    match operand {
        Operand::Reg(reg) => state.registers[reg.index()].clone(),
        Operand::Imm(imm) => number(i64::from(imm).cast_unsigned(), 64),
    }
}

fn place(state: &State, base: usize, offset: i16) -> String {
    let offset = number(i64::from(offset).cast_unsigned(), 64);
    format!("(bvadd {} {offset})", state.registers[base])
}

fn concat(parts: &[String]) -> String {
    match parts {
        [one] => one.clone(),
        many => format!("(concat {})", many.join(" ")),
    }
}

/// What a 32-bit instruction sees of a register.
fn low(value: &str, width: Width) -> String {
    match width {
        Width::W64 => value.to_owned(),
        Width::W32 => format!("((_ extract 31 0) {value})"),
    }
}

/// A 32-bit result clears the upper half.
fn wide(value: &str, width: Width) -> String {
    match width {
        Width::W64 => value.to_owned(),
        Width::W32 => extended(value, 32),
    }
}

fn extended(value: &str, bits: u32) -> String {
    if bits == 64 { value.to_owned() } else { format!("((_ zero_extend {}) {value})", 64 - bits) }
}

/// RFC 9669 section 4.1: shifts mask their count, a division by zero is 0, a remainder by zero is
/// the dividend.
fn alu(op: AluOp, width: Width, a: &str, b: &str) -> String {
    let bits = if width == Width::W32 { 32 } else { 64 };
    let (zero, count) =
        (number(0, bits), format!("(bvand {b} {})", number(u64::from(bits) - 1, bits)));
    match op {
        AluOp::Add => format!("(bvadd {a} {b})"),
        AluOp::Sub => format!("(bvsub {a} {b})"),
        AluOp::Mul => format!("(bvmul {a} {b})"),
        AluOp::Div => format!("(ite (= {b} {zero}) {zero} (bvudiv {a} {b}))"),
        AluOp::Sdiv => format!("(ite (= {b} {zero}) {zero} (bvsdiv {a} {b}))"),
        AluOp::Mod => format!("(ite (= {b} {zero}) {a} (bvurem {a} {b}))"),
        AluOp::Smod => format!("(ite (= {b} {zero}) {a} (bvsrem {a} {b}))"),
        AluOp::Or => format!("(bvor {a} {b})"),
        AluOp::And => format!("(bvand {a} {b})"),
        AluOp::Xor => format!("(bvxor {a} {b})"),
        AluOp::Lsh => format!("(bvshl {a} {count})"),
        AluOp::Rsh => format!("(bvlshr {a} {count})"),
        AluOp::Arsh => format!("(bvashr {a} {count})"),
        AluOp::Mov => b.to_owned(),
    }
}

/// RFC 9669 section 4.3.
fn holds(cond: Cond, a: &str, b: &str) -> String {
    match cond {
        Cond::Eq => format!("(= {a} {b})"),
        Cond::Ne => format!("(not (= {a} {b}))"),
        Cond::Set => format!("(not (= (bvand {a} {b}) (bvsub {a} {a})))"),
        Cond::Gt => format!("(bvugt {a} {b})"),
        Cond::Ge => format!("(bvuge {a} {b})"),
        Cond::Lt => format!("(bvult {a} {b})"),
        Cond::Le => format!("(bvule {a} {b})"),
        Cond::Sgt => format!("(bvsgt {a} {b})"),
        Cond::Sge => format!("(bvsge {a} {b})"),
        Cond::Slt => format!("(bvslt {a} {b})"),
        Cond::Sle => format!("(bvsle {a} {b})"),
    }
}
