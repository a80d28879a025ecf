//! Build script of the ring-3 programs: links them by libos's script, on other targets nothing.
//!
//! Named by the manifests of `init` and `netd`, and used as a module by the examples' own.

/// Says how the package's programs are linked.
pub(crate) fn main() {
    // Without a line of this kind every change in the package would run the script again.
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_OS");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let Ok(script) = std::env::var("DEP_SLUICE_USER_SCRIPT") else { return };
    println!("cargo::rerun-if-changed={script}");
    for argument in [
        "--no-pie",
        "-T",
        &script,
        "--build-id=none",
        "-z",
        "max-page-size=0x1000",
        "--strip-debug",
        "--gc-sections",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
