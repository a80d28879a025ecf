//! Frames that this tool sends, and how it knows the answers.
//!
//! Well-formed frames come from `etherparse`, checksums included; what must be wrong is made wrong
//! afterwards, byte by byte, in [`super::hostile`].

use std::fmt;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, IpFragOffset, IpHeaders,
    IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice, UdpHeader, VlanId,
};

/// The guest's card.
pub const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
/// The guest's address.
pub const GUEST_IP: [u8; 4] = [10, 0, 2, 15];
/// Bits of its network.
pub const PREFIX: u8 = 24;
/// The guest's IPv6 address, besides the link-local one: of a network that is nobody's (RFC 4193).
pub const GUEST_IP6: [u8; 16] = [0xfd, 0x51, 0x1c, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15];
/// Bits of that network.
pub const PREFIX6: u8 = 64;
/// The gateway: QEMU's user-mode stack, or the tap device.
pub const GATEWAY_IP: [u8; 4] = [10, 0, 2, 2];
/// Our own station on the raw wire.
pub const HOST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x00, 0x00, 0x99];
/// Its address.
pub const HOST_IP: [u8; 4] = [10, 0, 2, 99];
/// Everybody.
pub const BROADCAST: [u8; 6] = [0xff; 6];
/// IEEE 802 local experimental EtherType 1: commands to `init`.
pub const CONTROL: u16 = abi::control::ETHERTYPE;
/// Next-header number of the fragment header.
const FRAGMENT_HEADER: u8 = 44;
/// EtherType.
const IPV6: u16 = 0x86dd;
/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;

/// A MAC address as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The link-local address that comes with a card (RFC 4291, appendix A).
pub fn link_local([a, b, c, d, e, f]: [u8; 6]) -> [u8; 16] {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

/// An Ethernet frame with any payload.
pub fn ethernet(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + payload.len());
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&HOST_MAC);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A command to `init`, sealed under the machine's key.
pub fn sealed(key: &abi::control::Key, number: u64, text: &str) -> Vec<u8> {
    ethernet(GUEST_MAC, CONTROL, &key.seal(number, text))
}

/// A command to `init` as somebody without the key would send it.
pub fn control(text: &str) -> Vec<u8> {
    ethernet(GUEST_MAC, CONTROL, text.as_bytes())
}

/// `init`'s answer to that command: what follows the repeated text.
pub fn control_answer(frame: &[u8], text: &str) -> Option<String> {
    let payload = addressed(frame, CONTROL)?;
    let answer = String::from_utf8_lossy(payload);
    let rest = answer.trim_end_matches('\0').strip_prefix(text)?;
    rest.starts_with([' ', '\n']).then(|| rest.trim().to_owned())
}

/// The payload of a frame from the guest to us with that EtherType.
fn addressed(frame: &[u8], ethertype: u16) -> Option<&[u8]> {
    let (header, payload) = frame.split_at_checked(ETHERNET_BYTES)?;
    let ours = header[..6] == HOST_MAC && header[6..12] == GUEST_MAC;
    (ours && header[12..] == ethertype.to_be_bytes()).then_some(payload)
}

/// "Who has that address? Tell us."
pub fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &HOST_MAC,
        &HOST_IP,
        &[0; 6],
        &target,
    );
    let mut frame = ethernet(BROADCAST, EtherType::ARP.0, &[]);
    if let Ok(packet) = packet {
        frame.extend_from_slice(&packet.to_bytes());
    }
    frame
}

/// The hardware address that an ARP reply to us gives for `target`.
pub fn arp_answer(frame: &[u8], target: [u8; 4]) -> Option<[u8; 6]> {
    let payload = addressed(frame, EtherType::ARP.0)?;
    let packet = etherparse::ArpPacketSlice::from_slice(payload).ok()?;
    let right = packet.operation() == ArpOperation::REPLY
        && packet.sender_protocol_addr() == target
        && packet.target_protocol_addr() == HOST_IP
        && packet.target_hw_addr() == HOST_MAC;
    right.then(|| packet.sender_hw_addr().try_into().ok()).flatten()
}

/// An echo request.
pub fn ping(identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ipv4(HOST_IP, GUEST_IP, 64)
        .icmpv4_echo_request(identifier, sequence);
    let mut frame = Vec::new();
    // Writing to memory fails only for payloads that no datagram holds.
    let _ = builder.write(&mut frame, payload);
    frame
}

/// The reply to an echo request of the guest's with this number, as whoever was asked sends it.
pub fn pong(frame: &[u8], sequence: u16) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
    let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else { return None };
    let Icmpv4Type::EchoRequest(asked) = icmp.icmp_type() else { return None };
    let ip = ip.header();
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ipv4(ip.destination(), ip.source(), 64)
        .icmpv4_echo_reply(asked.id, asked.seq);
    let mut reply = Vec::new();
    let written = builder.write(&mut reply, icmp.payload());
    (asked.seq == sequence && written.is_ok()).then_some(reply)
}

/// Whether the frame is the right reply to [`ping`]: checksums, identity and payload.
pub fn is_pong(frame: &[u8], identifier: u16, sequence: u16, payload: &[u8]) -> Option<()> {
    let packet = from_guest(frame)?;
    let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else { return None };
    let Icmpv4Type::EchoReply(header) = icmp.icmp_type() else { return None };
    let whole = icmp.header().icmp_type.calc_checksum(icmp.payload()) == icmp.checksum();
    let same = header.id == identifier && header.seq == sequence && icmp.payload() == payload;
    (whole && same).then_some(())
}

/// A UDP datagram from our station.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    udp_between((HOST_IP, from), (GUEST_IP, to), payload)
}

/// A UDP datagram from any address to any address, on our station's frame to the guest.
pub fn udp_between(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC).ipv4(from.0, to.0, 64).udp(from.1, to.1);
    let mut frame = Vec::new();
    let _ = builder.write(&mut frame, payload);
    frame
}

/// The same datagram behind a VLAN tag.
pub fn udp_in_vlan(vlan: u16, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let tag = VlanId::try_new(vlan & 0xfff).unwrap_or(VlanId::ZERO);
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .single_vlan(tag)
        .ipv4(HOST_IP, GUEST_IP, 64)
        .udp(from, to);
    let mut frame = Vec::new();
    let _ = builder.write(&mut frame, payload);
    frame
}

/// The same datagram behind four, eight … bytes of IPv4 options (all NOP).
pub fn udp_with_options(words: u8, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let options = vec![1u8; usize::from(words.clamp(1, 10)) * 4];
    with_header(from, to, payload, |header| {
        header.options = Ipv4Options::try_from(options.as_slice()).unwrap_or_default();
    })
}

/// The first fragment of a larger datagram: it still shows its ports.
pub fn first_fragment(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    with_header(from, to, payload, |header| {
        header.dont_fragment = false;
        header.more_fragments = true;
    })
}

/// A later fragment: what stands where ports would is only data. `offset` in units of 8 bytes.
pub fn later_fragment(offset: u16, payload: &[u8]) -> Vec<u8> {
    let offset = IpFragOffset::try_new(offset & 0x1fff).unwrap_or(IpFragOffset::ZERO);
    with_header(7, 7, payload, |header| {
        header.dont_fragment = false;
        header.fragment_offset = offset;
    })
}

/// A fragment with a number: where its bytes lie in the datagram's payload, in units of 8, and
/// whether others follow. What the bytes say is the caller's.
pub fn piece(id: u16, (offset, more): (u16, bool), bytes: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        time_to_live: 64,
        protocol: IpNumber::UDP,
        source: HOST_IP,
        destination: GUEST_IP,
        identification: id,
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: IpFragOffset::try_new(offset & 0x1fff).unwrap_or(IpFragOffset::ZERO),
        ..Ipv4Header::default()
    };
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()));
    let mut frame = Vec::new();
    let _ = builder.write(&mut frame, IpNumber::UDP, bytes);
    frame
}

/// The same over IPv6, RFC 8200 4.5, between two link-local addresses.
pub fn piece6(id: u32, (offset, more): (u16, bool), bytes: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x60, 0, 0, 0];
    payload.extend((bytes.len() as u16 + 8).to_be_bytes());
    payload.extend([FRAGMENT_HEADER, 64]);
    for last in [0x99, 0x15] {
        payload.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    payload.extend([IpNumber::UDP.0, 0]);
    payload.extend((offset << 3 | u16::from(more)).to_be_bytes());
    payload.extend(id.to_be_bytes());
    payload.extend(bytes);
    ethernet(GUEST_MAC, IPV6, &payload)
}

/// What UDP says in front of its payload: ports, length, no checksum.
pub fn udp_header(from: u16, to: u16, payload: usize) -> [u8; 8] {
    let [[a, b], [c, d], [e, f]] = [from, to, payload as u16 + 8].map(u16::to_be_bytes);
    [a, b, c, d, e, f, 0, 0]
}

fn with_header(from: u16, to: u16, payload: &[u8], edit: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let mut header = Ipv4Header {
        time_to_live: 64,
        protocol: IpNumber::UDP,
        source: HOST_IP,
        destination: GUEST_IP,
        ..Ipv4Header::default()
    };
    edit(&mut header);
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        .udp(from, to);
    let mut frame = Vec::new();
    let _ = builder.write(&mut frame, payload);
    frame
}

/// Whether the frame is the echo of our datagram from port `ours` to port `theirs`. A checksum, if
/// there is one, must be right; options may have been dropped.
pub fn is_echo(frame: &[u8], ours: u16, theirs: u16, payload: &[u8]) -> Option<()> {
    let packet = from_guest(frame)?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return None };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
    let ports = udp.source_port() == theirs && udp.destination_port() == ours;
    let header = UdpHeader::without_ipv4_checksum(
        udp.source_port(),
        udp.destination_port(),
        udp.payload().len(),
    );
    let mut whole = udp.checksum() == 0;
    if let Ok(header) = header {
        let sum = header.calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
        whole |= sum.is_ok_and(|sum| sum == udp.checksum());
    }
    (ports && whole && udp.payload() == payload).then_some(())
}

/// A parsed IPv4 packet from the guest's address to ours, its header checksum right.
fn from_guest(frame: &[u8]) -> Option<SlicedPacket<'_>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    if frame.get(..6) != Some(&HOST_MAC) || frame.get(6..12) != Some(&GUEST_MAC) {
        return None;
    }
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
    let header = ip.header().to_header();
    let right = header.source == GUEST_IP
        && header.destination == HOST_IP
        && header.header_checksum == header.calc_header_checksum();
    right.then_some(packet)
}

#[cfg(test)]
mod tests {
    use super::{
        GUEST_IP, GUEST_MAC, HOST_IP, HOST_MAC, arp_answer, arp_request, control, control_answer,
        ethernet, is_echo, is_pong, later_fragment, ping, udp, udp_between, udp_in_vlan,
        udp_with_options,
    };

    /// What a faithful guest would make of a request: stations, addresses and ports swapped.
    fn swapped(frame: &[u8]) -> Vec<u8> {
        let mut reply = frame.to_vec();
        reply[..6].copy_from_slice(&HOST_MAC);
        reply[6..12].copy_from_slice(&GUEST_MAC);
        reply[26..30].copy_from_slice(&GUEST_IP);
        reply[30..34].copy_from_slice(&HOST_IP);
        reply
    }

    #[test]
    fn an_echo_is_known_by_ports_and_payload() {
        let mut reply = swapped(&udp(4000, 7, b"hello"));
        reply[34..36].copy_from_slice(&7u16.to_be_bytes());
        reply[36..38].copy_from_slice(&4000u16.to_be_bytes());
        // The sums stay right when words only change places.
        assert_eq!(is_echo(&reply, 4000, 7, b"hello"), Some(()));
        assert_eq!(is_echo(&reply, 4000, 7, b"hellO"), None);
        assert_eq!(is_echo(&reply, 4001, 7, b"hello"), None);
        assert_eq!(is_echo(&udp(4000, 7, b"hello"), 4000, 7, b"hello"), None);
        let last = reply.len() - 1;
        reply[last] ^= 1;
        assert_eq!(is_echo(&reply, 4000, 7, b"helln"), None, "the checksum is wrong");
        for length in 0..reply.len() {
            assert_eq!(is_echo(&reply[..length], 4000, 7, b"hello"), None);
        }
    }

    #[test]
    fn a_pong_is_known_by_its_type_and_checksum() {
        let request = ping(3, 4, b"data");
        let mut reply = swapped(&request);
        assert_eq!(is_pong(&reply, 3, 4, b"data"), None, "still a request");
        reply[34] = 0;
        assert_eq!(is_pong(&reply, 3, 4, b"data"), None, "the checksum is the request's");
        let sum = u16::from_be_bytes([request[36], request[37]]);
        let (sum, carry) = sum.overflowing_add(0x0800);
        reply[36..38].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        assert_eq!(is_pong(&reply, 3, 4, b"data"), Some(()));
        assert_eq!(is_pong(&reply, 3, 5, b"data"), None);
    }

    #[test]
    fn arp_asks_and_understands() {
        let request = arp_request(GUEST_IP);
        assert_eq!(request.len(), 42);
        assert_eq!(arp_answer(&request, GUEST_IP), None);
        let mut reply = request.clone();
        reply[..6].copy_from_slice(&HOST_MAC);
        reply[6..12].copy_from_slice(&GUEST_MAC);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&GUEST_MAC);
        reply[28..32].copy_from_slice(&GUEST_IP);
        reply[32..38].copy_from_slice(&HOST_MAC);
        reply[38..42].copy_from_slice(&HOST_IP);
        assert_eq!(arp_answer(&reply, GUEST_IP), Some(GUEST_MAC));
        assert_eq!(arp_answer(&reply, [10, 0, 2, 77]), None);
    }

    #[test]
    fn control_answers_repeat_the_command() {
        let mut answer = ethernet(HOST_MAC, super::CONTROL, b"start spin 3 ok 3\0\0\0\0");
        answer[6..12].copy_from_slice(&GUEST_MAC);
        assert_eq!(control_answer(&answer, "start spin 3"), Some("ok 3".to_owned()));
        assert_eq!(control_answer(&answer, "start spin"), Some("3 ok 3".to_owned()));
        assert_eq!(control_answer(&answer, "start spi"), None);
        assert_eq!(control_answer(&control("start spin 3 ok"), "start spin 3"), None);
    }

    #[test]
    fn variants_differ_where_they_should() {
        let plain = udp(1, 2, b"x");
        let tagged = udp_in_vlan(5, 1, 2, b"x");
        assert_eq!((tagged.len(), &tagged[12..16]), (plain.len() + 4, &[0x81, 0, 0, 5][..]));
        let options = udp_with_options(2, 1, 2, b"x");
        assert_eq!((options.len(), options[14]), (plain.len() + 8, 0x47));
        let later = later_fragment(3, b"x");
        assert_eq!(&later[20..22], &[0, 3]);
        let forged = udp_between(([8, 8, 8, 8], 53), (GUEST_IP, 7), b"x");
        assert_eq!(&forged[26..30], &[8, 8, 8, 8]);
    }
}
