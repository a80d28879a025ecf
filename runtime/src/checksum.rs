//! The Internet checksum, as `csum_diff` computes it.
//!
//! Sums are one's-complement sums of 32-bit words in the machine's byte order (RFC 1071 §2),
//! folded to 16 bits at the end, as Linux has done on every architecture since 6.13.

use crate::map::Errno;

/// `bpf_csum_diff`: the seed with the sum of `from` taken out and the sum of `to` put in.
///
/// # Errors
/// [`Errno::Invalid`] for lengths that are no multiple of 4.
pub fn difference(from: &[u8], to: &[u8], seed: u64) -> Result<u64, Errno> {
    if !from.len().is_multiple_of(4) || !to.len().is_multiple_of(4) {
        return Err(Errno::Invalid);
    }
    let seed = seed as u32;
    let sum = match (from.is_empty(), to.is_empty()) {
        (true, true) => seed,
        (true, false) => partial(to, seed),
        (false, true) => !partial(from, !seed),
        (false, false) => add(partial(to, seed), !partial(from, 0)),
    };
    Ok(u64::from(fold(sum)))
}

fn partial(bytes: &[u8], seed: u32) -> u32 {
    let words = bytes.as_chunks::<4>().0;
    words.iter().fold(seed, |sum, word| add(sum, u32::from_le_bytes(*word)))
}

fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u32::from(carry)
}

fn fold(sum: u32) -> u16 {
    let once = (sum >> 16) + (sum & 0xffff);
    (once + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::difference;
    use crate::map::Errno;

    #[test]
    fn a_changed_header_s_checksum_follows() {
        // An IPv4 header whose checksum is right.
        let mut header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        let checksum = !(difference(&[], &header, 0).unwrap() as u16);
        assert_eq!(checksum, u16::from_le_bytes([0xb8, 0x61]));
        let before = header;
        header[12..16].copy_from_slice(&[10, 0, 0, 1]);
        let follows = !difference(&before[12..16], &header[12..16], u64::from(!checksum)).unwrap();
        let anew = !difference(&[], &header, 0).unwrap();
        assert_eq!(follows as u16, anew as u16);
        let removed = difference(&before[12..16], &[], u64::from(!checksum)).unwrap();
        let both = difference(&[], &header[12..16], removed).unwrap();
        assert_eq!(!both as u16, anew as u16);
    }

    #[test]
    fn lengths_are_whole_words() {
        assert_eq!(difference(&[1, 2, 3], &[], 0), Err(Errno::Invalid));
        assert_eq!(difference(&[], &[1, 2, 3, 4, 5], 0), Err(Errno::Invalid));
        assert_eq!(difference(&[], &[], 0x1_0001), Ok(2));
        assert_eq!(difference(&[0xff; 8], &[], 0), Ok(0));
        assert_eq!(difference(&[], &[0xff; 8], 0), Ok(0xffff));
    }
}
