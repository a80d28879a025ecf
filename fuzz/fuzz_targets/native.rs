//! See `dpf::fuzzing::native_is_interpreter`.
#![no_main]
use sluice_dpf::fuzzing::native_is_interpreter;
use sluice_runtime::native::HostPages;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = native_is_interpreter(bytes, &mut HostPages::default());
});
