//! Programs that a verifier has a good chance to accept, out of arbitrary bytes.
//!
//! The generator follows what it has written: which registers hold numbers, how many bytes of the
//! packet were checked to exist, which stack words were written. It stays inside that, except for
//! one access in thirty-two, so that most programs are safe and some are not. There are only
//! forward jumps. Registers: for packets `r2` is `data`, `r3` is `data_end`, `r4` a scratch
//! pointer, and an ASH keeps its context in `r9`; for memory `r1` is the buffer and `r2` its
//! length. The rest hold numbers.

use alloc::vec::Vec;

use super::source::Source;
use crate::context;
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Cond, Imm64, Insn, Operand, Reg, Size, Width,
};
use crate::program::Kind;

/// Longest program before its two ends, in slots.
const SLOTS: usize = 240;
/// Deepest nesting of skipped blocks.
const DEPTH: u8 = 3;

const SIZES: [Size; 4] = [Size::B1, Size::B2, Size::B4, Size::B8];

/// Sizes, offsets and values of header fields as a little-endian load sees them.
const HEADERS: [(Size, u16, i32); 12] = [
    (Size::B2, 12, 0x0008),
    (Size::B2, 12, 0xdd86_u16 as i32),
    (Size::B2, 12, 0x0608),
    (Size::B1, 14, 0x45),
    (Size::B1, 23, 17),
    (Size::B1, 23, 6),
    (Size::B1, 20, 17),
    (Size::B2, 20, 0),
    (Size::B4, 30, 0x0f02_000a),
    (Size::B2, 36, 0x3500),
    (Size::B2, 36, 0x611e),
    (Size::B4, 26, 0x0202_000a),
];

/// What is known where the generator stands.
#[derive(Clone, Copy)]
struct State {
    /// Bit n: register n holds a number.
    numbers: u16,
    /// Bytes known to exist from the packet's or buffer's start.
    checked: u16,
    /// Bit n: the stack word at `r10 - 8 * (n + 1)` is written.
    stack: u8,
}

impl State {
    /// What holds on both ways into a join.
    fn meet(self, other: Self) -> Self {
        Self {
            numbers: self.numbers & other.numbers,
            checked: self.checked.min(other.checked),
            stack: self.stack & other.stack,
        }
    }
}

/// The two ends of every program.
#[derive(Clone, Copy)]
enum End {
    Yes,
    No,
}

struct Generator<'a> {
    kind: Kind,
    source: Source<'a>,
    insns: Vec<Insn>,
    /// Instructions whose target is one of the ends.
    ends: Vec<(usize, End)>,
    /// Local calls, all of one function after the ends.
    calls: Vec<usize>,
    state: State,
    depth: u8,
}

/// The instructions of a loop-free program.
pub(super) fn generate(kind: Kind, bytes: &[u8]) -> Vec<Insn> {
    let state = State { numbers: 0, checked: 0, stack: 0 };
    let source = Source::new(bytes);
    let (insns, ends, calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut generator = Generator { kind, source, insns, ends, calls, state, depth: 0 };
    generator.prologue();
    while !generator.source.is_empty() && generator.insns.len() < SLOTS {
        generator.statement();
    }
    generator.finish();
    generator.insns
}

impl Generator<'_> {
    fn prologue(&mut self) {
        if self.kind == Kind::Ash {
            self.mov(Reg::R9, Reg::R1.into());
        }
        self.load_bounds();
        let scratch = self.scratch();
        self.set_number(scratch);
        if self.source.byte() & 7 != 0 {
            self.check_length();
        }
    }

    /// `data` and `data_end` into `r2` and `r3`, from wherever the context is.
    fn load_bounds(&mut self) {
        let base = match self.kind {
            Kind::Memory => return,
            Kind::Filter => Reg::R1,
            Kind::Ash => Reg::R9,
        };
        for (dst, offset) in [(Reg::R2, context::DATA), (Reg::R3, context::DATA_END)] {
            self.insns.push(Insn::Load { size: Size::B4, signed: false, dst, base, offset });
        }
        self.state.checked = 0;
    }

    fn statement(&mut self) {
        let rich = self.kind != Kind::Filter;
        match self.source.below(32) {
            0..=3 => self.check_length(),
            4..=8 => self.load_field(),
            9..=11 => self.test_field(),
            12..=16 => self.arithmetic(),
            17 => self.swap(),
            18..=20 => self.leave_if(),
            21..=23 => self.skip_block(),
            24 => self.header_base(),
            25 => self.length_test(),
            26 if rich => self.store_field(),
            27 if rich => self.store_stack(),
            28 if rich => self.load_stack(),
            29 if rich => self.atomic(),
            30 if rich => self.call(),
            31 => self.constant(),
            _ => self.test_field(),
        }
    }

    /// Registers that may hold numbers.
    fn pool(&self) -> &'static [Reg] {
        match self.kind {
            Kind::Ash => &[Reg::R0, Reg::R5, Reg::R6, Reg::R7, Reg::R8],
            Kind::Filter | Kind::Memory => &[Reg::R0, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9],
        }
    }

    /// The register to load from, and the packet's or buffer's start.
    fn base(&self) -> Reg {
        if self.kind == Kind::Memory { Reg::R1 } else { Reg::R2 }
    }

    /// Some register to put a number in.
    fn scratch(&mut self) -> Reg {
        let pool = self.pool();
        self.source.pick(pool, Reg::R0)
    }

    /// Some register that holds a number.
    fn number(&mut self) -> Reg {
        let known: Vec<Reg> =
            self.pool().iter().copied().filter(|reg| self.holds_number(*reg)).collect();
        if known.is_empty() {
            self.set_number(Reg::R0);
            return Reg::R0;
        }
        self.source.pick(&known, Reg::R0)
    }

    fn holds_number(&self, reg: Reg) -> bool {
        self.state.numbers & 1 << reg.index() != 0
    }

    fn mov(&mut self, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width: Width::W64, op: AluOp::Mov, dst, src });
    }

    fn add(&mut self, dst: Reg, src: Operand) {
        self.insns.push(Insn::Alu { width: Width::W64, op: AluOp::Add, dst, src });
    }

    fn set_number(&mut self, dst: Reg) {
        let imm = self.source.immediate();
        self.mov(dst, imm.into());
        self.state.numbers |= 1 << dst.index();
    }

    /// A number, or a register that holds one.
    fn operand(&mut self) -> Operand {
        if self.source.byte() & 3 == 0 {
            self.number().into()
        } else {
            self.source.immediate().into()
        }
    }

    fn width(&mut self) -> Width {
        if self.source.byte() & 3 == 0 { Width::W32 } else { Width::W64 }
    }

    fn branch(&mut self, cond: Cond, dst: Reg, src: Operand, end: End) {
        self.ends.push((self.insns.len(), end));
        self.insns.push(Insn::Branch { width: Width::W64, cond, dst, src, target: 0 });
    }

    /// Leaves unless so many bytes exist, as clang writes it.
    fn check_length(&mut self) {
        let bytes = match self.source.byte() {
            0..=95 => 42,
            96..=127 => 14,
            128..=159 => 34,
            160..=191 => 54,
            other => u16::from(other),
        };
        if self.kind == Kind::Memory {
            self.branch(Cond::Lt, Reg::R2, i32::from(bytes).into(), End::No);
        } else {
            self.mov(Reg::R4, Reg::R2.into());
            self.add(Reg::R4, i32::from(bytes).into());
            self.branch(Cond::Gt, Reg::R4, Reg::R3.into(), End::No);
        }
        self.state.checked = self.state.checked.max(bytes);
    }

    /// An offset at which `size` bytes were checked; rarely one at which they were not.
    fn offset(&mut self, size: Size) -> Option<i16> {
        if self.source.byte() & 31 == 31 {
            return Some(i16::from(self.source.byte()));
        }
        let room = usize::from(self.state.checked).checked_sub(size.bytes())?;
        let bound = u16::try_from(room + 1).ok()?;
        i16::try_from(self.source.below(bound)).ok()
    }

    fn load_field(&mut self) {
        let size = self.source.pick(&SIZES, Size::B1);
        let Some(offset) = self.offset(size) else { return };
        let signed = self.kind != Kind::Filter && size != Size::B8 && self.source.byte() & 7 == 0;
        let (dst, base) = (self.scratch(), self.base());
        self.insns.push(Insn::Load { size, signed, dst, base, offset });
        self.state.numbers |= 1 << dst.index();
    }

    /// A header field and a value it often has.
    fn test_field(&mut self) {
        let header = self.source.pick(&HEADERS, HEADERS[0]);
        let (size, at, value) = header;
        if usize::from(at) + size.bytes() > usize::from(self.state.checked) {
            return self.check_length();
        }
        let (dst, base) = (self.scratch(), self.base());
        let offset = at.cast_signed();
        self.insns.push(Insn::Load { size, signed: false, dst, base, offset });
        self.state.numbers |= 1 << dst.index();
        let cond = if self.source.byte() & 7 == 0 { Cond::Eq } else { Cond::Ne };
        self.branch(cond, dst, value.into(), End::No);
    }

    fn arithmetic(&mut self) {
        const PLAIN: [AluOp; 6] =
            [AluOp::And, AluOp::Rsh, AluOp::Lsh, AluOp::Add, AluOp::Or, AluOp::Mov];
        let rich = self.kind != Kind::Filter;
        let op = if rich {
            self.source.pick(&AluOp::ALL, AluOp::Add)
        } else {
            self.source.pick(&PLAIN, AluOp::And)
        };
        let (width, dst) = (self.width(), self.number());
        let src = match op {
            // The verifier may refuse counts that the shift would mask.
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => Operand::Imm(i32::from(self.source.below(32))),
            _ => self.operand(),
        };
        let insn = match self.source.byte() {
            0..=15 if rich => Insn::Neg { width, dst },
            16..=31 if rich => Insn::MovSx { width, from: Size::B2, dst, src: dst },
            _ => Insn::Alu { width, op, dst, src },
        };
        self.insns.push(insn);
    }

    fn swap(&mut self) {
        let dst = self.number();
        let orders = [ByteOrder::Be, ByteOrder::Le, ByteOrder::Swap];
        let order = self.source.pick(&orders, ByteOrder::Be);
        let bits = self.source.pick(&[16, 32, 64], 16);
        self.insns.push(Insn::Endian { order, bits, dst });
    }

    /// A comparison that goes to one of the ends.
    fn leave_if(&mut self) {
        let (dst, src) = (self.number(), self.operand());
        let cond = self.source.pick(&Cond::ALL, Cond::Eq);
        let end = if self.source.byte() & 1 == 0 { End::No } else { End::Yes };
        self.branch(cond, dst, src, end);
    }

    /// A comparison over a block.
    fn skip_block(&mut self) {
        if self.depth == DEPTH {
            return self.leave_if();
        }
        let (width, dst, src) = (self.width(), self.number(), self.operand());
        let cond = self.source.pick(&Cond::ALL, Cond::Eq);
        let (at, before) = (self.insns.len(), self.state);
        self.insns.push(Insn::Branch { width, cond, dst, src, target: 0 });
        self.depth += 1;
        for _ in 0..=self.source.below(4) {
            self.statement();
        }
        self.depth -= 1;
        self.state = self.state.meet(before);
        let target = slot(self.insns.len());
        if let Some(insn) = self.insns.get_mut(at) {
            *insn = Insn::Branch { width, cond, dst, src, target };
        }
    }

    /// A load behind the IPv4 header, whose length is in the packet.
    fn header_base(&mut self) {
        if self.kind == Kind::Memory || self.state.checked < 15 {
            return self.check_length();
        }
        let (length, dst) = (Reg::R5, self.scratch());
        let size = self.source.pick(&[Size::B2, Size::B1, Size::B4], Size::B2);
        let offset = 14 + i16::try_from(self.source.below(8)).unwrap_or(0);
        let width = Width::W64;
        let base = Reg::R2;
        self.insns.push(Insn::Load {
            size: Size::B1,
            signed: false,
            dst: length,
            base,
            offset: 14,
        });
        self.insns.push(Insn::Alu { width, op: AluOp::And, dst: length, src: 15.into() });
        self.insns.push(Insn::Alu { width, op: AluOp::Lsh, dst: length, src: 2.into() });
        self.mov(Reg::R4, Reg::R2.into());
        self.add(Reg::R4, length.into());
        let end = Reg::R8;
        self.mov(end, Reg::R4.into());
        self.add(end, (i32::from(offset) + size.bytes() as i32).into());
        self.branch(Cond::Gt, end, Reg::R3.into(), End::No);
        self.insns.push(Insn::Load { size, signed: false, dst, base: Reg::R4, offset });
        self.state.numbers &= !(1 << end.index());
        self.state.numbers |= 1 << dst.index() | 1 << length.index();
    }

    /// A test of the length as a number.
    fn length_test(&mut self) {
        let (bytes, cond) = (self.source.byte(), self.source.pick(&[Cond::Lt, Cond::Gt], Cond::Lt));
        let length = if self.kind == Kind::Memory {
            Reg::R2
        } else {
            self.mov(Reg::R4, Reg::R3.into());
            let (width, op, src) = (Width::W64, AluOp::Sub, Reg::R2.into());
            self.insns.push(Insn::Alu { width, op, dst: Reg::R4, src });
            Reg::R4
        };
        self.branch(cond, length, i32::from(bytes).into(), End::No);
    }

    fn store_field(&mut self) {
        let size = self.source.pick(&SIZES, Size::B1);
        let Some(offset) = self.offset(size) else { return };
        let (base, src) = (self.base(), self.operand());
        self.insns.push(Insn::Store { size, base, offset, src });
    }

    /// A stack word: its number and its offset from `r10`.
    fn stack_word(&mut self) -> (u16, i16) {
        let word = self.source.below(8);
        (word, -8 * (word.cast_signed() + 1))
    }

    fn store_stack(&mut self) {
        let ((word, offset), src) = (self.stack_word(), self.operand());
        self.insns.push(Insn::Store { size: Size::B8, base: Reg::R10, offset, src });
        self.state.stack |= 1 << word;
    }

    fn load_stack(&mut self) {
        let (word, offset) = self.stack_word();
        if self.state.stack & 1 << word == 0 {
            return self.store_stack();
        }
        let (size, dst) = (self.source.pick(&SIZES, Size::B8), self.scratch());
        self.insns.push(Insn::Load { size, signed: false, dst, base: Reg::R10, offset });
        self.state.numbers |= 1 << dst.index();
    }

    fn atomic(&mut self) {
        let (word, offset) = self.stack_word();
        if self.state.stack & 1 << word == 0 {
            return self.store_stack();
        }
        let size = self.source.pick(&[Size::B4, Size::B8], Size::B8);
        let op = self.source.pick(&AtomicOp::ALL, AtomicOp::Add);
        if op == AtomicOp::Cmpxchg && !self.holds_number(Reg::R0) {
            self.set_number(Reg::R0);
        }
        let implied = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
        let fetch = implied || self.source.byte() & 1 == 0;
        let src = self.number();
        self.insns.push(Insn::Atomic { size, op, fetch, base: Reg::R10, offset, src });
    }

    /// A helper or the local function; `r1` to `r5` are lost and the bounds loaded again.
    fn call(&mut self) {
        if self.kind == Kind::Memory {
            return self.arithmetic();
        }
        let local = self.source.byte() & 7 == 0;
        let target = if local {
            let argument = self.number();
            self.mov(Reg::R1, argument.into());
            self.calls.push(self.insns.len());
            CallTarget::Local(0)
        } else {
            CallTarget::Helper(self.source.pick(&[5, 7, 8], 7))
        };
        self.insns.push(Insn::Call { target });
        self.state.numbers &= !0b11_1110;
        self.state.numbers |= 1;
        self.load_bounds();
    }

    fn constant(&mut self) {
        let dst = self.scratch();
        let value = u64::from(self.source.word()) << 32 | u64::from(self.source.word());
        self.insns.push(Insn::LoadImm64 { dst, imm: Imm64::Value(value) });
        self.insns.push(Insn::LoadImm64High);
        self.state.numbers |= 1 << dst.index();
    }

    /// The two ends, the local function, and everything that goes to them.
    fn finish(&mut self) {
        let yes = slot(self.insns.len());
        let (accept, refuse) = match self.kind {
            Kind::Filter => (1, 0),
            Kind::Ash => (
                self.source.pick(&[context::TX, context::PASS], context::TX).cast_signed(),
                context::DROP.cast_signed(),
            ),
            Kind::Memory => (1, 0),
        };
        if self.kind == Kind::Memory && self.holds_number(Reg::R0) {
            // The result is worth comparing.
            self.insns.push(Insn::Exit);
        }
        self.mov(Reg::R0, accept.into());
        self.insns.push(Insn::Exit);
        let no = slot(self.insns.len());
        self.mov(Reg::R0, refuse.into());
        self.insns.push(Insn::Exit);
        let function = slot(self.insns.len());
        if !self.calls.is_empty() {
            self.mov(Reg::R0, Reg::R1.into());
            let (width, op, src) = (Width::W32, AluOp::Xor, (-1).into());
            self.insns.push(Insn::Alu { width, op, dst: Reg::R0, src });
            self.insns.push(Insn::Exit);
        }
        self.patch(yes, no, function);
    }

    fn patch(&mut self, yes: u32, no: u32, function: u32) {
        for &(at, end) in &self.ends {
            let goal = match end {
                End::Yes => yes,
                End::No => no,
            };
            if let Some(Insn::Branch { target, .. }) = self.insns.get_mut(at) {
                *target = goal;
            }
        }
        for &at in &self.calls {
            if let Some(insn) = self.insns.get_mut(at) {
                *insn = Insn::Call { target: CallTarget::Local(function) };
            }
        }
    }
}

/// A slot number; programs here are far below 2^32 slots.
fn slot(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
