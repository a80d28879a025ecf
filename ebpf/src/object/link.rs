//! From functions in sections to whole programs: pulls in what is called, resolves references.
//!
//! As libbpf does it: a program is its entry function followed by every local function that is
//! reachable by calls, each once, in the order found. Calls then go to the copies; 64-bit loads of
//! maps and global data name positions in the program's own list of maps.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::btf::Btf;
use super::elf::{Elf, Relocation, Section, bounded};
use super::error::{MapFault, ObjectError, RelocationFault};
use super::ext::Ext;
use super::functions::{Function, Functions};
use super::maps::{Found, Maps};
use crate::limits::{HOST_SLOTS, MAPS_MAX};
use crate::opcode;

/// Relocations of instructions: `R_BPF_64_64` and `R_BPF_64_32` (`Documentation/bpf/llvm_reloc.rst`
/// of the kernel).
const R_64_64: u32 = 1;
const R_64_32: u32 = 10;

/// `src` of a 64-bit load of a map, of an address in a map's value; `src` of a local call.
const SRC_MAP: u8 = 1;
const SRC_MAP_VALUE: u8 = 2;
const SRC_LOCAL: u8 = 1;

/// Everything that was read of the file.
pub(super) struct Parts<'d> {
    pub(super) elf: Elf<'d>,
    pub(super) btf: Btf<'d>,
    pub(super) ext: Ext<'d>,
    pub(super) maps: Maps,
    pub(super) functions: Functions,
}

/// A program's instructions, all references resolved.
pub(super) struct Linked {
    /// Slots of 8 bytes.
    pub(super) slots: Vec<[u8; 8]>,
    /// Which maps of the object the program's are.
    pub(super) maps: Vec<usize>,
    /// The functions in it: first slot and name.
    pub(super) functions: Vec<(u32, String)>,
    /// Source lines: first slot, and file, text and place as in [`Ext`].
    pub(super) lines: Vec<[u32; 4]>,
}

/// One slot, and where it comes from.
struct Site<'s, 'd> {
    section: &'s Section<'d>,
    /// Index of the section.
    index: usize,
    /// Offset in the section, in bytes.
    offset: u64,
    /// Slot in the linked program.
    pc: usize,
}

struct Linker<'p, 'd> {
    parts: &'p Parts<'d>,
    out: Linked,
    /// The functions in the program, in order, and the first slot of each.
    pieces: Vec<(usize, usize)>,
    known: BTreeMap<usize, usize>,
    /// Slots of all pieces.
    total: usize,
}

/// Links the program that begins with a function.
pub(super) fn link(parts: &Parts<'_>, entry: usize) -> Result<Linked, ObjectError> {
    let out =
        Linked { slots: Vec::new(), maps: Vec::new(), functions: Vec::new(), lines: Vec::new() };
    let mut linker = Linker { parts, out, pieces: Vec::new(), known: BTreeMap::new(), total: 0 };
    linker.pull(entry)?;
    let mut next = 0;
    while let Some(&(function, base)) = linker.pieces.get(next) {
        linker.piece(function, base)?;
        next += 1;
    }
    Ok(linker.out)
}

impl<'p, 'd> Linker<'p, 'd> {
    /// The first slot of a function, which is added if it is not there yet.
    fn pull(&mut self, index: usize) -> Result<usize, ObjectError> {
        if let Some(&base) = self.known.get(&index) {
            return Ok(base);
        }
        let base = self.total;
        self.total += self.parts.functions.list.get(index).map_or(0, Function::slots);
        bounded("instructions", self.total as u64, ("HOST_SLOTS", HOST_SLOTS))?;
        self.known.insert(index, base);
        self.pieces.push((index, base));
        Ok(base)
    }

    /// Copies a function and resolves what it refers to.
    fn piece(&mut self, function: usize, base: usize) -> Result<(), ObjectError> {
        let parts = self.parts;
        let Some(function) = parts.functions.list.get(function) else { return Ok(()) };
        let Some(section) = parts.elf.sections.get(function.section) else { return Ok(()) };
        let range = function.range.clone();
        refuse_core(parts, section, range.clone())?;
        self.out.functions.push((base as u32, function.name.clone()));
        self.lines(section, range.clone(), base);
        let bytes = section.data.get(range.start as usize..range.end as usize).unwrap_or_default();
        self.out.slots.extend_from_slice(bytes.as_chunks().0);
        let mut relocations = section.relocations_in(range.clone()).iter().peekable();
        let mut skip = false;
        for (pc, offset) in (base..).zip(range.step_by(8)) {
            let site = Site { section, index: function.section, offset, pc };
            let found = relocations.next_if(|each| each.offset < offset + 8);
            let doubled = relocations.peek().is_some_and(|each| each.offset < offset + 8);
            let misplaced = found.is_some_and(|each| each.offset != offset || skip) || doubled;
            if misplaced {
                return Err(self.fault(&site, found, RelocationFault::Instruction));
            }
            let second = skip;
            skip = false;
            if !second {
                skip = self.slot(&site, found)?;
            }
        }
        Ok(())
    }

    /// Resolves one instruction; whether it has a second slot.
    fn slot(
        &mut self,
        site: &Site<'_, '_>,
        relocation: Option<&Relocation>,
    ) -> Result<bool, ObjectError> {
        let Some(&[code, regs, _, _, imm @ ..]) = self.out.slots.get(site.pc) else {
            return Ok(false);
        };
        let imm = i64::from(i32::from_le_bytes(imm));
        let wide = code == opcode::LDDW;
        let local = code == opcode::JMP | opcode::CALL && regs >> 4 == SRC_LOCAL;
        match relocation {
            None if local => {
                let target = site.offset as i64 + 8 * (imm + 1);
                self.call(site, site.index, target)?;
            }
            None => {}
            Some(relocation) => {
                let fault = |fault| self.fault(site, Some(relocation), fault);
                let symbol = self.parts.elf.symbols.get(relocation.symbol);
                let symbol = symbol.ok_or_else(|| fault(RelocationFault::NoSymbol))?;
                let home = symbol.section.ok_or_else(|| fault(RelocationFault::Extern))?;
                let value =
                    i64::try_from(symbol.value).map_err(|_| fault(RelocationFault::Outside))?;
                match relocation.kind {
                    R_64_32 if local => {
                        let target = value.saturating_add(8 * (imm + 1));
                        self.call(site, home, target)?;
                    }
                    R_64_64 if wide => {
                        let place = u64::try_from(value.saturating_add(imm))
                            .map_err(|_| fault(RelocationFault::Outside))?;
                        self.load(site, relocation, (home, place))?;
                    }
                    R_64_32 | R_64_64 => return Err(fault(RelocationFault::Instruction)),
                    other => return Err(fault(RelocationFault::Type(other))),
                }
            }
        }
        Ok(wide)
    }

    /// Points a local call at the copy of the function that begins at a place.
    fn call(
        &mut self,
        site: &Site<'_, '_>,
        section: usize,
        target: i64,
    ) -> Result<(), ObjectError> {
        let found = u64::try_from(target)
            .ok()
            .and_then(|offset| self.parts.functions.beginning(section, offset));
        let nowhere = || ObjectError::CallTarget {
            section: site.section.name.to_owned(),
            offset: site.offset,
        };
        let base = self.pull(found.ok_or_else(nowhere)?)?;
        let distance = base as i64 - (site.pc as i64 + 1);
        let imm = i32::try_from(distance).map_err(|_| nowhere())?;
        self.put(site.pc, None, imm);
        Ok(())
    }

    /// Points a 64-bit load at a map or at global data.
    fn load(
        &mut self,
        site: &Site<'_, '_>,
        relocation: &Relocation,
        (section, place): (usize, u64),
    ) -> Result<(), ObjectError> {
        let parts = self.parts;
        let fault = |fault| self.fault(site, Some(relocation), fault);
        let code = parts.elf.sections.get(section).is_some_and(|section| section.executable);
        let found = parts.maps.at(section, place).ok_or_else(|| {
            fault(match (code, parts.maps.holds(section)) {
                (true, _) => RelocationFault::Callback,
                (false, true) => RelocationFault::NoMap,
                (false, false) => RelocationFault::Section,
            })
        })?;
        let (map, offset) = match found {
            Found::Map(map) => (map, None),
            Found::Value { map, offset } => (map, Some(offset)),
        };
        let size = parts.elf.sections.get(section).map_or(0, |section| section.size);
        let offset = match offset {
            Some(offset) if offset > size => return Err(fault(RelocationFault::Outside)),
            Some(offset) => {
                Some(u32::try_from(offset).map_err(|_| fault(RelocationFault::Outside))?)
            }
            None => None,
        };
        let position = self.position(map)?;
        let src = if offset.is_some() { SRC_MAP_VALUE } else { SRC_MAP };
        self.put(site.pc, Some(src), position);
        self.put(site.pc + 1, None, offset.unwrap_or_default().cast_signed());
        Ok(())
    }

    /// The position of a map of the object among those of the program.
    fn position(&mut self, map: usize) -> Result<i32, ObjectError> {
        let known = self.out.maps.iter().position(|&each| each == map);
        let position = known.unwrap_or(self.out.maps.len());
        if known.is_none() {
            let Some(found) = self.parts.maps.list.get(map) else { return Ok(0) };
            let refuse = |fault| ObjectError::Map { name: found.name().to_owned(), fault };
            found.spec().map_err(|fault| refuse(fault.clone()))?;
            if position >= MAPS_MAX {
                return Err(refuse(MapFault::TooMany { limit: MAPS_MAX }));
            }
            self.out.maps.push(map);
        }
        Ok(position as i32)
    }

    /// Writes a slot's immediate, and its source field if given.
    fn put(&mut self, pc: usize, src: Option<u8>, imm: i32) {
        let Some([_, regs, _, _, place @ ..]) = self.out.slots.get_mut(pc) else { return };
        *place = imm.to_le_bytes();
        if let Some(src) = src {
            *regs = *regs & 0x0f | src << 4;
        }
    }

    /// The lines of a function; one without a text where it does not begin with one.
    fn lines(&mut self, section: &Section<'_>, range: core::ops::Range<u64>, base: usize) {
        let lines = self.parts.ext.lines(section.name, range.clone());
        if lines.first().is_none_or(|&[at, ..]| u64::from(at) != range.start) {
            self.out.lines.push([base as u32, 0, 0, 0]);
        }
        self.out.lines.extend(lines.iter().map(|&[at, file, text, place]| {
            let slot = (u64::from(at) - range.start) / 8;
            [base as u32 + slot as u32, file, text, place]
        }));
    }

    fn fault(
        &self,
        site: &Site<'_, '_>,
        relocation: Option<&Relocation>,
        fault: RelocationFault,
    ) -> ObjectError {
        let elf = &self.parts.elf;
        let symbol = relocation.and_then(|relocation| elf.symbols.get(relocation.symbol));
        let home = symbol.and_then(|symbol| elf.sections.get(symbol.section?));
        // The symbol of a section has no name of its own.
        let name = symbol.map_or("", |symbol| symbol.name);
        let name = if name.is_empty() { home.map_or("", |home| home.name) } else { name };
        ObjectError::Relocation {
            section: site.section.name.to_owned(),
            offset: site.offset,
            symbol: name.to_owned(),
            fault,
        }
    }
}

/// Whoever wants the layout of the running kernel's types wants something that is not here.
fn refuse_core(
    parts: &Parts<'_>,
    section: &Section<'_>,
    range: core::ops::Range<u64>,
) -> Result<(), ObjectError> {
    let Some(&[offset, of, access, _]) = parts.ext.core(section.name, range).first() else {
        return Ok(());
    };
    Err(ObjectError::CoreRelocation {
        section: section.name.to_owned(),
        offset: u64::from(offset),
        of: parts.btf.name(of).unwrap_or("?").to_owned(),
        access: parts.btf.string(access).unwrap_or("?").to_owned(),
    })
}
