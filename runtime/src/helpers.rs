//! Helper bodies: one implementation for generated code and for the interpreter.
//!
//! The idea: a helper is an `extern "C"` function of five words, so that generated code can call it
//! by address with eBPF's argument registers in place (r1..r5 are the first five argument
//! registers of the System V ABI). [`address`] gives that address; [`Standard`] calls the very same
//! functions for the interpreter, so that the two cannot drift apart.
//!
//! Numbers are Linux's (`include/uapi/linux/bpf.h`); Sluice's own start at 0x10000.
//! Every body here is bounded, touches no caller memory and cannot fail. Helpers that take the
//! context have their bodies in `native::effects`, and for the interpreter in [`WithEffects`].

use ebpf::helper;
use ebpf::interp::Helpers;

use crate::effects::{Effects, NoEffects, copy_result};
use crate::native::effects;
use crate::{clock, random};

/// The type of every helper body.
pub type Body = extern "C" fn(u64, u64, u64, u64, u64) -> u64;

/// The helpers of version 1: number and body, sorted by number.
const TABLE: [(u32, Body); 3] =
    [(5, ktime_get_ns), (7, get_prandom_u32), (8, get_smp_processor_id)];

/// The body of helper `id`, or `None` if there is no such helper.
#[must_use]
pub fn body(id: u32) -> Option<Body> {
    TABLE.iter().find(|(known, _)| *known == id).map(|(_, body)| *body)
}

/// The address that generated code calls for helper `id`.
#[must_use]
pub fn address(id: u32) -> Option<u64> {
    let with_context = effects::TABLE.iter().find(|(known, _)| *known == id);
    match with_context {
        Some((_, body)) => Some(*body as usize as u64),
        None => body(id).map(|body| body as usize as u64),
    }
}

/// The same bodies for the reference interpreter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standard;

impl Helpers for Standard {
    fn call(&mut self, id: u32, [a, b, c, d, e]: [u64; 5]) -> Option<u64> {
        body(id).map(|body| body(a, b, c, d, e))
    }

    fn call_on(&mut self, id: u32, args: [u64; 5], packet: &[u8]) -> Option<u64> {
        WithEffects(&mut NoEffects).call_on(id, args, packet)
    }
}

/// The same bodies, and those with an effect, for the reference interpreter.
pub struct WithEffects<'a>(pub &'a mut dyn Effects);

impl Helpers for WithEffects<'_> {
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64> {
        Standard.call(id, args)
    }

    fn call_on(&mut self, id: u32, args: [u64; 5], packet: &[u8]) -> Option<u64> {
        match id {
            helper::WAKE => {
                self.0.wake(args[1]);
                Some(0)
            }
            helper::SEND_COPY => Some(copy_result(self.0.send_copy(packet))),
            _ => self.call(id, args),
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
    use ebpf::helper::Arg;
    use ebpf::interp::Helpers;

    #[test]
    fn every_known_helper_has_a_body_and_no_other() {
        let here = |helper: &&ebpf::helper::Helper| address(helper.id).is_some();
        // Those that lead to maps and memory have no body yet.
        let plain = |arg: &Arg| matches!(arg, Arg::Scalar | Arg::Context);
        for helper in ebpf::helper::TABLE {
            let expected = helper.args.iter().all(plain) && !helper.moves_packet;
            assert_eq!(address(helper.id).is_some(), expected, "{}", helper.name);
        }
        for helper in ebpf::helper::TABLE.iter().filter(here) {
            assert!(address(helper.id).is_some_and(|at| at != 0), "{}", helper.name);
            let context = helper.args.contains(&ebpf::helper::Arg::Context);
            assert_eq!(body(helper.id).is_none(), context, "{}", helper.name);
            assert!(Standard.call_on(helper.id, [0; 5], &[]).is_some(), "{}", helper.name);
        }
        let bodies = super::TABLE.len() + crate::native::effects::TABLE.len();
        assert_eq!(bodies, ebpf::helper::TABLE.iter().filter(here).count());
        assert_eq!(Standard.call(6, [0; 5]), None);
        assert_eq!(Standard.call(8, [1; 5]), Some(0));
    }

    #[test]
    fn the_clock_is_set_once() {
        crate::clock::set(|| 42);
        crate::clock::set(|| 43);
        assert_eq!(Standard.call(5, [0; 5]), Some(42));
    }
}
