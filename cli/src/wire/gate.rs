//! What of the guest's may go outside.
//!
//! Behind QEMU's user-mode stack lies the host, its loopback services and its network. QEMU's own
//! `restrict=on` would shut that off, but in QEMU 7.2 it also drops the answers to forwarded UDP
//! ports. So the switch is the fence: ARP, answers from the forwarded ports to the gateway, and
//! questions for an address (DHCP), which the user-mode stack answers itself.

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};

use super::frames::{GATEWAY_IP, HOST_MAC};

/// A rule for frames from the guest to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All but what is addressed to our own station: a tap device's namespace holds nothing else.
    Open,
    /// ARP, DHCP, and unfragmented packets from these ports to the gateway.
    Services {
        /// Ports of UDP.
        udp: Vec<u16>,
        /// Ports of TCP.
        tcp: Vec<u16>,
    },
}

impl Gate {
    /// Whether the frame may pass.
    pub fn passes(&self, frame: &[u8]) -> bool {
        if frame.get(..6) == Some(&HOST_MAC) {
            return false;
        }
        match self {
            Gate::Open => true,
            Gate::Services { udp, tcp } => is_service(frame, udp, tcp),
        }
    }
}

fn is_service(frame: &[u8], udp: &[u16], tcp: &[u16]) -> bool {
    if frame.get(12..14) == Some(&EtherType::ARP.0.to_be_bytes()) {
        return true;
    }
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return false };
    let destination = ip.header().destination();
    if ip.is_payload_fragmented() {
        return false;
    }
    match &packet.transport {
        Some(TransportSlice::Udp(datagram)) => {
            let ports = (datagram.source_port(), datagram.destination_port());
            let dhcp = destination == [255; 4] && ports == (68, 67);
            dhcp || destination == GATEWAY_IP && udp.contains(&ports.0)
        }
        Some(TransportSlice::Tcp(segment)) => {
            destination == GATEWAY_IP && tcp.contains(&segment.source_port())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use crate::wire::frames::{self, GATEWAY_IP, GUEST_IP};

    #[test]
    fn only_services_answer_and_only_to_the_gateway() {
        let gate = Gate::Services { udp: vec![7, 9], tcp: vec![80] };
        let from = |source, to| frames::udp_between((GUEST_IP, source), (to, 4000), b"x");
        let outside = |mut frame: Vec<u8>| {
            frame[..6].copy_from_slice(&[0x52, 0x55, 10, 0, 2, 2]);
            frame
        };
        assert!(gate.passes(&outside(from(7, GATEWAY_IP))));
        assert!(!gate.passes(&outside(from(53, GATEWAY_IP))));
        assert!(!gate.passes(&outside(from(80, GATEWAY_IP))));
        let segment = |source, to| {
            let builder = etherparse::PacketBuilder::ethernet2(frames::GUEST_MAC, [2; 6])
                .ipv4(GUEST_IP, to, 64)
                .tcp(source, 4000, 1, 1000);
            let mut frame = Vec::new();
            builder.write(&mut frame, b"x").unwrap();
            frame
        };
        assert!(gate.passes(&segment(80, GATEWAY_IP)));
        assert!(!gate.passes(&segment(7, GATEWAY_IP)));
        assert!(!gate.passes(&segment(80, [8, 8, 8, 8])));
        let ask = frames::udp_between(([0; 4], 68), ([255; 4], 67), b"x");
        assert!(gate.passes(&outside(ask)));
        assert!(!gate.passes(&outside(from(7, [8, 8, 8, 8]))));
        assert!(gate.passes(&outside(frames::arp_request(GATEWAY_IP))));
        assert!(!gate.passes(&outside(frames::later_fragment(3, b"x"))));
        assert!(!gate.passes(&outside(frames::ping(1, 1, b"x"))));
        assert!(!gate.passes(b"short"));
    }

    #[test]
    fn what_is_ours_stays_ours() {
        let mut frame = frames::udp(7, 7, b"x");
        frame[..6].copy_from_slice(&frames::HOST_MAC);
        assert!(!Gate::Open.passes(&frame));
        frame[0] ^= 4;
        assert!(Gate::Open.passes(&frame));
    }
}
