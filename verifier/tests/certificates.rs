//! Certificates: true ones make a filter exact, all others are refused and prove nothing.

mod common;

use common::{Random, agrees, bind, claim_expr, derive, program, run, verify};
use ebpf::{Kind, Program};
use flow::{ByteSet, Cell, HeaderBase, LengthRange, Rule};
use sluice_verifier::{
    Certificate, Claim, ClaimProof, GrantId, HashKey, Refusal, RefusalCode, Registry,
    UndecidedReason,
};

const LOAD: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
    add %r4, 60\n jgt %r4, %r3, out\n";

/// A small number equals another byte.
const SAME: &str = "ldxb %r5, [%r2+20]\n jgt %r5, 3, out\n ldxb %r6, [%r2+21]
    jne %r5, %r6, out\n mov %r0, 1";

fn filter(body: &str) -> Program {
    program(Kind::Filter, &format!("{LOAD}{body}\nout: exit\n"))
}

fn certified(fuel: u32, program: &Program, cases: Vec<Rule>) -> Result<Claim, Refusal> {
    let verified = verify(program.clone())?;
    let certificate = Certificate::new(cases)?;
    let mut proof = ClaimProof::certified(verified, HashKey::PUBLIC, certificate);
    run(fuel, |fuel| proof.step(fuel))
}

fn byte(offset: u16, value: u8, mask: u8) -> Rule {
    Rule::any().with(Cell::frame(offset), ByteSet::masked(value, mask)).unwrap_or(Rule::any())
}

/// Every value that a byte has under a mask.
fn all(offset: u16, mask: u8) -> Vec<Rule> {
    (0..=255).filter(|value| value & !mask == 0).map(|value| byte(offset, value, mask)).collect()
}

fn reason(refusal: &Refusal) -> Option<UndecidedReason> {
    match refusal.code {
        RefusalCode::Undecided(reason) => Some(reason),
        _ => None,
    }
}

#[test]
fn true_cases_make_a_filter_exact() {
    let three = |rule: &Rule| rule.with(Cell::frame(20), ByteSet::masked(3, 3)).unwrap();
    let length = |low, high| Rule::any().with_length(LengthRange::new(low, high).unwrap()).unwrap();
    let cases = [
        (SAME, all(20, 0xff)[..4].to_vec()),
        // More than is needed, and twice.
        (SAME, [all(20, 0xff)[..6].to_vec(), all(20, 0xff)[..2].to_vec()].concat()),
        (SAME, all(20, 0xff)[..4].iter().rev().cloned().collect()),
        (
            "ldxb %r5, [%r2+20]\n and %r5, 7\n mul %r5, 13\n jne %r5, 39, out\n mov %r0, 1",
            all(20, 7),
        ),
        // A product of two bytes: one is enough where it is a power of two.
        (
            "ldxb %r5, [%r2+20]\n and %r5, 3\n ldxb %r6, [%r2+21]\n and %r6, 15\n mul %r5, %r6
             jset %r5, 4, yes\n exit\nyes: mov %r0, 1",
            [all(20, 3)[..3].to_vec(), all(21, 15).iter().map(three).collect()].concat(),
        ),
        // A byte behind a header of variable length.
        (
            "ldxb %r5, [%r2+14]\n and %r5, 15\n lsh %r5, 2\n mov %r6, %r2\n add %r6, %r5
             mov %r7, %r6\n add %r7, 18\n jgt %r7, %r3, out\n ldxb %r5, [%r6+16]\n and %r5, 1
             ldxb %r6, [%r6+17]\n add %r5, %r6\n jgt %r5, 9, out\n mov %r0, 1",
            (0..2)
                .map(|bit| {
                    let cell = Cell::header(HeaderBase::ipv4_payload(14), 2);
                    Rule::any().with(cell, ByteSet::masked(bit, 1)).unwrap()
                })
                .collect(),
        ),
        // Decided without.
        ("ldxb %r5, [%r2+20]\n jne %r5, 3, out\n mov %r0, 1", vec![length(14, 14)]),
    ];
    let mut random = Random(0xce27_0001);
    for (body, cases) in cases {
        let program = filter(body);
        let claim = certified(u32::MAX, &program, cases.clone());
        let claim = claim.unwrap_or_else(|refusal| panic!("{refusal}\n{body}"));
        assert!(claim.is_exact());
        agrees(&claim, &mut random, 3_000);
        for fuel in [1, 300] {
            let again = certified(fuel, &program, cases.clone()).unwrap();
            assert_eq!(again.space(), claim.space(), "{body}");
        }
    }
}

#[test]
fn false_cases_are_refused_with_what_is_wrong() {
    let program = filter(SAME);
    // Nothing for 2.
    let missing = vec![byte(20, 0, 0xff), byte(20, 1, 0xff), byte(20, 3, 0xff)];
    let refusal = certified(u32::MAX, &program, missing).unwrap_err();
    assert_eq!(reason(&refusal), Some(UndecidedReason::Uncovered));
    assert_eq!(refusal.witness.as_deref().map(|frame| frame[20]), Some(2));
    // No case at all.
    let refusal = certified(u32::MAX, &program, Vec::new()).unwrap_err();
    assert_eq!(reason(&refusal), Some(UndecidedReason::Uncovered));
    // Only short frames.
    let lengths = LengthRange::new(14, 1521).unwrap();
    let short = all(20, 3).iter().map(|rule| rule.with_length(lengths).unwrap()).collect();
    let refusal = certified(u32::MAX, &program, short).unwrap_err();
    assert_eq!(refusal.witness.as_deref().map(<[u8]>::len), Some(1522));
    // Everything is covered, and nothing decided.
    for cases in [vec![Rule::any()], all(22, 0x0f), vec![byte(20, 0, 0xfe), byte(20, 2, 0xfe)]] {
        let refusal = certified(u32::MAX, &program, cases).unwrap_err();
        assert_eq!((reason(&refusal), refusal.pc), (Some(UndecidedReason::Relation), Some(9)));
        assert_eq!(refusal.detail.as_deref(), Some("in case 0 of the certificate"));
    }
    // A slot of which a part is loaded: no case says what is there.
    let mixed = filter(
        "ldxb %r5, [%r2+20]\n and %r5, 1\n stxdw [%r10-8], %r5\n ldxb %r6, [%r10-8]
         jne %r6, 1, out\n mov %r0, 1",
    );
    let refusal = certified(u32::MAX, &mixed, all(20, 1)).unwrap_err();
    assert_eq!(reason(&refusal), Some(UndecidedReason::Stack));
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let name = |refusal: Refusal| refusal.limit.map(|limit| limit.name);
    let many = vec![Rule::any(); 129];
    assert_eq!(name(Certificate::new(many).unwrap_err()), Some("CERTIFICATE_CASES_MAX"));
    let wide =
        (20..60).try_fold(Rule::any(), |rule, at| rule.with(Cell::frame(at), ByteSet::exact(1)));
    let refusal = Certificate::new(vec![wide.unwrap()]).unwrap_err();
    assert_eq!(name(refusal), Some("CERTIFICATE_TESTS_MAX"));
    let guards = (0..4).try_fold(Rule::any(), |rule, at| {
        let base = HeaderBase { at: 14 + at, mask: 15, shift: 2, add: 0 };
        rule.with(Cell::header(base, 40), ByteSet::exact(1))
    });
    let refusal = Certificate::new(vec![guards.unwrap()]).unwrap_err();
    assert_eq!(name(refusal), Some("GUARDS_MAX"));
    // Each case is decided, and all together are more rules than a claim may have.
    let program = filter(
        "ldxb %r5, [%r2+20]\n jgt %r5, 99, out\n ldxb %r6, [%r2+21]\n jne %r5, %r6, out
         mov %r0, 1",
    );
    let refusal = certified(u32::MAX, &program, all(20, 0xff)[..100].to_vec()).unwrap_err();
    assert_eq!(name(refusal), Some("RULES_MAX"));
}

/// Whatever is sent along, what is claimed is what the program accepts.
#[test]
fn hostile_cases_prove_nothing_that_is_not_so() {
    let mut random = Random(0xce27_0002);
    let (mut claimed, mut by_cases, mut refused) = (0, 0, 0);
    for number in 0..1_500 {
        let program = match number % 3 {
            0 => filter(SAME),
            1 => filter(
                "ldxb %r5, [%r2+20]\n and %r5, 3\n ldxb %r6, [%r2+21]\n and %r6, 3
                 add %r5, %r6\n jne %r5, 2, out\n mov %r0, 1",
            ),
            _ => {
                let bytes = random.bytes(60);
                match ebpf::fuzzing::program_from_bytes(Kind::Filter, &bytes) {
                    Some(program) => program,
                    None => continue,
                }
            }
        };
        let mut cases = match random.below(3) {
            0 => all(20, [1, 3, 7][random.below(3) as usize]),
            1 => all(20, 0xff)[..4].to_vec(),
            _ => all(21, 3),
        };
        for _ in 0..random.below(4) {
            let at = random.below(cases.len() as u64) as usize;
            match random.below(3) {
                0 if cases.len() > 1 => _ = cases.remove(at),
                1 => {
                    let cell = Cell::frame(18 + random.below(8) as u16);
                    let set = ByteSet::masked(random.below(4) as u8, random.below(256) as u8);
                    cases[at] = cases[at].with(cell, set).unwrap_or(Rule::any());
                }
                _ => cases.push(byte(12 + random.below(20) as u16, random.below(4) as u8, 0x0f)),
            }
        }
        match certified(u32::MAX, &program, cases) {
            Ok(claim) => {
                claimed += 1;
                by_cases += usize::from(common::claim(program).is_err());
                agrees(&claim, &mut random, 60);
            }
            Err(_) => refused += 1,
        }
    }
    println!("{claimed} claimed, {by_cases} of them by their cases, {refused} refused");
    assert!(claimed > 150 && by_cases > 50 && refused > 150, "{claimed} {by_cases} {refused}");
}

/// A certified claim is one like any other: a grant can be made of it, and neighbours be told apart
/// that a guard could not.
#[test]
fn certified_claims_are_placed_like_others() {
    let mut registry = Registry::new();
    let certified = |body: &str, cases| certified(u32::MAX, &filter(body), cases).unwrap();
    let same = certified(SAME, all(20, 0xff)[..4].to_vec());
    let id = bind(&mut registry, GrantId::ROOT, same.clone()).unwrap();
    let beside = "ldxb %r5, [%r2+20]\n jgt %r5, 3, out\n ldxb %r6, [%r2+21]\n jeq %r5, %r6, out
        mov %r0, 1";
    bind(&mut registry, GrantId::ROOT, certified(beside, all(20, 0xff)[..4].to_vec())).unwrap();
    let both = "ether[20] == 2 and ether[21] == 2";
    let refusal = bind(&mut registry, GrantId::ROOT, claim_expr(both)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Overlap);
    registry.release(id);
    let grant = derive(&mut registry, GrantId::ROOT, same).unwrap();
    bind(&mut registry, grant, claim_expr(&format!("greater 60 and {both}"))).unwrap();
}
