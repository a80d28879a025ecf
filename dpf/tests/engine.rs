//! The engine answers what the registry's linear scan answers: code, plan and oracle are one.

#![cfg(test)]

mod world;

use runtime::native::HostPages;
use runtime::random::mix;
use sluice_dpf::fuzzing::engine_is_registry;
use sluice_dpf::{EngineError, Verdict};
use verifier::{BindingId, GrantId};
use world::{World, claim, frames_near, space};

const ROOT: GrantId = GrantId::ROOT;

/// Pairwise disjoint filters of several shapes: exact, prefixes, ranges, lengths, other families.
const FILTERS: [&str; 14] = [
    "udp and dst port 53",
    "udp and dst port 7777",
    "udp and dst portrange 8000-8005",
    "udp and dst portrange 9000-9999",
    "tcp and dst host 10.0.2.15 and dst port 80",
    "tcp and dst host 10.0.2.16 and dst port 80",
    "tcp and src host 10.0.2.2 and src port 99 and dst host 10.0.2.17 and dst port 81",
    "icmp and dst net 10.0.0.0/8",
    "icmp and dst net 192.168.0.0/16",
    "arp",
    "ip6 and udp and dst port 5353",
    "vlan 7 and ip and udp and dst port 53",
    "ether proto 0x88b5 and greater 100",
    "ether proto 0x88b5 and less 99",
];

fn all_frames(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().flat_map(|text| frames_near(&space(text))).collect()
}

fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut items = items.to_vec();
    for at in (1..items.len()).rev() {
        items.swap(at, (mix(seed ^ at as u64) % (at as u64 + 1)) as usize);
    }
    items
}

#[test]
fn nobody_has_bound_anything() {
    let world = World::new(1);
    assert_eq!(world.owner(&[0; 60]), Verdict::Unbound(Some(ROOT)));
    for length in [0, 13, 1523, 4000] {
        assert_eq!(world.engine.classify(&vec![0; length]), Verdict::Unbound(None));
        assert_eq!(world.engine.classify_interpreted(&vec![0; length]), Verdict::Unbound(None));
    }
}

#[test]
fn each_filter_gets_its_frames_in_any_order_of_insertion() {
    let frames = all_frames(&FILTERS);
    let mut verdicts: Vec<Vec<Option<&str>>> = vec![];
    for seed in 0..4 {
        let mut world = World::new(seed);
        let order = shuffled(&FILTERS, seed);
        let ids: Vec<(BindingId, &str)> =
            order.iter().map(|text| (world.bind(ROOT, text), *text)).collect();
        let name = |verdict: Verdict| {
            let found = ids.iter().find(|(id, _)| verdict == Verdict::Bound(*id));
            found.map(|(_, text)| *text)
        };
        verdicts.push(frames.iter().map(|frame| name(world.owner(frame))).collect());
    }
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
    for text in FILTERS {
        assert!(verdicts[0].contains(&Some(text)), "{text} got nothing");
    }
}

#[test]
fn removal_leaves_the_others_and_gives_everything_back() {
    let frames = all_frames(&FILTERS);
    let mut world = World::new(5);
    let mut ids: Vec<BindingId> = FILTERS.iter().map(|text| world.bind(ROOT, text)).collect();
    for seed in 0..60 {
        // Take one out, now and then put one back: whatever is there must answer.
        if !mix(seed).is_multiple_of(3) && !ids.is_empty() {
            let at = (mix(seed + 1000) % ids.len() as u64) as usize;
            world.release(ids.swap_remove(at));
        } else {
            let text = FILTERS[(mix(seed + 2000) % FILTERS.len() as u64) as usize];
            let taken = frames_near(&space(text)).iter().any(|frame| {
                space(text).contains(frame) && matches!(world.owner(frame), Verdict::Bound(_))
            });
            if !taken {
                ids.push(world.bind(ROOT, text));
            }
        }
        for frame in frames.iter().skip(seed as usize % 7).step_by(7) {
            world.owner(frame);
        }
    }
    for id in ids {
        world.release(id);
    }
    let stats = world.engine.stats();
    assert_eq!((stats.bindings, stats.shapes, stats.entries, stats.slots), (0, 0, 0, 0));
    assert!(world.pages.used() <= 4096, "only the code for no shape may be left");
}

#[test]
fn the_deepest_grant_wins_and_what_it_did_not_bind_is_unbound() {
    let mut world = World::new(6);
    let udp = world.grant(ROOT, "udp");
    let listener = world.grant(udp, "udp and dst port 53");
    let client = world.grant(listener, "udp and dst port 53 and src host 10.0.2.2");
    let range = world.grant(udp, "udp and dst portrange 1000-1999");
    let root_arp = world.bind(ROOT, "arp");
    let wide = world.bind(udp, "udp and dst port 54");
    let at_listener = world.bind(listener, "udp and dst port 53 and not src host 10.0.2.2");
    let at_client = world.bind(client, "udp and dst port 53 and src host 10.0.2.2 and src port 7");
    let in_range = world.bind(range, "udp and dst portrange 1000-1500");
    let texts = [
        "udp and dst port 53 and src host 10.0.2.2 and src port 7",
        "udp and dst port 53 and src host 10.0.2.2 and src port 8",
        "udp and dst port 53 and src host 10.0.2.3",
        "udp and dst port 54",
        "udp and dst port 55",
        "udp and dst port 1000",
        "udp and dst port 1999",
        "tcp",
        "arp",
    ];
    let expected = [
        Verdict::Bound(at_client),
        Verdict::Unbound(Some(client)),
        Verdict::Bound(at_listener),
        Verdict::Bound(wide),
        Verdict::Unbound(Some(udp)),
        Verdict::Bound(in_range),
        Verdict::Unbound(Some(range)),
        Verdict::Unbound(Some(ROOT)),
        Verdict::Bound(root_arp),
    ];
    for (text, expected) in texts.iter().zip(expected) {
        for rule in space(text).rules() {
            let frame = rule.witness().unwrap().unwrap();
            assert_eq!(world.owner(&frame), expected, "{text}");
        }
    }
    for frame in all_frames(&texts) {
        world.owner(&frame);
    }
    world.revoke(listener);
    for frame in all_frames(&texts) {
        world.owner(&frame);
    }
    world.revoke(ROOT);
    assert_eq!(world.engine.stats().entries, 0);
}

#[test]
fn a_grant_carved_out_of_bound_space_takes_the_frames_away() {
    let mut world = World::new(7);
    let parent = world.grant(ROOT, "udp");
    let child = world.grant(parent, "udp and dst port 53");
    let bound = world.bind(parent, "udp and dst portrange 50-60");
    let frames = frames_near(&space("udp and dst port 53"));
    let verdicts: Vec<Verdict> = frames.iter().map(|frame| world.owner(frame)).collect();
    assert!(verdicts.contains(&Verdict::Unbound(Some(child))));
    world.revoke(child);
    let verdicts: Vec<Verdict> = frames.iter().map(|frame| world.owner(frame)).collect();
    assert!(verdicts.contains(&Verdict::Bound(bound)));
}

#[test]
fn insertion_into_a_shape_generates_no_code() {
    let mut world = World::new(8);
    // The first has code of its own, the second makes a lane of both, and then it is only data.
    for port in 1..4 {
        world.bind(ROOT, &format!("udp and dst port {port}"));
    }
    let first = world.engine.stats();
    for port in 4..400 {
        world.bind(ROOT, &format!("udp and dst port {port}"));
    }
    let stats = world.engine.stats();
    assert_eq!(stats.compilations, first.compilations);
    assert_eq!(stats.code_bytes, first.code_bytes);
    assert_eq!(stats.entries, first.entries / 3 * 399);
    assert!(stats.slots >= stats.entries && stats.slots <= stats.entries * 16, "{stats:?}");
    for port in [1, 2, 200, 399, 400, 0] {
        for frame in frames_near(&space(&format!("udp and dst port {port}"))) {
            world.owner(&frame);
        }
    }
    assert!(world.engine.dump().contains("keys in"), "{}", world.engine.dump());
}

#[test]
fn a_grant_has_a_quota_of_shapes_and_a_refusal_changes_nothing() {
    let mut world = World::new(9);
    let tenant = world.grant(ROOT, "ether[12] == 0x90");
    let other = world.grant(ROOT, "ether[12] == 0x91");
    let before = world.engine.stats();
    let text = |proto: u32, at: u32| format!("ether proto {proto} and ether[{at}] == 1");
    for nth in 0..16 {
        world.try_bind(tenant, claim(&text(0x9000 + nth, 20 + nth))).unwrap();
    }
    let full = world.engine.stats();
    let refused = world.try_bind(tenant, claim(&text(0x9010, 40))).unwrap_err();
    assert_eq!(refused, EngineError::GrantShapes { limit: 16 });
    assert_eq!(world.engine.stats(), full);
    assert_eq!(full.shapes, before.shapes + 16);
    // A shape that it has already costs nothing; another grant has a quota of its own.
    world.try_bind(tenant, claim(&text(0x9010, 20))).unwrap();
    world.try_bind(other, claim(&text(0x9110, 40))).unwrap();
}

#[test]
fn what_is_prepared_and_discarded_was_never_there() {
    let mut world = World::new(10);
    let frame = space("arp").rules()[0].witness().unwrap().unwrap();
    let used = world.pages.used();
    let mut proof = verifier::Placement::bind(&world.registry, ROOT, claim("arp")).unwrap();
    let std::task::Poll::Ready(placed) = proof.step(&world.registry, &mut verifier::Fuel(u32::MAX))
    else {
        panic!("out of fuel");
    };
    let owned = world.registry.own(placed.unwrap()).unwrap();
    let prepared = world.engine.prepare(&owned, &mut world.pages).unwrap();
    assert_eq!(world.engine.classify(&frame), Verdict::Unbound(Some(ROOT)));
    drop(owned);
    world.engine.discard(prepared, &mut world.pages);
    assert_eq!(world.owner(&frame), Verdict::Unbound(Some(ROOT)));
    assert!(world.pages.used() <= used + 4096);
    assert_eq!(world.engine.stats().entries, 0);
}

#[test]
fn whatever_comes_and_goes() {
    let changes: usize = (0..60_u64)
        .map(|seed| {
            let bytes: Vec<u8> = (0..90).map(|at| mix(mix(seed) ^ at).to_le_bytes()[1]).collect();
            engine_is_registry(&bytes, &mut HostPages::default())
        })
        .sum();
    assert!(changes > 300, "only {changes} steps changed something");
}

#[test]
fn without_pages_nothing_changes() {
    let frames = all_frames(&FILTERS);
    for pages in 0..12 {
        let mut world = World::new(pages as u64);
        world.pages = HostPages::new(pages * 4096);
        for text in FILTERS {
            let before = world.engine.stats();
            match world.try_bind(ROOT, claim(text)) {
                Ok(_) => {}
                Err(EngineError::Pages(_)) => {
                    let after = world.engine.stats();
                    assert_eq!((after.entries, after.bindings), (before.entries, before.bindings));
                }
                Err(error) => panic!("{text}: {error}"),
            }
        }
        for frame in frames.iter().step_by(5) {
            world.owner(frame);
        }
    }
}

#[test]
fn an_engine_may_move_between_threads() {
    fn moves<T: Send>(_: &T) {}
    moves(&World::new(0).engine);
}
