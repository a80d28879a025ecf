//! The algebra against brute force: every statement about sets is checked on every frame of a small
//! world, and every witness is checked against the definition.

mod world;

use std::sync::LazyLock;
use std::task::Poll;

use proptest::prelude::*;
use sluice_flow::{
    ByteSet, Cell, Containment, Contradiction, HeaderBase, Intersection, Rule, Space, Verdict,
    limits,
};

static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(world::frames);

/// Checks that `space` is exactly the frames that `expected` names.
fn is_exactly(space: &Space, expected: impl Fn(&[u8]) -> bool) -> Result<(), TestCaseError> {
    for frame in FRAMES.iter() {
        prop_assert_eq!(space.contains(frame), expected(frame), "on {:02x?}", &frame[14..]);
    }
    Ok(())
}

/// Checks a verdict against brute force; `disproves` says whether a frame disproves the statement.
fn is_right(verdict: &Verdict, disproves: impl Fn(&[u8]) -> bool) -> Result<(), TestCaseError> {
    match verdict {
        Ok(()) => prop_assert_eq!(FRAMES.iter().find(|frame| disproves(frame)), None),
        Err(Contradiction::Witness(frame)) => {
            prop_assert!((14..=1522).contains(&frame.len()));
            prop_assert!(disproves(frame), "false witness {:02x?}", frame);
        }
        Err(error) => prop_assert!(false, "{error}"),
    }
    Ok(())
}

/// Runs a proof in steps of one unit.
fn in_steps(mut step: impl FnMut(&mut u64) -> Poll<Verdict>) -> Verdict {
    for _ in 0..1_000_000 {
        if let Poll::Ready(verdict) = step(&mut 1) {
            return verdict;
        }
    }
    panic!("a proof that does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_rule_means_its_tests(tests in world::tests()) {
        let rule = world::rule(&tests);
        for frame in FRAMES.iter() {
            let expected = tests.iter().all(|test| test.holds(frame));
            let found = rule.as_ref().is_some_and(|rule| rule.matches(frame));
            prop_assert_eq!(found, expected, "{:?} on {:02x?}", rule, &frame[14..]);
        }
        let mut reversed = tests.clone();
        reversed.reverse();
        if let (Some(a), Some(b)) = (&rule, &world::rule(&reversed)) {
            let (a, b) = (Space::from(a.clone()), Space::from(b.clone()));
            prop_assert_eq!(a.subset_of(&b), Ok(()));
            prop_assert_eq!(b.subset_of(&a), Ok(()));
        }
    }

    #[test]
    fn a_witness_is_inside_and_only_an_empty_rule_has_none(tests in world::tests()) {
        let Some(rule) = world::rule(&tests) else { return Ok(()) };
        match rule.witness().unwrap() {
            Some(frame) => {
                prop_assert!(tests.iter().all(|test| test.holds(&frame)), "{:02x?}", frame);
                prop_assert!(!rule.is_empty_exact().unwrap());
            }
            None => prop_assert_eq!(FRAMES.iter().find(|frame| rule.matches(frame)), None),
        }
    }

    #[test]
    fn splitting_keeps_the_set_and_makes_disjoint_cases(tests in world::tests()) {
        let Some(rule) = world::rule(&tests) else { return Ok(()) };
        let cases = rule.absolute().unwrap();
        prop_assert!(cases.iter().all(sluice_flow::Rule::is_absolute));
        for frame in FRAMES.iter() {
            let hits = cases.iter().filter(|case| case.matches(frame)).count();
            prop_assert_eq!(hits, usize::from(rule.matches(frame)));
        }
    }

    #[test]
    fn set_operations_are_exact(a in world::spaces(), b in world::spaces()) {
        is_exactly(&a.union(&b), |f| a.contains(f) || b.contains(f))?;
        is_exactly(&a.intersect(&b).unwrap(), |f| a.contains(f) && b.contains(f))?;
        let rest = a.subtract(&b, limits::PIECES_MAX).unwrap();
        is_exactly(&rest, |f| a.contains(f) && !b.contains(f))?;
        is_exactly(&a.complement().unwrap(), |f| !a.contains(f))?;
        is_exactly(&a.union(&b).simplify(), |f| a.contains(f) || b.contains(f))?;
    }

    #[test]
    fn set_laws_hold(a in world::spaces(), b in world::spaces()) {
        let both = a.intersect(&b).unwrap();
        let rest = a.subtract(&b, limits::PIECES_MAX).unwrap();
        prop_assert_eq!(both.subset_of(&a), Ok(()));
        prop_assert_eq!(rest.disjoint_from(&b), Ok(()));
        prop_assert_eq!(rest.subset_of(&a), Ok(()));
        prop_assert_eq!(a.subset_of(&rest.union(&both)), Ok(()));
        prop_assert_eq!(a.subset_of(&a.simplify()), Ok(()));
        prop_assert_eq!(a.simplify().subset_of(&a), Ok(()));
        prop_assert_eq!(a.disjoint_from(&a.complement().unwrap()), Ok(()));
        prop_assert_eq!(Space::all().subset_of(&a.union(&a.complement().unwrap())), Ok(()));
    }

    #[test]
    fn verdicts_are_right(a in world::spaces(), b in world::spaces()) {
        let inside = a.subset_of(&b);
        is_right(&inside, |f| a.contains(f) && !b.contains(f))?;
        let apart = a.disjoint_from(&b);
        is_right(&apart, |f| a.contains(f) && b.contains(f))?;
        let both = a.intersect(&b).unwrap();
        prop_assert_eq!(apart.is_ok(), both.witness().unwrap().is_none());
        prop_assert_eq!(apart.is_ok(), b.disjoint_from(&a).is_ok());

        let mut proof = Containment::new(&a, &b);
        prop_assert_eq!(in_steps(|fuel| proof.step(fuel)), inside);
        let mut proof = Intersection::new(&a, &b);
        prop_assert_eq!(in_steps(|fuel| proof.step(fuel)), apart);
    }
}

/// Lengths and guards at the far end of the longest frames, where cells stop to exist.
#[test]
fn the_far_end_is_exact() {
    let base = HeaderBase { at: 14, mask: 0xff, shift: 3, add: 14 };
    for offset in [0, 3, 4, 100] {
        let cell = Cell::header(base, offset);
        let rule = Rule::any().with(cell, ByteSet::exact(7)).unwrap();
        let space = Space::from(rule);
        let rest = space.complement().unwrap();
        assert_eq!(space.disjoint_from(&rest), Ok(()));
        assert_eq!(Space::all().subset_of(&space.union(&rest)), Ok(()));
        let filter = sluice_flow::lower::lower(&space).unwrap();
        for length in (1500..=1522).chain([15, 100, 700]) {
            for guard in (170..=190).chain([0, 1, 80, 255]) {
                for value in [6, 7] {
                    let mut frame = vec![value; length];
                    frame[14] = guard;
                    let at = 14 + (usize::from(guard) << 3) + usize::from(offset);
                    let expected = frame.get(at) == Some(&7);
                    assert_eq!(space.contains(&frame), expected, "{offset} {length} {guard}");
                    assert_eq!(rest.contains(&frame), !expected);
                    assert_eq!(ebpf::interp::accepts(&filter, &frame).ok(), Some(expected));
                }
            }
        }
    }
    let last = Space::from(Rule::any().with(Cell::frame(1521), ByteSet::ALL).unwrap());
    assert_eq!(last.witness().unwrap().map(|frame| frame.len()), Some(1522));
    assert_eq!(Rule::any().with(Cell::frame(1522), ByteSet::ALL), None);
}
