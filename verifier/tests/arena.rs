//! The proofs keep to the memory that `arena_bytes` says, also on programs made to need much.
//!
//! One test only: the allocator counts everything in this process.

mod common;

use std::fmt::Write;

use common::{Random, bind, claim_with, derive, program, run, space, verify_with};
use ebpf::{Kind, Program};
use flow::{ByteSet, Cell, Rule};
use peak_alloc::PeakAlloc;
use sluice_verifier::{
    Certificate, ClaimProof, GrantId, HashKey, Registry, arena_bytes, certificate_bytes,
    safety_bytes,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most that `work` had allocated at once.
fn peak(work: impl FnOnce()) -> usize {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    work();
    HEAP.peak_usage().saturating_sub(before)
}

const LOADS: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
    add %r4, 1200\n jgt %r4, %r3, out\n";

/// Every branch goes somewhere else, each with a stack full of values.
fn many_states(branches: usize) -> String {
    let mut text = String::new();
    for slot in 1..=64 {
        let _ = writeln!(text, "stxdw [%r10-{}], %r1", slot * 8);
    }
    let _ = writeln!(text, "mov %r6, %r1\ncall helper 5");
    for branch in 0..branches {
        let _ = writeln!(text, "jeq %r0, {branch}, l{branch}");
    }
    let _ = writeln!(text, "exit");
    for branch in 0..branches {
        let _ = writeln!(text, "l{branch}: mov %r0, 1\nexit");
    }
    text
}

/// The other way round: the short sides wait until the long one is done.
fn waiting_states(branches: usize) -> String {
    let mut text = String::new();
    for slot in 1..=64 {
        let _ = writeln!(text, "stdw [%r10-{}], {slot}", slot * 8);
    }
    let _ = writeln!(text, "call helper 5");
    for branch in 0..branches {
        let _ = writeln!(text, "jne %r0, {branch}, l{branch}\nmov %r0, 1\nexit\nl{branch}:");
    }
    let _ = writeln!(text, "exit");
    text
}

/// Diamonds whose sides leave different values behind: paths double with each.
fn many_nodes(diamonds: usize) -> String {
    let mut text = format!("{LOADS}mov %r8, 0\n");
    for diamond in 0..diamonds {
        let (at, bit) = (14 + diamond, 1u32 << (diamond % 31));
        let _ = writeln!(
            text,
            "ldxb %r5, [%r2+{at}]\njgt %r5, 7, l{diamond}\nor %r8, {bit}\nl{diamond}: mov %r9, 0"
        );
    }
    let _ = writeln!(text, "mov %r0, %r8\nout: exit");
    text
}

/// A different value in each instruction.
fn many_values(loads: usize) -> String {
    let mut text = LOADS.to_owned();
    for load in 0..loads {
        let at = load % 1190;
        let _ = writeln!(text, "ldxdw %r5, [%r2+{at}]\nadd %r5, {load}\njeq %r5, {load}, l{load}");
        let _ = writeln!(text, "mov %r0, 1\nl{load}: mov %r6, 0");
    }
    let _ = writeln!(text, "out: exit");
    text
}

fn programs() -> Vec<(String, Program)> {
    let mut programs = Vec::new();
    for size in [1, 10, 100, 500] {
        programs.push((format!("states {size}"), program(Kind::Ash, &many_states(size))));
        let waiting = program(Kind::Ash, &waiting_states(size));
        programs.push((format!("waiting {size}"), waiting));
        programs.push((format!("nodes {size}"), program(Kind::Filter, &many_nodes(size))));
        programs.push((format!("values {size}"), program(Kind::Filter, &many_values(size))));
    }
    programs.push(("waiting 1000".to_owned(), program(Kind::Ash, &waiting_states(1000))));
    programs.push(("states 1300".to_owned(), program(Kind::Ash, &many_states(1300))));
    let ports: Vec<String> = (0..30).map(|port| format!("dst port {}", port * 7)).collect();
    for text in
        ["udp and dst port 7", "not (udp or tcp)", &format!("udp and ({})", ports.join(" or "))]
    {
        programs.extend(flow::lower::lower(&space(text)).ok().map(|it| (text.to_owned(), it)));
    }
    let mut random = Random(0xa4e7_0001);
    for index in 0..200 {
        let length = 16 + random.below(400) as usize;
        let bytes = random.bytes(length);
        let program = ebpf::fuzzing::program_from_bytes(Kind::Filter, &bytes);
        programs.extend(program.map(|program| (format!("generated {index}"), program)));
    }
    programs
}

/// As the kernel claims: what meets a limit begins again. And with as many cases as there may be.
fn guards_and_certificates_fit() {
    for (name, program) in programs() {
        if program.kind() != Kind::Filter {
            continue;
        }
        let slots = program.len();
        let used = peak(|| {
            let Ok(verified) = verify_with(1_000, program) else { return };
            let mut proof = ClaimProof::guarding(verified, HashKey::PUBLIC);
            let _claim = run(1_000, |fuel| proof.step(fuel));
        });
        assert!(used <= arena_bytes(slots), "{name}, guarded: {used} > {}", arena_bytes(slots));
    }
    // A relation of two bytes, and 128 values of the one: as many rules, before they are too many.
    let body = "ldxb %r5, [%r2+20]\n and %r5, 127\n ldxb %r6, [%r2+21]\n jne %r5, %r6, out
        mov %r0, 1\nout: exit\n";
    let program = program(Kind::Filter, &format!("{LOADS}{body}"));
    let slots = program.len();
    let mut verdict = String::new();
    let used = peak(|| {
        let cases = (0..128u8)
            .filter_map(|value| Rule::any().with(Cell::frame(20), ByteSet::masked(value, 127)));
        let Ok(verified) = verify_with(1_000, program) else { return };
        let Ok(certificate) = Certificate::new(cases.collect()) else { return };
        let mut proof = ClaimProof::certified(verified, HashKey::PUBLIC, certificate);
        verdict = match run(1_000, |fuel| proof.step(fuel)) {
            Ok(claim) => format!("{} rules", claim.space().rules().len()),
            Err(refusal) => refusal.to_string(),
        };
    });
    let allowed = arena_bytes(slots) + certificate_bytes();
    println!("certificate: {used} of {allowed}: {verdict}");
    assert!(used <= allowed && verdict.contains("RULES_MAX"), "{used} > {allowed}: {verdict}");
}

#[test]
fn proofs_fit_their_arena() {
    assert!(arena_bytes(ebpf::limits::KERNEL_SLOTS) <= 8 << 20);
    for (name, program) in programs() {
        let (slots, kind) = (program.len(), program.kind());
        let mut verdict = String::new();
        let used = peak(|| {
            let program = program.clone();
            verdict = match kind {
                Kind::Filter => match claim_with(1_000, program) {
                    Ok(claim) => format!("{} rules", claim.space().rules().len()),
                    Err(refusal) => refusal.to_string(),
                },
                _ => match verify_with(1_000, program) {
                    Ok(_) => "safe".to_owned(),
                    Err(refusal) => refusal.to_string(),
                },
            };
        });
        let allowed = match kind {
            Kind::Filter => arena_bytes(slots),
            _ => safety_bytes(slots),
        };
        if !name.starts_with("generated") {
            println!("{slots:5} slots: {used:8} of {allowed:8}: {name}: {verdict}");
        }
        assert!(used <= allowed, "{name}: {used} > {allowed}: {verdict}");
    }
    guards_and_certificates_fit();
    // Placement under a grant of many rules.
    let mut registry = Registry::new();
    let wide = claim_with(u32::MAX, flow::lower::lower(&space("not tcp")).unwrap()).unwrap();
    let slots = wide.verified().program().len();
    let grant = derive(&mut registry, GrantId::ROOT, wide).unwrap();
    let narrow = flow::lower::lower(&space("not (tcp or udp)")).unwrap();
    let claim = claim_with(u32::MAX, narrow).unwrap();
    let used = peak(|| {
        let _bound = bind(&mut registry, grant, claim);
    });
    println!("placement: {used} of {}", arena_bytes(slots));
    assert!(used <= arena_bytes(slots));
}
