//! A response that is made once: its head around the date, its body where it lies, and the sums of
//! both in pieces of a segment's size.
//!
//! Whoever sends segments of `size` bytes takes the response in pieces that begin at its multiples:
//! then their checksums are known, and nobody reads the body again but the card. The date stands
//! apart: a head that is sent again must say what it said the first time.

use alloc::vec::Vec;
use core::cell::RefCell;

use super::date::{self, date};
use crate::checksum::{fold, sum, swapped};

/// Sizes of segments whose sums are kept: of IPv4 and of IPv6 in full frames, and two more.
const SIZES_MAX: usize = 4;

/// A response for connections that stay, or for those that end.
#[derive(Debug)]
pub struct Prepared {
    /// With zeros where the date is.
    head: Vec<u8>,
    date_at: usize,
    body: &'static [u8],
    sums: RefCell<Vec<Sums>>,
}

/// The sums of a response's pieces.
#[derive(Debug)]
struct Sums {
    size: usize,
    all: Vec<u16>,
}

/// A piece of a response: bytes of its head, with their date, and bytes of its body.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What stands in the head, zeros for the date.
    pub head: &'a [u8],
    /// Where in it the date is, and the part of the date that is there.
    pub date: Option<(usize, [u8; date::BYTES])>,
    /// What stands in the body.
    pub body: &'static [u8],
    /// The sum of it all.
    pub sum: u32,
}

impl Prepared {
    /// Before and after the date, and the body.
    pub(super) fn new(before: &str, after: &str, body: &'static [u8]) -> Prepared {
        let mut head = before.as_bytes().to_vec();
        let date_at = head.len();
        head.extend_from_slice(&[0; date::BYTES]);
        head.extend_from_slice(after.as_bytes());
        Prepared { head, date_at, body, sums: RefCell::new(Vec::new()) }
    }

    /// The head as of that second since 1970.
    pub fn head(&self, second: u64) -> Vec<u8> {
        let mut head = self.head.clone();
        if let Some(place) = head.get_mut(self.date_at..self.date_at + date::BYTES) {
            place.copy_from_slice(&date(second));
        }
        head
    }

    /// The body.
    pub fn body(&self) -> &'static [u8] {
        self.body
    }

    /// Bytes of the head, and of both.
    pub fn lengths(&self) -> (usize, usize) {
        (self.head.len(), self.head.len() + self.body.len())
    }

    /// Bytes `from..to` of head and body, as of a date, for segments of that size. Cheap if it is a
    /// whole piece of that size, or the last one, and the date is in it as a whole or not at all.
    pub fn piece(
        &self,
        (from, to): (usize, usize),
        size: usize,
        said: &[u8; date::BYTES],
    ) -> Piece<'_> {
        let all = self.head.len();
        let head = self.head.get(from.min(all)..to.min(all)).unwrap_or_default();
        let body = self.body.get(from.max(all) - all..to.max(all) - all).unwrap_or_default();
        let whole = self.date_at >= from && self.date_at + date::BYTES <= to;
        let none = self.date_at >= to || self.date_at + date::BYTES <= from;
        if !whole && !none {
            return self.torn((from, to), said);
        }
        let fixed = self.kept(from, to, size).unwrap_or_else(|| {
            let body_sum = sum(body);
            sum(head) + if head.len().is_multiple_of(2) { body_sum } else { swapped(body_sum) }
        });
        if none {
            return Piece { head, date: None, body, sum: fixed };
        }
        let at = self.date_at - from;
        let date_sum = if at.is_multiple_of(2) { sum(said) } else { swapped(sum(said)) };
        Piece { head, date: Some((at, *said)), body, sum: fixed + date_sum }
    }

    /// A piece that ends or begins within the date: nobody's segments are so small, unless the
    /// other side wants it so.
    #[cold]
    fn torn(&self, (from, to): (usize, usize), said: &[u8; date::BYTES]) -> Piece<'_> {
        let to = if from < self.date_at { self.date_at } else { to.min(from + 1) };
        let head = self.head.get(from..to).unwrap_or_default();
        let byte = from.checked_sub(self.date_at).and_then(|at| said.get(at)).copied();
        match byte {
            // One byte of the date, which is there as a whole.
            Some(byte) => {
                let mut one = [0; date::BYTES];
                one[0] = byte;
                Piece { head, date: Some((0, one)), body: &[], sum: sum(&[byte]) }
            }
            None => Piece { head, date: None, body: &[], sum: sum(head) },
        }
    }

    /// The sum of a piece that is kept, dates being zeros; it is computed the first time.
    fn kept(&self, from: usize, to: usize, size: usize) -> Option<u32> {
        let (_, length) = self.lengths();
        let regular = size > 0 && from.is_multiple_of(size) && to == length.min(from + size);
        let place = from.checked_div(size).filter(|_| regular)?;
        let mut kept = self.sums.borrow_mut();
        let known = kept.iter().position(|it| it.size == size);
        let known = match known {
            Some(known) => known,
            None if kept.len() == SIZES_MAX => return None,
            None => {
                kept.push(Sums { size, all: self.sums_of(size) });
                kept.len() - 1
            }
        };
        kept.get(known)?.all.get(place).map(|&sum| u32::from(sum))
    }

    fn sums_of(&self, size: usize) -> Vec<u16> {
        let (head, length) = self.lengths();
        let pieces = (0..length).step_by(size);
        let of = |from: usize| {
            let to = length.min(from + size);
            let first = self.head.get(from.min(head)..to.min(head)).unwrap_or_default();
            let rest = self.body.get(from.max(head) - head..to.max(head) - head);
            let rest = sum(rest.unwrap_or_default());
            fold(sum(first) + if first.len().is_multiple_of(2) { rest } else { swapped(rest) })
        };
        pieces.map(of).collect()
    }
}

impl Piece<'_> {
    /// Its length.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Prepared;
    use crate::checksum::{fold, sum};
    use crate::http::date::date;
    use alloc::vec::Vec;

    static BODY: [u8; 5000] = {
        let mut bytes = [0; 5000];
        let mut i = 0;
        while i < 5000 {
            bytes[i] = (i * i % 253) as u8;
            i += 1;
        }
        bytes
    };

    #[test]
    fn any_pieces_make_up_the_response_and_their_sums_are_right() {
        for before in ["HTTP/1.1 200 OK\r\nDate: ", "HTTP/1.1 200 OK\r\nServer: x\r\nDate: "] {
            let prepared = Prepared::new(before, "\r\nA: b\r\n\r\n", &BODY);
            let said = date(784_111_777);
            let whole = [&prepared.head(784_111_777)[..], &BODY].concat();
            assert_eq!(prepared.lengths().1, whole.len());
            for size in [1, 2, 7, 30, 31, 100, 536, 1440, 1460] {
                let mut made = Vec::new();
                while made.len() < whole.len() {
                    let from = made.len();
                    let to = whole.len().min((from / size + 1) * size);
                    let piece = prepared.piece((from, to), size, &said);
                    let mut bytes = [piece.head, piece.body].concat();
                    if let Some((at, date)) = piece.date {
                        let end = bytes.len().min(at + date.len());
                        bytes[at..end].copy_from_slice(&date[..end - at]);
                    }
                    assert!(!bytes.is_empty() && bytes.len() == piece.bytes());
                    assert_eq!(fold(piece.sum), fold(sum(&bytes)), "{size} at {from}");
                    made.extend(bytes);
                }
                assert_eq!(made, whole, "{size}");
            }
        }
    }
}
