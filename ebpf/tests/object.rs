//! ELF objects: what is read of good ones, what is refused of the others, and that no file panics.

use std::time::{Duration, Instant};

use sluice_ebpf::fuzzing;
use sluice_ebpf::object::{MapFault, Object, ObjectError, RelocationFault};
use sluice_ebpf::{CallTarget, DecodeError, Imm64, Insn, Kind, MapKind, Program};

const SEVERAL: &[u8] = include_bytes!("../../testdata/objects/several.o");
const LEGACY: &[u8] = include_bytes!("../../testdata/objects/legacy.o");
const KINDS: &[u8] = include_bytes!("../../testdata/objects/kinds.o");
const UNSAFE: &[u8] = include_bytes!("../../testdata/objects/unsafe.o");
const UNSUPPORTED: &[u8] = include_bytes!("../../testdata/objects/unsupported.o");

fn program<'a>(object: &'a Object, name: &str) -> &'a Program {
    let found = object.program(name).unwrap_or_else(|| panic!("no {name}"));
    found.program().unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// The names of the maps of a program, by position.
fn maps(object: &Object, name: &str) -> Vec<String> {
    let found = object.program(name).unwrap_or_else(|| panic!("no {name}"));
    let names: Vec<String> =
        found.maps().iter().map(|&map| object.maps()[map].name().to_owned()).collect();
    let specs = program(object, name).maps();
    assert_eq!(specs.len(), names.len());
    for (spec, name) in specs.iter().zip(&names) {
        assert_eq!(spec.name.as_str(), name);
        assert_eq!(spec.validate(), Ok(()));
    }
    names
}

fn loads(program: &Program) -> Vec<Imm64> {
    let load = |insn: &Insn| match *insn {
        Insn::LoadImm64 { imm, .. } => Some(imm),
        _ => None,
    };
    program.insns().iter().filter_map(load).collect()
}

#[test]
fn every_program_is_found_with_its_section() {
    let object = Object::parse(SEVERAL).unwrap();
    let mut found: Vec<_> = object.programs().iter().map(|p| (p.section(), p.name())).collect();
    found.sort();
    let expected = [
        ("xdp", "drop"),
        ("xdp", "pass"),
        ("xdp/digit", "digit"),
        ("xdp/flows", "flow"),
        ("xdp/routes", "route"),
    ];
    assert_eq!(found, expected);
    assert_eq!(object.license(), Some("GPL"));
    assert!(object.programs().iter().all(|p| p.program().unwrap().kind() == Kind::Ash));
}

#[test]
fn definitions_by_btf_become_maps() {
    let object = Object::parse(SEVERAL).unwrap();
    let map = |name: &str| object.maps().iter().find(|map| map.name() == name).unwrap();
    let sizes = |name: &str| {
        let spec = *map(name).spec().unwrap();
        (spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.read_only)
    };
    assert_eq!(sizes("flows"), (MapKind::Hash, 12, 8, 1024, false));
    assert_eq!(sizes("recent"), (MapKind::LruHash, 4, 16, 64, false));
    assert_eq!(sizes("routes"), (MapKind::LpmTrie, 8, 4, 128, false));
    assert_eq!(sizes("verdicts"), (MapKind::PercpuArray, 4, 8, 5, false));
    assert!(map("flows").is_pinned() && !map("recent").is_pinned());
    assert_eq!(object.maps().len(), 7);
}

#[test]
fn global_data_becomes_arrays_with_contents() {
    let object = Object::parse(SEVERAL).unwrap();
    let map = |name: &str| object.maps().iter().find(|map| map.name() == name).unwrap();
    let constants = map(".rodata");
    assert!(constants.spec().unwrap().read_only);
    assert_eq!(constants.spec().unwrap().max_entries, 1);
    assert_eq!(constants.spec().unwrap().value_size as usize, constants.initial().len());
    let holds = |bytes: &[u8]| constants.initial().windows(bytes.len()).any(|part| part == bytes);
    assert!(holds(b"0123456789abcdef") && holds(&[7, 0]));
    assert!(!map(".data").spec().unwrap().read_only);
    assert_eq!(map(".data").initial(), 3_u64.to_le_bytes());
    // `.bss` has no bytes in the file: all zero.
    assert_eq!((map(".bss").spec().unwrap().value_size, map(".bss").initial()), (12, &[][..]));
}

#[test]
fn references_become_positions() {
    let object = Object::parse(SEVERAL).unwrap();
    assert_eq!(maps(&object, "drop"), ["verdicts"]);
    assert_eq!(loads(program(&object, "drop")), [Imm64::MapFd(0)]);
    assert_eq!(maps(&object, "pass"), [".bss", "verdicts"]);
    let seen = loads(program(&object, "pass"));
    assert!(matches!(seen[..], [Imm64::MapValue { fd: 0, .. }, Imm64::MapFd(1)]), "{seen:?}");
    let mut all = maps(&object, "flow");
    all.sort();
    assert_eq!(all, [".bss", ".data", ".rodata", "flows", "verdicts"]);
}

#[test]
fn called_functions_are_pulled_in_once() {
    let object = Object::parse(SEVERAL).unwrap();
    let flow = object.program("flow").unwrap();
    let insns = flow.program().unwrap().insns();
    let calls: Vec<u32> = insns
        .iter()
        .filter_map(|insn| match insn {
            Insn::Call { target: CallTarget::Local(slot) } => Some(*slot),
            _ => None,
        })
        .collect();
    let called: Vec<&str> = calls.iter().map(|&slot| flow.function(slot).unwrap()).collect();
    assert!(called.contains(&"count") && called.contains(&"mix") && called.contains(&"fold"));
    assert_eq!(flow.function(0), Some("flow"));
    // Wherever it is called from, a function has one copy, which begins where the calls go.
    for (slot, name) in calls.iter().zip(&called) {
        assert_ne!(flow.function(*slot - 1), Some(*name));
        let first = calls.iter().zip(&called).find(|(_, other)| *other == name).unwrap().0;
        assert_eq!(first, slot);
    }
    assert_eq!(object.program("drop").unwrap().function(u32::MAX), Some("count"));
    assert!(object.program("mix").is_none() && object.program("count").is_none());
}

#[test]
fn instructions_know_their_lines() {
    let object = Object::parse(UNSAFE).unwrap();
    let unchecked = object.program("unchecked").unwrap();
    let insns = unchecked.program().unwrap().insns();
    let load = insns.iter().skip(1).position(|insn| matches!(insn, Insn::Load { .. })).unwrap();
    let line = unchecked.line(load as u32 + 1).unwrap();
    assert_eq!((line.file, line.line), ("./unsafe.c", 10));
    assert_eq!(line.text.trim(), "return eth->h_proto ? XDP_PASS : XDP_DROP;");
    assert!(line.column > 0);
    // In a function that was pulled in too.
    let object = Object::parse(SEVERAL).unwrap();
    let drop = object.program("drop").unwrap();
    let slots = drop.program().unwrap().len() as u32;
    let pulled: Vec<_> = (0..slots).filter(|&pc| drop.function(pc) == Some("count")).collect();
    let texts: Vec<_> = pulled.iter().filter_map(|&pc| drop.line(pc)).map(|l| l.text).collect();
    assert!(texts.iter().any(|text| text.contains("*value += 1")), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("XDP_DROP")), "{texts:?}");
}

#[test]
fn legacy_definitions_become_maps() {
    let object = Object::parse(LEGACY).unwrap();
    let specs: Vec<_> = object.maps().iter().map(|map| *map.spec().unwrap()).collect();
    let sizes: Vec<_> =
        specs.iter().map(|s| (s.kind, s.key_size, s.value_size, s.max_entries)).collect();
    assert_eq!(sizes, [(MapKind::Array, 4, 8, 2), (MapKind::Hash, 8, 4, 100)]);
    assert_eq!(maps(&object, "count"), ["first", "second"]);
    assert_eq!(loads(program(&object, "count")), [Imm64::MapFd(0), Imm64::MapFd(1)]);
    assert_eq!(object.license(), Some("Dual MIT/GPL"));
}

#[test]
fn sections_say_what_programs_are_for() {
    let object = Object::parse(KINDS).unwrap();
    let kinds = [("arp", Kind::Filter), ("swap", Kind::Ash), ("first", Kind::Memory)];
    for (name, kind) in kinds {
        assert_eq!(program(&object, name).kind(), kind, "{name}");
    }
    let section = "tc".to_owned();
    let error = object.program("classify").unwrap().program().unwrap_err();
    assert_eq!(*error, ObjectError::ProgramType { section });
    let all = Object::parse_with(KINDS, &|_| Some(Kind::Ash)).unwrap();
    assert!(all.programs().iter().all(|p| p.program().unwrap().kind() == Kind::Ash));
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_the_rest_is_not() {
    let object = Object::parse(UNSUPPORTED).unwrap();
    assert!(object.program("plain").unwrap().program().is_ok());
    let error = |name: &str| object.program(name).unwrap().program().unwrap_err().clone();
    let map = |name: &str| match error(name) {
        ObjectError::Map { name, fault } => (name, fault),
        other => panic!("{name}: {other}"),
    };
    assert_eq!(map("map_of_maps"), ("nested".to_owned(), MapFault::Kind(13)));
    assert_eq!(map("map_kind"), ("devices".to_owned(), MapFault::Kind(14)));
    assert_eq!(map("map_flags"), ("flagged".to_owned(), MapFault::Flags(1 << 12)));
    assert!(matches!(map("map_size").1, MapFault::Limit(_)));
    assert_eq!(map("addresses"), (".rodata".to_owned(), MapFault::Pointers));
    let reference = |name: &str| match error(name) {
        ObjectError::Relocation { symbol, fault, section, .. } => {
            assert_eq!(section, "xdp");
            (symbol, fault)
        }
        other => panic!("{name}: {other}"),
    };
    let outside = |name: &str| (name.to_owned(), RelocationFault::Extern);
    assert_eq!(reference("ksym"), outside("kernel_variable"));
    assert_eq!(reference("kconfig"), outside("CONFIG_HZ"));
    assert_eq!(reference("kfunc"), outside("kernel_function"));
    assert_eq!(reference("callback").1, RelocationFault::Callback);
    let ObjectError::CoreRelocation { of, access, .. } = error("core") else { panic!("core") };
    assert_eq!((of.as_str(), access.as_str()), ("task", "0:1"));
    let text = error("map_kind").to_string();
    assert!(text.contains("`devices`") && text.contains("devmap (14)"), "{text}");
}

#[test]
fn other_files_are_refused_by_name() {
    let not = |bytes: &[u8]| match Object::parse(bytes).unwrap_err() {
        ObjectError::NotBpf { found } => found,
        other => panic!("{other}"),
    };
    assert_eq!(not(b""), "no ELF file");
    assert_eq!(not(b"\x7fELX and so on"), "no ELF file");
    assert_eq!(not(b"\x7fELF"), "no 64-bit ELF file");
    let patched = |at: usize, byte: u8| {
        let mut bytes = KINDS.to_vec();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(not(&patched(4, 1)), "no 64-bit ELF file");
    assert_eq!(not(&patched(5, 2)), "a big-endian file");
    assert_eq!(not(&patched(18, 62)), "a file for another machine");
    assert_eq!(not(&patched(16, 2)), "no relocatable file");
}

/// The file with the first occurrence of some bytes replaced.
fn with(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let found = bytes.windows(from.len()).position(|part| part == from);
    let at = found.unwrap_or_else(|| panic!("{from:?} is not there"));
    let mut changed = bytes.to_vec();
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

#[test]
fn a_bad_instruction_refuses_its_program_only() {
    // `exit` of the filter: `r0 = r1 == 0x608` and so on comes before; find its last instruction.
    let object = Object::parse(KINDS).unwrap();
    let swap = sluice_ebpf::encode(program(&object, "swap"));
    let mut changed = swap.clone();
    let last = changed.len() - 8;
    changed[last] = 0xff;
    let object = Object::parse(&with(KINDS, &swap, &changed)).unwrap();
    let error = object.program("swap").unwrap().program().unwrap_err();
    let ObjectError::Program { name, error } = error else { panic!("{error}") };
    assert_eq!(name, "swap");
    assert!(matches!(error, DecodeError::UnknownOpcode { opcode: 0xff, .. }));
    assert!(object.program("arp").unwrap().program().is_ok());
}

#[test]
fn bad_type_information_is_refused_with_its_place() {
    let changed = with(SEVERAL, &[0x9f, 0xeb, 1, 0], &[0x9f, 0xeb, 9, 0]);
    let error = Object::parse(&changed).unwrap_err();
    assert!(matches!(error, ObjectError::Btf { section: ".BTF", offset: 0, .. }), "{error}");
}

#[test]
fn a_second_of_the_fuzzing_body() {
    let (end, mut state) = (Instant::now() + Duration::from_secs(1), 1_u64);
    let mut runs = 0;
    while Instant::now() < end || runs < 100 {
        let mut bytes = [0_u8; 24];
        for byte in &mut bytes {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        fuzzing::object_any(&bytes[..state as usize % 24]);
        runs += 1;
    }
}

#[test]
fn no_cut_and_no_changed_byte_panics() {
    for bytes in [SEVERAL, LEGACY, KINDS, UNSAFE, UNSUPPORTED] {
        for length in (0..bytes.len()).step_by(7) {
            let _ = Object::parse(&bytes[..length]);
        }
        let mut changed = bytes.to_vec();
        for at in 0..bytes.len() {
            for byte in [0, 0xff, bytes[at] ^ 1] {
                changed[at] = byte;
                let _ = Object::parse(&changed);
            }
            changed[at] = bytes[at];
        }
    }
}
