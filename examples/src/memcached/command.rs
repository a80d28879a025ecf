//! Requests: a line of words, and for some a block of data.

use alloc::vec::Vec;

use super::KEY_BYTES_MAX;

/// What is answered to what is no command.
const ERROR: &[u8] = b"ERROR\r\n";
const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
const BAD_DATA: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";

/// The first line.
pub(super) struct Line<'a> {
    words: Vec<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// The line, without its end, and what follows it.
    pub(super) fn split(request: &'a [u8]) -> Option<(Line<'a>, &'a [u8])> {
        let end = request.iter().position(|&byte| byte == b'\n')?;
        let line = request.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        Some((Line { words: words.collect() }, request.get(end + 1..)?))
    }
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    /// Only if it still has this number.
    Cas(u64),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Get {
        keys: Vec<&'a [u8]>,
        numbers: bool,
    },
    Store {
        mode: Mode,
        key: &'a [u8],
        flags: u32,
        ends: i64,
        data: &'a [u8],
    },
    Delete {
        key: &'a [u8],
    },
    /// Adds, or takes away.
    Count {
        key: &'a [u8],
        by: u64,
        down: bool,
    },
    Touch {
        key: &'a [u8],
        ends: i64,
    },
    Flush,
    Version,
    Stats,
    Verbosity,
}

impl<'a> Command<'a> {
    /// Reads a request; whether an answer is wanted not.
    ///
    /// # Errors
    /// What is answered instead.
    pub(super) fn read(
        line: &Line<'a>,
        data: &'a [u8],
    ) -> Result<(Command<'a>, bool), &'static [u8]> {
        let (&verb, words) = line.words.split_first().ok_or(ERROR)?;
        let silent = words.last() == Some(&&b"noreply"[..]);
        let words = if silent { &words[..words.len() - 1] } else { words };
        if words.iter().any(|word| word.len() > KEY_BYTES_MAX) {
            return Err(BAD_FORMAT);
        }
        let command = match (verb, words) {
            (b"get" | b"gets", [_, ..]) => {
                // Here the word is a key like any other.
                let keys = line.words[1..].to_vec();
                return Ok((Command::Get { keys, numbers: verb == b"gets" }, false));
            }
            (b"set", rest) => stored(Mode::Set, rest, data)?,
            (b"add", rest) => stored(Mode::Add, rest, data)?,
            (b"replace", rest) => stored(Mode::Replace, rest, data)?,
            (b"append", rest) => stored(Mode::Append, rest, data)?,
            (b"prepend", rest) => stored(Mode::Prepend, rest, data)?,
            (b"cas", [rest @ .., cas]) => stored(Mode::Cas(number(cas)?), rest, data)?,
            (b"delete", [key] | [key, b"0"]) => Command::Delete { key },
            (b"incr", [key, by]) => Command::Count { key, by: delta(by)?, down: false },
            (b"decr", [key, by]) => Command::Count { key, by: delta(by)?, down: true },
            (b"touch", [key, ends]) => Command::Touch { key, ends: number(ends)? },
            (b"flush_all", [] | [b"0"]) => Command::Flush,
            (b"version", []) => Command::Version,
            (b"stats", []) => Command::Stats,
            (b"verbosity", [_]) => Command::Verbosity,
            _ => return Err(ERROR),
        };
        Ok((command, silent))
    }
}

/// The words after the verb: key, flags, end, bytes.
fn stored<'a>(
    mode: Mode,
    words: &[&'a [u8]],
    data: &'a [u8],
) -> Result<Command<'a>, &'static [u8]> {
    let &[key, flags, ends, bytes] = words else { return Err(ERROR) };
    let (flags, ends) = (number(flags)?, number(ends)?);
    let bytes: u32 = number(bytes)?;
    let (data, end) = data.split_at_checked(bytes as usize).ok_or(BAD_DATA)?;
    if !end.starts_with(b"\r\n") {
        return Err(BAD_DATA);
    }
    Ok(Command::Store { mode, key, flags, ends, data })
}

fn number<T: core::str::FromStr>(word: &[u8]) -> Result<T, &'static [u8]> {
    core::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).ok_or(BAD_FORMAT)
}

fn delta(word: &[u8]) -> Result<u64, &'static [u8]> {
    number(word).map_err(|_| &b"CLIENT_ERROR invalid numeric delta argument\r\n"[..])
}
