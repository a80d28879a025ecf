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
use core::fmt;

use serde::de::DeserializeOwned;
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

    /// Reads a certificate whole.
    ///
    /// # Errors
    /// [`Fault`]: the bytes are no certificate of this version, or more than one may be.
    pub fn decode(bytes: &[u8]) -> Result<Certificate, Fault> {
        let mut reader = Reader::new(bytes.to_vec())?;
        let mut certificate = Certificate { version: VERSION, cases: Vec::new() };
        while let Some(piece) = reader.next()? {
            match (piece, certificate.cases.last_mut()) {
                (Piece::Case(lengths), _) => {
                    certificate.cases.push(Case { lengths, tests: Vec::new() });
                }
                (Piece::Test(test), Some(case)) => case.tests.push(test),
                (Piece::Test(_), None) => {}
            }
        }
        Ok(certificate)
    }
}

/// Why bytes are no certificate. Cases count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More than [`BYTES_MAX`].
    Bytes,
    /// More cases than [`CASES_MAX`].
    Cases,
    /// More tests than [`TESTS_MAX`] in this case.
    Tests(u32),
    /// Another version than [`VERSION`].
    Version,
    /// They end, or hold a number that is none, before or in this case.
    CutOff(u32),
    /// They go on behind the last case.
    TooLong,
}

impl Fault {
    /// The limit that is met, by name and value.
    #[must_use]
    pub const fn limit(self) -> Option<(&'static str, u64)> {
        match self {
            Fault::Bytes => Some(("CERTIFICATE_BYTES_MAX", BYTES_MAX as u64)),
            Fault::Cases => Some(("CERTIFICATE_CASES_MAX", CASES_MAX as u64)),
            Fault::Tests(_) => Some(("CERTIFICATE_TESTS_MAX", TESTS_MAX as u64)),
            Fault::Version | Fault::CutOff(_) | Fault::TooLong => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Bytes => f.write_str("the certificate is too long"),
            Fault::Cases => f.write_str("the certificate has too many cases"),
            Fault::Tests(case) => write!(f, "case {case} of the certificate has too many tests"),
            Fault::Version => write!(f, "the certificate is not of version {VERSION}"),
            Fault::CutOff(case) => write!(f, "the certificate cannot be read at its case {case}"),
            Fault::TooLong => f.write_str("the certificate goes on behind its last case"),
        }
    }
}

/// One step of reading: what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A case begins: its shortest and longest length.
    Case((u16, u16)),
    /// A test of that case.
    Test(Test),
}

/// Reads bytes of whoever sent them, a test at a time: no memory but theirs, and little work at
/// once.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    /// Cases begun, and cases that there are.
    cases: (u32, u32),
    /// Tests of the current case that are still to come.
    tests: u32,
}

impl Reader {
    /// Looks at the head only.
    ///
    /// # Errors
    /// [`Fault::Bytes`], [`Fault::Version`], [`Fault::Cases`], [`Fault::CutOff`].
    pub fn new(bytes: Vec<u8>) -> Result<Reader, Fault> {
        if bytes.len() > BYTES_MAX {
            return Err(Fault::Bytes);
        }
        let mut reader = Reader { bytes, at: 0, cases: (0, 0), tests: 0 };
        if reader.take::<u8>()? != VERSION {
            return Err(Fault::Version);
        }
        let count = reader.take::<u32>()?;
        if count as usize > CASES_MAX {
            return Err(Fault::Cases);
        }
        reader.cases.1 = count;
        Ok(reader)
    }

    /// What was given to [`Reader::new`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The case that is being read, from 0.
    #[must_use]
    pub fn case(&self) -> u32 {
        self.cases.0.saturating_sub(1)
    }

    /// The next case or test; `None` behind the last.
    ///
    /// # Errors
    /// [`Fault`], again at each call.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on behind a fault")]
    pub fn next(&mut self) -> Result<Option<Piece>, Fault> {
        if self.tests > 0 {
            let test = self.take()?;
            self.tests -= 1;
            return Ok(Some(Piece::Test(test)));
        }
        if self.cases.0 == self.cases.1 {
            let whole = self.at == self.bytes.len();
            return if whole { Ok(None) } else { Err(Fault::TooLong) };
        }
        let before = self.at;
        let lengths = self.take()?;
        let tests = self.take::<u32>()?;
        if tests as usize > TESTS_MAX {
            self.at = before;
            return Err(Fault::Tests(self.cases.0));
        }
        self.tests = tests;
        self.cases.0 += 1;
        Ok(Some(Piece::Case(lengths)))
    }

    fn take<T: DeserializeOwned>(&mut self) -> Result<T, Fault> {
        let cut_off = Fault::CutOff(if self.tests > 0 { self.case() } else { self.cases.0 });
        let rest = self.bytes.get(self.at..).ok_or(cut_off)?;
        let (value, left) = postcard::take_from_bytes(rest).map_err(|_| cut_off)?;
        self.at = self.bytes.len() - left.len();
        Ok(value)
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
        assert_eq!(Certificate::decode(&some().encode()), Ok(some()));
    }

    #[test]
    fn what_is_cut_off_too_long_or_of_another_version_is_refused_by_name() {
        let bytes = some().encode();
        for length in 0..bytes.len() {
            let fault = Certificate::decode(&bytes[..length]).unwrap_err();
            // Version and count, then two cases of the same length.
            let case = u32::from(length >= 2 + (bytes.len() - 2) / 2);
            assert_eq!(fault, Fault::CutOff(case), "{length}");
        }
        let longer = [bytes.clone(), alloc::vec![0]].concat();
        assert_eq!(Certificate::decode(&longer), Err(Fault::TooLong));
        let other = Certificate { version: VERSION + 1, ..some() };
        assert_eq!(Certificate::decode(&other.encode()), Err(Fault::Version));
        assert_eq!(Certificate::decode(&[0; BYTES_MAX + 1]), Err(Fault::Bytes));
    }

    #[test]
    fn counts_are_looked_at_before_what_they_count() {
        let mut many = some();
        many.cases = alloc::vec![Case { lengths: (14, 14), tests: Vec::new() }; CASES_MAX + 1];
        assert_eq!(Certificate::decode(&many.encode()), Err(Fault::Cases));
        let mut wide = some();
        wide.cases[1].tests = alloc::vec![wide.cases[0].tests[0]; TESTS_MAX + 1];
        assert_eq!(Certificate::decode(&wide.encode()), Err(Fault::Tests(1)));
        // Counts that no bytes follow.
        let huge = [VERSION, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Certificate::decode(&huge), Err(Fault::Cases));
        let huge = [VERSION, 1, 14, 14, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Certificate::decode(&huge), Err(Fault::Tests(0)));
        for fault in [Fault::Bytes, Fault::Cases, Fault::Tests(0)] {
            assert!(fault.limit().is_some());
        }
    }

    #[test]
    fn a_fault_stays_one() {
        let bytes = some().encode();
        let mut reader = Reader::new(bytes[..bytes.len() - 1].to_vec()).unwrap();
        while reader.next().is_ok() {}
        assert_eq!(reader.next(), Err(Fault::CutOff(1)));
        assert_eq!(reader.next(), Err(Fault::CutOff(1)));
    }
}
