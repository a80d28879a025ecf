//! The Internet checksum (RFC 1071), for frames that are built here.
//!
//! Sums are kept as they come out of the machine's own byte order: one's complement addition does
//! not care (RFC 1071, 2 (B)), and what is stored is stored in the same order.

/// The checksum of the parts in a row: the one's complement of their one's complement sum. Every
/// part but the last has an even length. A sum over data that holds its own right checksum is zero.
pub fn internet(parts: &[&[u8]]) -> u16 {
    let all: u32 = parts.iter().map(|part| sum(part)).sum();
    u16::from_be(!fold(all))
}

/// The sum of the bytes' 16-bit words in the machine's byte order, at most 16 bits long; a last odd
/// byte counts as if a zero followed. Up to 65,535 of these may be added before they are folded.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let mut sum = u64::from_ne_bytes(last);
    for word in words {
        // The carry of a one's complement addition goes round.
        let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
        sum = next + u64::from(carry);
    }
    let halves = (sum & 0xffff_ffff) + (sum >> 32);
    let quarters = (halves & 0xffff) + (halves >> 16 & 0xffff) + (halves >> 32);
    u32::from(fold(quarters as u32))
}

/// A sum as 16 bits.
#[inline]
pub fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// The sum of bytes that stand at an odd place: their words are the other way round.
pub fn swapped(sum: u32) -> u32 {
    u32::from(fold(sum).swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::{fold, internet, sum, swapped};
    use alloc::vec::Vec;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(internet(&[&[0x00, 0x01], &[0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_a_high_one() {
        assert_eq!(internet(&[&[0x12]]), !0x1200);
        assert_eq!(internet(&[]), 0xffff);
        assert_eq!(internet(&[&[0xff, 0xff, 0xff, 0xff]]), 0);
    }

    #[test]
    fn words_of_any_width_have_the_same_sum() {
        let bytes: Vec<u8> = (0..4200_u32).map(|i| ((i * i) >> 3) as u8).collect();
        for length in 0..200 {
            let part = &bytes[..length * 20 + length];
            let slow = part.chunks(2).fold(0_u64, |sum, pair| {
                sum + u64::from(pair[0]) * 256 + u64::from(*pair.get(1).unwrap_or(&0))
            });
            let slow = (0..4).fold(slow, |sum, _| (sum & 0xffff) + (sum >> 16));
            assert_eq!(internet(&[part]), !(slow as u16), "{length}");
        }
    }

    #[test]
    fn a_part_behind_an_odd_one_is_swapped() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let whole = fold(sum(&bytes));
        assert_eq!(fold(sum(&bytes[..3]) + swapped(sum(&bytes[3..]))), whole);
    }
}
