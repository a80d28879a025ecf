//! The guest's program, built from `benches/linux-guest`: static, for this host's own Linux target.

use std::path::PathBuf;

use crate::build::{BuildError, cargo_program};

/// A program without a dynamic linker.
const FLAGS: &str = "-Ctarget-feature=+crt-static";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it; the file.
///
/// # Errors
/// [`BuildError`] as of any build.
pub(super) fn build() -> Result<PathBuf, BuildError> {
    cargo_program("sluice-linux-guest", "linux-guest", TARGET, FLAGS)
}
