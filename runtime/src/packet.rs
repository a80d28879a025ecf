//! What the helpers of XDP do to a frame: move its ends, copy out of it and into it.
//!
//! Semantics and error numbers are Linux's (`net/core/filter.c`, `bpf_xdp_adjust_head` and its
//! neighbours) with two differences: no frame grows beyond what a proof speaks of
//! ([`ebpf::limits::PACKET_MAX`]), and bytes that a move uncovers are zero.

pub use ebpf::packet::{HEADROOM, PacketBuffer};

use ebpf::limits::{PACKET_MAX, PACKET_MIN};

use crate::map::Errno;

/// Longest offset and length that the copying helpers take, in bytes.
const REACH: u64 = 0xffff;

/// `bpf_xdp_adjust_head`: `data` moves by so many bytes.
///
/// # Errors
/// [`Errno::Invalid`]: no room, or no frame left.
pub fn adjust_head(packet: &mut PacketBuffer<'_>, by: u64) -> Result<(), Errno> {
    let by = by as i32 as isize;
    let fits = packet.len().checked_add_signed(-by).is_some_and(is_frame);
    if fits && packet.move_start(by) { Ok(()) } else { Err(Errno::Invalid) }
}

/// `bpf_xdp_adjust_tail`: `data_end` moves by so many bytes.
///
/// # Errors
/// [`Errno::Invalid`]: no room, or no frame left.
pub fn adjust_tail(packet: &mut PacketBuffer<'_>, by: u64) -> Result<(), Errno> {
    let by = by as i32 as isize;
    let fits = packet.len().checked_add_signed(by).is_some_and(is_frame);
    if fits && packet.move_end(by) { Ok(()) } else { Err(Errno::Invalid) }
}

/// The bytes of a frame that `bpf_xdp_load_bytes` and `bpf_xdp_store_bytes` copy, as a range.
///
/// # Errors
/// [`Errno::Fault`] beyond any frame, [`Errno::Invalid`] beyond this one.
pub fn span(frame: usize, offset: u64, bytes: u64) -> Result<core::ops::Range<usize>, Errno> {
    // Both arguments are `u32` in Linux.
    let (offset, bytes) = (u64::from(offset as u32), u64::from(bytes as u32));
    if offset > REACH || bytes > REACH {
        return Err(Errno::Fault);
    }
    let (start, end) = (offset as usize, (offset + bytes) as usize);
    if end <= frame { Ok(start..end) } else { Err(Errno::Invalid) }
}

/// `bpf_xdp_load_bytes`: packet to buffer. On an error the buffer becomes zero, so that it is
/// always written.
///
/// # Errors
/// Those of [`span`].
pub fn load_bytes(frame: &[u8], offset: u64, into: &mut [u8]) -> Result<(), Errno> {
    let found = span(frame.len(), offset, into.len() as u64)
        .and_then(|span| frame.get(span).ok_or(Errno::Invalid));
    match found {
        Ok(bytes) => into.copy_from_slice(bytes),
        Err(_) => into.fill(0),
    }
    found.map(|_| ())
}

/// `bpf_xdp_store_bytes`: memory to packet.
///
/// # Errors
/// Those of [`span`].
pub fn store_bytes(frame: &mut [u8], offset: u64, from: &[u8]) -> Result<(), Errno> {
    let span = span(frame.len(), offset, from.len() as u64)?;
    frame.get_mut(span).ok_or(Errno::Invalid)?.copy_from_slice(from);
    Ok(())
}

fn is_frame(len: usize) -> bool {
    (PACKET_MIN..=PACKET_MAX).contains(&len)
}

const _: () = assert!(PACKET_MAX + HEADROOM <= isize::MAX as usize);

#[cfg(test)]
mod tests {
    use super::{PacketBuffer, adjust_head, adjust_tail, load_bytes, store_bytes};
    use crate::map::Errno;
    use ebpf::limits::PACKET_MAX;

    fn number(n: i32) -> u64 {
        i64::from(n) as u64
    }

    #[test]
    fn a_frame_keeps_its_ethernet_header_and_its_limit() {
        let mut buffer = [1_u8; 2_048];
        let mut packet = PacketBuffer::new(&mut buffer, 256, 60).unwrap();
        assert_eq!(adjust_head(&mut packet, 46), Ok(()));
        assert_eq!(adjust_head(&mut packet, 1), Err(Errno::Invalid));
        assert_eq!(adjust_head(&mut packet, number(-302)), Ok(()));
        assert_eq!((packet.start(), packet.len()), (0, 316));
        assert_eq!(adjust_head(&mut packet, number(-1)), Err(Errno::Invalid));
        assert_eq!(adjust_tail(&mut packet, number(-302)), Ok(()));
        assert_eq!(adjust_tail(&mut packet, number(-1)), Err(Errno::Invalid));
        assert_eq!(adjust_tail(&mut packet, PACKET_MAX as u64 - 14), Ok(()));
        assert_eq!(adjust_tail(&mut packet, 1), Err(Errno::Invalid), "longer than any frame");
        for extreme in [i32::MIN, i32::MAX] {
            assert_eq!(adjust_head(&mut packet, number(extreme)), Err(Errno::Invalid));
            assert_eq!(adjust_tail(&mut packet, number(extreme)), Err(Errno::Invalid));
        }
        // Only the low 32 bits count.
        assert_eq!(adjust_tail(&mut packet, 0xffff_ffff_0000_0000), Ok(()));
    }

    #[test]
    fn bytes_are_copied_whole_or_not_at_all() {
        let mut frame = [0, 1, 2, 3, 4, 5, 6, 7];
        let mut into = [9; 3];
        assert_eq!(load_bytes(&frame, 5, &mut into), Ok(()));
        assert_eq!(into, [5, 6, 7]);
        assert_eq!(load_bytes(&frame, 6, &mut into), Err(Errno::Invalid));
        assert_eq!(into, [0; 3], "always written");
        assert_eq!(load_bytes(&frame, 0x1_0000, &mut into), Err(Errno::Fault));
        assert_eq!(load_bytes(&frame, 1 << 32 | 5, &mut into), Ok(()));
        assert_eq!(store_bytes(&mut frame, 6, &[1, 2, 3]), Err(Errno::Invalid));
        assert_eq!(store_bytes(&mut frame, u64::from(u32::MAX), &[1]), Err(Errno::Fault));
        assert_eq!(store_bytes(&mut frame, 5, &[1, 2, 3]), Ok(()));
        assert_eq!(frame, [0, 1, 2, 3, 4, 1, 2, 3]);
    }
}
