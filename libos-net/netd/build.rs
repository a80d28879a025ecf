//! Links a ring-3 program by libos's script; on other targets it does nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    if let Ok(script) = std::env::var("DEP_SLUICE_USER_SCRIPT") {
        println!("cargo::rerun-if-changed={script}");
        for argument in [
            "--no-pie",
            "-T",
            &script,
            "--build-id=none",
            "-z",
            "max-page-size=0x1000",
            "--strip-debug",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
        println!("cargo::rustc-link-arg-bins=--gc-sections");
    }
}
