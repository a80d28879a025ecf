//! Bodies of the fuzz targets: decoding answers whatever comes, and what it takes in is sound.
//!
//! Each body is a plain function over arbitrary bytes that panics when a property does not hold,
//! and says whether the bytes were taken in. The targets in `fuzz/` call them; a test runs each for
//! a second on damaged encodings.

use alloc::vec::Vec;

use crate::image::{IMAGE_BYTES_MAX, Image, SEGMENTS_MAX, read};
use crate::limits::{PAGE_BYTES, USER_END, USER_START};
use crate::record::Record;
use crate::refusal;
use crate::start::Start;

/// A stream of records: each one taken uses bytes that are there, and survives its own encoding.
///
/// # Panics
/// If that does not hold.
pub fn records_any(bytes: &[u8]) -> bool {
    let (mut rest, mut taken) = (bytes, false);
    while let Ok(Some((sequence, record, used))) = Record::take(rest) {
        assert!((1..=rest.len()).contains(&used), "{used} of {}", rest.len());
        let frame = record.frame(sequence);
        let again = Record::take(&frame);
        assert_eq!(again, Ok(Some((sequence, record, frame.len()))));
        rest = &rest[used..];
        taken = true;
    }
    taken
}

/// A refusal: what is taken in survives its own encoding.
///
/// # Panics
/// If that does not hold.
pub fn refusal_any(bytes: &[u8]) -> bool {
    let Some(record) = refusal::Record::decode(bytes) else { return false };
    assert_eq!(record.version, refusal::VERSION);
    assert_eq!(refusal::Record::decode(&record.encode()), Some(record));
    true
}

/// A start block: what is taken in survives its own encoding.
///
/// # Panics
/// If that does not hold.
pub fn start_any(bytes: &[u8]) -> bool {
    let Some(start) = Start::decode(bytes) else { return false };
    assert_eq!(start.version, crate::VERSION);
    assert_eq!(Start::decode(&start.encode()), Some(start));
    true
}

/// A program image, of the bytes as they are and as the program headers of a file with a valid ELF
/// header: what is taken in keeps every promise that a loader relies on.
///
/// # Panics
/// If that does not hold.
pub fn image_any(bytes: &[u8]) -> bool {
    if let Ok(image) = read(bytes) {
        assert_sound(&image, bytes);
    }
    let file = file_of(bytes);
    let Ok(image) = read(&file) else { return false };
    assert_sound(&image, &file);
    true
}

fn assert_sound(image: &Image<'_>, file: &[u8]) {
    let segments = &image.segments;
    assert!((1..=SEGMENTS_MAX).contains(&segments.len()));
    let page = PAGE_BYTES as u64;
    let (mut total, mut free) = (0, 0);
    for segment in segments {
        let end = segment.start.checked_add(segment.memory_bytes);
        let end = end.filter(|&end| segment.start >= USER_START && end <= USER_END);
        let Some(end) = end else { panic!("{segment:?}") };
        assert!(segment.memory_bytes > 0 && !(segment.write && segment.execute), "{segment:?}");
        assert!(segment.bytes.len() as u64 <= segment.memory_bytes, "{segment:?}");
        assert!(file.as_ptr_range().contains(&segment.bytes.as_ptr()) || segment.bytes.is_empty());
        assert!(segment.start / page >= free, "a page with two rights: {segment:?}");
        free = end.div_ceil(page);
        total += segment.memory_bytes;
    }
    assert!(total <= IMAGE_BYTES_MAX, "{total}");
    let entered = segments.iter().find(|segment| {
        (segment.start..segment.start + segment.memory_bytes).contains(&image.entry)
    });
    assert!(entered.is_some_and(|segment| segment.execute), "{:#x}", image.entry);
}

/// Bytes of an ELF64 header and of one of its program headers.
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 56;
/// Bytes that one program header is made from.
const CHOICE_BYTES: usize = 8;

/// A file with a valid ELF header and a program header for every eight bytes, most of them near
/// something that a loader must look at.
fn file_of(bytes: &[u8]) -> Vec<u8> {
    let choices = bytes.chunks_exact(CHOICE_BYTES).take(SEGMENTS_MAX + 2);
    let count = choices.len() as u16;
    let mut file = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    let entry = bytes.first().map_or(0, |&byte| USER_START + u64::from(byte) * 512);
    file.extend(entry.to_le_bytes());
    file.extend((HEADER_BYTES as u64).to_le_bytes());
    file.resize(HEADER_BYTES - 12, 0);
    file.extend((HEADER_BYTES as u16).to_le_bytes());
    file.extend((ENTRY_BYTES as u16).to_le_bytes());
    file.extend(count.to_le_bytes());
    file.resize(HEADER_BYTES, 0);
    for choice in choices {
        file.extend(program_header(choice));
    }
    file.extend(bytes);
    file
}

/// Type, flags, then offset, virtual and physical address, sizes in file and memory, alignment.
fn program_header(choice: &[u8]) -> Vec<u8> {
    let &[kind, flags, place, start, fine, in_file, in_memory, far] = choice else {
        return Vec::new();
    };
    let base = [USER_START, USER_START, USER_END, 0][usize::from(place % 4)];
    let start = base.wrapping_add(u64::from(start) * 1024).wrapping_sub(u64::from(fine % 4));
    let in_memory = if far == 0xff { u64::MAX - start } else { u64::from(in_memory) * 256 };
    let mut header = Vec::from(u32::from(kind % 8 != 7).to_le_bytes());
    header.extend(u32::from(flags % 8).to_le_bytes());
    for field in [u64::from(far) * 2, start, start, u64::from(in_file), in_memory, 1] {
        header.extend(field.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests;
