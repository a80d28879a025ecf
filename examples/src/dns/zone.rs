//! A zone: the records of one name and everything below it, from a few lines of master file.
//!
//! A line is `NAME TTL TYPE DATA`, names relative to the zone or ending with a dot, `@` the zone
//! itself, `;` a comment. Types: SOA, NS, A, AAAA, CNAME, MX, TXT, PTR (RFC 1035, 5.1, as far as
//! that). The first record is the SOA.

use alloc::vec::Vec;

use super::name::Name;

/// Record types (RFC 1035, 3.2.2; RFC 3596).
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Pointer.
    pub const PTR: u16 = 12;
    /// Mail exchange.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS (RFC 6891).
    pub const OPT: u16 = 41;
    /// All that there is.
    pub const ANY: u16 = 255;
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its owner.
    pub name: Name,
    /// Its type.
    pub kind: u16,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// Its data in wire format, names in it not compressed.
    pub data: Vec<u8>,
}

/// The records.
#[derive(Clone, Debug)]
pub struct Zone {
    origin: Name,
    records: Vec<Record>,
}

/// A line that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// Its number, from 1; 0 if there is no SOA at the beginning.
    pub line: usize,
}

impl core::fmt::Display for ZoneError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.line {
            0 => f.write_str("the zone does not begin with its SOA record"),
            line => write!(f, "line {line} of the zone is no record"),
        }
    }
}

impl Zone {
    /// Reads a zone.
    ///
    /// # Errors
    /// [`ZoneError`].
    pub fn parse(origin: &str, text: &str) -> Result<Zone, ZoneError> {
        let origin = Name::from_text(origin, &Name::root()).ok_or(ZoneError { line: 0 })?;
        let mut records = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split(';').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let error = ZoneError { line: number + 1 };
                records.push(record(line, &origin).ok_or(error)?);
            }
        }
        match records.first() {
            Some(first) if first.kind == kind::SOA && first.name == origin => {}
            _ => return Err(ZoneError { line: 0 }),
        }
        Ok(Zone { origin, records })
    }

    /// The name at the top.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Every record.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The zone's SOA record.
    #[must_use]
    pub fn authority(&self) -> Option<&Record> {
        self.records.first()
    }

    /// The records of a name and type.
    pub fn find<'a>(&'a self, name: &'a Name, wanted: u16) -> impl Iterator<Item = &'a Record> {
        let fits = move |record: &&Record| {
            record.name == *name && (wanted == kind::ANY || record.kind == wanted)
        };
        self.records.iter().filter(fits)
    }

    /// Whether there is anything at the name or below it.
    #[must_use]
    pub fn exists(&self, name: &Name) -> bool {
        self.records.iter().any(|record| record.name.is_within(name))
    }
}

fn record(line: &str, origin: &Name) -> Option<Record> {
    let (name, rest) = word(line)?;
    let (ttl, rest) = word(rest)?;
    let (kind, data) = word(rest)?;
    let name = Name::from_text(name, origin).filter(|name| name.is_within(origin))?;
    let (kind, data) = data_of(kind, data, origin)?;
    Some(Record { name, kind, ttl: ttl.parse().ok()?, data })
}

/// The first word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then_some((word, rest.trim_start()))
}

fn data_of(kind: &str, text: &str, origin: &Name) -> Option<(u16, Vec<u8>)> {
    let name = |text| Name::from_text(text, origin).map(|name| name.wire().to_vec());
    match kind {
        "A" => Some((kind::A, text.parse::<core::net::Ipv4Addr>().ok()?.octets().to_vec())),
        "AAAA" => Some((kind::AAAA, text.parse::<core::net::Ipv6Addr>().ok()?.octets().to_vec())),
        "NS" => Some((kind::NS, name(text)?)),
        "CNAME" => Some((kind::CNAME, name(text)?)),
        "PTR" => Some((kind::PTR, name(text)?)),
        "MX" => {
            let (preference, exchange) = word(text)?;
            let mut data = preference.parse::<u16>().ok()?.to_be_bytes().to_vec();
            data.extend(name(exchange)?);
            Some((kind::MX, data))
        }
        "TXT" => {
            let text = text.trim_matches('"').as_bytes();
            let mut data = alloc::vec![u8::try_from(text.len()).ok()?];
            data.extend_from_slice(text);
            Some((kind::TXT, data))
        }
        "SOA" => {
            let (server, rest) = word(text)?;
            let (mailbox, numbers) = word(rest)?;
            let mut data = name(server)?;
            data.extend(name(mailbox)?);
            let numbers = numbers.split_whitespace().map(str::parse::<u32>);
            let numbers = numbers.collect::<Result<Vec<u32>, _>>().ok()?;
            (numbers.len() == 5).then_some(())?;
            numbers.iter().for_each(|number| data.extend(number.to_be_bytes()));
            Some((kind::SOA, data))
        }
        _ => None,
    }
}
