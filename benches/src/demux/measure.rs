//! Taking turns.

use std::hint::black_box;

use super::workload::{Frame, Workload};
use crate::clock;

/// Frames in one turn.
const TURN: usize = 1 << 18;
/// Frames before the clock starts: what somebody else's turn left in caches and predictors goes.
const WARM: usize = 1 << 15;

/// Somebody who can say whose frames are.
pub struct Contestant<'a> {
    name: &'static str,
    /// Nanoseconds per frame over one turn, independent or (true) one after the other.
    turn: Box<dyn Fn(bool) -> f64 + 'a>,
    rounds: [Vec<f64>; 2],
    latency: bool,
}

/// What a contestant needs per frame, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Least.
    pub best: f64,
    /// Middle.
    pub median: f64,
}

impl<'a> Contestant<'a> {
    /// Checks every answer, then stands ready. `owner` says a frame's filter plus one, or 0.
    pub fn new(
        name: &'static str,
        workload: &'a Workload,
        owner: impl Fn(&Frame) -> u32 + 'a,
    ) -> Self {
        for (frame, expected) in workload.frames.iter().zip(&workload.owners) {
            assert_eq!(owner(frame), *expected, "{name}: {frame:02x?}");
        }
        let frames = &workload.frames;
        let turn = move |latency: bool| {
            let mask = frames.len() - 1;
            let mut sum = 0_u64;
            for frame in frames.iter().rev().take(WARM) {
                sum += u64::from(owner(frame));
            }
            let start = clock::now();
            if latency {
                let mut owner_before = 0_u32;
                for at in 0..TURN {
                    let next = at + (owner_before >> 31) as usize;
                    owner_before = owner(&frames[next & mask]);
                    sum += u64::from(owner_before);
                }
            } else {
                for at in 0..TURN {
                    sum += u64::from(owner(&frames[at & mask]));
                }
            }
            black_box(sum);
            (clock::now() - start).as_nanos() as f64 / TURN as f64
        };
        Self { name, turn: Box::new(turn), rounds: Default::default(), latency: true }
    }

    /// One who answers for many frames at a time: `owners` are for the frames, in order.
    pub fn batched(
        name: &'static str,
        workload: &'a Workload,
        owners: impl Fn(&[&[u8]], &mut [u32]) + 'a,
    ) -> Self {
        const BATCH: usize = 64;
        let mut answers = [0; BATCH];
        let slices: Vec<&[u8]> = workload.frames.iter().map(|frame| &frame[..]).collect();
        for (frames, expected) in slices.chunks(BATCH).zip(workload.owners.chunks(BATCH)) {
            owners(frames, &mut answers);
            assert_eq!(answers, expected, "{name}");
        }
        let turn = move |_| {
            let mut answers = [0; BATCH];
            let (mut sum, mut count) = (0_u64, 0);
            for frames in slices.chunks(BATCH).rev().take(WARM / BATCH) {
                owners(frames, &mut answers);
            }
            let start = clock::now();
            while count < TURN {
                for frames in slices.chunks(BATCH).take((TURN - count) / BATCH) {
                    owners(frames, &mut answers);
                    sum += answers.iter().map(|owner| u64::from(*owner)).sum::<u64>();
                    count += BATCH;
                }
            }
            black_box(sum);
            (clock::now() - start).as_nanos() as f64 / count as f64
        };
        Self { name, turn: Box::new(turn), rounds: Default::default(), latency: false }
    }

    /// One whose turn somebody else times: nanoseconds per frame.
    pub fn timed(name: &'static str, turn: impl Fn() -> f64 + 'a) -> Self {
        Self { name, turn: Box::new(move |_| turn()), rounds: Default::default(), latency: false }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One turn of each, `rounds` times over.
    pub fn compete(contestants: &mut [Contestant<'_>], rounds: usize) {
        for round in 0..rounds {
            // Each round begins with another, so that nobody always comes after the same one.
            contestants.rotate_left(usize::from(round != 0));
            for contestant in contestants.iter_mut() {
                let time = (contestant.turn)(false);
                contestant.rounds[0].push(time);
                if contestant.latency {
                    let time = (contestant.turn)(true);
                    contestant.rounds[1].push(time);
                }
            }
        }
        let turned = rounds.saturating_sub(1) % contestants.len().max(1);
        contestants.rotate_right(turned);
    }

    /// Throughput's figures, and latency's if it has one.
    #[must_use]
    pub fn figures(&self) -> [Option<Figures>; 2] {
        [0, 1].map(|which| {
            let mut times = self.rounds[which].clone();
            times.sort_by(f64::total_cmp);
            Some(Figures { best: *times.first()?, median: *times.get(times.len() / 2)? })
        })
    }
}

/// Nanoseconds per load when each misses the caches: independent loads, a line each, over memory
/// larger than them.
#[must_use]
pub fn cache_miss(bytes: usize) -> f64 {
    let lines = vec![[1_u64; 8]; bytes / 64];
    let (mut state, mut sum, count) = (1_u64, 0, 1 << 20);
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = clock::now();
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (((state >> 32) * lines.len() as u64) >> 32) as usize;
            sum += lines[at][0];
        }
        best = best.min((clock::now() - start).as_nanos() as f64 / f64::from(count));
    }
    black_box(sum);
    best
}
