//! What `.BTF.ext` adds: which source line each instruction comes from, and which instructions ask
//! for the layout of the running kernel's types (CO-RE).
//!
//! Records are grouped by the name of the section that they speak of and kept sorted by offset, so
//! that the linker takes those of a function as one slice.

use alloc::vec::Vec;
use core::ops::Range;

use super::btf::{Btf, MAGIC};
use super::elf::bounded;
use super::error::ObjectError;
use super::reader::Reader;
use crate::limits::OBJECT_SECTIONS;

/// A record: offset of the instruction in its section, in bytes, and three words more.
///
/// Lines: the file's name and the line's text as offsets among the strings, and the place (line
/// number in the upper 22 bits, column in the lower 10). CO-RE: the type, the member positions as
/// an offset among the strings, the kind of question.
pub(super) type Record = [u32; 4];

/// The records of one section.
struct Group<'d> {
    section: &'d str,
    /// Ascending by offset.
    records: Vec<Record>,
}

/// Everything in `.BTF.ext`.
#[derive(Default)]
pub(super) struct Ext<'d> {
    lines: Vec<Group<'d>>,
    core: Vec<Group<'d>>,
}

impl<'d> Ext<'d> {
    /// Reads the section.
    pub(super) fn parse(bytes: &'d [u8], btf: &Btf<'d>) -> Result<Self, ObjectError> {
        let mut header = Reader::new(".BTF.ext", bytes);
        header.magic(MAGIC)?;
        let length = header.u32("the header's length")?;
        let mut part = || -> Result<_, ObjectError> {
            let (at, len) = (header.u32("an offset")?, header.u32("a length")?);
            Reader::new(".BTF.ext", bytes).part([length, at], len)
        };
        let _functions = part()?;
        let lines = groups(part()?, btf)?;
        // CO-RE relocations came later, with a longer header.
        let core = if length >= 32 { groups(part()?, btf)? } else { Vec::new() };
        Ok(Self { lines, core })
    }

    /// The lines of a range of a section, in bytes.
    pub(super) fn lines(&self, section: &str, range: Range<u64>) -> &[Record] {
        slice(&self.lines, section, range)
    }

    /// The CO-RE relocations of a range of a section, in bytes.
    pub(super) fn core(&self, section: &str, range: Range<u64>) -> &[Record] {
        slice(&self.core, section, range)
    }
}

fn slice<'a>(groups: &'a [Group<'_>], section: &str, range: Range<u64>) -> &'a [Record] {
    let Some(group) = groups.iter().find(|group| group.section == section) else { return &[] };
    let before = |limit: u64| group.records.partition_point(|&[at, ..]| u64::from(at) < limit);
    group.records.get(before(range.start)..before(range.end)).unwrap_or_default()
}

/// Reads a part: a record's size, then per section its name, a number of records, the records.
fn groups<'d>(mut reader: Reader<'d>, btf: &Btf<'d>) -> Result<Vec<Group<'d>>, ObjectError> {
    let mut groups: Vec<Group<'d>> = Vec::new();
    if reader.is_empty() {
        return Ok(groups);
    }
    let size = reader.u32("a record's size")? as usize;
    if size < size_of::<Record>() {
        return Err(reader.expected("records of at least 16 bytes"));
    }
    let mut parts = 0;
    while !reader.is_empty() {
        // Each part looks for its group.
        parts += 1;
        bounded("parts of .BTF.ext", parts, ("OBJECT_SECTIONS", OBJECT_SECTIONS))?;
        let name = reader.u32("a section's name")?;
        let section = btf.string(name).ok_or_else(|| reader.expected("a section's name"))?;
        let count = reader.u32("a number of records")? as usize;
        let length = count.checked_mul(size).ok_or(reader.expected("a number of records"))?;
        let records = reader.take(length, "the records")?.chunks_exact(size).map(record);
        match groups.iter_mut().find(|group| group.section == section) {
            Some(group) => group.records.extend(records),
            None => groups.push(Group { section, records: records.collect() }),
        }
    }
    for group in &mut groups {
        group.records.sort_by_key(|&[at, ..]| at);
    }
    Ok(groups)
}

fn record(bytes: &[u8]) -> Record {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}
