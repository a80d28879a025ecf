//! Helper bodies: one implementation for generated code and for the interpreter.
//!
//! The idea: a helper is an `extern "C"` function of five words, so that generated code can call it
//! by address with eBPF's argument registers in place (r1..r5 are the first five argument
//! registers of the System V ABI). [`address`] gives that address; [`Standard`] calls the very same
//! functions for the interpreter, so that the two cannot drift apart.
//!
//! Numbers are Linux's (`include/uapi/linux/bpf.h`); Sluice's own start at 0x10000.
//! Every body is bounded by the sizes of its arguments. Helpers that take the context, maps or
//! memory have their bodies in `native`, and for the interpreter in [`WithEffects`] and
//! [`crate::map::MapSet`]: what both do is written once, in the modules that they call.

use ebpf::MapSpec;
use ebpf::helper;
use ebpf::interp::{HelperCall, Helpers, Packet};

use crate::effects::{Effects, NoEffects, copy_result};
use crate::map::{Errno, status};
use crate::native::{effects, maps};
use crate::print::Line;
use crate::{checksum, clock, packet, random};

/// The type of every helper body.
pub type Body = extern "C" fn(u64, u64, u64, u64, u64) -> u64;

/// The helpers that take nothing: number and body, sorted by number.
const TABLE: [(u32, Body); 3] = [
    (helper::KTIME, ktime_get_ns),
    (helper::RANDOM, get_prandom_u32),
    (helper::PROCESSOR, get_smp_processor_id),
];

/// The body of helper `id`, or `None` if it takes arguments or is none.
#[must_use]
pub fn body(id: u32) -> Option<Body> {
    TABLE.iter().find(|(known, _)| *known == id).map(|(_, body)| *body)
}

/// The address that generated code calls for helper `id`.
#[must_use]
pub fn address(id: u32) -> Option<u64> {
    if id == helper::PRINT {
        return Some(effects::print_address());
    }
    let mut others = effects::TABLE.iter().chain(&maps::TABLE);
    match others.find(|(known, _)| *known == id) {
        Some((_, body)) => Some(*body as usize as u64),
        None => body(id).map(|body| body as usize as u64),
    }
}

/// The same where the map that it is called with is known, for which there may be a shorter body.
#[must_use]
pub fn address_for(id: u32, spec: &MapSpec) -> Option<u64> {
    let shorter = maps::look_up(spec).filter(|_| id == helper::MAP_LOOKUP);
    shorter.map(|body| body as usize as u64).or_else(|| address(id))
}

/// The same bodies for the reference interpreter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standard;

impl Helpers for Standard {
    fn call(&mut self, id: u32, [a, b, c, d, e]: [u64; 5]) -> Option<u64> {
        body(id).map(|body| body(a, b, c, d, e))
    }

    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        WithEffects(&mut NoEffects).call_with(call)
    }
}

/// The same bodies, and those with an effect, for the reference interpreter.
pub struct WithEffects<'a>(pub &'a mut dyn Effects);

impl Helpers for WithEffects<'_> {
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64> {
        Standard.call(id, args)
    }

    /// The table: one line per helper.
    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        let [from, to] = call.inputs;
        let [_, second, .., seed] = call.args;
        Some(match (call.id, &mut call.packet) {
            (helper::PRINT, _) => self.print(from, call.args),
            (helper::CSUM_DIFF, _) => {
                checksum::difference(from, to, seed).unwrap_or_else(Errno::status)
            }
            (helper::ADJUST_HEAD, Packet::Exclusive(packet)) => {
                status(packet::adjust_head(packet, second))
            }
            (helper::ADJUST_TAIL, Packet::Exclusive(packet)) => {
                status(packet::adjust_tail(packet, second))
            }
            (helper::LOAD_BYTES, packet) => {
                status(packet::load_bytes(packet.data(), second, call.output))
            }
            (helper::STORE_BYTES, Packet::Exclusive(packet)) => {
                status(packet::store_bytes(packet.data_mut(), second, from))
            }
            (helper::WAKE, _) => {
                self.0.wake(second);
                0
            }
            (helper::SEND_COPY, packet) => copy_result(self.0.send_copy(packet.data())),
            (id, _) => return self.call(id, call.args),
        })
    }
}

impl WithEffects<'_> {
    fn print(&mut self, format: &[u8], [_, _, a, b, c]: [u64; 5]) -> u64 {
        match Line::new(format, [a, b, c]) {
            Ok(line) => {
                self.0.print(line.bytes());
                line.bytes().len() as u64
            }
            Err(errno) => errno.status(),
        }
    }
}

/// `bpf_ktime_get_ns`: monotonic nanoseconds since boot.
pub extern "C" fn ktime_get_ns(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    clock::now_ns()
}

/// `bpf_get_prandom_u32`: a pseudo-random number of 32 bits; not secret.
pub extern "C" fn get_prandom_u32(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    u64::from(random::next_u32())
}

/// `bpf_get_smp_processor_id`: 0, for there is one processor (design decision 14).
pub extern "C" fn get_smp_processor_id(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::{Standard, address, body};
    use ebpf::interp::Helpers;

    #[test]
    fn every_known_helper_has_a_body_and_no_other() {
        for helper in ebpf::helper::TABLE {
            assert!(address(helper.id).is_some_and(|at| at != 0), "{}", helper.name);
            assert_eq!(body(helper.id).is_some(), helper.args.is_empty(), "{}", helper.name);
        }
        let others = crate::native::effects::TABLE.len() + crate::native::maps::TABLE.len();
        // `trace_printk` has a table of its own.
        assert_eq!(super::TABLE.len() + others + 1, ebpf::helper::TABLE.len());
        assert_eq!((Standard.call(4, [0; 5]), address(4)), (None, None));
        assert_eq!(Standard.call(8, [1; 5]), Some(0));
    }

    #[test]
    fn the_clock_is_set_once() {
        crate::clock::set(|| 42);
        crate::clock::set(|| 43);
        assert_eq!(Standard.call(5, [0; 5]), Some(42));
    }
}
