//! `--net tap`: a network namespace in which real clients reach the machine.
//!
//! The namespace holds one tap device with the gateway's address and nothing else: the guest can
//! reach nothing outside it. It goes away with its handle. Only root can make one.

use std::fs::File;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The tap device, inside the namespace.
pub const DEVICE: &str = "sluice0";
/// The gateway's address there.
const ADDRESS: &str = "10.0.2.2/24";

/// A namespace with a tap device in it.
#[derive(Debug)]
pub struct Tap {
    namespace: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Only root can make network namespaces.
    #[error(
        "--net tap makes a network namespace and a tap device, which only root may do: \
             run it as root, or use --net user"
    )]
    NotRoot,
    /// A set-up command failed.
    #[error("--net tap: `{command}` failed: {reason}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        reason: String,
    },
}

impl Tap {
    /// Makes the namespace and the device.
    ///
    /// # Errors
    /// [`TapError`].
    pub fn up() -> Result<Tap, TapError> {
        if !rustix::process::geteuid().is_root() {
            return Err(TapError::NotRoot);
        }
        let namespace = name();
        let tap = Tap { namespace: namespace.clone() };
        run(&["netns", "add", &namespace])?;
        run(&["-n", &namespace, "tuntap", "add", "dev", DEVICE, "mode", "tap"])?;
        run(&["-n", &namespace, "addr", "add", ADDRESS, "dev", DEVICE])?;
        run(&["-n", &namespace, "link", "set", "lo", "up"])?;
        run(&["-n", &namespace, "link", "set", DEVICE, "up"])?;
        Ok(tap)
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `f` on a thread inside the namespace: sockets made there stay there.
    ///
    /// # Errors
    /// The system's, when the namespace cannot be entered.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        let name = File::open(format!("/run/netns/{}", self.namespace))?;
        let enter = move || -> std::io::Result<T> {
            use std::os::fd::AsFd;
            move_into_link_name_space(name.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(f())
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread in the namespace panicked")))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        sweep();
    }
}

/// The namespace of this process.
fn name() -> String {
    format!("sluice-{}", std::process::id())
}

/// Removes this process's namespace, if there is one: also for ways out that drop nothing.
pub fn sweep() {
    let name = name();
    if std::path::Path::new("/run/netns").join(&name).exists() {
        // Nothing more can be done about a failure here; the name carries our process id.
        let _ = run(&["netns", "del", &name]);
    }
}

fn run(arguments: &[&str]) -> Result<(), TapError> {
    let failed = |reason: String| TapError::Command {
        command: format!("ip {}", arguments.join(" ")),
        reason: reason.trim().to_owned(),
    };
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Tap, name, sweep};

    #[test]
    fn a_way_out_that_drops_nothing_leaves_no_namespace() {
        let Ok(tap) = Tap::up() else {
            println!("skipped: only root, with iproute2, can make a namespace");
            return;
        };
        let made = std::path::Path::new("/run/netns").join(name());
        assert!(made.exists());
        sweep();
        assert!(!made.exists());
        std::mem::forget(tap);
    }
}
