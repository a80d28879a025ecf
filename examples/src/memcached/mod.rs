//! memcached's text protocol over UDP (its `doc/protocol.txt`), with a cache of answers for a
//! handler.
//!
//! [`Server::serve`] takes a datagram and gives the datagrams of its answer, and *changes* of the
//! handler's map that must be made before the answer is sent: then nobody who was told of a change
//! is shown what was there before it. The handler (`ash/kv.c`) answers a `get` of one key whose
//! whole answer lies in the map; the map is a cache, the server's store knows everything.
//!
//! A datagram begins with eight bytes: the request's number, which the answer repeats, the
//! datagram's number, how many there are, zero. A request is one datagram.

mod command;
mod store;

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

pub use store::Clock;

use command::{Command, Line};
use store::Store;

/// Longest key of the protocol.
pub const KEY_BYTES_MAX: usize = 250;
/// Longest key that a handler looks for.
pub const CACHED_KEY_MAX: usize = 64;
/// Longest answer that a handler gives.
pub const CACHED_TEXT_MAX: usize = DATAGRAM_TEXT_MAX;
/// Bytes of an answer in one datagram, as in memcached.
const DATAGRAM_TEXT_MAX: usize = 1392;

/// Key of the handler's map: `struct key` of `ash/kv.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Key(pub [u8; CACHED_KEY_MAX]);

/// Value of the handler's map: `struct entry` of `ash/kv.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Entry {
    /// When it ends, in nanoseconds since boot; `u64::MAX` for never.
    pub expires: u64,
    bytes: u32,
    sum: u32,
    text: [u8; CACHED_TEXT_MAX],
}

/// A change of the handler's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What is to be answered from now on.
    Put(Key, alloc::boxed::Box<Entry>),
    /// Nothing is to be answered any more.
    Remove(Key),
    /// For no key.
    Clear,
}

impl Key {
    /// The map's name of a key, if it is short enough for the map.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<Key> {
        let mut bytes = [0; CACHED_KEY_MAX];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Key(bytes))
    }
}

impl Entry {
    /// The answer to a `get` as a handler sends it, if it is short enough.
    fn new(text: &[u8], expires: u64) -> Option<Entry> {
        let mut bytes = [0; CACHED_TEXT_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let words =
            bytes.chunks_exact(2).map(|word| u32::from(u16::from_le_bytes([word[0], word[1]])));
        Some(Entry { expires, bytes: text.len() as u32, sum: words.sum(), text: bytes })
    }
}

/// What came of a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// To be made first, in this order.
    pub changes: Vec<Change>,
    /// Then sent; none if the request asked for none, or was none.
    pub answer: Vec<Vec<u8>>,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    store: Store,
}

impl Server {
    /// Empty, for values and keys of so many bytes together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Server {
        Server { store: Store::new(bytes_max) }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Serves a datagram. What is shorter than its header is ignored.
    pub fn serve(&mut self, datagram: &[u8], clock: Clock) -> Served {
        let Some((header, request)) = datagram.split_first_chunk::<8>() else {
            return Served::default();
        };
        let mut changes = Vec::new();
        let text = if header[2..6] == [0, 0, 0, 1] {
            self.execute(request, clock, &mut changes)
        } else {
            b"SERVER_ERROR multi-packet request not supported\r\n".to_vec()
        };
        Served { changes, answer: datagrams([header[0], header[1]], &text) }
    }

    /// What is said when a change could not be made: nobody may believe that it was.
    #[must_use]
    pub fn failed(datagram: &[u8]) -> Vec<Vec<u8>> {
        let id = datagram.first_chunk::<2>().copied().unwrap_or_default();
        datagrams(id, b"SERVER_ERROR out of memory\r\n")
    }

    fn execute(&mut self, request: &[u8], clock: Clock, changes: &mut Vec<Change>) -> Vec<u8> {
        let Some((line, data)) = Line::split(request) else { return b"ERROR\r\n".to_vec() };
        let (command, silent) = match Command::read(&line, data) {
            Ok(read) => read,
            Err(complaint) => return complaint.to_vec(),
        };
        let text = self.store.run(&command, clock, changes);
        if silent { Vec::new() } else { text }
    }
}

/// A text in as many datagrams as it needs.
fn datagrams([a, b]: [u8; 2], text: &[u8]) -> Vec<Vec<u8>> {
    let chunks = text.chunks(DATAGRAM_TEXT_MAX);
    let Ok(count) = u16::try_from(chunks.len()) else {
        return datagrams([a, b], b"SERVER_ERROR out of memory writing get response\r\n");
    };
    let [c, d] = count.to_be_bytes();
    let datagram = |(number, chunk): (usize, &[u8])| {
        let [n, m] = (number as u16).to_be_bytes();
        [&[a, b, n, m, c, d, 0, 0], chunk].concat()
    };
    chunks.enumerate().map(datagram).collect()
}
