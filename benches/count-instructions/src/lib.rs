//! Counts guest instructions inside QEMU: whichever guest it is, and readable while it runs.
//!
//! A plugin for the emulator's own translator. Every translated instruction adds one to a counter
//! in a file that is mapped here and read by whoever asked for it: the first eight bytes count ring
//! 3 (addresses of the lower half), the next eight the kernel. The file's name is the argument
//! `out`. With `each=on` the file goes on with a counter per address, for a kernel that is linked
//! into the last two GiB: [`WINDOW`] of them from the first of those GiB on, then as many from the
//! second.
//!
//! The interface is QEMU's plugin interface of version 1 (`include/qemu/qemu-plugin.h` in QEMU 4.2
//! to 8.x), in which an inline addition takes an address; later versions refuse to load it, by
//! name.
//! Counts are exact on one processor. A `rep` instruction counts once for each round.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::sync::OnceLock;

use memmap2::{MmapMut, MmapOptions};

/// The version of the interface that this plugin speaks.
#[allow(non_upper_case_globals)]
#[unsafe(no_mangle)]
#[used]
pub static qemu_plugin_version: c_int = 1;

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
const ADD: c_int = 0;

/// One for ring 3, one for the kernel.
const COUNTERS: usize = 2;
/// Addresses from the beginning of a GiB on that have counters of their own.
const WINDOW: usize = 1 << 23;
/// Where the last two GiB begin.
const LINKED_AT: u64 = 0xffff_ffff_8000_0000;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: u64,
        callback: unsafe extern "C" fn(u64, *mut c_void),
    );
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;
    fn qemu_plugin_register_vcpu_insn_exec_inline(
        instruction: *mut c_void,
        operation: c_int,
        counter: *mut c_void,
        value: u64,
    );
}

/// The counters.
#[derive(Debug)]
struct Counted {
    /// Their address; the mapping is never undone.
    at: usize,
    /// Whether addresses have counters of their own.
    each: bool,
}

static COUNTED: OnceLock<Counted> = OnceLock::new();

/// QEMU's entry: opens the counters, asks to see every translated block. Nonzero: not loaded.
///
/// # Safety
///
/// QEMU calls it, once, with `count` arguments that end with zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let argument = |at: usize| {
        // SAFETY: `at` is below the count that came with the array, and each ends with a zero.
        unsafe { CStr::from_ptr(*arguments.add(at)) }.to_str().unwrap_or_default()
    };
    let all: Vec<&str> = (0..usize::try_from(count).unwrap_or_default()).map(argument).collect();
    let each = all.contains(&"each=on");
    let Some(path) = all.iter().find_map(|it| it.strip_prefix("out=")) else {
        eprintln!("count-instructions: say out=FILE");
        return 1;
    };
    let counters = if each { COUNTERS + 2 * WINDOW } else { COUNTERS };
    let mapped = match map(path, counters) {
        Ok(mapped) => Box::leak(Box::new(mapped)),
        Err(error) => {
            eprintln!("count-instructions: {path}: {error}");
            return 1;
        }
    };
    let _ = COUNTED.set(Counted { at: mapped.as_mut_ptr() as usize, each });
    // SAFETY: the callback has the type that this interface wants.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

fn map(path: &str, counters: usize) -> std::io::Result<MmapMut> {
    let bytes = counters * size_of::<u64>();
    let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = options?;
    file.set_len(bytes as u64)?;
    // SAFETY: the file is this plugin's; whoever else has it open only reads.
    unsafe { MmapOptions::new().len(bytes).map_mut(&file) }
}

/// Puts an addition in front of every instruction of a block.
///
/// # Safety
///
/// QEMU calls it with a block that it is translating.
unsafe extern "C" fn translated(_id: u64, block: *mut c_void) {
    let Some(counted) = COUNTED.get() else { return };
    let counter = |number: usize| (counted.at + number * size_of::<u64>()) as *mut c_void;
    // SAFETY: the block is QEMU's and lives until this function returns.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for at in 0..count {
        // SAFETY: `at` is below the block's count; the instruction lives as long as the block.
        unsafe {
            let instruction = qemu_plugin_tb_get_insn(block, at);
            let address = qemu_plugin_insn_vaddr(instruction);
            let kernel = (address >> 63) as usize;
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, counter(kernel), 1);
            if let Some(own) = own(address).filter(|_| counted.each) {
                qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, counter(own), 1);
            }
        }
    }
}

/// The number of an address's own counter.
fn own(address: u64) -> Option<usize> {
    let offset = address.checked_sub(LINKED_AT)? as usize;
    let (gib, within) = (offset >> 30, offset & ((1 << 30) - 1));
    (within < WINDOW).then_some(COUNTERS + gib * WINDOW + within)
}
