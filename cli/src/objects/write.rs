//! A program as an object: what `clang -target bpf -g` would have left of it.
//!
//! For verifiers that only read objects. Maps are defined in `.maps` with their types in `.BTF`
//! (`Documentation/bpf/btf.rst`; libbpf's `__uint`: a pointer to an array of so many); a map whose
//! value is addressed directly is a section of variables, `.bss`; the program stands in `xdp` and
//! is called `program`.

use ebpf::{CallTarget, Imm64, Insn, MapSpec, Program};
use object::elf::R_BPF_64_64;
use object::write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

/// Section and name of the program.
pub const SECTION: &str = "xdp";
/// The program's name.
pub const NAME: &str = "program";

/// Bytes of an instruction.
const SLOT_BYTES: u64 = 8;
/// Bytes of a member of a map's definition: a pointer.
const MEMBER_BYTES: u32 = 8;
/// A map's definition in four members, in libbpf's words.
const MEMBERS: [&str; 4] = ["type", "key_size", "value_size", "max_entries"];

/// Kinds of types in BTF.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
}

/// The bytes of an ELF file that holds the program and its maps.
///
/// # Errors
/// What cannot be written down, in the writer's words.
pub fn object(program: &Program) -> Result<Vec<u8>, String> {
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let text = section(&mut file, SECTION, SectionKind::Text, &code(program)?);
    for (name, place) in functions(program) {
        symbol(&mut file, &name, text, place, SymbolKind::Text);
    }
    section(&mut file, "license", SectionKind::Data, b"GPL\0");
    section(&mut file, ".BTF", SectionKind::Other, &types(program.maps()));
    let maps = maps(&mut file, program.maps());
    let variables = variables(&mut file, program);
    for (slot, insn) in (0u64..).zip(program.insns()) {
        let Insn::LoadImm64 { imm, .. } = insn else { continue };
        let symbol = match *imm {
            Imm64::Value(_) => continue,
            Imm64::MapFd(fd) => maps.get(fd as usize).copied(),
            Imm64::MapValue { fd, .. } => variables.get(fd as usize).copied().flatten(),
            Imm64::Other { .. } => None,
        };
        let symbol = symbol.ok_or("a load that names nothing")?;
        let flags = RelocationFlags::Elf { r_type: R_BPF_64_64 };
        let relocation = Relocation { offset: slot * SLOT_BYTES, symbol, addend: 0, flags };
        file.add_relocation(text, relocation).map_err(|error| error.to_string())?;
    }
    file.write().map_err(|error| error.to_string())
}

/// The instructions with nothing where relocations go but offsets into variables.
fn code(program: &Program) -> Result<Vec<u8>, String> {
    let plain = |insn: &Insn| match *insn {
        Insn::LoadImm64 { dst, imm: Imm64::MapFd(_) } => {
            Insn::LoadImm64 { dst, imm: Imm64::Value(0) }
        }
        Insn::LoadImm64 { dst, imm: Imm64::MapValue { offset, .. } } => {
            Insn::LoadImm64 { dst, imm: Imm64::Value(offset.into()) }
        }
        other => other,
    };
    let insns = program.insns().iter().map(plain).collect();
    let program = Program::from_insns(program.kind(), insns).map_err(|error| error.to_string())?;
    Ok(ebpf::encode(&program))
}

/// Names and places, in bytes, of the program and of its functions, which stand one behind the
/// other.
fn functions(program: &Program) -> Vec<(String, (u64, u64))> {
    let called = |insn: &Insn| match *insn {
        Insn::Call { target: CallTarget::Local(slot) } => Some(u64::from(slot) * SLOT_BYTES),
        _ => None,
    };
    let mut starts: Vec<u64> = program.insns().iter().filter_map(called).chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    let end = program.len() as u64 * SLOT_BYTES;
    let ends = starts.iter().skip(1).copied().chain([end]);
    let name = |at| if at == 0 { NAME.to_owned() } else { format!("function{at}") };
    starts.iter().zip(ends).map(|(&at, end)| (name(at), (at, end - at))).collect()
}

fn section(file: &mut Object<'_>, name: &str, kind: SectionKind, bytes: &[u8]) -> SectionId {
    let section = file.add_section(Vec::new(), name.into(), kind);
    file.append_section_data(section, bytes, 8);
    section
}

fn symbol(
    file: &mut Object<'_>,
    name: &str,
    section: SectionId,
    (value, size): (u64, u64),
    kind: SymbolKind,
) -> SymbolId {
    file.add_symbol(Symbol {
        name: name.into(),
        value,
        size,
        kind,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    })
}

const fn map_bytes() -> u32 {
    MEMBER_BYTES * MEMBERS.len() as u32
}

fn map_name(map: usize) -> String {
    format!("map{map}")
}

/// The section with the maps' definitions, whose bytes say nothing, and a symbol for each.
fn maps(file: &mut Object<'_>, specs: &[MapSpec]) -> Vec<SymbolId> {
    let bytes = u64::from(map_bytes());
    let zeros = vec![0; specs.len() * bytes as usize];
    let section = section(file, ".maps", SectionKind::Data, &zeros);
    let place = |map: usize| (map as u64 * bytes, bytes);
    let one = |map| symbol(file, &map_name(map), section, place(map), SymbolKind::Data);
    (0..specs.len()).map(one).collect()
}

/// By map: the section that stands for it, if its value is addressed directly.
fn variables(file: &mut Object<'_>, program: &Program) -> Vec<Option<SymbolId>> {
    let direct = |map: usize| {
        program.insns().iter().any(|insn| match insn {
            Insn::LoadImm64 { imm: Imm64::MapValue { fd, .. }, .. } => *fd as usize == map,
            _ => false,
        })
    };
    let one = |(map, spec): (usize, &MapSpec)| {
        let name = if map == 0 { ".bss".to_owned() } else { format!(".bss.{map}") };
        direct(map).then(|| {
            let kind = SectionKind::UninitializedData;
            let section = file.add_section(Vec::new(), name.into(), kind);
            file.append_section_bss(section, spec.value_size.into(), 8);
            file.section_symbol(section)
        })
    };
    program.maps().iter().enumerate().map(one).collect()
}

/// Type information as it grows.
#[derive(Default)]
struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Types {
    fn string(&mut self, text: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// A type: its number.
    fn add(&mut self, name: &str, (kind, parts): (u32, u32), rest: &[u32]) -> u32 {
        let name = if name.is_empty() { 0 } else { self.string(name) };
        self.words(&[name, kind << 24 | parts]);
        self.words(rest);
        self.count += 1;
        self.count
    }
}

/// `.BTF`: what the maps are.
fn types(specs: &[MapSpec]) -> Vec<u8> {
    let mut types = Types::default();
    types.string("");
    // Signed, 32 bits.
    let int = types.add("int", (kind::INT, 0), &[4, 1 << 24 | 32]);
    let mut variables = Vec::new();
    for (map, spec) in specs.iter().enumerate() {
        let figures = [spec.kind.number(), spec.key_size, spec.value_size, spec.max_entries];
        let mut members = vec![map_bytes()];
        for ((at, name), figure) in (0u32..).zip(MEMBERS).zip(figures) {
            let array = types.add("", (kind::ARRAY, 0), &[0, int, int, figure]);
            let pointer = types.add("", (kind::PTR, 0), &[array]);
            members.extend([types.string(name), pointer, at * MEMBER_BYTES * 8]);
        }
        let record = types.add("", (kind::STRUCT, MEMBERS.len() as u32), &members);
        let variable = types.add(&map_name(map), (kind::VAR, 0), &[record, 1]);
        variables.extend([variable, map as u32 * map_bytes(), map_bytes()]);
    }
    let count = specs.len() as u32;
    let rest: Vec<u32> = [count * map_bytes()].into_iter().chain(variables).collect();
    types.add(".maps", (kind::DATASEC, count), &rest);
    let (type_bytes, string_bytes) = (types.types.len() as u32, types.strings.len() as u32);
    let header = [0x0001_eb9f, 24, 0, type_bytes, type_bytes, string_bytes];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    bytes.extend(types.types);
    bytes.extend(types.strings);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{NAME, object};
    use ebpf::object::Object;
    use ebpf::{Imm64, Insn, Kind, Program};
    use std::collections::BTreeMap;

    /// The maps that are looked up, with how often; a directly addressed one is another map to
    /// whoever reads the object.
    fn maps(program: &Program) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for insn in program.insns() {
            if let Insn::LoadImm64 { imm: Imm64::MapFd(fd), .. } = insn {
                let spec = program.maps()[*fd as usize];
                let sizes = [spec.key_size, spec.value_size, spec.max_entries];
                *counts.entry(format!("{:?} {sizes:?}", spec.kind)).or_default() += 1;
            }
        }
        counts
    }

    /// What our own loader reads back is proven like the program, and uses the same maps.
    #[test]
    fn an_object_is_the_program_again() {
        let (mut accepted, mut direct) = (0, 0);
        for seed in 0..200u64 {
            let bytes: Vec<u8> =
                (0..240).map(|at| runtime::random::mix(seed << 16 | at) as u8).collect();
            let program = ebpf::fuzzing::rich_program_from_bytes(Kind::Ash, &bytes).unwrap();
            let file = object(&program).unwrap();
            let read = Object::parse_with(&file, &|_| Some(Kind::Ash)).unwrap();
            let again = read.programs().iter().find(|each| each.name() == NAME).unwrap();
            let again = again.program().unwrap();
            assert_eq!(maps(again), maps(&program));
            let value =
                |insn: &&Insn| matches!(insn, Insn::LoadImm64 { imm: Imm64::MapValue { .. }, .. });
            direct += again.insns().iter().filter(value).count();
            let [old, new] = [&program, again].map(|it| dpf::fuzzing::verified(it.clone()));
            assert_eq!(old.is_some(), new.is_some(), "{}", ebpf::disasm::disassemble(&program));
            // Not its worst case: that of `callx` counts the maps, also those that nobody uses.
            accepted += usize::from(old.is_some());
        }
        assert!(direct > 0 && accepted > 100, "{direct} {accepted}");
    }
}
