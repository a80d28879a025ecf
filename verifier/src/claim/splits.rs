//! Going on in cases: what a state becomes once one more bit of the frame is known.
//!
//! Where an address depends on two lengths (a TCP data offset behind an IPv4 header length), or a
//! sum's bits are asked for, the extraction goes on twice from the same instruction. A [`Split`] is
//! the condition that tells the two apart and the states that they go on with; every frame is in
//! exactly one of them, so nothing is lost or added. Each split knows one more bit, so there is an
//! end.

use flow::{Base, ByteSet, Cell, HeaderBase, Rule};

use super::machine::Machine;
use super::sums::{self, Lowest};
use super::value::{Value, ValueId, Values};
use super::word::{Bit, Word};
use crate::limits::SPLIT_BITS_MAX;
use crate::refusal::{Refusal, UndecidedReason};

/// What must be known before an instruction can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The bits of this sum.
    Sum(ValueId),
    /// This bit of this source.
    Bit(u32, u32),
}

/// How it goes on.
#[derive(Debug)]
pub(super) enum Split {
    /// For all frames alike.
    Same(Machine),
    /// For those in the rule with the first state, for the others with the second.
    Cases(Rule, Rule, [Machine; 2]),
}

/// The bit that has to be known before a word can be added to a place, if few enough do; the word
/// is no header's length there.
pub(super) fn of_address(
    values: &mut Values,
    base: Base,
    by: &Word,
) -> Result<Option<Ask>, Refusal> {
    let variable = by.bits.iter().rev().filter_map(|bit| bit.source());
    let of_word = variable.clone().count() as u32;
    let mut bases = variable.clone().map(|(source, _, _)| values.root(source).base);
    let base = if base == Base::Frame { bases.find(|it| *it != Base::Frame) } else { Some(base) };
    let of_base = match base {
        Some(Base::Header(header)) => Some(header),
        _ => None,
    };
    let guarded = of_base.map_or(u32::MAX, |header| header.mask.count_ones());
    if of_word.min(guarded) > SPLIT_BITS_MAX {
        return Ok(None);
    }
    if let Some(header) = of_base.filter(|_| guarded < of_word) {
        let source = values.cell(Cell::frame(header.at))?;
        return Ok(Some(Ask::Bit(source, header.mask.ilog2())));
    }
    let highest = by.bits.iter().rev().find_map(|bit| bit.source());
    Ok(highest.map(|(source, bit, _)| Ask::Bit(source, bit)))
}

/// The two ways on from `machine`, before the instruction at `pc`.
///
/// # Errors
/// The table of values is full.
pub(super) fn split(
    values: &mut Values,
    machine: &Machine,
    pc: u32,
    ask: Ask,
) -> Result<Split, Refusal> {
    match ask {
        Ask::Bit(source, bit) => {
            let set = ByteSet::from_fn(|raw| values.byte(source, raw) >> bit & 1 == 1);
            let mut side = |one| machine.map(|value| known_bit(values, value, (source, bit, one)));
            let sides = [side(true)?, side(false)?];
            Ok(cases(values.root(source), set, sides))
        }
        Ask::Sum(id) => {
            let Value::Word(sum) = values.get(id) else { return Ok(Split::Same(machine.clone())) };
            let lost = Value::Unknown(UndecidedReason::Arithmetic, pc);
            let lowest = sums::lowest(values, &sum)?;
            let mut with = |value: Value| {
                let new = values.intern(value)?;
                machine.map(|old| Ok(if old == id { new } else { old }))
            };
            match lowest {
                Lowest::Settled(word) => with(Value::Word(word)).map(Split::Same),
                Lowest::Deep => with(lost).map(Split::Same),
                Lowest::Split { source, carries, with: one, without } => {
                    let sides = [with(Value::Word(one))?, with(Value::Word(without))?];
                    Ok(cases(values.root(source), carries, sides))
                }
            }
        }
    }
}

/// The cases of a byte that is in a set, or not.
fn cases(cell: Cell, set: ByteSet, sides: [Machine; 2]) -> Split {
    let [inside, outside] = [set, set.complement()].map(|set| Rule::any().with(cell, set));
    let [yes, no] = sides;
    match (inside, outside) {
        (Some(inside), Some(outside)) => Split::Cases(inside, outside, [yes, no]),
        (Some(_), None) => Split::Same(yes),
        _ => Split::Same(no),
    }
}

/// A value once the bit of a source is known.
fn known_bit(
    values: &mut Values,
    id: ValueId,
    (source, bit, one): (u32, u32, bool),
) -> Result<ValueId, Refusal> {
    let guard = values.plain(source).filter(|cell| cell.base == Base::Frame);
    let rebase = |base: Base| match (base, guard) {
        (Base::Header(header), Some(guard)) if header.at == guard.offset => {
            known_length(header, bit, one)
        }
        _ => (base, 0),
    };
    let moved = match values.get(id) {
        Value::Word(word) => {
            let mut known = word;
            // Bits of one source stand together.
            let mut last = None;
            for place in &mut known.bits {
                let Some((of, number, inverted)) = place.source() else { continue };
                if (of, number) == (source, bit) {
                    *place = if one != inverted { Bit::ONE } else { Bit::ZERO };
                    continue;
                }
                let moved = match last {
                    Some((from, moved)) if from == of => moved,
                    _ => {
                        let (base, further) = rebase(values.root(of).base);
                        let to = |cell: Cell| {
                            let offset = cell.offset.saturating_add(further);
                            Cell { base, offset }
                        };
                        values.moved(of, to)?
                    }
                };
                last = Some((of, moved));
                let bit = Bit::of(moved, number);
                *place = if inverted { bit.not() } else { bit };
            }
            Value::Word(known.normal())
        }
        Value::Place { base, bytes } => {
            let (base, further) = rebase(base);
            Value::Place { base, bytes: bytes.saturating_add(further.into()) }
        }
        Value::Length(measure) => {
            let (base, further) = rebase(measure.base);
            Value::Length(measure.moved(base, further))
        }
        other => other,
    };
    values.intern(moved)
}

/// A base once a bit of its guard is known, and how much further things lie behind it.
fn known_length(header: HeaderBase, bit: u32, one: bool) -> (Base, u16) {
    let known = header.mask & 1 << bit;
    let mask = header.mask & !known;
    let length = if one { header.scaled(known).unwrap_or(0) } else { 0 };
    // Every base that is made has a length of at most `HEADER_MAX`.
    let add = header.add.saturating_add(u16::try_from(length).unwrap_or(u16::MAX));
    match mask {
        0 => (Base::Frame, add),
        _ => (Base::Header(HeaderBase { mask, add, ..header }), 0),
    }
}
