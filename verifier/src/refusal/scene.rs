//! What was known where a proof failed: plain data, for whoever shows a refusal to a person.
//!
//! The proof fills it from its own domain once, at the first failure; nothing here is used to
//! decide anything. [`core::fmt::Display`] of a [`Known`] is the phrase that a message uses.

use alloc::vec::Vec;
use core::fmt;

use ebpf::Reg;

/// What was known of each register that the failing instruction involves, and how control came
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// One fact for each register that the instruction reads, in the order of their numbers.
    pub facts: Vec<Fact>,
    /// Slots from the entry to the instruction, both included, along one path that the proof did
    /// not rule out. Empty where the proof does not know: then any path of the graph may be shown.
    pub path: Vec<u32>,
}

/// What was known of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The register.
    pub reg: Reg,
    /// What it holds.
    pub known: Known,
}

/// What a register is known to hold. Distances and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing has written it on some path.
    Unwritten,
    /// A pointer on one path and something else on another.
    Mixed,
    /// A number.
    Number(Numbers),
    /// A pointer into the packet (or the buffer of a `Memory` program).
    Packet {
        /// Least distance from the packet's first byte.
        least: i64,
        /// Greatest distance from the packet's first byte.
        most: i64,
        /// So many bytes from the pointer on are proven to exist; negative if not even the
        /// pointer's own place is.
        proven: i64,
    },
    /// Just past the packet's last byte (`data_end`).
    PacketEnd,
    /// The context.
    Context,
    /// `r10` of the running function plus so many bytes.
    Stack {
        /// Least distance.
        least: i64,
        /// Greatest distance.
        most: i64,
    },
    /// A map itself, by its position in the program.
    Map(u32),
    /// A pointer into a value of a map.
    MapValue {
        /// The map's position in the program.
        map: u32,
        /// Least distance from the value's first byte.
        least: i64,
        /// Greatest distance from the value's first byte.
        most: i64,
        /// Size of the value.
        size: u32,
        /// Whether it may be null.
        maybe_null: bool,
    },
}

/// A set of numbers, seen three ways; a number is in it if all three allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Unsigned range.
    pub unsigned: (u64, u64),
    /// Signed range.
    pub signed: (i64, i64),
    /// Bits known to be 1.
    pub ones: u64,
    /// Bits that are not known.
    pub unknown: u64,
}

impl Scene {
    /// What is known of a register; `None` if the failing instruction does not involve it.
    #[must_use]
    pub fn fact(&self, reg: Reg) -> Option<&Known> {
        self.facts.iter().find(|fact| fact.reg == reg).map(|fact| &fact.known)
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Known::Unwritten => f.write_str("not written on some path"),
            Known::Mixed => f.write_str("a pointer on one path, something else on another"),
            Known::Number(numbers) => write!(f, "{numbers}"),
            Known::Packet { least, most, proven } => {
                f.write_str("packet")?;
                distance(f, least, most)?;
                match proven {
                    ..=0 => f.write_str(", no byte from here on proven to exist"),
                    1 => f.write_str(", 1 byte from here on proven to exist"),
                    bytes => write!(f, ", {bytes} bytes from here on proven to exist"),
                }
            }
            Known::PacketEnd => f.write_str("the packet's end"),
            Known::Context => f.write_str("the context"),
            Known::Stack { least, most } => {
                f.write_str("stack, r10")?;
                distance(f, least, most)
            }
            Known::Map(map) => write!(f, "map {map}"),
            Known::MapValue { map, least, most, size, maybe_null } => {
                let null = if maybe_null { "null or " } else { "" };
                write!(f, "{null}value of map {map} ({size} bytes)")?;
                distance(f, least, most)
            }
        }
    }
}

/// ` + 4`, ` - 8`, or ` + 0..=60`.
fn distance(f: &mut fmt::Formatter<'_>, least: i64, most: i64) -> fmt::Result {
    match (least, most) {
        (0, 0) => Ok(()),
        _ if least < most => write!(f, " + {least}..={most}"),
        _ if least < 0 => write!(f, " - {}", least.unsigned_abs()),
        _ => write!(f, " + {least}"),
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.unsigned;
        let (signed_low, signed_high) = self.signed;
        let plain = signed_low >= 0;
        match (low == high, plain) {
            (true, true) => return write!(f, "{low}"),
            (true, false) => return write!(f, "{low:#x} ({signed_low})"),
            (false, true) => write!(f, "{low}..={high}")?,
            (false, false) if (low, high) != (0, u64::MAX) => write!(f, "{low:#x}..={high:#x}")?,
            (false, false) if (signed_low, signed_high) != (i64::MIN, i64::MAX) => {
                write!(f, "{signed_low}..={signed_high}")?;
            }
            (false, false) if self.unknown == u64::MAX => return f.write_str("any number"),
            (false, false) => f.write_str("any number")?,
        }
        // Known bits are told only where the range does not say as much already.
        let spread = low ^ high;
        let implied = u64::MAX.checked_shr(spread.leading_zeros()).unwrap_or(0);
        let known = implied & !self.unknown;
        match known {
            0 => Ok(()),
            _ => write!(f, ", bits {known:#x} known to be {:#x}", self.ones & known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, Numbers};
    use alloc::string::ToString;

    const ANY: Numbers = Numbers {
        unsigned: (0, u64::MAX),
        signed: (i64::MIN, i64::MAX),
        ones: 0,
        unknown: u64::MAX,
    };

    #[test]
    fn numbers_say_what_is_known_and_no_more() {
        assert_eq!(ANY.to_string(), "any number");
        let low = |low, high, unknown| Numbers {
            unsigned: (low, high),
            signed: (low as i64, high as i64),
            ones: 0,
            unknown,
        };
        assert_eq!(low(7, 7, 0).to_string(), "7");
        assert_eq!(low(0, 255, 0xff).to_string(), "0..=255");
        assert_eq!(low(0, 60, 0x3c).to_string(), "0..=60, bits 0x3 known to be 0x0");
        let negative = Numbers { signed: (-4, 3), ..ANY };
        assert_eq!(negative.to_string(), "-4..=3");
        let minus = Numbers { unsigned: (!0, !0), signed: (-1, -1), ones: !0, unknown: 0 };
        assert_eq!(minus.to_string(), "0xffffffffffffffff (-1)");
        let odd = Numbers { ones: 1, unknown: !1, ..ANY };
        assert_eq!(odd.to_string(), "any number, bits 0x1 known to be 0x1");
    }

    #[test]
    fn pointers_say_where_they_point() {
        let packet = Known::Packet { least: 14, most: 74, proven: 0 };
        let text = "packet + 14..=74, no byte from here on proven to exist";
        assert_eq!(packet.to_string(), text);
        assert_eq!(Known::Stack { least: -8, most: -8 }.to_string(), "stack, r10 - 8");
        let value = Known::MapValue { map: 1, least: 0, most: 0, size: 16, maybe_null: true };
        assert_eq!(value.to_string(), "null or value of map 1 (16 bytes)");
    }
}
