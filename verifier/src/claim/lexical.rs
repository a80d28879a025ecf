//! Numbers made of bits of the frame, in a range: as rules over bytes.
//!
//! A number is compared from its highest bit down, in groups of adjacent bits that come from the
//! same byte. Where the bounds differ first the values between them are free below; along each
//! bound the comparison goes on. A range over `n` bytes so becomes at most `2n - 1` rules, exactly.

use alloc::vec::Vec;

use flow::{ByteSet, Cell, Rule};

use super::value::Values;
use super::word::{Bit, Word, low_mask};
use crate::limits::CONDITION_RULES_MAX;

/// Adjacent bits of a number that come from one byte, or are constant.
struct Group {
    /// Where the bits come from, and the byte that this depends on; `None` if they are constant.
    source: Option<(u32, Cell)>,
    /// Position of the lowest bit.
    low: u32,
    /// Number of bits.
    bits: u32,
    /// From the lowest: number of the byte's bit, and whether it is inverted.
    sources: [(u8, bool); 64],
    /// The byte's bit that is the lowest, if the others follow it and none is inverted: nearly
    /// always, and quick to work with.
    straight: Option<u8>,
}

impl Group {
    /// The group's bits of `number`.
    fn of(&self, number: u64) -> u64 {
        number >> self.low & low_mask(self.bits)
    }

    /// The group's value when the byte is `byte`.
    fn value(&self, byte: u8) -> u64 {
        if let Some(first) = self.straight {
            return u64::from(byte) >> first & low_mask(self.bits);
        }
        let mut value = 0;
        for (at, &(bit, inverted)) in self.sources.iter().enumerate().take(self.bits as usize) {
            value |= u64::from((byte >> bit & 1 == 1) != inverted) << at;
        }
        value
    }

    /// `rule` where the group's value is as `wanted`; `None` if that is empty.
    fn narrow(&self, values: &Values, rule: &Rule, wanted: impl Fn(u64) -> bool) -> Option<Rule> {
        match self.source {
            Some((source, cell)) => {
                let plain = values.plain(source).is_some();
                let byte = |raw| if plain { raw } else { values.byte(source, raw) };
                rule.with(cell, ByteSet::from_fn(|raw| wanted(self.value(byte(raw)))))
            }
            None => wanted(self.value(0)).then(|| rule.clone()),
        }
    }
}

/// The frames in which the number of `bits` is at least `low` and at most `high`; `None` if the
/// bits are scattered over so many bytes that the rules were too many.
pub(super) fn between(values: &Values, bits: &[Bit; 64], low: u64, high: u64) -> Option<Vec<Rule>> {
    let groups = groups(values, bits);
    // Along each bound every group gives a rule, constant ones none.
    let variable = groups.iter().filter(|group| group.source.is_some()).count();
    (2 * variable <= CONDITION_RULES_MAX).then(|| within(values, &groups, low, high))
}

fn within(values: &Values, groups: &[Group], low: u64, high: u64) -> Vec<Rule> {
    let mut found = Vec::new();
    let mut prefix = Rule::any();
    for (index, group) in groups.iter().enumerate() {
        let (from, to) = (group.of(low), group.of(high));
        let rest = groups.get(index + 1..).unwrap_or(&[]);
        if from != to {
            let (free_low, free_high) = (is_free(low, group, true), is_free(high, group, false));
            found.extend(group.narrow(values, &prefix, |value| {
                (from < value || free_low && from == value)
                    && (value < to || free_high && value == to)
            }));
            for (edge, bound, above) in [(from, low, true), (to, high, false)] {
                if !is_free(bound, group, above) {
                    let along = group.narrow(values, &prefix, |value| value == edge);
                    found.extend(
                        along
                            .into_iter()
                            .flat_map(|rule| beyond(values, rule, rest, (bound, above))),
                    );
                }
            }
            return found;
        }
        match group.narrow(values, &prefix, |value| value == from) {
            Some(rule) => prefix = rule,
            None => return found,
        }
    }
    found.push(prefix);
    found
}

/// Whether the bound allows everything below a group, once the group itself is at the bound.
fn is_free(bound: u64, group: &Group, above: bool) -> bool {
    let below = low_mask(group.low);
    bound & below == if above { 0 } else { below }
}

/// `prefix` where the groups' number is at least (`above`) or at most `bound`.
fn beyond(
    values: &Values,
    prefix: Rule,
    groups: &[Group],
    (bound, above): (u64, bool),
) -> Vec<Rule> {
    let mut found = Vec::new();
    let mut prefix = prefix;
    for group in groups {
        let edge = group.of(bound);
        let free = is_free(bound, group, above);
        found.extend(group.narrow(values, &prefix, |value| {
            let inside = if above { value > edge } else { value < edge };
            inside || free && value == edge
        }));
        if free {
            return found;
        }
        match group.narrow(values, &prefix, |value| value == edge) {
            Some(rule) => prefix = rule,
            None => return found,
        }
    }
    found.push(prefix);
    found
}

/// The frames in which some (`any`) or none of the bits in `mask` is 1. The word is no sum.
pub(super) fn tested(values: &Values, word: &Word, mask: u64, any: bool) -> Vec<Rule> {
    let mut cells: Vec<(Cell, ByteSet)> = Vec::new();
    for (_, bit) in word.bits.iter().enumerate().filter(|&(at, _)| mask >> at & 1 == 1) {
        let Some((source, number, inverted)) = bit.source() else {
            match (*bit == Bit::ONE, any) {
                (true, true) => return alloc::vec![Rule::any()],
                (true, false) => return Vec::new(),
                (false, _) => continue,
            }
        };
        let cell = values.root(source);
        let is_zero = |raw| (values.byte(source, raw) >> number & 1 == 1) == inverted;
        let zero = match values.plain(source) {
            Some(_) => ByteSet::masked(if inverted { 0xff } else { 0 }, 1 << number),
            None => ByteSet::from_fn(is_zero),
        };
        match cells.iter_mut().find(|entry| entry.0 == cell) {
            Some(entry) => entry.1 = entry.1.intersect(zero),
            None => cells.push((cell, zero)),
        }
    }
    if any {
        let one = |&(cell, zeros): &(Cell, ByteSet)| Rule::any().with(cell, zeros.complement());
        return cells.iter().filter_map(one).collect();
    }
    let mut all = Rule::any();
    let empty = cells.iter().any(|&(cell, zeros)| !all.restrict(cell, zeros));
    if empty { Vec::new() } else { alloc::vec![all] }
}

/// The groups of a number, highest first.
fn groups(values: &Values, bits: &[Bit; 64]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, bit) in (0u32..).zip(bits) {
        let (of, source) = match bit.source() {
            Some((of, number, inverted)) => (Some((of, values.root(of))), (number as u8, inverted)),
            // Bit 0 of the byte 0, inverted for a 1.
            None => (None, (0, *bit == Bit::ONE)),
        };
        match groups.last_mut().filter(|group| group.source == of) {
            Some(group) => {
                if let Some(entry) = group.sources.get_mut(group.bits as usize) {
                    *entry = source;
                }
                group.bits += 1;
            }
            None => {
                let mut sources = [(0, false); 64];
                sources[0] = source;
                groups.push(Group { source: of, low: at, bits: 1, sources, straight: None });
            }
        }
    }
    for group in &mut groups {
        let (first, _) = group.sources[0];
        let mut sources = (first..).zip(&group.sources).take(group.bits as usize);
        let straight = sources.all(|(bit, &source)| source == (bit, false));
        group.straight = straight.then_some(first);
    }
    groups.reverse();
    groups
}
