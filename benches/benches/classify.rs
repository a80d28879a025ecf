//! What does it cost to find a frame's owner among N filters?
//!
//! Engine, hand-written parsing with two tables, and `rbpf` running one program after the other.
//! The unit is a batch of frames, so `thrpt` is frames per second.

use std::hint::black_box;

use criterion::Throughput;
use dpf::Verdict;
use sluice_benches::clock::{Group, criterion};
use sluice_benches::frames::{Frame, among};
use sluice_benches::peers::{ByHand, Rbpf};
use sluice_benches::world::{World, udp_filter};

const FRAMES: usize = 1024;

fn main() {
    let mut criterion = criterion();
    for filters in [1, 10, 100, 1000] {
        let mut group = criterion.benchmark_group(format!("classify/{filters}"));
        group.sample_size(20).throughput(Throughput::Elements(FRAMES as u64));
        classify(&mut group, filters);
        group.finish();
    }
    criterion.final_summary();
}

fn classify(group: &mut Group<'_>, filters: u16) {
    let (frames, owners): (Vec<Frame>, Vec<Option<u16>>) =
        among(filters, FRAMES).into_iter().unzip();
    let world = World::with_udp_filters(filters);
    let by_hand = ByHand::new(filters);
    let programs: Vec<Rbpf> = (0..filters).map(|number| Rbpf::new(&udp_filter(number))).collect();

    let engine = |frame: &Frame| match world.engine.classify(frame) {
        Verdict::Bound(id) => Some(id),
        Verdict::Unbound(_) => None,
    };
    let one_by_one = |frame: &Frame| programs.iter().position(|program| program.read(frame) != 0);
    for (frame, owner) in frames.iter().zip(&owners) {
        assert_eq!(engine(frame), owner.map(|number| world.bindings[usize::from(number)]));
        assert_eq!(by_hand.hashed(frame), *owner);
        assert_eq!(by_hand.direct(frame), *owner);
        assert_eq!(one_by_one(frame), owner.map(usize::from));
    }

    batch(group, "engine", &frames, engine);
    batch(group, "by hand, hashbrown", &frames, |frame| by_hand.hashed(frame));
    batch(group, "by hand, array", &frames, |frame| by_hand.direct(frame));
    batch(group, "rbpf, one by one", &frames, one_by_one);
}

/// Classifies all frames, each independently of the one before.
fn batch<T>(
    group: &mut Group<'_>,
    name: &str,
    frames: &[Frame],
    owner: impl Fn(&Frame) -> Option<T>,
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for frame in black_box(frames) {
                black_box(owner(frame));
            }
        });
    });
}
