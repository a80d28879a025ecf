//! A flow handed over in two parts, and the answer to "why".

mod common;

use common::{Random, bind, claim_expr, derive, run};
use sluice_verifier::registry::Why;
use sluice_verifier::{
    BindingId, GrantId, HandedOver, Handover, Ownership, Party, Refusal, RefusalCode, Registry,
};

fn hand(
    registry: &Registry,
    old: BindingId,
    parts: [&str; 2],
    fuel: u32,
) -> Result<HandedOver, Refusal> {
    let mut proof = Handover::new(registry, old, parts.map(claim_expr))?;
    run(fuel, |fuel| proof.step(registry, fuel))
}

const WHOLE: &str = "ip and udp and dst portrange 100-199";
const LOW: &str = "ip and udp and dst portrange 100-149";
const HIGH: &str = "ip and udp and dst portrange 150-199";

#[test]
fn two_halves_take_the_place_of_the_whole() {
    let mut registry = Registry::new();
    let grant = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    let other = bind(&mut registry, grant, claim_expr("ip and udp and dst port 99")).unwrap();
    let old = bind(&mut registry, grant, claim_expr(WHOLE)).unwrap();
    let whole = claim_expr(WHOLE);
    let mut random = Random(0xa4d0_0001);
    let frames: Vec<Vec<u8>> = (0..300).filter_map(|_| random.near(whole.space())).collect();
    let before: Vec<bool> =
        frames.iter().map(|frame| registry.owner_of(frame) == Ownership::Bound(old)).collect();
    let handed = hand(&registry, old, [LOW, HIGH], 1).unwrap();
    let late = hand(&registry, old, [HIGH, LOW], u32::MAX).unwrap();
    let [low, high] = registry.hand_over(handed).unwrap();
    for (frame, was) in frames.iter().zip(before) {
        let owner = registry.owner_of(frame);
        let is = [low, high].map(Ownership::Bound).contains(&owner);
        assert!(is == was && registry.claimants(frame).len() <= 1, "{frame:02x?}");
    }
    assert_eq!(registry.hand_over(late).unwrap_err().code, RefusalCode::Stale);
    assert!(registry.binding(old).is_none() && registry.binding(other).is_some());
    // The index knows them: nobody can come between, and what they give back is free again.
    let taken = bind(&mut registry, grant, claim_expr("ip and udp and dst port 150")).unwrap_err();
    assert_eq!(taken.other, Some(Party::Binding(high)));
    assert!(registry.release(low).is_some() && registry.release(high).is_some());
    assert!(bind(&mut registry, grant, claim_expr(WHOLE)).is_ok());
}

#[test]
fn what_is_no_partition_is_refused_with_a_frame() {
    let mut registry = Registry::new();
    let old = bind(&mut registry, GrantId::ROOT, claim_expr(WHOLE)).unwrap();
    let cases = [
        // A gap, a frame in both, one from outside.
        ([LOW, "ip and udp and dst portrange 151-199"], RefusalCode::Overlap, true),
        ([LOW, "ip and udp and dst portrange 149-199"], RefusalCode::Overlap, false),
        ([LOW, "ip and udp and dst portrange 150-200"], RefusalCode::OutsideGrant, false),
    ];
    for (parts, code, left_over) in cases {
        let refusal = hand(&registry, old, parts, u32::MAX).unwrap_err();
        assert_eq!((refusal.code, refusal.other.is_some()), (code, left_over), "{parts:?}");
        let frame = refusal.witness.unwrap();
        let held = parts.map(|part| claim_expr(part).space().contains(&frame));
        let whole = claim_expr(WHOLE).space().contains(&frame);
        let shows = match (code, left_over) {
            (RefusalCode::OutsideGrant, _) => !whole && held != [false, false],
            (_, true) => whole && held == [false, false],
            (_, false) => held == [true, true],
        };
        assert!(shows, "{parts:?} {frame:02x?}");
    }
    assert!(registry.binding(old).is_some());
}

#[test]
fn why_names_owner_chain_rule_and_tests() {
    let mut registry = Registry::new();
    let udp = derive(&mut registry, GrantId::ROOT, claim_expr("udp and ip")).unwrap();
    let low = derive(&mut registry, udp, claim_expr(WHOLE)).unwrap();
    let seven = bind(&mut registry, low, claim_expr("ip and udp and dst port 107")).unwrap();
    let frame = |text: &str| claim_expr(text).space().witness().unwrap().unwrap();
    let Why { ownership, grants, binding } = registry.why(&frame("ip and udp and dst port 107"));
    assert_eq!(ownership, Ownership::Bound(seven));
    let chain: Vec<Party> = grants.iter().map(|asked| asked.party).collect();
    assert_eq!(chain, [Party::Grant(udp), Party::Grant(low)]);
    assert!(grants.iter().all(|asked| asked.accepted && asked.failures() == 0));
    let binding = binding.unwrap();
    assert!(binding.accepted && binding.tests.iter().all(|test| test.passed));
    // Port 108 (0x6c) is in the grant, and nobody's; byte 37 says so.
    let why = registry.why(&frame("ip[0] == 0x45 and udp dst port 108"));
    assert_eq!(why.ownership, Ownership::Unbound(low));
    let closest = why.binding.clone().unwrap();
    assert_eq!((closest.party, closest.failures()), (Party::Binding(seven), 1));
    let failed = closest.tests.iter().find(|test| !test.passed).unwrap();
    assert_eq!(failed.found, Some((37, 108)));
    let text = why.to_string();
    assert!(text.contains("unbound under grant") && text.contains("byte 37 is 6c"), "{text}");
    // Nobody at all.
    let why = registry.why(&[0; 20]);
    assert_eq!((why.ownership, why.binding), (Ownership::Unbound(GrantId::ROOT), None));
}

#[test]
fn a_refusal_says_both_claims_and_both_programs() {
    let mut registry = Registry::new();
    let grant = derive(&mut registry, GrantId::ROOT, claim_expr("ip and udp")).unwrap();
    bind(&mut registry, grant, claim_expr(LOW)).unwrap();
    let claim = claim_expr(WHOLE);
    let refusal = bind(&mut registry, grant, claim.clone()).unwrap_err();
    let told = registry.accusation(grant, &claim, &refusal);
    let space = |text: &str| common::space(text);
    assert!(space(&told.ours).subset_of(claim.space()).is_ok());
    assert!(space(told.theirs.as_deref().unwrap()).subset_of(&space(LOW)).is_ok());
    let (frame, ours, theirs) = told.frame.clone().unwrap();
    assert!(frame.contains("UDP") && ours && theirs == Some(true), "{told}");
    let tcp = claim_expr("ip and tcp and dst port 7");
    let refusal = bind(&mut registry, grant, tcp.clone()).unwrap_err();
    let told = registry.accusation(grant, &tcp, &refusal).to_string();
    assert!(told.contains("this program accepts it, the other rejects it"), "{told}");
}
