//! What the integration tests share: running the chain, random numbers, frames.
#![allow(dead_code, reason = "each test file uses its own part")]

use core::task::Poll;

use ebpf::{Kind, Program};
use sluice_verifier::{
    BindingId, Claim, ClaimProof, Derivation, Fuel, GrantId, Placement, Refusal, Registry,
    SafetyProof, Transmit, Verified,
};

/// Runs one proof to its end, with so much fuel in each step.
pub(crate) fn run<T>(fuel: u32, mut step: impl FnMut(&mut Fuel) -> Poll<T>) -> T {
    loop {
        if let Poll::Ready(answer) = step(&mut Fuel(fuel)) {
            return answer;
        }
    }
}

pub(crate) fn verify_with(fuel: u32, program: Program) -> Result<Verified, Refusal> {
    let mut proof = SafetyProof::new(program);
    run(fuel, |fuel| proof.step(fuel))
}

pub(crate) fn verify(program: Program) -> Result<Verified, Refusal> {
    verify_with(u32::MAX, program)
}

pub(crate) fn claim_with(fuel: u32, program: Program) -> Result<Claim, Refusal> {
    let mut proof = ClaimProof::new(verify_with(fuel, program)?);
    run(fuel, |fuel| proof.step(fuel))
}

pub(crate) fn claim(program: Program) -> Result<Claim, Refusal> {
    claim_with(u32::MAX, program)
}

pub(crate) fn program(kind: Kind, text: &str) -> Program {
    ebpf::asm::program(kind, text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The claim of an assembler text.
pub(crate) fn claim_text(text: &str) -> Claim {
    claim(program(Kind::Filter, text)).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"))
}

/// The claim of an expression, through the bytecode it is lowered to.
pub(crate) fn claim_expr(text: &str) -> Claim {
    let space = space(text);
    let program = flow::lower::lower(&space).unwrap_or_else(|error| panic!("{text}: {error}"));
    claim(program).unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
}

pub(crate) fn space(text: &str) -> flow::Space {
    let expr = flow::expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expr.to_space().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Runs one proof to its end and adds what it used up.
pub(crate) fn worked<T>(work: &mut u64, mut step: impl FnMut(&mut Fuel) -> Poll<T>) -> T {
    loop {
        let mut fuel = Fuel::UNLIMITED;
        let answer = step(&mut fuel);
        *work += u64::from(Fuel::UNLIMITED.0 - fuel.0);
        if let Poll::Ready(answer) = answer {
            return answer;
        }
    }
}

/// Places and commits a claim.
pub(crate) fn bind(
    registry: &mut Registry,
    grant: GrantId,
    claim: Claim,
) -> Result<BindingId, Refusal> {
    bind_worked(&mut 0, registry, grant, claim)
}

/// As [`bind`], adding the proof's work.
pub(crate) fn bind_worked(
    work: &mut u64,
    registry: &mut Registry,
    grant: GrantId,
    claim: Claim,
) -> Result<BindingId, Refusal> {
    let mut proof = Placement::bind(registry, grant, claim)?;
    let placed = worked(work, |fuel| proof.step(registry, fuel))?;
    Ok(registry.own(placed)?.commit())
}

/// Derives and adopts a grant that may send whatever its parent may.
pub(crate) fn derive(
    registry: &mut Registry,
    parent: GrantId,
    claim: Claim,
) -> Result<GrantId, Refusal> {
    derive_worked(&mut 0, registry, parent, claim)
}

/// As [`derive`], adding the proof's work.
pub(crate) fn derive_worked(
    work: &mut u64,
    registry: &mut Registry,
    parent: GrantId,
    claim: Claim,
) -> Result<GrantId, Refusal> {
    let transmit = registry.grant(parent).map(|grant| grant.transmit().clone());
    let transmit = Transmit::Space(transmit.unwrap_or_default());
    let mut proof = Derivation::new(registry, parent, claim, transmit)?;
    let placed = worked(work, |fuel| proof.step(registry, fuel))?;
    registry.adopt(placed)
}

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A frame that often looks like traffic.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let bytes = self.bytes(64);
        let mut frame = ebpf::fuzzing::packet_from_bytes(&bytes);
        if self.below(4) == 0 && frame.len() > 14 {
            frame.truncate(14 + self.below(frame.len() as u64 - 14) as usize);
        }
        frame
    }

    /// A frame of a space, with a few bytes changed or the length cut.
    pub(crate) fn near(&mut self, space: &flow::Space) -> Option<Vec<u8>> {
        let rules = space.rules();
        let rule = rules.get(self.below(rules.len().max(1) as u64) as usize)?;
        let mut frame = rule.witness().ok()??;
        if self.below(2) == 0 {
            let more = self.below(40) as usize;
            frame.resize((frame.len() + more).min(1522), 0);
        }
        let cells: Vec<_> = rule.cells().collect();
        for _ in 0..self.below(4) {
            // Mostly a byte that the rule tests, and there another value it allows or not.
            let at = match self.below(3) {
                0 => self.below(frame.len() as u64) as usize,
                _ if cells.is_empty() => continue,
                _ => {
                    let (cell, _) = cells[self.below(cells.len() as u64) as usize];
                    cell.address(&frame).unwrap_or(0)
                }
            };
            let delta = [1, 255, 4, 16, 128][self.below(5) as usize];
            frame[at] = frame[at].wrapping_add(delta);
        }
        if self.below(5) == 0 && frame.len() > 14 {
            frame.pop();
        }
        Some(frame)
    }
}

/// The claim and its program agree on many frames, most of them near its edges.
pub(crate) fn agrees(claim: &Claim, random: &mut Random, frames: usize) {
    for _ in 0..frames {
        let frame = match random.below(3) {
            0 => random.frame(),
            _ => random.near(claim.space()).unwrap_or_else(|| random.frame()),
        };
        let accepts = ebpf::interp::accepts(claim.verified().program(), &frame);
        assert_eq!(
            accepts,
            Ok(claim.space().contains(&frame)),
            "{}\n{}\n{:02x?}",
            ebpf::disasm::disassemble(claim.verified().program()),
            flow::expr::describe(claim.space()),
            frame
        );
    }
}
