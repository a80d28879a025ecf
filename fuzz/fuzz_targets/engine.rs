//! See `dpf::fuzzing::engine_is_registry`.
#![no_main]
use sluice_dpf::fuzzing::engine_is_registry;
use sluice_runtime::native::HostPages;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = engine_is_registry(bytes, &mut HostPages::default());
});
