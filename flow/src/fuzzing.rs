//! Bodies of the fuzz targets.
//!
//! Each body is a plain function over arbitrary bytes that panics when a property does not hold.
//! The targets in `fuzz/` call them; a test runs each for a second.

use alloc::string::String;
use alloc::vec::Vec;

use crate::byteset::ByteSet;
use crate::cell::{Cell, HeaderBase};
use crate::error::Contradiction;
use crate::expr::{describe, parse};
use crate::length::LengthRange;
use crate::limits::PIECES_MAX;
use crate::lower::lower;
use crate::mirror::{Identity, mirror};
use crate::rule::Rule;
use crate::space::Space;
use crate::witness;

/// Any text is refused at a place inside it, or means a space whose description means the same.
///
/// # Panics
/// When that does not hold.
pub fn expression_any(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let expr = match parse(&text) {
        Ok(expr) => expr,
        Err(error) => {
            assert!((1..=text.len() + 1).contains(&error.column), "{error}");
            return;
        }
    };
    let Ok(space) = expr.to_space() else { return };
    let described = describe(&space);
    // A description may exceed what text may be; otherwise it is an expression of the same set.
    if let Ok(Ok(again)) = parse(&described).map(|expr| expr.to_space()) {
        assert_inside(&space, &again, &described);
        assert_inside(&again, &space, &described);
    }
    let _ = mirror(&space, &Identity { mac: [2, 0, 0, 0, 0, 1] });
}

/// Any two spaces keep the laws of sets; every witness and every lowered filter agrees with them.
///
/// # Panics
/// When that does not hold.
pub fn spaces_any(bytes: &[u8]) {
    let mut source = Source(bytes);
    let (a, b) = (source.space(), source.space());
    let mut frames: Vec<Vec<u8>> = (0..4).map(|_| source.frame()).collect();
    for verdict in [a.subset_of(&b), b.subset_of(&a), a.disjoint_from(&b)] {
        if let Err(Contradiction::Witness(frame)) = verdict {
            frames.push(frame);
        }
    }
    frames.extend(a.witness().ok().flatten());
    let inside = a.subset_of(&b).is_ok();
    let apart = a.disjoint_from(&b).is_ok();
    let rest = a.subtract(&b, PIECES_MAX).ok();
    let filter = lower(&a).ok();
    for frame in &frames {
        let (in_a, in_b) = (a.contains(frame), b.contains(frame));
        assert!(!(inside && in_a && !in_b), "not inside: {frame:02x?}");
        assert!(!(apart && in_a && in_b), "not apart: {frame:02x?}");
        assert!(rest.as_ref().is_none_or(|rest| rest.contains(frame) == (in_a && !in_b)));
        assert_eq!(a.simplify().contains(frame), in_a);
        if let Some(filter) = &filter {
            assert_eq!(ebpf::interp::accepts(filter, frame).ok(), Some(in_a), "{frame:02x?}");
        }
        let _ = (witness::render(frame), witness::hexdump(frame));
    }
}

fn assert_inside(left: &Space, right: &Space, text: &str) {
    let verdict = left.subset_of(right);
    assert!(!matches!(verdict, Err(Contradiction::Witness(_))), "{text}: {verdict:02x?}");
}

/// Choices out of bytes; zeros when they run out.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    fn space(&mut self) -> Space {
        let count = self.byte() % 4;
        Space::from_rules((0..count).filter_map(|_| self.rule()).collect())
    }

    fn rule(&mut self) -> Option<Rule> {
        let count = self.byte() % 6;
        (0..count).try_fold(Rule::any(), |rule, _| match self.byte() % 8 {
            0 => rule.with_length(LengthRange::new(14, 14 + u16::from(self.byte() % 32))?),
            1 => rule.with_length(LengthRange::new(14 + u16::from(self.byte() % 32), 1522)?),
            2..5 => rule.with(Cell::frame(12 + u16::from(self.byte() % 12)), self.set()),
            _ => {
                let at = 12 + u16::from(self.byte() % 4);
                let mask = [0x0f, 0x03, 0xf0, 0xff][usize::from(self.byte() % 4)];
                let shift = (self.byte() % 6).cast_signed() - 2;
                let base = HeaderBase { at, mask, shift, add: at };
                rule.with(Cell::header(base, u16::from(self.byte() % 6)), self.set())
            }
        })
    }

    fn set(&mut self) -> ByteSet {
        let (kind, a, b) = (self.byte(), self.byte(), self.byte());
        match kind % 4 {
            0 => ByteSet::exact(a),
            1 => ByteSet::masked(a, b),
            2 => ByteSet::range(a.min(b), a.max(b)),
            _ => ByteSet::exact(a).complement(),
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let length = 14 + usize::from(self.byte() % 32);
        (0..length).map(|_| self.byte()).collect()
    }
}
