//! See `dpf::fuzzing::sound`.
#![no_main]
use sluice_dpf::fuzzing::sound;
use sluice_runtime::native::HostPages;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sound(bytes, &mut HostPages::default());
});
