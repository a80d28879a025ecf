//! Taking one rule out of another.
//!
//! `piece \ rule` is the union, over the rule's tests in order, of the piece with all earlier
//! tests and without this one: disjoint rules again, without a case split. Not to satisfy a test
//! on a cell with a constant address is to have another value there (the length comes first, so
//! the cell is known to exist). Behind a header base the cell may also be missing; for each value
//! of the guard that is a limit on the length, which is a rule.

use alloc::vec::Vec;
use core::mem;

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::error::FlowError;
use crate::length::LengthRange;
use crate::limits::{FRAME_MAX, FRAME_MIN};
use crate::rule::Rule;
use crate::space::Space;

/// How many tests [`take_test`] knows of `rule`: its length and its cells.
pub(crate) fn test_count(rule: &Rule) -> usize {
    1 + rule.cells().len()
}

/// Splits `piece` at test number `index` of `rule`: hands those parts that fail it to `outside`,
/// and returns the part that passes. A bounded step: at most 257 parts.
pub(crate) fn take_test(
    piece: &Rule,
    rule: &Rule,
    index: usize,
    outside: &mut Vec<Rule>,
) -> Option<Rule> {
    let Some((cell, set)) = index.checked_sub(1).and_then(|index| rule.cells().nth(index)) else {
        return take_length(piece, rule.length(), outside);
    };
    outside.extend(piece.with(cell, set.complement()));
    if let Base::Header(base) = cell.base
        && !piece.implies_existence(cell)
    {
        missing(piece, base, cell, outside);
    }
    piece.with(cell, set)
}

fn take_length(piece: &Rule, range: LengthRange, outside: &mut Vec<Rule>) -> Option<Rule> {
    if range.min > FRAME_MIN {
        let below = LengthRange::new(FRAME_MIN, range.min - 1);
        outside.extend(below.and_then(|below| piece.with_length(below)));
    }
    if range.max < FRAME_MAX {
        let above = LengthRange::new(range.max + 1, FRAME_MAX);
        outside.extend(above.and_then(|above| piece.with_length(above)));
    }
    piece.with_length(range)
}

/// The frames of `piece` that end before `cell`, one rule for each value of its guard. The guard
/// itself exists: the rule's length, which is tested first, reaches that far.
fn missing(piece: &Rule, base: HeaderBase, cell: Cell, outside: &mut Vec<Rule>) {
    let guard = Cell::frame(base.at);
    for length in piece.lengths(base) {
        let end = base.address(length, cell.offset).unwrap_or(FRAME_MAX);
        let Some(range) = LengthRange::new(FRAME_MIN, end) else { continue };
        let short = piece
            .with_length(range)
            .and_then(|short| short.with(guard, ByteSet::masked(length, base.mask)));
        outside.extend(short);
    }
}

/// `from \ what` as rules, with at most `budget` rules made.
pub(crate) fn subtract(from: &Space, what: &Space, budget: usize) -> Result<Vec<Rule>, FlowError> {
    let mut made = 0usize;
    let mut pieces = from.rules().to_vec();
    for rule in what.rules() {
        let mut rest = Vec::new();
        for piece in mem::take(&mut pieces) {
            if piece.is_plainly_inside(rule) {
                continue;
            }
            if piece.intersect(rule).is_none() {
                rest.push(piece);
                continue;
            }
            let before = rest.len();
            remove(piece, rule, &mut rest);
            made += rest.len() - before;
            if made > budget {
                return Err(FlowError::Budget { limit: "PIECES_MAX" });
            }
        }
        pieces = rest;
    }
    Ok(pieces)
}

fn remove(piece: Rule, rule: &Rule, outside: &mut Vec<Rule>) {
    let mut inside = piece;
    for index in 0..test_count(rule) {
        match take_test(&inside, rule, index, outside) {
            Some(next) => inside = next,
            None => return,
        }
    }
}
