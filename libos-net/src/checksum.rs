//! The Internet checksum (RFC 1071), for frames that are built here.

/// The checksum of the parts in a row: the one's complement of their one's complement sum. Every
/// part but the last has an even length. A sum over data that holds its own right checksum is zero.
pub fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        let (pairs, rest) = part.as_chunks::<2>();
        for pair in pairs {
            sum = fold(sum + u32::from(u16::from_be_bytes(*pair)));
        }
        if let [last] = rest {
            sum = fold(sum + u32::from(u16::from_be_bytes([*last, 0])));
        }
    }
    !(sum as u16)
}

fn fold(sum: u32) -> u32 {
    (sum & 0xffff) + (sum >> 16)
}

#[cfg(test)]
mod tests {
    use super::internet;

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
}
