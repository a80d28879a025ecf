//! What a branch asks of the frame: the frames for which it is taken, and for which not.
//!
//! Both sides are computed from the comparison, exactly. A comparison that does not depend on the
//! frame, or whose answer is the same for every frame, is simply known.

use alloc::vec::Vec;

use ebpf::interp::arith::holds;
use ebpf::{Cond, Width};
use flow::{Rule, Space};

use super::lengths::{self, Rules};
use super::lexical;
use super::measure::Measure;
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
    /// True for the union of the first rules, false for the union of the second; `None` where those
    /// were more than `CONDITION_RULES_MAX`.
    Depends(Rules, Rules),
    /// It asks for single bits of a sum, that is first to be taken apart.
    Carry(Operand),
}

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Left,
    Right,
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
                (Some(x), Some(y)) => Ok(Outcome::Known(holds(width, cond, x, y))),
                (None, Some(_)) if cond == Cond::Set && a.plus != 0 => {
                    Ok(Outcome::Carry(Operand::Left))
                }
                (Some(_), None) if cond == Cond::Set && b.plus != 0 => {
                    Ok(Outcome::Carry(Operand::Right))
                }
                (None, Some(constant)) => Ok(word(values, cond, (&a, bits), constant)),
                (Some(constant), None) => Ok(word(values, flip(cond), (&b, bits), constant)),
                (None, None) => match same(a == b, cond) {
                    Some(known) => Ok(Outcome::Known(known)),
                    None => undecided(UndecidedReason::Relation),
                },
            }
        }
        (Value::Length(measure), Value::Word(b)) => match b.cut(bits).as_constant() {
            Some(constant) => {
                Ok(length(measure, (width, cond, constant), |it| holds(width, cond, it, constant)))
            }
            None => undecided(UndecidedReason::Relation),
        },
        (Value::Word(a), Value::Length(measure)) => match a.cut(bits).as_constant() {
            Some(constant) => {
                Ok(length(measure, (width, cond, constant), |it| holds(width, cond, constant, it)))
            }
            None => undecided(UndecidedReason::Relation),
        },
        // end - place = length - base - bytes, compared with 0; no address wraps.
        (&Value::Place { base, bytes }, Value::End) => {
            let measure = Measure::new(base, bytes.wrapping_neg().cast_unsigned());
            let cond = signed(cond).ok_or(Refusal::undecided(pc, UndecidedReason::Address))?;
            Ok(length(&measure, (Width::W64, cond, 0), |it| holds(Width::W64, cond, 0, it)))
        }
        (Value::End, &Value::Place { base, bytes }) => {
            let measure = Measure::new(base, bytes.wrapping_neg().cast_unsigned());
            let cond = signed(cond).ok_or(Refusal::undecided(pc, UndecidedReason::Address))?;
            Ok(length(&measure, (Width::W64, cond, 0), |it| holds(Width::W64, cond, it, 0)))
        }
        (Value::Place { base, bytes }, Value::Place { base: other, bytes: theirs })
            if base == other && signed(cond).is_some() =>
        {
            let cond = signed(cond).unwrap_or(cond);
            let (x, y) = (bytes.cast_unsigned(), theirs.cast_unsigned());
            Ok(Outcome::Known(holds(Width::W64, cond, x, y)))
        }
        // A pointer is never null.
        (Value::Word(zero), _) | (_, Value::Word(zero)) if zero.as_constant() == Some(0) => {
            match cond {
                Cond::Eq => Ok(Outcome::Known(false)),
                Cond::Ne => Ok(Outcome::Known(true)),
                _ => undecided(UndecidedReason::Address),
            }
        }
        (Value::Length(_), Value::Length(_)) => undecided(UndecidedReason::Relation),
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

/// Bits of a sum are not asked for.
fn word(values: &Values, cond: Cond, (word, bits): (&Word, u32), constant: u64) -> Outcome {
    if cond == Cond::Set {
        let mask = constant & low_mask(bits);
        let side = |any| Some(lexical::tested(values, word, mask, any));
        return settle(side(true), side(false));
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
    settle(rules(wanted), rules(wanted.complement()))
}

/// A comparison of a number that depends on the length with a constant, on whichever side.
fn length(
    measure: &Measure,
    (width, cond, constant): (Width, Cond, u64),
    wanted: impl Fn(u64) -> bool,
) -> Outcome {
    let holds = |distance| wanted(measure.at(distance));
    let ordered = width == Width::W64 && cond != Cond::Set;
    let (holds, fails) = match measure.changes(constant).filter(|_| ordered) {
        Some(changes) => lengths::sides_at(measure.base, changes, holds),
        None => lengths::sides(measure.base, holds),
    };
    settle(holds, fails)
}

/// The outcome; a side of too many rules is given up: merging compares each with each.
fn settle(holds: Rules, fails: Rules) -> Outcome {
    let few = |rules: Rules| rules.filter(|rules| rules.len() <= CONDITION_RULES_MAX);
    match (few(holds), few(fails)) {
        (Some(holds), _) if holds.is_empty() => Outcome::Known(false),
        (_, Some(fails)) if fails.is_empty() => Outcome::Known(true),
        (holds, fails) => Outcome::Depends(holds.map(merged), fails.map(merged)),
    }
}

/// As few rules as possible: they are multiplied with others.
fn merged(rules: Vec<Rule>) -> Vec<Rule> {
    match rules.len() {
        0 | 1 => rules,
        _ => Space::from_rules(rules).simplify().into_rules(),
    }
}
