//! The decision graph: what is tested before which lane is looked into.
//!
//! The idea: tests that lanes share are made once. A block is a list of steps; a step that fails
//! leaves its block, and what follows the block goes on. First come the tests that all lanes of a
//! block have in common; then, if lanes want different values of the same bytes, one load and a
//! comparison per value, with the lanes of each value behind it; then the others. A lane stands in
//! the graph once, so the code grows with the lanes and not with their combinations.
//!
//! The graph decides cost, never verdicts: [`crate::Engine::classify_interpreted`] does without it.

use alloc::vec::Vec;

use super::lane::Lane;
use super::shape::ByteRange;
use super::window::{TestedByte, Window, tests};

/// Bytes of one switch at most.
const SWITCH_BYTES: usize = 2;

/// Steps in order.
pub(crate) type Block = Vec<Step>;

/// One step; those that test leave the block if they fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The frame has at least so many bytes.
    Length(u16),
    /// A byte is in a range.
    Range(ByteRange),
    /// Bytes have a value.
    Test(Window),
    /// The block of the value that the bytes have, if there is one; then the next step.
    Switch(Window, Vec<(u64, Block)>),
    /// Another block; then the next step.
    Nested(Block),
    /// Look into a lane.
    Look(usize),
}

/// What is known where a block begins.
#[derive(Debug, Clone)]
struct Known {
    length: u16,
    ranges: Vec<ByteRange>,
    /// (offset, mask) of bytes that were compared.
    bytes: Vec<(u16, u8)>,
}

/// The graph of all lanes.
pub(crate) fn build(lanes: &[Lane]) -> Block {
    let all: Vec<usize> = (0..lanes.len()).collect();
    if all.is_empty() {
        return Vec::new();
    }
    block(lanes, &all, Known { length: 0, ranges: Vec::new(), bytes: Vec::new() })
}

/// A block for some lanes, at least one. Each call has fewer lanes than the one that it is in, or
/// one lane, so the depth is bounded by their number.
fn block(lanes: &[Lane], members: &[usize], mut known: Known) -> Block {
    let of = |at: &usize| lanes.get(*at);
    let mut steps = Vec::new();
    let least = members.iter().filter_map(of).map(|lane| lane.shape.min_length).min().unwrap_or(0);
    if least > known.length {
        steps.push(Step::Length(least));
        known.length = least;
    }
    let Some(first) = members.first().and_then(of) else { return steps };
    let everyone = |test: &dyn Fn(&Lane) -> bool| members.iter().filter_map(of).all(test);
    for range in &first.shape.ranges {
        let shared = everyone(&|lane| lane.shape.ranges.contains(range));
        if shared && !known.ranges.contains(range) {
            steps.push(Step::Range(*range));
            known.ranges.push(*range);
        }
    }
    let fresh = |known: &Known, byte: &TestedByte| !known.bytes.contains(&(byte.0, byte.1));
    let shared: Vec<TestedByte> = (first.constants.iter().copied())
        .filter(|byte| fresh(&known, byte) && everyone(&|lane| lane.constants.contains(byte)))
        .collect();
    steps.extend(tests(&shared, known.length).into_iter().map(Step::Test));
    known.bytes.extend(shared.iter().map(|byte| (byte.0, byte.1)));
    if let [only] = members {
        steps.push(Step::Look(*only));
        return steps;
    }
    let Some(field) = choice(lanes, members, &known) else {
        let nested = |at: &usize| Step::Nested(block(lanes, &[*at], known.clone()));
        steps.extend(members.iter().map(nested));
        return steps;
    };
    switch(lanes, members, &known, &field, &mut steps);
    steps
}

/// One load, and a block for each value; then those that do not care.
fn switch(
    lanes: &[Lane],
    members: &[usize],
    known: &Known,
    field: &[(u16, u8)],
    steps: &mut Block,
) {
    let value_of = |at: usize| -> Option<Vec<TestedByte>> {
        let constants = &lanes.get(at)?.constants;
        let byte = |(offset, mask): &(u16, u8)| {
            constants.iter().find(|byte| byte.0 == *offset && byte.1 == *mask).copied()
        };
        field.iter().map(byte).collect()
    };
    let mut values: Vec<(Vec<TestedByte>, Vec<usize>)> = Vec::new();
    let mut others = Vec::new();
    for member in members {
        match value_of(*member) {
            None => others.push(*member),
            Some(value) => match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, group)) => group.push(*member),
                None => values.push((value, alloc::vec![*member])),
            },
        }
    }
    let mut inner = known.clone();
    inner.bytes.extend_from_slice(field);
    let mut load = None;
    let mut cases = Vec::new();
    for (value, group) in &values {
        let Some(window) = tests(value, known.length).first().copied() else { continue };
        load = Some(Window { value: 0, ..window });
        cases.push((window.value, block(lanes, group, inner.clone())));
    }
    steps.extend(load.map(|load| Step::Switch(load, cases)));
    if !others.is_empty() {
        steps.push(Step::Nested(block(lanes, &others, known.clone())));
    }
}

/// The bytes that tell most lanes apart: (offset, mask) each. `None` if all that want a byte want
/// the same of it.
fn choice(lanes: &[Lane], members: &[usize], known: &Known) -> Option<Vec<(u16, u8)>> {
    let wanting = |at: u16, mask: u8| -> Vec<(usize, u8)> {
        let all = members.iter().filter_map(|member| Some((*member, lanes.get(*member)?)));
        let value = |lane: &Lane| {
            lane.constants.iter().find(|byte| byte.0 == at && byte.1 == mask).map(|byte| byte.2)
        };
        all.filter_map(|(member, lane)| Some((member, value(lane)?))).collect()
    };
    let mut best: Option<(usize, u16, u8)> = None;
    for lane in members.iter().filter_map(|member| lanes.get(*member)) {
        for (at, mask, value) in &lane.constants {
            // Behind the length that all have, or tested already.
            if *at >= known.length || known.bytes.contains(&(*at, *mask)) {
                continue;
            }
            let who = wanting(*at, *mask);
            let differ = who.iter().any(|(_, other)| other != value);
            let better = best.is_none_or(|(most, first, _)| {
                (who.len(), core::cmp::Reverse(*at)) > (most, core::cmp::Reverse(first))
            });
            if differ && better {
                best = Some((who.len(), *at, *mask));
            }
        }
    }
    let (_, at, mask) = best?;
    let mut field = alloc::vec![(at, mask)];
    let who = |at: u16, mask: u8| wanting(at, mask).iter().map(|(who, _)| *who).collect::<Vec<_>>();
    while let Some(next) = field.last().and_then(|(last, _)| last.checked_add(1)) {
        let same = next < known.length && who(at, mask) == who(next, mask);
        if !same || known.bytes.contains(&(next, mask)) || field.len() >= SWITCH_BYTES {
            break;
        }
        field.push((next, mask));
    }
    Some(field)
}
