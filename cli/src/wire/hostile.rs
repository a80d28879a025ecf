//! Frames that no honest station sends.
//!
//! Every one must be dropped and counted, or answered as its bytes deserve; none may end the
//! kernel, be over-read, or reach somebody it does not belong to.

use super::frames::{self, BROADCAST, GUEST_IP, GUEST_MAC};

/// A frame and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What is wrong.
    pub name: &'static str,
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether it is somebody's all the same: what is wrong lies behind what claims look at, and it
    /// is the owner's to judge.
    pub owned: bool,
}

/// Offset of the IPv4 header.
const IP: usize = 14;
/// Offset of the UDP header behind a plain IPv4 header.
const UDP: usize = 34;
/// The echo service's port.
const ECHO: u16 = 7;
/// Names of frames whose claim-relevant bytes are right begin like this.
const OWNED: [&str; 2] = ["total length", "UDP length"];
/// A source port of ours.
const OURS: u16 = 40_001;

/// One of each kind. Only those that are owned may get an answer.
pub fn malformed() -> Vec<Hostile> {
    let mut list = Vec::new();
    let mut add = |name: &'static str, frame| {
        let owned = OWNED.iter().any(|start| name.starts_with(start));
        list.push(Hostile { name, frame, owned });
    };
    add("one byte", vec![GUEST_MAC[0]]);
    add("half a destination address", GUEST_MAC[..3].to_vec());
    add("13 bytes: no EtherType", cut(13));
    add("an Ethernet header alone", cut(14));
    add("an EtherType and half an IPv4 header", cut(24));
    add("an IPv4 header without its UDP header", cut(UDP));
    add("a source port without a destination port", cut(UDP + 2));
    add("a destination port cut in half", cut(UDP + 3));
    add("IPv4 header length 0", edited(|f| f[IP] = 0x40));
    add("IPv4 header length 4 words", edited(|f| f[IP] = 0x44));
    add("IPv4 header length beyond the frame", edited(|f| f[IP] = 0x4f));
    add("IP version 9", edited(|f| f[IP] = 0x95));
    add("IP version 6 in an IPv4 EtherType", edited(|f| f[IP] = 0x65));
    add("total length beyond the frame", edited(|f| f[IP + 2..IP + 4].fill(0xff)));
    add("total length zero", edited(|f| f[IP + 2..IP + 4].fill(0)));
    add("UDP length zero", edited(|f| f[UDP + 4..UDP + 6].fill(0)));
    add("UDP length beyond the frame", edited(|f| f[UDP + 4..UDP + 6].fill(0xff)));
    add("a protocol number that is nobody's", edited(|f| f[IP + 9] = 253));
    add(
        "another host's address",
        frames::udp_between((frames::HOST_IP, OURS), ([10, 0, 2, 77], ECHO), b"not for you"),
    );
    add("a later fragment", frames::later_fragment(185, b"ports? no, data"));
    add("a fragment that ends beyond 64 KiB", frames::later_fragment(0x1fff, &[0x41; 64]));
    add("an EtherType that is nobody's", frames::ethernet(GUEST_MAC, 0x1234, &[0; 46]));
    add("an EtherType that is a length", frames::ethernet(GUEST_MAC, 0x0010, &[0; 46]));
    add("a VLAN tag and nothing behind it", frames::ethernet(GUEST_MAC, 0x8100, &[0, 1]));
    add("ten VLAN tags", vlan_tower(10));
    add("an ARP packet cut in half", frames::arp_request(GUEST_IP)[..28].to_vec());
    add("an ARP packet with lying sizes", lying_arp());
    add("an IPv6 header cut short", frames::ethernet(GUEST_MAC, 0x86dd, &[0x60, 0, 0, 0, 0, 8]));
    add("a broadcast of nothing", frames::ethernet(BROADCAST, 0x0800, &[]));
    add("1,523 bytes: one more than the longest frame", long(1523));
    add("1,900 bytes", long(1900));
    add("9,000 bytes: longer than a buffer", long(9000));
    add("an empty control command", frames::control(""));
    add(
        "a control command of bytes that are no text",
        frames::ethernet(GUEST_MAC, frames::CONTROL, &[0xff, 0xfe, 0x80, 0xc0]),
    );
    list
}

/// A well-formed request to the echo service.
fn request() -> Vec<u8> {
    frames::udp(OURS, ECHO, b"malformed")
}

fn cut(length: usize) -> Vec<u8> {
    let mut frame = request();
    frame.truncate(length);
    frame
}

/// The request with one thing changed; the IPv4 header's checksum is made right again, so that it
/// is the change that is judged.
fn edited(edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = request();
    edit(&mut frame);
    frame[IP + 10..IP + 12].fill(0);
    let mut sum: u32 =
        frame[IP..UDP].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[IP + 10..IP + 12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

fn vlan_tower(tags: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 1..tags {
        payload.extend_from_slice(&[0, 1, 0x81, 0x00]);
    }
    payload.extend_from_slice(&[0, 1, 0x08, 0x00]);
    payload.extend_from_slice(&request()[IP..]);
    frames::ethernet(GUEST_MAC, 0x8100, &payload)
}

/// Claims 255-byte addresses.
fn lying_arp() -> Vec<u8> {
    let mut frame = frames::arp_request(GUEST_IP);
    frame[18] = 255;
    frame[19] = 255;
    frame
}

fn long(length: usize) -> Vec<u8> {
    let mut frame = frames::udp(OURS, ECHO, &vec![0x55; length - UDP - 8]);
    frame.resize(length, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::{edited, malformed};
    use crate::wire::frames;

    #[test]
    fn every_frame_is_what_its_name_says() {
        let list = malformed();
        let find = |name: &str| list.iter().find(|h| h.name == name).unwrap().frame.clone();
        assert_eq!(find("13 bytes: no EtherType").len(), 13);
        assert_eq!(find("1,523 bytes: one more than the longest frame").len(), 1523);
        assert_eq!(find("9,000 bytes: longer than a buffer").len(), 9000);
        assert_eq!(find("ten VLAN tags")[12..14], [0x81, 0]);
        let mut names: Vec<&str> = list.iter().map(|h| h.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), list.len());
    }

    #[test]
    fn edits_keep_the_header_checksum_right() {
        assert_eq!(edited(|_| {}), frames::udp(super::OURS, 7, b"malformed"));
    }
}
