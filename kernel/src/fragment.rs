//! Is this frame an IP fragment.
//!
//! Ports are only in the first fragment of a datagram, so a later one could show a filter whatever
//! its sender likes in their place. Received non-first fragments are therefore dropped before
//! anything is classified, and nothing fragmented is transmitted (design decisions 7 and 8).
//! Looks through up to two VLAN tags (IEEE 802.1Q, 802.1ad); what is cut short is no fragment.

/// EtherType, RFC 7042 B.1.
use flow::headers::ETHERTYPE_TAGS;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS_MAX: usize = 2;
/// Next-header number of the fragment header, RFC 8200 4.5.
const FRAGMENT_HEADER: u8 = 44;
/// Bytes of an IPv6 header.
const IPV6_BYTES: usize = 40;

/// What a frame says about fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// A whole datagram, or not IP.
    No,
    /// The first fragment: it holds the ports.
    First,
    /// A later one.
    Later,
}

/// Looks at a frame that begins with its Ethernet header.
pub(crate) fn of(frame: &[u8]) -> Fragment {
    let mut at = 12;
    let mut kind = word(frame, at);
    for _ in 0..TAGS_MAX {
        if kind.is_some_and(|kind| ETHERTYPE_TAGS.contains(&kind)) {
            at += 4;
            kind = word(frame, at);
        }
    }
    let ip = at + 2;
    match kind {
        Some(IPV4) => ipv4(frame, ip),
        Some(IPV6) => ipv6(frame, ip),
        _ => Fragment::No,
    }
}

/// Flags and offset in units of eight bytes, RFC 791 3.1.
fn ipv4(frame: &[u8], ip: usize) -> Fragment {
    let Some(field) = word(frame, ip + 6) else { return Fragment::No };
    match (field & 0x1fff != 0, field & 0x2000 != 0) {
        (true, _) => Fragment::Later,
        (false, true) => Fragment::First,
        (false, false) => Fragment::No,
    }
}

/// The fragment header directly behind the IPv6 header, RFC 8200 4.5. One that says "offset 0, no
/// more fragments" is whole, but still not sent: nothing needs it.
fn ipv6(frame: &[u8], ip: usize) -> Fragment {
    if frame.get(ip + 6) != Some(&FRAGMENT_HEADER) {
        return Fragment::No;
    }
    match word(frame, ip + IPV6_BYTES + 2) {
        Some(field) if field & 0xfff8 != 0 => Fragment::Later,
        _ => Fragment::First,
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{ETHERTYPE_TAGS, Fragment, of};
    use alloc::vec::Vec;

    fn ipv4(tags: usize, field: u16) -> Vec<u8> {
        tagged(ETHERTYPE_TAGS[0], tags, field)
    }

    fn tagged(protocol: u16, tags: usize, field: u16) -> Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        let [high, low] = protocol.to_be_bytes();
        frame.extend([high, low, 0, 5].repeat(tags));
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0]);
        frame.extend(field.to_be_bytes());
        frame
    }

    fn ipv6(next: u8, field: u16) -> Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, next, 64]);
        frame.extend([0; 32]);
        frame.extend([17, 0]);
        frame.extend(field.to_be_bytes());
        frame
    }

    #[test]
    fn offset_and_more_fragments_are_told_apart() {
        for tags in 0..=2 {
            assert_eq!(of(&ipv4(tags, 0x4000)), Fragment::No);
            assert_eq!(of(&ipv4(tags, 0x2000)), Fragment::First);
            assert_eq!(of(&ipv4(tags, 0x2001)), Fragment::Later);
            assert_eq!(of(&ipv4(tags, 0x1fff)), Fragment::Later);
        }
        // Whatever number announces the tag that flow expressions know.
        for protocol in ETHERTYPE_TAGS {
            assert_eq!(of(&tagged(protocol, 1, 0x2001)), Fragment::Later, "{protocol:#x}");
        }
        assert_eq!(of(&ipv6(17, 0xffff)), Fragment::No);
        assert_eq!(of(&ipv6(44, 0x0001)), Fragment::First);
        assert_eq!(of(&ipv6(44, 0x0008)), Fragment::Later);
    }

    #[test]
    fn what_is_cut_short_is_no_fragment_and_no_panic() {
        for whole in [ipv4(2, 0x1fff), ipv6(44, 0x0008)] {
            for length in 0..whole.len() {
                let cut = of(&whole[..length]);
                assert!(cut != Fragment::Later, "{length} bytes");
            }
        }
    }
}
