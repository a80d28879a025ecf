//! The statements that only rich programs have: loops, maps, helpers, functions, kept pointers,
//! variable offsets.
//!
//! The stack of a rich program, below the eight words that plain statements use: a key, room for a
//! value or for bytes of the packet, a kept packet pointer, and for buffers their length. `r8` may
//! point to a map's value, `r7` may count a loop; neither is then any other statement's.

use alloc::vec::Vec;

use super::generate::{End, FUNCTIONS, Generator, slot};
use super::statement::{DEPTH, SIZES};
use crate::helper;
use crate::insn::{AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Operand, Reg, Size, Width};
use crate::map::{MapKind, MapSpec};
use crate::program::Kind;

/// Eight bytes for a key.
const KEY: i16 = -72;
/// Room for a value, 64 bytes.
pub(super) const ROOM: i16 = -136;
/// Bytes of that room.
const ROOM_BYTES: i16 = 64;
/// A packet pointer that is kept.
pub(super) const KEPT: i16 = -144;
/// The length of a buffer.
const LENGTH: i16 = -152;

/// The maps of every rich program, by position.
pub(super) fn maps() -> Vec<MapSpec> {
    let hash = MapSpec::hash;
    Vec::from([
        MapSpec::array(16, 4),
        hash(8, 8, 8),
        MapSpec::array(64, 1),
        MapSpec { kind: MapKind::LruHash, ..hash(4, 32, 4) },
        MapSpec { kind: MapKind::LpmTrie, ..hash(8, 16, 8) },
    ])
}

/// Key and value bytes of the map at a position.
fn sizes(map: u8) -> (i16, i16) {
    match map {
        0 => (4, 16),
        1 => (8, 8),
        2 => (4, 64),
        3 => (4, 32),
        _ => (8, 16),
    }
}

impl Generator<'_> {
    /// A buffer's length is kept on the stack: calls lose the register.
    pub(super) fn keep_length(&mut self) {
        if self.kind == Kind::Memory {
            self.store64(LENGTH, Reg::R2.into());
        }
    }

    /// The register that holds a buffer's length.
    pub(super) fn length(&mut self) -> Reg {
        if !self.rich {
            return Reg::R2;
        }
        self.load64(Reg::R4, Reg::R10, LENGTH);
        Reg::R4
    }

    pub(super) fn rich_statement(&mut self) {
        match self.source.below(36) {
            0..=3 => self.counted_loop(),
            4..=7 => self.look_up(),
            8..=10 => self.use_value(),
            11 => self.update(),
            12 => self.delete(),
            13..=15 => self.variable_offset(),
            16..=17 => self.bounded_number(),
            18..=19 => self.keep_pointer(),
            20..=21 => self.narrow_store(),
            22..=24 => self.call_function(),
            25 => self.global(),
            26 => self.checksum(),
            27 => self.copy_bytes(),
            28 => self.move_packet(),
            29..=30 => self.correlated(),
            32..=33 => self.difference(),
            34..=35 => self.trace(),
            _ => self.helper_by_register(),
        }
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: impl Into<Operand>) {
        self.insns.push(Insn::Alu { width, op, dst, src: src.into() });
    }

    fn load64(&mut self, dst: Reg, base: Reg, offset: i16) {
        self.insns.push(Insn::Load { size: Size::B8, signed: false, dst, base, offset });
    }

    fn store64(&mut self, offset: i16, src: Operand) {
        self.insns.push(Insn::Store { size: Size::B8, base: Reg::R10, offset, src });
    }

    fn helper(&mut self, id: u32) {
        self.insns.push(Insn::Call { target: CallTarget::Helper(id) });
    }

    fn knows(&mut self, reg: Reg) {
        self.state.numbers |= 1 << reg.index();
    }

    fn forgets(&mut self, reg: Reg) {
        self.state.numbers &= !(1 << reg.index());
    }

    /// `r10` plus an offset.
    pub(super) fn stack_pointer(&mut self, dst: Reg, offset: i16) {
        self.mov(dst, Reg::R10.into());
        self.add(dst, i32::from(offset).into());
    }

    /// A loop with a counter in `r7`: up or down, to a constant or to a bounded number.
    fn counted_loop(&mut self) {
        let counter = Reg::R7;
        if self.busy & 1 << counter.index() != 0 || self.depth == DEPTH {
            return self.bounded_number();
        }
        let turns = i32::from(self.source.below(24)) + 1;
        let shape = self.source.below(8);
        let down = shape == 1;
        self.mov(counter, if down { turns.into() } else { 0.into() });
        let limit = self.loop_limit(shape == 2, turns);
        // What holds at the head must hold after every turn: a call in the body loses the rest.
        self.forgets(counter);
        self.state.numbers &= 0b1_0100_0000;
        self.state.value = None;
        self.state.checked = if self.kind == Kind::Memory { self.state.checked } else { 0 };
        let before = self.busy;
        self.busy |= 1 << counter.index();
        if let Operand::Reg(reg) = limit {
            self.busy |= 1 << reg.index();
        }
        let head = slot(self.insns.len());
        self.depth += 1;
        let at_head = self.state;
        for _ in 0..=self.source.below(4) {
            self.any_statement();
        }
        self.depth -= 1;
        self.back(head, (counter, limit), (shape, down));
        self.busy = before;
        self.state = self.state.meet(at_head);
        self.knows(counter);
    }

    /// What the counter is compared with; a register that holds a number below 32.
    fn loop_limit(&mut self, variable: bool, turns: i32) -> Operand {
        let reg = Reg::R6;
        if !variable || self.busy & 1 << reg.index() != 0 || !self.holds_number(reg) {
            return turns.into();
        }
        self.alu(Width::W64, AluOp::And, reg, 31);
        reg.into()
    }

    /// The counter's step and the branch back. Of the shapes, 7 is one that may not end.
    fn back(&mut self, head: u32, (dst, src): (Reg, Operand), (shape, down): (u16, bool)) {
        let careless = self.source.byte() & 31 == 31;
        let step = match (down, careless) {
            (true, _) => -1,
            (false, true) => 0,
            (false, false) => 1,
        };
        let width = if shape == 3 { Width::W32 } else { Width::W64 };
        self.alu(width, AluOp::Add, dst, step);
        let (cond, src) = match shape {
            _ if down => (Cond::Ne, 0.into()),
            4 => (Cond::Ne, src),
            5 => (Cond::Slt, src),
            _ => (Cond::Lt, src),
        };
        self.insns.push(Insn::Branch { width, cond, dst, src, target: head });
    }

    /// A key on the stack, its address in `r2`, the map in `r1`.
    fn key(&mut self, map: u8) {
        let (key, _) = sizes(map);
        let value = match map {
            4 => i32::from(self.source.below(33)),
            _ => i32::from(self.source.below(6)),
        };
        let number = self.operand();
        let src = if map == 0 { number } else { value.into() };
        let size = if key == 4 { Size::B4 } else { Size::B8 };
        // One key in thirty-two is written too short.
        let size = if self.source.byte() & 31 == 31 { Size::B2 } else { size };
        self.insns.push(Insn::Store { size, base: Reg::R10, offset: KEY, src });
        self.stack_pointer(Reg::R2, KEY);
        self.map(map);
    }

    fn map(&mut self, map: u8) {
        let imm = Imm64::MapFd(map.into());
        self.insns.push(Insn::LoadImm64 { dst: Reg::R1, imm });
        self.insns.push(Insn::LoadImm64High);
    }

    /// A look-up; its result stays in `r8` until the end of the block.
    fn look_up(&mut self) {
        self.state.value = None;
        let map = self.source.below(5) as u8;
        self.key(map);
        self.helper(helper::MAP_LOOKUP);
        let careless = self.source.byte() & 31 == 31;
        if self.source.byte() & 3 == 0 {
            self.mov(Reg::R8, Reg::R0.into());
            if !careless {
                self.branch(Cond::Eq, Reg::R8, 0.into(), End::No);
            }
        } else {
            if !careless {
                self.branch(Cond::Eq, Reg::R0, 0.into(), End::No);
            }
            self.mov(Reg::R8, Reg::R0.into());
        }
        self.called();
        self.forgets(Reg::R0);
        self.forgets(Reg::R8);
        self.state.value = Some(map);
        self.set_number(Reg::R0);
    }

    /// A load, store or atomic in the value that `r8` points to.
    fn use_value(&mut self) {
        let Some(map) = self.state.value else { return self.look_up() };
        let (_, bytes) = sizes(map);
        let size = self.source.pick(&SIZES, Size::B4);
        let room = bytes - size.bytes() as i16;
        let careless = self.source.byte() & 31 == 31;
        let reach = if careless { bytes } else { room };
        let mut offset = self.source.below(reach as u16 + 1).cast_signed();
        let mut base = Reg::R8;
        if self.source.byte() & 3 == 0 {
            // An offset that a number chooses, below the largest power of two that has room.
            let number = self.number();
            let mask = (1 << (room as u16 + 1).ilog2()) - 1;
            self.mov(Reg::R4, number.into());
            self.alu(Width::W64, AluOp::And, Reg::R4, mask);
            self.add(Reg::R4, Reg::R8.into());
            (base, offset) = (Reg::R4, 0);
        }
        self.touch(size, base, offset);
    }

    fn touch(&mut self, size: Size, base: Reg, offset: i16) {
        match self.source.below(4) {
            0 => {
                let src = self.operand();
                self.insns.push(Insn::Store { size, base, offset, src });
            }
            1 if matches!(size, Size::B4 | Size::B8) && base == Reg::R8 => {
                let offset = offset & !(size.bytes() as i16 - 1);
                let (src, fetch) = (self.number(), self.source.byte() & 1 == 0);
                let op = AtomicOp::Add;
                self.insns.push(Insn::Atomic { size, op, fetch, base, offset, src });
            }
            _ => {
                let signed = size != Size::B8 && self.source.byte() & 7 == 0;
                let dst = self.scratch();
                self.insns.push(Insn::Load { size, signed, dst, base, offset });
                self.knows(dst);
            }
        }
    }

    /// The room on the stack filled.
    fn fill_room(&mut self, bytes: i16) {
        for at in (0..bytes).step_by(8) {
            let src = self.operand();
            self.store64(ROOM + at, src);
        }
    }

    fn update(&mut self) {
        let map = self.source.below(5) as u8;
        let (_, bytes) = sizes(map);
        self.fill_room(bytes);
        self.key(map);
        self.stack_pointer(Reg::R3, ROOM);
        self.mov(Reg::R4, 0.into());
        self.helper(helper::MAP_UPDATE);
        self.called();
    }

    fn delete(&mut self) {
        self.key(1);
        self.helper(helper::MAP_DELETE);
        self.called();
    }

    /// A byte of the packet moves the pointer for the next access.
    fn variable_offset(&mut self) {
        let size = self.source.pick(&SIZES, Size::B1);
        let number = self.number();
        let mask = [7, 15, 60, 63, 255, 0xffff];
        let mask = self.source.pick(&mask, 63);
        let careless = self.source.byte() & 31 == 31;
        if self.kind == Kind::Memory {
            let checked = i32::from(self.state.checked) - size.bytes() as i32 + 1;
            if checked <= 0 {
                return self.check_length();
            }
            let mask = (1 << checked.ilog2()) - if careless { 0 } else { 1 };
            self.mov(Reg::R4, number.into());
            self.alu(Width::W64, AluOp::And, Reg::R4, mask);
            self.add(Reg::R4, self.base().into());
            return self.touch(size, Reg::R4, 0);
        }
        let dst = Reg::R4;
        self.mov(dst, number.into());
        self.alu(Width::W64, AluOp::And, dst, mask);
        self.add(dst, Reg::R2.into());
        let more = i32::from(self.source.below(16));
        self.mov(Reg::R1, dst.into());
        let end = more + if careless { 0 } else { size.bytes() as i32 };
        self.add(Reg::R1, end.into());
        self.branch(Cond::Gt, Reg::R1, Reg::R3.into(), End::No);
        self.touch(size, dst, more as i16);
    }

    /// A number made by several operations, bounded, and used as an offset in the room.
    fn bounded_number(&mut self) {
        self.fill_room(ROOM_BYTES);
        let dst = self.number();
        for _ in 0..self.source.below(4) {
            let op = self.source.pick(&AluOp::ALL, AluOp::Add);
            let width = self.width();
            let src = match op {
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => i32::from(self.source.below(32)).into(),
                _ => self.operand(),
            };
            self.insns.push(Insn::Alu { width, op, dst, src });
        }
        let width = self.width();
        match self.source.below(6) {
            0 => self.alu(width, AluOp::Rsh, dst, if width == Width::W64 { 58 } else { 26 }),
            1 => self.alu(width, AluOp::Mod, dst, 64),
            2 => self.branch(Cond::Gt, dst, 63.into(), End::No),
            3 => {
                self.branch(Cond::Sgt, dst, 63.into(), End::No);
                self.branch(Cond::Slt, dst, 0.into(), End::No);
            }
            _ => self.alu(width, AluOp::And, dst, 63),
        }
        // The packet instead of the stack, whose offsets are constant.
        if self.state.checked >= 64 {
            self.mov(Reg::R4, self.base().into());
            self.add(Reg::R4, dst.into());
            self.touch(Size::B1, Reg::R4, 0);
        }
    }

    /// A pointer goes to the stack and comes back.
    fn keep_pointer(&mut self) {
        let base = self.base();
        self.store64(KEPT, base.into());
        if self.source.byte() & 1 == 0 && self.depth < DEPTH {
            // Whatever happens between: a call may load the bounds again, the pointer stays.
            self.arithmetic_between();
        }
        let size = self.source.pick(&SIZES, Size::B1);
        let Some(offset) = self.offset(size) else { return };
        self.load64(Reg::R4, Reg::R10, KEPT);
        self.touch(size, Reg::R4, offset);
    }

    fn arithmetic_between(&mut self) {
        let dst = self.number();
        let (op, src) = (self.source.pick(&AluOp::ALL, AluOp::Add), self.source.immediate());
        if !matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) {
            self.alu(Width::W32, op, dst, src);
        }
    }

    /// Part of a kept number is overwritten, and the whole or a part loaded.
    fn narrow_store(&mut self) {
        let src = self.operand();
        self.store64(ROOM, src);
        let size = self.source.pick(&[Size::B1, Size::B2, Size::B4], Size::B1);
        let offset = ROOM + self.source.below(8 - size.bytes() as u16 + 1).cast_signed();
        let src = self.operand();
        self.insns.push(Insn::Store { size, base: Reg::R10, offset, src });
        let size = self.source.pick(&SIZES, Size::B8);
        let inside = self.source.below(8 - size.bytes() as u16 + 1).cast_signed();
        let (dst, base) = (self.scratch(), Reg::R10);
        let offset = ROOM + inside;
        self.insns.push(Insn::Load { size, signed: false, dst, base, offset });
        self.knows(dst);
    }

    /// Function 1 gets a number, 2 a pointer into the stack, 3 a number and counts.
    fn call_function(&mut self) {
        let function = 1 + (self.source.below(u16::from(FUNCTIONS) - 1)) as u8;
        let argument = self.number();
        self.mov(Reg::R2, argument.into());
        if function == 2 {
            self.stack_pointer(Reg::R1, ROOM);
        } else {
            self.mov(Reg::R1, Reg::R2.into());
        }
        self.calls.push((self.insns.len(), function));
        self.insns.push(Insn::Call { target: CallTarget::Local(0) });
        self.called();
        if function == 2 {
            let dst = self.scratch();
            self.load64(dst, Reg::R10, ROOM);
            self.knows(dst);
        }
    }

    pub(super) fn rich_function(&mut self, number: u8) {
        match number {
            1 => {
                self.mov(Reg::R0, Reg::R1.into());
                self.alu(Width::W64, AluOp::And, Reg::R0, 63);
                self.skip(Cond::Lt, 32);
                self.alu(Width::W64, AluOp::Sub, Reg::R0, 32);
            }
            2 => {
                let (size, base, src) = (Size::B8, Reg::R1, Reg::R2.into());
                self.insns.push(Insn::Store { size, base, offset: 0, src });
                self.store64(-8, Reg::R2.into());
                self.load64(Reg::R0, Reg::R10, -8);
            }
            _ => {
                self.mov(Reg::R6, 0.into());
                self.mov(Reg::R0, Reg::R1.into());
                let target = slot(self.insns.len());
                self.alu(Width::W32, AluOp::Mul, Reg::R0, 31);
                self.add(Reg::R6, 1.into());
                let (width, cond, src) = (Width::W64, Cond::Lt, 8.into());
                self.insns.push(Insn::Branch { width, cond, dst: Reg::R6, src, target });
            }
        }
        self.insns.push(Insn::Exit);
    }

    /// Over the next instruction if `r0` compares so.
    fn skip(&mut self, cond: Cond, with: i32) {
        let target = slot(self.insns.len() + 2);
        let (width, dst, src) = (Width::W64, Reg::R0, with.into());
        self.insns.push(Insn::Branch { width, cond, dst, src, target });
    }

    /// A variable: a direct address in the value of the map with one entry.
    fn global(&mut self) {
        let size = self.source.pick(&SIZES, Size::B8);
        let careless = self.source.byte() & 31 == 31;
        let reach = if careless { 64 } else { 64 - size.bytes() as u16 };
        let offset = u32::from(self.source.below(reach + 1)).next_multiple_of(8).min(63);
        let offset = if offset as usize + size.bytes() <= 64 || careless { offset } else { 0 };
        let imm = Imm64::MapValue { fd: 2, offset };
        self.insns.push(Insn::LoadImm64 { dst: Reg::R4, imm });
        self.insns.push(Insn::LoadImm64High);
        self.touch(size, Reg::R4, 0);
    }

    /// `csum_diff` of the room on the stack.
    fn checksum(&mut self) {
        let bytes = 4 * (i32::from(self.source.below(16)) + 1);
        self.fill_room(ROOM_BYTES);
        self.mov(Reg::R1, 0.into());
        self.mov(Reg::R2, 0.into());
        self.stack_pointer(Reg::R3, ROOM);
        let careless = self.source.byte() & 31 == 31;
        self.mov(Reg::R4, (bytes + if careless { 128 } else { 0 }).into());
        self.mov(Reg::R5, 0.into());
        self.helper(helper::CSUM_DIFF);
        self.called();
    }

    /// Bytes of the packet to the room, or back.
    fn copy_bytes(&mut self) {
        if self.kind == Kind::Memory {
            return self.checksum();
        }
        let to_packet = self.source.byte() & 1 == 0;
        if to_packet {
            self.fill_room(ROOM_BYTES);
        }
        let number = self.number();
        self.mov(Reg::R4, number.into());
        self.alu(Width::W64, AluOp::And, Reg::R4, 31);
        self.add(Reg::R4, 1.into());
        self.mov(Reg::R1, Reg::R9.into());
        let offset = i32::from(self.source.below(64));
        self.mov(Reg::R2, offset.into());
        self.stack_pointer(Reg::R3, ROOM);
        self.helper(if to_packet { helper::STORE_BYTES } else { helper::LOAD_BYTES });
        self.called();
        if !to_packet {
            let dst = self.scratch();
            let (size, base) = (Size::B1, Reg::R10);
            self.insns.push(Insn::Load { size, signed: false, dst, base, offset: ROOM });
            self.knows(dst);
        }
    }

    /// The packet's start or end moves; a careless program goes on with an old pointer.
    fn move_packet(&mut self) {
        if self.kind == Kind::Memory {
            return self.variable_offset();
        }
        let head = self.source.byte() & 1 == 0;
        self.mov(Reg::R1, Reg::R9.into());
        let by = i32::from(self.source.below(64)) - 32;
        self.mov(Reg::R2, by.into());
        self.helper(if head { helper::ADJUST_HEAD } else { helper::ADJUST_TAIL });
        self.called();
        if self.source.byte() & 31 == 31 {
            let (size, dst, base) = (Size::B8, Reg::R4, Reg::R10);
            self.insns.push(Insn::Load { size, signed: false, dst, base, offset: KEPT });
            self.touch(Size::B1, Reg::R4, 0);
        }
    }

    /// A flag says whether a word was written; only then it is read.
    fn correlated(&mut self) {
        let (number, flag) = (self.number(), Reg::R4);
        self.mov(flag, 0.into());
        let (width, cond) = (Width::W64, Cond::Eq);
        let imm = self.source.immediate();
        let target = slot(self.insns.len() + 3);
        self.insns.push(Insn::Branch { width, cond, dst: number, src: imm.into(), target });
        self.store64(ROOM, imm.into());
        self.mov(flag, 1.into());
        let inverted = self.source.byte() & 31 == 31;
        let cond = if inverted { Cond::Ne } else { Cond::Eq };
        let target = slot(self.insns.len() + 2);
        self.insns.push(Insn::Branch { width, cond, dst: flag, src: 0.into(), target });
        self.load64(Reg::R1, Reg::R10, ROOM);
    }

    /// `callx` with a number that is the same on every path.
    fn helper_by_register(&mut self) {
        self.mov(Reg::R4, helper::RANDOM.cast_signed().into());
        self.insns.push(Insn::Call { target: CallTarget::Register(Reg::R4) });
        self.called();
    }
}
