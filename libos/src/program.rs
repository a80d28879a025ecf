//! Filters and ASHs from assembler text with values filled in.
//!
//! A text may hold names in braces: `jne32 %r5, {OUR_IP}, pass`. They stand for numbers that are
//! only known at run time, as one's own addresses. What comes out is bytes for `Bind`; the kernel
//! alone says whether they are safe.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::Kind;
use ebpf::asm::AsmError;

/// Why a text gave no program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// A name in braces that was given no value, or a brace without its partner.
    Unfilled {
        /// What is between the braces.
        name: String,
    },
    /// The text does not assemble.
    Assemble {
        /// Where and why.
        error: AsmError,
    },
}

impl core::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unfilled { name } => write!(f, "no value for {{{name}}}"),
            Self::Assemble { error } => write!(f, "line {}: {:?}", error.line, error.reason),
        }
    }
}

/// Assembles a text into a program's bytes.
///
/// # Errors
/// [`ProgramError`], with the name or the line.
pub fn assemble(kind: Kind, text: &str, values: &[(&str, u64)]) -> Result<Vec<u8>, ProgramError> {
    let text = fill(text, values)?;
    let program =
        ebpf::asm::program(kind, &text).map_err(|error| ProgramError::Assemble { error })?;
    Ok(ebpf::encode(&program))
}

/// Puts the values where their names are.
fn fill(text: &str, values: &[(&str, u64)]) -> Result<String, ProgramError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let unfilled = |name: &str| ProgramError::Unfilled { name: String::from(name) };
        let (name, later) = after.split_once('}').ok_or_else(|| unfilled(after))?;
        let value = values.iter().find(|(n, _)| *n == name).ok_or_else(|| unfilled(name))?.1;
        out.push_str(before);
        out.push_str(&format!("{value:#x}"));
        rest = later;
    }
    out.push_str(rest);
    Ok(out)
}

/// Four bytes of a packet as `ldxw` loads them.
pub fn word(bytes: [u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(bytes))
}

/// A MAC address as `ldxw` of its first four bytes and `ldxh` of its last two load it.
pub fn mac_words(mac: [u8; 6]) -> (u64, u64) {
    let [a, b, c, d, e, f] = mac;
    (word([a, b, c, d]), u64::from(u16::from_le_bytes([e, f])))
}

#[cfg(test)]
mod tests {
    use super::{ProgramError, assemble};
    use ebpf::Kind;
    use std::string::ToString;

    #[test]
    fn values_go_where_their_names_are() {
        let text = "mov32 %r0, {A}\nadd32 %r0, {B}\nexit";
        let named = assemble(Kind::Ash, text, &[("B", 7), ("A", 0xffff_fffe)]);
        let plain = assemble(Kind::Ash, "mov32 %r0, 0xfffffffe\nadd32 %r0, 7\nexit", &[]);
        assert_eq!(named, plain);
        assert!(named.is_ok());
    }

    #[test]
    fn what_is_not_given_is_named() {
        let missing = assemble(Kind::Ash, "mov32 %r0, {A}\nexit", &[]);
        assert_eq!(missing, Err(ProgramError::Unfilled { name: "A".to_string() }));
        assert!(assemble(Kind::Ash, "mov32 %r0, {A", &[("A", 1)]).is_err());
        let wrong = assemble(Kind::Ash, "mov32 %r0, 1\nfrobnicate\nexit", &[]);
        assert!(matches!(wrong, Err(ProgramError::Assemble { error }) if error.line == 2));
        assert!(assemble(Kind::Ash, "", &[]).is_err());
    }
}
