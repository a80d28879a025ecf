//! A distribution's kernel for the guest: looked for in the cache, fetched by `apt-get` otherwise.
//!
//! The package is unpacked, never installed. Without `apt-get`, or where it may not download, the
//! error names the exact command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cache;
use crate::build::{BuildError, tools};

/// The package that depends on the newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Modules of the card's driver, in the order in which they can be loaded. Kernels may have some of
/// them built in, or not at all.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// A package's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// What `uname -r` will say.
    pub(super) release: String,
    /// The kernel.
    pub(super) image: PathBuf,
    /// Modules for the card, in order.
    pub(super) modules: Vec<PathBuf>,
}

/// A kernel, from the cache or from the distribution.
///
/// # Errors
/// [`BuildError::Missing`].
pub(super) fn ensure() -> Result<Unpacked, BuildError> {
    let cache = cache();
    let place = cache.join("linux");
    if let Some(found) = unpacked(&place) {
        return Ok(found);
    }
    let missing = |detail: &str| BuildError::Missing {
        what: "a Linux kernel to measure beside Sluice".to_owned(),
        command: by_hand(&place),
        detail: format!("\n({detail})"),
    };
    if !["apt-get", "apt-cache", "dpkg"].iter().all(|it| tools::runs(Path::new(it))) {
        return Err(missing("this system has no apt-get, apt-cache and dpkg"));
    }
    let failed = |source| BuildError::File { path: cache.clone(), source };
    std::fs::create_dir_all(&cache).map_err(failed)?;
    let work = tempfile::Builder::new().prefix("linux-").tempdir_in(&cache).map_err(failed)?;
    let packed = download(work.path()).ok_or_else(|| missing("downloading was tried just now"))?;
    let fresh = work.path().join("linux");
    let unpacking = [Path::new("-x"), &packed, &fresh];
    let status = Command::new("dpkg").args(unpacking).stdout(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(missing("unpacking was tried just now"));
    }
    // Somebody else may have been faster; what they unpacked serves as well.
    let _ = std::fs::rename(&fresh, &place);
    unpacked(&place).ok_or_else(|| missing("the package holds no kernel"))
}

/// The package of the newest kernel, in `directory`.
fn download(directory: &Path) -> Option<PathBuf> {
    if tools::lists_are_empty(Path::new("/var/lib/apt/lists")) {
        eprintln!("No package lists; running `apt-get update`.");
        tools::run_apt(&["update"]);
    }
    let output = Command::new("apt-cache").args(["depends", PACKAGE]).output().ok()?;
    let name = newest(&String::from_utf8_lossy(&output.stdout))?;
    eprintln!("No Linux kernel to measure beside Sluice; running `apt-get download {name}`.");
    // The package goes to the working directory.
    let mut command = Command::new("apt-get");
    command.args(["download", "--quiet", &name]).current_dir(directory);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let entries = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let packed = entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "deb"));
    packed.filter(|_| status.success())
}

/// The kernel that the package depends on.
fn newest(depends: &str) -> Option<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn by_hand(place: &Path) -> String {
    let place = place.display();
    format!(
        "apt-get download $(apt-cache depends {PACKAGE} | awk '/Depends/ {{ print $2; exit }}') \
         && dpkg -x linux-image-*.deb {place}"
    )
}

/// What a directory with an unpacked package holds.
fn unpacked(place: &Path) -> Option<Unpacked> {
    let boot = std::fs::read_dir(place.join("boot")).ok()?.flatten().map(|entry| entry.path());
    let image = boot.into_iter().find(|path| release(path).is_some())?;
    let release = release(&image)?;
    let tree = ["lib", "usr/lib"].map(|it| place.join(it).join("modules").join(&release));
    let tree = tree.into_iter().find(|it| it.is_dir())?.join("kernel");
    let module = |name: &&str| {
        let files = ["ko", "ko.xz", "ko.zst"].map(|end| tree.join(format!("{name}.{end}")));
        files.into_iter().find(|file| file.is_file())
    };
    Some(Unpacked { release, image, modules: MODULES.iter().filter_map(module).collect() })
}

fn release(image: &Path) -> Option<String> {
    image.file_name()?.to_str()?.strip_prefix("vmlinuz-").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Unpacked, by_hand, newest, unpacked};
    use std::path::Path;

    #[test]
    fn the_newest_kernel_is_what_the_package_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-9-cloud-amd64\n";
        assert_eq!(newest(text).as_deref(), Some("linux-image-6.1.0-9-cloud-amd64"));
        assert_eq!(newest("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn a_package_is_known_by_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        assert_eq!(unpacked(place), None);
        let virtio = place.join("lib/modules/6.1/kernel/drivers/virtio");
        std::fs::create_dir_all(&virtio).unwrap();
        std::fs::create_dir_all(place.join("boot")).unwrap();
        std::fs::write(place.join("boot/config-6.1"), "").unwrap();
        assert_eq!(unpacked(place), None);
        std::fs::write(place.join("boot/vmlinuz-6.1"), "").unwrap();
        std::fs::write(virtio.join("virtio_ring.ko.xz"), "").unwrap();
        std::fs::write(virtio.join("virtio.ko"), "").unwrap();
        let Unpacked { release, modules, .. } = unpacked(place).unwrap();
        assert_eq!(release, "6.1");
        assert_eq!(modules, [virtio.join("virtio_ring.ko.xz"), virtio.join("virtio.ko")]);
    }

    #[test]
    fn who_must_fetch_it_by_hand_is_told_how() {
        let command = by_hand(Path::new("there"));
        assert!(
            command.contains("apt-get download")
                && command.ends_with("dpkg -x linux-image-*.deb there")
        );
    }
}
