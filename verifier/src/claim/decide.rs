//! What a branch asks of the frame: the frames for which it is taken, and for which not.
//!
//! Both sides are computed from the comparison, exactly. A comparison that does not depend on the
//! frame, or whose answer is the same for every frame, is simply known.

use alloc::vec::Vec;

use ebpf::{Cond, Width};
use flow::{Base, Rule, Space};

use super::lengths;
use super::lexical;
use super::ranges::Range;
use super::value::{Value, Values};
use super::word::{Word, low_mask};
use crate::limits::CONDITION_RULES_MAX;
use crate::refusal::{Refusal, UndecidedReason};

/// What a comparison comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Always the same.
    Known(bool),
    /// True for the union of the first rules, false for the union of the second.
    Depends(Vec<Rule>, Vec<Rule>),
}

/// What `left cond right` at `pc` asks of the frame.
///
/// # Errors
/// [`crate::RefusalCode::Undecided`].
pub(super) fn decide(
    values: &Values,
    pc: u32,
    (width, cond): (Width, Cond),
    left: &Value,
    right: &Value,
) -> Result<Outcome, Refusal> {
    let bits = match width {
        Width::W32 => 32,
        Width::W64 => 64,
    };
    let undecided = |reason| Err(Refusal::undecided(pc, reason));
    match (left, right) {
        (&Value::Unknown(reason, at), _) | (_, &Value::Unknown(reason, at)) => {
            Err(Refusal::undecided(at, reason))
        }
        (Value::Word(a), Value::Word(b)) => {
            let (a, b) = (a.cut(bits), b.cut(bits));
            match (a.as_constant(), b.as_constant()) {
                (Some(x), Some(y)) => {
                    Ok(Outcome::Known(ebpf::interp::arith::holds(width, cond, x, y)))
                }
                (None, Some(constant)) => word(values, pc, cond, (&a, bits), constant),
                (Some(constant), None) => word(values, pc, flip(cond), (&b, bits), constant),
                (None, None) => match same(a == b, cond) {
                    Some(known) => Ok(Outcome::Known(known)),
                    None => undecided(UndecidedReason::Relation),
                },
            }
        }
        (&Value::Length { base, plus, width }, Value::Word(b)) => match b.cut(bits).as_constant() {
            Some(constant) => length(pc, cond, (base, plus, width), (constant, bits)),
            None => undecided(UndecidedReason::Relation),
        },
        (Value::Word(a), &Value::Length { base, plus, width }) => match a.cut(bits).as_constant() {
            Some(constant) => length(pc, flip(cond), (base, plus, width), (constant, bits)),
            None => undecided(UndecidedReason::Relation),
        },
        // end - place = length - base - bytes, compared with 0; no address wraps.
        (&Value::Place { base, bytes }, Value::End) => {
            let plus = bytes.wrapping_neg().cast_unsigned();
            let cond = flip(signed(cond).ok_or(Refusal::undecided(pc, UndecidedReason::Address))?);
            length(pc, cond, (base, plus, 64), (0, 64))
        }
        (Value::End, &Value::Place { base, bytes }) => {
            let plus = bytes.wrapping_neg().cast_unsigned();
            let cond = signed(cond).ok_or(Refusal::undecided(pc, UndecidedReason::Address))?;
            length(pc, cond, (base, plus, 64), (0, 64))
        }
        (Value::Place { base, bytes }, Value::Place { base: other, bytes: theirs })
            if base == other && signed(cond).is_some() =>
        {
            let cond = signed(cond).unwrap_or(cond);
            let (x, y) = (bytes.cast_unsigned(), theirs.cast_unsigned());
            Ok(Outcome::Known(ebpf::interp::arith::holds(Width::W64, cond, x, y)))
        }
        // A pointer is never null.
        (Value::Word(zero), _) | (_, Value::Word(zero)) if zero.as_constant() == Some(0) => {
            match cond {
                Cond::Eq => Ok(Outcome::Known(false)),
                Cond::Ne => Ok(Outcome::Known(true)),
                _ => undecided(UndecidedReason::Address),
            }
        }
        (Value::Length { .. }, Value::Length { .. }) => undecided(UndecidedReason::Relation),
        _ => undecided(UndecidedReason::Address),
    }
}

/// `a cond b` as `b cond a`.
const fn flip(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

/// An unsigned comparison of addresses as the signed one of offsets.
const fn signed(cond: Cond) -> Option<Cond> {
    match cond {
        Cond::Eq | Cond::Ne => Some(cond),
        Cond::Gt => Some(Cond::Sgt),
        Cond::Ge => Some(Cond::Sge),
        Cond::Lt => Some(Cond::Slt),
        Cond::Le => Some(Cond::Sle),
        _ => None,
    }
}

/// How a number compares with itself.
const fn same(equal: bool, cond: Cond) -> Option<bool> {
    match (equal, cond) {
        (false, _) | (true, Cond::Set) => None,
        (true, Cond::Eq | Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle) => Some(true),
        (true, _) => Some(false),
    }
}

fn word(
    values: &Values,
    pc: u32,
    cond: Cond,
    (word, bits): (&Word, u32),
    constant: u64,
) -> Result<Outcome, Refusal> {
    if cond == Cond::Set {
        if word.plus != 0 {
            return Err(Refusal::undecided(pc, UndecidedReason::Arithmetic));
        }
        let mask = constant & low_mask(bits);
        let (any, none) =
            (lexical::tested(values, word, mask, true), lexical::tested(values, word, mask, false));
        return settle(Some(any), Some(none)).map_err(|limit| limit.at(pc));
    }
    // A word cut to fewer bits than are compared is compared as a smaller number.
    let limit = low_mask(if word.plus == 0 { bits } else { word.width.min(bits) });
    let rules = |wanted: Range| {
        let mut all = Vec::new();
        for (low, high) in wanted.shifted(word.plus, limit).into_iter().flatten() {
            all.extend(lexical::between(values, &word.bits, low, high)?);
        }
        Some(all)
    };
    let wanted = Range::of(cond, constant, bits);
    settle(rules(wanted), rules(wanted.complement())).map_err(|limit| limit.at(pc))
}

fn length(
    pc: u32,
    cond: Cond,
    (base, plus, width): (Base, u64, u32),
    (constant, bits): (u64, u32),
) -> Result<Outcome, Refusal> {
    if cond == Cond::Set {
        return Err(Refusal::undecided(pc, UndecidedReason::Arithmetic));
    }
    let width = width.min(bits);
    let wanted = Range::of(cond, constant, bits);
    settle(
        lengths::rules(base, plus, width, wanted),
        lengths::rules(base, plus, width, wanted.complement()),
    )
    .map_err(|limit| limit.at(pc))
}

/// The outcome, if neither side has too many rules: merging compares each with each.
fn settle(holds: Option<Vec<Rule>>, fails: Option<Vec<Rule>>) -> Result<Outcome, Refusal> {
    let few = |rules: Option<Vec<Rule>>| {
        rules
            .filter(|rules| rules.len() <= CONDITION_RULES_MAX)
            .ok_or_else(|| Refusal::limit("CONDITION_RULES_MAX", CONDITION_RULES_MAX as u64))
    };
    let (holds, fails) = (few(holds)?, few(fails)?);
    Ok(match (holds.is_empty(), fails.is_empty()) {
        (true, _) => Outcome::Known(false),
        (_, true) => Outcome::Known(true),
        _ => Outcome::Depends(merged(holds), merged(fails)),
    })
}

/// As few rules as possible: they are multiplied with others.
fn merged(rules: Vec<Rule>) -> Vec<Rule> {
    match rules.len() {
        0 | 1 => rules,
        _ => Space::from_rules(rules).simplify().into_rules(),
    }
}
