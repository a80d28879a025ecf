//! The container: sections, symbols and relocations of an ELF file, as plain data.
//!
//! The crate `object` reads the tables; what is here bounds them. Everything that later stages
//! index or slice is a checked slice of the file, nothing is copied, and the number of sections,
//! relocations and bytes of a name have limits, because tables of a hostile file may overlap: a
//! small file can hold many long ones.

use alloc::vec::Vec;

use ::object::elf::{self, FileHeader64};
use ::object::read::elf::{FileHeader, Rel, SectionHeader, SectionTable, Sym};
use ::object::{LittleEndian, SectionIndex};

use super::error::ObjectError;
use crate::limits::{
    OBJECT_BYTES, OBJECT_NAME_BYTES, OBJECT_RELOCATIONS, OBJECT_SECTIONS, OBJECT_SYMBOLS,
};

type Header = FileHeader64<LittleEndian>;
type Table<'d> = SectionTable<'d, Header>;

/// Byte order of every object that is read.
const LE: LittleEndian = LittleEndian;

/// An object file's tables.
pub(super) struct Elf<'d> {
    /// By ELF index; the first is the null section.
    pub(super) sections: Vec<Section<'d>>,
    /// By ELF index; the first is the null symbol.
    pub(super) symbols: Vec<Symbol<'d>>,
}

/// A section.
pub(super) struct Section<'d> {
    pub(super) name: &'d str,
    /// Holds instructions.
    pub(super) executable: bool,
    /// Occupies memory at run time: programs and data, not debug information.
    pub(super) allocated: bool,
    /// Size in bytes; of `.bss` too, which has no bytes in the file.
    pub(super) size: u64,
    /// The bytes; none for `.bss`.
    pub(super) data: &'d [u8],
    /// What refers to something from here, ascending by offset.
    pub(super) relocations: Vec<Relocation>,
}

/// A symbol.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'d> {
    pub(super) name: &'d str,
    /// Where it is, if it is in this file.
    pub(super) section: Option<usize>,
    /// Offset in its section, in bytes.
    pub(super) value: u64,
    /// Size in bytes; 0 if not said.
    pub(super) size: u64,
    pub(super) kind: SymbolKind,
    /// Seen by other objects; a `static` is not.
    pub(super) global: bool,
}

/// What a symbol names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Function,
    /// A whole section.
    Section,
    /// A variable, a label, or nothing said.
    Other,
}

/// A place that refers to a symbol.
#[derive(Clone, Copy)]
pub(super) struct Relocation {
    /// Offset of the place in its section, in bytes.
    pub(super) offset: u64,
    /// Index of the symbol.
    pub(super) symbol: usize,
    /// `R_BPF_*`.
    pub(super) kind: u32,
}

impl<'d> Elf<'d> {
    /// Reads the tables of a relocatable little-endian BPF object.
    pub(super) fn parse(bytes: &'d [u8]) -> Result<Self, ObjectError> {
        bounded("bytes", bytes.len() as u64, ("OBJECT_BYTES", OBJECT_BYTES))?;
        let header = header(bytes)?;
        let headers = header
            .section_headers(LE, bytes)
            .map_err(|_| ObjectError::Elf { part: "the section table" })?;
        bounded("sections", headers.len() as u64, ("OBJECT_SECTIONS", OBJECT_SECTIONS))?;
        let table = header
            .sections(LE, bytes)
            .map_err(|_| ObjectError::Elf { part: "the table of section names" })?;
        let names = header
            .section_strings_index(LE, bytes)
            .ok()
            .and_then(|index| table.section(index).ok())
            .and_then(|strings| strings.data(LE, bytes).ok())
            .ok_or(ObjectError::Elf { part: "the table of section names" })?;
        let mut sections = table
            .iter()
            .map(|header| section(header, bytes, names))
            .collect::<Result<Vec<_>, _>>()?;
        relocations(&table, bytes, &mut sections)?;
        let symbols = symbols(&table, bytes, sections.len())?;
        Ok(Self { sections, symbols })
    }

    /// The first section of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Section<'d>> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section<'_> {
    /// The relocations in a range of offsets, in bytes.
    pub(super) fn relocations_in(&self, range: core::ops::Range<u64>) -> &[Relocation] {
        let start = self.relocations.partition_point(|each| each.offset < range.start);
        let end = self.relocations.partition_point(|each| each.offset < range.end);
        self.relocations.get(start..end).unwrap_or_default()
    }
}

/// Refuses what is more than a limit.
pub(super) fn bounded(
    what: &'static str,
    found: u64,
    (name, limit): (&'static str, usize),
) -> Result<(), ObjectError> {
    if found > limit as u64 {
        return Err(ObjectError::TooLarge { what, found, limit, name });
    }
    Ok(())
}

fn header(bytes: &[u8]) -> Result<&Header, ObjectError> {
    let not = |found| ObjectError::NotBpf { found };
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(not("no ELF file"));
    }
    let header = Header::parse(bytes).map_err(|_| not("no 64-bit ELF file"))?;
    if header.endian().is_err() {
        return Err(not("a big-endian file"));
    }
    // Old compilers left the machine at 0.
    if !matches!(header.e_machine(LE), elf::EM_BPF | elf::EM_NONE) {
        return Err(not("a file for another machine"));
    }
    if header.e_type(LE) != elf::ET_REL {
        return Err(not("no relocatable file"));
    }
    Ok(header)
}

fn section<'d>(
    header: &<Header as FileHeader>::SectionHeader,
    bytes: &'d [u8],
    names: &'d [u8],
) -> Result<Section<'d>, ObjectError> {
    let name = text(names, header.sh_name(LE), "a section's name")?;
    let data =
        header.data(LE, bytes).map_err(|_| ObjectError::Elf { part: "a section's bytes" })?;
    let flags = header.sh_flags(LE);
    Ok(Section {
        name,
        executable: flags.contains(elf::SHF_EXECINSTR) && header.sh_type(LE) == elf::SHT_PROGBITS,
        allocated: flags.contains(elf::SHF_ALLOC),
        size: header.sh_size(LE),
        data,
        relocations: Vec::new(),
    })
}

/// Hands every relocation to the section that it is in.
fn relocations(
    table: &Table<'_>,
    bytes: &[u8],
    sections: &mut [Section<'_>],
) -> Result<(), ObjectError> {
    let mut total = 0;
    for header in table.iter() {
        let wrong = ObjectError::Elf { part: "a table of relocations" };
        if header.sh_type(LE) == elf::SHT_RELA {
            return Err(ObjectError::Elf {
                part: "relocations with addends (RELA), which BPF has not",
            });
        }
        let Some((list, _)) = header.rel(LE, bytes).map_err(|_| wrong.clone())? else { continue };
        let target = header.info_link(LE).0;
        let section = sections.get_mut(target).ok_or(wrong)?;
        // Debug information refers to much, and nothing here reads it through relocations.
        if !section.allocated {
            continue;
        }
        total += list.len() as u64;
        bounded("relocations", total, ("OBJECT_RELOCATIONS", OBJECT_RELOCATIONS))?;
        section.relocations.extend(list.iter().map(|each| Relocation {
            offset: each.r_offset(LE),
            symbol: each.r_sym(LE) as usize,
            kind: each.r_type(LE).0,
        }));
    }
    for section in sections {
        section.relocations.sort_by_key(|each| each.offset);
    }
    Ok(())
}

fn symbols<'d>(
    table: &Table<'d>,
    bytes: &'d [u8],
    sections: usize,
) -> Result<Vec<Symbol<'d>>, ObjectError> {
    let wrong = |_| ObjectError::Elf { part: "the symbol table" };
    let list = table.symbols(LE, bytes, elf::SHT_SYMTAB).map_err(wrong)?;
    bounded("symbols", list.len() as u64, ("OBJECT_SYMBOLS", OBJECT_SYMBOLS))?;
    let strings = match table.section(list.string_section()) {
        Ok(header) => header.data(LE, bytes).map_err(wrong)?,
        Err(_) => &[],
    };
    let mut symbols = Vec::with_capacity(list.len());
    for (index, symbol) in list.enumerate() {
        let home = list.symbol_section(LE, symbol, index).map_err(wrong)?;
        let section = home.map(|SectionIndex(index)| index).filter(|&index| index != 0);
        if section.is_some_and(|index| index >= sections) {
            return Err(ObjectError::Elf { part: "the section of a symbol" });
        }
        symbols.push(Symbol {
            name: text(strings, symbol.st_name(LE), "a symbol's name")?,
            section,
            value: symbol.st_value(LE),
            size: symbol.st_size(LE),
            kind: match symbol.st_type() {
                elf::STT_FUNC => SymbolKind::Function,
                elf::STT_SECTION => SymbolKind::Section,
                _ => SymbolKind::Other,
            },
            global: symbol.st_bind() != elf::STB_LOCAL,
        });
    }
    Ok(symbols)
}

/// A name in a table of strings that end in zero.
fn text<'d>(table: &'d [u8], at: u32, part: &'static str) -> Result<&'d str, ObjectError> {
    if at == 0 {
        return Ok("");
    }
    let rest = table.get(at as usize..).ok_or(ObjectError::Elf { part })?;
    let name = rest
        .iter()
        .take(OBJECT_NAME_BYTES + 1)
        .position(|&byte| byte == 0)
        .and_then(|length| rest.get(..length))
        .ok_or(ObjectError::Elf { part })?;
    core::str::from_utf8(name).map_err(|_| ObjectError::Elf { part })
}
