//! The raw wire: whole Ethernet frames to and from the machine's hub.
//!
//! A datagram on the socket is a frame on the hub. Everything that passes, in either direction, is
//! kept with its time for the capture; waits look through what is kept, so that an answer that came
//! before the wait began is found as well.

pub mod frames;
pub mod hostile;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::channel::would_block;
use crate::limits;

/// The socket that QEMU binds, in the directory for sockets.
pub const GUEST_SOCKET: &str = "wire-guest";
/// The socket that we bind.
pub const HOST_SOCKET: &str = "wire-host";

/// Who put a frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This tool, raw.
    Us,
    /// The guest, or QEMU's user-mode stack.
    Hub,
}

/// A frame that passed.
#[derive(Clone, Debug)]
pub struct Passed {
    /// When.
    pub at: SystemTime,
    /// From where.
    pub side: Side,
    /// The frame.
    pub frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Seen {
    frames: Vec<Passed>,
    unkept: u64,
}

/// Our end of the wire.
#[derive(Debug)]
pub struct Wire {
    socket: UnixDatagram,
    guest: PathBuf,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Binds our socket in `directory` and starts listening.
    ///
    /// # Errors
    /// The system's, when the socket or the thread cannot be set up.
    pub fn bind(directory: &Path) -> std::io::Result<Wire> {
        let socket = UnixDatagram::bind(directory.join(HOST_SOCKET))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        // A full queue on the other side is waited for: floods are as fast as QEMU takes them.
        socket.set_write_timeout(Some(limits::REPLY))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, told, ours) = (Arc::clone(&seen), Arc::clone(&stop), socket.try_clone()?);
        let thread = std::thread::Builder::new()
            .name("wire".to_owned())
            .spawn(move || listen(&ours, &theirs, &told))?;
        let guest = directory.join(GUEST_SOCKET);
        Ok(Wire { socket, guest, seen, stop, thread: Some(thread) })
    }

    /// Puts a frame on the wire.
    ///
    /// # Errors
    /// The system's; QEMU is not there, or does not take frames any more.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        keep(&mut self.lock(), Side::Us, frame);
        self.socket.send_to(frame, &self.guest).map(|_| ())
    }

    /// Where the record of frames ends now.
    pub fn mark(&self) -> usize {
        self.lock().frames.len()
    }

    /// The first frame from the hub, from a mark on, for which `look` has an answer.
    pub fn find<T>(&self, mark: usize, mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let seen = self.lock();
        let later = seen.frames.get(mark..)?.iter();
        later.filter(|p| p.side == Side::Hub).find_map(|p| look(&p.frame))
    }

    /// Everything from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Passed> {
        self.lock().frames.get(mark..).unwrap_or_default().to_vec()
    }

    /// Frames that passed and were too many to keep.
    pub fn unkept(&self) -> u64 {
        self.lock().unkept
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(socket: &UnixDatagram, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut bytes = vec![0; limits::WIRE_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv(&mut bytes) {
            Ok(count) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                keep(&mut seen, Side::Hub, &bytes[..count]);
            }
            Err(error) if would_block(&error) => {}
            Err(_) => return,
        }
    }
}

fn keep(seen: &mut Seen, side: Side, frame: &[u8]) {
    if seen.frames.len() < limits::CAPTURE_FRAMES_MAX {
        seen.frames.push(Passed { at: SystemTime::now(), side, frame: frame.to_vec() });
    } else {
        seen.unkept += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{GUEST_SOCKET, HOST_SOCKET, Side, Wire};
    use std::os::unix::net::UnixDatagram;
    use std::time::{Duration, Instant};

    #[test]
    fn frames_pass_both_ways_and_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let wire = Wire::bind(directory.path()).unwrap();
        assert!(wire.send(b"nobody there").is_err());
        let guest = UnixDatagram::bind(directory.path().join(GUEST_SOCKET)).unwrap();
        let mark = wire.mark();
        wire.send(b"request").unwrap();
        let mut bytes = [0; 64];
        let count = guest.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"request");
        guest.send_to(b"reply", directory.path().join(HOST_SOCKET)).unwrap();
        let start = Instant::now();
        let reply = |frame: &[u8]| (frame == b"reply").then_some(());
        while wire.find(mark, reply).is_none() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let sides: Vec<Side> = wire.since(mark).iter().map(|p| p.side).collect();
        assert_eq!(sides, [Side::Us, Side::Hub]);
        assert_eq!(wire.find(mark, |f| (f == b"request").then_some(())), None);
    }
}
