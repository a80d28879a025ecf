//! What a library OS may send along with a filter whose accepted frames the kernel cannot tell by
//! itself: cases in which it can.
//!
//! A certificate is a list of cases; a case is a range of lengths and the values of a few bytes,
//! each under a mask. Together the cases must hold every frame that the filter could accept, as far
//! as the kernel can tell without them; in each case the filter must become one that it can decide.
//! Both are checked, so that nothing here is believed: a certificate that is wrong, or none at all,
//! is refused and changes nothing.
//!
//! `postcard`, at most [`BYTES_MAX`]; the version comes first.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The version of this layout.
pub const VERSION: u8 = 1;
/// Bytes of an encoded certificate at most.
pub const BYTES_MAX: usize = 8192;
/// Cases of a certificate at most.
pub const CASES_MAX: usize = 128;
/// Bytes that one case may fix at most.
pub const TESTS_MAX: usize = 16;

/// Cases that cover a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`VERSION`].
    pub version: u8,
    /// The cases; they may overlap.
    pub cases: Vec<Case>,
}

/// Some of the frames: those of a length in which all tests hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Shortest and longest length, in bytes.
    pub lengths: (u16, u16),
    /// What is known of bytes.
    pub tests: Vec<Test>,
}

/// One byte under a mask has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The header behind which it stands, if that is one of variable length.
    pub behind: Option<Header>,
    /// Offset from there, or from the frame's start, in bytes.
    pub offset: u16,
    /// The bits that are known.
    pub mask: u8,
    /// Their values.
    pub value: u8,
}

/// `add + ((frame[at] & mask) << shift)`; a negative shift is one to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Offset of the byte that holds the length.
    pub at: u16,
    /// Its bits that do.
    pub mask: u8,
    /// From the byte's units to bytes.
    pub shift: i8,
    /// Constant part, in bytes.
    pub add: u16,
}

impl Certificate {
    /// The certificate as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads a certificate; `None` if the bytes are none of this version, or more than there may
    /// be.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Certificate> {
        if bytes.len() > BYTES_MAX {
            return None;
        }
        let (certificate, rest) = postcard::take_from_bytes::<Certificate>(bytes).ok()?;
        let fits = certificate.cases.len() <= CASES_MAX
            && certificate.cases.iter().all(|case| case.tests.len() <= TESTS_MAX);
        (certificate.version == VERSION && rest.is_empty() && fits).then_some(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Certificate {
        let behind = Some(Header { at: 14, mask: 15, shift: 2, add: 14 });
        let test = Test { behind, offset: 2, mask: 0xff, value: 53 };
        let case = Case { lengths: (42, 1522), tests: alloc::vec![test] };
        Certificate { version: VERSION, cases: alloc::vec![case.clone(), case] }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Certificate::decode(&some().encode()), Some(some()));
    }

    #[test]
    fn what_is_cut_off_too_long_or_of_another_version_is_none() {
        let bytes = some().encode();
        for length in 0..bytes.len() {
            assert_eq!(Certificate::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Certificate::decode(&[bytes.clone(), alloc::vec![0]].concat()), None);
        let other = Certificate { version: VERSION + 1, ..some() };
        assert_eq!(Certificate::decode(&other.encode()), None);
        let mut many = some();
        many.cases = alloc::vec![Case { lengths: (14, 14), tests: Vec::new() }; CASES_MAX + 1];
        assert_eq!(Certificate::decode(&many.encode()), None);
        // A count that no bytes follow.
        assert_eq!(Certificate::decode(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        assert_eq!(Certificate::decode(&[0; BYTES_MAX + 1]), None);
    }
}
