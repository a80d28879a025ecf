//! Every structural rule: a program that breaks it, and the error that says so.

use sluice_ebpf::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Cond, DecodeError, Decoder, Field, Imm64, Insn, Kind,
    Operand, Program, Reg, Size, Width, decode,
};

const EXIT: u64 = 0x95;

/// A slot from its fields.
fn slot(opcode: u8, regs: u8, offset: i16, imm: i32) -> u64 {
    let fields = [u64::from(opcode), u64::from(regs) << 8];
    let offset = u64::from(offset.cast_unsigned()) << 16;
    fields[0] | fields[1] | offset | u64::from(imm.cast_unsigned()) << 32
}

fn words(slots: &[u64]) -> Result<Program, DecodeError> {
    let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    decode(&bytes, Kind::Memory, 16)
}

fn error(result: Result<Program, DecodeError>) -> DecodeError {
    match result {
        Ok(program) => panic!("is a program: {:?}", program.insns()),
        Err(error) => error,
    }
}

/// The error of a program whose first slot is wrong and whose second is an exit.
fn first(opcode: u8, regs: u8, offset: i16, imm: i32) -> DecodeError {
    error(words(&[slot(opcode, regs, offset, imm), EXIT]))
}

#[test]
fn lengths() {
    assert_eq!(decode(&[], Kind::Filter, 16), Err(DecodeError::Empty));
    assert_eq!(decode(&[0x95; 7], Kind::Filter, 16), Err(DecodeError::Length { bytes: 7 }));
    assert_eq!(decode(&[0; 9], Kind::Filter, 16), Err(DecodeError::Length { bytes: 9 }));
    assert!(words(&[EXIT; 16]).is_ok());
    assert_eq!(words(&[EXIT; 17]), Err(DecodeError::TooLong { slots: 17, limit: 16 }));
}

#[test]
fn a_lone_exit_is_a_program() {
    let program = words(&[EXIT]).unwrap();
    assert_eq!(program.insns(), [Insn::Exit]);
    assert_eq!((program.kind(), program.len(), program.is_empty()), (Kind::Memory, 1, false));
    assert_eq!((program.get(0), program.get(1)), (Some(&Insn::Exit), None));
}

/// RFC 9669 §7 (the opcode table), counted by hand: which opcodes exist at all.
#[test]
fn every_opcode_is_known_or_refused_by_name() {
    let alu = [0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x9, 0xa, 0xb, 0xc];
    let branches = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xa, 0xb, 0xc, 0xd];
    let mut known = vec![0x18, 0x84, 0x87, 0xd4, 0xdc, 0xd7, 0x05, 0x06, 0x85, 0x8d, 0x95];
    for source in [0x0, 0x8] {
        known
            .extend(alu.iter().flat_map(|code| [0x4, 0x7].map(|class| code << 4 | source | class)));
        known.extend(
            branches.iter().flat_map(|code| [0x5, 0x6].map(|class| code << 4 | source | class)),
        );
    }
    for size in [0x00, 0x08, 0x10, 0x18] {
        known.extend([0x61, 0x62, 0x63].map(|memory| memory | size));
    }
    known.extend([0x81, 0x89, 0x91, 0xc3, 0xdb]);
    let packet = [0x20, 0x28, 0x30, 0x40, 0x48, 0x50];
    for opcode in 0..=u8::MAX {
        let result = words(&[slot(opcode, 0, 0, 0), EXIT, EXIT]);
        let unknown = Err(DecodeError::UnknownOpcode { pc: 0, opcode });
        if packet.contains(&opcode) {
            assert_eq!(result, Err(DecodeError::LegacyPacket { pc: 0, opcode }));
        } else if known.contains(&opcode) {
            assert_ne!(result, unknown, "{opcode:#x}");
        } else {
            assert_eq!(result, unknown, "{opcode:#x}");
        }
    }
}

#[test]
fn registers_end_at_r10() {
    let missing = |field, number| DecodeError::NoSuchRegister { pc: 0, field, number };
    assert_eq!(first(0xb7, 0x0b, 0, 0), missing(Field::Dst, 11));
    assert_eq!(first(0xbf, 0xf0, 0, 0), missing(Field::Src, 15));
    assert_eq!(first(0x61, 0x0c, 0, 0), missing(Field::Dst, 12));
    assert_eq!(first(0x62, 0x0d, 0, 0), missing(Field::Dst, 13));
    assert_eq!(first(0x63, 0xe0, 0, 0), missing(Field::Src, 14));
    assert_eq!(first(0xc3, 0xb0, 0, 0), missing(Field::Src, 11));
    assert_eq!(first(0x1d, 0xb0, 0, 0), missing(Field::Src, 11));
    assert_eq!(first(0x15, 0x0b, 0, 0), missing(Field::Dst, 11));
    assert_eq!(first(0x8d, 0x0b, 0, 0), missing(Field::Dst, 11));
    assert_eq!(first(0xd4, 0x0b, 0, 16), missing(Field::Dst, 11));
    assert_eq!(first(0x87, 0x0b, 0, 0), missing(Field::Dst, 11));
    assert_eq!(words(&[slot(0x18, 0x0b, 0, 0), 0, EXIT]), Err(missing(Field::Dst, 11)));
}

#[test]
fn r10_is_never_written() {
    let written = DecodeError::FramePointerWritten { pc: 0 };
    for (opcode, regs, imm) in [
        (0xb7, 0x0a, 0),    // mov
        (0x04, 0x0a, 1),    // add32
        (0x87, 0x0a, 0),    // neg
        (0xdc, 0x0a, 16),   // be16
        (0x61, 0x1a, 0),    // ldxw
        (0xdb, 0xa1, 0x01), // fetch add into r10
        (0xdb, 0xa1, 0xe1), // xchg into r10
    ] {
        assert_eq!(first(opcode, regs, 0, imm), written, "{opcode:#x}");
    }
    assert_eq!(first(0xbf, 0x1a, 8, 0), written);
    assert_eq!(words(&[slot(0x18, 0x0a, 0, 0), 0, EXIT]), Err(written));
    // Not writes: a store through it, an atomic without fetch, cmpxchg (writes r0), a read.
    for (opcode, regs, imm) in
        [(0x62, 0x0a, 0), (0xdb, 0xa1, 0), (0xdb, 0xa1, 0xf1), (0xbf, 0xa1, 0)]
    {
        assert!(words(&[slot(opcode, regs, 0, imm), EXIT]).is_ok(), "{opcode:#x}");
    }
}

/// The fields that each form leaves unused: RFC 9669 §3.1, "unused fields shall be cleared".
#[test]
fn unused_fields_are_zero() {
    let forms: [(u8, u8, i32, &[Field]); 20] = [
        (0x07, 0x00, 1, &[Field::Src]),                            // add imm
        (0x0f, 0x10, 0, &[Field::Imm]),                            // add reg
        (0x87, 0x00, 0, &[Field::Src, Field::Offset, Field::Imm]), // neg
        (0xdc, 0x00, 16, &[Field::Src, Field::Offset]),            // be16
        (0xd7, 0x00, 64, &[Field::Src, Field::Offset]),            // bswap64
        (0x05, 0x00, 0, &[Field::Dst, Field::Src, Field::Imm]),    // ja
        (0x06, 0x00, 0, &[Field::Dst, Field::Src, Field::Offset]), // gotol
        (0x15, 0x00, 0, &[Field::Src]),                            // jeq imm
        (0x1d, 0x10, 0, &[Field::Imm]),                            // jeq reg
        (0x16, 0x00, 0, &[Field::Src]),                            // jeq32 imm
        (0x1e, 0x10, 0, &[Field::Imm]),                            // jeq32 reg
        (0x85, 0x00, 5, &[Field::Dst, Field::Offset]),             // call helper
        (0x85, 0x10, 0, &[Field::Dst, Field::Offset]),             // call local
        (0x85, 0x20, 5, &[Field::Dst, Field::Offset]),             // call kernel
        (0x8d, 0x02, 0, &[Field::Src, Field::Offset, Field::Imm]), // callx
        (0x95, 0x00, 0, &[Field::Dst, Field::Src, Field::Offset, Field::Imm]), // exit
        (0x61, 0x10, 0, &[Field::Imm]),                            // ldxw
        (0x91, 0x10, 0, &[Field::Imm]),                            // ldxsb
        (0x62, 0x00, 7, &[Field::Src]),                            // stw
        (0x63, 0x10, 0, &[Field::Imm]),                            // stxw
    ];
    for (opcode, regs, imm, fields) in forms {
        assert!(words(&[slot(opcode, regs, 0, imm), EXIT]).is_ok(), "{opcode:#x}");
        for &field in fields {
            let error = match field {
                Field::Dst => first(opcode, regs | 1, 0, imm),
                Field::Src => first(opcode, regs | 0x40, 0, imm),
                Field::Offset => first(opcode, regs, 1, imm),
                _ => first(opcode, regs, 0, imm | 1),
            };
            let known = match error {
                DecodeError::ReservedField { pc: 0, field: found, value: 1 | 4 } => found == field,
                // The source field of a call selects its kind.
                DecodeError::UnknownCall { .. } => opcode == 0x85,
                _ => false,
            };
            assert!(known, "{opcode:#x} {field:?}: {error:?}");
        }
    }
    // A sign-extending move uses offset, but not the immediate.
    let imm = DecodeError::ReservedField { pc: 0, field: Field::Imm, value: 1 };
    assert_eq!(first(0xbf, 0x10, 8, 1), imm);
}

#[test]
fn offsets_select_variants() {
    let none = |offset| DecodeError::NoSuchVariant { pc: 0, offset };
    for (opcode, offset) in [
        (0x07, 1),  // add has none
        (0x37, 2),  // div has 0 and 1
        (0x97, -1), // mod has 0 and 1
        (0xb7, 8),  // an immediate is not sign-extended
        (0xb4, 1),
    ] {
        assert_eq!(first(opcode, 0, offset, 0), none(offset), "{opcode:#x}");
    }
    assert_eq!(first(0xbf, 0x10, 64, 0), none(64));
    assert_eq!(first(0xbf, 0x10, 1, 0), none(1));
    assert_eq!(first(0xbc, 0x10, 32, 0), none(32));
    assert!(words(&[slot(0xbf, 0x10, 32, 0), EXIT]).is_ok());
    let signed = words(&[slot(0x3f, 0x10, 1, 0), EXIT]).unwrap();
    let src = Operand::Reg(Reg::R1);
    let sdiv = Insn::Alu { width: Width::W64, op: AluOp::Sdiv, dst: Reg::R0, src };
    assert_eq!(signed.insns()[0], sdiv);
}

#[test]
fn swaps_have_three_widths() {
    for bits in [0, 8, 15, 17, 33, 128, -16] {
        for opcode in [0xd4, 0xdc, 0xd7] {
            assert_eq!(first(opcode, 0, 0, bits), DecodeError::SwapWidth { pc: 0, bits });
        }
    }
}

#[test]
fn atomics_are_a_short_list() {
    for imm in [0x02, 0x10, 0x41 | 0x100, 0xe0, 0xf0, -1, 0x0100_0000] {
        for opcode in [0xc3, 0xdb] {
            assert_eq!(first(opcode, 0x10, 0, imm), DecodeError::UnknownAtomic { pc: 0, imm });
        }
    }
    for imm in [0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1] {
        assert!(words(&[slot(0xdb, 0x10, 0, imm), EXIT]).is_ok());
    }
}

#[test]
fn calls_have_three_kinds() {
    for kind in 3..=15 {
        let error = DecodeError::UnknownCall { pc: 0, kind };
        assert_eq!(first(0x85, kind << 4, 0, 0), error);
    }
}

#[test]
fn imm64_needs_its_second_slot() {
    let low = slot(0x18, 0, 0, 1);
    assert_eq!(words(&[low]), Err(DecodeError::NoSecondSlot { pc: 0 }));
    assert_eq!(words(&[EXIT, low]), Err(DecodeError::NoSecondSlot { pc: 1 }));
    for (field, value, high) in [
        (Field::Opcode, 0x95, EXIT),
        (Field::Dst, 1, slot(0, 0x01, 0, 0)),
        (Field::Src, 1, slot(0, 0x10, 0, 0)),
        (Field::Offset, 1, slot(0, 0, 1, 0)),
    ] {
        let error = DecodeError::ReservedField { pc: 1, field, value };
        assert_eq!(words(&[low, high, EXIT]), Err(error));
    }
    let offset = DecodeError::ReservedField { pc: 0, field: Field::Offset, value: 1 };
    assert_eq!(words(&[slot(0x18, 0, 1, 0), 0, EXIT]), Err(offset));
    assert_eq!(words(&[low, 0]), Err(DecodeError::FallsOffEnd { pc: 1 }));
}

#[test]
fn imm64_kinds() {
    let high = slot(0, 0, 0, 2);
    for kind in 7..=15 {
        let error = DecodeError::UnknownImm64 { pc: 0, kind };
        assert_eq!(words(&[slot(0x18, kind << 4, 0, 1), 0, EXIT]), Err(error));
    }
    for kind in [1, 3, 4, 5] {
        let error = DecodeError::ReservedField { pc: 1, field: Field::Imm, value: 2 };
        assert_eq!(words(&[slot(0x18, kind << 4, 0, 1), high, EXIT]), Err(error));
    }
    for (kind, imm) in [
        (0, Imm64::Value(0x2_0000_0001)),
        (2, Imm64::MapValue { fd: 1, offset: 2 }),
        (6, Imm64::Other { kind: 6, lo: 1, hi: 2 }),
    ] {
        let program = words(&[slot(0x18, kind << 4, 0, 1), high, EXIT]).unwrap();
        assert_eq!(program.insns()[0], Insn::LoadImm64 { dst: Reg::R0, imm });
        assert_eq!(program.insns()[1], Insn::LoadImm64High);
    }
}

#[test]
fn targets_stay_inside() {
    let outside = |target| DecodeError::TargetOutside { pc: 0, target };
    assert_eq!(first(0x05, 0, 1, 0), outside(2));
    assert_eq!(first(0x05, 0, -2, 0), outside(-1));
    assert_eq!(first(0x05, 0, i16::MIN, 0), outside(1 - 0x8000));
    assert_eq!(first(0x06, 0, 0, i32::MAX), outside(0x8000_0000));
    assert_eq!(first(0x06, 0, 0, i32::MIN), outside(1 - 0x8000_0000));
    assert_eq!(first(0x15, 0, 1, 0), outside(2));
    assert_eq!(first(0x16, 0, i16::MAX, 0), outside(0x8000));
    assert_eq!(first(0x85, 0x10, 0, 1), outside(2));
    assert_eq!(first(0x85, 0x10, 0, -2), outside(-1));
    // To itself, and to the last slot.
    assert!(words(&[slot(0x05, 0, -1, 0), EXIT]).is_ok());
    assert!(words(&[slot(0x15, 0, 0, 0), EXIT]).is_ok());
}

#[test]
fn targets_are_whole_instructions() {
    let (low, high) = (slot(0x18, 0, 0, 1), 0);
    let middle = DecodeError::TargetInsideImm64 { pc: 0, target: 2 };
    for jump in
        [slot(0x05, 0, 1, 0), slot(0x06, 0, 0, 1), slot(0x15, 0, 1, 0), slot(0x85, 0x10, 0, 1)]
    {
        assert_eq!(words(&[jump, low, high, EXIT]), Err(middle));
    }
}

#[test]
fn the_last_slot_ends_the_program() {
    let falls = |pc| Err(DecodeError::FallsOffEnd { pc });
    assert_eq!(words(&[slot(0xb7, 0, 0, 0)]), falls(0));
    assert_eq!(words(&[EXIT, slot(0x15, 0, -1, 0)]), falls(1));
    assert_eq!(words(&[EXIT, slot(0x85, 0, 0, 5)]), falls(1));
    assert_eq!(words(&[EXIT, slot(0x62, 0, 0, 5)]), falls(1));
    assert!(words(&[EXIT, slot(0x05, 0, -2, 0)]).is_ok());
}

fn refused(insns: Vec<Insn>) -> DecodeError {
    error(Program::from_insns(Kind::Ash, insns))
}

#[test]
fn instructions_that_do_not_exist() {
    let (dst, src, base, offset) = (Reg::R1, Reg::R2, Reg::R10, -8);
    let atomic = |size, op, fetch| Insn::Atomic { size, op, fetch, base, offset, src };
    let other = |kind, hi| Insn::LoadImm64 { dst, imm: Imm64::Other { kind, lo: 0, hi } };
    for insn in [
        Insn::MovSx { width: Width::W64, from: Size::B8, dst, src },
        Insn::MovSx { width: Width::W32, from: Size::B4, dst, src },
        Insn::Endian { order: ByteOrder::Be, bits: 8, dst },
        Insn::Load { size: Size::B8, signed: true, dst, base, offset },
        atomic(Size::B1, AtomicOp::Add, false),
        atomic(Size::B2, AtomicOp::Xchg, true),
        atomic(Size::B8, AtomicOp::Xchg, false),
        atomic(Size::B8, AtomicOp::Cmpxchg, false),
        other(0, 0),
        other(2, 0),
        other(7, 0),
        other(4, 1),
    ] {
        assert_eq!(refused(vec![insn, Insn::Exit]), DecodeError::NotEncodable { pc: 0 }, "{insn}");
    }
}

#[test]
fn instructions_that_do_not_fit_together() {
    let low = Insn::LoadImm64 { dst: Reg::R0, imm: Imm64::Value(0) };
    assert_eq!(refused(vec![low, Insn::Exit]), DecodeError::NoSecondSlot { pc: 0 });
    assert_eq!(refused(vec![low]), DecodeError::NoSecondSlot { pc: 0 });
    let stray = |pc| DecodeError::StraySecondSlot { pc };
    assert_eq!(refused(vec![Insn::LoadImm64High, Insn::Exit]), stray(0));
    let (first, second) = (Insn::LoadImm64High, Insn::LoadImm64High);
    assert_eq!(refused(vec![low, first, second, Insn::Exit]), stray(2));
    let jump = Insn::Jump { target: 2 };
    let middle = DecodeError::TargetInsideImm64 { pc: 0, target: 2 };
    assert_eq!(refused(vec![jump, low, Insn::LoadImm64High, Insn::Exit]), middle);
    let call = Insn::Call { target: CallTarget::Local(9) };
    let outside = DecodeError::TargetOutside { pc: 0, target: 9 };
    assert_eq!(refused(vec![call, Insn::Exit]), outside);
}

#[test]
fn branches_reach_as_far_as_their_field() {
    let program = |target: u32| {
        let branch = Insn::Branch {
            width: Width::W64,
            cond: Cond::Eq,
            dst: Reg::R0,
            src: Operand::Imm(0),
            target,
        };
        let mut insns = vec![Insn::Exit; 0x8010];
        insns[0] = branch;
        Program::from_insns(Kind::Memory, insns)
    };
    assert!(program(0x8000).is_ok());
    assert_eq!(program(0x8001), Err(DecodeError::BranchTooFar { pc: 0, target: 0x8001 }));
}

#[test]
fn far_jumps_are_encoded_as_gotol() {
    let mut insns = vec![Insn::Exit; 0x8010];
    insns[0] = Insn::Jump { target: 0x8001 };
    insns[0x800f] = Insn::Jump { target: 0 };
    let program = Program::from_insns(Kind::Memory, insns).unwrap();
    let bytes = sluice_ebpf::encode(&program);
    assert_eq!(bytes[..8], [0x06, 0, 0, 0, 0x00, 0x80, 0, 0]);
    assert_eq!(decode(&bytes, Kind::Memory, 0x8010), Ok(program));
}

#[test]
fn errors_say_where_and_what() {
    let text = first(0x20, 0, 0, 0).to_string();
    assert!(text.starts_with("instruction 0: 0x20 is a packet load"), "{text}");
    assert_eq!(DecodeError::Empty.to_string(), "the program is empty");
    assert_eq!(DecodeError::Empty.pc(), None);
    let text = first(0x07, 0x10, 0, 0).to_string();
    assert_eq!(text, "instruction 0: the unused source register is 1 and must be 0");
}

#[test]
fn a_slot_at_a_time_is_the_same() {
    let word = |opcode: u8, imm: i32| [&[opcode, 0, 0, 0][..], &imm.to_le_bytes()].concat();
    let good = [word(0x18, 7), word(0, 9), word(0xb7, 2), word(0x95, 0)].concat();
    let bad = [word(0x18, 7), word(0xb7, 0), word(0x95, 0)].concat();
    let off = [word(0xb7, 2)].concat();
    for bytes in [good, bad, off] {
        let mut decoder = Decoder::new(bytes.clone(), Kind::Memory, 16).unwrap();
        let mut looks = 0;
        let answer = loop {
            looks += 1;
            match decoder.advance() {
                Ok(None) => {}
                Ok(Some(program)) => break Ok(program),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(answer, decode(&bytes, Kind::Memory, 16));
        // Each slot twice, and the end.
        let most = 2 * (bytes.len() / 8) + 1;
        assert!(looks <= most && (answer.is_err() || looks == most));
    }
    assert!(Decoder::new(vec![0; 17 * 8], Kind::Memory, 16).is_err());
    assert!(Decoder::new(vec![0; 7], Kind::Memory, 16).is_err());
}
