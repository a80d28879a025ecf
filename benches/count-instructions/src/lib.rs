//! Counts guest instructions inside QEMU: whichever guest it is, and readable while it runs.
//!
//! A plugin for the emulator's own translator. Every translated instruction adds one to a counter in
//! a file that is mapped here and read by whoever asked for it: the first eight bytes count ring 3
//! (addresses of the lower half), the next eight the kernel. The file's name is the argument `out`.
//!
//! The interface is QEMU's plugin interface of version 1 (`include/qemu/qemu-plugin.h` in QEMU 4.2
//! to 8.x), in which an inline addition takes an address; later versions refuse to load it, by name.
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

/// The counters' address; the mapping is never undone.
static COUNTED: OnceLock<usize> = OnceLock::new();

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
    let all = 0..usize::try_from(count).unwrap_or_default();
    let Some(path) = all.map(argument).find_map(|it| it.strip_prefix("out=")) else {
        eprintln!("count-instructions: say out=FILE");
        return 1;
    };
    let mapped = match map(path) {
        Ok(mapped) => Box::leak(Box::new(mapped)),
        Err(error) => {
            eprintln!("count-instructions: {path}: {error}");
            return 1;
        }
    };
    let _ = COUNTED.set(mapped.as_mut_ptr() as usize);
    // SAFETY: the callback has the type that this interface wants.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

fn map(path: &str) -> std::io::Result<MmapMut> {
    let bytes = COUNTERS * size_of::<u64>();
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
    let Some(&counters) = COUNTED.get() else { return };
    // SAFETY: the block is QEMU's and lives until this function returns.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for at in 0..count {
        // SAFETY: `at` is below the block's count; the instruction lives as long as the block.
        unsafe {
            let instruction = qemu_plugin_tb_get_insn(block, at);
            let kernel = (qemu_plugin_insn_vaddr(instruction) >> 63) as usize;
            let counter = counters + kernel * size_of::<u64>();
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, counter as *mut _, 1);
        }
    }
}
