//! Whatever is accepted is safe, is as the proof said, and does natively what it should.
//!
//! One trial makes a rich program and some packets out of bytes. If the verifier accepts the
//! program, then on each packet the reference interpreter must not trap within the proven worst
//! case, every register must lie inside the proof's states at every instruction, and the native
//! code must leave the same result, packet and maps.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ebpf::interp::{self, World};
use ebpf::packet::HEADROOM;
use ebpf::{Insn, Kind, Program, Reg};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::map::{Map, MapSet};
use runtime::pages::CodePages;
use verifier::Verified;
use verifier::fuzzing::Audit;

use super::verified;
use crate::load;

/// Bytes behind a packet in its buffer.
const TAILROOM: usize = 256;
/// Packets for one program.
const PACKETS: usize = 4;
/// Of these parts of the bytes one makes packets, the rest the program.
const PARTS: usize = 4;

/// What came of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Whether the verifier took it.
    pub accepted: bool,
    /// Runs in both engines.
    pub runs: u32,
    /// Instructions that the interpreter ran.
    pub steps: u64,
    /// Instructions of the program, if it was accepted.
    pub slots: usize,
    /// Of these, backward jumps, calls, and accesses to other memory than the stack through a
    /// constant offset.
    pub deep: usize,
    /// As [`accesses`] says.
    pub accesses: [usize; 2],
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of the oracles saw it: `trap`, `state` or `native`.
    pub oracle: &'static str,
    /// What it saw.
    pub text: String,
    /// The program, in assembly.
    pub program: String,
    /// The packet.
    pub packet: Vec<u8>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oracle, text, program, packet } = self;
        write!(f, "{oracle}: {text}\n{program}\n{packet:02x?}")
    }
}

/// One trial of a program of this kind.
///
/// # Errors
/// The first oracle that is violated.
pub fn trial(kind: Kind, bytes: &[u8], pages: &mut dyn CodePages) -> Result<Trial, Violation> {
    let (code, packets) = bytes.split_at(bytes.len() - bytes.len() / PARTS);
    let program = ebpf::fuzzing::rich_program_from_bytes(kind, code);
    let Some(verified) = program.and_then(verified) else { return Ok(Trial::default()) };
    let program = verified.program();
    let (slots, deep, accesses) = (program.len(), deep(program), accesses(program));
    let mut trial = Trial { accepted: true, slots, deep, accesses, ..Trial::default() };
    let violated = |oracle, text, packet: &[u8]| Violation {
        oracle,
        text,
        program: ebpf::disasm::disassemble(program),
        packet: packet.to_vec(),
    };
    let Some(audit) = Audit::new(program) else {
        return Err(violated("state", "the proof does not repeat".into(), &[]));
    };
    let chunk = (packets.len() / PACKETS).max(1);
    for bytes in packets.chunks(chunk).take(PACKETS) {
        let packet = ebpf::fuzzing::packet_from_bytes(bytes);
        let seed = bytes.iter().fold(0u64, |seed, &byte| seed.rotate_left(7) ^ u64::from(byte));
        let interpreted = interpreted(&verified, &audit, &packet, seed)
            .map_err(|(oracle, text)| violated(oracle, text, &packet))?;
        trial.runs += 1;
        trial.steps += interpreted.steps;
        let native = native(&verified, &packet, seed, pages)
            .map_err(|text| violated("native", text, &packet))?;
        if native != interpreted.left {
            let text = format!("{:x?} instead of {:x?}", native, interpreted.left);
            return Err(violated("native", text, &packet));
        }
    }
    Ok(trial)
}

/// [`trial`] of a kind that the first byte chooses. True if the program was accepted.
///
/// # Panics
/// If an oracle is violated.
pub fn sound(bytes: &[u8], pages: &mut dyn CodePages) -> bool {
    let kind = match bytes.first().map_or(0, |byte| byte % 4) {
        0 => Kind::Memory,
        _ => Kind::Ash,
    };
    match trial(kind, bytes, pages) {
        Ok(trial) => trial.accepted,
        Err(violation) => panic!("{violation}"),
    }
}

/// What a run leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    result: u64,
    start: usize,
    packet: Vec<u8>,
    values: Vec<Vec<u8>>,
}

struct Interpreted {
    left: Left,
    steps: u64,
}

fn maps(program: &Program) -> Option<Vec<Arc<Map>>> {
    program.maps().iter().map(|&spec| Map::new(spec, [0x5eed; 2]).ok()).collect()
}

/// The packet in a buffer with room on both sides.
fn roomy(packet: &[u8]) -> Vec<u8> {
    let mut buffer = alloc::vec![0; HEADROOM];
    buffer.extend_from_slice(packet);
    buffer.resize(HEADROOM + packet.len() + TAILROOM, 0);
    buffer
}

fn left(result: u64, packet: &PacketBuffer<'_>, maps: &[Arc<Map>]) -> Left {
    let values = maps.iter().flat_map(|map| {
        (0..map.spec().max_entries).map(|slot| {
            let mut value = alloc::vec![0; map.spec().value_size as usize];
            let _ = map.read(slot, 0, &mut value);
            value
        })
    });
    Left { result, start: packet.start(), packet: packet.data().to_vec(), values: values.collect() }
}

fn interpreted(
    verified: &Verified,
    audit: &Audit,
    packet: &[u8],
    seed: u64,
) -> Result<Interpreted, (&'static str, String)> {
    let program = verified.program();
    let maps = maps(program).ok_or(("trap", "a map cannot be made".into()))?;
    let mut buffer = roomy(packet);
    let mut frame = PacketBuffer::new(&mut buffer, HEADROOM, packet.len())
        .ok_or(("trap", "no buffer".into()))?;
    runtime::random::seed(seed);
    let (mut steps, mut wrong) = (0, None);
    let mut set = MapSet(&maps);
    let world = World { helpers: &mut Standard, maps: &mut set };
    let result =
        interp::run(program, &mut frame, world, verified.worst_case().into(), &mut |view| {
            steps += 1;
            if wrong.is_none() {
                wrong = audit.see(view);
            }
        });
    if let Some(text) = wrong {
        return Err(("state", text));
    }
    let result = result.map_err(|trap| ("trap", format!("{trap}")))?;
    Ok(Interpreted { left: left(result, &frame, &maps), steps })
}

fn native(
    verified: &Verified,
    packet: &[u8],
    seed: u64,
    pages: &mut dyn CodePages,
) -> Result<Left, String> {
    let maps = maps(verified.program()).ok_or("a map cannot be made")?;
    let mut buffer = roomy(packet);
    let mut frame = PacketBuffer::new(&mut buffer, HEADROOM, packet.len()).ok_or("no buffer")?;
    let program = load::load_with(verified, &maps, pages).map_err(|error| format!("{error}"))?;
    runtime::random::seed(seed);
    let result = program.run(&mut frame);
    program.free(pages);
    Ok(left(result, &frame, &maps))
}

/// How many instructions of a generated program are more than arithmetic and plain accesses: calls,
/// atomics, backward jumps, accesses through moved pointers and map values.
#[must_use]
pub fn deep(program: &Program) -> usize {
    let is_deep = |(pc, insn): &(u32, &Insn)| {
        let back = insn.jump_target().is_some_and(|target| target <= *pc);
        back || matches!(insn, Insn::Call { .. }) || is_deep_access(insn)
    };
    (0..).zip(program.insns()).filter(is_deep).count()
}

/// How many accesses a generated program has, and how many of them are not plain.
#[must_use]
pub fn accesses(program: &Program) -> [usize; 2] {
    let is_access =
        |insn: &&Insn| matches!(insn, Insn::Load { .. } | Insn::Store { .. } | Insn::Atomic { .. });
    let all = program.insns().iter().filter(is_access);
    [all.clone().count(), all.filter(|insn| is_deep_access(insn)).count()]
}

/// Whether an instruction is an access that is not plain: atomic, through a moved pointer, or into
/// a value of a map. In generated programs `r4` is the moved pointer and `r8` the one to a value.
#[must_use]
pub fn is_deep_access(insn: &Insn) -> bool {
    match insn {
        Insn::Atomic { .. } => true,
        Insn::Load { base, .. } | Insn::Store { base, .. } => [Reg::R4, Reg::R8].contains(base),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::sound;
    use alloc::vec::Vec;
    use runtime::native::HostPages;
    use runtime::random::mix;
    use std::time::{Duration, Instant};

    /// One second of the body; most programs must get as far as both engines.
    #[test]
    fn accepted_programs_hold_what_the_proof_says_and_run_natively_alike() {
        let (start, mut pages) = (Instant::now(), HostPages::default());
        let (mut runs, mut accepted) = (0u64, 0);
        while runs < 20 || start.elapsed() < Duration::from_secs(1) {
            let length = 40 + mix(runs) % 400;
            let bytes: Vec<u8> =
                (0..length).map(|at| mix(mix(0x50d0 + runs) ^ at).to_le_bytes()[0]).collect();
            accepted += u64::from(sound(&bytes, &mut pages));
            runs += 1;
        }
        std::println!("{accepted} of {runs} accepted");
        assert!(accepted * 2 > runs, "only {accepted} of {runs} accepted");
    }
}
