//! The directory with a machine's sockets, and that none is left behind.
//!
//! It goes away with its handle. Its name carries our process id, for the ways out that drop
//! nothing: [`sweep`] removes our own, [`sweep_dead`] what a tool that was killed outright could
//! not remove.

use std::path::Path;

use tempfile::TempDir;

/// What every such directory's name begins with.
const PREFIX: &str = "sluice-";

/// Makes one.
///
/// # Errors
/// The system's.
pub(super) fn directory() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir()
}

/// Removes those of this process.
pub fn sweep() {
    remove(&std::env::temp_dir(), |process| process == std::process::id());
}

/// Removes those of processes that are gone.
pub fn sweep_dead() {
    remove(&std::env::temp_dir(), |process| !Path::new(&format!("/proc/{process}")).exists());
}

fn remove(place: &Path, which: impl Fn(u32) -> bool) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        if owner(&entry.file_name().to_string_lossy()).is_some_and(&which) {
            // Somebody else's, or gone meanwhile: nothing of ours.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The process in `sluice-PROCESS-LETTERS`.
fn owner(name: &str) -> Option<u32> {
    let (process, letters) = name.strip_prefix(PREFIX)?.split_once('-')?;
    (!letters.is_empty()).then(|| process.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{owner, remove};

    #[test]
    fn only_directories_of_ours_are_removed() {
        let place = tempfile::tempdir().unwrap();
        for name in ["sluice-1-abc", "sluice-2-abc", "sluice-abc", "sluice-1-", "other-1-abc"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        std::fs::write(place.path().join("sluice-1-abc/card"), "").unwrap();
        remove(place.path(), |process| process == 1);
        let mut left: Vec<_> =
            std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["other-1-abc", "sluice-1-", "sluice-2-abc", "sluice-abc"]);
        assert_eq!(owner("sluice-77-x"), Some(77));
        assert_eq!(owner("sluice-x-77"), None);
    }
}
