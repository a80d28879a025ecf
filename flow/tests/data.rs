//! The cases in `testdata/flow`: by the algebra in both directions, and by lowered filters in the
//! reference interpreter.

use sluice_flow::expr::{describe, parse};
use sluice_flow::{Contradiction, Space, lower};

const RELATIONS: &str = include_str!("../../testdata/flow/relations.txt");
const FRAMES: &str = include_str!("../../testdata/flow/frames.txt");

/// The fields of every case, with its line number.
fn cases(text: &str) -> impl Iterator<Item = (usize, [&str; 3])> {
    text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(
        |(index, line)| {
            let mut fields = line.splitn(3, '|').map(str::trim);
            let mut next = || fields.next().unwrap_or_else(|| panic!("line {}", index + 1));
            (index + 1, [next(), next(), next()])
        },
    )
}

fn space(line: usize, text: &str) -> Space {
    match parse(text).map(|expr| expr.to_space()) {
        Ok(Ok(space)) => space,
        other => panic!("line {line}: {text}: {other:?}"),
    }
}

fn accepts(space: &Space, frame: &[u8]) -> bool {
    let program = lower::lower(space).unwrap_or_else(|error| panic!("{error}"));
    match ebpf::interp::accepts(&program, frame) {
        Ok(accepted) => accepted,
        Err(trap) => panic!("{trap:?}"),
    }
}

/// Whether left is inside right; a witness is checked against both filters.
fn inside(left: &Space, right: &Space) -> bool {
    match left.subset_of(right) {
        Ok(()) => true,
        Err(Contradiction::Witness(frame)) => {
            assert!(accepts(left, &frame) && !accepts(right, &frame), "{frame:02x?}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether the spaces meet; a witness is checked against both filters.
fn meet(left: &Space, right: &Space) -> bool {
    match left.disjoint_from(right) {
        Ok(()) => false,
        Err(Contradiction::Witness(frame)) => {
            assert!(accepts(left, &frame) && accepts(right, &frame), "{frame:02x?}");
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn relations_hold() {
    for (line, [relation, left, right]) in cases(RELATIONS) {
        let (a, b) = (space(line, left), space(line, right));
        let found = (meet(&a, &b), inside(&a, &b), inside(&b, &a));
        assert_eq!(meet(&b, &a), found.0, "line {line}: one order meets, the other does not");
        let expected = match relation {
            "disjoint" => !found.0,
            "overlaps" => found.0,
            "inside" => found.0 && found.1 && !found.2,
            "equal" => found.1 && found.2,
            other => panic!("line {line}: unknown relation {other}"),
        };
        assert!(expected, "line {line}: {left} {relation} {right}: {found:?}");
    }
}

#[test]
fn every_expression_can_be_described() {
    for (line, [_, left, right]) in cases(RELATIONS) {
        for text in [left, right] {
            let space = space(line, text);
            let described = describe(&space);
            let again = self::space(line, &described);
            assert!(inside(&space, &again) && inside(&again, &space), "{text}: {described}");
        }
    }
}

#[test]
fn frames_are_where_they_belong() {
    for (line, [expected, text, frame]) in cases(FRAMES) {
        let (space, frame) = (space(line, text), bytes(line, frame));
        let expected = match expected {
            "yes" => true,
            "no" => false,
            other => panic!("line {line}: {other}"),
        };
        assert_eq!(space.contains(&frame), expected, "line {line}: {text}");
        assert_eq!(accepts(&space, &frame), expected, "line {line}: {text}, lowered");
    }
}

/// `0800 00*12`
fn bytes(line: usize, text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        let (hex, times) = word.split_once('*').unwrap_or((word, "1"));
        let times: usize = times.parse().unwrap_or_else(|_| panic!("line {line}: {word}"));
        for _ in 0..times {
            for at in (0..hex.len()).step_by(2) {
                let byte = hex.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
                all.push(byte.unwrap_or_else(|| panic!("line {line}: {word}")));
            }
        }
    }
    all
}
