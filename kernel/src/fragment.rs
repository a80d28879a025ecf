//! Is this frame an IP fragment.
//!
//! Ports are only in the first fragment of a datagram, so a later one could show a filter whatever
//! its sender likes in their place. Received later fragments are therefore never classified: they
//! go to whom their first went ([`crate::pieces`]) or nowhere; and nothing fragmented is
//! transmitted (design decisions 7 and 8).
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
/// Headers that may stand before a fragment header, RFC 8200 4.1: hop-by-hop options, routing,
/// destination options. How many of them are looked behind.
const BEFORE_FRAGMENT: [u8; 3] = [0, 43, 60];
const EXTENSIONS_MAX: usize = 4;

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
#[inline(always)]
pub(crate) fn of(frame: &[u8]) -> Fragment {
    // Nearly all: IPv4 without a tag.
    if let Some([.., high, low, _, _, _, _, _, _, flags, offset]) = frame.first_chunk::<22>()
        && u16::from_be_bytes([*high, *low]) == IPV4
    {
        return by_field(u16::from_be_bytes([*flags, *offset]));
    }
    of_any(frame)
}

/// The same for any frame.
fn of_any(frame: &[u8]) -> Fragment {
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

fn ipv4(frame: &[u8], ip: usize) -> Fragment {
    word(frame, ip + 6).map_or(Fragment::No, by_field)
}

/// Flags and offset in units of eight bytes, RFC 791 3.1.
fn by_field(field: u16) -> Fragment {
    match (field & 0x1fff != 0, field & 0x2000 != 0) {
        (true, _) => Fragment::Later,
        (false, true) => Fragment::First,
        (false, false) => Fragment::No,
    }
}

/// By the fragment header, RFC 8200 4.5. One that says "offset 0, no more fragments" is whole, but
/// still not sent: nothing needs it.
fn ipv6(frame: &[u8], ip: usize) -> Fragment {
    let Some(at) = fragment_header(frame, ip) else { return Fragment::No };
    match word(frame, at + 2) {
        Some(field) if field & 0xfff8 != 0 => Fragment::Later,
        _ => Fragment::First,
    }
}

/// Where the fragment header of an IPv6 packet is.
fn fragment_header(frame: &[u8], ip: usize) -> Option<usize> {
    let (mut next, mut at) = (*frame.get(ip + 6)?, ip + IPV6_BYTES);
    for _ in 0..EXTENSIONS_MAX {
        if !BEFORE_FRAGMENT.contains(&next) {
            break;
        }
        let bytes = (usize::from(*frame.get(at + 1)?) + 1) * 8;
        (next, at) = (*frame.get(at)?, at + bytes);
    }
    (next == FRAGMENT_HEADER).then_some(at)
}

/// Where a fragment's headers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The IP header.
    pub(crate) ip: usize,
    pub(crate) version: Version,
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Four,
    /// With the place of its fragment header.
    Six {
        header: usize,
    },
}

impl Located {
    /// Where its VLAN tags are.
    pub(crate) fn tags(self) -> impl Iterator<Item = usize> {
        (12..self.ip - 2).step_by(4)
    }
}

/// Finds the headers of a fragment; `None` if the frame is none.
pub(crate) fn locate(frame: &[u8]) -> Option<Located> {
    let tagged = |at: usize| word(frame, at).is_some_and(|kind| ETHERTYPE_TAGS.contains(&kind));
    let tags = (0..TAGS_MAX).take_while(|tag| tagged(12 + 4 * tag)).count();
    let ip = 12 + 4 * tags + 2;
    match word(frame, ip - 2)? {
        IPV4 if ipv4(frame, ip) != Fragment::No => Some(Located { ip, version: Version::Four }),
        IPV6 => {
            let header = fragment_header(frame, ip)?;
            Some(Located { ip, version: Version::Six { header } })
        }
        _ => None,
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
    fn a_fragment_header_behind_others_is_found() {
        let mut frame = ipv6(0, 0);
        // Hop-by-hop options of 16 bytes, then destination options of 8, then the fragment header.
        frame.truncate(54);
        frame.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([44, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([17, 0, 0x00, 0x09, 1, 2, 3, 4]);
        assert_eq!(of(&frame), Fragment::Later);
        let header = 54 + 24;
        let version = super::Version::Six { header };
        assert_eq!(super::locate(&frame), Some(super::Located { ip: 14, version }));
        // Five before it are more than anybody looks behind.
        let mut long = ipv6(0, 0);
        long.truncate(54);
        (0..4).for_each(|_| long.extend([0, 0, 0, 0, 0, 0, 0, 0]));
        long.extend([44, 0, 0, 0, 0, 0, 0, 0]);
        long.extend([17, 0, 0x00, 0x09, 1, 2, 3, 4]);
        assert_eq!(of(&long), Fragment::No);
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
