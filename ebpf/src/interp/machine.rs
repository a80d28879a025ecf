//! The interpreter's state and its step: one instruction at a time, one method for each.
//!
//! Invariant: `pc` is a slot of the program that holds a whole instruction. The structural checks
//! of [`Program`] promise that jumps keep it, and that going on to the next slot does.

use alloc::vec::Vec;

use super::arith;
use super::layout::Layout;
use super::memory::{Access, Data, Memory};
use super::trap::Trap;
use super::world::{Helpers, View, World};
use crate::insn::{AtomicOp, CallTarget, Imm64, Insn, Operand, Reg, Size, Width};
use crate::limits::{CALL_DEPTH, DATA_BYTES};
use crate::passed::{Passed, passed};
use crate::program::{Kind, Program};

/// One run of a program.
pub(super) struct Machine<'w, 'a> {
    program: &'w Program,
    pub(super) helpers: &'w mut dyn Helpers,
    pub(super) memory: Memory<'w, 'a>,
    /// Which optional arguments calls pass.
    pub(super) passed: Passed,
    pub(super) registers: [u64; 11],
    /// Bit n: register n has been written.
    written: u16,
    callers: Vec<Caller>,
}

/// What a local call must restore.
struct Caller {
    resume: u32,
    registers: [u64; 11],
    written: u16,
}

/// Where to go after an instruction.
enum Next {
    /// To this slot.
    At(u32),
    /// The program has ended with this result.
    Done(u64),
}

/// `r6` to `r9`.
const SAVED: u16 = 0b11_1100_0000;
/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

impl<'w, 'a> Machine<'w, 'a> {
    /// A machine at the program's entry, registers as the program's kind has them.
    pub(super) fn new(
        program: &'w Program,
        data: Data<'w, 'a>,
        world: World<'w>,
        layout: Layout,
    ) -> Result<Self, Trap> {
        let bytes = data.len();
        if bytes > DATA_BYTES {
            return Err(Trap::DataTooLong { bytes, limit: DATA_BYTES });
        }
        let has_context = program.kind() != Kind::Memory;
        let read_only = program.kind() == Kind::Filter;
        let World { helpers, maps } = world;
        let maps = (program.maps(), maps);
        let memory = Memory::new((has_context, read_only), data, maps, layout);
        let (registers, written, callers) = ([0; 11], 0, Vec::new());
        let passed = passed(program);
        let mut machine = Self { program, helpers, memory, passed, registers, written, callers };
        machine.set(Reg::R10, machine.memory.frame_pointer());
        if has_context {
            machine.set(Reg::R1, layout.context);
        } else {
            machine.set(Reg::R1, layout.data);
            machine.set(Reg::R2, bytes as u64);
        }
        Ok(machine)
    }

    /// Runs at most `budget` instructions.
    pub(super) fn run(
        &mut self,
        budget: u64,
        watch: &mut dyn FnMut(&View<'_>),
    ) -> Result<u64, Trap> {
        let mut pc = 0;
        for _ in 0..budget {
            watch(&self.view(pc));
            match self.step(pc)? {
                Next::At(next) => pc = next,
                Next::Done(result) => return Ok(result),
            }
        }
        Err(Trap::Budget { pc })
    }

    fn view(&self, pc: u32) -> View<'_> {
        View {
            pc,
            registers: &self.registers,
            written: self.written,
            data: self.memory.data(),
            data_end: self.memory.data_end(),
            depth: self.memory.depth(),
        }
    }

    fn step(&mut self, pc: u32) -> Result<Next, Trap> {
        // The structural checks leave no way past the end.
        let insn = *self.program.get(pc).ok_or(Trap::Budget { pc })?;
        match insn {
            Insn::Alu { width, op, dst, src } => {
                let right = self.operand(pc, src)?;
                // A move does not read its destination.
                let left = if op == crate::AluOp::Mov { 0 } else { self.get(pc, dst)? };
                self.set(dst, arith::alu(width, op, left, right));
            }
            Insn::Neg { width, dst } => self.set(dst, arith::neg(width, self.get(pc, dst)?)),
            Insn::MovSx { width, from, dst, src } => {
                self.set(dst, arith::sign_extend(width, from, self.get(pc, src)?));
            }
            Insn::Endian { order, bits, dst } => {
                self.set(dst, arith::endian(order, bits, self.get(pc, dst)?));
            }
            Insn::LoadImm64 { dst, imm } => return self.load_imm64(pc, dst, imm),
            Insn::LoadImm64High => {}
            Insn::Load { size, signed, dst, base, offset } => {
                let access = Access { signed, ..self.access(pc, size, base, offset)? };
                let value = self.memory.load(access)?;
                let extended = arith::sign_extend(Width::W64, size, value);
                self.set(dst, if signed { extended } else { value });
            }
            Insn::Store { size, base, offset, src } => {
                let value = self.operand(pc, src)?;
                self.memory.store(self.access(pc, size, base, offset)?, value)?;
            }
            Insn::Atomic { size, op, fetch, base, offset, src } => {
                let access = self.access(pc, size, base, offset)?;
                self.atomic(access, op, fetch, src)?;
            }
            Insn::Jump { target } => return Ok(Next::At(target)),
            Insn::Branch { width, cond, dst, src, target } => {
                let (left, right) = (self.get(pc, dst)?, self.operand(pc, src)?);
                if arith::holds(width, cond, left, right) {
                    return Ok(Next::At(target));
                }
            }
            Insn::Call { target } => return self.call(pc, target),
            Insn::Exit => return self.exit(pc),
        }
        Ok(Next::At(pc + 1))
    }

    fn load_imm64(&mut self, pc: u32, dst: Reg, imm: Imm64) -> Result<Next, Trap> {
        match imm {
            Imm64::Value(value) => self.set(dst, value),
            Imm64::MapFd(map) => {
                let address = self.memory.map_address(map);
                self.set(dst, address.ok_or(Trap::UnknownMap { pc, map })?);
            }
            Imm64::MapValue { fd: map, offset } => {
                let address = self.memory.direct_address(map, offset);
                self.set(dst, address.ok_or(Trap::UnknownMap { pc, map })?);
            }
            Imm64::Other { kind, .. } => return Err(Trap::Imm64Kind { pc, kind }),
        }
        Ok(Next::At(pc + 2))
    }

    /// RFC 9669 §5.3. There is one thread, so load and store are enough.
    fn atomic(&mut self, access: Access, op: AtomicOp, fetch: bool, src: Reg) -> Result<(), Trap> {
        let operand = self.get(access.pc, src)?;
        let old = self.memory.load(access)?;
        let mask = if access.size == Size::B4 { u64::from(u32::MAX) } else { u64::MAX };
        let new = match op {
            AtomicOp::Add => old.wrapping_add(operand),
            AtomicOp::Or => old | operand,
            AtomicOp::And => old & operand,
            AtomicOp::Xor => old ^ operand,
            AtomicOp::Xchg => operand,
            AtomicOp::Cmpxchg if self.get(access.pc, Reg::R0)? & mask == old => operand,
            AtomicOp::Cmpxchg => old,
        };
        self.memory.store(access, new)?;
        match (fetch, op) {
            (_, AtomicOp::Cmpxchg) => self.set(Reg::R0, old),
            (true, _) => self.set(src, old),
            (false, _) => {}
        }
        Ok(())
    }

    fn call(&mut self, pc: u32, target: CallTarget) -> Result<Next, Trap> {
        match target {
            CallTarget::Helper(id) => self.call_helper(pc, u64::from(id)),
            CallTarget::Register(reg) => self.call_helper(pc, self.get(pc, reg)?),
            CallTarget::Local(slot) => self.call_local(pc, slot),
            CallTarget::Kernel(id) => Err(Trap::KernelFunction { pc, id }),
        }
    }

    fn call_helper(&mut self, pc: u32, id: u64) -> Result<Next, Trap> {
        let result = self.helper(pc, id)?;
        self.forget(ARGUMENTS);
        self.set(Reg::R0, result);
        Ok(Next::At(pc + 1))
    }

    /// The callee sees the arguments and a frame of its own, nothing else.
    fn call_local(&mut self, pc: u32, slot: u32) -> Result<Next, Trap> {
        if self.memory.depth() >= CALL_DEPTH {
            return Err(Trap::CallDepth { pc });
        }
        let (registers, written) = (self.registers, self.written);
        self.callers.push(Caller { resume: pc + 1, registers, written });
        self.memory.push_frame();
        self.forget(!ARGUMENTS);
        self.set(Reg::R10, self.memory.frame_pointer());
        Ok(Next::At(slot))
    }

    /// The caller gets `r6` to `r10` back and `r0` as the callee left it.
    fn exit(&mut self, pc: u32) -> Result<Next, Trap> {
        let Some(caller) = self.callers.pop() else {
            return Ok(Next::Done(self.get(pc, Reg::R0)?));
        };
        self.memory.pop_frame();
        let (result, has_result) = (self.registers[0], self.written & 1);
        self.registers = caller.registers;
        self.written = caller.written;
        self.forget(!SAVED);
        self.registers[0] = result;
        self.written |= has_result;
        self.set(Reg::R10, self.memory.frame_pointer());
        Ok(Next::At(caller.resume))
    }

    fn access(&self, pc: u32, size: Size, base: Reg, offset: i16) -> Result<Access, Trap> {
        let address = self.get(pc, base)?.wrapping_add_signed(i64::from(offset));
        Ok(Access { pc, address, size, signed: false })
    }

    /// A register's or a sign-extended immediate's value.
    fn operand(&self, pc: u32, operand: Operand) -> Result<u64, Trap> {
        match operand {
            Operand::Reg(reg) => self.get(pc, reg),
            Operand::Imm(imm) => Ok(i64::from(imm).cast_unsigned()),
        }
    }

    pub(super) fn get(&self, pc: u32, reg: Reg) -> Result<u64, Trap> {
        if self.written & 1 << reg.index() == 0 {
            return Err(Trap::UninitialisedRegister { pc, reg });
        }
        Ok(self.registers[reg.index()])
    }

    fn set(&mut self, reg: Reg, value: u64) {
        self.registers[reg.index()] = value;
        self.written |= 1 << reg.index();
    }

    /// Makes registers unreadable, and zero for whoever watches.
    fn forget(&mut self, registers: u16) {
        self.written &= !registers;
        for (index, value) in self.registers.iter_mut().enumerate() {
            if registers & 1 << index != 0 {
                *value = 0;
            }
        }
    }
}
