//! What the loader says: command line, initrd, memory map (Xen's `hvm_start_info`, version 1).
//!
//! Read once, through the early physical map, and copied: the structures lie in memory that is
//! given away afterwards. The initrd's bytes stay where they are; their frames are never free.

use super::cell::OneCpu;
use super::entry::START_INFO;
use super::layout::phys_to_virt;
use crate::limits::COMMAND_LINE_MAX;
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;
const REGIONS_MAX: usize = 64;
const RAM: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    _flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    _rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    _command_line: u64,
    _reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    address: u64,
    size: u64,
    kind: u32,
    _reserved: u32,
}

/// What was found.
pub(super) struct Loaded {
    /// The command line; cut at the limit, and at the first byte that is not UTF-8.
    pub(super) command_line: &'static str,
    /// Physical addresses of the initrd; empty without one.
    pub(super) initrd: Range<u64>,
    regions: [Range<u64>; REGIONS_MAX],
    count: usize,
}

impl Loaded {
    /// Physical ranges of memory, as the loader listed them.
    pub(super) fn memory(&self) -> &[Range<u64>] {
        &self.regions[..self.count]
    }
}

static COMMAND_LINE: OneCpu<[u8; COMMAND_LINE_MAX]> = OneCpu::new([0; COMMAND_LINE_MAX]);

/// Reads what the loader left. Panics when it is not a version-1 start-info structure.
pub(super) fn read() -> Loaded {
    // SAFETY: written once, by the first instructions, before Rust ran.
    let at = unsafe { START_INFO };
    let info: StartInfo = load(at);
    assert!(info.magic == MAGIC && info.version >= 1, "not booted by a PVH loader (version 1)");
    let mut loaded = Loaded {
        command_line: command_line(info.command_line),
        initrd: initrd(&info),
        regions: [const { 0..0 }; REGIONS_MAX],
        count: 0,
    };
    for index in 0..u64::from(info.memory_map_entries).min(REGIONS_MAX as u64) {
        let entry: MapEntry = load(info.memory_map + index * size_of::<MapEntry>() as u64);
        if entry.kind == RAM && entry.size > 0 {
            let end = entry.address.saturating_add(entry.size);
            loaded.regions[loaded.count] = entry.address..end;
            loaded.count += 1;
        }
    }
    assert!(loaded.count > 0, "the loader's memory map lists no memory");
    loaded
}

fn initrd(info: &StartInfo) -> Range<u64> {
    if info.modules == 0 {
        return 0..0;
    }
    let module: Module = load(info.module_list);
    module.address..module.address.saturating_add(module.size)
}

fn command_line(at: u64) -> &'static str {
    if at == 0 {
        return "";
    }
    let (start, length) = COMMAND_LINE.with(|copy| {
        let mut length = 0;
        while length < copy.len() {
            copy[length] = load(at + length as u64);
            if copy[length] == 0 {
                break;
            }
            length += 1;
        }
        (copy.as_ptr(), length)
    });
    if length == COMMAND_LINE_MAX {
        super::serial::print(format_args!("command line cut at {COMMAND_LINE_MAX} bytes\n"));
    }
    // SAFETY: `COMMAND_LINE` is a static that nobody borrows again (`read` runs once, at boot).
    let bytes = unsafe { core::slice::from_raw_parts(start, length) };
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    }
}

/// Reads a loader structure at a physical address below 4 GiB.
fn load<T: Copy>(phys: u64) -> T {
    assert!(phys < (4 << 30) - size_of::<T>() as u64, "loader structure at {phys:#x}");
    // SAFETY: the early physical map covers the first 4 GiB; `T` is plain data, for which every bit
    // pattern is valid; unaligned reads are allowed for.
    unsafe { phys_to_virt(phys).cast::<T>().read_unaligned() }
}
