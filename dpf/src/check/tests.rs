//! The checker's decoder against another decoder, and against what is not code at all.

use alloc::vec::Vec;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use runtime::random::mix;

use super::decode::decode;
use super::native::Native;
use crate::context::Premises;
use crate::dispatch::Emitted;
use crate::fuzzing::mutate;
use crate::plan::{HashKey, Lane, Plan, SplitRule};
use runtime::native::dispatch::Layout;

/// What the independent decoder makes of the same bytes.
fn reference(code: &[u8]) -> Instruction {
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode()
}

/// Nothing that code may not do hides behind an accepted instruction.
fn tame(insn: &Instruction) -> bool {
    let vector = (0..insn.op_count())
        .any(|op| insn.op_kind(op) == OpKind::Register && !insn.op_register(op).is_gpr());
    let memory = (0..insn.op_count()).any(|op| insn.op_kind(op) == OpKind::Memory);
    let plain = !memory
        || ((insn.memory_index() == Register::None || indexed_load(insn) || sum(insn))
            && insn.memory_base().is_gpr64()
            && insn.segment_prefix() == Register::None);
    let flow = matches!(
        insn.flow_control(),
        FlowControl::Next
            | FlowControl::ConditionalBranch
            | FlowControl::UnconditionalBranch
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Return
    );
    !vector && plain && flow && !insn.is_privileged() && !insn.is_invalid()
}

/// Reads no memory, whatever the index.
fn sum(insn: &Instruction) -> bool {
    insn.mnemonic() == Mnemonic::Lea
        && insn.op0_register().is_gpr64()
        && insn.memory_displacement64() == 0
}

/// The one form of load that has an index.
fn indexed_load(insn: &Instruction) -> bool {
    insn.mnemonic() == Mnemonic::Mov
        && insn.op0_kind() == OpKind::Register
        && insn.op0_register().is_gpr64()
        && (insn.memory_index_scale(), insn.memory_displacement64()) == (8, 0)
}

/// Bytes near real instructions: a few prefixes, a likely opcode, anything behind.
fn bytes(seed: u64) -> Vec<u8> {
    const PREFIXES: [&[u8]; 17] = [
        &[0x4a, 0x8b],
        &[0x4b, 0x8d],
        &[0x4c, 0x8d],
        &[0xc4, 0x62],
        &[0xc4, 0xc2],
        &[],
        &[],
        &[0x48],
        &[0x48],
        &[0x49],
        &[0x4c],
        &[0x66],
        &[0x41],
        &[0xf0],
        &[0x40],
        &[0xf0, 0x48],
        &[0x66, 0x45],
    ];
    let mut bytes = PREFIXES[(mix(seed) % 17) as usize].to_vec();
    if mix(seed + 1).is_multiple_of(4) {
        bytes.push(0x0f);
    }
    bytes.extend(mix(seed + 2).to_le_bytes());
    bytes.extend(mix(seed + 3).to_le_bytes());
    bytes
}

/// The registers of a shift by any register, and of a sum: what has a decoder of its own.
fn shifted(native: &Native) -> Option<[u8; 4]> {
    match *native {
        Native::ShiftBy { dst, src, count, .. } => Some([dst.0, src.0, count.0, 0]),
        Native::Sum { dst, base, index, scale } => Some([dst.0, base.0, index.0, 1 << scale]),
        _ => None,
    }
}

fn by_register(insn: &Instruction) -> Option<[u8; 4]> {
    let number = |reg: Register| reg.number() as u8;
    let [dst, src, count] = [0, 1, 2].map(|op| number(insn.op_register(op)));
    match insn.mnemonic() {
        Mnemonic::Shlx | Mnemonic::Shrx | Mnemonic::Sarx => Some([dst, src, count, 0]),
        Mnemonic::Lea if insn.memory_index() != Register::None => {
            let (base, index) = (insn.memory_base(), insn.memory_index());
            Some([dst, number(base), number(index), insn.memory_index_scale() as u8])
        }
        _ => None,
    }
}

#[test]
fn what_the_decoder_accepts_another_decoder_reads_alike() {
    let mut accepted = 0;
    let mut seen: Vec<Mnemonic> = Vec::new();
    for seed in 0..400_000 {
        let code = bytes(mix(seed));
        let Some((native, next)) = decode(&code, 0) else { continue };
        let insn = reference(&code);
        assert_eq!(insn.len(), next, "{code:02x?}: {native:?} but {insn}");
        assert!(tame(&insn), "{code:02x?}: {native:?} but {insn}");
        let target = match native {
            Native::JumpIf { target, .. } | Native::Jump { target } | Native::Call { target } => {
                Some(target as u64)
            }
            _ => None,
        };
        assert_eq!(shifted(&native), by_register(&insn), "{code:02x?}: {native:?} but {insn}");
        if let Some(target) = target {
            assert_eq!(target, insn.near_branch_target(), "{code:02x?}: {insn}");
        }
        accepted += 1;
        if !seen.contains(&insn.mnemonic()) {
            seen.push(insn.mnemonic());
        }
    }
    assert!(accepted > 10_000, "only {accepted}");
    assert!(seen.len() > 40, "only {seen:?}");
}

#[test]
fn privileged_indirect_and_vector_instructions_have_no_form() {
    let refused: [&[u8]; 30] = [
        &[0x4a, 0x8b, 0x04, 0x85, 0, 0, 0, 0], // mov rax, [r8 * 4 + 0]
        &[0x4a, 0x8b, 0x04, 0xc5, 0, 0, 0, 0], // mov rax, [r8 * 8 + 0]
        &[0x4a, 0x8b, 0x44, 0xc0, 8],          // mov rax, [rax + r8 * 8 + 8]
        &[0x4b, 0x8b, 0x04, 0xc0],             // mov rax, [r8 + r8 * 8]
        &[0x48, 0x8b, 0x04, 0xc8],             // mov rax, [rax + rcx * 8]
        &[0x4a, 0x89, 0x04, 0xc0],             // mov [rax + r8 * 8], rax
        &[0xf4],                               // hlt
        &[0xfa],                               // cli
        &[0x0f, 0x05],                         // syscall
        &[0x0f, 0x30],                         // wrmsr
        &[0x0f, 0x22, 0xd8],                   // mov cr3, rax
        &[0x0f, 0x01, 0xd0],                   // xgetbv
        &[0xcc],                               // int3
        &[0xcd, 0x80],                         // int 0x80
        &[0xec],                               // in al, dx
        &[0xff, 0xe0],                         // jmp rax
        &[0xff, 0x20],                         // jmp [rax]
        &[0xff, 0x10],                         // call [rax]
        &[0xc2, 0x08, 0x00],                   // ret 8
        &[0x0f, 0x10, 0x07],                   // movups xmm0, [rdi]
        &[0xc5, 0xf8, 0x10, 0x07],             // vmovups
        &[0x65, 0x48, 0x8b, 0x07],             // mov rax, gs:[rdi]
        &[0x67, 0x8b, 0x07],                   // mov eax, [edi]
        &[0x48, 0x8b, 0x04, 0x37],             // mov rax, [rdi + rsi]
        &[0x8b, 0x05, 0, 0, 0, 0],             // mov eax, [rip]
        &[0xf3, 0xa4],                         // rep movsb
        &[0xa4],                               // movsb
        &[0x88, 0x27],                         // mov [rdi], ah
        &[0x48, 0xff, 0xd0],                   // rex.w call rax
        &[0x0f, 0xae, 0xf0],                   // mfence
    ];
    for code in refused {
        assert_eq!(decode(code, 0), None, "{code:02x?}");
    }
}

#[test]
fn half_an_instruction_is_none() {
    let whole = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert!(decode(&whole, 0).is_some());
    for length in 0..whole.len() {
        assert_eq!(decode(&whole[..length], 0), None);
    }
    assert_eq!(decode(&whole, whole.len()), None);
}

/// The plan of some expressions, and its code. Rules of one shape share a lane as in the engine.
fn classifier(texts: &[&str]) -> (Plan, Emitted) {
    let mut lanes: Vec<Lane> = Vec::new();
    for text in texts {
        let space = flow::expr::parse(text).unwrap().to_space().unwrap();
        for rule in space.rules() {
            let rule = SplitRule::of(rule).unwrap();
            match lanes.iter_mut().find(|lane| lane.shape == rule.shape) {
                Some(lane) => {
                    let roles = lane.widened(&rule.values).unwrap();
                    *lane = Lane::new(rule.shape, roles, true);
                }
                None => lanes.push(Lane::single(&rule.shape, &rule.values)),
            }
        }
    }
    let plan = Plan::new(lanes, HashKey::new(99));
    let code = crate::dispatch::emit(&plan).unwrap();
    (plan, code)
}

fn implements(plan: &Plan, code: &Emitted) -> bool {
    super::dispatch::implements(plan, &code.bytes, (code.full, code.prefetch)).is_ok()
}

const MIXED: [&str; 10] = [
    "ip and tcp and src host 10.0.2.2 and src port 99 and dst host 10.0.2.17 and dst port 81",
    "ip and tcp and src host 10.9.2.7 and src port 98 and dst host 10.0.2.18 and dst port 82",
    "vlan 7 and ip and udp and dst port 53",
    "vlan 7 and ip and udp and dst port 54",
    "ip6 and udp and src host fe80::1 and dst portrange 50-60",
    "ip6 and udp and src host 2001:db8:9::8:7 and dst port 9",
    "ip6 and udp and src host fe80::2 and dst port 8",
    "ether proto 0x88b5 and ether[20:4] == 7",
    "ether proto 0x88b5 and ether[20:4] == 0x01020304",
    "greater 100",
];

#[test]
fn a_wrong_byte_in_the_classifier_is_refused_or_means_the_same() {
    let (plan, code) = classifier(&MIXED);
    let layouts = plan.layouts();
    assert!(layouts.contains(&Layout::Single) && layouts.contains(&Layout::Direct));
    assert!(layouts.contains(&Layout::Plain) && plan.has_wide(), "{layouts:?}");
    let (full, prefetch) = (code.full, code.prefetch);
    let accepts = |code: &[u8]| super::dispatch::implements(&plan, code, (full, prefetch)).is_ok();
    let count = mutate(&code.bytes, accepts);
    assert!(count.refused > 5_000 && count.accepted * 50 < count.refused, "{count:?}");
    for wrong in [0, prefetch - 1, prefetch + 1, code.bytes.len()] {
        assert!(super::dispatch::implements(&plan, &code.bytes, (full, wrong)).is_err());
        assert!(super::dispatch::implements(&plan, &code.bytes, (wrong, prefetch)).is_err());
    }
}

#[test]
fn a_classifier_is_only_its_own_plan_s() {
    let (plan, code) = classifier(&MIXED);
    let (other, _) = classifier(MIXED.get(..6).unwrap());
    assert!(implements(&plan, &code) && !implements(&other, &code));
    let rekeyed = Plan { key: HashKey::new(98), ..plan.clone() };
    assert!(!implements(&rekeyed, &code));
    for at in 0..plan.lanes.len() {
        let mut twisted = plan.clone();
        twisted.lanes[at].layout = match twisted.lanes[at].layout {
            Layout::Single => Layout::Plain,
            Layout::Plain => Layout::Direct,
            Layout::Direct => Layout::Plain,
            Layout::Wide { words } => Layout::Wide { words: words + 1 },
        };
        assert!(!implements(&twisted, &code), "lane {at}");
    }
}

#[test]
fn a_plan_that_loads_beyond_its_comparison_is_refused() {
    use crate::plan::{Block, Step};
    fn shortened(block: &mut Block) {
        for step in block {
            match step {
                Step::Length(least) => *least = 13,
                Step::Switch(_, cases) => cases.iter_mut().for_each(|(_, inner)| shortened(inner)),
                Step::Nested(inner) => shortened(inner),
                _ => {}
            }
        }
    }
    for texts in [&["arp"][..], &["udp and dst port 53"], &MIXED] {
        let (mut plan, _) = classifier(texts);
        shortened(&mut plan.graph);
        let code = crate::dispatch::emit(&plan).unwrap();
        assert!(!implements(&plan, &code), "{texts:?}");
    }
    let (mut plan, _) = classifier(&MIXED);
    let first = plan.graph.clone();
    plan.graph.extend(first);
    let code = crate::dispatch::emit(&plan).unwrap();
    assert!(!implements(&plan, &code), "a lane looked into twice may note too much");
}

#[test]
fn code_of_one_program_is_not_another_s() {
    let programs: Vec<_> = ["mov %r0, 1\nexit", "mov %r0, 2\nexit", "mov32 %r0, %r1\nexit"]
        .map(|text| ebpf::asm::program(ebpf::Kind::Filter, text).unwrap())
        .into();
    let loads = Premises::default();
    for (at, program) in programs.iter().enumerate() {
        let code = crate::compile::program(program, &loads).unwrap().bytes;
        for (other, wrong) in programs.iter().enumerate() {
            assert_eq!(super::accepts(wrong, &loads, &code), at == other);
        }
    }
}
