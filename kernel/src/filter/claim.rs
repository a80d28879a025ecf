//! A filter's claim on its way: the certificate, if one came along, and then the extraction.
//!
//! The certificate is the caller's word for nothing: its bytes are read a test at a time, each for
//! fuel, into cases that the proof holds against the filter ([`verifier::certificate`]). What is
//! wrong with it is refused with its own blame, and nothing was changed.

use abi::certificate::{BYTES_MAX, Fault, Piece, Reader, Test};
use abi::refusal::{Blame, Code};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use flow::{ByteSet, Cell, HeaderBase, LengthRange, Rule};
use machine::heap::Arena;
use verifier::{Certificate, Claim, ClaimProof, Fuel, HashKey, Verified};

use super::{Source, Trouble, drive};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::limits::{CLAIM_FUEL, PROOF_FUEL};

/// Fuel of a test of a byte at a constant place.
const TEST_FUEL: u32 = PROOF_FUEL / 8;

/// How a claim is extracted when there is no certificate: exactly, or with a guard.
pub(super) type Extract = fn(Verified, HashKey) -> ClaimProof;

/// A claim on its way.
pub(super) enum Claiming {
    /// The certificate is read.
    Read(Box<Reading>),
    /// The claim is extracted; whom a refusal blames.
    Prove(Blame, ClaimProof),
    /// There was an answer.
    Over,
}

/// Cases on their way.
pub(super) struct Reading {
    filter: Verified,
    key: HashKey,
    reader: Reader,
    cases: Vec<Rule>,
}

/// What is wrong with a certificate.
enum Wrong {
    /// Its bytes.
    Bytes(Fault),
    /// This case, from 0, holds no frame.
    Empty(u32),
}

impl Claiming {
    /// Of a filter that is blamed as `blame` says, with the certificate that was copied in for it.
    pub(super) fn new(
        arena: &mut Arena,
        (blame, filter): (Blame, Verified),
        key: HashKey,
        certificate: Option<&Reader>,
        extract: Extract,
    ) -> Claiming {
        arena.enter(|| match certificate {
            None => Claiming::Prove(blame, extract(filter, key)),
            Some(reader) => {
                let (reader, cases) = (reader.clone(), Vec::new());
                Claiming::Read(Box::new(Reading { filter, key, reader, cases }))
            }
        })
    }

    /// Works on it; the claim, outside the arena, once there is one.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        fuel: &mut Fuel,
    ) -> Result<Option<Claim>, Trouble> {
        *self = match core::mem::replace(self, Claiming::Over) {
            Claiming::Read(mut reading) => {
                match arena.enter(|| reading.step(fuel)).map_err(|it| wrong(&it))? {
                    false => Claiming::Read(reading),
                    true => {
                        let proof = arena.enter(|| reading.finish());
                        let proof =
                            proof.map_err(|it| Trouble::refused(Blame::Certificate, &it))?;
                        Claiming::Prove(Blame::Certificate, proof)
                    }
                }
            }
            Claiming::Prove(blame, mut proof) => {
                let mut fuel = Fuel(fuel.0.min(CLAIM_FUEL));
                match drive(arena, blame, || proof.step(&mut fuel))? {
                    None => Claiming::Prove(blame, proof),
                    Some(claim) => return Ok(Some(claim.detach())),
                }
            }
            Claiming::Over => return Err(Trouble::over()),
        };
        Ok(None)
    }
}

impl Reading {
    /// Reads until the fuel is spent; true behind the last case.
    fn step(&mut self, fuel: &mut Fuel) -> Result<bool, Wrong> {
        while fuel.0 > 0 {
            let Some(piece) = self.reader.next().map_err(Wrong::Bytes)? else { return Ok(true) };
            let (rule, units) = match piece {
                Piece::Case((low, high)) => {
                    let lengths = LengthRange::new(low, high);
                    (lengths.and_then(|it| Rule::any().with_length(it)), TEST_FUEL)
                }
                Piece::Test(test) => (self.cases.pop().and_then(|it| narrowed(it, test)), {
                    // A test behind a header looks at every length that the header may have.
                    if test.behind.is_some() { PROOF_FUEL } else { TEST_FUEL }
                }),
            };
            fuel.0 = fuel.0.saturating_sub(units);
            self.cases.push(rule.ok_or(Wrong::Empty(self.reader.case()))?);
        }
        Ok(false)
    }

    /// On to the proof.
    fn finish(self) -> Result<ClaimProof, verifier::Refusal> {
        let Reading { filter, key, cases, .. } = self;
        Certificate::new(cases).map(|certificate| ClaimProof::certified(filter, key, certificate))
    }
}

/// A case with one more test; none if no frame passes.
fn narrowed(mut case: Rule, Test { behind, offset, mask, value }: Test) -> Option<Rule> {
    let cell = match behind {
        None => Cell::frame(offset),
        Some(it) => {
            let base = HeaderBase { at: it.at, mask: it.mask, shift: it.shift, add: it.add };
            Cell::header(base, offset)
        }
    };
    case.restrict(cell, ByteSet::masked(value, mask)).then_some(case)
}

fn wrong(wrong: &Wrong) -> Trouble {
    let fault = match wrong {
        Wrong::Empty(case) => {
            let text = alloc::format!("case {case} of the certificate holds no frame");
            return Trouble::unreadable(Blame::Certificate, text);
        }
        Wrong::Bytes(fault) => fault,
    };
    match fault.limit() {
        Some(limit) => Trouble::limit(Code::Limit, Blame::Certificate, limit),
        None => Trouble::unreadable(Blame::Certificate, fault.to_string()),
    }
}

/// Copies a certificate in and looks at its head, inside the arena.
pub(super) fn certificate(
    kernel: &Kernel,
    arena: &mut Arena,
    (owner, source): (EnvironmentId, Option<Source>),
) -> Result<Option<Reader>, Trouble> {
    let Some(source) = source else { return Ok(None) };
    let bytes = source.bytes.min(BYTES_MAX + 1);
    let read = arena.enter(|| Ok(Reader::new(kernel.copy_in(owner, source.address, bytes)?)));
    let reader = read.map_err(Trouble::Failed)?;
    reader.map(Some).map_err(|fault| wrong(&Wrong::Bytes(fault)))
}
