//! What does it cost to prove the N-th filter inside its grant and apart from all others, and to
//! take it in, when a thousand, a hundred thousand, a million are installed?
//!
//! Prints the table of `docs/evidence/ownership.md` (`cargo run -- evidence ownership`). Sizes may
//! be given, and worlds by name: `cargo bench --bench ownership -- 1000 100000 mixed`. Each timed
//! operation is one filter's: placement (containment and disjointness), `own`, commit; the claims
//! are proven before. Filters from all over the world are taken out, all of them; then their claims
//! are proven, which takes long enough that no cache remembers where they were; then all are taken
//! in again. "New" are the last filters that the world grew by. Times are processor times of the
//! thread; beside each stands an empty operation that is timed in the same way: what it shows is
//! the clock, a system call, and the machine. What a cache miss costs is measured in the same run,
//! as are the linear scan and Open vSwitch's way. On a machine that others use too, the word
//! `pause` makes the bench wait for a line before whatever is timed, so that somebody can give it a
//! core meanwhile (`benches/measured.sh`).

use std::hint::black_box;
use std::time::Duration;

use sluice_benches::clock::now;
use sluice_benches::ovs::Classifier;
use sluice_benches::tenants::{KINDS, Kind, filter};
use sluice_benches::world::{all, finished, lowered, proven};
use verifier::placement::scan;
use verifier::{
    BindingId, Claim, Derivation, GrantId, HashKey, Limits, Placement, Registry, Transmit, Work,
};

/// Insertions and removals that are timed at each size.
const SAMPLES: u32 = 4_000;

/// Bytes that are walked through at random to learn what a miss costs: as many as the bindings of
/// the largest world take.
const FAR: usize = 2 << 30;

/// Looks at memory that are timed together as a control, each waiting for the one before: about
/// what an insertion into the largest world does.
const LOOKS: u32 = 16;

/// Asks of the linear peers.
const SCANS: u32 = 3;

fn main() {
    let asked: Vec<u32> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 100_000, 1_000_000] } else { asked };
    println!(
        "| world | installed | shapes | insert p50 | p99 | max | new p50 | p99 | max \
         | no-op p50 | p99 | max | remove p50 | p99 | max | index B/filter | moved at once \
         | moved | probes | nodes | scan / insert | OVS / insert |"
    );
    println!("|---|{}", "---:|".repeat(21));
    let far = far();
    eprintln!("{LOOKS} looks at memory in no cache, each after the other: {}", far.text());
    let named = |name: &str| std::env::args().any(|word| word == name);
    let some = KINDS.iter().any(|(_, name)| named(name));
    for (kind, name) in KINDS.into_iter().filter(|(_, name)| !some || named(name)) {
        let mut world = World::new(kind);
        let mut first = None;
        for &size in &sizes {
            let new = world.grow(size);
            let row = Row { new, ..world.measure() };
            println!("| {name} | {size} | {}", row.text());
            first.get_or_insert(row.insert.p50);
            if let Some(first) = first.filter(|_| Some(&size) == sizes.last()) {
                let growth = row.insert.p50.as_secs_f64() / first.as_secs_f64();
                eprintln!("{name}: p50 grew by {growth:.2} from {} to {size}", sizes[0]);
            }
        }
    }
}

/// A registry full of tenants under one grant.
struct World {
    kind: Kind,
    registry: Registry,
    grant: GrantId,
    bindings: Vec<BindingId>,
    classifier: Classifier,
    worst: Work,
}

/// What was measured at one size.
struct Row {
    shapes: usize,
    insert: Spread,
    /// The last that the world grew by.
    new: Spread,
    control: Spread,
    remove: Spread,
    bytes: usize,
    worst: Work,
    scan: Duration,
    ovs: Duration,
}

/// Of many times.
#[derive(Clone, Copy, Default)]
struct Spread {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl World {
    fn new(kind: Kind) -> World {
        let mut registry = Registry::with(Limits::HOST, HashKey::new(0x5eed, 0x5ec2e7));
        let space = flow::expr::parse("ip").map(|expr| expr.to_space());
        let Ok(Ok(space)) = space else { panic!("ip is an expression") };
        let claim = proven(&lowered(&space));
        let transmit = Transmit::Space(flow::Space::all());
        let derivation = Derivation::new(&registry, GrantId::ROOT, claim, transmit);
        let mut derivation = derivation.unwrap_or_else(|refusal| panic!("{refusal}"));
        let placed = finished(derivation.step(&registry, &mut all()));
        let placed = placed.unwrap_or_else(|refusal| panic!("{refusal}"));
        let grant = registry.adopt(placed).unwrap_or_else(|refusal| panic!("{refusal}"));
        let (bindings, classifier) = (Vec::new(), Classifier::default());
        World { kind, registry, grant, bindings, classifier, worst: Work::default() }
    }

    /// Installs up to `size` filters; how long the last of them took.
    fn grow(&mut self, size: u32) -> Spread {
        let from = self.bindings.len() as u32;
        let last = from.max(size.saturating_sub(SAMPLES));
        for number in from..last {
            let filter = filter(self.kind, number);
            let (id, _time) = self.insert(filter.claim());
            self.bindings.push(id);
        }
        let claims: Vec<Claim> =
            (last..size).map(|number| filter(self.kind, number).claim()).collect();
        pause();
        let mut times = Vec::with_capacity(claims.len());
        for claim in claims {
            let (id, time) = self.insert(claim);
            self.bindings.push(id);
            times.push(time);
        }
        for number in from..size {
            for rule in filter(self.kind, number).ternary() {
                self.classifier.insert(rule);
            }
        }
        while !self.registry.settle(self.grant, &mut all()) {}
        Spread::of(times)
    }

    fn insert(&mut self, claim: Claim) -> (BindingId, Duration) {
        let start = now();
        let mut proof = Placement::bind(&self.registry, self.grant, claim)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        let placed = finished(proof.step(&self.registry, &mut all()))
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        let id = match self.registry.own(placed) {
            Ok(owned) => owned.commit(),
            Err(refusal) => panic!("{refusal}"),
        };
        let time = now().saturating_sub(start);
        let mut work = proof.work();
        work += self.registry.work();
        self.worst.moved = self.worst.moved.max(work.moved);
        self.worst.probes = self.worst.probes.max(work.probes);
        self.worst.nodes = self.worst.nodes.max(work.nodes);
        self.worst.moved_at_once = self.worst.moved_at_once.max(work.moved_at_once);
        (id, time)
    }

    /// Takes filters out, and then in again, everywhere in the world.
    fn measure(&mut self) -> Row {
        let size = self.bindings.len() as u32;
        let (mut insert, mut remove, mut control) = (Vec::new(), Vec::new(), Vec::new());
        let samples = SAMPLES.min(size / 2);
        // Of every kind that the world is made of: no step that all kinds repeat in.
        let step = size / samples;
        let numbers: Vec<u32> =
            (0..samples).map(|sample| sample * step + sample * 7 % step).collect();
        for &number in &numbers {
            let start = now();
            let gone = self.registry.release(self.bindings[number as usize]);
            remove.push(now().saturating_sub(start));
            assert!(black_box(gone).is_some());
        }
        let claims: Vec<Claim> =
            numbers.iter().map(|&number| filter(self.kind, number).claim()).collect();
        for (&number, claim) in numbers.iter().zip(claims) {
            let (id, time) = self.insert(claim);
            insert.push(time);
            self.bindings[number as usize] = id;
            let start = now();
            black_box(number);
            control.push(now().saturating_sub(start));
        }
        let next = filter(self.kind, size);
        let (claim, ternary) = (next.claim(), next.ternary());
        let scan = fastest(|| {
            scan::bindings(&self.registry, self.grant, &claim).unwrap_or_else(|it| panic!("{it}"));
        });
        let ovs = fastest(|| {
            assert!(!ternary.iter().any(|&rule| self.classifier.overlaps(black_box(rule))));
        });
        Row {
            shapes: self.registry.index_shapes(self.grant),
            insert: Spread::of(insert),
            new: Spread::default(),
            control: Spread::of(control),
            remove: Spread::of(remove),
            bytes: self.registry.index_bytes(self.grant) / size as usize,
            worst: core::mem::take(&mut self.worst),
            scan,
            ovs,
        }
    }
}

/// What [`LOOKS`] looks at memory cost that is in no cache, timed like the insertions.
fn far() -> Spread {
    let lines = FAR / 64;
    // One cycle through all lines: a linear congruential generator of full period.
    let mut next = vec![[0_u64; 8]; lines];
    for (at, line) in next.iter_mut().enumerate() {
        line[0] = (at as u64 * 0x5_deec_e66d + 11) % lines as u64;
    }
    let (mut at, mut times) = (0, Vec::new());
    for _ in 0..SAMPLES {
        let start = now();
        for _ in 0..LOOKS {
            at = next[at as usize][0];
        }
        times.push(now().saturating_sub(start));
    }
    black_box(at);
    Spread::of(times)
}

/// Waits for a line, if that was asked for.
fn pause() {
    if std::env::args().any(|word| word == "pause") {
        eprintln!("paused");
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let once = |_| {
        let start = now();
        run();
        now().saturating_sub(start)
    };
    (0..SCANS).map(once).min().unwrap_or_default()
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort_unstable();
        let at = |per_mille: usize| times[(times.len() * per_mille / 1000).min(times.len() - 1)];
        Spread { p50: at(500), p99: at(990), max: at(1000) }
    }

    fn text(&self) -> String {
        let us = |time: Duration| time.as_nanos() as f64 / 1000.0;
        format!("{:.2} | {:.2} | {:.1}", us(self.p50), us(self.p99), us(self.max))
    }
}

impl Row {
    fn text(&self) -> String {
        let times = |peer: Duration| peer.as_secs_f64() / self.insert.p50.as_secs_f64();
        format!(
            "{} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} | {:.1} |",
            self.shapes,
            self.insert.text(),
            self.new.text(),
            self.control.text(),
            self.remove.text(),
            self.bytes,
            self.worst.moved_at_once,
            self.worst.moved,
            self.worst.probes,
            self.worst.nodes,
            times(self.scan),
            times(self.ovs),
        )
    }
}
