//! What of the guest's may go outside.
//!
//! Behind QEMU's user-mode stack lies the host, its loopback services and its network. QEMU's own
//! `restrict=on` would shut that off, but in QEMU 7.2 it also drops the answers to forwarded UDP
//! ports. So the switch is the fence: ARP, and answers from the forwarded ports to the gateway.

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};

use super::frames::{GATEWAY_IP, HOST_MAC};

/// A rule for frames from the guest to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All but what is addressed to our own station: a tap device's namespace holds nothing else.
    Open,
    /// ARP, and unfragmented UDP from these ports to the gateway.
    Services(Vec<u16>),
}

impl Gate {
    /// Whether the frame may pass.
    pub fn passes(&self, frame: &[u8]) -> bool {
        if frame.get(..6) == Some(&HOST_MAC) {
            return false;
        }
        match self {
            Gate::Open => true,
            Gate::Services(ports) => is_service(frame, ports),
        }
    }
}

fn is_service(frame: &[u8], ports: &[u16]) -> bool {
    if frame.get(12..14) == Some(&EtherType::ARP.0.to_be_bytes()) {
        return true;
    }
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return false };
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return false };
    let to_gateway = ip.header().destination() == GATEWAY_IP;
    to_gateway && !ip.is_payload_fragmented() && ports.contains(&udp.source_port())
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use crate::wire::frames::{self, GATEWAY_IP, GUEST_IP};

    #[test]
    fn only_services_answer_and_only_to_the_gateway() {
        let gate = Gate::Services(vec![7, 9]);
        let from = |source, to| frames::udp_between((GUEST_IP, source), (to, 4000), b"x");
        let outside = |mut frame: Vec<u8>| {
            frame[..6].copy_from_slice(&[0x52, 0x55, 10, 0, 2, 2]);
            frame
        };
        assert!(gate.passes(&outside(from(7, GATEWAY_IP))));
        assert!(!gate.passes(&outside(from(53, GATEWAY_IP))));
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
