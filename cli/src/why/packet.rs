//! The packet that is asked about: bytes in hexadecimal, or one of a capture.

use std::fs::File;
use std::path::{Path, PathBuf};

use pcap_parser::{Block, PcapBlockOwned, PcapError};

/// Longest block of a capture that is read, in bytes.
const BLOCK_MAX: usize = 1 << 20;

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// Neither a file nor hexadecimal digits.
    #[error("`{text}` is no file and no bytes in hexadecimal: {reason}")]
    Text {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no capture, or ends within a block.
    #[error("{}: no capture: {reason}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The capture has fewer packets.
    #[error("{}: there are {found} packets, and none is number {wanted}", path.display())]
    Number {
        /// The file.
        path: PathBuf,
        /// The number that was asked for, from 1.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
}

/// Reads what the command line names: `HEX`, `FILE` or `FILE:NUMBER`.
///
/// # Errors
/// [`PacketError`].
pub(super) fn read(what: &str) -> Result<Vec<u8>, PacketError> {
    if Path::new(what).is_file() {
        return from_capture(Path::new(what), 1);
    }
    if let Some((path, number)) = what.rsplit_once(':')
        && Path::new(path).is_file()
        && let Ok(number) = number.parse()
    {
        return from_capture(Path::new(path), number);
    }
    from_hex(what)
}

/// Digits in pairs; blanks and colons between them are for people.
fn from_hex(text: &str) -> Result<Vec<u8>, PacketError> {
    let wrong = |reason| PacketError::Text { text: text.to_owned(), reason };
    let digits: Vec<char> =
        text.chars().filter(|it| !it.is_whitespace() && !matches!(it, ':' | '-')).collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(wrong("an even number of digits is needed"));
    }
    let nibble = |digit: &char| digit.to_digit(16).and_then(|it| u8::try_from(it).ok());
    let byte = |pair: &[char]| match pair {
        [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.ok_or(wrong("not all are digits"))
}

fn from_capture(path: &Path, wanted: usize) -> Result<Vec<u8>, PacketError> {
    let open = File::open(path);
    let file = open.map_err(|source| PacketError::File { path: path.to_owned(), source })?;
    let wrong = |reason: String| PacketError::Capture { path: path.to_owned(), reason };
    let reader = pcap_parser::create_reader(BLOCK_MAX, file);
    let mut reader = reader.map_err(|error| wrong(format!("{error:?}")))?;
    let mut found = 0;
    loop {
        match reader.next() {
            Ok((used, block)) => {
                if let Some(bytes) = packet_of(&block) {
                    found += 1;
                    if found == wanted {
                        return Ok(bytes.to_vec());
                    }
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => {
                return Err(PacketError::Number { path: path.to_owned(), wanted, found });
            }
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|error| wrong(format!("{error:?}")))?;
            }
            Err(error) => return Err(wrong(format!("{error:?}"))),
        }
    }
}

/// What was captured of a packet, without the padding behind it.
fn packet_of<'a>(block: &'a PcapBlockOwned<'_>) -> Option<&'a [u8]> {
    let (data, length) = match block {
        PcapBlockOwned::Legacy(packet) => (packet.data, packet.caplen),
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => (packet.data, packet.caplen),
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => (packet.data, packet.origlen),
        _ => return None,
    };
    Some(data.get(..length as usize).unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use super::{PacketError, read};
    use crate::capture::{Capture, Interface};
    use std::time::UNIX_EPOCH;

    #[test]
    fn hexadecimal_digits_in_pairs_are_a_packet() {
        assert_eq!(read("00ff 10:2A").unwrap(), [0, 0xff, 0x10, 0x2a]);
        for wrong in ["", "abc", "zz", "12 3", "näh0"] {
            assert!(matches!(read(wrong), Err(PacketError::Text { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_capture_gives_the_packet_that_is_asked_for() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        for length in [14usize, 15, 60] {
            capture.packet(Interface::Wire, UNIX_EPOCH, &vec![7; length], "").unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.pcapng");
        std::fs::write(&path, capture.finish().unwrap()).unwrap();
        let name = path.to_str().unwrap();
        assert_eq!(read(name).unwrap().len(), 14);
        assert_eq!(read(&format!("{name}:2")).unwrap().len(), 15);
        assert_eq!(read(&format!("{name}:3")).unwrap().len(), 60);
        let beyond = read(&format!("{name}:4"));
        assert!(matches!(beyond, Err(PacketError::Number { wanted: 4, found: 3, .. })));
        let cut = directory.path().join("cut.pcap");
        std::fs::write(&cut, [0xd4, 0xc3, 0xb2, 0xa1, 2, 0]).unwrap();
        assert!(matches!(read(cut.to_str().unwrap()), Err(PacketError::Capture { .. })));
    }
}
