//! The framed channel: the kernel's records for the host, losses counted.
//!
//! A record is written whole or not at all: what the console did not take of one is kept and
//! written before the next, and while such a rest is waiting further records are lost. A lost
//! record uses up its sequence number, so that the host sees the gap. Records are only made while
//! the kernel heap has room for them, whatever happens in the packet path.

use abi::record::Record;
use alloc::vec::Vec;
use machine::Console;

use crate::limits::HEAP_HEADROOM;

/// The kernel's end of the channel.
pub(crate) struct Channel {
    console: Option<Console>,
    rest: Vec<u8>,
    sequence: u32,
    lost: u64,
}

impl Channel {
    pub(crate) fn new(console: Option<Console>) -> Channel {
        Channel { console, rest: Vec::new(), sequence: 0, lost: 0 }
    }

    /// Records that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// A record could not even be made.
    pub(crate) fn lose(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.lost += 1;
    }

    /// Writes a record whose bytes are about `hint`. It is only made if it can be written.
    pub(crate) fn emit(&mut self, hint: usize, record: impl FnOnce() -> Record) {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        // A buffer that grows by doubling needs up to four times what it ends up with.
        let room = machine::heap::free_bytes() > HEAP_HEADROOM / 2 + hint.saturating_mul(6);
        if room && self.flush() {
            let frame = record().frame(sequence);
            if frame.len() <= abi::record::HEADER_BYTES + abi::record::BODY_BYTES_MAX {
                self.rest = frame;
                self.flush();
                return;
            }
        }
        self.lost += 1;
    }

    /// Writes what is waiting; whether nothing is left of it.
    fn flush(&mut self) -> bool {
        let Some(console) = &mut self.console else { return false };
        while !self.rest.is_empty() {
            let taken = console.write(&self.rest).min(self.rest.len());
            if taken == 0 {
                return false;
            }
            self.rest.drain(..taken);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Channel;
    use abi::record::Record;

    #[test]
    fn records_arrive_in_order_and_losses_leave_a_gap() {
        let boot = machine::Boot::host(1);
        let written = boot.console.as_ref().unwrap().written();
        let mut channel = Channel::new(boot.console);
        channel.emit(8, || Record::Halt { code: 1 });
        machine::host::heap::set_bytes(0, 0);
        channel.emit(8, || Record::Halt { code: 2 });
        machine::host::heap::set_bytes(16 << 20, 0);
        channel.emit(8, || Record::Halt { code: 3 });
        assert_eq!(channel.lost(), 1);
        let stream = written.lock().unwrap().clone();
        let (first, record, used) = Record::take(&stream).unwrap().unwrap();
        assert_eq!((first, record), (0, Record::Halt { code: 1 }));
        let (next, record, _) = Record::take(&stream[used..]).unwrap().unwrap();
        assert_eq!((next, record), (2, Record::Halt { code: 3 }));
    }

    #[test]
    fn without_a_console_every_record_is_lost() {
        let mut channel = Channel::new(None);
        channel.emit(8, || Record::Halt { code: 1 });
        assert_eq!(channel.lost(), 1);
    }
}
