//! The bootable kernel: the kernel library behind the machine's entry point.
//!
//! The machine brings itself up, in `machine::start`, and then calls `kernel::main`.
#![cfg_attr(target_os = "none", no_std, no_main)]

machine::entry!(kernel::main);
