//! Tells ring-3 programs where the linker script is.
//!
//! They print the link arguments themselves, because Cargo applies `rustc-link-arg-bins` only to
//! the package whose build script printed it.

use std::path::Path;

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("user.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::metadata=script={}", script.display());
}
