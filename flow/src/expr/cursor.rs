//! A place in the text of an expression.
//!
//! What a run of characters is depends on what is expected (`10` is a number, the start of an
//! address or of a range), so there is no token stream: the parser asks for what it wants and the
//! [`Cursor`] takes it or stays. Keywords are whole words, lower case.

use super::ExprError;
use crate::headers::Link;
use crate::limits::{NESTING_MAX, TEXT_MAX, VLAN_DEPTH_MAX};

/// A place in the text, and the VLAN tags that were written before it.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// The header that tests written here talk about.
    pub(super) link: Link,
}

impl<'a> Cursor<'a> {
    /// The start of `text`, which must be ASCII and at most `TEXT_MAX` bytes.
    pub(super) fn new(text: &'a str) -> Result<Cursor<'a>, ExprError> {
        if text.len() > TEXT_MAX {
            return Err(ExprError { column: TEXT_MAX + 1, expected: "the end (TEXT_MAX)" });
        }
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii()) {
            return Err(ExprError { column: at + 1, expected: "only ASCII characters" });
        }
        let mut cursor = Cursor { text, at: 0, link: Link::PLAIN };
        cursor.skip_space();
        Ok(cursor)
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn fail<T>(&self, expected: &'static str) -> Result<T, ExprError> {
        Err(ExprError { column: self.at + 1, expected })
    }

    /// The word that stands here: letters, digits and `-` after a letter. Empty if there is none.
    pub(super) fn word(&self) -> &'a str {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return "";
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or("")
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.word() == word;
        if found {
            self.advance(word.len());
        }
        found
    }

    pub(super) fn peek_symbol(&self, symbol: &str) -> bool {
        self.rest().starts_with(symbol)
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek_symbol(symbol);
        if found {
            self.advance(symbol.len());
        }
        found
    }

    pub(super) fn expect_symbol(
        &mut self,
        symbol: &str,
        expected: &'static str,
    ) -> Result<(), ExprError> {
        if self.take_symbol(symbol) { Ok(()) } else { self.fail(expected) }
    }

    /// Takes an opening parenthesis that stands at nesting `depth`.
    pub(super) fn enter(&mut self, depth: usize) -> Result<(), ExprError> {
        if depth == NESTING_MAX {
            return self.fail("fewer parentheses (NESTING_MAX)");
        }
        self.expect_symbol("(", "`(`")
    }

    /// One more VLAN tag before all that follows.
    pub(super) fn enter_tag(&mut self) -> Result<(), ExprError> {
        if self.link.tags == VLAN_DEPTH_MAX {
            return self.fail("fewer VLAN tags (VLAN_DEPTH_MAX)");
        }
        self.link.tags += 1;
        Ok(())
    }

    /// The run of characters that `belongs` accepts; what can be made of it by `read`.
    pub(super) fn take_run<T>(
        &mut self,
        belongs: impl Fn(char) -> bool,
        read: impl Fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, ExprError> {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let run = rest.get(..end).unwrap_or("");
        let Some(value) = read(run) else { return self.fail(expected) };
        self.advance(end);
        Ok(value)
    }

    /// Whether a number stands here.
    pub(super) fn at_number(&self) -> bool {
        self.rest().starts_with(|c: char| c.is_ascii_digit())
    }

    /// Whether an address may stand here: a digit of it, or the colon of an IPv6 address.
    pub(super) fn at_address(&self) -> bool {
        self.rest().starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
    }

    /// A number, decimal or with `0x`, of at most `max`.
    pub(super) fn number(&mut self, max: u64, expected: &'static str) -> Result<u64, ExprError> {
        let read = |run: &str| {
            let value = match run.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => run.parse().ok()?,
            };
            (value <= max).then_some(value)
        };
        self.take_run(|c| c.is_ascii_alphanumeric(), read, expected)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.skip_space();
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }
}
