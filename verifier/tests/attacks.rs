//! The attack packets and pairs that the literature's filters admit
//! (`docs/soundness.md`; Engler & Kaashoek, SIGCOMM'96; Xok's `dpf_lib`): under one grant each
//! overlapping pair is refused with a frame that both programs accept, in both orders, and no frame
//! ever has two owners.

mod common;

use common::{Random, bind, claim, claim_expr, claim_text, derive, program, verify};
use ebpf::Kind;
use sluice_verifier::{Claim, GrantId, Ownership, Party, RefusalCode, Registry, UnsafeReason};

/// Loads `data` and `data_end`, asks for `length` bytes, leaves 0 in `r0`.
fn filter(length: u32, body: &str) -> Claim {
    claim_text(&format!(
        "ldxw %r2, [%r1+0]
         ldxw %r3, [%r1+4]
         mov %r0, 0
         mov %r4, %r2
         add %r4, {length}
         jgt %r4, %r3, out
         {body}
         mov %r0, 1
         out: exit"
    ))
}

/// IPv4, UDP, destination port at a fixed place, header length not asked.
fn fixed_port(port: u16) -> Claim {
    let port = port.swap_bytes();
    filter(
        42,
        &format!(
            "ldxh %r5, [%r2+12]\n jne %r5, 8, out\n ldxb %r5, [%r2+23]\n jne %r5, 17, out
             ldxh %r5, [%r2+36]\n jne %r5, {port}, out"
        ),
    )
}

/// IPv4, UDP, destination port behind the header, however long it is.
fn variable_port(port: u16) -> Claim {
    let port = port.swap_bytes();
    filter(
        34,
        &format!(
            "ldxh %r5, [%r2+12]\n jne %r5, 8, out\n ldxb %r5, [%r2+23]\n jne %r5, 17, out
             ldxb %r5, [%r2+14]\n and %r5, 15\n lsh %r5, 2\n mov %r6, %r2\n add %r6, %r5
             mov %r7, %r6\n add %r7, 18\n jgt %r7, %r3, out
             ldxh %r5, [%r6+16]\n jne %r5, {port}, out"
        ),
    )
}

fn overlap(first: &Claim, second: &Claim) -> Vec<u8> {
    let mut registry = Registry::new();
    let Ok(owner) = bind(&mut registry, GrantId::ROOT, first.clone()) else {
        panic!("the first is refused");
    };
    let Err(refusal) = bind(&mut registry, GrantId::ROOT, second.clone()) else {
        panic!("the second is bound");
    };
    assert_eq!(refusal.code, RefusalCode::Overlap);
    assert_eq!(refusal.other, Some(Party::Binding(owner)));
    let Some(witness) = refusal.witness else { panic!("an overlap without a witness") };
    for claim in [first, second] {
        assert_eq!(ebpf::interp::accepts(claim.verified().program(), &witness), Ok(true));
    }
    assert_eq!(registry.owner_of(&witness), Ownership::Bound(owner));
    assert_eq!(registry.claimants(&witness).len(), 1);
    witness
}

/// Refused in both orders, each time with a witness.
fn collide(a: &Claim, b: &Claim) -> Vec<u8> {
    let _other_order = overlap(b, a);
    overlap(a, b)
}

#[test]
fn ip_options_do_not_steal() {
    let witness = collide(&fixed_port(80), &variable_port(53));
    assert_ne!(witness[14] & 15, 5, "only options make the two places differ");
    // Filters that ask for the same place are apart, and so are honest ones.
    let mut registry = Registry::new();
    assert!(bind(&mut registry, GrantId::ROOT, variable_port(80)).is_ok());
    assert!(bind(&mut registry, GrantId::ROOT, variable_port(53)).is_ok());
    let mut registry = Registry::new();
    assert!(bind(&mut registry, GrantId::ROOT, claim_expr("udp and dst port 80")).is_ok());
    assert!(bind(&mut registry, GrantId::ROOT, claim_expr("udp and dst port 53")).is_ok());
}

#[test]
fn fragments_do_not_mimic_ports() {
    // A filter that does not ask for the fragment offset takes fragments whose payload looks like
    // ports; under a grant of first fragments it is outside.
    let mut registry = Registry::new();
    let port = claim_expr("udp and dst port 80");
    let child = derive(&mut registry, GrantId::ROOT, port).unwrap();
    let refusal = bind(&mut registry, child, variable_port(80)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OutsideGrant);
    let witness = refusal.witness.unwrap();
    assert!(!registry.grant(child).unwrap().receive().contains(&witness));
    assert_eq!(ebpf::interp::accepts(variable_port(80).verified().program(), &witness), Ok(true));
    // And it overlaps with whoever took fragments.
    let fragments = claim_expr("ip and ip[6:2] & 0x1fff != 0");
    let witness = collide(&fragments, &variable_port(80));
    assert_ne!(u16::from_be_bytes([witness[20], witness[21]]) & 0x1fff, 0);
}

#[test]
fn masks_are_compared_by_meaning() {
    let exact = filter(34, "ldxb %r5, [%r2+23]\n jne %r5, 17, out");
    let masked = filter(34, "ldxb %r5, [%r2+23]\n and %r5, 15\n jne %r5, 1, out");
    assert_eq!(collide(&exact, &masked)[23], 17);
}

#[test]
fn widths_are_compared_by_meaning() {
    let wide = filter(38, "ldxh %r5, [%r2+36]\n jne %r5, 0x5000, out");
    let narrow = filter(38, "ldxb %r5, [%r2+36]\n jne %r5, 0, out");
    assert_eq!(collide(&wide, &narrow)[36..38], [0, 80]);
    // Different fields altogether.
    let protocol = filter(34, "ldxb %r5, [%r2+23]\n jne %r5, 17, out");
    let witness = collide(&wide, &protocol);
    assert_eq!((witness[23], &witness[36..38]), (17, &[0, 80][..]));
}

#[test]
fn tags_do_not_hide_offsets() {
    // A filter with fixed offsets that forgets the ethertype takes tagged frames too.
    let careless = filter(42, "ldxb %r5, [%r2+23]\n jne %r5, 17, out");
    let tagged = claim_expr("vlan 7 and udp and dst port 9");
    collide(&careless, &tagged);
    let mut registry = Registry::new();
    assert!(bind(&mut registry, GrantId::ROOT, claim_expr("udp and dst port 9")).is_ok());
    assert!(bind(&mut registry, GrantId::ROOT, tagged).is_ok());
}

#[test]
fn a_short_packet_is_not_read_beyond_its_end() {
    // Asks for one byte, reads four: Xok's load_lhs.
    let text = "
        ldxw %r2, [%r1+0]
        ldxw %r3, [%r1+4]
        mov %r0, 0
        mov %r4, %r2
        add %r4, 37
        jgt %r4, %r3, out
        ldxw %r0, [%r2+36]
        out: exit
    ";
    let refusal = verify(program(Kind::Filter, text)).unwrap_err();
    let end = 40;
    let reason = UnsafeReason::PacketOutOfBounds { reg: ebpf::Reg::R2, end };
    assert_eq!((refusal.code, refusal.pc), (RefusalCode::Unsafe(reason), Some(6)));
    assert!(refusal.to_string().contains("compare r2 + 40 with data_end"), "{refusal}");
}

#[test]
fn the_order_of_insertion_decides_nothing() {
    // All orders of three filters, two of which overlap: one of the two is refused, whichever
    // comes second, and every frame has the owner that the set says.
    let claims = [
        filter(34, "ldxb %r5, [%r2+23]\n jne %r5, 17, out"),
        filter(34, "ldxb %r5, [%r2+23]\n and %r5, 15\n jne %r5, 1, out"),
        filter(34, "ldxb %r5, [%r2+23]\n jne %r5, 6, out"),
    ];
    let mut random = Random(0xa77a_0007);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut registry = Registry::new();
        let bound: Vec<_> = order
            .iter()
            .filter_map(|&index| {
                let claim: Claim = claims[index].clone();
                bind(&mut registry, GrantId::ROOT, claim).ok().map(|id| (index, id))
            })
            .collect();
        assert_eq!(bound.len(), 2);
        for _ in 0..500 {
            let frame = random.frame();
            let expected = bound.iter().find(|(index, _)| claims[*index].space().contains(&frame));
            let owner = match expected {
                Some(&(_, id)) => Ownership::Bound(id),
                None => Ownership::Unbound(GrantId::ROOT),
            };
            assert_eq!(registry.owner_of(&frame), owner);
            assert!(registry.claimants(&frame).len() <= 1);
        }
    }
}

#[test]
fn a_transmit_space_does_not_leave_the_parents() {
    use sluice_verifier::{Derivation, Part, Transmit};
    // Port 5000 asks to send as port 53.
    let mut registry = Registry::new();
    let parent = {
        let transmit = Transmit::Claim(claim_expr("udp and src port 5000"));
        let receive = claim_expr("udp and dst portrange 5000-5999");
        let mut proof = Derivation::new(&registry, GrantId::ROOT, receive, transmit).unwrap();
        let placed = common::run(1, |fuel| proof.step(&registry, fuel)).unwrap();
        registry.adopt(placed).unwrap()
    };
    for transmit in [
        Transmit::Claim(claim_expr("udp and src port 53")),
        Transmit::Space(common::space("udp and src port 53")),
        Transmit::Space(flow::Space::all()),
    ] {
        let receive = claim_expr("udp and dst port 5000");
        let mut proof = Derivation::new(&registry, parent, receive, transmit).unwrap();
        let refusal = common::run(1, |fuel| proof.step(&registry, fuel)).unwrap_err();
        assert_eq!((refusal.code, refusal.part), (RefusalCode::OutsideGrant, Part::Transmit));
        let witness = refusal.witness.unwrap();
        assert!(!registry.grant(parent).unwrap().transmit().contains(&witness));
    }
}

#[test]
fn the_same_filter_twice_a_superset_and_a_wildcard_are_refused() {
    let victim = claim_expr("udp and dst port 7");
    collide(&victim, &victim);
    collide(&victim, &claim_expr("udp"));
    collide(&victim, &claim_text("mov %r0, 1\nexit"));
    // What accepts nothing may be bound, and owns nothing.
    let mut registry = Registry::new();
    bind(&mut registry, GrantId::ROOT, victim).unwrap();
    let nothing = claim(program(Kind::Filter, "mov %r0, 0\nexit")).unwrap();
    assert!(nothing.space().is_empty());
    assert!(bind(&mut registry, GrantId::ROOT, nothing).is_ok());
}
