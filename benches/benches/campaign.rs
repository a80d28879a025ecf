//! Counts behind the engine's claims: changed code against the checker, merged filters against
//! filters one by one and the interpreter of the plan, and native code against the interpreter.
//!
//! `cargo run -- evidence checker`, `evidence merged` and `evidence native` run this with a limit,
//! and again from where it stood: counts are kept in `SLUICE_STATE`. `SLUICE_MINUTES` says how long
//! one run may take. A disagreement ends it with a panic, and is kept in no count.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dpf::fuzzing::{classifier_mutations, engine_is_registry, merged_is_one_by_one, mutations};
use runtime::native::HostPages;
use sluice_benches::alike::{self, KINDS, Trial};

/// How long a run may go on without saving.
const PART: Duration = Duration::from_secs(5);
/// Bytes that make a trial, fewest and most.
const BYTES: (u64, u64) = (40, 400);

/// Counts by name, kept between runs.
struct Counts {
    path: Option<PathBuf>,
    counts: BTreeMap<String, u64>,
}

impl Counts {
    fn load() -> Counts {
        let path = std::env::var_os("SLUICE_STATE").map(PathBuf::from);
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let line = |line: &str| {
            let (count, name) = line.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        let counts = text.unwrap_or_default().lines().filter_map(line).collect();
        Counts { path, counts }
    }

    fn add(&mut self, name: &str, more: usize) {
        *self.counts.entry(name.to_owned()).or_default() += more as u64;
    }

    fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn save(&self) {
        let Some(path) = &self.path else { return };
        let lines = self.counts.iter().map(|(name, count)| format!("{count} {name}\n"));
        let saved = std::fs::write(path, lines.collect::<String>());
        saved.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn main() {
    let what = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let minutes = std::env::var("SLUICE_MINUTES").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs_f64(minutes.unwrap_or(10.0_f64) * 60.0);
    let mut counts = Counts::load();
    let trial = match what.as_str() {
        "checker" => checker,
        "merged" => merged,
        "native" => native,
        _ => return println!("campaign checker | merged | native"),
    };
    while Instant::now() < end {
        let part = Instant::now();
        while part.elapsed() < PART {
            let number = counts.get("trials");
            trial(&bytes(number), &mut counts);
            counts.add("trials", 1);
        }
        counts.save();
        let so_far = counts.counts.iter().map(|(name, count)| format!("{count} {name}"));
        eprint!("\r{}  ", so_far.collect::<Vec<_>>().join(", "));
    }
    eprintln!();
    println!("| what | how many |\n|---|---|");
    for (name, count) in &counts.counts {
        println!("| {name} | {count} |");
    }
    println!("| disagreements | 0 |");
}

/// Each bit of each byte of some code, and each byte to some others: refused, or the same code in
/// another encoding.
fn checker(bytes: &[u8], counts: &mut Counts) {
    for (kind, outcome) in
        [("programs", mutations(bytes)), ("classifiers", classifier_mutations(bytes))]
    {
        counts.add(&format!("changed {kind} refused"), outcome.refused);
        counts.add(&format!("changed {kind} that mean the same, accepted"), outcome.accepted);
        counts.add(&format!("{kind} changed"), usize::from(outcome.refused != 0));
    }
}

/// Grants and bindings come and go; after each change every frame near any of them is asked for.
fn merged(bytes: &[u8], counts: &mut Counts) {
    let mut pages = HostPages::default();
    let changes = engine_is_registry(bytes, &mut pages);
    counts.add("changes after which engine, interpreted plan and registry agree", changes);
    let compared = merged_is_one_by_one(bytes, &mut pages);
    counts.add("frames for which filters merged in two orders and one by one agree", compared);
}

/// A program of each kind in turn, compiled once and run on sixteen packets by both engines.
fn native(bytes: &[u8], counts: &mut Counts) {
    let nth = (counts.get("trials") % KINDS.len() as u64) as usize;
    let kind = KINDS.get(nth).copied().unwrap_or_default();
    match alike::trial(nth, bytes, &mut HostPages::default()) {
        Trial::Refused => counts.add(&format!("{kind} refused"), 1),
        Trial::Alike(steps) => {
            counts.add(&format!("{kind}, {} packets each, alike", alike::PACKETS), 1);
            counts.add("instructions interpreted", steps as usize);
            counts.add("programs alike", 1);
        }
    }
}

/// The bytes of a trial.
fn bytes(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        runtime::random::mix(state)
    };
    let length = BYTES.0 + next() % (BYTES.1 - BYTES.0);
    (0..length).map(|_| next() as u8).collect()
}
