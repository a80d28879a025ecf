//! Bodies of the fuzz targets.
//!
//! Each is a plain function over arbitrary bytes that panics when a property does not hold; the
//! targets in `fuzz/` call them, and a test runs each for a second. They return whether the bytes
//! got deep enough to mean something, so that the tests can insist on a good share.

pub mod cases;
pub mod world;

use core::task::Poll;

use ebpf::fuzzing::{packet_from_bytes, program_from_bytes, rich_program_from_bytes};
use ebpf::interp::{self, World};
use ebpf::packet::{HEADROOM, PacketBuffer};
use ebpf::{Kind, Program};
use flow::{ByteSet, Cell, Rule};

pub use crate::safety::audit::Audit;
pub use crate::safety::domains;

use crate::certificate::Certificate;
use crate::fuel::Fuel;
use crate::hash::HashKey;
use crate::registry::{GrantId, Ownership, Registry};
use crate::{Claim, ClaimProof, Placement, Refusal, RefusalCode, SafetyProof};
use world::{Chance, Lists};

/// How much of the bytes makes the program; the rest makes packets.
const PROGRAM_SHARE: usize = 2;

/// An accepted program never traps, and every register it ever holds lies inside the proof's
/// state, whatever its helpers return.
///
/// # Panics
/// If that does not hold.
pub fn accepted_programs_keep_to_their_states(bytes: &[u8]) -> bool {
    let (code, packets) = bytes.split_at(bytes.len() / PROGRAM_SHARE);
    let mut deep = false;
    for kind in [Kind::Filter, Kind::Ash, Kind::Memory] {
        let plain = program_from_bytes(kind, code);
        let rich = rich_program_from_bytes(kind, code);
        for program in plain.into_iter().chain(rich) {
            let Ok(verified) = safe(&program) else { continue };
            deep = true;
            let audit = Audit::new(&program);
            assert!(audit.is_some(), "the proof does not repeat");
            let Some(audit) = audit else { continue };
            for bytes in packets.chunks(24) {
                keeps(&verified, &audit, bytes);
            }
        }
    }
    deep
}

/// One run of an accepted program, on a packet of these bytes.
fn keeps(verified: &crate::Verified, audit: &Audit, bytes: &[u8]) {
    let program = verified.program();
    let packet = packet_from_bytes(bytes);
    let mut buffer = alloc::vec![0; HEADROOM];
    buffer.extend_from_slice(&packet);
    buffer.resize(HEADROOM + packet.len() + HEADROOM, 0);
    let Some(mut frame) = PacketBuffer::new(&mut buffer, HEADROOM, packet.len()) else { return };
    let seed = bytes.iter().fold(1u64, |seed, &byte| seed.rotate_left(8) ^ u64::from(byte));
    let world = World { helpers: &mut Chance::new(seed), maps: &mut Lists::of(program) };
    let mut wrong = None;
    let result =
        interp::run(program, &mut frame, world, verified.worst_case().into(), &mut |view| {
            if wrong.is_none() {
                wrong = audit.see(view);
            }
        });
    let shown = || ebpf::disasm::disassemble(program);
    assert!(wrong.is_none(), "{wrong:?}\n{}\n{packet:02x?}", shown());
    assert!(result.is_ok(), "{result:?}\n{}\n{packet:02x?}", shown());
}

/// A claim holds exactly the packets that its program accepts.
///
/// # Panics
/// If that does not hold.
pub fn claims_are_exact(bytes: &[u8]) -> bool {
    let (code, packets) = bytes.split_at(bytes.len() / PROGRAM_SHARE);
    let Some(program) = program_from_bytes(Kind::Filter, code) else { return false };
    let Ok(claim) = claim(&program, Fuel::UNLIMITED) else { return false };
    for packet in packets.chunks(24) {
        agrees(&claim, &packet_from_bytes(packet));
    }
    for rule in claim.space().rules() {
        if let Ok(Some(frame)) = rule.witness() {
            agrees(&claim, &frame);
        }
    }
    true
}

/// Whatever cases are sent along, what is claimed by them is exactly what the program accepts.
///
/// # Panics
/// If that does not hold.
pub fn certificates_prove_nothing_wrong(bytes: &[u8]) -> bool {
    let (code, rest) = bytes.split_at(bytes.len() / PROGRAM_SHARE);
    let (cases, packets) = rest.split_at(rest.len() / 2);
    let Some(program) = program_from_bytes(Kind::Filter, code) else { return false };
    let Ok(verified) = safe(&program) else { return false };
    let cases = cases.chunks_exact(3).filter_map(|case| {
        let [at, value, mask] = <[u8; 3]>::try_from(case).ok()?;
        Rule::any().with(Cell::frame(12 + u16::from(at % 32)), ByteSet::masked(value, mask))
    });
    let Ok(certificate) = Certificate::new(cases.collect()) else { return false };
    let mut proof = ClaimProof::certified(verified, HashKey::PUBLIC, certificate);
    let Ok(claim) = to_the_end(Fuel::UNLIMITED, |fuel| proof.step(fuel)) else { return false };
    for packet in packets.chunks(24) {
        agrees(&claim, &packet_from_bytes(packet));
    }
    true
}

/// The answer is the same however the work is cut into steps.
///
/// # Panics
/// If that does not hold.
pub fn steps_do_not_matter(bytes: &[u8]) -> bool {
    let Some(program) = program_from_bytes(Kind::Filter, bytes) else { return false };
    let whole = claim(&program, Fuel::UNLIMITED);
    let steps = claim(&program, Fuel(1));
    match (&whole, &steps) {
        (Ok(a), Ok(b)) => assert_eq!(a.space(), b.space()),
        (Err(a), Err(b)) => assert_eq!(a, b),
        _ => panic!("{whole:?} is not {steps:?}"),
    }
    whole.is_ok()
}

/// Two filters under one grant: both are taken in only if no packet is accepted by both, and a
/// refusal's witness is.
///
/// # Panics
/// If that does not hold.
pub fn no_packet_has_two_owners(bytes: &[u8]) -> bool {
    let (codes, packets) = bytes.split_at(bytes.len() / PROGRAM_SHARE);
    let (one, other) = codes.split_at(codes.len() / 2);
    let claims = [one, other]
        .map(|code| claim(&program_from_bytes(Kind::Filter, code)?, Fuel::UNLIMITED).ok());
    let [Some(first), Some(second)] = claims else { return false };
    let mut registry = Registry::new();
    let both = [&first, &second].map(|claim| bind(&mut registry, claim.clone()));
    assert!(both[0].is_ok());
    match &both[1] {
        Ok(()) => {}
        Err(refusal) if refusal.code == RefusalCode::Overlap => {
            let witness = refusal.witness.as_deref().unwrap_or(&[]);
            assert!(first.program_accepts(witness) && second.program_accepts(witness));
        }
        Err(refusal) => assert_eq!(refusal.code, RefusalCode::Limit, "{refusal}"),
    }
    for packet in packets.chunks(24) {
        let packet = packet_from_bytes(packet);
        let claimants = registry.claimants(&packet);
        assert!(claimants.len() <= 1, "{packet:02x?}");
        let owner = registry.owner_of(&packet);
        assert_eq!(owner != Ownership::Unbound(GrantId::ROOT), claimants.len() == 1);
    }
    true
}

fn agrees(claim: &Claim, packet: &[u8]) {
    let program = claim.verified().program();
    let accepts = interp::accepts(program, packet);
    assert_eq!(
        accepts,
        Ok(claim.space().contains(packet)),
        "{}\n{packet:02x?}",
        ebpf::disasm::disassemble(program)
    );
}

fn safe(program: &Program) -> Result<crate::Verified, Refusal> {
    let mut proof = SafetyProof::new(program.clone());
    to_the_end(Fuel::UNLIMITED, |fuel| proof.step(fuel))
}

fn claim(program: &Program, fuel: Fuel) -> Result<Claim, Refusal> {
    let mut proof = ClaimProof::new(safe(program)?);
    to_the_end(fuel, |fuel| proof.step(fuel))
}

fn bind(registry: &mut Registry, claim: Claim) -> Result<(), Refusal> {
    let mut proof = Placement::bind(registry, GrantId::ROOT, claim)?;
    let placed = to_the_end(Fuel::UNLIMITED, |fuel| proof.step(registry, fuel))?;
    registry.own(placed)?.commit();
    Ok(())
}

fn to_the_end<T>(fuel: Fuel, mut step: impl FnMut(&mut Fuel) -> Poll<T>) -> T {
    loop {
        if let Poll::Ready(answer) = step(&mut fuel.clone()) {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests;
