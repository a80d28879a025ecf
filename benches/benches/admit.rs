//! What does it cost to admit the N-th filter, or to refuse it?
//!
//! The stages of the kernel's filter path, one by one and together: `proven` (decode, safe, claim),
//! `placed` (inside the grant, apart from N - 1 others), `published` (owned, prepared, committed,
//! visible). `shape` publishes a filter of a shape that is not there yet, which compiles the
//! dispatch code again; the others are data writes. `refused` is a whole refusal by overlap, its
//! witness confirmed on both programs.

use std::hint::black_box;
use std::time::Duration;

use sluice_benches::clock::{Group, criterion, now};
use sluice_benches::world::{World, proven, tcp_filter, udp_filter};
use verifier::RefusalCode;

fn main() {
    let mut criterion = criterion();
    for filters in [1, 10, 100, 1000] {
        let mut group = criterion.benchmark_group(format!("admit/{filters}"));
        group.sample_size(20);
        admit(&mut group, filters);
        group.finish();
    }
    criterion.final_summary();
}

fn admit(group: &mut Group<'_>, filters: u16) {
    let mut world = World::with_udp_filters(filters - 1);
    let (last, shape) = (udp_filter(filters - 1), tcp_filter());
    group.bench_function("whole", |bencher| {
        bencher.iter_custom(|times| repeat(times, || whole(&mut world, &last)));
    });
    group.bench_function("proven", |bencher| bencher.iter(|| proven(black_box(&last))));
    let claim = proven(&last);
    group.bench_function("placed", |bencher| {
        bencher.iter(|| world.placed(claim.clone()).is_ok());
    });
    for (name, filter) in [("published", &last), ("published, new shape", &shape)] {
        let claim = proven(filter);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                repeat(times, || {
                    let placed = world.placed(claim.clone());
                    let placed = placed.unwrap_or_else(|refusal| panic!("{refusal}"));
                    let start = now();
                    let id = world.published(placed);
                    let taken = now().saturating_sub(start);
                    world.withdraw(id);
                    taken
                })
            });
        });
    }
    if let Some(taken) = filters.checked_sub(2) {
        let taken = udp_filter(taken);
        group.bench_function("refused, overlap", |bencher| {
            bencher.iter(|| {
                let refusal = world.placed(proven(black_box(&taken))).err();
                let refusal = refusal.unwrap_or_else(|| panic!("two owners of one port"));
                assert!(refusal.code == RefusalCode::Overlap && refusal.witness.is_some());
                refusal
            });
        });
    }
}

/// Bytes in, visible binding out; taking it out again is not counted.
fn whole(world: &mut World, filter: &[u8]) -> Duration {
    let start = now();
    let placed = world.placed(proven(filter)).unwrap_or_else(|refusal| panic!("{refusal}"));
    let id = world.published(placed);
    let taken = now().saturating_sub(start);
    world.withdraw(id);
    taken
}

fn repeat(times: u64, mut run: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| run()).sum()
}
