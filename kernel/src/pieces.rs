//! Later fragments go to whom their first went.
//!
//! Only the first fragment of a datagram has ports, so it alone is classified; if more follow,
//! whose it is is remembered here, under a keyed hash of what RFC 791 3.2 and RFC 8200 4.5 name a
//! datagram by. A later fragment is delivered if it begins where the ones before it ended: what
//! comes too early, again, over another, too late or without a first is dropped and counted. So
//! whatever reassembles never sees two versions of a byte (RFC 5722's attack).
//!
//! Bounded and charged: each environment has [`DATAGRAMS_PER_OWNER`] places, its share of a table
//! that has room for all; one more of its own drives its oldest out, and nobody else's. A datagram
//! is forgotten after [`FRAGMENT_LIFE_NS`], with its last fragment, or with its owner's binding. A
//! look-up compares one word for each place.

use abi::books::Reason;
use abi::limits::ENVIRONMENTS_MAX;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use verifier::{BindingId, HashKey};

use crate::environment::EnvironmentId;
use crate::fragment::{self, Version};
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_PER_OWNER, FRAGMENT_LIFE_NS, FRAGMENTS_MAX};

/// What a fragment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The datagram, hashed; never 0.
    datagram: u64,
    /// Where its payload lies in the datagram's, in bytes.
    from: u32,
    bytes: u32,
    /// Whether others follow.
    more: bool,
}

/// Datagrams of which the first fragment has come and the last has not.
pub(crate) struct Pieces {
    key: HashKey,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The datagram; 0 for a free place.
    datagram: u64,
    binding: BindingId,
    owner: EnvironmentId,
    /// Where the next fragment must begin, in bytes.
    next: u32,
    /// Fragments so far.
    count: u32,
    /// Nanoseconds since boot.
    expires: u64,
}

impl Place {
    fn is_live(&self, now: u64) -> bool {
        self.datagram != 0 && self.expires > now
    }
}

impl Pieces {
    pub(crate) const fn new(key: HashKey) -> Pieces {
        Pieces { key, places: Vec::new() }
    }

    /// Reads a fragment.
    ///
    /// # Errors
    /// [`Reason::FragmentLength`] if its lengths make no sense.
    pub(crate) fn read(&self, frame: &[u8]) -> Result<Piece, Reason> {
        let found = fragment::locate(frame).ok_or(Reason::FragmentLength)?;
        let part = |from: usize, bytes: usize| frame.get(from..from + bytes);
        let word = |at: usize| {
            let bytes = part(at, 2).and_then(|it| it.try_into().ok());
            bytes.map(u16::from_be_bytes).ok_or(Reason::FragmentLength)
        };
        let mut hasher = self.key.build_hasher();
        for tag in found.tags() {
            // The network that the tag names, not its priority (IEEE 802.1Q 9.6).
            hasher.write_u16(word(tag + 2)? & 0x0fff);
        }
        let ip = found.ip;
        let (end, begin, field) = match found.version {
            Version::Four => {
                let header = usize::from(part(ip, 1).map_or(0, |it| it[0] & 0x0f)) * 4;
                if header < 20 {
                    return Err(Reason::FragmentLength);
                }
                hasher.write(part(ip + 12, 8).ok_or(Reason::FragmentLength)?);
                hasher.write(part(ip + 4, 2).ok_or(Reason::FragmentLength)?);
                hasher.write(part(ip + 9, 1).ok_or(Reason::FragmentLength)?);
                let field = word(ip + 6)?;
                // RFC 791 counts eights and puts the flags in front; RFC 8200 puts them behind.
                (ip + usize::from(word(ip + 2)?), ip + header, (field << 3) | (field >> 13 & 1))
            }
            Version::Six { header } => {
                hasher.write(part(ip + 8, 32).ok_or(Reason::FragmentLength)?);
                hasher.write(part(header + 4, 4).ok_or(Reason::FragmentLength)?);
                (ip + 40 + usize::from(word(ip + 4)?), header + 8, word(header + 2)?)
            }
        };
        let bytes = end.checked_sub(begin).filter(|_| end <= frame.len());
        let bytes = bytes.ok_or(Reason::FragmentLength)? as u32;
        let (from, more) = (u32::from(field & 0xfff8), field & 1 != 0);
        let sound =
            bytes > 0 && from + bytes <= DATAGRAM_BYTES_MAX && (!more || bytes.is_multiple_of(8));
        if !sound {
            return Err(Reason::FragmentLength);
        }
        Ok(Piece { datagram: hasher.finish() | 1, from, bytes, more })
    }

    /// Notes whose a first fragment is.
    ///
    /// # Errors
    /// [`Reason::FragmentOverlap`] if it repeats the first of a datagram of somebody else's.
    pub(crate) fn begin(
        &mut self,
        piece: Piece,
        (binding, owner): (BindingId, EnvironmentId),
        now: u64,
    ) -> Result<(), Reason> {
        if !piece.more {
            return Ok(());
        }
        let at = match self.find(piece.datagram, now) {
            Some(at) if self.places.get(at).is_some_and(|it| it.binding == binding) => at,
            Some(_) => return Err(Reason::FragmentOverlap),
            None => self.place_for(owner, now),
        };
        let place = Place {
            datagram: piece.datagram,
            binding,
            owner,
            next: piece.bytes,
            count: 1,
            expires: now.saturating_add(FRAGMENT_LIFE_NS),
        };
        match self.places.get_mut(at) {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
        Ok(())
    }

    /// Whose a later fragment is.
    ///
    /// # Errors
    /// [`Reason::Fragment`] if nothing is known of the datagram; [`Reason::FragmentOverlap`],
    /// [`Reason::FragmentOrder`], [`Reason::FragmentFlood`] if this is not what comes next.
    pub(crate) fn next(&mut self, piece: Piece, now: u64) -> Result<BindingId, Reason> {
        let at = self.find(piece.datagram, now).ok_or(Reason::Fragment)?;
        let place = self.places.get_mut(at).ok_or(Reason::Fragment)?;
        if piece.from < place.next {
            return Err(Reason::FragmentOverlap);
        }
        if piece.from > place.next {
            return Err(Reason::FragmentOrder);
        }
        place.count += 1;
        if place.count > FRAGMENTS_MAX {
            place.datagram = 0;
            return Err(Reason::FragmentFlood);
        }
        place.next = piece.from + piece.bytes;
        if !piece.more {
            place.datagram = 0;
        }
        Ok(place.binding)
    }

    /// A binding is gone: nobody's fragments are its any more.
    pub(crate) fn forget(&mut self, binding: BindingId) {
        for place in self.places.iter_mut().filter(|place| place.binding == binding) {
            place.datagram = 0;
        }
    }

    /// A binding goes on under another name.
    pub(crate) fn rename(&mut self, old: BindingId, new: BindingId) {
        for place in self.places.iter_mut().filter(|place| place.binding == old) {
            place.binding = new;
        }
    }

    fn find(&self, datagram: u64, now: u64) -> Option<usize> {
        self.places.iter().position(|place| place.datagram == datagram && place.is_live(now))
    }

    /// A place that is free, or the oldest of the owner's if it has no more. Never beyond the
    /// table's room: there are at most `ENVIRONMENTS_MAX` owners.
    fn place_for(&self, owner: EnvironmentId, now: u64) -> usize {
        let (mut free, mut oldest, mut held) = (None, None, 0);
        for (at, place) in self.places.iter().enumerate() {
            if !place.is_live(now) {
                free.get_or_insert(at);
            } else if place.owner == owner {
                held += 1;
                if oldest.is_none_or(|(_, expires)| place.expires < expires) {
                    oldest = Some((at, place.expires));
                }
            }
        }
        match (oldest, free) {
            (Some((at, _)), _) if held >= DATAGRAMS_PER_OWNER => at,
            (_, Some(at)) => at,
            // All that live are others' shares; one more always fits.
            (_, None) => self.places.len().min(PLACES - 1),
        }
    }
}

/// Room for everybody's share.
const PLACES: usize = ENVIRONMENTS_MAX * DATAGRAMS_PER_OWNER;

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
