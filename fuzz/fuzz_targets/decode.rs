//! See `ebpf::fuzzing::decode_any`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_ebpf::fuzzing::decode_any(bytes));
