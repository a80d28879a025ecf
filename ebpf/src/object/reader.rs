//! Little-endian numbers from a slice, with a name for what is missing.

use super::error::ObjectError;

/// A place in a section.
pub(super) struct Reader<'d> {
    section: &'static str,
    /// Offset of `rest` in the section, in bytes.
    at: usize,
    rest: &'d [u8],
}

impl<'d> Reader<'d> {
    pub(super) const fn new(section: &'static str, bytes: &'d [u8]) -> Self {
        Self { section, at: 0, rest: bytes }
    }

    /// The part of the section of this length that begins at the sum of two offsets.
    pub(super) fn part(self, offsets: [u32; 2], length: u32) -> Result<Self, ObjectError> {
        let outside =
            ObjectError::Btf { section: self.section, offset: self.at, expected: "a part inside" };
        let [header, offset] = offsets;
        let start = header.checked_add(offset).ok_or(outside.clone())?;
        let end = start.checked_add(length).ok_or(outside.clone())?;
        let rest = self.rest.get(start as usize..end as usize).ok_or(outside)?;
        Ok(Self { section: self.section, at: self.at + start as usize, rest })
    }

    /// An error here.
    pub(super) const fn expected(&self, expected: &'static str) -> ObjectError {
        ObjectError::Btf { section: self.section, offset: self.at, expected }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) const fn rest(self) -> &'d [u8] {
        self.rest
    }

    pub(super) fn take(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<&'d [u8], ObjectError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.expected(expected))?;
        self.at += length;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<u32, ObjectError> {
        let taken = self.take(4, expected)?;
        let word = taken.first_chunk().ok_or_else(|| self.expected(expected))?;
        Ok(u32::from_le_bytes(*word))
    }

    /// The head of both BTF sections: magic, version 1, flags.
    pub(super) fn magic(&mut self, magic: u16) -> Result<(), ObjectError> {
        let wrong = self.expected("little-endian BTF of version 1");
        let head = self.u32("a header")?;
        let [low, high, version, _flags] = head.to_le_bytes();
        if u16::from_le_bytes([low, high]) != magic || version != 1 {
            return Err(wrong);
        }
        Ok(())
    }
}
