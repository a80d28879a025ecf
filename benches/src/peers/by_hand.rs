//! What an expert writes for UDP ports of one address and nothing else.
//!
//! It accepts what the filters of the benches accept: untagged IPv4 with a valid header length,
//! first fragments, options allowed, the port behind them.

use hashbrown::HashMap;

use crate::world::{ADDRESS, FIRST_PORT};

/// Both tables, filled alike.
#[derive(Debug)]
pub struct ByHand {
    hashed: HashMap<u16, u16>,
    /// For each port, the number of its filter plus one.
    direct: Vec<u16>,
}

impl ByHand {
    /// The first `filters` ports.
    #[must_use]
    pub fn new(filters: u16) -> ByHand {
        let hashed = (0..filters).map(|number| (FIRST_PORT + number, number)).collect();
        let mut direct = vec![0; 1 << 16];
        for number in 0..filters {
            direct[usize::from(FIRST_PORT + number)] = number + 1;
        }
        ByHand { hashed, direct }
    }

    /// The number of the filter that the frame belongs to, by hash table.
    #[must_use]
    pub fn hashed(&self, frame: &[u8]) -> Option<u16> {
        self.hashed.get(&port(frame)?).copied()
    }

    /// The same, by an array with a place for every port.
    #[must_use]
    pub fn direct(&self, frame: &[u8]) -> Option<u16> {
        self.direct[usize::from(port(frame)?)].checked_sub(1)
    }
}

/// The destination port of a UDP datagram to [`ADDRESS`].
fn port(frame: &[u8]) -> Option<u16> {
    let header: &[u8; 34] = frame.first_chunk()?;
    let words = header[14] & 0x0f;
    let is_ours = header[12..14] == [8, 0]
        && header[14] >> 4 == 4
        && words >= 5
        && u16::from_be_bytes([header[20], header[21]]) & 0x1fff == 0
        && header[23] == 17
        && header[30..34] == ADDRESS;
    if !is_ours {
        return None;
    }
    let at = 14 + usize::from(words) * 4 + 2;
    let port = frame.get(at..at + 2)?;
    Some(u16::from_be_bytes([port[0], port[1]]))
}
