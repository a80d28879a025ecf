//! The index against the linear scan: the same verdicts on generated worlds, whatever the order of
//! arrival, whatever left in between, whatever the secret; and the work of one operation bounded.

mod common;

use common::{Random, bind, claim_expr, derive, run};
use sluice_verifier::placement::scan;
use sluice_verifier::{
    BindingId, Claim, Fuel, GrantId, HashKey, Limits, Party, Placement, Refusal, RefusalCode,
    Registry,
};

/// Filters of many shapes over few values, so that a good part of them meet.
fn world(random: &mut Random, count: usize) -> Vec<Claim> {
    let port = |random: &mut Random| {
        [1, 7, 53, 255, 256, 1000, 1023][random.below(7) as usize] + 300 * random.below(40)
    };
    (0..count)
        .map(|_| {
            let (a, b) = (port(random), port(random));
            let host = random.below(60);
            let bits = 25 + random.below(7);
            let net = (host << (32 - bits)) % 256;
            let protocol = ["udp", "tcp"][random.below(2) as usize];
            claim_expr(&match random.below(9) {
                0 => format!("ip and {protocol} and src port {a} and dst port {b}"),
                1 => format!("ip and {protocol} and dst portrange {a}-{}", a + b),
                2 => format!("ip and dst net 10.0.0.{net}/{bits}"),
                3 => format!("{protocol} and dst host 10.0.0.{host} and dst port {a}"),
                4 => format!("ip[0] == 0x45 and {protocol} dst port {a}"),
                5 => {
                    format!("{protocol} and src host 10.0.0.{host} and dst portrange {a}-{}", a + 9)
                }
                6 => format!("ip and {protocol} and dst port {a} and less {}", 60 + b),
                7 => format!("vlan {host} and {protocol} and dst port {a}"),
                _ => format!("ip and src net 10.0.0.{net}/{bits} and {protocol} dst port {a}"),
            })
        })
        .collect()
}

fn verdict(registry: &Registry, claim: &Claim, fuel: u32) -> Result<(), Refusal> {
    let mut proof = Placement::bind(registry, GrantId::ROOT, claim.clone())?;
    run(fuel, |fuel| proof.step(registry, fuel)).map(|_| ())
}

/// The refused claim really meets whom it is said to meet, in a frame that both accept.
fn is_right(registry: &Registry, claim: &Claim, refusal: &Refusal) {
    assert_eq!(refusal.code, RefusalCode::Overlap, "{refusal}");
    let witness = refusal.witness.as_deref().unwrap_or_default();
    let theirs = refusal.other.and_then(|party| match party {
        Party::Binding(id) => registry.binding(id).map(|binding| binding.claim()),
        Party::Grant(id) => registry.grant(id).and_then(|grant| grant.claim()),
    });
    let Some(theirs) = theirs else { panic!("nobody is accused: {refusal}") };
    for claim in [claim, theirs] {
        assert_eq!(ebpf::interp::accepts(claim.verified().program(), witness), Ok(true));
    }
}

#[test]
fn the_index_says_what_the_scan_says() {
    let mut random = Random(0x1dec_0001);
    for round in 0..6 {
        let mut registry = Registry::with(Limits::KERNEL, HashKey::new(round, 9));
        let mut held: Vec<BindingId> = Vec::new();
        let claims = world(&mut random, 500);
        let mut refused = 0;
        for claim in &claims {
            let slow = scan::bindings(&registry, GrantId::ROOT, claim);
            let fuel = if random.below(4) == 0 { 1 } else { u32::MAX };
            match (verdict(&registry, claim, fuel), slow) {
                (Ok(()), Ok(())) => {
                    held.push(bind(&mut registry, GrantId::ROOT, claim.clone()).unwrap());
                }
                (Err(refusal), Err(_)) => {
                    is_right(&registry, claim, &refusal);
                    refused += 1;
                }
                (fast, slow) => panic!("index {fast:?}, scan {slow:?}"),
            }
            if random.below(5) == 0 && !held.is_empty() {
                let at = random.below(held.len() as u64) as usize;
                assert!(registry.release(held.swap_remove(at)).is_some());
            }
            if random.below(30) == 0 {
                registry.settle(GrantId::ROOT, &mut Fuel(random.below(4000) as u32));
            }
        }
        assert!(refused > 50 && held.len() > 20, "{refused} refused, {} held", held.len());
        assert_eq!(registry.bindings_under(GrantId::ROOT).count(), held.len());
        for id in held {
            assert!(registry.release(id).is_some());
        }
        assert!(claims.iter().all(|claim| verdict(&registry, claim, u32::MAX).is_ok()));
    }
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let mut random = Random(0x1dec_0002);
    let all = world(&mut random, 300);
    // A set of claims of which no two meet, however it is found.
    let mut registry = Registry::new();
    let mut apart: Vec<Claim> = all
        .iter()
        .filter(|claim| bind(&mut registry, GrantId::ROOT, (*claim).clone()).is_ok())
        .cloned()
        .collect();
    let verdicts: Vec<bool> =
        all.iter().map(|claim| verdict(&registry, claim, u32::MAX).is_ok()).collect();
    for round in 0..4 {
        for at in (1..apart.len()).rev() {
            apart.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut registry = Registry::with(Limits::KERNEL, HashKey::new(7, round));
        for (nth, claim) in apart.iter().enumerate() {
            let id = bind(&mut registry, GrantId::ROOT, claim.clone()).unwrap();
            // Some leave and come back.
            if nth % 7 == 3 {
                let claim = registry.release(id).unwrap();
                bind(&mut registry, GrantId::ROOT, claim).unwrap();
            }
        }
        let again: Vec<bool> =
            all.iter().map(|claim| verdict(&registry, claim, u32::MAX).is_ok()).collect();
        assert_eq!(again, verdicts);
    }
}

#[test]
fn siblings_are_found_by_the_index_too() {
    let mut random = Random(0x1dec_0003);
    let mut registry = Registry::new();
    let (mut taken, mut refused) = (0, 0);
    for claim in world(&mut random, 400) {
        if random.below(3) == 0 {
            let _maybe = bind(&mut registry, GrantId::ROOT, claim);
            continue;
        }
        let slow = scan::everyone(&registry, GrantId::ROOT, &claim);
        match (derive(&mut registry, GrantId::ROOT, claim.clone()), slow) {
            (Ok(id), Ok(())) => {
                taken += 1;
                if random.below(4) == 0 {
                    registry.revoke(id);
                }
            }
            (Err(refusal), Err(_)) => {
                refused += 1;
                is_right(&registry, &claim, &refusal);
            }
            (fast, slow) => panic!("index {fast:?}, scan {slow:?}"),
        }
    }
    assert!(taken > 30 && refused > 30, "{taken} {refused}");
}

#[test]
fn work_is_bounded_by_shapes() {
    let mut registry = Registry::with(Limits::HOST, HashKey::new(5, 6));
    let mut most = (0, 0);
    for n in 0..3_000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let text = match n % 3 {
            0 => format!("udp and src host 10.1.{high}.{low} and dst host 10.9.9.9 and dst port 7"),
            1 => format!("tcp and dst host 10.2.{high}.{low} and dst port 80"),
            _ => format!("ip and icmp and dst net 10.{high}.{low}.0/24"),
        };
        let claim = claim_expr(&text);
        let rules = claim.space().rules().len() as u64;
        let mut proof = Placement::bind(&registry, GrantId::ROOT, claim).unwrap();
        let placed = run(u32::MAX, |fuel| proof.step(&registry, fuel)).unwrap();
        assert!(proof.work().probes <= rules * 4, "{:?}", proof.work());
        if n > 600 {
            assert_eq!((proof.work().walked, proof.work().candidates), (0, 0));
        }
        registry.own(placed).unwrap().commit();
        let work = registry.work();
        assert!(work.moved_at_once <= 4096, "{work:?}");
        most = (most.0.max(work.moved), most.1.max(work.nodes));
        registry.settle(GrantId::ROOT, &mut Fuel(10_000));
    }
    println!("at most {} bytes moved, {} nodes in one insertion", most.0, most.1);
    let per_filter = registry.index_bytes(GrantId::ROOT) / 3_000;
    println!("{per_filter} bytes of index per filter");
    assert!(per_filter <= 256);
}

#[test]
fn the_first_of_a_new_shape_goes_in_steps() {
    const MANY: u64 = 600;
    const FUEL: u32 = 400;
    let mut registry = Registry::with(Limits::HOST, HashKey::new(5, 7));
    for n in 0..MANY as u16 {
        let [high, low] = n.to_be_bytes();
        let text = format!("ip and udp and src host 10.1.{high}.{low} and dst port 7");
        bind(&mut registry, GrantId::ROOT, claim_expr(&text)).unwrap();
    }
    while !registry.settle(GrantId::ROOT, &mut Fuel(10_000)) {}
    // It has no table to look into: everybody is asked, so many in each step as the fuel pays.
    let place = |registry: &Registry, text: &str| {
        let mut proof = Placement::bind(registry, GrantId::ROOT, claim_expr(text)).unwrap();
        let (mut steps, mut before) = (0, 0);
        let placed = run(FUEL, |fuel| {
            let answer = proof.step(registry, fuel);
            let walked = proof.work().walked;
            assert!(walked - before <= u64::from(FUEL) / 8, "{} in one step", walked - before);
            (steps, before) = (steps + 1, walked);
            answer
        });
        (placed.unwrap(), steps, proof.work())
    };
    let (placed, steps, work) =
        place(&registry, "ip and udp and dst net 10.9.0.0/16 and dst port 8");
    assert_eq!((work.walked, work.probes), (MANY, 1));
    assert!(steps as u64 > MANY * 8 / u64::from(FUEL), "{steps}");
    registry.own(placed).unwrap().commit();
    // The tables that it makes necessary are filled a few rules at a time, whoever commits.
    for n in 0..20 {
        let text = format!("ip and udp and src host 10.2.0.{n} and dst port 7");
        let (placed, _, work) = place(&registry, &text);
        assert!(work.walked <= 1, "{work:?}");
        registry.own(placed).unwrap().commit();
        let work = registry.work();
        assert!(work.moved_at_once <= 4096 && work.nodes < 200, "{work:?}");
    }
    while !registry.settle(GrantId::ROOT, &mut Fuel(10_000)) {}
    let (_, _, work) = place(&registry, "ip and udp and dst net 10.8.0.0/16 and dst port 8");
    assert_eq!(work.walked, 0);
}

#[test]
fn shapes_and_candidates_are_limited_by_name() {
    let limits = Limits { shapes: 2, candidates: 3, ..Limits::KERNEL };
    let mut registry = Registry::with(limits, HashKey::PUBLIC);
    bind(&mut registry, GrantId::ROOT, claim_expr("udp and dst port 7 and ip")).unwrap();
    let arp = bind(&mut registry, GrantId::ROOT, claim_expr("arp")).unwrap();
    let third = || claim_expr("ether src 02:00:00:00:00:01 and not ip and not arp and not ip6");
    let refusal = bind(&mut registry, GrantId::ROOT, third()).unwrap_err();
    assert_eq!(refusal.limit.unwrap().name, "INDEX_SHAPES_MAX");
    registry.release(arp);
    // Nobody has the shape now: its place is free again.
    for n in 0..3 {
        let id = bind(&mut registry, GrantId::ROOT, claim_expr("arp")).unwrap();
        registry.release(id);
        let mac = format!("ether dst 02:00:00:00:00:0{n} and ether proto 0x9000");
        let id = bind(&mut registry, GrantId::ROOT, claim_expr(&mac)).unwrap();
        registry.release(id);
    }
    // Rules that only their lengths tell apart are named one after the other.
    let length = |n: usize| claim_expr(&format!("arp and len == {}", 60 + n));
    for n in 0..3 {
        bind(&mut registry, GrantId::ROOT, length(n)).unwrap();
    }
    let refusal = (3..6).find_map(|n| bind(&mut registry, GrantId::ROOT, length(n)).err());
    assert_eq!(refusal.unwrap().limit.unwrap().name, "CANDIDATES_MAX");
}
