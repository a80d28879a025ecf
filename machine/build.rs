//! Exports the linker script to whoever links a kernel, and rebuilds when it changes.
//!
//! A build script of a package that depends on this one finds the path in
//! `DEP_SLUICE_MACHINE_LINKER_SCRIPT`.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::metadata=linker_script={directory}/kernel.ld");
    println!("cargo::rerun-if-changed=kernel.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
