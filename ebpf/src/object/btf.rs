//! Type information: the `.BTF` section as a table of types.
//!
//! Format: the kernel's `Documentation/bpf/btf.rst`. One pass checks that every type lies inside
//! the section and notes where; whatever follows references afterwards counts its steps, because
//! types of a hostile file may refer to each other in circles.

use alloc::vec::Vec;

use super::error::ObjectError;
use super::reader::Reader;
use crate::limits::{OBJECT_MAPS, OBJECT_NAME_BYTES};

/// First two bytes of `.BTF` and of `.BTF.ext`.
pub(super) const MAGIC: u16 = 0xeb9f;

/// Modifiers, typedefs and array dimensions on the way to a size, at most.
const STEPS: usize = 64;

/// Members of a structure that are looked at: a map's definition has a dozen.
const MEMBERS: usize = 32;

/// Kinds of types (`BTF_KIND_*`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
    /// One more than the last kind.
    pub(super) const END: u32 = 20;
}

/// The types of an object.
pub(super) struct Btf<'d> {
    types: Vec<Type<'d>>,
    strings: &'d [u8],
}

/// One type: its fixed part, and what follows it.
#[derive(Clone, Copy)]
struct Type<'d> {
    name: u32,
    kind: u32,
    /// Size in bytes, or the type referred to, as the kind says.
    size_or_type: u32,
    rest: &'d [u8],
}

/// A member of a structure.
#[derive(Clone, Copy)]
pub(super) struct Member<'d> {
    pub(super) name: &'d str,
    /// Its type's number.
    pub(super) of: u32,
}

impl<'d> Btf<'d> {
    /// No types at all.
    pub(super) const fn empty() -> Self {
        Self { types: Vec::new(), strings: &[] }
    }

    /// Reads a `.BTF` section.
    pub(super) fn parse(bytes: &'d [u8]) -> Result<Self, ObjectError> {
        let mut reader = Reader::new(".BTF", bytes);
        reader.magic(MAGIC)?;
        let length = reader.u32("the header's length")?;
        let (type_at, type_len) = (reader.u32("a type offset")?, reader.u32("a type length")?);
        let (string_at, string_len) = (reader.u32("an offset")?, reader.u32("a length")?);
        let part = |at: u32, len: u32| Reader::new(".BTF", bytes).part([length, at], len);
        let strings = part(string_at, string_len)?.rest();
        let mut reader = part(type_at, type_len)?;
        let mut types = Vec::new();
        while !reader.is_empty() {
            types.push(one(&mut reader)?);
        }
        Ok(Self { types, strings })
    }

    /// The bytes of all strings, each ended by a zero.
    pub(super) const fn strings(&self) -> &'d [u8] {
        self.strings
    }

    /// The string at an offset, if it is one.
    pub(super) fn string(&self, at: u32) -> Option<&'d str> {
        string(self.strings, at)
    }

    /// The name of a type, if it has one.
    pub(super) fn name(&self, id: u32) -> Option<&'d str> {
        self.string(self.get(id)?.name).filter(|name| !name.is_empty())
    }

    /// The variables of a data section: names and types; at most one more than [`OBJECT_MAPS`].
    pub(super) fn variables(&self, section: &str) -> Vec<Member<'d>> {
        let found = |each: &&Type<'_>| each.kind == kind::DATASEC && self.is(each.name, section);
        self.types
            .iter()
            .filter(found)
            .flat_map(|each| each.rest.chunks_exact(12))
            .take(OBJECT_MAPS + 1)
            .filter_map(|entry| {
                let variable = self.get(word(entry, 0)?).filter(|each| each.kind == kind::VAR)?;
                let name = self.string(variable.name)?;
                Some(Member { name, of: variable.size_or_type })
            })
            .collect()
    }

    /// The first [`MEMBERS`] members of a structure; none if the type is something else.
    pub(super) fn members(&self, id: u32) -> Option<Vec<Member<'d>>> {
        let found = self.resolved(id).filter(|each| each.kind == kind::STRUCT)?;
        let member =
            |entry| Some(Member { name: self.string(word(entry, 0)?)?, of: word(entry, 4)? });
        found.rest.chunks_exact(12).take(MEMBERS).map(member).collect()
    }

    /// What a pointer points to.
    pub(super) fn pointee(&self, id: u32) -> Option<u32> {
        self.resolved(id).filter(|each| each.kind == kind::PTR).map(|each| each.size_or_type)
    }

    /// The number of elements of an array.
    pub(super) fn elements(&self, id: u32) -> Option<u32> {
        word(self.resolved(id).filter(|each| each.kind == kind::ARRAY)?.rest, 8)
    }

    /// The size of a type in bytes, if it has one.
    pub(super) fn size(&self, id: u32) -> Option<u32> {
        let (mut id, mut times) = (id, 1_u32);
        for _ in 0..STEPS {
            let found = self.get(id)?;
            id = match found.kind {
                kind::INT
                | kind::STRUCT
                | kind::UNION
                | kind::ENUM
                | kind::ENUM64
                | kind::FLOAT
                | kind::DATASEC => return found.size_or_type.checked_mul(times),
                kind::PTR => return times.checked_mul(8),
                kind::ARRAY => {
                    times = times.checked_mul(word(found.rest, 8)?)?;
                    word(found.rest, 0)?
                }
                kind if is_modifier(kind) => found.size_or_type,
                _ => return None,
            };
        }
        None
    }

    /// Whether the string at an offset is this one.
    fn is(&self, at: u32, text: &str) -> bool {
        let rest = self.strings.get(at as usize..).and_then(|s| s.strip_prefix(text.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn get(&self, id: u32) -> Option<Type<'d>> {
        // Type 0 is void and not in the table.
        self.types.get((id as usize).checked_sub(1)?).copied()
    }

    /// The type behind modifiers and typedefs.
    fn resolved(&self, id: u32) -> Option<Type<'d>> {
        let mut id = id;
        for _ in 0..STEPS {
            let found = self.get(id)?;
            if !is_modifier(found.kind) {
                return Some(found);
            }
            id = found.size_or_type;
        }
        None
    }
}

/// A string that ends in zero, of at most [`OBJECT_NAME_BYTES`].
pub(super) fn string(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(at as usize..)?;
    let end = rest.iter().take(OBJECT_NAME_BYTES + 1).position(|&byte| byte == 0)?;
    core::str::from_utf8(rest.get(..end)?).ok()
}

const fn is_modifier(kind: u32) -> bool {
    matches!(kind, kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG)
}

/// Reads one type and steps over what follows it.
fn one<'d>(reader: &mut Reader<'d>) -> Result<Type<'d>, ObjectError> {
    let name = reader.u32("a type's name")?;
    let info = reader.u32("a type's kind")?;
    let size_or_type = reader.u32("a type's size")?;
    let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
    let follows = match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        1..kind::END => 0,
        _ => return Err(reader.expected("a known kind of type")),
    };
    let rest = reader.take(follows, "the rest of a type")?;
    Ok(Type { name, kind, size_or_type, rest })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}
