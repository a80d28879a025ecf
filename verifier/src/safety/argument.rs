//! Whether a helper may be called with what is in `r1` to `r5`.
//!
//! The helper's signature says what each argument must be. Sizes are taken at their greatest for
//! bounds; a buffer's content is written by the helper, all other memory must be written before.

use ebpf::helper::{self, Arg};
use ebpf::{Program, Reg};

use super::access;
use super::entail::{Passes, Verdict, written};
use super::require::Access;
use super::state::State;
use super::value::{Pointer, Region, Value};
use crate::limits::MEMORY_ARGUMENT_MAX;
use crate::refusal::UnsafeReason;

/// The registers that arguments are passed in.
pub(super) const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// The program has a map at this position, and there can be such a map.
pub(super) fn map_exists(program: &Program, map: u32) -> Verdict {
    match program.maps().get(map as usize) {
        Some(spec) if spec.validate().is_ok() => Ok(()),
        _ => Err(UnsafeReason::UnknownMap(map)),
    }
}

/// The map has one value at a fixed place, and the byte at `offset` is in it.
pub(super) fn map_byte(program: &Program, map: u32, offset: u32) -> Verdict {
    let bytes = program.maps().get(map as usize).and_then(ebpf::map::MapSpec::direct_bytes);
    match bytes {
        Some(bytes) if offset < bytes => Ok(()),
        _ => Err(UnsafeReason::NoDirectValue(map)),
    }
}

/// Every argument of helper `id` is what it takes.
pub(super) fn helper(program: &Program, state: &State, passes: Passes<'_>, id: u32) -> Verdict {
    let helper = helper::by_id(id).ok_or(UnsafeReason::UnknownHelper(id))?;
    if matches!(id, helper::MAP_UPDATE | helper::MAP_DELETE)
        && let Value::Map(map) = state.get(Reg::R1)
        && program.maps().get(map as usize).is_some_and(|spec| spec.read_only)
    {
        return Err(UnsafeReason::WriteToReadOnly(Reg::R1));
    }
    for (place, &arg) in helper.args.iter().enumerate() {
        match (arg, ARGUMENTS.get(place)) {
            (Arg::Optional, Some(&reg)) => optional(state, passes, reg)?,
            _ => argument(program, state, helper.args, (place, arg))?,
        }
    }
    Ok(())
}

/// What is passed is a number. What is not passed is nothing to the helper: interpreter and
/// compiler put zero in its place, from the same [`ebpf::Passed`].
fn optional(state: &State, passes: Passes<'_>, reg: Reg) -> Verdict {
    match written(state, reg) {
        _ if !passes(reg) => Ok(()),
        Ok(Value::Scalar(_)) => Ok(()),
        Ok(_) => Err(UnsafeReason::HelperArgument(reg)),
        Err(reason) => Err(reason),
    }
}

fn argument(program: &Program, state: &State, args: &[Arg], (place, arg): (usize, Arg)) -> Verdict {
    let Some(&reg) = ARGUMENTS.get(place) else { return Err(UnsafeReason::Malformed) };
    let value = written(state, reg)?;
    let refused = Err(UnsafeReason::HelperArgument(reg));
    let size = || size(state, args, place);
    match (arg, value) {
        (Arg::Scalar, Value::Scalar(_)) | (Arg::Context, Value::Context) => Ok(()),
        (Arg::Map, Value::Map(_)) => Ok(()),
        (Arg::Size | Arg::SizeOrZero, Value::Scalar(number)) => {
            let least = u64::from(arg == Arg::Size);
            let fits = (least..=MEMORY_ARGUMENT_MAX).contains(&number.num.umin)
                && number.num.umax <= MEMORY_ARGUMENT_MAX;
            if fits { Ok(()) } else { Err(UnsafeReason::HelperSize(reg)) }
        }
        (Arg::MapKey, _) => memory(program, state, reg, map_sizes(program, state)?.0),
        (Arg::MapValue, _) => memory(program, state, reg, map_sizes(program, state)?.1),
        (Arg::MemoryOrNull, Value::Scalar(zero)) if zero.as_constant() == Some(0) => {
            let nothing = size()?.1 == 0;
            if nothing { Ok(()) } else { refused }
        }
        // A helper that copies from or to the packet gets other memory for it.
        (_, Value::Pointer(Pointer { region: Region::Packet, .. }))
            if args.first() == Some(&Arg::Context) =>
        {
            refused
        }
        (Arg::Memory | Arg::MemoryOrNull, _) => memory(program, state, reg, size()?.1),
        (Arg::Buffer, Value::Pointer(pointer)) => {
            let access = access(reg, size()?.1);
            access::write(program, state, pointer, access)
        }
        (_, Value::Lookup(..)) => Err(UnsafeReason::NullNotChecked(reg)),
        _ => refused,
    }
}

/// The register points to so many bytes that may be read.
fn memory(program: &Program, state: &State, reg: Reg, bytes: usize) -> Verdict {
    match written(state, reg)? {
        Value::Pointer(pointer) => access::read_bytes(program, state, pointer, access(reg, bytes)),
        Value::Lookup(..) => Err(UnsafeReason::NullNotChecked(reg)),
        _ => Err(UnsafeReason::HelperArgument(reg)),
    }
}

fn access(base: Reg, size: usize) -> Access {
    Access { base, offset: 0, size, zero_extends: false }
}

/// Least and greatest size of the memory argument at `place`, from the register that holds it.
///
/// # Errors
/// That register holds no such number.
pub(super) fn size(
    state: &State,
    args: &[Arg],
    place: usize,
) -> Result<(usize, usize), UnsafeReason> {
    // The size stands behind the memory, or before it.
    let (behind, before) = (args.get(place + 1), place.checked_sub(1));
    let is_size = |arg: &Arg| matches!(arg, Arg::Size | Arg::SizeOrZero);
    let holder = match (behind, before) {
        (Some(arg), _) if is_size(arg) => place + 1,
        (_, Some(before)) if args.get(before).is_some_and(is_size) => before,
        _ => return Err(UnsafeReason::Malformed),
    };
    let reg = ARGUMENTS.get(holder).copied().ok_or(UnsafeReason::Malformed)?;
    match written(state, reg)? {
        Value::Scalar(number) if number.num.umax <= MEMORY_ARGUMENT_MAX => {
            Ok((number.num.umin as usize, number.num.umax as usize))
        }
        Value::Scalar(_) => Err(UnsafeReason::HelperSize(reg)),
        _ => Err(UnsafeReason::HelperArgument(reg)),
    }
}

/// Sizes of key and value of the map in `r1`.
fn map_sizes(program: &Program, state: &State) -> Result<(usize, usize), UnsafeReason> {
    let refused = UnsafeReason::HelperArgument(Reg::R1);
    let Value::Map(map) = written(state, Reg::R1)? else { return Err(refused) };
    let spec = program.maps().get(map as usize).ok_or(refused)?;
    Ok((spec.key_size as usize, spec.value_size as usize))
}
