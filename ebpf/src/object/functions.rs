//! The functions of an object: where each begins and ends, and which of them are programs.
//!
//! A global function in a section that is not `.text` is a program; everything else is there to be
//! called. Old compilers give their functions no type: a section of code without any function is
//! one program from end to end.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::elf::{Elf, Section, Symbol, SymbolKind, bounded};
use super::error::ObjectError;
use crate::limits::OBJECT_FUNCTIONS;

/// A function.
pub(super) struct Function {
    /// Index of its section.
    pub(super) section: usize,
    /// Its bytes in the section, whole slots.
    pub(super) range: Range<u64>,
    pub(super) name: String,
    /// It is one of the object's programs.
    pub(super) program: bool,
}

impl Function {
    /// Length in slots.
    pub(super) const fn slots(&self) -> usize {
        ((self.range.end - self.range.start) / 8) as usize
    }
}

/// All functions, ascending by section and beginning; no two begin at one place.
pub(super) struct Functions {
    pub(super) list: Vec<Function>,
}

impl Functions {
    /// Finds them.
    pub(super) fn parse(elf: &Elf<'_>) -> Result<Self, ObjectError> {
        let mut found: Vec<(usize, &Symbol<'_>)> = Vec::new();
        for symbol in &elf.symbols {
            let home = symbol.section.and_then(|index| Some((index, elf.sections.get(index)?)));
            if let Some((index, section)) = home
                && section.executable
                && symbol.kind == SymbolKind::Function
            {
                found.push((index, symbol));
                bounded("functions", found.len() as u64, ("OBJECT_FUNCTIONS", OBJECT_FUNCTIONS))?;
            }
        }
        // Of two names for one place the one that others see.
        found.sort_by_key(|&(index, symbol)| (index, symbol.value, !symbol.global));
        found.dedup_by_key(|&mut (index, symbol)| (index, symbol.value));
        let mut list = Vec::with_capacity(found.len());
        for (at, &(index, symbol)) in found.iter().enumerate() {
            let Some(section) = elf.sections.get(index) else { continue };
            let next = found.get(at + 1).filter(|&&(home, _)| home == index);
            let end = next.map_or(section.data.len() as u64, |&(_, next)| next.value);
            list.push(function(section, index, symbol, end)?);
        }
        for (index, section) in elf.sections.iter().enumerate() {
            let empty = section.data.is_empty() || found.iter().any(|&(home, _)| home == index);
            if section.executable && !empty {
                list.push(whole(elf, index, section)?);
            }
        }
        list.sort_by_key(|function| (function.section, function.range.start));
        Ok(Self { list })
    }

    /// The function that begins at an offset of a section, in bytes.
    pub(super) fn beginning(&self, section: usize, offset: u64) -> Option<usize> {
        let key = |function: &Function| (function.section, function.range.start);
        self.list.binary_search_by_key(&(section, offset), key).ok()
    }
}

fn is_library(section: &str) -> bool {
    section == ".text" || section.starts_with(".text.")
}

/// A function by its symbol; `next` is where it ends if the symbol does not say.
fn function(
    section: &Section<'_>,
    index: usize,
    symbol: &Symbol<'_>,
    next: u64,
) -> Result<Function, ObjectError> {
    let outside =
        || ObjectError::Function { section: section.name.to_owned(), name: symbol.name.to_owned() };
    let start = symbol.value;
    let end = match symbol.size {
        0 => next,
        size => start.checked_add(size).ok_or_else(outside)?,
    };
    let whole = start.is_multiple_of(8) && end.is_multiple_of(8) && start < end;
    if !whole || end > section.data.len() as u64 {
        return Err(outside());
    }
    Ok(Function {
        section: index,
        range: start..end,
        name: symbol.name.to_owned(),
        program: symbol.global && !is_library(section.name),
    })
}

/// A section without any function.
fn whole(elf: &Elf<'_>, index: usize, section: &Section<'_>) -> Result<Function, ObjectError> {
    let entry = elf
        .symbols
        .iter()
        .find(|symbol| symbol.section == Some(index) && symbol.global && symbol.value == 0);
    let name = entry.map_or(section.name, |symbol| symbol.name).to_owned();
    let end = section.data.len() as u64;
    if !end.is_multiple_of(8) {
        return Err(ObjectError::Function { section: section.name.to_owned(), name });
    }
    let program = !is_library(section.name);
    Ok(Function { section: index, range: 0..end, name, program })
}
