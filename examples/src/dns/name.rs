//! Domain names: wire format, lower case (RFC 1035, 2.3.3 and 3.1).

use alloc::vec::Vec;

/// Longest name in wire format, the root's byte included.
const NAME_BYTES_MAX: usize = 255;
/// Longest label.
const LABEL_BYTES_MAX: usize = 63;

/// A name: labels with their lengths, ending with the root's zero, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// The root.
    #[must_use]
    pub fn root() -> Name {
        Name(alloc::vec![0])
    }

    /// From text: `www.sluice.test.`, or relative to `origin` without the last dot; `@` is the
    /// origin. `None` for empty or long labels and for names that are too long.
    #[must_use]
    pub fn from_text(text: &str, origin: &Name) -> Option<Name> {
        if text == "@" {
            return Some(origin.clone());
        }
        if text == "." {
            return Some(Name::root());
        }
        let (labels, rest) = match text.strip_suffix('.') {
            Some(labels) => (labels, &[0][..]),
            None => (text, origin.wire()),
        };
        let mut wire = Vec::new();
        for label in labels.split('.') {
            let length = u8::try_from(label.len()).ok()?;
            if length == 0 || usize::from(length) > LABEL_BYTES_MAX || !label.is_ascii() {
                return None;
            }
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.extend_from_slice(rest);
        (wire.len() <= NAME_BYTES_MAX).then_some(Name(wire))
    }

    /// The name at the front of `bytes`, which must not be compressed: it and its length.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Name, usize)> {
        let mut wire = Vec::new();
        let mut at = 0;
        loop {
            let length = *bytes.get(at)?;
            let label = usize::from(length);
            if label > LABEL_BYTES_MAX || at + label + 1 > NAME_BYTES_MAX {
                return None;
            }
            wire.push(length);
            let from = at + 1;
            wire.extend(bytes.get(from..from + label)?.iter().map(u8::to_ascii_lowercase));
            at = from + label;
            if label == 0 {
                return Some((Name(wire), at));
            }
        }
    }

    /// Bytes that a name at the front of `bytes` takes, compressed or not.
    #[must_use]
    pub fn skip(bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at)?);
            if length >= 0xc0 {
                return bytes.get(at + 1).map(|_| at + 2);
            }
            if length > LABEL_BYTES_MAX || at + length + 1 > NAME_BYTES_MAX {
                return None;
            }
            at += length + 1;
            if length == 0 {
                return Some(at);
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is `other` or below it.
    #[must_use]
    pub fn is_within(&self, other: &Name) -> bool {
        let mut rest = self.wire();
        loop {
            if rest == other.wire() {
                return true;
            }
            let Some((&length, tail)) = rest.split_first() else { return false };
            match tail.get(usize::from(length)..) {
                Some(tail) if length > 0 => rest = tail,
                _ => return false,
            }
        }
    }
}
