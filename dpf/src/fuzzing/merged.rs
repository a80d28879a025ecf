//! Filters merged, in any order, say what the same filters say one after the other; and code of a
//! merged classifier is only its own plan's.

use alloc::string::String;
use alloc::vec::Vec;
use core::task::Poll;

use runtime::pages::CodePages;
use verifier::{BindingId, Fuel, GrantId, Placement, Registry};

use super::engine::{claim, expression, near};
use super::mutate::{Mutations, mutate};
use crate::check;
use crate::dispatch;
use crate::engine::{Engine, Verdict};
use crate::load::{self, NativeProgram};
use crate::plan::{HashKey, Lane, Plan, SplitRule};

/// Filters of one trial.
const FILTERS: usize = 12;

/// Binds what the bytes name, as far as it is apart from the rest, in one engine and in reverse
/// order in another; takes some out and puts them back. For each frame near any of them all engines
/// and the filters' own programs, run one after the other, must name the same one. Returns the
/// frames compared.
///
/// # Panics
/// If they differ, or a filter is refused in one order only.
#[must_use]
pub fn merged_is_one_by_one(bytes: &[u8], pages: &mut dyn CodePages) -> usize {
    let texts: Vec<String> = bytes
        .chunks_exact(2)
        .take(FILTERS)
        .map(|pair| {
            expression(pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0))
        })
        .collect();
    let mut first = Merged::new(bytes.len() as u64);
    let kept: Vec<&String> = texts.iter().filter(|text| first.bind(text, pages)).collect();
    let mut second = Merged::new(7);
    for text in kept.iter().rev() {
        assert!(second.bind(text, pages), "refused in another order: {text}");
    }
    let third = kept.iter().step_by(3);
    third.clone().for_each(|text| second.release(text, pages));
    third.for_each(|text| assert!(second.bind(text, pages), "refused the second time: {text}"));
    let mut programs: Vec<(&str, NativeProgram)> = Vec::new();
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for text in &kept {
        let Some((claim, space)) = claim(text) else { continue };
        let program = load::load(claim.verified(), pages);
        assert!(program.is_ok(), "{text} does not load");
        programs.extend(program.ok().map(|program| (text.as_str(), program)));
        frames.extend(near(&space));
    }
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut verdicts = alloc::vec![Verdict::Unbound(None); slices.len()];
    first.engine.classify_batch(&slices, &mut verdicts);
    for (frame, verdict) in slices.iter().zip(verdicts) {
        let alone = programs.iter().find(|(_, program)| program.accepts(frame));
        let alone = alone.map(|(text, _)| *text);
        let merged = [
            first.name(first.engine.classify(frame)),
            first.name(first.engine.classify_interpreted(frame)),
            first.name(verdict),
            second.name(second.engine.classify(frame)),
            second.name(second.engine.classify_interpreted(frame)),
        ];
        assert_eq!(merged, [alone; 5], "{}", flow::witness::render(frame));
    }
    programs.into_iter().for_each(|(_, program)| program.free(pages));
    first.clear(pages);
    second.clear(pages);
    slices.len()
}

/// An engine with its registry, and whose bindings are.
struct Merged {
    registry: Registry,
    engine: Engine,
    bound: Vec<(BindingId, String)>,
}

impl Merged {
    fn new(seed: u64) -> Self {
        let (registry, engine) = (Registry::new(), Engine::new(HashKey::new(seed)));
        Self { registry, engine, bound: Vec::new() }
    }

    fn bind(&mut self, text: &str, pages: &mut dyn CodePages) -> bool {
        let id = self.insert(text, pages);
        self.bound.extend(id.map(|id| (id, String::from(text))));
        id.is_some()
    }

    fn insert(&mut self, text: &str, pages: &mut dyn CodePages) -> Option<BindingId> {
        let (claim, _) = claim(text)?;
        let mut proof = Placement::bind(&self.registry, GrantId::ROOT, claim).ok()?;
        let step = proof.step(&self.registry, &mut Fuel(u32::MAX));
        let Poll::Ready(Ok(placed)) = step else { return None };
        let owned = self.registry.own(placed).ok()?;
        self.engine.insert(owned, pages).ok()
    }

    fn release(&mut self, text: &str, pages: &mut dyn CodePages) {
        let Some(at) = self.bound.iter().position(|(_, known)| known == text) else { return };
        let (id, _) = self.bound.swap_remove(at);
        assert!(self.registry.release(id).is_some() && self.engine.remove(id, pages));
    }

    fn name(&self, verdict: Verdict) -> Option<&str> {
        let Verdict::Bound(id) = verdict else { return None };
        self.bound.iter().find(|(known, _)| *known == id).map(|(_, text)| text.as_str())
    }

    fn clear(mut self, pages: &mut dyn CodePages) {
        for (id, _) in core::mem::take(&mut self.bound) {
            assert!(self.engine.remove(id, pages));
        }
    }
}

/// Changes single bytes of the code of a classifier that the bytes make, as
/// [`super::mutations`] does with programs.
///
/// # Panics
/// If the unchanged code is refused, or changed code means something else and is accepted.
pub fn classifier_mutations(bytes: &[u8]) -> Mutations {
    let count = bytes.first().map_or(1, |byte| usize::from(byte % 6) + 1);
    let mut lanes: Vec<Lane> = Vec::new();
    for pair in bytes.chunks_exact(2).take(count) {
        let [which, value] = [pair.first(), pair.last()].map(|byte| byte.copied().unwrap_or(0));
        let space = flow::expr::parse(&expression(which, value)).ok();
        let Some(space) = space.and_then(|text| text.to_space().ok()) else { continue };
        for rule in space.rules().iter().filter_map(|rule| SplitRule::of(rule).ok()) {
            match lanes.iter_mut().find(|lane| lane.shape == rule.shape) {
                Some(lane) => {
                    let Some(roles) = lane.widened(&rule.values) else { continue };
                    *lane = Lane::new(rule.shape, roles, value % 2 == 0);
                }
                None => lanes.push(Lane::single(&rule.shape, &rule.values)),
            }
        }
    }
    let plan = Plan::new(lanes, HashKey::new(u64::from(bytes.last().copied().unwrap_or(0))));
    let Ok(emitted) = dispatch::emit(&plan) else { return Mutations::default() };
    let entries = (emitted.full, emitted.prefetch);
    mutate(&emitted.bytes, |code| check::accepts_classifier(&plan, code, entries))
}
