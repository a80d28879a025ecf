//! Captures that Wireshark opens: pcapng, little-endian, microseconds.
//!
//! One section; three interfaces, in this order: the wire (every frame to or from the guest), the
//! kernel's verdicts (the frames of its own trace, each with what became of it), and the witnesses
//! (frames that were never sent: each shows why a proof failed). Comments ride on the packets
//! (option 1).
//!
//! Format: draft-ietf-opsawg-pcapng, blocks SHB, IDB and EPB. Every block is a multiple of four
//! bytes and ends with its length again.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Section Header Block.
const SECTION: u32 = 0x0a0d_0d0a;
/// Interface Description Block.
const INTERFACE: u32 = 1;
/// Enhanced Packet Block.
const PACKET: u32 = 6;
/// Byte-order magic.
const MAGIC: u32 = 0x1a2b_3c4d;
/// Link type of Ethernet.
const ETHERNET: u16 = 1;
/// End of options.
const OPT_END: u16 = 0;
/// A comment.
const OPT_COMMENT: u16 = 1;
/// In a section header: the application's name.
const OPT_APPLICATION: u16 = 4;
/// In an interface description: its name.
const OPT_NAME: u16 = 2;

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Interface {
    /// The guest's cable.
    Wire = 0,
    /// The kernel's trace.
    Kernel = 1,
    /// Proofs that failed.
    Witness = 2,
}

impl Interface {
    const ALL: [Interface; 3] = [Interface::Wire, Interface::Kernel, Interface::Witness];

    fn name(self) -> &'static str {
        match self {
            Interface::Wire => "wire",
            Interface::Kernel => "kernel verdicts",
            Interface::Witness => "witnesses",
        }
    }
}

/// Writes one capture.
#[derive(Debug)]
pub struct Capture<W: Write> {
    to: W,
}

impl<W: Write> Capture<W> {
    /// Writes the section header and the interfaces.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut to: W) -> io::Result<Capture<W>> {
        let mut body = Vec::new();
        body.extend_from_slice(&MAGIC.to_le_bytes());
        body.extend_from_slice(&1u16.to_le_bytes());
        body.extend_from_slice(&0u16.to_le_bytes());
        // The section's length is not known ahead.
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        option(&mut body, OPT_APPLICATION, "sluice");
        option(&mut body, OPT_END, "");
        block(&mut to, SECTION, &body)?;
        for interface in Interface::ALL {
            let mut body = Vec::new();
            body.extend_from_slice(&ETHERNET.to_le_bytes());
            body.extend_from_slice(&0u16.to_le_bytes());
            // No snapshot length: packets are whole.
            body.extend_from_slice(&0u32.to_le_bytes());
            option(&mut body, OPT_NAME, interface.name());
            option(&mut body, OPT_END, "");
            block(&mut to, INTERFACE, &body)?;
        }
        Ok(Capture { to })
    }

    /// Writes one packet; an empty comment is none.
    ///
    /// # Errors
    /// The writer's.
    pub fn packet(
        &mut self,
        interface: Interface,
        at: SystemTime,
        frame: &[u8],
        comment: &str,
    ) -> io::Result<()> {
        let micros = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut body = Vec::with_capacity(32 + frame.len());
        body.extend_from_slice(&(interface as u32).to_le_bytes());
        body.extend_from_slice(&((micros >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(micros as u32).to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(frame);
        pad(&mut body);
        if !comment.is_empty() {
            option(&mut body, OPT_COMMENT, comment);
            option(&mut body, OPT_END, "");
        }
        block(&mut self.to, PACKET, &body)
    }

    /// Everything is written out.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

impl Capture<Vec<u8>> {
    /// The blocks since the last time: whole ones.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to)
    }
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Text longer than an option can be is cut at a character.
fn option(body: &mut Vec<u8>, code: u16, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX) - 3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(end as u16).to_le_bytes());
    body.extend_from_slice(&text.as_bytes()[..end]);
    pad(body);
}

fn block(to: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
    to.write_all(&kind.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(body)?;
    to.write_all(&length.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Capture, Interface};
    use pcap_parser::traits::PcapReaderIterator;
    use pcap_parser::{Block, PcapBlockOwned, PcapError, PcapNGReader};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_kept_parser_reads_every_packet_back() {
        let at = UNIX_EPOCH + Duration::from_micros(0x1_2345_6789);
        let mut capture = Capture::new(Vec::new()).unwrap();
        for length in [0usize, 1, 14, 15, 16, 1522] {
            capture.packet(Interface::Wire, at, &vec![7; length], "").unwrap();
        }
        let comment = "why: both accept it — näher";
        capture.packet(Interface::Witness, at, &[1, 2, 3], comment).unwrap();
        let bytes = capture.finish().unwrap();

        let mut reader = PcapNGReader::new(65_536, bytes.as_slice()).unwrap();
        let (mut interfaces, mut packets) = (0, Vec::new());
        loop {
            match reader.next() {
                Ok((used, block)) => {
                    if let PcapBlockOwned::NG(Block::InterfaceDescription(_)) = &block {
                        interfaces += 1;
                    }
                    if let PcapBlockOwned::NG(Block::EnhancedPacket(p)) = &block {
                        let comment = p.options.iter().find(|o| o.code.0 == 1);
                        let comment = comment.map(|o| {
                            String::from_utf8(o.value[..usize::from(o.len)].to_vec()).unwrap()
                        });
                        let ts = (u64::from(p.ts_high) << 32) | u64::from(p.ts_low);
                        let data = p.data[..p.caplen as usize].to_vec();
                        packets.push((p.if_id, ts, data, comment));
                    }
                    reader.consume(used);
                }
                Err(PcapError::Eof) => break,
                Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(interfaces, 3);
        let lengths: Vec<usize> = packets.iter().map(|p| p.2.len()).collect();
        assert_eq!(lengths, [0, 1, 14, 15, 16, 1522, 3]);
        let witness = packets.last().unwrap();
        assert_eq!((witness.0, witness.1), (2, 0x1_2345_6789));
        assert_eq!(witness.3.as_deref(), Some(comment));
        assert!(packets[0].3.is_none());
    }
}
