//! What calls and addresses of maps must look like.

use ebpf::helper::{self, Arg, MAP_LOOKUP};
use ebpf::{CallTarget, Imm64, MapSpec, Reg, Size, Width};
use runtime::helpers;
use runtime::native::WITH_RUN;

use super::CheckError;
use super::native::{Arith, Direction, If, Native, R, RAX, at};
use super::program::Matcher;
use crate::context::{Place, is_inlined};

/// A register that holds nothing of eBPF's.
const SCRATCH: R = R(11);
/// System V's sixth argument.
const SIXTH: R = R(9);
/// Where the frame keeps the run's context.
pub(super) const RUN: R = R(12);

const W64: Width = Width::W64;

impl Matcher<'_> {
    pub(super) fn load_imm64(&mut self, pc: u32, reg: Reg, imm: Imm64) -> Result<(), CheckError> {
        let dst = self.home(reg)?;
        let map = |position| self.premises.map(position);
        let value = match imm {
            Imm64::Value(value) => Some(value),
            Imm64::MapFd(position) => map(position).map(Place::object_address),
            Imm64::MapValue { fd, offset } => map(fd).and_then(|map| map.direct_address(offset)),
            Imm64::Other { .. } => None,
        };
        match value {
            // One that nobody reads is left out.
            Some(_) if self.premises.is_dead(self.program, pc + 2, reg) => Ok(()),
            Some(value) => self.code.expect(Native::Const { dst, value }, "a constant"),
            None => self.code.refuse("no immediate but numbers and the program's maps"),
        }
    }

    pub(super) fn call(&mut self, pc: u32, target: CallTarget) -> Result<(), CheckError> {
        match target {
            CallTarget::Helper(id) => self.helper(pc, id),
            CallTarget::Local(slot) => {
                let target = self.frame.call_local(&mut self.code)?;
                self.lands_at(target, slot);
                Ok(())
            }
            CallTarget::Register(_) => match self.premises.helper_at(pc) {
                Some(Some(id)) => self.helper(pc, id),
                Some(None) => self.code.expect(Native::Const { dst: RAX, value: 0 }, "no call"),
                None => self.code.refuse("a known call"),
            },
            CallTarget::Kernel(_) => self.code.refuse("a known call"),
        }
    }

    fn helper(&mut self, pc: u32, id: u32) -> Result<(), CheckError> {
        let map = self.premises.map_at(pc).filter(|map| is_inlined(map.spec()));
        if let Some(map) = map.filter(|_| id == MAP_LOOKUP) {
            let (spec, values) = (*map.spec(), map.values_address());
            return self.array(&spec, values);
        }
        let known = self.premises.map_at(pc);
        let value =
            known.map_or_else(|| helpers::address(id), |map| helpers::address_for(id, map.spec()));
        let Some(value) = value else {
            return self.code.refuse("a known helper");
        };
        self.frame.aligned(&self.code)?;
        let args = helper::by_id(id).map_or(&[][..], |helper| helper.args);
        for (reg, arg) in Reg::ALL.into_iter().skip(1).zip(args) {
            if *arg == Arg::Optional && !self.premises.passes(pc, reg) {
                let dst = self.home(reg)?;
                self.code.expect(Native::Const { dst, value: 0 }, "an argument not passed")?;
            }
        }
        if id == WITH_RUN {
            self.frame.keeps_run(&self.code)?;
            let context = Native::Move { width: W64, dst: SIXTH, src: RUN };
            self.code.expect(context, "the run's context")?;
        }
        self.code.expect(Native::Const { dst: RAX, value }, "the helper's address")?;
        self.code.expect(Native::CallRegister(RAX), "the helper's call")
    }

    /// A look-up in an array: an index below the number of entries becomes an address, any other
    /// becomes null.
    fn array(&mut self, spec: &MapSpec, values: u64) -> Result<(), CheckError> {
        let what = "a look-up in an array";
        let from = at(self.home(Reg::R2)?, 0);
        let (dst, width) = (RAX, W64);
        self.code.expect(Native::Load { size: Size::B4, dst, from }, what)?;
        let Ok(value) = i32::try_from(spec.max_entries) else { return self.code.refuse(what) };
        let op = Arith::Compare;
        self.code.expect(Native::ArithConst { op, width: Width::W32, dst, value }, what)?;
        let absent = self.code.jump_if(If::AboveEqual, what)?;
        let stride = spec.value_stride();
        let scaled = if stride.is_power_of_two() {
            let [count, ..] = stride.trailing_zeros().to_le_bytes();
            Native::ShiftConst { op: Direction::Left, width, dst, count }
        } else {
            let Ok(value) = i32::try_from(stride) else { return self.code.refuse(what) };
            Native::MultiplyConst { width, dst, src: dst, value }
        };
        self.code.expect(scaled, what)?;
        self.code.expect(Native::Const { dst: SCRATCH, value: values }, what)?;
        self.code.expect(Native::Arith { op: Arith::Add, width, dst, src: SCRATCH }, what)?;
        let done = self.code.jump(what)?;
        self.code.lands(absent, what)?;
        self.code.expect(Native::Const { dst, value: 0 }, what)?;
        self.code.lands(done, what)
    }
}
