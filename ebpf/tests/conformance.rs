//! The cases of `testdata/ebpf` cover the instruction set: at least three cases run each form of
//! each instruction, and every reserved field of every form is refused when it is not zero.
//!
//! Forms are found by asking the decoder about every opcode with every selector, so that an
//! instruction that is added without cases fails here.

use std::collections::{BTreeMap, BTreeSet};

use sluice_ebpf::cases::{self, CaseHelpers};
use sluice_ebpf::{
    CallTarget, DecodeError, Field, Imm64, Insn, Kind, Program, decode, encode, interp,
};

/// Cases that must run each form.
const CASES_MIN: usize = 3;

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// What tells one form from another: the opcode, and the offset, source or immediate where those
/// select an operation.
type Form = (u8, i16, u8, i32);

fn slot(opcode: u8, regs: u8, offset: i16, imm: i32) -> [u8; 8] {
    let ([o0, o1], [i0, i1, i2, i3]) = (offset.to_le_bytes(), imm.to_le_bytes());
    [opcode, regs, o0, o1, i0, i1, i2, i3]
}

/// `gotol`.
const GOTOL: Form = (0x06, 0, 0, 0);

/// A program that begins with a slot, and goes on for long enough.
fn decoded(first: [u8; 8]) -> Result<Program, DecodeError> {
    let mut bytes = first.to_vec();
    bytes.extend(if first[0] == 0x18 { [0; 8] } else { EXIT });
    (0..64).for_each(|_| bytes.extend(EXIT));
    decode(&bytes, Kind::Memory, 128)
}

/// The form of an encoded instruction.
fn form(insn: &Insn, bytes: [u8; 8]) -> Form {
    let [opcode, regs, o0, o1, i0, i1, i2, i3] = bytes;
    let (offset, imm) = (i16::from_le_bytes([o0, o1]), i32::from_le_bytes([i0, i1, i2, i3]));
    match insn {
        Insn::Alu { .. } | Insn::MovSx { .. } => (opcode, offset, 0, 0),
        Insn::Atomic { .. } | Insn::Endian { .. } => (opcode, 0, 0, imm),
        Insn::LoadImm64 { .. } | Insn::Call { .. } => (opcode, 0, regs >> 4, 0),
        _ => (opcode, 0, 0, 0),
    }
}

/// What has no case on purpose: maps are in `testdata/verifier` (cases here have none), kernel
/// functions and the other loads of addresses do not exist here.
fn is_elsewhere(insn: &Insn) -> bool {
    let load = |imm: &Imm64| !matches!(imm, Imm64::Value(_));
    match insn {
        Insn::LoadImm64 { imm, .. } => load(imm),
        Insn::Call { target } => matches!(target, CallTarget::Kernel(_)),
        _ => false,
    }
}

/// Every form that the decoder knows.
fn forms() -> BTreeSet<Form> {
    let imms = [0, 1, 5, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, 16, 32, 64];
    let mut found = BTreeSet::new();
    for opcode in 0..=u8::MAX {
        for offset in [0, 1, 8, 16, 32] {
            for (imm, src) in imms.iter().flat_map(|&imm| (0..=6).map(move |src| (imm, src))) {
                let bytes = slot(opcode, src << 4, offset, imm);
                let Ok(program) = decoded(bytes) else { continue };
                let insn = program.insns()[0];
                if !is_elsewhere(&insn) {
                    found.insert(form(&insn, bytes));
                }
            }
        }
    }
    found
}

/// The forms that a case runs.
fn run(case: &cases::Case) -> BTreeSet<Form> {
    let program = case.program().unwrap_or_else(|error| panic!("{error:?}"));
    let bytes = encode(&program);
    let (mut data, mut seen) = (case.data.clone(), BTreeSet::new());
    let mut watch = |pc: u32, _: &[u64; 11]| {
        let at = pc as usize * 8;
        let mut slot = [0; 8];
        slot.copy_from_slice(&bytes[at..at + 8]);
        seen.extend(program.get(pc).map(|insn| form(insn, slot)));
    };
    let mut helpers = CaseHelpers::default();
    let ended = interp::trace(&program, &mut data, &mut helpers, &mut watch);
    assert!(ended.is_ok(), "{ended:?}");
    seen
}

#[test]
fn every_form_of_every_instruction_is_run_by_three_cases() {
    let forms = forms();
    // RFC 9669 by hand: arithmetic 14 operations x 2 sources x 2 widths, sign-extending moves 5,
    // negations 2, swaps 9, jumps 2, branches 11 x 2 x 2, calls 3, exit, 64-bit load, loads 4 + 3,
    // stores 4 + 4, atomics 10 x 2.
    assert_eq!(forms.len(), 56 + 5 + 2 + 9 + 2 + 44 + 3 + 1 + 1 + 7 + 8 + 20);
    let mut counts: BTreeMap<Form, usize> = forms.iter().map(|&form| (form, 0)).collect();
    for case in cases::all().unwrap() {
        for form in run(&case) {
            *counts.get_mut(&form).unwrap_or_else(|| panic!("{}: {form:x?}", case.name)) += 1;
        }
    }
    // Both jumps mean the same and are encoded as the shorter; the next test is about this one.
    counts.remove(&GOTOL);
    let few: Vec<_> = counts.iter().filter(|(_, count)| **count < CASES_MIN).collect();
    assert!(few.is_empty(), "(opcode, offset, source, immediate) and cases: {few:x?}");
}

#[test]
fn a_long_jump_is_a_jump() {
    let mut run = 0;
    for case in cases::all().unwrap() {
        let mut bytes = encode(&case.program().unwrap());
        let short: Vec<usize> =
            (0..bytes.len()).step_by(8).filter(|&at| bytes[at] == 0x05).collect();
        if short.is_empty() {
            continue;
        }
        for at in short {
            let distance = i16::from_le_bytes([bytes[at + 2], bytes[at + 3]]);
            bytes[at..at + 8].copy_from_slice(&slot(GOTOL.0, 0, 0, distance.into()));
        }
        let program = decode(&bytes, case.kind, bytes.len() / 8).unwrap();
        assert_eq!(program, case.program().unwrap(), "{}", case.name);
        let (mut data, mut helpers) = (case.data.clone(), CaseHelpers::default());
        let result = interp::run_memory(&program, &mut data, &mut helpers, 100_000);
        assert_eq!((result, data), (Ok(case.result), case.after), "{}", case.name);
        run += 1;
    }
    assert!(run >= CASES_MIN, "{run} cases");
}

/// Sets one field of an instruction to something that is not zero.
fn spoiled(bytes: [u8; 8], field: Field) -> [u8; 8] {
    let mut bytes = bytes;
    match field {
        Field::Dst => bytes[1] |= 0x01,
        Field::Src => bytes[1] |= 0x90,
        Field::Offset => bytes[2] |= 0x03,
        _ => bytes[7] |= 0x40,
    }
    bytes
}

/// RFC 9669 §3.1: "unused fields SHALL be cleared to zero". Which fields a form uses is written
/// down here independently of the decoder.
fn uses(insn: &Insn, opcode: u8) -> [bool; 4] {
    let register = opcode & 0x08 != 0;
    match insn {
        // Destination, source or immediate, and the offset selects the variant.
        Insn::Alu { .. } => [true, register, true, !register],
        Insn::MovSx { .. } => [true, true, true, false],
        Insn::Neg { .. } => [true, false, false, false],
        // The immediate is the width.
        Insn::Endian { .. } => [true, false, false, true],
        // The source selects what is loaded.
        Insn::LoadImm64 { .. } => [true, true, false, true],
        Insn::LoadImm64High => [false, false, false, true],
        Insn::Load { .. } => [true, true, true, false],
        Insn::Store { .. } if opcode & 7 == 2 => [true, false, true, true],
        Insn::Store { .. } => [true, true, true, false],
        // The immediate selects the operation.
        Insn::Atomic { .. } => [true, true, true, true],
        Insn::Jump { .. } if opcode == 0x06 => [false, false, false, true],
        Insn::Jump { .. } => [false, false, true, false],
        Insn::Branch { .. } => [true, register, true, !register],
        Insn::Call { target: CallTarget::Register(_) } => [true, false, false, false],
        // The source selects what is called.
        Insn::Call { .. } => [false, true, false, true],
        Insn::Exit => [false; 4],
    }
}

#[test]
fn every_reserved_field_of_every_form_is_refused() {
    let fields = [Field::Dst, Field::Src, Field::Offset, Field::Imm];
    let mut refused = 0;
    for (opcode, offset, src, imm) in forms() {
        let bytes = slot(opcode, src << 4, offset, imm);
        let insn = decoded(bytes).unwrap().insns()[0];
        for (field, used) in fields.into_iter().zip(uses(&insn, opcode)) {
            if used {
                continue;
            }
            let error = decoded(spoiled(bytes, field)).unwrap_err();
            let named =
                matches!(error, DecodeError::ReservedField { pc: 0, field: at, .. } if at == field);
            assert!(named, "{insn}: {field:?}: {error:?}");
            refused += 1;
        }
        // A used offset that selects a variant selects no other.
        if matches!(insn, Insn::Alu { .. } | Insn::MovSx { .. }) {
            let error = decoded(spoiled(bytes, Field::Offset)).unwrap_err();
            assert!(matches!(error, DecodeError::NoSuchVariant { pc: 0, .. }), "{insn}: {error:?}");
            refused += 1;
        }
    }
    assert!(refused >= 45, "only {refused} negative cases");
    println!("{refused} reserved fields");
}
