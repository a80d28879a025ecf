//! Every limit is reached by something, names itself, and stops the work.

use std::task::Poll;

use sluice_flow::{
    ByteSet, Cell, Containment, Contradiction, FlowError, HeaderBase, Intersection, LengthRange,
    Rule, Space, limits,
};

/// A rule with these cells; the tests' own cells never contradict each other.
fn rule(cells: impl IntoIterator<Item = (Cell, ByteSet)>) -> Rule {
    let mut rule = Rule::any();
    for (cell, set) in cells {
        assert!(rule.restrict(cell, set));
    }
    rule
}

fn base(at: u16, mask: u8, add: u16) -> HeaderBase {
    HeaderBase { at, mask, shift: 0, add }
}

/// Nine bytes of different values that must share eight places: empty, but only a search over all
/// arrangements finds out.
fn pigeons() -> Rule {
    rule((0..9).map(|n| (Cell::header(base(20 + n, 0x07, 300), 0), ByteSet::exact(n as u8 + 1))))
}

/// Three bytes of different values that must share two places.
fn few_pigeons() -> Rule {
    rule((0..3).map(|n| (Cell::header(base(20 + n, 0x01, 300), 0), ByteSet::exact(n as u8 + 1))))
}

/// `count` rules that test two bytes each, all of them different.
fn pairs(count: u16) -> Space {
    let one = |n: u16| {
        rule([100 + 2 * n, 101 + 2 * n].map(|at| (Cell::frame(at), ByteSet::exact(n as u8))))
    };
    Space::from_rules((0..count).map(one).collect())
}

fn budget(limit: &'static str) -> FlowError {
    FlowError::Budget { limit }
}

#[test]
fn a_split_gives_up_by_name() {
    assert_eq!(pigeons().witness(), Err(budget("CASES_MAX")));
    assert_eq!(pigeons().is_empty_exact(), Err(budget("CASES_MAX")));
    let many = Space::from(pigeons());
    let open = Err(Contradiction::Budget { limit: "CASES_MAX" });
    assert_eq!(many.disjoint_from(&Space::all()), open);
    assert_eq!(many.subset_of(&Space::empty()), open);
    assert_eq!(many.check(), Err(budget("GUARDS_MAX")));
}

#[test]
fn the_cases_of_one_rule_are_counted() {
    let wide = rule([
        (Cell::header(base(20, 0xff, 300), 0), ByteSet::exact(1)),
        (Cell::header(base(21, 0x3f, 600), 0), ByteSet::exact(1)),
    ]);
    assert_eq!(wide.absolute(), Err(budget("PIECES_MAX")));
    assert!(wide.witness().unwrap().is_some());
}

#[test]
fn a_subtraction_gives_up_by_name() {
    assert_eq!(pairs(30).complement(), Err(budget("PIECES_MAX")));
    assert_eq!(Space::all().subtract(&pairs(4), 8), Err(budget("PIECES_MAX")));
    assert!(Space::all().subtract(&pairs(4), limits::PIECES_MAX).is_ok());
    assert_eq!(pairs(65).intersect(&pairs(65)), Err(budget("PIECES_MAX")));
    assert!(pairs(64).intersect(&pairs(64)).is_ok());
}

#[test]
fn a_proof_gives_up_by_name() {
    // One of these covers it, whatever the others do.
    let halves = |set: ByteSet| (0..40).map(move |n| Rule::any().with(Cell::frame(100 + n), set));
    let (low, high) = (ByteSet::range(0, 127), ByteSet::range(128, 255));
    let cover = Space::from_rules(halves(low).chain(halves(high)).flatten().collect());
    let long = Space::from(rule([(Cell::frame(200), ByteSet::exact(0))]));
    assert_eq!(long.subset_of(&cover), Ok(()));

    let wide = |n: u16| rule((0..40).map(|at| (Cell::frame(100 + 40 * n + at), ByteSet::exact(1))));
    let wall = Space::from_rules((0..30).map(wide).collect());
    let verdict = long.subset_of(&wall);
    assert!(matches!(verdict, Err(Contradiction::Witness(_))), "{verdict:?}");

    // Each rule leaves one piece for every length that its guard can say.
    let guards = (0..8).map(|n| rule([(Cell::header(base(20 + n, 0xff, 300), 0), ByteSet::ALL)]));
    let medium = LengthRange::new(400, 1522).and_then(|range| Rule::any().with_length(range));
    let medium = Space::from_rules(medium.into_iter().collect());
    let verdict = medium.subset_of(&Space::from_rules(guards.collect()));
    assert_eq!(verdict, Err(Contradiction::Budget { limit: "HELD_MAX" }));

    // Empty, but every one of the many pieces has to be searched to find that out.
    let none = Space::from(few_pigeons());
    assert_eq!(none.subset_of(&pairs(3)), Ok(()));
    let verdict = none.subset_of(&pairs(20));
    assert_eq!(verdict, Err(Contradiction::Budget { limit: "VISITS_MAX" }));
}

#[test]
fn without_fuel_nothing_moves() {
    let (a, b) = (pairs(8), pairs(8));
    let mut proof = Containment::new(&a, &b);
    let mut apart = Intersection::new(&a, &b);
    for _ in 0..1000 {
        assert_eq!(proof.step(&mut 0), Poll::Pending);
        assert_eq!(apart.step(&mut 0), Poll::Pending);
    }
    let mut fuel = 10_000;
    assert_eq!(proof.step(&mut fuel), Poll::Ready(Ok(())));
    assert!(fuel > 9_900, "{fuel} left");
}

#[test]
fn a_step_keeps_to_its_fuel() {
    let a = Space::from(pigeons());
    let mut proof = Intersection::new(&a, Space::all());
    let mut steps = 0;
    while proof.step(&mut 100) == Poll::Pending {
        steps += 1;
    }
    assert!(steps >= u64::from(limits::CASES_MAX) / 100 - 1, "{steps} steps");
}

#[test]
fn spaces_from_outside_are_measured() {
    let cells = |count: usize| {
        Space::from(rule((0..count).map(|n| (Cell::frame(n as u16), ByteSet::exact(1)))))
    };
    assert_eq!(cells(limits::CELLS_MAX).check(), Ok(()));
    assert_eq!(cells(limits::CELLS_MAX + 1).check(), Err(budget("CELLS_MAX")));
    assert_eq!(pairs(64).check(), Ok(()));
    assert_eq!(pairs(65).check(), Err(budget("RULES_MAX")));
    for limit in ["CASES_MAX", "PIECES_MAX", "HELD_MAX", "VISITS_MAX", "GUARDS_MAX"] {
        assert!(limits::value(limit).is_some());
    }
    assert_eq!(limits::value("NO_SUCH_LIMIT"), None);
}
