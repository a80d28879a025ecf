//! The framed channel, as the host reads it.
//!
//! QEMU connects to our socket and hands over what the kernel writes. [`Decoder`] cuts the stream
//! into records and counts the gaps; [`Journal`] reads on a thread of its own, keeps every record
//! in order with the time of its arrival, and lets others wait for the one they need.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use abi::record::{Garbled, Record};

use crate::limits;

/// Cuts a byte stream into records.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    next: u32,
    lost: u64,
}

impl Decoder {
    /// Takes more bytes; returns the records that are whole now.
    ///
    /// # Errors
    /// [`Garbled`] where the stream is no channel; what came before it has been returned, and
    /// nothing after it can be trusted.
    pub fn push(&mut self, bytes: &[u8]) -> (Vec<Record>, Result<(), Garbled>) {
        self.buffer.extend_from_slice(bytes);
        let mut records = Vec::new();
        let mut at = 0;
        let end = loop {
            match Record::take(&self.buffer[at..]) {
                Ok(Some((sequence, record, used))) => {
                    self.lost += u64::from(sequence.wrapping_sub(self.next));
                    self.next = sequence.wrapping_add(1);
                    records.push(record);
                    at += used;
                }
                Ok(None) => break Ok(()),
                Err(garbled) => break Err(garbled),
            }
        };
        self.buffer.drain(..at);
        (records, end)
    }

    /// Records that are missing between those that came.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// A record and when it arrived.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The host's time of arrival.
    pub at: SystemTime,
    /// What the kernel said.
    pub record: Record,
}

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    /// Records before these, which nobody wants any more.
    forgotten: usize,
    lost: u64,
    unkept: u64,
    garbled: Option<Garbled>,
}

impl Kept {
    /// What is there from a mark on.
    fn from(&self, mark: usize) -> &[Entry] {
        self.entries.get(mark.saturating_sub(self.forgotten)..).unwrap_or_default()
    }
}

/// Every record of one machine, in order.
#[derive(Debug)]
pub struct Journal {
    kept: Arc<Mutex<Kept>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Starts reading from whoever connects first.
    ///
    /// # Errors
    /// The system's, when the socket or the thread cannot be set up.
    pub fn accept(listener: UnixListener) -> std::io::Result<Journal> {
        listener.set_nonblocking(true)?;
        let kept = Arc::new(Mutex::new(Kept::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, told) = (Arc::clone(&kept), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("channel".to_owned()).spawn(move || {
            if let Some(stream) = connection(&listener, &told) {
                read(stream, &theirs, &told);
            }
        })?;
        Ok(Journal { kept, stop, thread: Some(thread) })
    }

    /// Where the journal ends now: what comes later is [`Journal::since`] this mark.
    pub fn mark(&self) -> usize {
        let kept = self.lock();
        kept.forgotten + kept.entries.len()
    }

    /// Everything from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Entry> {
        self.lock().from(mark).to_vec()
    }

    /// What came before a mark is not needed any more: whoever follows a machine for hours says so.
    pub fn forget(&self, mark: usize) {
        let mut kept = self.lock();
        let count = mark.saturating_sub(kept.forgotten).min(kept.entries.len());
        kept.entries.drain(..count);
        kept.forgotten += count;
    }

    /// The first thing that `look` finds from a mark on.
    pub fn find<T>(&self, mark: usize, look: impl FnMut(&Record) -> Option<T>) -> Option<T> {
        let kept = self.lock();
        kept.from(mark).iter().map(|entry| &entry.record).find_map(look)
    }

    /// All that `look` finds from a mark on.
    pub fn collect<T>(&self, mark: usize, look: impl FnMut(&Record) -> Option<T>) -> Vec<T> {
        let kept = self.lock();
        kept.from(mark).iter().map(|entry| &entry.record).filter_map(look).collect()
    }

    /// Records that the numbering says are missing, and those that were too many to keep.
    pub fn lost(&self) -> u64 {
        let kept = self.lock();
        kept.lost + kept.unkept
    }

    /// Where the stream stopped making sense, if it did.
    pub fn garbled(&self) -> Option<Garbled> {
        self.lock().garbled
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn connection(listener: &UnixListener, stop: &AtomicBool) -> Option<UnixStream> {
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
            return Some(stream);
        }
        std::thread::sleep(limits::POLL);
    }
    None
}

fn read(mut stream: UnixStream, kept: &Mutex<Kept>, stop: &AtomicBool) {
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if would_block(&error) && !stop.load(Ordering::Relaxed) => continue,
            Err(_) => return,
        };
        let (records, end) = decoder.push(&bytes[..count]);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        keep(&mut kept, records);
        kept.lost = decoder.lost();
        if let Err(garbled) = end {
            kept.garbled = Some(garbled);
            drop(kept);
            drain(stream, stop);
            return;
        }
    }
}

fn keep(kept: &mut Kept, records: Vec<Record>) {
    let at = SystemTime::now();
    for record in records {
        if kept.entries.len() < limits::JOURNAL_RECORDS_MAX {
            kept.entries.push(Entry { at, record });
        } else {
            kept.unkept += 1;
        }
    }
}

/// Reads on without looking, so that the machine does not stand still over its channel.
fn drain(mut stream: UnixStream, stop: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if would_block(&error) => {}
            Err(_) => return,
        }
    }
}

pub(crate) fn would_block(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Journal};
    use abi::record::Record;
    use std::io::Write;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    fn halt(code: u8) -> Record {
        Record::Halt { code }
    }

    #[test]
    fn records_survive_any_cut_of_the_stream() {
        let stream = [halt(1).frame(0), halt(2).frame(1), halt(3).frame(2)].concat();
        for size in 1..=stream.len() {
            let mut decoder = Decoder::default();
            let mut records = Vec::new();
            for piece in stream.chunks(size) {
                let (more, end) = decoder.push(piece);
                assert_eq!(end, Ok(()));
                records.extend(more);
            }
            assert_eq!(records, [halt(1), halt(2), halt(3)]);
            assert_eq!(decoder.lost(), 0);
        }
    }

    #[test]
    fn gaps_are_counted() {
        let mut decoder = Decoder::default();
        let (records, end) = decoder.push(&[halt(1).frame(2), halt(2).frame(7)].concat());
        assert_eq!((records.len(), end), (2, Ok(())));
        assert_eq!(decoder.lost(), 2 + 4);
    }

    #[test]
    fn what_came_before_garbage_is_kept() {
        let mut decoder = Decoder::default();
        let (records, end) = decoder.push(&[halt(1).frame(0), vec![0xff; 32]].concat());
        assert_eq!(records, [halt(1)]);
        assert!(end.is_err());
    }

    #[test]
    fn the_journal_reads_from_a_socket_and_ends_with_its_handle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("channel");
        let journal = Journal::accept(UnixListener::bind(&path).unwrap()).unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(&halt(9).frame(0)).unwrap();
        let start = Instant::now();
        while journal.mark() == 0 && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(journal.find(0, |r| (*r == halt(9)).then_some(())), Some(()));
        assert_eq!(journal.find(1, |_| Some(())), None);
        journal.forget(9);
        assert_eq!((journal.mark(), journal.since(0).len()), (1, 0));
        stream.write_all(&[0xff; 64]).unwrap();
        let start = Instant::now();
        while journal.garbled().is_none() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(journal.garbled().is_some());
        drop(journal);
    }
}
