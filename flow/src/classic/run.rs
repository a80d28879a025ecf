//! What a classic program says of a frame.
//!
//! A load outside the frame and a division by zero end the program: nothing is accepted. Numbers
//! have 32 bits and wrap.

use super::{Classic, Insn, MEMORY, Op, Operand, Source, Test};

impl Classic {
    /// How many bytes of the frame are accepted; 0: it is not.
    #[must_use]
    pub fn run(&self, frame: &[u8]) -> u32 {
        self.result(frame).unwrap_or(0)
    }

    /// As [`Classic::run`], but `None` where a load outside the frame or a division by zero ended
    /// the program before it had said anything.
    #[must_use]
    pub fn result(&self, frame: &[u8]) -> Option<u32> {
        let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; MEMORY as usize]);
        let mut pc = 0usize;
        // Jumps only go forward.
        loop {
            let insn = *self.insns.get(pc)?;
            pc += 1;
            let value = |operand| match operand {
                Operand::Constant(k) => k,
                Operand::Index => x,
            };
            match insn {
                Insn::Load { bytes, behind_index, at } => {
                    let from = u64::from(at) + if behind_index { u64::from(x) } else { 0 };
                    a = number(frame, from, bytes)?;
                }
                Insn::Set { index, from } => {
                    let value = match from {
                        Source::Constant(k) => k,
                        Source::Memory(slot) => *memory.get(slot as usize)?,
                        Source::Length => u32::try_from(frame.len()).ok()?,
                    };
                    *(if index { &mut x } else { &mut a }) = value;
                }
                Insn::HeaderLength { at } => x = (number(frame, at.into(), 1)? & 0x0f) * 4,
                Insn::Store { index, slot } => {
                    *memory.get_mut(slot as usize)? = if index { x } else { a };
                }
                Insn::Alu { op, operand } => a = computed(op, a, value(operand))?,
                Insn::Neg => a = a.wrapping_neg(),
                Insn::Branch { test, operand, taken, other } => {
                    let by = if holds(test, a, value(operand)) { taken } else { other };
                    pc += usize::from(by);
                }
                Insn::Jump(by) => pc += by as usize,
                Insn::Return(k) => return Some(k.unwrap_or(a)),
                Insn::Move(true) => x = a,
                Insn::Move(false) => a = x,
            }
        }
    }
}

fn number(frame: &[u8], from: u64, bytes: u8) -> Option<u32> {
    let from = usize::try_from(from).ok()?;
    let bytes = frame.get(from..from.checked_add(bytes.into())?)?;
    Some(bytes.iter().fold(0, |all, &byte| all << 8 | u32::from(byte)))
}

fn computed(op: Op, a: u32, by: u32) -> Option<u32> {
    Some(match op {
        Op::Add => a.wrapping_add(by),
        Op::Sub => a.wrapping_sub(by),
        Op::Mul => a.wrapping_mul(by),
        Op::Div => a.checked_div(by)?,
        Op::Mod => a.checked_rem(by)?,
        Op::Or => a | by,
        Op::And => a & by,
        Op::Xor => a ^ by,
        Op::Left => a.checked_shl(by).unwrap_or(0),
        Op::Right => a.checked_shr(by).unwrap_or(0),
    })
}

const fn holds(test: Test, a: u32, by: u32) -> bool {
    match test {
        Test::Equal => a == by,
        Test::Greater => a > by,
        Test::NotLess => a >= by,
        Test::Common => a & by != 0,
    }
}
