//! Steers the packets of a capture to the filters that own them.
//!
//! `cargo run -p sluice-dpf --example steer -- FILE.pcap 'udp and dst port 53' 'tcp' ...`
//!
//! Each expression becomes a filter, is proven safe, apart from the others and inside the root
//! grant, and is merged into one classifier. A filter that overlaps an earlier one is refused with
//! the packet that both would get. Then each packet of the file goes to its owner; what is printed
//! is who got how many packets and bytes.

use std::error::Error;
use std::fs::File;
use std::task::Poll;

use flow::{expr, lower};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{LegacyPcapReader, PcapBlockOwned, PcapError};
use runtime::native::HostPages;
use sluice_dpf::{Engine, HashKey, Verdict, fuzzing};
use verifier::{BindingId, Claim, ClaimProof, Fuel, GrantId, Placement, Registry};

/// Bytes read at a time.
const BUFFER: usize = 1 << 20;

type Anything<T> = Result<T, Box<dyn Error>>;

fn main() -> Anything<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        println!("usage: steer FILE.pcap EXPRESSION...");
        return Ok(());
    };
    let (mut registry, mut pages) = (Registry::new(), HostPages::default());
    // A program that faces strangers draws this from its system's random numbers.
    let mut engine = Engine::new(HashKey::new(std::process::id().into()));
    let mut bound = Vec::new();
    for text in arguments {
        match bind(&text, &mut registry, &mut engine, &mut pages) {
            Ok(id) => bound.push((id, text, 0_u64, 0_u64)),
            Err(error) => println!("{text}: {error}"),
        }
    }
    let (mut others, mut other_bytes) = (0_u64, 0_u64);
    each_packet(&file, |frame| {
        let owner = match engine.classify(frame) {
            Verdict::Bound(id) => bound.iter_mut().find(|(known, ..)| *known == id),
            Verdict::Unbound(_) => None,
        };
        let (packets, bytes) = match owner {
            Some((_, _, packets, bytes)) => (packets, bytes),
            None => (&mut others, &mut other_bytes),
        };
        *packets += 1;
        *bytes += frame.len() as u64;
    })?;
    for (_, text, packets, bytes) in &bound {
        println!("{packets:>10} packets {bytes:>12} bytes  {text}");
    }
    println!("{others:>10} packets {other_bytes:>12} bytes  nobody");
    let stats = engine.stats();
    println!(
        "{} filters in {} lanes, {} bytes of code",
        stats.bindings, stats.lanes, stats.code_bytes
    );
    Ok(())
}

/// From text to a binding, through every proof.
fn bind(
    text: &str,
    registry: &mut Registry,
    engine: &mut Engine,
    pages: &mut HostPages,
) -> Anything<BindingId> {
    let space = expr::parse(text)?.to_space()?;
    let verified = fuzzing::verified(lower::lower(&space)?).ok_or("not safe")?;
    let claim: Claim = finished(ClaimProof::new(verified).step(&mut all()))??;
    let mut proof = Placement::bind(registry, GrantId::ROOT, claim)?;
    let placed = finished(proof.step(registry, &mut all()))??;
    Ok(engine.insert(registry.own(placed)?, pages)?)
}

fn finished<T>(step: Poll<T>) -> Anything<T> {
    match step {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err("out of fuel".into()),
    }
}

fn each_packet(file: &str, mut packet: impl FnMut(&[u8])) -> Anything<()> {
    let mut reader = LegacyPcapReader::new(BUFFER, File::open(file)?)
        .map_err(|error| format!("{file}: {error:?}"))?;
    loop {
        match reader.next() {
            Ok((used, block)) => {
                if let PcapBlockOwned::Legacy(block) = block {
                    packet(block.data);
                }
                reader.consume(used);
            }
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|error| format!("{file}: {error:?}"))?;
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(error) => return Err(format!("{file}: {error:?}").into()),
        }
    }
}

/// Fuel for any proof.
const fn all() -> Fuel {
    Fuel::UNLIMITED
}
