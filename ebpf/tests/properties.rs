//! Properties over arbitrary programs, arbitrary bytes and arbitrary text, and a second of each
//! fuzzing body.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use sluice_ebpf::asm;
use sluice_ebpf::disasm::disassemble;
use sluice_ebpf::fuzzing;
use sluice_ebpf::interp::{self, Trap};
use sluice_ebpf::limits::{PACKET_MAX, PACKET_MIN};
use sluice_ebpf::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Cond, Imm64, Insn, Kind, Operand, Program, Reg, Size,
    Width, decode, encode,
};

/// Text that is nearly assembly.
const TEXT: &str = "(([a-z0-9]{1,6} ?)?(%r[0-9]{1,2}|-?[0-9]{1,12}|\\[r1[+-][0-9]{1,6}\\])?\
                    [,:#\n ]{0,2}){0,20}";

fn reg() -> impl Strategy<Value = Reg> {
    select(&Reg::ALL[..])
}

/// A register that may be written.
fn dst() -> impl Strategy<Value = Reg> {
    select(&Reg::ALL[..10])
}

fn width() -> impl Strategy<Value = Width> {
    select(&[Width::W32, Width::W64][..])
}

fn size() -> impl Strategy<Value = Size> {
    select(&[Size::B1, Size::B2, Size::B4, Size::B8][..])
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![reg().prop_map(Operand::Reg), any::<i32>().prop_map(Operand::Imm)]
}

fn imm64() -> impl Strategy<Value = Imm64> {
    prop_oneof![
        any::<u64>().prop_map(Imm64::Value),
        any::<u32>().prop_map(Imm64::MapFd),
        any::<(u32, u32)>().prop_map(|(fd, offset)| Imm64::MapValue { fd, offset }),
        (3..=5_u8, any::<u32>()).prop_map(|(kind, lo)| Imm64::Other { kind, lo, hi: 0 }),
        any::<(u32, u32)>().prop_map(|(lo, hi)| Imm64::Other { kind: 6, lo, hi }),
    ]
}

fn arithmetic() -> impl Strategy<Value = Insn> {
    let orders = select(&[ByteOrder::Le, ByteOrder::Be, ByteOrder::Swap][..]);
    let narrow = select(&[Size::B1, Size::B2][..]);
    prop_oneof![
        (width(), select(&AluOp::ALL[..]), dst(), operand())
            .prop_map(|(width, op, dst, src)| Insn::Alu { width, op, dst, src }),
        (width(), dst()).prop_map(|(width, dst)| Insn::Neg { width, dst }),
        (width(), narrow, dst(), reg()).prop_map(|(width, from, dst, src)| Insn::MovSx {
            width,
            from,
            dst,
            src
        }),
        (dst(), reg()).prop_map(|(dst, src)| Insn::MovSx {
            width: Width::W64,
            from: Size::B4,
            dst,
            src
        }),
        (orders, select(&[16_u8, 32, 64][..]), dst()).prop_map(|(order, bits, dst)| Insn::Endian {
            order,
            bits,
            dst
        }),
    ]
}

fn access() -> impl Strategy<Value = Insn> {
    let wide = select(&[Size::B4, Size::B8][..]);
    prop_oneof![
        (size(), any::<bool>(), dst(), reg(), any::<i16>()).prop_map(
            |(size, signed, dst, base, offset)| {
                let signed = signed && size != Size::B8;
                Insn::Load { size, signed, dst, base, offset }
            }
        ),
        (size(), reg(), any::<i16>(), operand())
            .prop_map(|(size, base, offset, src)| Insn::Store { size, base, offset, src }),
        (wide, select(&AtomicOp::ALL[..]), any::<bool>(), reg(), any::<i16>(), dst()).prop_map(
            |(size, op, fetch, base, offset, src)| {
                let fetch = fetch || matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
                Insn::Atomic { size, op, fetch, base, offset, src }
            }
        ),
    ]
}

/// Control flow with targets that are fixed up later.
fn control() -> impl Strategy<Value = Insn> {
    let branch = (width(), select(&Cond::ALL[..]), reg(), operand(), any::<u32>());
    prop_oneof![
        any::<u32>().prop_map(|target| Insn::Jump { target }),
        branch.prop_map(|(width, cond, dst, src, target)| Insn::Branch {
            width,
            cond,
            dst,
            src,
            target
        }),
        any::<u32>().prop_map(|id| Insn::Call { target: CallTarget::Helper(id) }),
        any::<u32>().prop_map(|slot| Insn::Call { target: CallTarget::Local(slot) }),
        any::<u32>().prop_map(|id| Insn::Call { target: CallTarget::Kernel(id) }),
        reg().prop_map(|reg| Insn::Call { target: CallTarget::Register(reg) }),
        Just(Insn::Exit),
    ]
}

/// A program of all sorts of instructions, targets moved onto whole ones.
fn program() -> impl Strategy<Value = Program> {
    let load = (dst(), imm64()).prop_map(|(dst, imm)| Insn::LoadImm64 { dst, imm });
    let insns =
        vec(prop_oneof![4 => arithmetic(), 3 => access(), 3 => control(), 1 => load], 0..60);
    let kinds = select(&[Kind::Filter, Kind::Ash, Kind::Memory][..]);
    (insns, kinds).prop_map(|(drafts, kind)| {
        let mut insns = Vec::new();
        for draft in drafts {
            insns.push(draft);
            if matches!(draft, Insn::LoadImm64 { .. }) {
                insns.push(Insn::LoadImm64High);
            }
        }
        insns.push(Insn::Exit);
        let whole = insns.clone();
        for insn in &mut insns {
            let place = |target: &mut u32| {
                *target %= whole.len() as u32;
                if whole[*target as usize] == Insn::LoadImm64High {
                    *target -= 1;
                }
            };
            match insn {
                Insn::Jump { target }
                | Insn::Branch { target, .. }
                | Insn::Call { target: CallTarget::Local(target) } => place(target),
                _ => {}
            }
        }
        Program::from_insns(kind, insns).unwrap_or_else(|error| panic!("drew {error}"))
    })
}

proptest! {
    #[test]
    fn bytes_round_trip(program in program()) {
        let bytes = encode(&program);
        prop_assert_eq!(bytes.len(), program.len() * 8);
        prop_assert_eq!(decode(&bytes, program.kind(), program.len()), Ok(program));
    }

    #[test]
    fn text_round_trips(program in program()) {
        let text = disassemble(&program);
        let insns = asm::assemble(&text);
        prop_assert_eq!(insns.as_deref(), Ok(program.insns()), "{}", text);
    }

    /// Every byte of the encoding matters: a changed bit is refused or is another program, except
    /// where `ja` and `gotol` say the same.
    #[test]
    fn a_changed_bit_is_noticed(program in program(), at in any::<usize>(), bit in 0..8_u32) {
        let mut bytes = encode(&program);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(other) = decode(&bytes, program.kind(), program.len()) {
            let jump = |pc: usize| matches!(program.insns()[pc], Insn::Jump { .. });
            assert!(other != program || jump(at / 8), "byte {at}, bit {bit}");
            prop_assert_eq!(decode(&encode(&other), other.kind(), other.len()), Ok(other));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        fuzzing::decode_any(&bytes);
        fuzzing::generate_any(&bytes);
    }

    #[test]
    fn arbitrary_slots_never_panic(slots in vec(likely_slot(), 1..40)) {
        let exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
        let bytes: Vec<u8> = slots.into_iter().flatten().chain(exit).collect();
        fuzzing::decode_any(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text in TEXT) {
        fuzzing::assemble_any(text.as_bytes());
    }

    /// 128-bit integers as a second opinion on the arithmetic.
    #[test]
    fn arithmetic_agrees_with_wide_integers(
        op in select(&AluOp::ALL[..]), dst in edge(), src in edge()
    ) {
        for width in [Width::W32, Width::W64] {
            let result = interp::arith::alu(width, op, dst, src);
            prop_assert_eq!(result, wide(width, op, dst, src), "{:?} {:?}", op, width);
        }
    }

    #[test]
    fn a_branch_and_its_opposite_never_agree(left in edge(), right in edge()) {
        let opposites = [
            (Cond::Eq, Cond::Ne), (Cond::Gt, Cond::Le), (Cond::Ge, Cond::Lt),
            (Cond::Sgt, Cond::Sle), (Cond::Sge, Cond::Slt),
        ];
        for width in [Width::W32, Width::W64] {
            for (one, other) in opposites {
                let holds = |cond| interp::arith::holds(width, cond, left, right);
                prop_assert_eq!(holds(one), !holds(other));
            }
        }
    }
}

/// Eight bytes that have a fair chance to be an instruction.
fn likely_slot() -> impl Strategy<Value = [u8; 8]> {
    let opcode = any::<u8>();
    (
        opcode,
        0..11_u8,
        prop_oneof![Just(0_u8), 0..11_u8],
        -3..6_i16,
        prop_oneof![Just(0), any::<i32>()],
    )
        .prop_map(|(opcode, dst, src, offset, imm)| {
            let [o0, o1] = offset.to_le_bytes();
            let [i0, i1, i2, i3] = imm.to_le_bytes();
            [opcode, dst | src << 4, o0, o1, i0, i1, i2, i3]
        })
}

/// Numbers near the edges of the widths.
fn edge() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1 << 7, 1 << 15, 1 << 31, 1 << 32, 1 << 63];
    prop_oneof![
        any::<u64>(),
        (select(edges), -2..3_i64).prop_map(|(edge, by): (u64, i64)| edge.wrapping_add_signed(by))
    ]
}

fn wide(width: Width, op: AluOp, dst: u64, src: u64) -> u64 {
    let bits = if width == Width::W32 { 32 } else { 64 };
    let mask = (1_i128 << bits) - 1;
    let unsigned = |value: u64| i128::from(value) & mask;
    let signed = |value: u64| {
        let value = unsigned(value);
        if value >> (bits - 1) == 1 { value - (1 << bits) } else { value }
    };
    let (d, s) = (unsigned(dst), unsigned(src));
    let count = s % bits;
    let result = match op {
        AluOp::Add => d + s,
        AluOp::Sub => d - s,
        AluOp::Mul => (d.cast_unsigned().wrapping_mul(s.cast_unsigned())).cast_signed(),
        AluOp::Div => d.checked_div(s).unwrap_or(0),
        AluOp::Sdiv => signed(dst).checked_div(signed(src)).unwrap_or(0),
        AluOp::Mod => d.checked_rem(s).unwrap_or(d),
        AluOp::Smod => signed(dst).checked_rem(signed(src)).unwrap_or(d),
        AluOp::Or => d | s,
        AluOp::And => d & s,
        AluOp::Xor => d ^ s,
        AluOp::Lsh => d << count,
        AluOp::Rsh => d >> count,
        AluOp::Arsh => signed(dst) >> count,
        AluOp::Mov => s,
    };
    (result & mask) as u64
}

/// Bytes for a second of a fuzzing body: a xorshift generator, so that a failure repeats.
fn for_a_second(body: fn(&[u8])) {
    let end = Instant::now() + Duration::from_secs(1);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut runs = 0;
    while runs == 0 || Instant::now() < end {
        let bytes = random_bytes(&mut state);
        body(&bytes);
        runs += 1;
    }
    assert!(runs > 100, "only {runs} runs in a second");
}

fn random_bytes(state: &mut u64) -> Vec<u8> {
    let mut next = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    };
    let length = next() as usize % 64;
    (0..length).flat_map(|_| next().to_le_bytes()).collect()
}

#[test]
fn fuzz_decode_any() {
    for_a_second(fuzzing::decode_any);
}

#[test]
fn fuzz_assemble_any() {
    for_a_second(fuzzing::assemble_any);
}

#[test]
fn fuzz_generate_any() {
    for_a_second(fuzzing::generate_any);
}

/// The generator is of use to others only if most of its programs are safe, some are not, and
/// filters do not all say the same.
#[test]
fn generated_programs_are_mostly_safe() {
    let mut state = 7;
    for kind in [Kind::Filter, Kind::Ash, Kind::Memory] {
        let (mut safe, mut yes, mut slots, total) = (0, 0, 0, 3_000);
        for _ in 0..total {
            let mut bytes = random_bytes(&mut state);
            bytes.extend([0; 8]);
            let program = fuzzing::program_from_bytes(kind, &bytes).unwrap();
            slots += program.len();
            let mut packet = fuzzing::packet_from_bytes(&random_bytes(&mut state));
            match interp::run_packet(&program, &mut packet, &mut Helpers, 1_000) {
                Ok(result) => {
                    safe += 1;
                    yes += usize::from(result != 0);
                }
                // The one access in thirty-two that was meant to be wild.
                Err(Trap::OutOfBounds { .. }) => {}
                Err(trap) => panic!("{trap}\n{}", sluice_ebpf::disasm::disassemble(&program)),
            }
        }
        assert!(safe * 100 > total * 80, "{kind:?}: {safe} of {total} safe");
        assert!(safe < total, "{kind:?}: none is unsafe");
        assert!(yes * 100 > total, "{kind:?}: {yes} of {total} accept");
        assert!(slots / total > 20, "{kind:?}: {} slots on average", slots / total);
    }
}

struct Helpers;

impl interp::Helpers for Helpers {
    fn call(&mut self, id: u32, _args: [u64; 5]) -> Option<u64> {
        matches!(id, 5 | 7 | 8).then_some(1)
    }
}

#[test]
fn generated_packets_have_a_length_that_the_card_takes() {
    let mut state = 3;
    let lengths: Vec<usize> =
        (0..2_000).map(|_| fuzzing::packet_from_bytes(&random_bytes(&mut state)).len()).collect();
    assert!(lengths.iter().all(|length| (PACKET_MIN..=PACKET_MAX).contains(length)));
    assert!(lengths.iter().any(|&length| length < 34));
    assert!(lengths.contains(&PACKET_MAX));
    assert!(fuzzing::packet_from_bytes(&[]).len() >= PACKET_MIN);
}

#[test]
fn too_few_bytes_give_no_program() {
    assert_eq!(fuzzing::program_from_bytes(Kind::Filter, &[1; 7]), None);
    assert!(fuzzing::program_from_bytes(Kind::Filter, &[0; 8]).is_some());
}
