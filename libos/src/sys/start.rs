//! From the kernel's jump to `main`.
//!
//! The kernel enters `_start` with the start block's address in `rdi` and whatever stack alignment
//! it likes. No floating-point or vector state is touched: the target has none.

use abi::start::Start;

use crate::Environment;

/// Defines the program's entry: `entry!(main)` with `fn main(Environment) -> i32`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Where the kernel enters: aligns the stack, ends the chain of frames.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        extern "C" fn _start() -> ! {
            core::arch::naked_asm!(
                "xor ebp, ebp",
                "and rsp, -16",
                "call {main}",
                "ud2",
                main = sym __sluice_main,
            )
        }

        extern "C" fn __sluice_main(block: *const u8) -> ! {
            $crate::sys::start(block, $main)
        }
    };
}

/// Reads the start block, runs `main`, ends the program with its result.
#[doc(hidden)]
pub fn start(block: *const u8, main: fn(Environment) -> i32) -> ! {
    let bytes = block_bytes(block);
    let Some(start) = Start::decode(bytes) else { super::exit(100) };
    let own = start.handle("self").unwrap_or(abi::Handle::NONE);
    let debug = start.handle("debug").unwrap_or(abi::Handle::NONE);
    super::remember(own, debug);
    let code = main(Environment::new(start));
    super::exit(u64::from(code as u32))
}

fn block_bytes(block: *const u8) -> &'static [u8] {
    // SAFETY: the program's creator wrote the block (`abi::start`: a `u32` length, then as many
    // bytes) where `rdi` points, before it started the program, and nobody writes it afterwards.
    unsafe {
        let length = block.cast::<u32>().read_unaligned() as usize;
        core::slice::from_raw_parts(block, 4 + length)
    }
}
