//! A frame that the programs themselves agree on.
//!
//! A guard holds frames that its filter refuses, so the witness that a comparison finds may be one
//! of them. Before nothing is said but "undecided", frames like it are tried: longer ones, and some
//! with other bytes where the witness has none in particular. What is found is a fact whichever way
//! it was found.

use alloc::vec::Vec;

use flow::limits::FRAME_MAX;

/// Bytes that a frame is lengthened by, one after the other.
const LONGER: usize = 17;

/// What bytes that are 0 become.
const FILLS: [u8; 5] = [0xff, 1, 2, 0x80, 4];

/// The witness, or a frame like it, for which the condition holds.
pub(super) fn find(witness: &[u8], holds: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut frame = witness.to_vec();
    for _ in 0..LONGER.min(usize::from(FRAME_MAX).saturating_sub(frame.len()) + 1) {
        if holds(&frame) {
            return Some(frame);
        }
        frame.push(0);
    }
    FILLS.into_iter().find_map(|fill| {
        let filled = |&byte: &u8| if byte == 0 { fill } else { byte };
        let frame: Vec<u8> = witness.iter().map(filled).collect();
        holds(&frame).then_some(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn what_is_near_is_found_and_nothing_else() {
        assert_eq!(find(&[0; 14], |frame| frame.len() == 14).map(|frame| frame.len()), Some(14));
        assert_eq!(find(&[0; 14], |frame| frame.len() == 30).map(|frame| frame.len()), Some(30));
        assert_eq!(find(&[7; 14], |frame| frame.len() == 31), None);
        assert_eq!(find(&[0, 7, 0], |frame| frame == [2, 7, 2]), Some([2, 7, 2].to_vec()));
        assert!(find(&[0; 1522], |frame| frame.len() > 1522).is_none());
    }
}
