//! Connections carved from their listener, rollbacks of exchanges, and the quota of rules.

mod common;

use common::{Random, bind, claim_expr, derive, run};
use sluice_verifier::{
    BindingId, Derivation, GrantId, Handover, HashKey, Limits, Ownership, Party, Placed,
    PlacedGrant, Refusal, RefusalCode, Registry, Transmit,
};

const LISTENER: &str = "ip and tcp and dst host 10.0.2.15 and dst port 80";

fn connection(from: &str, port: u16) -> String {
    format!(
        "ip and tcp and src host {from} and src port {port} and dst host 10.0.2.15 and dst port 80"
    )
}

fn proof(registry: &Registry, from: BindingId, text: &str) -> Result<PlacedGrant, Refusal> {
    let transmit = Transmit::Space(flow::Space::all());
    let mut proof = Derivation::carve(registry, from, claim_expr(text), transmit)?;
    run(3, |fuel| proof.step(registry, fuel))
}

/// The grant, and the one binding that is all of it.
fn carve(
    registry: &mut Registry,
    from: BindingId,
    text: &str,
) -> Result<(GrantId, BindingId), Refusal> {
    let placed = proof(registry, from, text)?;
    let grant = registry.adopt(placed)?;
    let all = Placed::all_of(registry, grant)?;
    Ok((grant, registry.own(all)?.commit()))
}

#[test]
fn a_connection_is_carved_from_its_listener_and_falls_back_to_it() {
    let mut registry = Registry::new();
    let listener = bind(&mut registry, GrantId::ROOT, claim_expr(LISTENER)).unwrap();
    // Without the listener's word it is refused.
    let refusal = derive(&mut registry, GrantId::ROOT, claim_expr(&connection("10.0.2.99", 5000)));
    assert_eq!(refusal.unwrap_err().code, RefusalCode::Overlap);
    let (grant, first) = carve(&mut registry, listener, &connection("10.0.2.99", 5000)).unwrap();
    let (_, second) = carve(&mut registry, listener, &connection("10.0.2.99", 5001)).unwrap();
    let mut random = Random(0xca4e_0001);
    let (whole, part) = (claim_expr(LISTENER), claim_expr(&connection("10.0.2.99", 5000)));
    let mut seen = [0; 3];
    for _ in 0..600 {
        let space = if random.below(2) == 0 { whole.space() } else { part.space() };
        let Some(frame) = random.near(space) else { continue };
        assert!(registry.claimants(&frame).len() <= 1, "{frame:02x?}");
        let owner = registry.owner_of(&frame);
        if part.space().contains(&frame) {
            assert_eq!(owner, Ownership::Bound(first), "{frame:02x?}");
            seen[0] += 1;
        } else if whole.space().contains(&frame) {
            assert!([listener, second].map(Ownership::Bound).contains(&owner), "{frame:02x?}");
            seen[1] += 1;
        } else {
            assert_eq!(owner, Ownership::Unbound(GrantId::ROOT), "{frame:02x?}");
            seen[2] += 1;
        }
    }
    assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    // When the connection ends, its frames are the listener's again.
    registry.revoke(grant);
    let frame = part.space().rules()[0].witness().unwrap().unwrap();
    assert_eq!(registry.owner_of(&frame), Ownership::Bound(listener));
}

#[test]
fn what_is_not_the_listeners_or_carved_already_is_refused_with_a_frame() {
    let mut registry = Registry::new();
    let listener = bind(&mut registry, GrantId::ROOT, claim_expr(LISTENER)).unwrap();
    let other = "ip and tcp and dst host 10.0.2.15 and dst port 81";
    let neighbour = bind(&mut registry, GrantId::ROOT, claim_expr(other)).unwrap();
    let (first, _) = carve(&mut registry, listener, &connection("10.0.2.99", 5000)).unwrap();
    let outside = carve(&mut registry, listener, other).unwrap_err();
    assert_eq!(outside.code, RefusalCode::OutsideGrant);
    let frame = outside.witness.unwrap();
    assert_eq!(registry.owner_of(&frame), Ownership::Bound(neighbour));
    // The same connection twice; and one that holds it.
    let net = format!("{LISTENER} and src net 10.0.2.0/24");
    for text in [connection("10.0.2.99", 5000), net] {
        let taken = carve(&mut registry, listener, &text).unwrap_err();
        assert_eq!((taken.code, taken.other), (RefusalCode::Overlap, Some(Party::Grant(first))));
        assert!(claim_expr(&text).space().contains(&taken.witness.unwrap()));
    }
    assert_eq!(registry.counts(), (2, 3));
}

#[test]
fn two_carvings_race_and_the_listener_may_go_meanwhile() {
    let mut registry = Registry::new();
    let listener = bind(&mut registry, GrantId::ROOT, claim_expr(LISTENER)).unwrap();
    let text = connection("10.0.2.99", 5000);
    let twice = [0; 2].map(|_| proof(&registry, listener, &text).unwrap());
    let late = proof(&registry, listener, &connection("10.0.2.99", 5001)).unwrap();
    let [first, second] = twice.map(|placed| registry.adopt(placed));
    let refusal = second.unwrap_err();
    assert_eq!(refusal.other, Some(Party::Grant(first.unwrap())));
    registry.release(listener);
    assert_eq!(registry.adopt(late).unwrap_err().code, RefusalCode::Stale);
    let gone = proof(&registry, listener, &text).unwrap_err();
    assert_eq!(gone.code, RefusalCode::Stale);
}

#[test]
fn only_an_empty_grant_is_bound_whole() {
    let mut registry = Registry::new();
    assert_eq!(Placed::all_of(&registry, GrantId::ROOT).unwrap_err().code, RefusalCode::Stale);
    let grant = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    let kept = Placed::all_of(&registry, grant).unwrap();
    let all = Placed::all_of(&registry, grant).unwrap();
    let id = registry.own(all).unwrap().commit();
    assert_eq!(Placed::all_of(&registry, grant).unwrap_err().code, RefusalCode::Stale);
    // One that was made before is compared with what came in since.
    let refusal = registry.own(kept).unwrap_err();
    assert_eq!((refusal.code, refusal.other), (RefusalCode::Overlap, Some(Party::Binding(id))));
}

#[test]
fn an_exchange_that_is_not_committed_leaves_no_trace() {
    let whole = "ip and udp and dst portrange 100-199";
    let parts = ["ip and udp and dst portrange 100-149", "ip and udp and dst portrange 150-199"];
    let mut registry = Registry::new();
    let grant = derive(&mut registry, GrantId::ROOT, claim_expr("udp")).unwrap();
    let old = bind(&mut registry, grant, claim_expr(whole)).unwrap();
    let rules = registry.rules_under(grant);
    let hand = |registry: &Registry| {
        let mut proof = Handover::new(registry, old, parts.map(claim_expr)).unwrap();
        run(u32::MAX, |fuel| proof.step(registry, fuel)).unwrap()
    };
    let handed = hand(&registry);
    let exchange = registry.exchange(handed).unwrap();
    assert_eq!((exchange.old(), exchange.grant(), exchange.depth()), (old, grant, 1));
    let provisional = exchange.bindings();
    drop(exchange);
    assert!(registry.binding(old).is_some());
    assert!(provisional.iter().all(|&id| registry.binding(id).is_none()));
    assert_eq!((registry.counts(), registry.rules_under(grant)), ((2, 1), rules));
    let handed = hand(&registry);
    let [low, high] = registry.exchange(handed).unwrap().commit();
    assert!(registry.binding(old).is_none());
    assert!(registry.binding(low).is_some() && registry.binding(high).is_some());
}

#[test]
fn rules_are_counted_per_subtree_and_come_back() {
    let limits = Limits { rules: 40, ..Limits::KERNEL };
    let mut registry = Registry::with(limits, HashKey::PUBLIC);
    let port = |n: u16| claim_expr(&format!("ip and udp and dst port {n}"));
    let ours = derive(&mut registry, GrantId::ROOT, claim_expr("ip and udp")).unwrap();
    let theirs = derive(&mut registry, GrantId::ROOT, claim_expr("ip and tcp")).unwrap();
    assert_eq!(registry.rules_under(GrantId::ROOT), None);
    assert_eq!(registry.rules_under(ours), Some(0));
    let nested = claim_expr("ip and udp and dst portrange 100-109");
    let nested = derive(&mut registry, ours, nested).unwrap();
    let of_nested = registry.rules_under(ours).unwrap();
    // Nesting brings nothing: what is below counts for the same subtree.
    let mut held: Vec<BindingId> =
        (100..110).map(|n| bind(&mut registry, nested, port(n)).unwrap()).collect();
    assert_eq!(registry.rules_under(nested), registry.rules_under(ours));
    let refusal = (200..300).find_map(|n| match bind(&mut registry, ours, port(n)) {
        Ok(id) => {
            held.push(id);
            None
        }
        Err(refusal) => Some(refusal),
    });
    assert_eq!(refusal.unwrap().limit.unwrap().name, "RULES_PER_GRANT");
    let used = registry.rules_under(ours).unwrap();
    assert!(used <= 40 && used > 35, "{used}");
    assert!(derive(&mut registry, ours, port(9)).is_err());
    // Another tenant does not notice, nor does the root.
    let web = claim_expr("ip and tcp and dst port 80");
    bind(&mut registry, theirs, web).unwrap();
    bind(&mut registry, GrantId::ROOT, claim_expr("arp")).unwrap();
    let each = (used - of_nested) / held.len();
    registry.release(held.pop().unwrap());
    assert_eq!(registry.rules_under(ours), Some(used - each));
    registry.revoke(nested);
    assert_eq!(registry.rules_under(ours), Some(used - each * 11 - of_nested));
    for id in held.drain(10..) {
        registry.release(id);
    }
    assert_eq!(registry.rules_under(ours), Some(0));
}
