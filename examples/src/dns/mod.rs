//! An authoritative name server for one zone: a whole answer for every message (RFC 1034, 1035,
//! 6891, 8020).
//!
//! [`answer`] takes any bytes. [`cached`] gives the entries with which the handler in `ash/dns.c`
//! answers questions for addresses without us; what that handler says is, byte for byte, what
//! [`answer`] says.

mod name;
mod zone;

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

pub use name::Name;
pub use zone::{Record, Zone, ZoneError, kind};

/// Longest answer without EDNS (RFC 1035, 4.2.1).
const PLAIN_BYTES_MAX: usize = 512;
/// Longest answer at all, and what we say we take.
const EDNS_BYTES_MAX: u16 = 1232;
/// Aliases that are followed.
const ALIASES_MAX: usize = 8;
const CLASS_IN: u16 = 1;
/// A pointer to the question's name, which follows the header.
const POINTER: [u8; 2] = [0xc0, 12];

/// Response codes, besides 0.
mod code {
    pub(super) const FORMAT: u16 = 1;
    pub(super) const NO_NAME: u16 = 3;
    pub(super) const NOT_IMPLEMENTED: u16 = 4;
    pub(super) const REFUSED: u16 = 5;
    pub(super) const BAD_VERSION: u16 = 16;
}

/// Key of the handler's map: `struct key` of `ash/dns.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Key {
    /// In wire format and lower case, followed by zeroes.
    pub name: [u8; 64],
    /// In network byte order.
    pub kind: [u8; 2],
    zero: u16,
}

/// Value of the handler's map: `struct answer` of `ash/dns.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Answer {
    count: u16,
    bytes: u16,
    sum: u32,
    records: [u8; 256],
}

/// A question as a client asks it, with these flags, and with this much of EDNS behind it: a record
/// or nothing. Labels are as long as they are; more than 63 bytes make no name.
#[must_use]
pub fn question(flags: u16, name: &str, kind: u16, edns: &[u8]) -> Vec<u8> {
    let mut message = alloc::vec![0x12, 0x34];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(!edns.is_empty())]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message.extend(edns);
    message
}

/// What a handler can answer by itself: every set of addresses that fits its map.
#[must_use]
pub fn cached(zone: &Zone) -> Vec<(Key, Answer)> {
    let mut entries: Vec<(Key, Answer)> = Vec::new();
    for record in zone.records() {
        if !matches!(record.kind, kind::A | kind::AAAA) {
            continue;
        }
        let Some(key) = key(record) else { continue };
        if entries.iter().all(|(known, _)| *known != key)
            && let Some(answer) = set(zone, record)
        {
            entries.push((key, answer));
        }
    }
    entries
}

fn key(record: &Record) -> Option<Key> {
    let mut key = Key { name: [0; 64], kind: record.kind.to_be_bytes(), zero: 0 };
    key.name.get_mut(..record.name.wire().len())?.copy_from_slice(record.name.wire());
    Some(key)
}

/// The records of the same name and type, as the answer section has them.
fn set(zone: &Zone, like: &Record) -> Option<Answer> {
    let mut section = Vec::new();
    let mut count = 0;
    for record in zone.find(&like.name, like.kind) {
        write(&mut section, &POINTER, record);
        count += 1;
    }
    let mut records = [0; 256];
    records.get_mut(..section.len())?.copy_from_slice(&section);
    let words =
        section.chunks_exact(2).map(|word| u32::from(u16::from_le_bytes([word[0], word[1]])));
    Some(Answer { count, bytes: section.len() as u16, sum: words.sum(), records })
}

fn write(section: &mut Vec<u8>, owner: &[u8], record: &Record) {
    section.extend_from_slice(owner);
    section.extend(record.kind.to_be_bytes());
    section.extend(CLASS_IN.to_be_bytes());
    section.extend(record.ttl.to_be_bytes());
    section.extend((record.data.len() as u16).to_be_bytes());
    section.extend_from_slice(&record.data);
}

/// The header's fields as words.
struct Header {
    id: u16,
    flags: u16,
    counts: [u16; 4],
}

impl Header {
    fn read(message: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        Some(Header { id: word(0)?, flags: word(2)?, counts })
    }
}

/// What a message asks.
struct Question<'a> {
    name: Name,
    /// Name, type and class as they were asked.
    wire: &'a [u8],
    kind: u16,
    class: u16,
    edns: Option<Edns>,
}

/// What the OPT record says.
#[derive(Clone, Copy)]
struct Edns {
    bytes: u16,
    version: u8,
    dnssec: bool,
}

/// An answer in the making.
#[derive(Default)]
struct Sections {
    code: u16,
    authoritative: bool,
    /// Answers, then authorities.
    records: [Vec<u8>; 2],
    counts: [u16; 2],
}

impl Sections {
    fn failed(code: u16) -> Sections {
        Sections { code, ..Sections::default() }
    }

    fn add(&mut self, section: usize, owner: &[u8], record: &Record) {
        write(&mut self.records[section], owner, record);
        self.counts[section] += 1;
    }
}

/// The answer to a message; `None` to what is no query, or shorter than a header: nobody is told.
#[must_use]
pub fn answer(zone: &Zone, message: &[u8]) -> Option<Vec<u8>> {
    let header = Header::read(message)?;
    if header.flags & 0x8000 != 0 {
        return None;
    }
    if header.flags & 0x7800 != 0 {
        return Some(told(&header, None, &Sections::failed(code::NOT_IMPLEMENTED)));
    }
    let Some(question) = asked(&header, message) else {
        return Some(told(&header, None, &Sections::failed(code::FORMAT)));
    };
    let sections = match question.edns {
        Some(Edns { version: 1.., .. }) => Sections::failed(code::BAD_VERSION),
        _ => resolve(zone, &question),
    };
    Some(told(&header, Some(&question), &sections))
}

fn asked<'a>(header: &Header, message: &'a [u8]) -> Option<Question<'a>> {
    let [1, 0, 0, additionals] = header.counts else { return None };
    let asked = message.get(12..)?;
    let (name, length) = Name::read(asked)?;
    let &[k1, k0, c1, c0] = asked.get(length..)?.first_chunk::<4>()?;
    let wire = asked.get(..length + 4)?;
    let mut rest = asked.get(length + 4..)?;
    let mut edns = None;
    for _ in 0..additionals {
        let root = rest.first() == Some(&0);
        let owner = Name::skip(rest)?;
        let fixed = rest.get(owner..)?.first_chunk::<10>()?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        rest = rest.get(owner + 10 + length..)?;
        if u16::from_be_bytes([fixed[0], fixed[1]]) == kind::OPT {
            if edns.is_some() || !root {
                return None;
            }
            let bytes = u16::from_be_bytes([fixed[2], fixed[3]]);
            edns = Some(Edns { bytes, version: fixed[5], dnssec: fixed[6] & 0x80 != 0 });
        }
    }
    let (kind, class) = (u16::from_be_bytes([k1, k0]), u16::from_be_bytes([c1, c0]));
    rest.is_empty().then_some(Question { name, wire, kind, class, edns })
}

fn resolve(zone: &Zone, question: &Question<'_>) -> Sections {
    // Transfers (251, 252) and the obsolete mailbox types are not for datagrams.
    let served = question.class == CLASS_IN && !(251..=254).contains(&question.kind);
    if !served || !question.name.is_within(zone.origin()) {
        return Sections::failed(code::REFUSED);
    }
    let mut sections = Sections { authoritative: true, ..Sections::default() };
    let mut name = question.name.clone();
    for _ in 0..ALIASES_MAX {
        let owner = if name == question.name { &POINTER[..] } else { name.wire() };
        zone.find(&name, question.kind).for_each(|record| sections.add(0, owner, record));
        let alias = zone.find(&name, kind::CNAME).next();
        let found = zone.find(&name, question.kind).next().is_some();
        let Some(alias) = alias.filter(|_| !found) else {
            if !found {
                missing(zone, &name, &mut sections);
            }
            return sections;
        };
        sections.add(0, owner, alias);
        match Name::read(&alias.data) {
            Some((target, _)) if target.is_within(zone.origin()) => name = target,
            // Somebody else's: whoever asked goes there.
            _ => return sections,
        }
    }
    sections
}

/// Nothing of that type, or nothing at all: the SOA says how long that may be remembered (RFC
/// 2308).
fn missing(zone: &Zone, name: &Name, sections: &mut Sections) {
    if !zone.exists(name) {
        sections.code = code::NO_NAME;
    }
    if let Some(authority) = zone.authority() {
        sections.add(1, zone.origin().wire(), authority);
    }
}

fn told(header: &Header, question: Option<&Question<'_>>, sections: &Sections) -> Vec<u8> {
    let edns = question.and_then(|question| question.edns);
    let limit = edns.map_or(PLAIN_BYTES_MAX, |edns| {
        usize::from(edns.bytes.min(EDNS_BYTES_MAX)).max(PLAIN_BYTES_MAX)
    });
    let asked = question.map_or(&[][..], |question| question.wire);
    let opt = edns.map(|edns| opt(edns, sections.code)).unwrap_or_default();
    let records: usize = sections.records.iter().map(Vec::len).sum();
    let whole = 12 + asked.len() + records + opt.len() <= limit;
    let flag = |is: bool, bit: u16| if is { bit } else { 0 };
    // RD and CD as they were (RFC 1035, 4.1.1; RFC 4035, 3.1.6).
    let mut flags = 0x8000 | header.flags & 0x0110 | sections.code & 15;
    flags |= flag(sections.authoritative, 0x0400) | flag(!whole, 0x0200);
    if question.is_none() {
        flags |= header.flags & 0x7800;
    }
    let counts = if whole { sections.counts } else { [0; 2] };
    let mut message = Vec::with_capacity(limit);
    let words = [header.id, flags, u16::from(question.is_some())].into_iter().chain(counts);
    words.chain([u16::from(edns.is_some())]).for_each(|word| message.extend(word.to_be_bytes()));
    message.extend_from_slice(asked);
    if whole {
        sections.records.iter().for_each(|section| message.extend_from_slice(section));
    }
    message.extend_from_slice(&opt);
    message
}

/// Our OPT record: the code's upper bits, version 0, DO as it was.
fn opt(edns: Edns, code: u16) -> Vec<u8> {
    let [high, low] = EDNS_BYTES_MAX.to_be_bytes();
    let dnssec = if edns.dnssec { 0x80 } else { 0 };
    alloc::vec![0, 0, 41, high, low, (code >> 4) as u8, 0, dnssec, 0, 0, 0]
}
