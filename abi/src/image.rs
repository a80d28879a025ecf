//! Program images: what the kernel loads `init` from, and `init` the others.
//!
//! An image is an ELF64 executable for x86-64 with `PT_LOAD` segments in the user half. Every
//! size and address in it is hostile: what lies is refused by name before anything is mapped.

use alloc::vec::Vec;
use object::LittleEndian as Le;
use object::elf::{FileHeader64, PF_W, PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::limits::{PAGE_BYTES, USER_END, USER_START};

/// Segments of one image at most.
pub const SEGMENTS_MAX: usize = 16;
/// Bytes of memory of one image at most.
pub const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// One loadable segment. Its pages are `start / 4096 ..= (start + memory - 1) / 4096`; no two
/// segments share a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Virtual address of the first byte.
    pub start: u64,
    /// Bytes from the file; what follows up to `memory_bytes` is zero.
    pub bytes: &'a [u8],
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Mapped writable.
    pub write: bool,
    /// Mapped executable; never with `write`.
    pub execute: bool,
}

/// A checked image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// First instruction.
    pub entry: u64,
    /// Segments in order of address.
    pub segments: Vec<Segment<'a>>,
}

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Not an ELF64 little-endian file with readable program headers.
    NotElf,
    /// Not an executable for x86-64.
    WrongMachine,
    /// More than [`SEGMENTS_MAX`] segments.
    TooManySegments,
    /// A segment's file range leaves the file, or is longer than its memory.
    SegmentOutsideFile {
        /// Which program header.
        index: usize,
    },
    /// A segment leaves the user half, or the image passes [`IMAGE_BYTES_MAX`].
    SegmentOutsideUser {
        /// Which program header.
        index: usize,
    },
    /// A segment is writable and executable.
    WriteAndExecute {
        /// Which program header.
        index: usize,
    },
    /// Two segments share a page.
    SharedPage {
        /// Which program header.
        index: usize,
    },
    /// The entry point lies in no executable segment.
    BadEntry,
}

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF64 little-endian file"),
            Self::WrongMachine => f.write_str("not an executable for x86-64"),
            Self::TooManySegments => write!(f, "more than {SEGMENTS_MAX} segments"),
            Self::SegmentOutsideFile { index } => write!(f, "segment {index} leaves the file"),
            Self::SegmentOutsideUser { index } => {
                write!(f, "segment {index} leaves the user half or the size limit")
            }
            Self::WriteAndExecute { index } => write!(f, "segment {index} is W and X"),
            Self::SharedPage { index } => write!(f, "segment {index} shares a page"),
            Self::BadEntry => f.write_str("the entry point is in no executable segment"),
        }
    }
}

/// Checks an image.
///
/// # Errors
/// [`ImageError`] names the first thing that is wrong and, where there is one, the segment.
pub fn read(file: &[u8]) -> Result<Image<'_>, ImageError> {
    let header = FileHeader64::<Le>::parse(file).map_err(|_| ImageError::NotElf)?;
    let endian = header.endian().map_err(|_| ImageError::NotElf)?;
    if header.e_machine(endian) != object::elf::EM_X86_64
        || header.e_type(endian) != object::elf::ET_EXEC
    {
        return Err(ImageError::WrongMachine);
    }
    let headers = header.program_headers(endian, file).map_err(|_| ImageError::NotElf)?;
    let mut segments = Vec::new();
    for (index, h) in headers.iter().enumerate() {
        if h.p_type(endian) != PT_LOAD || h.p_memsz(endian) == 0 {
            continue;
        }
        if segments.len() == SEGMENTS_MAX {
            return Err(ImageError::TooManySegments);
        }
        segments.push(segment(file, endian, h, index)?);
    }
    segments.sort_by_key(|s| s.start);
    check_pages(&segments)?;
    let entry = header.e_entry(endian);
    let inside =
        |s: &Segment<'_>| s.execute && (s.start..s.start + s.memory_bytes).contains(&entry);
    if !segments.iter().any(inside) {
        return Err(ImageError::BadEntry);
    }
    Ok(Image { entry, segments })
}

fn segment<'a>(
    file: &'a [u8],
    endian: Le,
    h: &object::elf::ProgramHeader64<Le>,
    index: usize,
) -> Result<Segment<'a>, ImageError> {
    let bytes = h.data(endian, file).map_err(|()| ImageError::SegmentOutsideFile { index })?;
    let (start, memory_bytes) = (h.p_vaddr(endian), h.p_memsz(endian));
    if bytes.len() as u64 > memory_bytes {
        return Err(ImageError::SegmentOutsideFile { index });
    }
    let end = start.checked_add(memory_bytes).ok_or(ImageError::SegmentOutsideUser { index })?;
    if start < USER_START || end > USER_END || memory_bytes > IMAGE_BYTES_MAX {
        return Err(ImageError::SegmentOutsideUser { index });
    }
    let flags = h.p_flags(endian);
    let (write, execute) = (flags.contains(PF_W), flags.contains(PF_X));
    if write && execute {
        return Err(ImageError::WriteAndExecute { index });
    }
    Ok(Segment { start, bytes, memory_bytes, write, execute })
}

fn check_pages(segments: &[Segment<'_>]) -> Result<(), ImageError> {
    let page = PAGE_BYTES as u64;
    let mut total = 0u64;
    for (index, pair) in segments.windows(2).enumerate() {
        if (pair[0].start + pair[0].memory_bytes - 1) / page >= pair[1].start / page {
            return Err(ImageError::SharedPage { index: index + 1 });
        }
    }
    for (index, s) in segments.iter().enumerate() {
        total += s.memory_bytes;
        if total > IMAGE_BYTES_MAX {
            return Err(ImageError::SegmentOutsideUser { index });
        }
    }
    Ok(())
}
