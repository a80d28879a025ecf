//! Frames: uniformly to one of N ports, one in ten to nobody, in an order without a pattern.

use crate::world::{ADDRESS, FIRST_PORT};

/// Bytes of each frame.
pub const FRAME_BYTES: usize = 64;

/// A frame.
pub type Frame = [u8; FRAME_BYTES];

/// `count` frames among `filters` ports, and for each the number of the filter it belongs to.
#[must_use]
pub fn among(filters: u16, count: usize) -> Vec<(Frame, Option<u16>)> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % bound
    };
    (0..count)
        .map(|_| {
            let number = below(filters.into()) as u16;
            if below(10) > 0 {
                (udp(ADDRESS, FIRST_PORT + number), Some(number))
            } else {
                (stranger(below(3), number), None)
            }
        })
        .collect()
}

/// A frame that no filter accepts: a port beside them, another address, another protocol.
fn stranger(kind: u64, number: u16) -> Frame {
    match kind {
        0 => udp(ADDRESS, FIRST_PORT - 1 - number % FIRST_PORT),
        1 => udp([10, 0, 0, 9], FIRST_PORT + number),
        _ => {
            let mut frame = udp(ADDRESS, FIRST_PORT + number);
            frame[23] = 6;
            frame
        }
    }
}

/// A UDP datagram of 22 bytes over IPv4 without options, from port 4000 of 10.0.0.2.
#[must_use]
pub fn udp(address: [u8; 4], port: u16) -> Frame {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..18].copy_from_slice(&[0x45, 0, 0, 50]);
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[26..30].copy_from_slice(&[10, 0, 0, 2]);
    frame[30..34].copy_from_slice(&address);
    frame[34..36].copy_from_slice(&4000_u16.to_be_bytes());
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[38..40].copy_from_slice(&30_u16.to_be_bytes());
    frame
}
