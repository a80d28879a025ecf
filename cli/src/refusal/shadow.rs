//! Which input bytes each register came from, while a program runs.
//!
//! Only what can be undone is followed: loads of the packet, masks, shifts, swaps, sums with
//! constants, spills. That is enough to say, at a comparison, which bytes would make it come out
//! the other way; whoever uses it runs the program again to see.

use std::collections::BTreeMap;

use ebpf::interp::{DATA_BASE, arith};
use ebpf::{AluOp, ByteOrder, Cond, Insn, Kind, Operand, Program, Reg, Size, Width};

use super::example::Input;

/// Operations that are undone at most.
const OPS_MAX: usize = 8;
/// Comparisons that are remembered of one run.
const CHOICES_MAX: usize = 256;

/// Where a number came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Bytes of the packet, little endian.
    Data(usize, Size),
    /// The result of the n-th helper call.
    Result(usize),
    /// The length of the packet.
    Length,
}

/// How it was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add(u64),
    Xor(u64),
    And(u64),
    Left(u32),
    Right(u32),
    Swap(ByteOrder, u8),
}

#[derive(Clone, Debug)]
struct Origin {
    place: Place,
    ops: Vec<Op>,
}

/// A comparison that a run made.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Slot of the branch.
    pub(super) pc: u32,
    /// Where it did not go.
    pub(super) other: u32,
    /// What would make it go there.
    wanted: Vec<(Origin, u64)>,
}

/// Follows one run.
pub(super) struct Shadow<'a> {
    program: &'a Program,
    length: usize,
    registers: [Option<Origin>; 11],
    stack: BTreeMap<u64, Origin>,
    calls: usize,
    choices: Vec<Choice>,
}

impl<'a> Shadow<'a> {
    pub(super) fn new(program: &'a Program, length: usize) -> Shadow<'a> {
        let mut registers = [const { None }; 11];
        if program.kind() == Kind::Memory {
            registers[Reg::R2.index()] = Some(Origin { place: Place::Length, ops: Vec::new() });
        }
        let (stack, choices) = (BTreeMap::new(), Vec::new());
        Shadow { program, length, registers, stack, calls: 0, choices }
    }

    pub(super) fn choices(self) -> Vec<Choice> {
        self.choices
    }

    /// The instruction at `pc` is about to run.
    pub(super) fn step(&mut self, pc: u32, values: &[u64; 11]) {
        let Some(insn) = self.program.get(pc) else { return };
        match *insn {
            Insn::Branch { .. } => self.branch(pc, insn, values),
            Insn::Load { size, signed, dst, base, offset } => {
                let address = values[base.index()].wrapping_add_signed(offset.into());
                self.registers[dst.index()] = self.loaded(address, size).filter(|_| !signed);
            }
            Insn::Store { size, base, offset, src } => {
                let address = values[base.index()].wrapping_add_signed(offset.into());
                let origin = match src {
                    Operand::Reg(reg) if size == Size::B8 => self.registers[reg.index()].clone(),
                    _ => None,
                };
                match origin {
                    Some(origin) => self.stack.insert(address, origin),
                    None => self.stack.remove(&address),
                };
            }
            Insn::Call { .. } => {
                let place = Place::Result(self.calls);
                self.calls += 1;
                self.registers[0] = Some(Origin { place, ops: Vec::new() });
            }
            _ => self.change(insn, values),
        }
    }

    fn loaded(&self, address: u64, size: Size) -> Option<Origin> {
        if let Some(origin) = self.stack.get(&address).filter(|_| size == Size::B8) {
            return Some(origin.clone());
        }
        let at = usize::try_from(address.checked_sub(DATA_BASE.into())?).ok()?;
        let inside = at + size.bytes() <= self.length;
        inside.then(|| Origin { place: Place::Data(at, size), ops: Vec::new() })
    }

    fn change(&mut self, insn: &Insn, values: &[u64; 11]) {
        let Some(dst) = insn.written() else { return };
        let (op, from) = match *insn {
            Insn::Alu { op: AluOp::Mov, src: Operand::Reg(src), .. } => (None, src),
            Insn::Alu { op, src, .. } => {
                let by = match src {
                    Operand::Imm(imm) => i64::from(imm).cast_unsigned(),
                    Operand::Reg(reg) => values[reg.index()],
                };
                // The sum of a number and a pointer is the number's as well.
                let other = match src {
                    Operand::Reg(reg) if self.registers[dst.index()].is_none() => Some(reg),
                    _ => None,
                };
                match (inverse(op, by), other) {
                    (_, Some(reg)) if op == AluOp::Add => (Some(Op::Add(values[dst.index()])), reg),
                    (Some(op), _) => (Some(op), dst),
                    (None, _) => return self.registers[dst.index()] = None,
                }
            }
            Insn::Endian { order, bits, dst } => (Some(Op::Swap(order, bits)), dst),
            _ => return self.registers[dst.index()] = None,
        };
        let mut origin = self.registers[from.index()].clone();
        if let (Some(op), Some(origin)) = (op, &mut origin) {
            origin.ops.push(op);
        }
        self.registers[dst.index()] = origin.filter(|origin| origin.ops.len() <= OPS_MAX);
    }

    fn branch(&mut self, pc: u32, insn: &Insn, values: &[u64; 11]) {
        let Insn::Branch { width, cond, dst, src, target } = *insn else { return };
        let left = values[dst.index()];
        let (right, right_origin) = match src {
            Operand::Imm(imm) => (i64::from(imm).cast_unsigned(), None),
            Operand::Reg(reg) => (values[reg.index()], self.registers[reg.index()].clone()),
        };
        let taken = arith::holds(width, cond, left, right);
        let other = if taken { pc + 1 } else { target };
        let mut wanted = Vec::new();
        if let Some(origin) = &self.registers[dst.index()] {
            let values = candidates(right).into_iter();
            let flips = |&value: &u64| arith::holds(width, cond, value, right) != taken;
            wanted.extend(values.filter(flips).map(|value| (origin.clone(), value)));
        }
        if let Some(origin) = &right_origin {
            let values = candidates(left).into_iter();
            let flips = |&value: &u64| arith::holds(width, cond, left, value) != taken;
            wanted.extend(values.filter(flips).map(|value| (origin.clone(), value)));
        }
        if width == Width::W64 && cond != Cond::Set {
            wanted.extend(self.lengths(left, right));
        }
        if self.choices.len() < CHOICES_MAX && !wanted.is_empty() {
            self.choices.push(Choice { pc, other, wanted });
        }
    }

    /// A pointer compared with the packet's end: the lengths around it.
    fn lengths(&self, left: u64, right: u64) -> Vec<(Origin, u64)> {
        let end = u64::from(DATA_BASE) + self.length as u64;
        let other = match (left == end, right == end) {
            (true, _) => right,
            (_, true) => left,
            _ => return Vec::new(),
        };
        let origin = Origin { place: Place::Length, ops: vec![Op::Add(DATA_BASE.into())] };
        [0, 1, u64::MAX].map(|more| (origin.clone(), other.wrapping_add(more))).to_vec()
    }
}

/// Numbers at and around a number, and the extremes.
fn candidates(number: u64) -> Vec<u64> {
    let near = [0, 1, u64::MAX].map(|more| number.wrapping_add(more));
    let edges = [0, 1, 0xff, u32::MAX.into(), i64::MAX.cast_unsigned(), 1 << 63, u64::MAX];
    near.into_iter().chain(edges).chain((0..64).map(|bit| number & (1 << bit))).collect()
}

/// How an operation is written down so that it can be undone.
fn inverse(op: AluOp, by: u64) -> Option<Op> {
    Some(match op {
        AluOp::Add => Op::Add(by),
        AluOp::Sub => Op::Add(by.wrapping_neg()),
        AluOp::Xor => Op::Xor(by),
        AluOp::And => Op::And(by),
        AluOp::Lsh => Op::Left((by & 63) as u32),
        AluOp::Rsh => Op::Right((by & 63) as u32),
        _ => return None,
    })
}

impl Choice {
    /// The input changed so that the branch may go the other way.
    pub(super) fn flipped(&self, input: &Input) -> Vec<Input> {
        self.wanted.iter().filter_map(|(origin, value)| origin.applied(*value, input)).collect()
    }
}

impl Origin {
    /// The input in which the register would hold `value`.
    fn applied(&self, value: u64, input: &Input) -> Option<Input> {
        let mut value = value;
        for op in self.ops.iter().rev() {
            value = match *op {
                Op::Add(by) => value.wrapping_sub(by),
                Op::Xor(by) => value ^ by,
                Op::And(mask) => value & mask,
                Op::Left(count) => value >> count,
                Op::Right(count) => value << count,
                Op::Swap(order, bits) => arith::endian(order, bits, value),
            };
        }
        let mut input = input.clone();
        match self.place {
            Place::Data(at, size) => {
                let bytes = value.to_le_bytes();
                let there = input.data.get_mut(at..at + size.bytes())?;
                there.copy_from_slice(bytes.get(..size.bytes())?);
            }
            Place::Result(call) => {
                let needed = input.results.len().max(call + 1);
                input.results.resize(needed.min(1_024), 0);
                *input.results.get_mut(call)? = value;
            }
            Place::Length => {
                let length = usize::try_from(value).ok().filter(|&n| n <= 1 << 16)?;
                input.data.resize(length, 0);
            }
        }
        Some(input)
    }
}
