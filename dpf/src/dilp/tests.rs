//! No byte of a loop is free: whatever was changed is refused or means the same.

use super::{Pass, Pipeline, fuse};
use crate::check;
use crate::compile::Emitted;

const ALL: [Pass; 6] = [
    Pass::Copy,
    Pass::Checksum,
    Pass::Swap16,
    Pass::Swap32,
    Pass::Xor(0x8123_45f7),
    Pass::Checksum,
];

#[test]
fn a_loop_with_any_bit_changed_is_refused_or_means_the_same() {
    let pipeline = Pipeline::new(&ALL).unwrap();
    let code = fuse::fuse(&pipeline).unwrap().bytes;
    let meaning = check::meaning(&code).unwrap();
    for at in 0..code.len() * 8 {
        let mut bytes = code.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let same = check::meaning(&bytes).is_some_and(|other| other == meaning);
        let accepted = check::pipe(&pipeline, Emitted { bytes }).is_ok();
        assert!(!accepted || same, "bit {at}");
    }
}

#[test]
fn another_pipelines_loop_is_refused() {
    let code = |passes: &[Pass]| fuse::fuse(&Pipeline::new(passes).unwrap()).unwrap();
    let mine = Pipeline::new(&[Pass::Swap16, Pass::Checksum]).unwrap();
    assert!(check::pipe(&mine, code(&[Pass::Swap16, Pass::Checksum])).is_ok());
    for other in [
        &[Pass::Checksum, Pass::Swap16][..],
        &[Pass::Swap16],
        &[Pass::Swap32, Pass::Checksum],
        &[Pass::Swap16, Pass::Checksum, Pass::Xor(1)],
    ] {
        assert!(check::pipe(&mine, code(other)).is_err(), "{other:?}");
    }
}
