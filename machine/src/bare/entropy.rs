//! Seeds that differ from boot to boot: `rdrand` where there is one, stirred with the clocks.
//!
//! Under QEMU `rdrand` is the host's generator; `-seed` makes it repeat, for reproducible runs.

use super::cpu::Features;
use super::time;
use x86_64::instructions::random::RdRand;

/// Four seeds.
pub(super) fn seeds(features: Features, wall_clock_ns: u64) -> [u64; 4] {
    let generator = features.rdrand.then(RdRand::new).flatten();
    let mut state = time::cycles() ^ wall_clock_ns.rotate_left(32);
    core::array::from_fn(|_| {
        let random = (0..10).find_map(|_| generator.and_then(RdRand::get_u64)).unwrap_or(0);
        state = stir(state ^ random);
        state
    })
}

/// One step of SplitMix64 (Steele, Lea, Flood, 2014).
fn stir(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
