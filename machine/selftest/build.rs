//! Links the self-test high, by the machine's linker script; nothing to do for other targets.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = env::var("DEP_SLUICE_MACHINE_LINKER_SCRIPT").unwrap_or_default();
    println!("cargo::rerun-if-changed={script}");
    let script = format!("-T{script}");
    let arguments =
        ["--no-pie", &script, "--build-id=none", "-z", "max-page-size=0x1000", "--gc-sections"];
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
