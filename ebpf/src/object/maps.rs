//! The maps of an object: BTF definitions (`.maps`), legacy ones (`maps`), and global data.
//!
//! A definition that cannot be had here does not refuse the object, only the programs that use it;
//! so each map is kept with its fault. Global data (`.rodata*`, `.data*`, `.bss*`) becomes an array
//! of one value with initial contents, as in libbpf; constants are read-only to programs.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::btf::{Btf, Member};
use super::elf::{Elf, Section, SymbolKind, bounded};
use super::error::{MapFault, ObjectError};
use crate::limits::{MAP_VALUE_BYTES_MAX, OBJECT_MAPS};
use crate::map::{MapKind, MapName, MapSpec};

/// Flags without a meaning here: whether memory is allocated ahead (it always is), how an LRU list
/// is split among processors, on which node memory is, whether user space may map it.
const FLAGS_IGNORED: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 10;
/// `BPF_F_RDONLY_PROG`.
const FLAG_READ_ONLY: u32 = 1 << 7;

/// Shortest legacy definition: type, key size, value size, entries, flags.
const LEGACY_BYTES: u64 = 20;

/// A map of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMap {
    name: String,
    spec: Result<MapSpec, MapFault>,
    initial: Vec<u8>,
    pinned: bool,
}

impl ObjectMap {
    /// Its name in full; of global data, the section's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    ///
    /// # Errors
    /// Why there can be no such map; programs that use it are refused.
    pub const fn spec(&self) -> Result<&MapSpec, &MapFault> {
        self.spec.as_ref()
    }

    /// The bytes of the first value before any program runs; those that are missing are zero.
    #[must_use]
    pub fn initial(&self) -> &[u8] {
        &self.initial
    }

    /// The definition asks for a place in a file system (`pinning`), which does not exist here: the
    /// map belongs to whoever loads the object.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.pinned
    }
}

/// The maps of an object, and where each is in the file.
pub(super) struct Maps {
    pub(super) list: Vec<ObjectMap>,
    /// Section and offset of each, in bytes; [`Place::whole`] sections have one.
    places: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    section: usize,
    offset: u64,
    /// Global data: any offset belongs to this map.
    whole: bool,
}

/// What a place in a section means to a 64-bit load.
pub(super) enum Found {
    /// A map.
    Map(usize),
    /// A byte of a map's first value.
    Value { map: usize, offset: u64 },
}

impl Maps {
    /// Every map that the object defines.
    pub(super) fn parse(elf: &Elf<'_>, btf: &Btf<'_>) -> Result<Self, ObjectError> {
        let mut maps = Self { list: Vec::new(), places: Vec::new() };
        let variables = sorted(btf.variables(".maps"));
        for (index, section) in elf.sections.iter().enumerate() {
            match role(section) {
                Role::Other => {}
                Role::Typed => maps.typed(elf, index, btf, &variables)?,
                Role::Legacy => maps.legacy(elf, index)?,
                Role::Data => {
                    let place = Place { section: index, offset: 0, whole: true };
                    maps.add(place, data(section))?;
                }
            }
        }
        Ok(maps)
    }

    /// What a place is to a 64-bit load: the map that begins there, or a byte of global data.
    pub(super) fn at(&self, section: usize, offset: u64) -> Option<Found> {
        let place = |whole| Place { section, offset: if whole { 0 } else { offset }, whole };
        let position = |wanted| self.places.iter().position(|place| *place == wanted);
        match position(place(true)) {
            Some(map) => Some(Found::Value { map, offset }),
            None => position(place(false)).map(Found::Map),
        }
    }

    /// Whether the section holds maps or global data at all.
    pub(super) fn holds(&self, section: usize) -> bool {
        self.places.iter().any(|place| place.section == section)
    }

    fn add(&mut self, place: Place, map: ObjectMap) -> Result<(), ObjectError> {
        self.list.push(map);
        self.places.push(place);
        bounded("maps", self.list.len() as u64, ("OBJECT_MAPS", OBJECT_MAPS))
    }

    /// The symbols of `.maps`, each described by the variable of its name.
    fn typed(
        &mut self,
        elf: &Elf<'_>,
        index: usize,
        btf: &Btf<'_>,
        variables: &[Member<'_>],
    ) -> Result<(), ObjectError> {
        for (name, offset) in names(elf, index) {
            let place = Place { section: index, offset, whole: false };
            let found = variables.binary_search_by_key(&name, |variable| variable.name).ok();
            let members = found
                .and_then(|at| variables.get(at))
                .and_then(|variable| btf.members(variable.of))
                .ok_or(MapFault::Definition { what: "no BTF describes it" });
            let read = members.and_then(|members| typed(btf, &members));
            self.add(place, made(name, read))?;
        }
        Ok(())
    }

    /// The symbols of `maps`, as an array of structures of 20 bytes or more each.
    fn legacy(&mut self, elf: &Elf<'_>, index: usize) -> Result<(), ObjectError> {
        let names = names(elf, index);
        let Some(section) = elf.sections.get(index) else { return Ok(()) };
        let stride = section.size.checked_div(names.len() as u64).unwrap_or_default();
        for (name, offset) in names {
            let place = Place { section: index, offset, whole: false };
            self.add(place, made(name, legacy(section, offset, stride)))?;
        }
        Ok(())
    }
}

/// What a section is to maps.
enum Role {
    Typed,
    Legacy,
    Data,
    Other,
}

fn role(section: &Section<'_>) -> Role {
    let family = |name: &str| {
        let rest = section.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !section.allocated || section.executable || section.size == 0 {
        return Role::Other;
    }
    match section.name {
        ".maps" => Role::Typed,
        name if name == "maps" || name.starts_with("maps/") => Role::Legacy,
        _ if [".rodata", ".data", ".bss"].into_iter().any(family) => Role::Data,
        _ => Role::Other,
    }
}

/// The named places of a section, ascending by offset; one name for each.
fn names<'d>(elf: &Elf<'d>, index: usize) -> Vec<(&'d str, u64)> {
    let inside = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.section == Some(index) && symbol.kind != SymbolKind::Section);
    let mut names: Vec<_> = inside.map(|symbol| (symbol.name, symbol.value)).collect();
    names.sort_by_key(|&(_, offset)| offset);
    names.dedup_by_key(|&mut (_, offset)| offset);
    names
}

fn sorted(mut variables: Vec<Member<'_>>) -> Vec<Member<'_>> {
    variables.sort_by_key(|variable| variable.name);
    variables
}

/// A definition as it stands.
#[derive(Default)]
struct Definition {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    nested: bool,
    pinned: bool,
}

/// The members of a BTF definition: `__uint` is a pointer to an array of so many elements,
/// `__type` a pointer to the type.
fn typed(btf: &Btf<'_>, members: &[Member<'_>]) -> Result<Definition, MapFault> {
    let wrong = |what| MapFault::Definition { what };
    let mut read = Definition::default();
    for member in members {
        let uint = || {
            let elements = btf.pointee(member.of).and_then(|array| btf.elements(array));
            elements.ok_or(wrong("a member is not written with __uint"))
        };
        let size = || {
            let size = btf.pointee(member.of).and_then(|of| btf.size(of));
            size.ok_or(wrong("the size of a __type is not known"))
        };
        match member.name {
            "type" => read.kind = uint()?,
            "key_size" => read.key_size = uint()?,
            "value_size" => read.value_size = uint()?,
            "max_entries" => read.max_entries = uint()?,
            "map_flags" => read.flags = uint()?,
            "key" => read.key_size = size()?,
            "value" => read.value_size = size()?,
            "pinning" => read.pinned = uint()? != 0,
            "numa_node" => {}
            "values" => read.nested = true,
            "map_extra" => return Err(wrong("map_extra is not supported")),
            _ => return Err(wrong("a member is not known")),
        }
    }
    Ok(read)
}

/// `struct bpf_map_def`, or what some loaders made of it: what follows the five common fields
/// speaks of pinning, nodes, or maps in maps (whose kind is refused).
fn legacy(section: &Section<'_>, offset: u64, stride: u64) -> Result<Definition, MapFault> {
    let wrong = |what| MapFault::Definition { what };
    if stride < LEGACY_BYTES {
        return Err(wrong("a legacy definition has at least 20 bytes"));
    }
    let end = offset.checked_add(stride).ok_or(wrong("beyond the section's end"))?;
    let mut nested = section.relocations_in(offset..end).iter();
    let bytes = usize::try_from(offset).ok().and_then(|at| section.data.get(at..)?.first_chunk());
    let bytes: &[u8; LEGACY_BYTES as usize] = bytes.ok_or(wrong("beyond the section's end"))?;
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [kind, key_size, value_size, max_entries, flags] = words;
    let nested = nested.next().is_some();
    Ok(Definition { kind, key_size, value_size, max_entries, flags, nested, pinned: false })
}

fn made(name: &str, read: Result<Definition, MapFault>) -> ObjectMap {
    let pinned = read.as_ref().is_ok_and(|read| read.pinned);
    let spec = read.and_then(|read| spec(name, &read));
    ObjectMap { name: name.to_owned(), spec, initial: Vec::new(), pinned }
}

fn spec(name: &str, read: &Definition) -> Result<MapSpec, MapFault> {
    let kind = MapKind::from_number(read.kind).ok_or(MapFault::Kind(read.kind))?;
    if read.nested {
        return Err(MapFault::Nested);
    }
    let unknown = read.flags & !(FLAGS_IGNORED | FLAG_READ_ONLY);
    if unknown != 0 {
        return Err(MapFault::Flags(unknown));
    }
    let &Definition { key_size, value_size, max_entries, .. } = read;
    let read_only = read.flags & FLAG_READ_ONLY != 0;
    let name = MapName::new(name);
    checked(MapSpec { kind, key_size, value_size, max_entries, read_only, name })
}

fn checked(spec: MapSpec) -> Result<MapSpec, MapFault> {
    spec.validate().map_err(MapFault::Limit)?;
    Ok(spec)
}

/// Global data as an array of one value.
fn data(section: &Section<'_>) -> ObjectMap {
    let value_size = u32::try_from(section.size).unwrap_or(u32::MAX);
    let read_only = section.name.starts_with(".rodata");
    let name = MapName::new(section.name);
    let spec = checked(MapSpec { read_only, name, ..MapSpec::array(value_size, 1) });
    let pointers = !section.relocations.is_empty();
    let spec = if pointers { Err(MapFault::Pointers) } else { spec };
    // What is larger is refused: not worth a copy.
    let initial = section.data.get(..section.data.len().min(MAP_VALUE_BYTES_MAX));
    let initial = if spec.is_ok() { initial.unwrap_or_default() } else { &[] };
    ObjectMap { name: section.name.to_owned(), spec, initial: initial.to_vec(), pinned: false }
}
