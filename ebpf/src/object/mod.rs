//! ELF objects: what `clang -target bpf -O2 -g` emits, read into programs and maps.
//!
//! An object holds several programs, the functions that they share, maps, global data, a licence
//! and the source lines of every instruction. [`Object::parse`] links each program into a
//! [`Program`] of its own: called functions are pulled in, references to maps and data become
//! positions in [`Program::maps`]. Whoever loads it makes each map of [`Object::maps`] once, fills
//! it with [`ObjectMap::initial`], and gives each program those that [`ObjectProgram::maps`] names.
//!
//! For ring 3 and the host: the kernel takes instructions and never reads an object. The file may
//! be hostile: every table is bounded by a limit of [`crate::limits`] or by the file's size,
//! nothing recurses, and what is not understood is refused by section, offset and symbol.
//!
//! Not supported, and refused by name: CO-RE relocations, kernel variables and functions
//! (`__ksym`), `__kconfig`, callbacks, maps of maps. A fault of one program leaves the others.

mod btf;
mod elf;
mod error;
mod ext;
mod functions;
mod link;
mod maps;
mod reader;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use btf::Btf;
use elf::{Elf, bounded};
use ext::Ext;
use functions::{Function, Functions};
use link::{Linked, Parts};
use maps::Maps;

pub use error::{MapFault, ObjectError, RelocationFault};
pub use maps::ObjectMap;

use crate::decode::decode;
use crate::limits::{HOST_SLOTS, OBJECT_SLOTS};
use crate::program::{Kind, Program};

/// An object file, read.
#[derive(Clone, Debug)]
pub struct Object {
    programs: Vec<ObjectProgram>,
    maps: Vec<ObjectMap>,
    license: Option<String>,
}

/// A program of an object.
#[derive(Clone, Debug)]
pub struct ObjectProgram {
    name: String,
    section: String,
    outcome: Result<Whole, ObjectError>,
}

/// A program that was linked.
#[derive(Clone, Debug)]
struct Whole {
    program: Program,
    maps: Vec<usize>,
    functions: Vec<(u32, String)>,
    lines: Vec<[u32; 4]>,
    strings: Arc<[u8]>,
}

/// Where an instruction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLine<'a> {
    /// The file's name as the compiler was given it.
    pub file: &'a str,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1; 0 if not known.
    pub column: u32,
    /// The line itself; empty if the object does not hold it.
    pub text: &'a str,
}

impl Object {
    /// Reads an object; what its programs are for follows from the names of their sections
    /// ([`kind_of`]).
    ///
    /// # Errors
    /// What is wrong with the file as a whole. A program with a fault of its own is in
    /// [`Object::programs`], with the fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObjectError> {
        Self::parse_with(bytes, &kind_of)
    }

    /// [`Object::parse`] with another rule for what the programs of a section are for; `None` is a
    /// type of program that does not run here.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn parse_with(
        bytes: &[u8],
        kind: &dyn Fn(&str) -> Option<Kind>,
    ) -> Result<Self, ObjectError> {
        let parts = parts(bytes)?;
        let strings: Arc<[u8]> = parts.btf.strings().into();
        let mut slots = 0;
        let mut programs = Vec::new();
        for (index, function) in parts.functions.list.iter().enumerate() {
            if !function.program {
                continue;
            }
            let Some(section) = parts.elf.sections.get(function.section) else { continue };
            let outcome = match kind(section.name) {
                Some(kind) => link::link(&parts, index)
                    .and_then(|linked| whole(&parts, function, kind, linked, &strings)),
                None => Err(ObjectError::ProgramType { section: section.name.to_owned() }),
            };
            slots += outcome.as_ref().map_or(0, |whole| whole.program.len());
            bounded("instructions", slots as u64, ("OBJECT_SLOTS", OBJECT_SLOTS))?;
            let (name, section) = (function.name.clone(), section.name.to_owned());
            programs.push(ObjectProgram { name, section, outcome });
        }
        let license = license(&parts.elf);
        Ok(Self { programs, maps: parts.maps.list, license })
    }

    /// The programs, in the order of the file.
    #[must_use]
    pub fn programs(&self) -> &[ObjectProgram] {
        &self.programs
    }

    /// The program of this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ObjectProgram> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The maps, global data included. Those that a program does not use need not exist.
    #[must_use]
    pub fn maps(&self) -> &[ObjectMap] {
        &self.maps
    }

    /// What section `license` says. Nothing here depends on it.
    #[must_use]
    pub fn license(&self) -> Option<&str> {
        self.license.as_deref()
    }
}

impl ObjectProgram {
    /// The name of its entry function.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The section that it is in.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.section
    }

    /// The program, called functions included, its maps by position.
    ///
    /// # Errors
    /// Why there is none.
    pub fn program(&self) -> Result<&Program, &ObjectError> {
        self.outcome.as_ref().map(|whole| &whole.program)
    }

    /// Which maps of [`Object::maps`] those of the program are, position by position.
    #[must_use]
    pub fn maps(&self) -> &[usize] {
        self.outcome.as_ref().map_or(&[], |whole| &whole.maps)
    }

    /// The function that an instruction belongs to.
    #[must_use]
    pub fn function(&self, pc: u32) -> Option<&str> {
        let functions = &self.outcome.as_ref().ok()?.functions;
        let next = functions.partition_point(|&(start, _)| start <= pc);
        Some(functions.get(next.checked_sub(1)?)?.1.as_str())
    }

    /// The line of source that an instruction comes from, if the object knows it.
    #[must_use]
    pub fn line(&self, pc: u32) -> Option<SourceLine<'_>> {
        let whole = self.outcome.as_ref().ok()?;
        let next = whole.lines.partition_point(|&[start, ..]| start <= pc);
        let &[_, file, text, place] = whole.lines.get(next.checked_sub(1)?)?;
        if place >> 10 == 0 {
            return None;
        }
        let string = |at| btf::string(&whole.strings, at).unwrap_or_default();
        let (file, text) = (string(file), string(text));
        Some(SourceLine { file, line: place >> 10, column: place & 0x3ff, text })
    }
}

/// What a program in a section of this name is for: `xdp` and what begins with it are XDP programs
/// (an ASH here), `filter` and `memory`, alone or followed by `/`, are Sluice's own. `None` is a
/// type that does not run here.
#[must_use]
pub fn kind_of(section: &str) -> Option<Kind> {
    let is = |name| {
        section.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if section.starts_with("xdp") {
        Some(Kind::Ash)
    } else if is("filter") {
        Some(Kind::Filter)
    } else if is("memory") {
        Some(Kind::Memory)
    } else {
        None
    }
}

/// Reads every table of the file.
fn parts(bytes: &[u8]) -> Result<Parts<'_>, ObjectError> {
    let elf = Elf::parse(bytes)?;
    let btf = match elf.named(".BTF") {
        Some(section) => Btf::parse(section.data)?,
        None => Btf::empty(),
    };
    let ext = match elf.named(".BTF.ext") {
        Some(section) => Ext::parse(section.data, &btf)?,
        None => Ext::default(),
    };
    let maps = Maps::parse(&elf, &btf)?;
    let functions = Functions::parse(&elf)?;
    Ok(Parts { elf, btf, ext, maps, functions })
}

/// Makes a program of linked instructions.
fn whole(
    parts: &Parts<'_>,
    function: &Function,
    kind: Kind,
    linked: Linked,
    strings: &Arc<[u8]>,
) -> Result<Whole, ObjectError> {
    let program = decode(linked.slots.as_flattened(), kind, HOST_SLOTS)
        .map_err(|error| ObjectError::Program { name: function.name.clone(), error })?;
    let specs = linked.maps.iter().filter_map(|&map| parts.maps.list.get(map)?.spec().ok());
    let program = program.with_maps(specs.copied().collect());
    let Linked { maps, functions, lines, .. } = linked;
    Ok(Whole { program, maps, functions, lines, strings: Arc::clone(strings) })
}

fn license(elf: &Elf<'_>) -> Option<String> {
    let text = elf.named("license")?.data.split(|&byte| byte == 0).next()?;
    core::str::from_utf8(text).ok().map(ToOwned::to_owned)
}
