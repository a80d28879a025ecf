//! Commands to `init` over the wire, and how they show that they may give commands.
//!
//! Frames of [`ETHERTYPE`] to the card's address carry a number, a tag and a line of text. The tag
//! is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF") of number and text
//! under a key that only the host tool and `init` have: it is a word of the kernel's command line
//! ([`WORD`]), new for every boot. Numbers must grow, so that a frame that somebody recorded obeys
//! nobody twice. A machine that was booted without a key has no such channel.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

/// IEEE 802 local experimental EtherType 1.
pub const ETHERTYPE: u16 = 0x88b5;
/// What the key's word on the command line begins with; 32 hexadecimal digits follow.
pub const WORD: &str = "control=";
/// Bytes before the text: the number, and the tag behind it, both in network order.
pub const SEAL_BYTES: usize = 16;
/// Bytes of a line at most.
pub const LINE_BYTES_MAX: usize = 200;

/// What host tool and `init` share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(not shown)")
    }
}

impl Key {
    /// From 16 bytes that nobody guesses.
    pub fn new(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    /// From the command line; `None` if it has no such word, or one that is no key.
    pub fn from_words(words: &str) -> Option<Key> {
        let digits = words.split_whitespace().find_map(|word| word.strip_prefix(WORD))?;
        let valid = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = u128::from_str_radix(digits, 16).ok().filter(|_| valid)?;
        Some(Key(value.to_be_bytes()))
    }

    /// Its word on the command line.
    pub fn word(&self) -> String {
        format!("{WORD}{:032x}", u128::from_be_bytes(self.0))
    }

    /// A line with its number and tag: the payload of a frame.
    pub fn seal(&self, number: u64, line: &str) -> Vec<u8> {
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.tag(number, line.as_bytes()).to_be_bytes());
        payload.extend_from_slice(line.as_bytes());
        payload
    }

    /// Number and line of a payload whose tag is right and whose number is above `last`. Zeros
    /// behind the line are padding.
    pub fn open<'a>(&self, last: u64, payload: &'a [u8]) -> Option<(u64, &'a str)> {
        let (number, rest) = payload.split_first_chunk::<8>()?;
        let (tag, text) = rest.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let text = text.get(..end).filter(|text| text.len() <= LINE_BYTES_MAX)?;
        let right = number > last && self.tag(number, text) == u64::from_be_bytes(*tag);
        let line = core::str::from_utf8(text).ok().filter(|_| right)?;
        Some((number, line.trim_end()))
    }

    fn tag(&self, number: u64, text: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&number.to_be_bytes());
        hasher.write(text);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use alloc::format;

    const KEY: Key = Key([7; 16]);

    #[test]
    fn a_key_comes_back_from_its_word_and_is_never_shown() {
        let words = format!("log=info {} trace", KEY.word());
        assert_eq!(Key::from_words(&words), Some(KEY));
        assert!(!format!("{KEY:?}").contains('7'));
        let short = format!("control={}", "a".repeat(31));
        for bad in
            ["", "control=", "control=xyz", &short, &format!("{short}+"), &format!("{short}aa")]
        {
            assert_eq!(Key::from_words(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_next_line_under_the_right_key_is_opened() {
        let mut payload = KEY.seal(5, "start spin 3");
        assert_eq!(KEY.open(4, &payload), Some((5, "start spin 3")));
        assert_eq!(KEY.open(5, &payload), None, "again");
        assert_eq!(Key::new([8; 16]).open(4, &payload), None);
        payload.resize(60, 0);
        assert_eq!(KEY.open(0, &payload), Some((5, "start spin 3")));
        for place in 0..28 {
            let mut other = payload.clone();
            other[place] ^= 1;
            assert_eq!(KEY.open(0, &other), None, "changed at {place}");
        }
        for length in 0..28 {
            assert_eq!(KEY.open(0, &payload[..length]), None, "cut to {length}");
        }
        assert_eq!(KEY.open(0, &KEY.seal(1, &"x".repeat(201))), None);
        assert_eq!(KEY.open(0, b"halt 0"), None);
    }
}
