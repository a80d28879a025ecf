//! Fused is sequential: every length, every pass, any pipeline.

#![cfg(test)]

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use runtime::native::HostPages;
use sluice_dpf::dilp::{
    NativePipe, PASSES_MAX, Pass, Pipeline, PipelineError, fold, load, sequential,
};

/// Longest frame, and some.
const LONGEST: usize = 1522;

fn pipe(passes: &[Pass], pages: &mut HostPages) -> (Pipeline, NativePipe) {
    let pipeline = Pipeline::new(passes).unwrap();
    (pipeline, load(&pipeline, pages).unwrap())
}

/// Runs both ways and compares bytes and sums; bytes around the destination must stay.
fn agree(pipeline: &Pipeline, native: &NativePipe, data: &[u8]) {
    let mut expected = data.to_vec();
    let sums = sequential(pipeline, &mut expected);
    let mut around = vec![0xee; data.len() + 32];
    let got = native.run(data, &mut around[16..16 + data.len()]);
    let (before, rest) = around.split_at(16);
    let (written, behind) = rest.split_at(data.len());
    assert_eq!((got, written), (sums, &*expected), "{pipeline:?} on {} bytes", data.len());
    assert!(before.iter().chain(behind).all(|byte| *byte == 0xee), "{pipeline:?} wrote outside");
}

fn some_bytes(seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    core::iter::repeat_with(step).take(LONGEST).collect()
}

const ALL: [Pass; 6] = [
    Pass::Copy,
    Pass::Checksum,
    Pass::Swap16,
    Pass::Swap32,
    Pass::Xor(0x8123_45f7),
    Pass::Checksum,
];

#[test]
fn every_length_of_every_single_pass_and_of_all_together() {
    let mut pages = HostPages::default();
    let data = some_bytes(7);
    let single = ALL.iter().map(core::slice::from_ref);
    for passes in single.chain([&ALL[..]]) {
        let (pipeline, native) = pipe(passes, &mut pages);
        for length in 0..=LONGEST {
            agree(&pipeline, &native, &data[LONGEST - length..]);
        }
        native.free(&mut pages);
    }
}

fn any_pass() -> impl Strategy<Value = Pass> {
    prop_oneof![
        Just(Pass::Copy),
        Just(Pass::Swap16),
        Just(Pass::Swap32),
        any::<u32>().prop_map(Pass::Xor),
        Just(Pass::Checksum),
    ]
}

proptest! {
    #[test]
    fn any_pipeline_on_any_data(
        passes in proptest::collection::vec(any_pass(), 1..=PASSES_MAX),
        data in proptest::collection::vec(any::<u8>(), 0..=200),
    ) {
        if let Ok(pipeline) = Pipeline::new(&passes) {
            let mut pages = HostPages::default();
            let native = load(&pipeline, &mut pages).unwrap();
            agree(&pipeline, &native, &data);
            native.free(&mut pages);
        }
    }
}

#[test]
fn sums_are_those_of_the_standard() {
    // RFC 1071, section 3.
    let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    let mut pages = HostPages::default();
    let (_, native) = pipe(&[Pass::Checksum], &mut pages);
    assert_eq!(native.run(&data, &mut [0; 8])[0], 0xddf2);
    assert_eq!(native.run(&data[..7], &mut [0; 8])[0], 0xdcfb);
    assert_eq!(native.run(&[0xff; 1522], &mut [0; 1522])[0], 0xffff);
    assert_eq!(native.run(&[0; 64], &mut [0; 64])[0], 0);
    native.free(&mut pages);
    assert_eq!(fold(u64::MAX), 0xffff);
}

#[test]
fn a_sum_is_of_the_bytes_as_they_are_at_its_place() {
    let mut pages = HostPages::default();
    let passes = [Pass::Checksum, Pass::Xor(0x0000_0001), Pass::Checksum];
    let (_, native) = pipe(&passes, &mut pages);
    let mut to = [9; 6];
    assert_eq!(native.run(&[1, 0, 0, 0], &mut to), [0x0100, 0]);
    assert_eq!(to, [0, 0, 0, 0, 9, 9]);
    native.free(&mut pages);
}

#[test]
fn what_is_no_pipeline_is_refused_by_name() {
    assert_eq!(Pipeline::new(&[]), Err(PipelineError::Empty));
    let nine = [Pass::Copy; PASSES_MAX + 1];
    assert_eq!(Pipeline::new(&nine), Err(PipelineError::Passes { count: 9 }));
    let three = [Pass::Checksum; 3];
    assert_eq!(Pipeline::new(&three), Err(PipelineError::Sums { count: 3 }));
}
