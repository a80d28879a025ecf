//! The reference interpreter on every case of `testdata/ebpf`.
//!
//! Each case also goes through bytes and through text before it runs a second and a third time.

use std::collections::BTreeSet;
use std::path::Path;

use sluice_ebpf::asm;
use sluice_ebpf::cases::{self, Case, CaseHelpers};
use sluice_ebpf::disasm::disassemble;
use sluice_ebpf::interp;
use sluice_ebpf::limits::KERNEL_SLOTS;
use sluice_ebpf::{Program, decode, encode};

fn check(case: &Case, program: &Program) -> Result<(), String> {
    let mut data = case.data.clone();
    let mut helpers = CaseHelpers::default();
    let result = interp::run_memory(program, &mut data, &mut helpers, 100_000);
    match result {
        Err(trap) => Err(format!("{}: {trap}", case.name)),
        Ok(r0) if r0 != case.result => {
            Err(format!("{}: r0 is {r0:#x}, not {:#x}", case.name, case.result))
        }
        Ok(_) if data != case.after => Err(format!("{}: data is {data:02x?}", case.name)),
        Ok(_) => Ok(()),
    }
}

#[test]
fn every_case_gives_its_result() {
    let cases = cases::all().unwrap();
    assert!(cases.len() > 500, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let program = case.program().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let bytes = encode(&program);
        let decoded = decode(&bytes, case.kind, KERNEL_SLOTS).unwrap();
        assert_eq!(decoded, program, "{}", case.name);
        let printed = asm::program(case.kind, &disassemble(&program)).unwrap();
        assert_eq!(printed, program, "{}", case.name);
        failures.extend(check(case, &program).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn names_are_unique() {
    let cases = cases::all().unwrap();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn every_file_of_the_folder_is_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/ebpf");
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cases"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let named: BTreeSet<String> = cases::FILES.iter().map(|file| file.0.to_owned()).collect();
    assert_eq!(found, named);
}

#[test]
fn only_loops_has_backward_jumps() {
    for case in cases::all().unwrap() {
        let program = case.program().unwrap();
        let backward = (0..)
            .zip(program.insns())
            .any(|(pc, insn)| insn.jump_target().is_some_and(|target| target <= pc));
        // Two straight cases of `jump` go back without going round.
        if backward {
            assert!(["loops", "jump"].iter().any(|file| case.name.starts_with(file)));
        }
    }
}

#[test]
fn a_wrong_file_names_its_line() {
    let wrong = [
        ("mov %r0, 1", 1, "a case (== name)"),
        ("== a\nresult: 1", 1, "instructions"),
        ("== a\n    exit", 1, "a result"),
        ("== a\nresult: x\n    exit", 2, "a number of 64 bits"),
        ("== a\ndata: 1\n    exit", 2, "bytes in hexadecimal"),
        ("== a\nafter: zz\n    exit", 2, "bytes in hexadecimal"),
        ("== a\nkind: xdp\n    exit", 2, "filter, ash or memory"),
        ("== a\n\ncolour: red", 3, "kind, data, after, result, or an indented instruction"),
        ("== a\nexit", 2, "a key, a colon and a value"),
    ];
    for (text, line, expected) in wrong {
        let error = cases::parse("file", text).unwrap_err();
        assert_eq!((error.line, error.expected), (line, expected), "{text}");
    }
}
