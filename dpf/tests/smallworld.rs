//! A world small enough to ask every frame: four bytes over the values at which comparisons turn.
//!
//! Filters test those bytes alone and together, in both orders, signed and unsigned, under masks,
//! as sums, and now and then two of them against each other, which only a guard can claim. Every
//! frame is classified by the generated code, by the plan, and by interpreting the original
//! programs one after the other, and nobody accepts what another does. The same filters in another
//! order, with others coming and going in between, own the same frames.

#![cfg(test)]

mod world;

use std::fmt::Write;
use std::task::Poll;

use ebpf::Kind;
use runtime::random::mix;
use sluice_dpf::Verdict;
use sluice_dpf::fuzzing::verified;
use verifier::{BindingId, Claim, ClaimProof, Fuel, GrantId, HashKey, Placement};
use world::World;

const VALUES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];

/// Every frame of the world: 14 or 15 bytes, of which the first four vary.
fn frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for number in 0..2 * 5usize.pow(4) {
        let mut frame = vec![0; 14 + number % 2];
        for (at, byte) in frame.iter_mut().enumerate().take(4) {
            *byte = VALUES[number / 2 / 5usize.pow(at as u32) % 5];
        }
        all.push(frame);
    }
    all
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// A filter for the grant with this number: the second holds the frames whose fourth byte is 0x80.
fn filter(random: &mut Random, grant: usize) -> Claim {
    let mut text = format!(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, {}\n\
         jgt %r4, %r3, out\n",
        random.of(&[14, 14, 15])
    );
    if grant == 1 {
        text.push_str("ldxb %r5, [%r2+3]\njne %r5, 0x80, out\n");
    }
    for _ in 0..=random.below(3) {
        let (load, bits) = random.of(&[("b", 8), ("h", 16), ("w", 32)]);
        let at = random.below(5 - bits / 8);
        let _ = writeln!(text, "ldx{load} %r5, [%r2+{at}]");
        let _ = match random.below(7) {
            0 => writeln!(text, "and %r5, {}", random.of(&[0x80, 0x7f, 0xf0, 1])),
            1 if bits > 8 => writeln!(text, "be{bits} %r5"),
            2 => writeln!(text, "xor %r5, {}", random.below(256)),
            3 => writeln!(text, "add %r5, {}\nand %r5, 0xf0", random.below(256)),
            4 => writeln!(text, "add %r5, {}", random.below(256)),
            _ => Ok(()),
        };
        let cond = random.of(&["jne", "jne", "jne", "jeq", "jgt", "jle", "jslt32", "jsge32"]);
        if random.below(12) == 0 {
            let _ = writeln!(text, "ldxb %r6, [%r2+{}]\n{cond} %r5, %r6, out", random.below(4));
            continue;
        }
        let value = (0..bits / 8).fold(0u32, |all, _| all << 8 | u32::from(random.of(&VALUES)));
        let _ = writeln!(text, "{cond} %r5, {}, out", value.cast_signed());
    }
    text.push_str("mov %r0, 1\nout: exit\n");
    let program = ebpf::asm::program(Kind::Filter, &text).unwrap();
    let verified = verified(program).expect("it is safe");
    match ClaimProof::guarding(verified, HashKey::PUBLIC).step(&mut Fuel(u32::MAX)) {
        Poll::Ready(claim) => claim.unwrap_or_else(|refusal| panic!("{refusal}\n{text}")),
        Poll::Pending => panic!("out of fuel"),
    }
}

fn accepts(claim: &Claim, frame: &[u8]) -> bool {
    ebpf::interp::accepts(claim.verified().program(), frame) == Ok(true)
}

/// Binds a claim, if neither a neighbour nor the grant's quota is against it.
fn place(world: &mut World, grant: GrantId, claim: Claim) -> Option<BindingId> {
    let mut proof = Placement::bind(&world.registry, grant, claim).ok()?;
    let Poll::Ready(placed) = proof.step(&world.registry, &mut Fuel(u32::MAX)) else {
        panic!("out of fuel");
    };
    let owned = world.registry.own(placed.ok()?).ok()?;
    let prepared = world.engine.prepare(&owned, &mut world.pages).ok()?;
    let id = owned.commit();
    world.engine.publish(prepared, id);
    Some(id)
}

/// A world with a grant carved out of the root's space, and everything bound that can be.
struct Settled {
    world: World,
    grants: [GrantId; 2],
    /// Under the grant with this number.
    held: Vec<(BindingId, usize, Claim)>,
}

impl Settled {
    fn new(seed: u64) -> Settled {
        let mut world = World::new(seed);
        let child = world.grant(GrantId::ROOT, "ether[3] == 0x80");
        Settled { world, grants: [GrantId::ROOT, child], held: Vec::new() }
    }

    fn bind(&mut self, grant: usize, claim: &Claim) -> Option<BindingId> {
        let id = place(&mut self.world, self.grants[grant], claim.clone())?;
        self.held.push((id, grant, claim.clone()));
        Some(id)
    }

    /// Who has the frame, as a number in `held`; the three ways to tell agree on it.
    fn owner(&self, frame: &[u8]) -> Option<usize> {
        let verdict = self.world.owner(frame);
        let deepest = usize::from(frame[3] == 0x80);
        let mut by_program = (0..self.held.len()).filter(|&at| {
            let (_, grant, claim) = &self.held[at];
            *grant == deepest && accepts(claim, frame)
        });
        let owner = by_program.next();
        assert_eq!(by_program.next(), None, "two own {frame:02x?}");
        let expected = match owner {
            Some(at) => Verdict::Bound(self.held[at].0),
            None => Verdict::Unbound(Some(self.grants[deepest])),
        };
        assert_eq!(verdict, expected, "{frame:02x?}");
        owner
    }
}

#[test]
fn every_frame_of_a_small_world_goes_where_interpretation_says() {
    let (frames, mut random) = (frames(), Random(0x53a1_0002));
    let (mut owned, mut guards) = (0, 0);
    for round in 0..10 {
        let mut settled = Settled::new(round);
        for _ in 0..40 {
            let grant = random.below(2) as usize;
            let claim = filter(&mut random, grant);
            guards += usize::from(settled.bind(grant, &claim).is_some() && !claim.is_exact());
        }
        let before: Vec<Option<usize>> = frames.iter().map(|it| settled.owner(it)).collect();
        owned += before.iter().flatten().count();
        // Some leave; the rest is as it was.
        let mut order: Vec<usize> = (0..settled.held.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let gone = order.split_off(order.len() - order.len() / 3);
        for &at in &gone {
            settled.world.release(settled.held[at].0);
        }
        let deserted = |at: &usize| !gone.contains(at);
        for (frame, before) in frames.iter().zip(&before) {
            let now = settled.world.owner(frame);
            let expected = before.filter(deserted).map(|at| Verdict::Bound(settled.held[at].0));
            assert_eq!(expected, Some(now).filter(|it| matches!(it, Verdict::Bound(_))));
        }
        // Another world: those who stayed come in another order, others come and go in between.
        let mut again = Settled::new(round + 100);
        for &at in &order {
            let grant = random.below(2) as usize;
            let passing = filter(&mut random, grant);
            let passing = place(&mut again.world, again.grants[grant], passing);
            passing.into_iter().for_each(|id| again.world.release(id));
            let (_, grant, claim) = &settled.held[at];
            assert!(again.bind(*grant, claim).is_some(), "in another order it is refused");
        }
        for (frame, before) in frames.iter().zip(&before) {
            assert_eq!(again.owner(frame).map(|at| order[at]), before.filter(deserted));
        }
    }
    println!("{owned} frames owned, {guards} guards");
    assert!(owned > 1_000 && guards > 5, "{owned} {guards}");
}
