//! One second of each body, on damaged encodings.

extern crate std;

use alloc::string::String;
use alloc::vec;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::{image_any, records_any, refusal_any, start_any};
use crate::record::{Record, Verdict};
use crate::refusal::{self, Blame, Code};
use crate::start::{Start, State};

/// Runs a body for a second on `sample` with a few bytes changed; some must be taken in, some not.
fn smoke(seed: u64, samples: &[Vec<u8>], body: fn(&[u8]) -> bool) {
    let mut state = seed;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % bound
    };
    assert!(samples.iter().all(|sample| body(sample)), "an undamaged sample is not taken in");
    let (mut runs, mut taken) = (0_u32, 0_u32);
    let start = Instant::now();
    while runs < 100 || start.elapsed() < Duration::from_secs(1) {
        let mut bytes = samples[below(samples.len())].clone();
        for _ in 0..1 + below(4) {
            let at = below(bytes.len());
            bytes[at] = [below(256) as u8, 0, 0xff, 0x7f][below(4)];
        }
        bytes.truncate(1 + below(bytes.len() * 4));
        taken += u32::from(body(&bytes));
        runs += 1;
    }
    assert!(taken > 0 && taken < runs, "{taken} of {runs} taken in");
}

fn refused() -> refusal::Record {
    refusal::Record {
        version: refusal::VERSION,
        code: Code::Overlap,
        blame: Blame::Filter,
        instruction: Some(7),
        limit: Some((String::from("RULES_MAX"), 64)),
        witness: Some(vec![0; 42]),
        other: Some(3),
        explanation: String::from("both accept it"),
    }
}

#[test]
fn records() {
    let name = String::from("netd");
    let records = [
        Record::Environment { id: 1, name, state: State::Faulted, detail: 14 },
        Record::Packet { at_ns: 9, verdict: Verdict::Answered(4), frame: vec![1; 60] },
        Record::Refused {
            environment: 2,
            grant: 1,
            program: vec![0x95; 8],
            refusal: refused(),
            proof_cycles: 1,
        },
    ];
    let frames: Vec<Vec<u8>> = (0..).zip(&records).map(|(at, record)| record.frame(at)).collect();
    smoke(0xab1_0001, &[frames[0].clone(), frames.concat()], records_any);
}

#[test]
fn refusals() {
    smoke(0xab1_0002, &[refused().encode()], refusal_any);
}

#[test]
fn start_blocks() {
    let start = Start {
        version: crate::VERSION,
        name: String::from("talk"),
        arguments: String::from("7"),
        regions: vec![(String::from("initrd"), 0x1000, 0x2000)],
        ..Start::default()
    };
    smoke(0xab1_0003, &[start.encode()], start_any);
}

#[test]
fn images() {
    // Read-execute with the entry in it, then read-write, then read-only; pages apart.
    let segments = [4, 5, 0, 0, 0, 8, 64, 0, 0, 6, 0, 64, 0, 8, 64, 0, 0, 4, 0, 128, 0, 0, 64, 0];
    smoke(0xab1_0004, &[segments.to_vec()], image_any);
}
