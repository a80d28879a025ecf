//! The index against asking every rule.

use alloc::vec::Vec;

use super::{Form, Index, Search, Work};
use crate::fuel::Fuel;
use crate::hash::HashKey;
use flow::{Rule, Space};

fn rules(text: &str) -> Vec<Rule> {
    let expr = flow::expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expr.to_space().map(Space::into_rules).unwrap_or_default()
}

/// Everyone whom the index names for a rule.
fn named(index: &Index, rule: &Rule) -> Vec<u32> {
    let (mut search, forms) = (Search::default(), [Form::of(rule)]);
    let mut all = Vec::new();
    loop {
        match search.next(index, &forms, &mut Fuel(1)) {
            core::task::Poll::Pending => {}
            core::task::Poll::Ready(None) => break,
            core::task::Poll::Ready(Some(candidate)) => all.push(candidate.tag),
        }
    }
    assert!(search.work.probes <= index.shapes() as u64);
    all.sort_unstable();
    all
}

fn texts() -> Vec<alloc::string::String> {
    let mut texts = Vec::new();
    for n in 0..90u32 {
        texts.push(alloc::format!("udp and dst host 10.0.{}.{n} and dst port {n}", n % 7));
        let prefix = 9 + n % 20;
        let net = core::net::Ipv4Addr::from((0x0a00_0000u32 | n << 12) & u32::MAX << (32 - prefix));
        texts.push(alloc::format!("ip and dst net {net}/{prefix}"));
        texts.push(alloc::format!("tcp and dst portrange {}-{}", n * 300, n * 300 + 99));
        let ports = alloc::format!("src port {} and dst port {n}", n % 5);
        texts.push(alloc::format!("udp and src host 10.0.0.{} and {ports}", n % 9));
        texts.push(alloc::format!("ip[0] == 0x45 and udp dst port {}", n * 2));
        texts.push(alloc::format!("ip[1] & {} == 0", n % 6 + 1));
    }
    texts.extend(["udp", "vlan 3", "not ip", "any", "less 60"].map(Into::into));
    texts
}

#[test]
fn whoever_meets_a_rule_is_named_whatever_came_and_went() {
    let all: Vec<Rule> = texts().iter().flat_map(|text| rules(text)).collect();
    let mut index = Index::new(HashKey::new(1, 2));
    let mut work = Work::default();
    let mut held: Vec<Option<Rule>> = Vec::new();
    let mut state = 7u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % bound
    };
    let empty = index.bytes();
    for round in 0..3000 {
        if random(3) > 0 || held.is_empty() {
            let rule = all[random(all.len())].clone();
            index.insert(&Form::of(&rule), held.len() as u32, 8, &mut work);
            held.push(Some(rule));
        } else {
            let tag = random(held.len());
            if let Some(rule) = held[tag].take() {
                index.remove(&Form::of(&rule), tag as u32, &mut work);
            }
        }
        if round % 3 == 0 {
            let form_of = |tag: u32| held[tag as usize].as_ref().map(Form::of);
            index.fill(random(20), form_of, &mut work);
        }
        if round % 40 == 0 {
            let ask = &all[random(all.len())];
            let named = named(&index, ask);
            for (tag, theirs) in held.iter().enumerate() {
                let Some(theirs) = theirs else { continue };
                let meet = ask
                    .intersect(theirs)
                    .is_some_and(|both| !both.is_empty_exact().unwrap_or(false));
                assert!(!meet || named.contains(&(tag as u32)), "{ask:?}\n{theirs:?}");
            }
        }
    }
    assert!(work.moved_at_once <= 4096);
    for (tag, rule) in held.iter().enumerate() {
        if let Some(rule) = rule {
            index.remove(&Form::of(rule), tag as u32, &mut work);
        }
    }
    assert_eq!(index.shapes(), 0);
    assert!(all.iter().all(|rule| named(&index, rule).is_empty()));
    assert!(index.bytes() < 200_000 + empty, "{}", index.bytes());
}

#[test]
fn whole_tables_name_nobody_who_differs_in_a_field() {
    let mut index = Index::new(HashKey::new(3, 4));
    let mut work = Work::default();
    let flows: Vec<Rule> = (0..500u32)
        .flat_map(|n| {
            let ports = alloc::format!("src port {} and dst port {}", n % 11, n % 13);
            rules(&alloc::format!("udp and dst host 10.0.{}.{} and {ports}", n / 256, n % 256))
        })
        .collect();
    for (tag, rule) in flows.iter().enumerate() {
        index.insert(&Form::of(rule), tag as u32, 8, &mut work);
    }
    while index.fill(100, |tag| flows.get(tag as usize).map(Form::of), &mut work) {}
    let mine = rules("udp and dst host 10.0.0.7 and src port 7 and dst port 7");
    assert_eq!(named(&index, &mine[0]), [7]);
    let port = rules("udp and dst port 7 and ip");
    index.insert(&Form::of(&port[0]), 9_999, 8, &mut work);
    while index.fill(100, |tag| flows.get(tag as usize).map(Form::of), &mut work) {}
    let sevens: Vec<u32> = (0..500).filter(|n| n % 13 == 7).chain([9_999]).collect();
    assert_eq!(named(&index, &port[0]), sevens);
    assert_eq!(named(&index, &rules("udp and dst port 14 and ip")[0]), []);
    let net = rules("ip and dst net 10.0.1.128/25");
    index.insert(&Form::of(&net[0]), 10_000, 8, &mut work);
    while index.fill(100, |tag| flows.get(tag as usize).map(Form::of), &mut work) {}
    let inside: Vec<u32> = (384..500).chain([9_999, 10_000]).collect();
    assert_eq!(named(&index, &net[0]), inside);
}
