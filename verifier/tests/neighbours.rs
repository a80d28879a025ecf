//! Neighbours of every kind in the fragment: the index finds whom a filter meets, as asking
//! everybody does, also behind headers of variable length and among guards.

mod common;
#[path = "disjoint/filters.rs"]
mod filters;

use common::{Random, bind, run, verify};
use ebpf::Program;
use sluice_verifier::placement::scan;
use sluice_verifier::{Claim, ClaimProof, GrantId, HashKey, Limits, Refusal, Registry};

fn guarding(program: Program) -> Result<Claim, Refusal> {
    let mut proof = ClaimProof::guarding(verify(program)?, HashKey::PUBLIC);
    run(u32::MAX, |fuel| proof.step(fuel))
}

#[test]
fn the_index_finds_whom_a_filter_meets() {
    let (mut taken, mut refused, mut guards) = (0, 0, 0);
    for world in 0..4 {
        let mut random = Random(0x4e16_0001 + world);
        let mut registry = Registry::with(Limits::KERNEL, HashKey::new(world, 7));
        for _ in 0..150 {
            for program in filters::pair(&mut random, &filters::MIX) {
                let claim = guarding(program).unwrap_or_else(|refusal| panic!("{refusal}"));
                let everybody = scan::bindings(&registry, GrantId::ROOT, &claim);
                let answer = bind(&mut registry, GrantId::ROOT, claim.clone());
                let shown = || ebpf::disasm::disassemble(claim.verified().program());
                match (&answer, &everybody) {
                    (Ok(_), Ok(())) => taken += 1,
                    (Err(_), Err(_)) => refused += 1,
                    _ => panic!("{answer:?} and not {everybody:?}\n{}", shown()),
                }
                guards += usize::from(answer.is_ok() && !claim.is_exact());
                for rule in claim.space().rules().iter().take(8) {
                    let Ok(Some(frame)) = rule.witness() else { continue };
                    assert!(registry.claimants(&frame).len() <= 1, "{frame:02x?}\n{}", shown());
                }
            }
        }
    }
    println!("{taken} taken in, {guards} of them guards, {refused} refused");
    assert!(taken > 80 && refused > 300, "{taken} {refused}");
}
