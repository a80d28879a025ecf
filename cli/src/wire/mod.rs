//! The raw wire: this tool is the switch between the guest's card and the outside.
//!
//! Two datagram sockets, one frame each datagram: the *card* side is the guest's only cable, the
//! *outside* side is QEMU's user-mode stack (real sockets of the host) or a tap device. Frames of
//! our own go to the card alone: the user-mode stack would take a stranger's frame for the guest's,
//! send it into the host's network, and in QEMU 7.2 dies of a later fragment without its first.
//! What the guest sends goes outside only through a [`Gate`].
//!
//! Everything that passes is kept with its time and its side for the capture; waits look through
//! what is kept, so that an answer that came before the wait began is found as well.

pub mod frames;
mod gate;
pub mod hostile;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::channel::would_block;
use crate::limits;

pub use gate::Gate;

/// A cable: the names of QEMU's end and of ours, in the directory for sockets.
#[derive(Clone, Copy, Debug)]
pub struct Cable {
    /// The socket that QEMU binds.
    pub theirs: &'static str,
    /// The socket that we bind.
    pub ours: &'static str,
}

/// To the guest's card.
pub const CARD: Cable = Cable { theirs: "card-qemu", ours: "card" };
/// To the user-mode stack or the tap device.
pub const OUTSIDE: Cable = Cable { theirs: "outside-qemu", ours: "outside" };

/// Who put a frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This tool.
    Us,
    /// The guest.
    Guest,
    /// The user-mode stack, or whoever is on the tap device.
    Outside,
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
    /// Frames before these, which nobody wants any more.
    forgotten: usize,
    unkept: u64,
}

impl Seen {
    /// What is there from a mark on.
    fn from(&self, mark: usize) -> &[Passed] {
        self.frames.get(mark.saturating_sub(self.forgotten)..).unwrap_or_default()
    }
}

/// Our ends of both cables.
#[derive(Debug)]
pub struct Wire {
    card: UnixDatagram,
    guest: PathBuf,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Binds our sockets in `directory` and starts switching. Each frame of the guest's takes
    /// `frame_time`: on a slow wire the card's queue fills.
    ///
    /// # Errors
    /// The system's, when the sockets or the threads cannot be set up.
    pub fn bind(directory: &Path, gate: Gate, frame_time: Duration) -> std::io::Result<Wire> {
        let card = socket(&directory.join(CARD.ours))?;
        let outside = socket(&directory.join(OUTSIDE.ours))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (guest, stack) = (directory.join(CARD.theirs), directory.join(OUTSIDE.theirs));
        let inward = Switch {
            from: outside.try_clone()?,
            side: Side::Outside,
            onward: card.try_clone()?,
            to: guest.clone(),
            frame_time: Duration::ZERO,
            passes: Box::new(|_| true),
        };
        let outward = Switch {
            from: card.try_clone()?,
            side: Side::Guest,
            onward: outside,
            to: stack,
            frame_time,
            passes: Box::new(move |frame| gate.passes(frame)),
        };
        let mut wire = Wire { card, guest, seen, stop, threads: Vec::new() };
        for switch in [inward, outward] {
            let (seen, stop) = (Arc::clone(&wire.seen), Arc::clone(&wire.stop));
            let thread = std::thread::Builder::new().name("wire".to_owned());
            wire.threads.push(thread.spawn(move || switch.run(&seen, &stop))?);
        }
        Ok(wire)
    }

    /// Puts a frame of ours on the guest's cable.
    ///
    /// # Errors
    /// The system's; QEMU is not there, or does not take frames any more.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        keep(&mut self.lock(), Side::Us, frame);
        self.card.send_to(frame, &self.guest).map(|_| ())
    }

    /// Where the record of frames ends now.
    pub fn mark(&self) -> usize {
        let seen = self.lock();
        seen.forgotten + seen.frames.len()
    }

    /// What came before a mark is not needed any more: whoever follows a machine for hours says so.
    pub fn forget(&self, mark: usize) {
        let mut seen = self.lock();
        let count = mark.saturating_sub(seen.forgotten).min(seen.frames.len());
        seen.frames.drain(..count);
        seen.forgotten += count;
    }

    /// The first frame of the guest, from a mark on, for which `look` has an answer.
    pub fn find<T>(&self, mark: usize, mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let seen = self.lock();
        let later = seen.from(mark).iter();
        later.filter(|p| p.side == Side::Guest).find_map(|p| look(&p.frame))
    }

    /// How many frames of the guest, from a mark on, `look` takes; and the mark behind them.
    pub fn tally(&self, mark: usize, mut look: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
        let seen = self.lock();
        let later = seen.from(mark).iter();
        let taken = later.filter(|p| p.side == Side::Guest && look(&p.frame)).count();
        (seen.forgotten + seen.frames.len(), taken)
    }

    /// Everything from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Passed> {
        self.lock().from(mark).to_vec()
    }

    /// Frames that passed and were too many to keep: the oldest.
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
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn socket(path: &Path) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(path)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    // A full queue on the other side is waited for: floods are as fast as QEMU takes them.
    socket.set_write_timeout(Some(limits::REPLY))?;
    Ok(socket)
}

/// Whether a frame is passed on.
type Rule = Box<dyn Fn(&[u8]) -> bool + Send>;

/// One direction of the switch.
struct Switch {
    from: UnixDatagram,
    side: Side,
    onward: UnixDatagram,
    to: PathBuf,
    frame_time: Duration,
    passes: Rule,
}

impl Switch {
    fn run(&self, seen: &Mutex<Seen>, stop: &AtomicBool) {
        let mut bytes = vec![0; limits::WIRE_BYTES_MAX];
        while !stop.load(Ordering::Relaxed) {
            match self.from.recv(&mut bytes) {
                Ok(count) => {
                    if !self.frame_time.is_zero() {
                        std::thread::sleep(self.frame_time);
                    }
                    let frame = &bytes[..count];
                    keep(
                        &mut seen.lock().unwrap_or_else(PoisonError::into_inner),
                        self.side,
                        frame,
                    );
                    if (self.passes)(frame) {
                        // As on any wire: a frame that nobody takes is lost.
                        let _ = self.onward.send_to(frame, &self.to);
                    }
                }
                Err(error) if would_block(&error) => {}
                Err(_) => return,
            }
        }
    }
}

/// Keeps a frame. When there are too many the oldest go: waits are for what comes.
fn keep(seen: &mut Seen, side: Side, frame: &[u8]) {
    if seen.frames.len() >= limits::CAPTURE_FRAMES_MAX {
        let oldest = limits::CAPTURE_FRAMES_MAX / 4;
        seen.frames.drain(..oldest);
        seen.forgotten += oldest;
        seen.unkept += oldest as u64;
    }
    seen.frames.push(Passed { at: SystemTime::now(), side, frame: frame.to_vec() });
}

#[cfg(test)]
mod tests {
    use super::{CARD, Gate, OUTSIDE, Seen, Side, Wire, keep};
    use crate::limits::CAPTURE_FRAMES_MAX;
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn end(directory: &Path, name: &str) -> UnixDatagram {
        let socket = UnixDatagram::bind(directory.join(name)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn received(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 2000];
        let count = socket.recv(&mut bytes).unwrap();
        bytes[..count].to_vec()
    }

    #[test]
    fn our_frames_reach_the_card_alone_and_all_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let wire = Wire::bind(directory.path(), Gate::Open, Duration::ZERO).unwrap();
        assert!(wire.send(b"nobody there").is_err());
        let card = end(directory.path(), CARD.theirs);
        let outside = end(directory.path(), OUTSIDE.theirs);
        let mark = wire.mark();
        wire.send(b"request").unwrap();
        assert_eq!(received(&card), b"request");
        card.send_to(b"reply of the guest", directory.path().join(CARD.ours)).unwrap();
        assert_eq!(received(&outside), b"reply of the guest", "and not our request");
        outside.send_to(b"from outside", directory.path().join(OUTSIDE.ours)).unwrap();
        assert_eq!(received(&card), b"from outside");
        let start = Instant::now();
        while wire.since(mark).len() < 3 && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let sides: Vec<Side> = wire.since(mark).iter().map(|p| p.side).collect();
        assert_eq!(sides, [Side::Us, Side::Guest, Side::Outside]);
        assert_eq!(wire.find(mark, |f| (f == b"request").then_some(())), None);
        assert_eq!(wire.find(mark, |f| (f == b"from outside").then_some(())), None);
        assert_eq!(wire.find(mark, |f| f.starts_with(b"reply").then_some(())), Some(()));
    }

    #[test]
    fn the_gate_holds_back_and_the_record_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let gate = Gate::Services { udp: vec![7], tcp: vec![] };
        let wire = Wire::bind(directory.path(), gate, Duration::ZERO).unwrap();
        let card = end(directory.path(), CARD.theirs);
        let outside = end(directory.path(), OUTSIDE.theirs);
        card.send_to(b"neither ARP nor UDP", directory.path().join(CARD.ours)).unwrap();
        let start = Instant::now();
        while wire.mark() == 0 && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(wire.mark(), 1);
        outside.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(outside.recv(&mut [0; 100]).is_err());
    }

    #[test]
    fn whoever_waits_finds_what_came_last_however_much_came_before() {
        let mut seen = Seen::default();
        for number in 0..=CAPTURE_FRAMES_MAX {
            keep(&mut seen, Side::Guest, &number.to_le_bytes());
        }
        let last = seen.from(CAPTURE_FRAMES_MAX);
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].frame, CAPTURE_FRAMES_MAX.to_le_bytes());
        assert_eq!(seen.unkept, CAPTURE_FRAMES_MAX as u64 / 4);
        assert_eq!(seen.forgotten + seen.frames.len(), CAPTURE_FRAMES_MAX + 1);
    }
}
