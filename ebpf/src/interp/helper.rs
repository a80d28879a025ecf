//! Calls of helpers: each argument held against the signature, then the call, then its result.
//!
//! The same obligations as the verifier's, on concrete values: whatever it accepts passes here.

use alloc::vec::Vec;

use super::machine::Machine;
use super::memory::Span;
use super::trap::Trap;
use super::world::HelperCall;
use crate::helper::{self, Arg, Helper};
use crate::insn::Reg;
use crate::map::MapSpec;

/// A call's arguments as they are resolved.
#[derive(Default)]
struct Resolved {
    args: [u64; 5],
    map: Option<(u32, MapSpec)>,
    /// Bytes that the helper reads, in order.
    inputs: Vec<Vec<u8>>,
    /// Memory that it writes.
    output: Option<Span>,
}

impl Machine<'_, '_> {
    /// Calls helper `id`; its result.
    pub(super) fn helper(&mut self, pc: u32, id: u64) -> Result<u64, Trap> {
        let unknown = Trap::UnknownHelper { pc, id };
        let number = u32::try_from(id).map_err(|_| unknown)?;
        let Some(helper) = helper::by_id(number) else {
            // Cases and tests have helpers of their own, which take numbers.
            let [_, a, b, c, d, e, ..] = self.registers;
            let packet = self.memory.bytes();
            return self.helpers.call_on(number, [a, b, c, d, e], packet).ok_or(unknown);
        };
        let resolved = self.arguments(pc, helper)?;
        match number {
            helper::MAP_LOOKUP | helper::MAP_UPDATE | helper::MAP_DELETE => {
                self.map_helper(number, &resolved).ok_or(unknown)
            }
            _ => self.call_with(pc, number, &resolved),
        }
    }

    fn arguments(&self, pc: u32, helper: &Helper) -> Result<Resolved, Trap> {
        let mut resolved = Resolved::default();
        for (reg, arg) in Reg::ALL.into_iter().skip(1).zip(helper.args) {
            let value = match arg {
                Arg::Optional if self.passed.at(pc, reg) => self.get(pc, reg)?,
                Arg::Optional => 0,
                _ => self.get(pc, reg)?,
            };
            if let Some(place) = resolved.args.get_mut(reg.index() - 1) {
                *place = value;
            }
            self.argument(pc, (reg, *arg), value, &mut resolved)?;
        }
        Ok(resolved)
    }

    fn argument(
        &self,
        pc: u32,
        (reg, arg): (Reg, Arg),
        value: u64,
        resolved: &mut Resolved,
    ) -> Result<(), Trap> {
        let wrong = Trap::HelperArgument { pc, reg };
        let span = |bytes: u32| Span { pc, address: value, bytes: bytes as usize };
        let map = resolved.map.map(|(_, spec)| spec).ok_or(wrong);
        match arg {
            Arg::Scalar | Arg::Optional => {}
            Arg::Size if value == 0 => return Err(wrong),
            Arg::Size | Arg::SizeOrZero => {}
            Arg::Context if self.memory.is_context(value) => {}
            Arg::Context => return Err(wrong),
            Arg::Map => resolved.map = Some(self.memory.map_at(value).ok_or(wrong)?),
            Arg::MapKey => resolved.inputs.push(self.memory.read(span(map?.key_size))?),
            Arg::MapValue => resolved.inputs.push(self.memory.read(span(map?.value_size))?),
            Arg::Memory | Arg::MemoryOrNull | Arg::Buffer => {
                let bytes = self.length(pc, reg)?;
                let span = Span { pc, address: value, bytes };
                if arg == Arg::Buffer {
                    self.memory.writable(span)?;
                    resolved.output = Some(span);
                } else if bytes == 0 && (arg == Arg::MemoryOrNull || value != 0) {
                    resolved.inputs.push(Vec::new());
                } else {
                    resolved.inputs.push(self.memory.read(span)?);
                }
            }
        }
        Ok(())
    }

    /// The length that stands in the register after a memory argument's. No memory is longer than
    /// a number of 32 bits says.
    fn length(&self, pc: u32, reg: Reg) -> Result<usize, Trap> {
        let next = Reg::new(reg.number() + 1).ok_or(Trap::HelperArgument { pc, reg })?;
        let wrong = Trap::HelperArgument { pc, reg: next };
        let bytes = self.get(pc, next)?;
        u32::try_from(bytes).map(|bytes| bytes as usize).map_err(|_| wrong)
    }

    fn map_helper(&mut self, number: u32, resolved: &Resolved) -> Option<u64> {
        let (position, spec) = resolved.map?;
        let key = resolved.inputs.first()?;
        let maps = self.memory.maps();
        Some(match number {
            helper::MAP_LOOKUP => {
                let slot = maps.lookup(position, key).filter(|&slot| slot < spec.max_entries);
                slot.map_or(0, |slot| self.memory.value_address(position, slot))
            }
            // -EPERM: the program may only read it.
            _ if spec.read_only => -1_i64 as u64,
            helper::MAP_UPDATE => {
                maps.update(position, key, resolved.inputs.get(1)?, resolved.args[3])
            }
            _ => maps.delete(position, key),
        })
    }

    fn call_with(&mut self, pc: u32, id: u32, resolved: &Resolved) -> Result<u64, Trap> {
        let input = |at: usize| resolved.inputs.get(at).map_or(&[][..], Vec::as_slice);
        let mut output = alloc::vec![0; resolved.output.map_or(0, |span| span.bytes)];
        let packet = self.memory.packet();
        let inputs = [input(0), input(1)];
        let mut call = HelperCall { id, args: resolved.args, inputs, output: &mut output, packet };
        let result = self.helpers.call_with(&mut call);
        let result = result.ok_or(Trap::UnknownHelper { pc, id: u64::from(id) })?;
        if let Some(span) = resolved.output {
            self.memory.write(span, &output)?;
        }
        Ok(result)
    }
}
