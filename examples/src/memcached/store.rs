//! The values: a bounded store that forgets what was not used for long.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::command::{Command, Mode};
use super::{Change, Entry, Key};

/// What a value costs besides its bytes.
const OVERHEAD: usize = 256;
/// Ends up to this are seconds from now, later ones are dates.
const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;
const NANOS: u64 = 1_000_000_000;

/// The time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since boot, as the handler's clock.
    pub now_ns: u64,
    /// The date in seconds, 0 if nobody knows.
    pub unix_s: u64,
}

#[derive(Debug)]
struct Value {
    data: Vec<u8>,
    flags: u32,
    /// In nanoseconds since boot.
    expires: u64,
    cas: u64,
    used: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    values: BTreeMap<Box<[u8]>, Value>,
    /// Keys by their last use.
    uses: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
    bytes_max: usize,
    /// Counts changes and uses.
    tick: u64,
    evicted: u64,
}

impl Store {
    pub(super) const fn new(bytes_max: usize) -> Store {
        Store {
            values: BTreeMap::new(),
            uses: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            tick: 0,
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Carries a command out; its answer.
    pub(super) fn run(
        &mut self,
        command: &Command<'_>,
        clock: Clock,
        changes: &mut Vec<Change>,
    ) -> Vec<u8> {
        let said: &[u8] = match *command {
            Command::Get { ref keys, numbers } => return self.get(keys, numbers, clock, changes),
            Command::Count { key, by, down } => return self.count(key, (by, down), clock, changes),
            Command::Stats => return self.stats(),
            Command::Store { mode, key, flags, ends, data } => {
                let value = (flags, clock.end(ends), data);
                self.store((mode, key), value, clock, changes)
            }
            Command::Delete { key } => self.delete(key, clock, changes),
            Command::Touch { key, ends } => self.touch(key, ends, clock, changes),
            Command::Flush => {
                *self =
                    Store { evicted: self.evicted, tick: self.tick, ..Store::new(self.bytes_max) };
                changes.push(Change::Clear);
                b"OK\r\n"
            }
            Command::Version => b"VERSION 1.6-sluice\r\n",
            Command::Verbosity => b"OK\r\n",
        };
        said.to_vec()
    }

    fn get(
        &mut self,
        keys: &[&[u8]],
        numbers: bool,
        clock: Clock,
        changes: &mut Vec<Change>,
    ) -> Vec<u8> {
        let mut text = Vec::new();
        for &key in keys {
            if self.use_of(key, clock, changes) {
                if let Some(value) = self.values.get(key) {
                    write(&mut text, key, value, numbers);
                }
                // It may have been forgotten by the map, or never have been in it.
                self.publish(key, changes);
            }
        }
        text.extend_from_slice(b"END\r\n");
        text
    }

    fn store(
        &mut self,
        (mode, key): (Mode, &[u8]),
        (flags, expires, data): (u32, u64, &[u8]),
        clock: Clock,
        changes: &mut Vec<Change>,
    ) -> &'static [u8] {
        let there = self.use_of(key, clock, changes);
        let known = self.values.get(key);
        let (data, flags, expires) = match (mode, known) {
            (Mode::Set, _) | (Mode::Replace, Some(_)) => (data.to_vec(), flags, expires),
            (Mode::Add, None) if !there => (data.to_vec(), flags, expires),
            (Mode::Append, Some(old)) => ([&old.data, data].concat(), old.flags, old.expires),
            (Mode::Prepend, Some(old)) => ([data, &old.data].concat(), old.flags, old.expires),
            (Mode::Cas(number), Some(old)) if old.cas == number => (data.to_vec(), flags, expires),
            (Mode::Cas(_), Some(_)) => return b"EXISTS\r\n",
            (Mode::Cas(_), None) => return b"NOT_FOUND\r\n",
            _ => return b"NOT_STORED\r\n",
        };
        if key.len() + data.len() + OVERHEAD > self.bytes_max {
            self.forget(key, changes);
            return b"SERVER_ERROR object too large for cache\r\n";
        }
        self.put(key, data, (flags, expires), changes);
        b"STORED\r\n"
    }

    fn put(
        &mut self,
        key: &[u8],
        data: Vec<u8>,
        (flags, expires): (u32, u64),
        changes: &mut Vec<Change>,
    ) {
        self.take(key);
        self.bytes += key.len() + data.len() + OVERHEAD;
        self.tick += 1;
        let (cas, used) = (self.tick, self.tick);
        self.uses.insert(used, key.into());
        self.values.insert(key.into(), Value { data, flags, expires, cas, used });
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.uses.first_key_value() else { break };
            let oldest = oldest.clone();
            self.evicted += 1;
            self.forget(&oldest, changes);
        }
        self.publish(key, changes);
    }

    fn delete(&mut self, key: &[u8], clock: Clock, changes: &mut Vec<Change>) -> &'static [u8] {
        if !self.use_of(key, clock, changes) {
            return b"NOT_FOUND\r\n";
        }
        self.forget(key, changes);
        b"DELETED\r\n"
    }

    fn touch(
        &mut self,
        key: &[u8],
        ends: i64,
        clock: Clock,
        changes: &mut Vec<Change>,
    ) -> &'static [u8] {
        if !self.use_of(key, clock, changes) {
            return b"NOT_FOUND\r\n";
        }
        if let Some(value) = self.values.get_mut(key) {
            value.expires = clock.end(ends);
        }
        self.publish(key, changes);
        b"TOUCHED\r\n"
    }

    fn count(
        &mut self,
        key: &[u8],
        (by, down): (u64, bool),
        clock: Clock,
        changes: &mut Vec<Change>,
    ) -> Vec<u8> {
        if !self.use_of(key, clock, changes) {
            return b"NOT_FOUND\r\n".to_vec();
        }
        let Some(value) = self.values.get(key) else { return b"NOT_FOUND\r\n".to_vec() };
        let number =
            core::str::from_utf8(&value.data).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(number) = number else {
            return b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n".to_vec();
        };
        let number = if down { number.saturating_sub(by) } else { number.wrapping_add(by) };
        let (flags, expires) = (value.flags, value.expires);
        let text = format!("{number}").into_bytes();
        self.put(key, text.clone(), (flags, expires), changes);
        [&text[..], b"\r\n"].concat()
    }

    fn stats(&self) -> Vec<u8> {
        format!(
            "STAT curr_items {}\r\nSTAT bytes {}\r\nSTAT limit_maxbytes {}\r\n\
             STAT evictions {}\r\nEND\r\n",
            self.len(),
            self.bytes,
            self.bytes_max,
            self.evicted
        )
        .into_bytes()
    }

    /// Whether the key has a value now; if so it has been used.
    fn use_of(&mut self, key: &[u8], clock: Clock, changes: &mut Vec<Change>) -> bool {
        let Some(value) = self.values.get_mut(key) else { return false };
        if value.expires <= clock.now_ns {
            self.forget(key, changes);
            return false;
        }
        self.tick += 1;
        let before = core::mem::replace(&mut value.used, self.tick);
        let key = self.uses.remove(&before).unwrap_or_else(|| key.into());
        self.uses.insert(self.tick, key);
        true
    }

    /// Out of the store and out of the map.
    fn forget(&mut self, key: &[u8], changes: &mut Vec<Change>) {
        self.take(key);
        changes.extend(Key::of(key).map(Change::Remove));
    }

    fn take(&mut self, key: &[u8]) {
        if let Some(value) = self.values.remove(key) {
            self.uses.remove(&value.used);
            self.bytes -= key.len() + value.data.len() + OVERHEAD;
        }
    }

    /// What the map is to say of a key: its answer if there is room for it, nothing otherwise.
    fn publish(&self, key: &[u8], changes: &mut Vec<Change>) {
        let (Some(value), Some(name)) = (self.values.get(key), Key::of(key)) else { return };
        let mut text = Vec::new();
        write(&mut text, key, value, false);
        text.extend_from_slice(b"END\r\n");
        changes.push(match Entry::new(&text, value.expires) {
            Some(entry) => Change::Put(name, Box::new(entry)),
            None => Change::Remove(name),
        });
    }
}

fn write(text: &mut Vec<u8>, key: &[u8], value: &Value, numbers: bool) {
    text.extend_from_slice(b"VALUE ");
    text.extend_from_slice(key);
    text.extend_from_slice(format!(" {} {}", value.flags, value.data.len()).as_bytes());
    if numbers {
        text.extend_from_slice(format!(" {}", value.cas).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&value.data);
    text.extend_from_slice(b"\r\n");
}

impl Clock {
    /// When something ends, in nanoseconds since boot.
    fn end(self, ends: i64) -> u64 {
        let seconds = match ends {
            0 => return u64::MAX,
            i64::MIN..0 => return 0,
            1..=RELATIVE_MAX => ends.unsigned_abs(),
            // A date without a clock: it is not known to have passed.
            date if self.unix_s == 0 => date.unsigned_abs(),
            date => date.unsigned_abs().saturating_sub(self.unix_s),
        };
        self.now_ns.saturating_add(seconds.saturating_mul(NANOS))
    }
}
