//! Lowered filters against the reference interpreter: they accept exactly their space, and read no
//! byte that is not there.

mod world;

use std::sync::LazyLock;

use proptest::prelude::*;
use sluice_flow::{ByteSet, Cell, HeaderBase, LengthRange, Rule, Space, headers, lower};

/// Every seventh frame of the world: all lengths, all values.
static FRAMES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| world::frames().into_iter().step_by(7).collect());

fn agrees<'a>(space: &Space, frames: impl IntoIterator<Item = &'a Vec<u8>>) {
    let program = lower::lower(space).unwrap_or_else(|error| panic!("{space:?}: {error}"));
    assert_eq!(unreachable(&program), None, "{space:?}");
    for frame in frames {
        let accepted = ebpf::interp::accepts(&program, frame);
        assert_eq!(
            accepted.ok(),
            Some(space.contains(frame)),
            "{space:?} on {:02x?}",
            &frame[12..]
        );
    }
}

/// A slot that no path leads to, which verifiers refuse. All jumps of a lowered filter go forward.
fn unreachable(program: &ebpf::Program) -> Option<u32> {
    let mut reached = vec![false; program.len() + 1];
    reached[0] = true;
    for (pc, insn) in (0u32..).zip(program.insns()) {
        if !reached[pc as usize] {
            return Some(pc);
        }
        if let Some(target) = insn.jump_target() {
            assert!(target > pc, "a jump back at {pc}");
            reached[target as usize] = true;
        }
        reached[pc as usize + 1] |= insn.falls_through();
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_filter_accepts_exactly_its_space(space in world::spaces()) {
        agrees(&space, FRAMES.iter());
    }

    #[test]
    fn any_byte_set_can_be_tested(words in any::<[u64; 4]>(), few in any::<[u8; 3]>(), mask: u8) {
        let dense = |b: u8| words[usize::from(b >> 6)] >> (b & 63) & 1 == 1;
        let sets = [
            ByteSet::from_fn(dense),
            ByteSet::from_fn(|b| few.contains(&b)),
            ByteSet::from_fn(|b| !few.contains(&b)),
            ByteSet::from_fn(|b| few[0] <= b & mask),
        ];
        for set in sets {
            let rule = Rule::any().with(Cell::frame(13), set);
            let space = Space::from_rules(rule.into_iter().collect());
            let frames: Vec<Vec<u8>> =
                (0..=255).map(|b| { let mut f = vec![0; 14]; f[13] = b; f }).collect();
            agrees(&space, &frames);
        }
    }
}

#[test]
fn known_spaces_lower_to_filters_that_fit() {
    let to = ([10, 0, 2, 200], 0xf0f0);
    for space in [headers::udp_to(to.0, to.1), headers::arp_for(to.0), headers::icmp_echo_to(to.0)]
    {
        let program = lower::lower(&space).unwrap();
        assert!(program.len() < 64, "{} slots", program.len());
        let frame = space.witness().unwrap().unwrap();
        let cut: Vec<Vec<u8>> = (14..=frame.len()).map(|end| frame[..end].to_vec()).collect();
        agrees(&space, &cut);
        let flipped: Vec<Vec<u8>> = (0..frame.len() * 8)
            .map(|bit| {
                let mut flipped = frame.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped
            })
            .collect();
        agrees(&space, &flipped);
    }
}

#[test]
fn the_ends_of_the_length_are_tested() {
    let range = LengthRange::new(60, 1500).unwrap();
    let space = Space::from(Rule::any().with_length(range).unwrap());
    let frames: Vec<Vec<u8>> = [14, 59, 60, 61, 1499, 1500, 1501, 1522].map(|n| vec![0; n]).into();
    agrees(&space, &frames);
    agrees(&Space::all(), &frames);
    agrees(&Space::empty(), &frames);
}

#[test]
fn nothing_stands_behind_a_rule_that_accepts_everything() {
    let narrow = Rule::any().with(Cell::frame(20), ByteSet::exact(1)).unwrap();
    let frames: Vec<Vec<u8>> = [14, 20, 21, 1522].map(|n| vec![1; n]).into();
    for rules in [
        vec![Rule::any()],
        vec![Rule::any(), narrow.clone()],
        vec![narrow.clone(), Rule::any(), narrow],
    ] {
        agrees(&Space::from_rules(rules), &frames);
    }
}

#[test]
fn a_base_beyond_what_verifiers_admit_is_split() {
    let base = HeaderBase { at: 14, mask: 0xff, shift: 12, add: 14 };
    let space = Space::from(Rule::any().with(Cell::header(base, 2), ByteSet::exact(7)).unwrap());
    let mut frame = vec![0; 20];
    frame[16] = 7;
    let mut far = frame.clone();
    far[14] = 1;
    agrees(&space, &[frame, far]);
}

/// A TCP data offset counts words in the upper nibble: the length is shifted to the right.
#[test]
fn a_length_in_the_upper_bits_is_lowered_and_read_back() {
    let text = "ether[34 + ((ether[46] & 0xf0) >> 2)] == 0x47 and ether[12] == 0x08";
    let space = sluice_flow::expr::parse(text).unwrap().to_space().unwrap();
    let program = lower::lower(&space).unwrap();
    let described = sluice_flow::expr::describe(&space);
    let again = sluice_flow::expr::parse(&described).unwrap().to_space().unwrap();
    assert_eq!((space.subset_of(&again), again.subset_of(&space)), (Ok(()), Ok(())), "{described}");
    for words in 0..16u8 {
        for length in 47..100 {
            let mut frame = vec![0; length];
            (frame[12], frame[46]) = (0x08, words << 4 | 0x0f);
            let at = 34 + usize::from(words) * 4;
            if let Some(byte) = frame.get_mut(at) {
                *byte = if at == 46 { words << 4 | 7 } else { 0x47 };
            }
            let wanted = frame.get(at) == Some(&0x47) && frame[12] == 0x08;
            assert_eq!(space.contains(&frame), wanted, "{words} {length}");
            assert_eq!(ebpf::interp::accepts(&program, &frame), Ok(wanted), "{words} {length}");
        }
    }
}
