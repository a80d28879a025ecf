//! From a space to an expression that a person can read.
//!
//! For each rule, candidates are tried in the order in which a person would say them. A candidate
//! is kept if the text so far, parsed again, is one rule around the rule to be described, and a
//! smaller one than before. What is left unsaid is said byte by byte. So the text means the space
//! by construction: `parse(&describe(s))` gives the same set.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::parse;
use crate::byteset::ByteSet;
use crate::cell::Cell;
use crate::field::Field;
use crate::headers::Link;
use crate::rule::Rule;
use crate::space::Space;
use known::may_be_tagged;
use text::Text;

mod known;
mod text;

/// An expression for `space`: its rules, joined by `or`.
#[must_use]
pub fn describe(space: &Space) -> String {
    let mut groups = groups(space.simplify().into_rules());
    // `vlan` moves all that is written after it, so only the last group may say the word.
    groups.sort_by_key(|group| group.iter().any(|rule| may_be_tagged(rule, Link::PLAIN)));
    let count = groups.len();
    let mut all: Vec<String> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let is_last = index + 1 == count;
        match Text::of_group(group, is_last) {
            Some(text) => all.push(text),
            None => all.extend(group.iter().enumerate().map(|(index, rule)| {
                Text::of(core::slice::from_ref(rule), is_last && index + 1 == group.len()).text
            })),
        }
    }
    match all.as_slice() {
        [] => "none".to_string(),
        [text] => text.clone(),
        texts => texts.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(" or "),
    }
}

/// Rules that one phrase may cover: those that differ in one field only, a range of which takes
/// several rules, or the protocol of the tag, of which `vlan` means several.
fn groups(rules: Vec<Rule>) -> Vec<Vec<Rule>> {
    let mut groups: Vec<(Option<Field>, Vec<Rule>)> = Vec::new();
    for rule in rules {
        let found = groups.iter_mut().find_map(|(field, group)| {
            let of_group = *field;
            let mut fields =
                varying(&rule).filter(|&own| of_group.is_none_or(|field| field == own));
            let shared = fields.find(|&field| differ_only_in(&group[0], &rule, field))?;
            *field = Some(shared);
            Some(group)
        });
        match found {
            Some(group) => group.push(rule),
            None => groups.push((None, alloc::vec![rule])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Fields of `rule` that one word covers several rules of.
fn varying(rule: &Rule) -> impl Iterator<Item = Field> {
    let v4 = Link::PLAIN.ipv4().payload().within(rule);
    let v6 = Link::PLAIN.ipv6().payload();
    let ports = [v4.destination_port(), v4.source_port(), v6.destination_port(), v6.source_port()];
    core::iter::once(Link::PLAIN.ethertype()).chain(ports)
}

fn differ_only_in(one: &Rule, other: &Rule, field: Field) -> bool {
    let outside = |rule: &Rule| -> Vec<(Cell, ByteSet)> {
        rule.cells().filter(|(cell, _)| field.cells().all(|own| own != *cell)).collect()
    };
    one.length() == other.length() && outside(one) == outside(other)
}
