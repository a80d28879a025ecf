//! What a pipeline means: one pass over all the data after the other.

use super::{Pass, Pipeline, SUMS_MAX};

/// Runs the passes over `data` in place, each to its end before the next begins; the sums, folded,
/// in the order of the checksum passes.
pub fn sequential(pipeline: &Pipeline, data: &mut [u8]) -> [u16; SUMS_MAX] {
    let mut sums = [0; SUMS_MAX];
    let mut free = sums.iter_mut();
    for pass in pipeline.passes() {
        match *pass {
            Pass::Copy => {}
            Pass::Checksum => {
                if let Some(sum) = free.next() {
                    *sum = internet_sum(data);
                }
            }
            Pass::Swap16 => data.chunks_exact_mut(2).for_each(<[u8]>::reverse),
            Pass::Swap32 => data.chunks_exact_mut(4).for_each(<[u8]>::reverse),
            Pass::Xor(key) => {
                let key = key.to_le_bytes().into_iter().cycle();
                data.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            }
        }
    }
    sums
}

/// RFC 1071: big-endian 16-bit words, an odd byte padded with zero, carries folded in; not
/// complemented.
fn internet_sum(data: &[u8]) -> u16 {
    let words = data.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(u16::from_be_bytes([high, 0])),
        _ => 0,
    });
    words.fold(0, |sum: u16, word| {
        let sum = u32::from(sum) + word;
        ((sum & 0xffff) + (sum >> 16)) as u16
    })
}
