//! See `ebpf::fuzzing::object_any`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_ebpf::fuzzing::object_any(bytes));
