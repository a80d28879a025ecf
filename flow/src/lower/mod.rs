//! From a space to a filter that accepts exactly it.
//!
//! The filter is loop-free and keeps to the shape that a claim extractor reads back: for each rule
//! in turn its length tests, its loads at constant offsets, then one group of loads for each
//! header base; the first test that fails goes on to the next rule, a rule that passes returns 1.
//!
//! ```text
//! r2 = data; r3 = data_end
//! rule:  r6 = r2; r6 += 34; if r6 > r3 goto next            length, and room for the loads
//!        r5 = *(u16 *)(r2 + 12); if r5 != 8 goto next       adjacent exact bytes in one load
//!        r5 = *(u8 *)(r2 + 14); if r5 < 0x45 goto next; if r5 > 0x4f goto next
//!        r5 = *(u8 *)(r2 + 14); r5 &= 15; r5 <<= 2; r4 = r2; r4 += r5
//!        r6 = r4; r6 += 18; if r6 > r3 goto next
//!        r5 = *(u16 *)(r4 + 16); if r5 != 0x611e goto next
//!        r0 = 1; exit
//! next:  ...
//!        r0 = 0; exit
//! ```
//!
//! A rule that accepts everything ends the filter.
//!
//! Registers r0 to r6 only, no stack, no helper.

use alloc::vec::Vec;
use core::fmt;

use ebpf::{DecodeError, Kind, Program};

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::error::FlowError;
use crate::length::LengthRange;
use crate::limits::{FRAME_MAX, FRAME_MIN};
use crate::rule::Rule;
use crate::space::Space;
use emit::{Emitter, Place};

mod emit;
mod set;

/// Why a space has no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LowerError {
    /// A rule whose header bases reach too far had to be split, and the split was given up.
    Split(FlowError),
    /// The filter is no program: in practice, it is too long.
    Program(DecodeError),
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LowerError::Split(error) => write!(f, "the space cannot be split: {error}"),
            LowerError::Program(error) => write!(f, "the space makes no filter: {error}"),
        }
    }
}

impl core::error::Error for LowerError {}

/// The filter that accepts exactly `space`.
///
/// # Errors
/// [`LowerError`]; none for spaces that pass [`Space::check`], as far as they fit into a program.
pub fn lower(space: &Space) -> Result<Program, LowerError> {
    let mut emitter = Emitter::new();
    emitter.prologue();
    for rule in space.rules() {
        if is_everything(rule) {
            // What would follow could not be reached, and verifiers refuse that.
            emitter.verdict(1);
            return program(emitter);
        }
        if rule.cells().all(|(cell, _)| is_near(cell)) {
            lower_rule(&mut emitter, rule);
            continue;
        }
        for case in rule.absolute().map_err(LowerError::Split)? {
            lower_rule(&mut emitter, &case);
        }
    }
    emitter.verdict(0);
    program(emitter)
}

fn program(emitter: Emitter) -> Result<Program, LowerError> {
    Program::from_insns(Kind::Filter, emitter.finish()).map_err(LowerError::Program)
}

/// Whether the rule accepts every frame there is.
fn is_everything(rule: &Rule) -> bool {
    rule.cells().len() == 0 && rule.length() == LengthRange::ALL
}

/// Whether the cell is always close enough to be reached by adding a bounded number to `data`: what
/// verifiers admit, here and in Linux (`MAX_PACKET_OFF`, 65,535 bytes).
fn is_near(cell: Cell) -> bool {
    let Base::Header(base) = cell.base else { return true };
    let reach = u64::from(base.longest());
    let constant = u64::from(base.add) + u64::from(cell.offset) + 1;
    reach + constant <= u64::from(u16::MAX)
}

fn lower_rule(emitter: &mut Emitter, rule: &Rule) {
    let length = rule.length();
    if length.min > FRAME_MIN || rule.cells().len() > 0 {
        emitter.require_end(Place::Frame, length.min);
    }
    if length.max < FRAME_MAX {
        emitter.require_length_at_most(length.max);
    }
    let tests: Vec<(Cell, ByteSet)> = rule.cells().collect();
    for group in tests.chunk_by(|(a, _), (b, _)| a.base == b.base) {
        let (place, constant) = match group[0].0.base {
            Base::Frame => (Place::Frame, 0),
            Base::Header(base) => (Place::Header, enter_header(emitter, base, group)),
        };
        for run in group.chunk_by(may_share_a_load) {
            lower_run(emitter, place, constant, run);
        }
    }
    emitter.verdict(1);
    emitter.next_rule();
}

/// Computes the base's address and requires the furthest cell of the group to exist. Returns what
/// is to be added to the offsets.
fn enter_header(emitter: &mut Emitter, base: HeaderBase, group: &[(Cell, ByteSet)]) -> u16 {
    emitter.load_base(base);
    let furthest = group.iter().map(|(cell, _)| cell.offset).max().unwrap_or(0);
    emitter.require_end(Place::Header, base.add + furthest + 1);
    base.add
}

/// Neighbours with one value each are compared together.
fn may_share_a_load(a: &(Cell, ByteSet), b: &(Cell, ByteSet)) -> bool {
    a.0.offset + 1 == b.0.offset && a.1.single().is_some() && b.1.single().is_some()
}

/// One byte with any set, or adjacent bytes with one value each.
fn lower_run(emitter: &mut Emitter, place: Place, constant: u16, run: &[(Cell, ByteSet)]) {
    let values: Option<Vec<u8>> = run.iter().map(|(_, set)| set.single()).collect();
    let Some(values) = values else {
        for &(cell, set) in run {
            set::require(emitter, place, constant + cell.offset, set);
        }
        return;
    };
    let mut offset = constant + run[0].0.offset;
    let mut rest = values.as_slice();
    while !rest.is_empty() {
        let size = match rest.len() {
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        let (now, later) = rest.split_at(size);
        emitter.require_bytes(place, offset, now);
        offset += size as u16;
        rest = later;
    }
}
