//! Programs full of what compiles to less than it says, and of what only looks like it.
//!
//! The bytes choose pieces: a copy and an operation, two shifts, the four instructions of a
//! rotation, a loaded operand, a division by a constant; with registers and constants that make an
//! idiom, or nearly; and branches that go a few instructions ahead, into the middle of others. What
//! the end reads is chosen too, so that some registers are dead and some are not.

use alloc::vec::Vec;

use ebpf::{AluOp, Cond, Imm64, Insn, Kind, Operand, Program, Reg, Size, Width};

/// Registers that hold numbers; `r1` leads to memory.
const NUMBERS: [Reg; 9] =
    [Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9];

/// Words of the stack that are written first.
const WORDS: i16 = 4;

/// Constants that divide, shift and mask in ways of their own.
const CONSTANTS: [i32; 24] = [
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    10,
    31,
    32,
    33,
    48,
    56,
    63,
    100,
    127,
    128,
    0xff,
    0xffff,
    641,
    1000,
    i32::MAX,
    -1,
    i32::MIN,
];

const W64: Width = Width::W64;

/// A program of kind `Memory` that the bytes make: straight on, numbers only, so that the verifier
/// accepts it.
#[must_use]
pub fn idioms_from_bytes(bytes: &[u8]) -> Option<Program> {
    let mut maker = Maker { bytes: bytes.iter(), insns: Vec::new() };
    maker.begin();
    while maker.bytes.len() > 8 {
        maker.piece();
    }
    maker.end();
    Program::from_insns(Kind::Memory, maker.insns).ok()
}

struct Maker<'a> {
    bytes: core::slice::Iter<'a, u8>,
    insns: Vec<Insn>,
}

impl Maker<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T], other: T) -> T {
        let at = usize::from(self.byte()) % from.len().max(1);
        from.get(at).copied().unwrap_or(other)
    }

    fn reg(&mut self) -> Reg {
        self.pick(&NUMBERS, Reg::R0)
    }

    /// One of two registers that were just used, or now and then any.
    fn near(&mut self, a: Reg, b: Reg) -> Reg {
        match self.byte() % 8 {
            0..4 => a,
            4..7 => b,
            _ => self.reg(),
        }
    }

    fn width(&mut self) -> Width {
        if self.byte().is_multiple_of(3) { Width::W32 } else { W64 }
    }

    fn constant(&mut self) -> i32 {
        match self.byte() % 4 {
            0 => i32::from(self.byte()) << 8 | i32::from(self.byte()),
            _ => self.pick(&CONSTANTS, 1),
        }
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width, op, dst, src });
    }

    fn begin(&mut self) {
        for reg in NUMBERS {
            let [a, b, c, d] = [self.byte(), self.byte(), self.byte(), self.byte()];
            let value = u64::from_le_bytes([a, b, c, d, d, c, a ^ b, d ^ a]);
            self.insns.push(Insn::LoadImm64 { dst: reg, imm: Imm64::Value(value) });
            self.insns.push(Insn::LoadImm64High);
        }
        for (word, reg) in (1..=WORDS).zip(NUMBERS) {
            let (size, base, src) = (Size::B8, Reg::R10, Operand::Reg(reg));
            self.insns.push(Insn::Store { size, base, offset: -8 * word, src });
        }
    }

    /// The table: one line per piece.
    fn piece(&mut self) {
        match self.byte() % 8 {
            0 | 1 => self.copy_and(),
            2 => self.shifts(),
            3 => self.rotation(),
            4 => self.loaded(),
            5 => self.divided(),
            6 => self.ahead(),
            _ => {
                let (width, op) = (self.width(), self.operation());
                let (dst, src) = (self.reg(), self.operand());
                self.alu(width, op, dst, src);
            }
        }
    }

    fn operation(&mut self) -> AluOp {
        const ALL: [AluOp; 14] = [
            AluOp::Add,
            AluOp::Sub,
            AluOp::Mul,
            AluOp::Div,
            AluOp::Sdiv,
            AluOp::Mod,
            AluOp::Smod,
            AluOp::Or,
            AluOp::And,
            AluOp::Xor,
            AluOp::Lsh,
            AluOp::Rsh,
            AluOp::Arsh,
            AluOp::Mov,
        ];
        self.pick(&ALL, AluOp::Add)
    }

    fn operand(&mut self) -> Operand {
        if self.byte().is_multiple_of(2) {
            Operand::Imm(self.constant())
        } else {
            Operand::Reg(self.reg())
        }
    }

    fn copy_and(&mut self) {
        let (a, b, width) = (self.reg(), self.reg(), self.width());
        self.alu(width, AluOp::Mov, a, Operand::Reg(b));
        let (op, same, src) = (self.operation(), self.near(a, b), self.operand());
        let width = if self.byte() % 4 < 3 { width } else { self.width() };
        self.alu(width, op, same, src);
    }

    fn shifts(&mut self) {
        let (a, b) = (self.reg(), self.reg());
        if self.byte().is_multiple_of(2) {
            self.alu(W64, AluOp::Mov, a, Operand::Reg(b));
        }
        let count = self.pick(&[1, 2, 3, 4, 32, 48, 56], 32);
        self.alu(W64, AluOp::Lsh, a, Operand::Imm(count));
        let op = self.pick(&[AluOp::Rsh, AluOp::Arsh, AluOp::Add], AluOp::Rsh);
        let other = Operand::Reg(self.near(b, a));
        let src = if op == AluOp::Add { other } else { Operand::Imm(count) };
        self.alu(W64, op, a, src);
    }

    fn rotation(&mut self) {
        let (t, a, width) = (self.reg(), self.reg(), self.width());
        let bits = if width == W64 { 64 } else { 32 };
        let count = 1 + i32::from(self.byte()) % (bits - 1);
        let rest = if self.byte().is_multiple_of(8) { count } else { bits - count };
        self.alu(W64, AluOp::Mov, t, Operand::Reg(a));
        let left_first = self.byte().is_multiple_of(2);
        let (first, second) =
            if left_first { (AluOp::Lsh, AluOp::Rsh) } else { (AluOp::Rsh, AluOp::Lsh) };
        self.alu(width, first, t, Operand::Imm(count));
        self.alu(width, second, a, Operand::Imm(rest));
        let (into, from) = if self.byte().is_multiple_of(2) { (a, t) } else { (t, a) };
        self.alu(width, AluOp::Or, into, Operand::Reg(from));
        let dead = self.near(from, into);
        if !self.byte().is_multiple_of(3) {
            self.alu(W64, AluOp::Mov, dead, Operand::Imm(1));
        }
    }

    fn loaded(&mut self) {
        let (t, d) = (self.reg(), self.reg());
        let size = self.pick(&[Size::B4, Size::B8, Size::B8, Size::B2], Size::B8);
        let offset = -8 * (1 + i16::from(self.byte()) % WORDS);
        self.insns.push(Insn::Load { size, signed: false, dst: t, base: Reg::R10, offset });
        let width = if size == Size::B4 { Width::W32 } else { W64 };
        if self.byte().is_multiple_of(3) {
            let cond = self.pick(&[Cond::Eq, Cond::Ne, Cond::Gt, Cond::Set], Cond::Eq);
            let (dst, src) = if self.byte().is_multiple_of(2) { (d, t) } else { (t, d) };
            let target = self.target();
            self.insns.push(Insn::Branch { width, cond, dst, src: Operand::Reg(src), target });
        } else {
            let (op, src) = (self.operation(), Operand::Reg(t));
            self.alu(width, op, d, src);
        }
        if !self.byte().is_multiple_of(3) {
            self.alu(W64, AluOp::Mov, t, Operand::Reg(d));
        }
    }

    fn divided(&mut self) {
        let op = self.pick(&[AluOp::Div, AluOp::Mod, AluOp::Sdiv, AluOp::Smod], AluOp::Div);
        let (width, dst) = (self.width(), self.reg());
        let imm = self.constant();
        self.alu(width, op, dst, Operand::Imm(imm));
    }

    /// A slot a few instructions ahead; what is not there is made by [`Maker::end`].
    fn target(&mut self) -> u32 {
        self.insns.len() as u32 + 2 + u32::from(self.byte()) % 5
    }

    fn ahead(&mut self) {
        let (width, dst, src) = (self.width(), self.reg(), self.operand());
        let cond = self.pick(&[Cond::Gt, Cond::Sle, Cond::Set, Cond::Ne], Cond::Gt);
        let target = self.target();
        self.insns.push(Insn::Branch { width, cond, dst, src, target });
    }

    /// Some of the registers, in the result.
    fn end(&mut self) {
        for _ in 0..8 {
            self.alu(W64, AluOp::Add, Reg::R0, Operand::Imm(1));
        }
        let chosen = self.byte();
        for (at, reg) in (0..8).zip(NUMBERS.into_iter().skip(1)) {
            if chosen >> at & 1 == 1 {
                self.alu(W64, AluOp::Mul, Reg::R0, Operand::Imm(31));
                self.alu(W64, AluOp::Xor, Reg::R0, Operand::Reg(reg));
            }
        }
        self.insns.push(Insn::Exit);
    }
}
