//! A world small enough to ask every frame: four bytes over the values at which comparisons turn.
//!
//! Filters test those bytes alone and together, in both orders, signed and unsigned, under masks.
//! Who was taken in shares no frame with anybody; who was refused shares one, which is shown; every
//! frame's owner is who accepts it; and the same filters in another order, with others coming and
//! going in between, own the same frames.

mod common;

use common::{Random, bind, claim_text};
use sluice_verifier::{
    BindingId, Claim, Fuel, GrantId, HashKey, Limits, Ownership, Party, Registry,
};

const VALUES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];

/// Every frame of the world: 14 bytes, of which the first four vary.
fn frames() -> Vec<[u8; 14]> {
    let mut all = Vec::new();
    for number in 0..5usize.pow(4) {
        let mut frame = [0; 14];
        for (at, byte) in frame.iter_mut().enumerate().take(4) {
            *byte = VALUES[number / 5usize.pow(at as u32) % 5];
        }
        all.push(frame);
    }
    all
}

fn filter(random: &mut Random) -> Claim {
    let mut text = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\n\
         add %r4, 14\njgt %r4, %r3, out\n"
        .to_owned();
    for _ in 0..=random.below(3) {
        let (load, bits) =
            [("ldxb %r5, [%r2+", 8), ("ldxh %r5, [%r2+", 16), ("ldxw %r5, [%r2+", 32)]
                [random.below(3) as usize];
        let at = random.below(5 - bits / 8);
        let how = [
            String::new(),
            format!("and %r5, {}\n", [0x80, 0x7f, 0xf0, 1][random.below(4) as usize]),
            format!("be{} %r5\n", bits.max(16)),
            format!("xor %r5, {}\n", random.below(256)),
            format!("add %r5, {}\n", random.below(256)),
        ];
        let how = &how[random.below(5) as usize];
        let swaps_a_byte = bits == 8 && how.starts_with("be");
        let cond = ["jne", "jeq", "jgt", "jle", "jslt32", "jsge32"][random.below(6) as usize];
        let byte = |random: &mut Random| u32::from(VALUES[random.below(5) as usize]);
        let value = (0..bits / 8).fold(0, |all, _| all << 8 | byte(random)).cast_signed();
        let how = if swaps_a_byte { "" } else { how };
        text.push_str(&format!("{load}{at}]\n{how}{cond} %r5, {value}, out\n"));
    }
    text.push_str("mov %r0, 1\nout: exit\n");
    claim_text(&text)
}

fn accepts(claim: &Claim, frame: &[u8]) -> bool {
    ebpf::interp::accepts(claim.verified().program(), frame) == Ok(true)
}

fn owners(registry: &Registry, frames: &[[u8; 14]]) -> Vec<Ownership> {
    frames.iter().map(|frame| registry.owner_of(frame)).collect()
}

#[test]
fn every_frame_of_a_small_world_has_the_owner_that_interpretation_gives_it() {
    let (frames, mut random) = (frames(), Random(0x53a1_0001));
    let (mut taken, mut refused, mut owned) = (0, 0, 0);
    for round in 0..40 {
        let mut registry = Registry::with(Limits::KERNEL, HashKey::new(round, 1));
        let mut held: Vec<(BindingId, Claim)> = Vec::new();
        for _ in 0..30 {
            let claim = filter(&mut random);
            match bind(&mut registry, GrantId::ROOT, claim.clone()) {
                Ok(id) => {
                    for (_, other) in &held {
                        let shared =
                            frames.iter().find(|it| accepts(&claim, *it) && accepts(other, *it));
                        assert_eq!(shared, None);
                    }
                    held.push((id, claim));
                    taken += 1;
                }
                Err(refusal) => {
                    let witness = refusal.witness.unwrap_or_default();
                    let other =
                        held.iter().find(|(id, _)| refusal.other == Some(Party::Binding(*id)));
                    assert!(other.is_some_and(|(_, it)| accepts(it, &witness)));
                    assert!(accepts(&claim, &witness));
                    refused += 1;
                }
            }
        }
        for (frame, owner) in frames.iter().zip(owners(&registry, &frames)) {
            let by_program = held.iter().find(|(_, claim)| accepts(claim, frame));
            let expected = by_program
                .map_or(Ownership::Unbound(GrantId::ROOT), |(id, _)| Ownership::Bound(*id));
            assert_eq!(owner, expected);
            owned += usize::from(by_program.is_some());
        }
        let mut again = Registry::with(Limits::KERNEL, HashKey::new(round, 2));
        let mut order: Vec<usize> = (0..held.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut ids = vec![None; held.len()];
        for &at in &order {
            // Somebody comes, if there is room, and goes.
            if let Ok(passing) = bind(&mut again, GrantId::ROOT, filter(&mut random)) {
                again.settle(GrantId::ROOT, &mut Fuel(random.below(500) as u32));
                again.release(passing);
            }
            ids[at] = Some(bind(&mut again, GrantId::ROOT, held[at].1.clone()).unwrap());
        }
        for (before, after) in owners(&registry, &frames).iter().zip(owners(&again, &frames)) {
            let same = match (before, after) {
                (Ownership::Bound(before), Ownership::Bound(after)) => {
                    held.iter().zip(&ids).any(|((id, _), new)| id == before && *new == Some(after))
                }
                (Ownership::Unbound(_), Ownership::Unbound(_)) => true,
                _ => false,
            };
            assert!(same, "{before:?} {after:?}");
        }
    }
    println!("{taken} taken in, {refused} refused, {owned} frames owned");
    assert!(taken > 100 && refused > 100 && owned > 1000);
}
