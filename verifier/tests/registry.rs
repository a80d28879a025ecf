//! The grant tree: carving, revocation, stale proofs, and that nobody ever owns a frame twice.

mod common;

use common::{Random, bind, claim, claim_expr, derive, program, run};
use ebpf::Kind;
use sluice_verifier::{
    BindingId, Claim, Derivation, GrantId, Ownership, Part, Party, Placement, RefusalCode,
    Registry, Transmit, limits,
};

fn udp(port: u16) -> Claim {
    claim_expr(&format!("udp and dst port {port}"))
}

fn frame(port: u16) -> Vec<u8> {
    let witness = udp(port).space().witness().ok().flatten();
    witness.unwrap_or_else(|| panic!("port {port} has a frame"))
}

#[test]
fn a_childs_space_is_taken_from_the_parent() {
    let mut registry = Registry::new();
    let range =
        derive(&mut registry, GrantId::ROOT, claim_expr("udp and dst portrange 1-99")).unwrap();
    let child = derive(&mut registry, range, udp(7)).unwrap();
    // The parent's binding may claim what was carved out; it does not get it.
    let all = bind(&mut registry, range, claim_expr("udp and dst portrange 1-99")).unwrap();
    assert_eq!(registry.owner_of(&frame(8)), Ownership::Bound(all));
    assert_eq!(registry.owner_of(&frame(7)), Ownership::Unbound(child));
    let seven = bind(&mut registry, child, udp(7)).unwrap();
    assert_eq!(registry.owner_of(&frame(7)), Ownership::Bound(seven));
    assert_eq!(registry.claimants(&frame(7)), [seven]);
    // Never handed back to the parent while the grant is there.
    assert!(registry.release(seven).is_some());
    assert_eq!(registry.owner_of(&frame(7)), Ownership::Unbound(child));
    registry.revoke(child);
    assert_eq!(registry.owner_of(&frame(7)), Ownership::Bound(all));
    assert_eq!(registry.grant(range).unwrap().depth(), 1);
    assert_eq!(registry.grant(range).unwrap().parent(), Some(GrantId::ROOT));
}

#[test]
fn siblings_and_older_bindings_are_not_carved() {
    let mut registry = Registry::new();
    let first = derive(&mut registry, GrantId::ROOT, udp(7)).unwrap();
    let refusal = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap_err();
    assert_eq!((refusal.code, refusal.other), (RefusalCode::Overlap, Some(Party::Grant(first))));
    let witness = refusal.witness.unwrap();
    assert!(udp(7).space().contains(&witness));
    let bound = bind(&mut registry, GrantId::ROOT, udp(9)).unwrap();
    let refusal = derive(&mut registry, GrantId::ROOT, udp(9)).unwrap_err();
    assert_eq!((refusal.code, refusal.other), (RefusalCode::Overlap, Some(Party::Binding(bound))));
    assert!(derive(&mut registry, GrantId::ROOT, udp(10)).is_ok());
}

#[test]
fn what_is_outside_the_grant_is_refused_with_a_witness() {
    let mut registry = Registry::new();
    let grant = derive(&mut registry, GrantId::ROOT, udp(7)).unwrap();
    let refusal = bind(&mut registry, grant, claim_expr("udp and dst portrange 7-8")).unwrap_err();
    assert_eq!((refusal.code, refusal.part), (RefusalCode::OutsideGrant, Part::Receive));
    assert!(udp(8).space().contains(&refusal.witness.unwrap()));
    let refusal = derive(&mut registry, grant, udp(8)).unwrap_err();
    assert_eq!((refusal.code, refusal.part), (RefusalCode::OutsideGrant, Part::Receive));
}

#[test]
fn revocation_takes_the_whole_subtree() {
    let mut registry = Registry::new();
    let top = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    let middle = derive(&mut registry, top, claim_expr("udp and dst portrange 1-99")).unwrap();
    let leaf = derive(&mut registry, middle, udp(7)).unwrap();
    let other = derive(&mut registry, GrantId::ROOT, claim_expr("tcp")).unwrap();
    let bindings: Vec<BindingId> = [
        bind(&mut registry, top, udp(100)),
        bind(&mut registry, middle, udp(8)),
        bind(&mut registry, leaf, udp(7)),
    ]
    .map(Result::unwrap)
    .into();
    let stays = bind(&mut registry, other, claim_expr("tcp and dst port 80")).unwrap();
    let mut revoked = registry.revoke(top);
    revoked.bindings.sort_unstable();
    assert_eq!(revoked.bindings, bindings);
    assert_eq!(revoked.grants, [top, middle, leaf]);
    for id in bindings {
        assert!(registry.binding(id).is_none() && registry.release(id).is_none());
    }
    for id in [top, middle, leaf] {
        assert!(registry.grant(id).is_none());
        assert_eq!(registry.revoke(id), Default::default());
    }
    assert!(registry.binding(stays).is_some());
    assert_eq!(registry.grant(GrantId::ROOT).unwrap().children(), [other]);
    assert_eq!(registry.owner_of(&frame(7)), Ownership::Unbound(GrantId::ROOT));
    // The slots are used again under other names.
    let again = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    assert!(![top, middle, leaf].contains(&again));
    // Revoking the root leaves the root.
    let all = registry.revoke(GrantId::ROOT);
    assert_eq!((all.grants.len(), all.bindings.len()), (2, 1));
    assert_eq!(registry.counts(), (1, 0));
    assert!(registry.grant(GrantId::ROOT).is_some());
}

#[test]
fn own_compares_with_what_came_in_meanwhile() {
    let mut registry = Registry::new();
    let place = |registry: &Registry, claim: Claim| {
        let mut proof = Placement::bind(registry, GrantId::ROOT, claim).unwrap();
        run(u32::MAX, |fuel| proof.step(registry, fuel)).unwrap()
    };
    // Two uploads race; both proofs finish, one commit wins.
    let (first, second) = (place(&registry, udp(7)), place(&registry, claim_expr("udp")));
    let harmless = place(&registry, udp(9));
    let winner = registry.own(first).unwrap().commit();
    let refusal = registry.own(second).unwrap_err();
    assert_eq!((refusal.code, refusal.other), (RefusalCode::Overlap, Some(Party::Binding(winner))));
    assert!(registry.own(harmless).is_ok(), "dropped: rolled back");
    assert_eq!(registry.counts(), (1, 1));
    // Too many to compare in one go.
    let late = place(&registry, udp(10));
    for port in 0..=limits::RECHECK_MAX as u16 {
        bind(&mut registry, GrantId::ROOT, udp(100 + port)).unwrap();
    }
    let refusal = registry.own(late).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Stale);
    assert_eq!(refusal.limit.unwrap().name, "RECHECK_MAX");
    // What left meanwhile is no obstacle.
    let (gone, late) = (place(&registry, udp(20)), place(&registry, udp(20)));
    let id = registry.own(gone).unwrap().commit();
    registry.release(id);
    assert!(registry.own(late).is_ok());
}

#[test]
fn a_proof_under_way_sees_changes() {
    let mut registry = Registry::new();
    let grant = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    for port in 0..20 {
        bind(&mut registry, grant, udp(port)).unwrap();
    }
    let mut proof = Placement::bind(&registry, grant, udp(500)).unwrap();
    for _ in 0..10 {
        assert!(proof.step(&registry, &mut sluice_verifier::Fuel(1)).is_pending());
    }
    // An overlap that comes in while the proof is under way is found by the proof itself.
    let late = bind(&mut registry, grant, udp(500)).unwrap();
    let refusal = run(1, |fuel| proof.step(&registry, fuel)).unwrap_err();
    assert_eq!((refusal.code, refusal.other), (RefusalCode::Overlap, Some(Party::Binding(late))));
    // A grant that goes away ends it.
    let mut proof = Placement::bind(&registry, grant, udp(501)).unwrap();
    assert!(proof.step(&registry, &mut sluice_verifier::Fuel(1)).is_pending());
    registry.revoke(grant);
    let refusal = run(1, |fuel| proof.step(&registry, fuel)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Stale);
    let refusal = run(1, |fuel| proof.step(&registry, fuel)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Finished);
    assert_eq!(
        Placement::bind(&registry, grant, udp(501)).map(|_| ()).unwrap_err().code,
        RefusalCode::Stale
    );
}

#[test]
fn proofs_of_one_registry_mean_nothing_in_another() {
    let (mut one, mut other) = (Registry::new(), Registry::new());
    let mut proof = Placement::bind(&one, GrantId::ROOT, udp(7)).unwrap();
    let placed = run(u32::MAX, |fuel| proof.step(&one, fuel)).unwrap();
    bind(&mut other, GrantId::ROOT, claim_expr("udp")).unwrap();
    assert_eq!(other.own(placed).map(|_| ()).unwrap_err().code, RefusalCode::Stale);
    let transmit = Transmit::Space(flow::Space::all());
    let mut proof = Derivation::new(&one, GrantId::ROOT, udp(7), transmit).unwrap();
    let placed = run(u32::MAX, |fuel| proof.step(&one, fuel)).unwrap();
    assert_eq!(other.adopt(placed).unwrap_err().code, RefusalCode::Stale);
    assert!(bind(&mut one, GrantId::ROOT, udp(7)).is_ok());
}

#[test]
fn what_is_not_committed_is_rolled_back() {
    let mut registry = Registry::new();
    let mut proof = Placement::bind(&registry, GrantId::ROOT, udp(7)).unwrap();
    let placed = run(u32::MAX, |fuel| proof.step(&registry, fuel)).unwrap();
    let owned = registry.own(placed).unwrap();
    let id = owned.binding();
    assert_eq!((owned.grant(), owned.depth()), (GrantId::ROOT, 0));
    assert_eq!(owned.claim().space().rules().len(), udp(7).space().rules().len());
    drop(owned);
    assert!(registry.binding(id).is_none());
    assert_eq!(registry.grant(GrantId::ROOT).unwrap().bindings(), 0);
    assert_eq!(registry.bindings_under(GrantId::ROOT).count(), 0);
    let id = bind(&mut registry, GrantId::ROOT, udp(7)).unwrap();
    let claim = registry.release(id).unwrap();
    assert!(claim.space().contains(&frame(7)));
}

#[test]
fn grants_do_not_nest_without_end() {
    let mut registry = Registry::new();
    let mut grant = GrantId::ROOT;
    for depth in 0..limits::DEPTH_MAX {
        assert_eq!(registry.grant(grant).unwrap().depth() as usize, depth);
        grant = derive(&mut registry, grant, udp(7)).unwrap();
    }
    let refusal = derive(&mut registry, grant, udp(7)).unwrap_err();
    assert_eq!(refusal.limit.unwrap().name, "DEPTH_MAX");
}

#[test]
fn an_ash_has_no_claim() {
    let refusal = claim(program(Kind::Ash, "mov %r0, 1\nexit")).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotAFilter);
}

#[test]
fn nobody_ever_owns_a_frame_twice() {
    let mut random = Random(0x0e90_0001);
    let texts = [
        "udp",
        "tcp",
        "ip",
        "arp",
        "udp and dst port 7",
        "udp and dst portrange 1-99",
        "port 53",
        "dst host 10.0.0.1",
        "tcp and dst port 80",
        "less 60",
        "vlan 3",
        "icmp",
        "not ip",
        "udp and dst port 9",
        "src net 10.0.0.0/8",
        "ip6",
        "udp and greater 100",
    ];
    for _ in 0..12 {
        let mut registry = Registry::new();
        let mut grants = vec![GrantId::ROOT];
        let mut bindings = Vec::new();
        for _ in 0..40 {
            let text = texts[random.below(texts.len() as u64) as usize];
            let grant = grants[random.below(grants.len() as u64) as usize];
            match random.below(10) {
                0..=4 => bindings.extend(bind(&mut registry, grant, claim_expr(text))),
                5..=7 => grants.extend(derive(&mut registry, grant, claim_expr(text))),
                8 if !bindings.is_empty() => {
                    let at = random.below(bindings.len() as u64) as usize;
                    registry.release(bindings.swap_remove(at));
                }
                9 if grants.len() > 1 && random.below(3) == 0 => {
                    let revoked = registry.revoke(grants[grants.len() - 1]);
                    grants.retain(|id| !revoked.grants.contains(id));
                    bindings.retain(|id| !revoked.bindings.contains(id));
                }
                _ => {}
            }
        }
        for _ in 0..300 {
            let frame = random.frame();
            let claimants = registry.claimants(&frame);
            assert!(claimants.len() <= 1, "{claimants:?} {frame:02x?}");
            match registry.owner_of(&frame) {
                Ownership::Bound(id) => assert_eq!(claimants, [id]),
                Ownership::Unbound(_) => assert!(claimants.is_empty()),
            }
        }
    }
}
