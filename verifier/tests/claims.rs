//! Claims are exact: what is extracted equals what was lowered, and what the program does.

mod common;

use common::{Random, agrees, claim, claim_expr, claim_text, claim_with, program, space};
use ebpf::Kind;
use sluice_verifier::UndecidedReason::{Arithmetic, Context, Relation, Stack, VariableOffset};

const EXPRESSIONS: &[&str] = &[
    "ip",
    "arp",
    "ip6",
    "udp",
    "tcp",
    "icmp",
    "udp and dst port 53",
    "tcp and dst port 80 and dst host 10.0.2.15",
    "udp and src port 68 and dst port 67",
    "port 53",
    "tcp and portrange 1000-2000",
    "udp and dst portrange 1023-1025",
    "dst net 10.1.0.0/16",
    "net 192.168.4.0/22 and not host 192.168.5.1",
    "src host 10.0.0.1 and dst host 10.0.0.2 and udp and src port 1 and dst port 2",
    "ip6 and udp and dst port 5353",
    "ether dst 52:54:00:12:34:56",
    "ether proto 0x88b5",
    "vlan 7 and udp and dst port 9",
    "ip[6:2] & 0x1fff = 0",
    "greater 100 and less 200",
    "less 60",
    "not ip",
    "not (udp or tcp)",
    "ip and not udp",
    "arp or (icmp and dst host 10.0.2.15)",
    "udp and (dst port 7 or dst port 9 or dst port 7777 or dst port 80 or dst portrange 100-299)",
];

#[test]
fn what_is_lowered_is_read_back() {
    let mut random = Random(0xc1a1_0001);
    for text in EXPRESSIONS {
        let (claim, wanted) = (claim_expr(text), space(text));
        assert_eq!(claim.space().subset_of(&wanted), Ok(()), "{text}: too much");
        assert_eq!(wanted.subset_of(claim.space()), Ok(()), "{text}: too little");
        let (few, many) = (wanted.simplify().rules().len(), claim.space().rules().len());
        println!("{few} -> {many}: {text}");
        assert!(many <= few.max(1) * 2, "{text}: {few} rules became {many}");
        agrees(&claim, &mut random, 300);
    }
}

#[test]
fn generated_filters_do_what_their_claims_say() {
    let mut random = Random(0xc1a1_0002);
    let (mut claimed, mut safe, mut other) = (0, 0, std::collections::BTreeMap::new());
    for _ in 0..3_000 {
        let length = 16 + random.below(80) as usize;
        let bytes = random.bytes(length);
        let Some(program) = ebpf::fuzzing::program_from_bytes(Kind::Filter, &bytes) else {
            continue;
        };
        match claim(program) {
            Ok(claim) => {
                claimed += 1;
                agrees(&claim, &mut random, 30);
            }
            Err(refusal) => {
                safe +=
                    usize::from(!matches!(refusal.code, sluice_verifier::RefusalCode::Unsafe(_)));
                *other.entry(format!("{:?}", refusal.code)).or_insert(0) += 1;
            }
        }
    }
    println!("{claimed} claimed, {safe} safe and undecided: {other:#?}");
    assert!(claimed > 100, "only {claimed} claimed, {safe} undecided");
}

#[test]
fn results_that_are_numbers_and_tricks_of_compilers_are_exact() {
    const LOAD: &str = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        mov %r0, 0
        mov %r4, %r2
        add %r4, 40
        jgt %r4, %r3, out
    ";
    let bodies = [
        // The result is a bit of the frame.
        "ldxb %r0, [%r2+20]\n and %r0, 4",
        // Between by subtraction and an unsigned comparison.
        "ldxb %r5, [%r2+23]\n add32 %r5, -6\n and %r5, 0xff\n jgt %r5, 11, out\n mov %r0, 1",
        "ldxh %r5, [%r2+36]\n be16 %r5\n sub32 %r5, 1000\n jlt32 %r5, 500, yes
         exit\nyes: mov %r0, 1",
        "ldxw %r5, [%r2+30]\n jset %r5, 0xf0, yes\n exit\nyes: mov %r0, 1",
        "ldxw %r5, [%r2+30]\n be32 %r5\n jsgt32 %r5, -5, yes\n exit\nyes: mov %r0, 1",
        "ldxw %r5, [%r2+30]\n lsh %r5, 32\n arsh %r5, 32\n jsle %r5, 77, yes
         exit\nyes: mov %r0, 1",
        "ldxsh %r5, [%r2+16]\n jslt %r5, -300, yes\n exit\nyes: mov %r0, 1",
        // A little-endian comparison orders bytes the other way.
        "ldxh %r5, [%r2+16]\n jle %r5, 0x1234, yes\n exit\nyes: mov %r0, 1",
        // From two bytes by hand.
        "ldxb %r5, [%r2+36]\n ldxb %r6, [%r2+37]\n lsh %r5, 8\n or %r5, %r6\n jeq %r5, 53, yes
         exit\nyes: mov %r0, 1",
        "ldxb %r5, [%r2+36]\n ldxb %r6, [%r2+37]\n lsh %r5, 8\n add %r5, %r6
         jge %r5, 5000, yes\n exit\nyes: mov %r0, 1",
        // A constant minus a field; a negated one; an inverted one.
        "ldxb %r5, [%r2+22]\n mov %r6, 100\n sub %r6, %r5\n jsgt %r6, 40, yes
         exit\nyes: mov %r0, 1",
        "ldxb %r5, [%r2+22]\n neg %r5\n jgt32 %r5, -9, yes\n exit\nyes: mov %r0, 1",
        "ldxb %r5, [%r2+22]\n xor %r5, -1\n and %r5, 0xff\n jge %r5, 200, yes
         exit\nyes: mov %r0, 1",
        // The same byte twice, also contradictory.
        "ldxb %r5, [%r2+22]\n ldxh %r6, [%r2+21]\n jgt %r5, 9, out\n rsh %r6, 8
         jlt %r6, 5, out\n mov %r0, 1",
        "ldxb %r5, [%r2+22]\n jgt %r5, 9, out\n jlt %r5, 10, out\n mov %r0, 1",
        // The length as a number.
        "mov %r5, %r3\n sub %r5, %r2\n jgt %r5, 99, out\n mov %r0, 1",
        "mov %r5, %r3\n sub %r5, %r2\n add32 %r5, -60\n jlt32 %r5, 40, yes\n exit\nyes: mov %r0, 1",
        "mov %r5, %r3\n sub %r5, %r2\n jne %r5, 77, out\n mov %r0, 1",
        "mov %r0, %r3\n sub %r0, %r2\n sub %r0, 90",
        // Behind the IPv4 header.
        "ldxb %r5, [%r2+14]\n and %r5, 15\n lsh %r5, 2\n mov %r6, %r2\n add %r6, %r5
         mov %r7, %r6\n
         add %r7, 18\n jgt %r7, %r3, out\n ldxh %r8, [%r6+16]\n jne %r8, 0x3500, out\n mov %r0, 1",
        "ldxb %r5, [%r2+14]\n lsh %r5, 2\n and %r5, 0x3c\n mov %r6, %r2\n add %r6, 14
         add %r6, %r5\n
         mov %r7, %r6\n add %r7, 4\n jle %r7, %r3, go
         mov %r0, 1\n exit\ngo: ldxh %r8, [%r6+2]\n be16 %r8\n
         jgt %r8, 1023, out\n mov %r0, 1",
        // A value through the stack.
        "ldxb %r5, [%r2+23]\n stxdw [%r10-8], %r5\n mov %r5, 0\n ldxdw %r6, [%r10-8]
         jne %r6, 17, out\n mov %r0, 1",
    ];
    let mut random = Random(0xc1a1_0003);
    for body in bodies {
        let claim = claim_text(&format!("{LOAD}{body}\nout: exit\n"));
        agrees(&claim, &mut random, 2_000);
    }
}

/// Sums whose bits are asked for, lengths of which bits are, and addresses behind two lengths.
#[test]
fn carries_lengths_and_two_headers_are_exact() {
    const LOAD: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
        add %r4, 60\n jgt %r4, %r3, out\n";
    let bodies = [
        // A sum, masked; shifted; of which bits are asked; in another byte order; added to again.
        "ldxb %r5, [%r2+20]\n add %r5, 3\n and %r5, 0xf0\n jne %r5, 0x40, out\n mov %r0, 1",
        "ldxh %r5, [%r2+20]\n be16 %r5\n add %r5, 1000\n rsh %r5, 5\n jne %r5, 40, out
         mov %r0, 1",
        "ldxw %r5, [%r2+20]\n be32 %r5\n sub32 %r5, 77777\n jset %r5, 0x10080, yes
         exit\nyes: mov %r0, 1",
        "ldxh %r5, [%r2+20]\n add %r5, 255\n be16 %r5\n jgt %r5, 0x1234, out\n mov %r0, 1",
        "ldxb %r5, [%r2+20]\n add %r5, 200\n and %r5, 0xff\n xor %r5, 0x55\n add %r5, 7
         and %r5, 0x3e\n jne %r5, 0x12, out\n mov %r0, 1",
        "ldxw %r5, [%r2+20]\n neg32 %r5\n and %r5, 0xff00\n jeq %r5, 0x1200, out\n mov %r0, 1",
        "ldxh %r5, [%r2+20]\n be16 %r5\n add32 %r5, -5\n lsh32 %r5, 16\n arsh32 %r5, 20
         jslt32 %r5, -7, out\n mov %r0, 1",
        "ldxb %r5, [%r2+20]\n ldxb %r6, [%r2+21]\n lsh %r5, 8\n or %r5, %r6\n add %r5, 0x101
         xor %r5, 0x8001\n jset %r5, 0x8101, out\n mov %r0, 1",
        // The length: bits of it, shifted, subtracted from a constant.
        "mov %r5, %r3\n sub %r5, %r2\n jset %r5, 0x240, out\n mov %r0, 1",
        "mov %r5, %r3\n sub %r5, %r2\n rsh %r5, 6\n jne %r5, 2, out\n mov %r0, 1",
        "mov %r5, %r3\n sub %r5, %r2\n mov %r6, 200\n sub %r6, %r5\n jslt %r6, 20, out
         mov %r0, 1",
        "mov %r5, %r3\n sub %r5, %r2\n sub %r5, 54\n and %r5, 0x180\n jeq %r5, 0x80, out
         mov %r0, 1",
        // TCP's payload: behind two headers of variable length.
        "ldxb %r5, [%r2+14]\n and %r5, 15\n lsh %r5, 2\n mov %r6, %r2\n add %r6, %r5
         mov %r7, %r6\n add %r7, 34\n jgt %r7, %r3, out\n ldxb %r8, [%r6+26]\n rsh %r8, 4
         lsh %r8, 2\n add %r6, %r8\n mov %r7, %r6\n add %r7, 16\n jgt %r7, %r3, out
         ldxh %r9, [%r6+14]\n jne %r9, 0x4547, out\n mov %r0, 1",
        // The same with what a compiler makes of it, and only the lengths that may be.
        "ldxb %r5, [%r2+14]\n mov %r8, %r5\n and %r8, 15\n jlt %r8, 5, out\n lsh %r5, 2
         and %r5, 0x3c\n mov %r6, %r2\n add %r6, %r5\n mov %r7, %r6\n add %r7, 34
         jgt %r7, %r3, out\n ldxb %r8, [%r6+26]\n rsh %r8, 2\n and %r8, 0x3c\n jlt %r8, 20, out
         add %r6, 14\n add %r6, %r8\n mov %r7, %r6\n add %r7, 4\n jgt %r7, %r3, out
         ldxw %r9, [%r6+0]\n jne32 %r9, 0x20544547, out\n mov %r0, 1",
        // IPv6 with an extension header.
        "ldxb %r5, [%r2+20]\n jne %r5, 0, out\n ldxb %r5, [%r2+54]\n jne %r5, 17, out
         ldxb %r5, [%r2+55]\n add %r5, 1\n lsh %r5, 3\n mov %r6, %r2\n add %r6, 54
         add %r6, %r5\n mov %r7, %r6\n add %r7, 4\n jgt %r7, %r3, out\n ldxh %r8, [%r6+2]
         jne %r8, 0x3500, out\n mov %r0, 1",
        // Two of them, the first of at most 64 bytes.
        "ldxb %r5, [%r2+55]\n and %r5, 7\n lsh %r5, 3\n mov %r6, %r2\n add %r6, %r5
         mov %r7, %r6\n add %r7, 64\n jgt %r7, %r3, out\n ldxb %r5, [%r6+63]\n add %r5, 1
         lsh %r5, 3\n add %r6, %r5\n mov %r7, %r6\n add %r7, 66\n jgt %r7, %r3, out
         ldxh %r8, [%r6+64]\n jne %r8, 0x3500, out\n mov %r0, 1",
        // A length whose bits are the wrong way round.
        "ldxb %r5, [%r2+14]\n xor %r5, 15\n and %r5, 15\n mov %r6, %r2\n add %r6, %r5
         mov %r7, %r6\n add %r7, 34\n jgt %r7, %r3, out\n ldxb %r8, [%r6+30]\n jne %r8, 9, out
         mov %r0, 1",
    ];
    let mut random = Random(0xc1a1_0005);
    for body in bodies {
        let claim = claim_text(&format!("{LOAD}{body}\nout: exit\n"));
        println!("{} rules", claim.space().rules().len());
        agrees(&claim, &mut random, 2_000);
        assert_eq!(claim.space().check(), Ok(()));
    }
}

#[test]
fn the_claim_does_not_depend_on_the_steps() {
    for text in EXPRESSIONS {
        let program = flow::lower::lower(&space(text)).unwrap();
        let whole = claim(program.clone()).unwrap();
        for fuel in [1, 7, 1_000] {
            let steps = claim_with(fuel, program.clone()).unwrap();
            assert_eq!(steps.space(), whole.space(), "{text}");
        }
    }
}

#[test]
fn what_cannot_be_decided_is_refused_with_its_reason() {
    const LOAD: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
        add %r4, 60\n jgt %r4, %r3, out\n";
    let cases = [
        ("ldxb %r5, [%r2+1]\n ldxb %r6, [%r2+2]\n jeq %r5, %r6, out", Relation, 8),
        ("ldxb %r5, [%r2+1]\n ldxb %r6, [%r2+2]\n add %r5, %r6\n jeq %r5, 9, out", Arithmetic, 8),
        ("ldxb %r5, [%r2+1]\n mul %r5, 3\n jeq %r5, 9, out", Arithmetic, 7),
        ("ldxb %r5, [%r2+1]\n mod %r5, 10\n jeq %r5, 9, out", Arithmetic, 7),
        (
            "ldxh %r5, [%r2+1]\n add %r2, %r5\n mov %r4, %r2\n add %r4, 1\n jgt %r4, %r3, out",
            VariableOffset,
            7,
        ),
        ("ldxw %r5, [%r1+12]\n jeq %r5, 1, out", Context, 6),
        (
            "ldxw %r5, [%r2+1]\n stxdw [%r10-8], %r5\n ldxb %r6, [%r10-8]\n jeq %r6, 1, out",
            Stack,
            8,
        ),
        ("mov %r5, %r3\n sub %r5, %r2\n mul %r5, %r5\n jeq %r5, 2, out", Arithmetic, 8),
    ];
    for (body, reason, pc) in cases {
        let text = format!("{LOAD}{body}\nmov %r0, 1\nout: exit\n");
        let refusal = claim(program(Kind::Filter, &text)).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.pc),
            (sluice_verifier::RefusalCode::Undecided(reason), Some(pc)),
            "{body}"
        );
        assert!(refusal.to_string().lines().count() <= 2);
    }
}

#[test]
fn what_does_not_matter_may_be_undecidable() {
    let claim = claim_text(
        "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2\n add %r4, 60
         jgt %r4, %r3, out\n ldxb %r5, [%r2+1]\n ldxb %r6, [%r2+2]\n mul %r5, %r6
         stxdw [%r10-8], %r5\n mov %r0, 1\n out: exit",
    );
    assert_eq!(claim.space().rules().len(), 1);
}

/// The safety proof knows from the branch that `r5` is 8; the extraction does not, and must not
/// take the store for one that did not happen.
#[test]
fn a_store_to_an_unknown_place_on_the_stack_overwrites_what_is_there() {
    let load = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2\n add %r4, 60
        jgt %r4, %r3, out\n stdw [%r10-8], 1\n ldxb %r5, [%r2+1]\n jne %r5, 8, out
        mov %r4, %r10\n sub %r4, %r5\n";
    let body = "stdw [%r4+0], 0\n ldxdw %r0, [%r10-8]\nout: exit";
    let refusal = claim(program(Kind::Filter, &format!("{load}{body}"))).unwrap_err();
    assert_eq!(refusal.code, sluice_verifier::RefusalCode::Undecided(Stack));
    // Where nothing is read afterwards, nothing is lost.
    let claim = claim_text(&format!("{load}stdw [%r4+0], 0\n mov %r0, 1\nout: exit"));
    agrees(&claim, &mut Random(0xc1a1_0004), 2_000);
}

#[test]
fn a_comparison_that_asks_too_much_is_refused_before_it_is_built() {
    const LOAD: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
        add %r4, 100\n jgt %r4, %r3, out\n";
    // Whether the length is odd: 755 runs of lengths. A number of 64 bytes' bits.
    let odd = "mov %r5, %r3\n sub %r5, %r2\n and %r5, 1\n jne %r5, 1, out\n".to_owned();
    let mut scattered = "mov %r6, 0\n".to_owned();
    for bit in 0..64 {
        let at = 14 + bit;
        scattered += &format!("ldxb %r5, [%r2+{at}]\n and %r5, 1\n lsh %r5, {bit}\n or %r6, %r5\n");
    }
    scattered += "lddw %r7, 0x123456789abcdef0\n jgt %r6, %r7, out\n";
    for body in [odd, scattered] {
        let text = format!("{LOAD}{body}mov %r0, 1\nout: exit");
        let refusal = claim(program(Kind::Filter, &text)).unwrap_err();
        let limit = refusal.limit.map(|limit| limit.name);
        assert_eq!(limit, Some("CONDITION_RULES_MAX"), "{refusal}");
        assert!(refusal.pc.is_some());
    }
}

fn guard(program: &ebpf::Program) -> sluice_verifier::Claim {
    let verified = common::verify(program.clone()).unwrap_or_else(|refusal| panic!("{refusal}"));
    let mut proof =
        sluice_verifier::ClaimProof::guarding(verified, sluice_verifier::HashKey::new(1, 1));
    common::run(7, |fuel| proof.step(fuel)).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Where a limit is met a guard goes on with less detail, and says which limit and where; its claim
/// is around what the program accepts, and not everything.
#[test]
fn a_limit_makes_a_guard_coarse_and_is_named() {
    const LOAD: &str = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2
        add %r4, 100\n jgt %r4, %r3, out\n ldxb %r5, [%r2+12]\n jne %r5, 8, out\n";
    let odd = "mov %r5, %r3\n sub %r5, %r2\n jset %r5, 1, yes\n exit\nyes: mov %r0, 1".to_owned();
    let is_odd = "mov %r0, %r3\n sub %r0, %r2\n and %r0, 1".to_owned();
    // Hundreds of different pairs of bytes.
    let mut pairs = String::new();
    for number in 0..200 {
        pairs += &format!(
            "ldxb %r5, [%r2+{}]\n jne %r5, {number}, no{number}\n ldxb %r5, [%r2+{}]
             jeq %r5, {number}, yes\nno{number}:\n",
            20 + number % 30,
            50 + number % 31
        );
    }
    pairs += "exit\nyes: mov %r0, 1";
    // Two extension headers, of any length.
    let chain = "ldxb %r5, [%r2+55]\n add %r5, 1\n lsh %r5, 3\n mov %r6, %r2\n add %r6, %r5
         mov %r7, %r6\n add %r7, 56\n jgt %r7, %r3, out\n ldxb %r5, [%r6+55]\n add %r5, 1
         lsh %r5, 3\n add %r6, %r5\n mov %r7, %r6\n add %r7, 66\n jgt %r7, %r3, out
         ldxh %r8, [%r6+64]\n jne %r8, 0x3500, out\n mov %r0, 1";
    let cases = [
        (odd, Some("CONDITION_RULES_MAX"), Some(10)),
        (is_odd, Some("CONDITION_RULES_MAX"), Some(11)),
        (pairs, Some("RULES_MAX"), None),
        (chain.to_owned(), None, Some(19)),
    ];
    let mut random = Random(0xc1a1_0006);
    for (body, limit, pc) in cases {
        let program = program(Kind::Filter, &format!("{LOAD}{body}\nout: exit\n"));
        let claim = guard(&program);
        let doubt = claim.doubt().unwrap();
        assert_eq!(doubt.limit.map(|limit| limit.name), limit, "{body}");
        assert_eq!(doubt.pc, pc.unwrap_or(doubt.pc), "{body}");
        assert!(!claim.space().contains(&[0; 200]), "{body}");
        let mut accepted = 0;
        for _ in 0..3_000 {
            let Some(mut frame) = random.near(claim.space()) else { continue };
            if random.below(2) == 0 {
                let number = random.below(200) as usize;
                for (at, byte) in
                    [(20 + number % 30, number), (50 + number % 31, number), (81, 0x35)]
                {
                    if let Some(there) = frame.get_mut(at) {
                        *there = byte as u8;
                    }
                }
            }
            let accepts = ebpf::interp::accepts(&program, &frame).unwrap();
            assert!(claim.space().contains(&frame) || !accepts, "{body}\n{frame:02x?}");
            accepted += usize::from(accepts);
        }
        assert!(accepted > 100, "{body}: {accepted}");
    }
}

/// A guard claims no less than the program accepts, names what it could not decide, is owned only
/// where all of it may be, and is no grant.
#[test]
fn what_cannot_be_decided_is_guarded() {
    use sluice_verifier::{
        ClaimProof, Derivation, GrantId, HashKey, RefusalCode, Registry, Transmit,
    };
    let same_ports = "ldxh %r5, [%r2+12]\n jne %r5, 8, out\n ldxb %r5, [%r2+23]\n jne %r5, 17, out
        ldxh %r5, [%r2+34]\n ldxh %r6, [%r2+36]\n jne %r5, %r6, out";
    let load = "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2\n add %r4, 42
        jgt %r4, %r3, out\n";
    let text = format!("{load}{same_ports}\nmov %r0, 1\nout: exit\n");
    let program = program(Kind::Filter, &text);
    let guard = || {
        let verified = common::verify(program.clone()).unwrap();
        let mut proof = ClaimProof::guarding(verified, HashKey::new(1, 1));
        common::run(7, |fuel| proof.step(fuel)).unwrap()
    };
    let claim = guard();
    let doubt = claim.doubt().unwrap();
    assert_eq!((doubt.reason, claim.is_exact()), (Relation, false));
    let mut random = Random(0x9a4d);
    let (mut accepted, mut more) = (0, 0);
    for _ in 0..3000 {
        let Some(mut frame) = random.near(claim.space()) else { continue };
        if random.below(2) == 0 && frame.len() > 38 {
            frame.copy_within(34..36, 36);
        }
        let inside = claim.space().contains(&frame);
        let accepts = ebpf::interp::accepts(&program, &frame).unwrap();
        assert!(inside || !accepts, "{frame:02x?}");
        accepted += usize::from(accepts);
        more += usize::from(inside && !accepts);
    }
    assert!(accepted > 100 && more > 10, "{accepted} {more}");
    let mut registry = Registry::new();
    let udp =
        common::derive(&mut registry, GrantId::ROOT, claim_expr("ip and ip proto 17")).unwrap();
    let id = common::bind(&mut registry, udp, guard()).unwrap();
    // Somebody else's port: no frame that both accept was found, so nobody is accused.
    let other = claim_expr("ip[0] == 0x45 and udp src port 1 and dst port 2");
    let refusal = common::bind(&mut registry, udp, other).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Undecided(sluice_verifier::UndecidedReason::Unconfirmed));
    registry.release(id);
    let port = common::derive(&mut registry, udp, claim_expr("ip and udp and dst port 9")).unwrap();
    let refusal = common::bind(&mut registry, port, guard()).unwrap_err();
    assert!(
        refusal.code == RefusalCode::OutsideGrant
            || (refusal.code, refusal.pc) == (RefusalCode::Undecided(Relation), Some(doubt.pc)),
        "{refusal}"
    );
    let transmit = Transmit::Space(flow::Space::all());
    let refusal = Derivation::new(&registry, udp, guard(), transmit).unwrap_err();
    assert_eq!((refusal.code, refusal.pc), (RefusalCode::Undecided(Relation), Some(doubt.pc)));
}
