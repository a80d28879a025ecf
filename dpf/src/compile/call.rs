//! Calls: helpers by address, with their registers where System V wants them; look-ups in arrays
//! without a call; the program's own functions.

use ebpf::helper::{self, Arg, MAP_LOOKUP};
use ebpf::{CallTarget, Imm64, MapSpec, Reg, Size, Width};
use runtime::helpers;
use runtime::native::WITH_RUN;

use super::frame::Frame;
use super::map::{KEEP_RDX, RUN, SCRATCH, machine};
use super::{CompileError, Emitter};
use crate::context::{Place, is_inlined};
use crate::x86::{Alu, Cc, Gpr, Mem, Shift};

impl Emitter<'_> {
    /// A 64-bit immediate: a number, or the address of a map or of a byte in its only value.
    pub(super) fn load_imm64(&mut self, pc: u32, dst: Reg, imm: Imm64) -> Result<(), CompileError> {
        let map = |position| self.premises.map(position);
        let value = match imm {
            Imm64::Value(value) => Some(value),
            Imm64::MapFd(position) => map(position).map(Place::object_address),
            Imm64::MapValue { fd, offset } => map(fd).and_then(|map| map.direct_address(offset)),
            Imm64::Other { .. } => None,
        };
        let what = "an immediate that is no number and no map of the program";
        let value = value.ok_or(CompileError::Unsupported { pc, what })?;
        // An array's address is not needed where its look-up is inlined.
        if !self.premises.is_dead(self.program, pc + 2, dst) {
            self.asm.mov_ri(machine(dst), value);
        }
        Ok(())
    }

    pub(super) fn call(&mut self, pc: u32, target: CallTarget) -> Result<(), CompileError> {
        match target {
            CallTarget::Helper(id) => self.call_helper(pc, id),
            CallTarget::Local(slot) => self.call_local(slot),
            CallTarget::Register(_) => match self.premises.helper_at(pc) {
                Some(Some(id)) => self.call_helper(pc, id),
                Some(None) => {
                    self.asm.mov_ri(Gpr::RAX, 0);
                    Ok(())
                }
                None => {
                    let what = "a call through a register that is not one helper's number";
                    Err(CompileError::Unsupported { pc, what })
                }
            },
            CallTarget::Kernel(_) => {
                Err(CompileError::Unsupported { pc, what: "a kernel function" })
            }
        }
    }

    fn call_helper(&mut self, pc: u32, id: u32) -> Result<(), CompileError> {
        let found = self.premises.map_at(pc).filter(|_| id == MAP_LOOKUP);
        if let Some(map) = found.filter(|map| is_inlined(map.spec())) {
            let (spec, values) = (*map.spec(), map.values_address());
            self.look_up_array(&spec, values);
            return Ok(());
        }
        let address = match self.premises.map_at(pc) {
            Some(map) => helpers::address_for(id, map.spec()),
            None => helpers::address(id),
        };
        let address = address.ok_or(CompileError::UnknownHelper { pc, id })?;
        self.clear_optional(pc, id);
        if id == WITH_RUN {
            // The sixth argument of System V.
            self.asm.mov_rr(Width::W64, KEEP_RDX, RUN);
        }
        self.asm.mov_ri(Gpr::RAX, address);
        self.asm.call_reg(Gpr::RAX);
        Ok(())
    }

    /// What a call does not pass is zero: nothing that was left in a register gets out.
    fn clear_optional(&mut self, pc: u32, id: u32) {
        let args = helper::by_id(id).map_or(&[][..], |helper| helper.args);
        for (reg, arg) in Reg::ALL.into_iter().skip(1).zip(args) {
            if *arg == Arg::Optional && !self.premises.passes(pc, reg) {
                self.asm.mov_ri(machine(reg), 0);
            }
        }
    }

    /// `r0 = index < entries ? values + index * stride : 0`, where `r2` leads to the index.
    fn look_up_array(&mut self, spec: &MapSpec, values: u64) {
        let (absent, done) = (self.asm.label(), self.asm.label());
        let stride = spec.value_stride();
        self.asm.load(Size::B4, Gpr::RAX, Mem::new(machine(Reg::R2), 0));
        self.asm.alu_ri(Alu::Cmp, Width::W32, Gpr::RAX, spec.max_entries.cast_signed());
        self.asm.jcc(Cc::Ae, absent);
        if stride.is_power_of_two() {
            let [count, ..] = stride.trailing_zeros().to_le_bytes();
            self.asm.shift_ri(Shift::Shl, Width::W64, Gpr::RAX, count);
        } else {
            self.asm.imul_rri(Width::W64, Gpr::RAX, Gpr::RAX, stride as i32);
        }
        self.asm.mov_ri(SCRATCH, values);
        self.asm.alu_rr(Alu::Add, Width::W64, Gpr::RAX, SCRATCH);
        self.asm.jmp(done);
        self.asm.bind(absent);
        self.asm.mov_ri(Gpr::RAX, 0);
        self.asm.bind(done);
    }

    fn call_local(&mut self, slot: u32) -> Result<(), CompileError> {
        let target = self.slot(slot)?;
        Frame::call_local(self.asm, target);
        Ok(())
    }
}

const _: () = assert!(ebpf::limits::MAP_VALUE_BYTES_MAX <= i32::MAX as usize);
const _: () = assert!(ebpf::limits::MAP_ENTRIES_MAX <= i32::MAX as usize);
