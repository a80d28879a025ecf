//! Keeps one QEMU process, and lets none survive.
//!
//! A thread of its own starts the process, waits for it and kills it when told to. The kernel's
//! "parent death signal" (through `setpriv`) follows that *thread*, so it lives as long as the
//! child does: even if this tool is killed outright, QEMU dies with it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::limits;

/// Every process that is kept right now, for [`kill_all`].
static KEPT: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

#[derive(Debug, Default)]
struct State {
    kill: bool,
    ended: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill_and_wait(&self) {
        let mut state = self.lock();
        state.kill = true;
        self.changed.notify_all();
        while state.ended.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A kept process. Dropping it kills the process and waits until it is gone.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    process: u32,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the command.
    ///
    /// # Errors
    /// What the system says when it cannot be started.
    pub(super) fn start(mut command: Command) -> std::io::Result<Keeper> {
        let shared = Arc::new(Shared::default());
        let (send, receive) = std::sync::mpsc::channel();
        let ours = Arc::clone(&shared);
        // Ctrl-C on the terminal is for this tool, which ends the machine in order.
        command.process_group(0);
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let started = command.spawn();
            let _ = send.send(started.as_ref().map(Child::id).map_err(|e| e.kind()));
            if let Ok(child) = started {
                keep(child, &ours);
            }
        })?;
        let process = receive.recv().map_err(std::io::Error::other)??;
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|weak| weak.strong_count() > 0);
        kept.push(Arc::downgrade(&shared));
        Ok(Keeper { shared, process, thread: Some(thread) })
    }

    /// The process id.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The exit status, once there is one.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.shared.lock().ended
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.kill_and_wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Kills every kept process: for a signal handler's thread, where no destructor will run.
pub fn kill_all() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    for shared in kept.iter().filter_map(Weak::upgrade) {
        shared.kill_and_wait();
    }
}

fn keep(mut child: Child, shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if state.kill {
            // Fails only when it has ended already.
            let _ = child.kill();
        }
        let ended = if state.kill { child.wait().map(Some) } else { child.try_wait() };
        if let Ok(Some(status)) = ended {
            state.ended = Some(status);
            shared.changed.notify_all();
            return;
        }
        let waited = shared.changed.wait_timeout(state, limits::POLL * 2);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// A command that dies with the thread that starts it, where the system can do that; inside the
/// network namespace, if one is named.
pub(super) fn bound_to_us(program: &Path, namespace: Option<&str>) -> Command {
    let mut words: Vec<&std::ffi::OsStr> = Vec::new();
    if let Some(namespace) = namespace {
        words.extend(["ip", "netns", "exec", namespace].map(std::ffi::OsStr::new));
    }
    if on_path("setpriv") {
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(std::ffi::OsStr::new));
    }
    words.push(program.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::{Keeper, bound_to_us};
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn alive(process: u32) -> bool {
        Path::new(&format!("/proc/{process}")).exists()
    }

    #[test]
    fn dropping_the_keeper_ends_the_process() {
        let mut command = bound_to_us(Path::new("sleep"), None);
        command.arg("600");
        let keeper = Keeper::start(command).unwrap();
        let process = keeper.process();
        assert!(alive(process) && keeper.ended().is_none());
        drop(keeper);
        assert!(!alive(process));
    }

    #[test]
    fn the_exit_status_is_seen() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        let keeper = Keeper::start(command).unwrap();
        let start = Instant::now();
        while keeper.ended().is_none() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(keeper.ended().and_then(|status| status.code()), Some(7));
    }

    #[test]
    fn what_is_not_there_cannot_be_started() {
        assert!(Keeper::start(Command::new("/no/such/program")).is_err());
    }
}
