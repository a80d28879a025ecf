//! The engine attached to nothing but a slice of bytes.
//!
//! `cargo run -p sluice-dpf --example bytes` builds a classifier for three kinds of datagrams, asks
//! it about a frame written down here, and prints why the answer is what it is, the merged graph
//! (for Graphviz) and the generated code. No network, no privileges, no file.

use std::error::Error;
use std::task::Poll;

use flow::{expr, lower};
use runtime::native::HostPages;
use sluice_dpf::{Engine, HashKey, fuzzing};
use verifier::{ClaimProof, Fuel, GrantId, Placement, Registry};

const FILTERS: [&str; 4] = [
    "ip and udp and dst host 10.0.0.1 and dst port 53",
    "ip and udp and dst host 10.0.0.1 and dst port 123",
    "ip and tcp and dst host 10.0.0.1 and dst port 80",
    "arp",
];

/// Ethernet, IPv4, UDP from 10.0.0.2:4000 to 10.0.0.1:123.
const FRAME: [u8; 42] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0,
    0, 2, 10, 0, 0, 1, 0x0f, 0xa0, 0, 123, 0, 8, 0, 0,
];

fn main() -> Result<(), Box<dyn Error>> {
    let (mut registry, mut pages) = (Registry::new(), HostPages::default());
    let mut engine = Engine::new(HashKey::new(7));
    for text in FILTERS {
        let program = lower::lower(&expr::parse(text)?.to_space()?)?;
        let verified = fuzzing::verified(program).ok_or("not safe")?;
        let step = ClaimProof::new(verified).step(&mut all());
        let Poll::Ready(claim) = step else { return Err("out of fuel".into()) };
        let mut proof = Placement::bind(&registry, GrantId::ROOT, claim?)?;
        let step = proof.step(&registry, &mut all());
        let Poll::Ready(placed) = step else { return Err("out of fuel".into()) };
        let id = engine.insert(registry.own(placed?)?, &mut pages)?;
        println!("binding {id}: {text}");
    }
    println!("\n{}", engine.why(&FRAME));
    println!("{}", engine.graphviz());
    println!("{}", engine.dump());
    assert_eq!(engine.classify(&FRAME), engine.classify_interpreted(&FRAME));
    Ok(())
}

/// Fuel for any proof.
const fn all() -> Fuel {
    Fuel::UNLIMITED
}
