//! What does it cost to find a frame's owner among N filters, beside everything that one would use
//! otherwise, in one run?
//!
//! `cargo bench -p sluice-benches --bench demux` prints tables (lowest / middle over rounds, and
//! Sluice relative to each peer), and writes `docs/evidence/demux.md`, `.csv` and `.svg`. With
//! `-- quick` it takes fewer rounds and stops at 10,000 filters, and writes nothing. Who cannot
//! take part is named.

use std::time::Instant;

use dpf::fuzzing::Bare;
use dpf::{HashKey, Verdict};
use flow::Space;
use runtime::native::HostPages;
use sluice_benches::clock;
use sluice_benches::demux::{
    Bucket, Contestant, Direct, Foldhash, Foreign, Frame, Fx, Kernel, Nested, Report, Row, Variant,
    Workload, cache_miss,
};
use sluice_benches::peers::Rbpf;
use sluice_benches::world::lowered;

/// Filters of the largest measurement.
const MOST: u32 = 1_000_000;
/// Insertions and removals that are timed one by one.
const CHANGES: u32 = 20_000;
/// Filters up to which programs run one after the other: beyond, a turn would take seconds.
const ONE_BY_ONE: usize = 100;
/// Filters up to which a search by halves is code that the kernel's jumps reach across.
const HALVES: usize = 1_000;

fn main() {
    let asked = |what: &str| std::env::args().any(|argument| argument == what);
    if asked("changes") {
        return println!("{}", changes(1_000_000));
    }
    let quick = asked("quick");
    let (rounds, most) = if quick { (5, 10_000) } else { (9, MOST) };
    let mut report = Report::default();
    let mut skipped = Vec::new();
    for variant in [Variant::Udp, Variant::Tcp5, Variant::Mixed, Variant::Nested] {
        for filters in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let limit = match variant {
                Variant::Udp => 10_000,
                Variant::Tcp5 => MOST,
                Variant::Mixed | Variant::Nested => 100_000,
            };
            if filters <= limit.min(most) {
                eprintln!("{} with {filters} filters", variant.name());
                compete(&Workload::new(variant, filters), rounds, &mut report, &mut skipped);
            }
        }
    }
    let mut text = String::from(
        "# Finding a frame's owner, beside the peers\n\nMade by `cargo bench -p sluice-benches \
         --bench demux`. Nanoseconds per frame of the measuring thread's processor time, lowest / \
         middle over rounds in turn; in brackets Sluice relative to the peer, lowest to lowest and \
         middle to middle (below 1 Sluice is faster). `throughput`: frames independent of each \
         other; `latency`: each waits for the verdict before.\n",
    );
    text.push_str(&format!("\n{rounds} rounds; workloads from fixed seeds; {}.\n", machine()));
    text.push_str(&report.tables());
    text.push_str(&changes(most));
    let miss = cache_miss(1 << 28);
    text.push_str(&format!("\nOne cache miss, independent loads over 256 MiB: {miss:.1} ns.\n"));
    skipped.sort_unstable();
    skipped.dedup();
    text.push_str("\nNot taking part:\n");
    skipped.iter().for_each(|who| text.push_str(&format!("- {who}\n")));
    println!("{text}");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evidence");
    if quick {
        return;
    }
    for (name, content) in [("md", text), ("csv", report.csv()), ("svg", report.svg())] {
        let path = format!("{folder}/demux.{name}");
        if let Err(error) = std::fs::write(&path, content) {
            eprintln!("{path}: {error}");
        }
    }
}

/// Which processor, and how busy it is.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "{}, load {load}",
        model.unwrap_or("processor unknown").trim_start_matches(['\t', ':', ' '])
    )
}

/// The engine with all filters of a workload.
fn filled(workload: &Workload, pages: &mut HostPages) -> Bare {
    let mut bare = Bare::new(HashKey::new(0x5eed));
    for ((rules, depth), number) in workload.filters.iter().zip(0..) {
        bare.insert(rules, (*depth, number), pages).unwrap_or_else(|error| panic!("{error}"));
    }
    bare
}

fn owner(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Bound(id) => id.index() as u32 + 1,
        Verdict::Unbound(_) => 0,
    }
}

/// Everybody's tables, to outlive the contestants.
struct Peers {
    bare: Bare,
    direct: Direct,
    bucket: Bucket,
    fx: Fx,
    foldhash: Foldhash,
    kernel: Option<Kernel>,
    rows: Vec<(&'static str, Row)>,
    one_by_one: Vec<Rbpf>,
    foreign: Vec<Foreign>,
}

impl Peers {
    fn new(workload: &Workload, skipped: &mut Vec<String>) -> Peers {
        let kernel = Kernel::here(workload);
        let udp = workload.variant == Variant::Udp;
        let hashed = udp || workload.variant == Variant::Tcp5;
        let (filters, mut rows) = (workload.keys.len(), Vec::new());
        let mut row = |name, wanted: bool, make: fn(&Kernel, &Workload) -> Option<Row>| {
            let Some(kernel) = kernel.as_ref().filter(|_| wanted) else { return };
            match make(kernel, workload) {
                Some(row) => rows.push((name, row)),
                None => skipped.push(format!("{name} with {filters}: the kernel does not take it")),
            }
        };
        row("XDP, array by port", udp, Kernel::by_port);
        row("XDP, hash in eBPF", hashed, Kernel::by_hash);
        row("XDP, HASH map", hashed && filters <= 100_000, Kernel::by_map);
        row("XDP, search by halves", hashed && filters <= HALVES, Kernel::by_halves);
        let alone = hashed && filters <= ONE_BY_ONE;
        let rules = workload.filters.iter().filter(|_| alone).map(|(rules, _)| rules.clone());
        let one_by_one =
            rules.map(|rules| Rbpf::new(&lowered(&Space::from_rules(rules)))).collect();
        let foreign = Foreign::all(workload, skipped);
        Peers {
            bare: filled(workload, &mut HostPages::default()),
            direct: Direct::new(workload),
            bucket: Bucket::new(workload),
            fx: Fx::new(workload),
            foldhash: Foldhash::new(workload),
            kernel,
            rows,
            one_by_one,
            foreign,
        }
    }

    fn batch(&self, frames: &[&[u8]], owners: &mut [u32]) {
        let mut verdicts = [Verdict::Unbound(None); 64];
        self.bare.engine().classify_batch(frames, &mut verdicts);
        for (owner_of, verdict) in owners.iter_mut().zip(verdicts) {
            *owner_of = owner(verdict);
        }
    }

    fn contestants<'a>(&'a self, workload: &'a Workload) -> Vec<Contestant<'a>> {
        let engine = self.bare.engine();
        let mut all = vec![
            Contestant::new("sluice", workload, |frame| owner(engine.classify(frame))),
            Contestant::batched("sluice, batches of 64", workload, |f, o| self.batch(f, o)),
        ];
        match workload.variant {
            Variant::Udp => {
                all.push(Contestant::new("table by port", workload, |f| self.direct.owner(f)));
                all.push(Contestant::new("bucket hash", workload, |f| {
                    self.bucket.owner::<true>(f)
                }));
                all.push(Contestant::new("hashbrown, fx", workload, |f| self.fx.owner::<true>(f)));
                let foldhash = |f: &Frame| self.foldhash.owner::<true>(f);
                all.push(Contestant::new("hashbrown, foldhash", workload, foldhash));
            }
            Variant::Tcp5 => {
                let bucket = |f: &Frame| self.bucket.owner::<false>(f);
                all.push(Contestant::new("bucket hash", workload, bucket));
                all.push(Contestant::new("hashbrown, fx", workload, |f| self.fx.owner::<false>(f)));
                let foldhash = |f: &Frame| self.foldhash.owner::<false>(f);
                all.push(Contestant::new("hashbrown, foldhash", workload, foldhash));
            }
            Variant::Nested => {
                let nested = Nested::new(workload);
                let owner = move |f: &Frame| nested.owner(f);
                all.push(Contestant::new("hashbrown, fx, then the listener", workload, owner));
            }
            Variant::Mixed => {}
        }
        if !self.one_by_one.is_empty() {
            let accepts =
                |frame: &Frame| self.one_by_one.iter().position(|one| one.read(frame) != 0);
            let owner = move |frame: &Frame| accepts(frame).map_or(0, |at| at as u32 + 1);
            all.push(Contestant::new("rbpf, compiled, one by one", workload, owner));
        }
        if let Some(kernel) = &self.kernel {
            let timed = |(name, row)| Contestant::timed(name, move || kernel.time(row));
            all.extend(self.rows.iter().map(|(name, row)| timed((*name, row))));
        }
        for foreign in &self.foreign {
            for (at, name) in foreign.rows.iter().enumerate() {
                all.push(Contestant::timed(name, move || foreign.turn(at)));
            }
        }
        all
    }
}

fn compete(workload: &Workload, rounds: usize, report: &mut Report, skipped: &mut Vec<String>) {
    let peers = Peers::new(workload, skipped);
    if peers.kernel.is_none() {
        let why = "the host's kernel: it takes no programs from this process (root?)";
        skipped.push(why.to_owned());
    }
    let mut all = peers.contestants(workload);
    Contestant::compete(&mut all, rounds);
    report.add(workload.variant.name(), workload.keys.len() as u32, &all);
}

/// What an insertion and a removal cost with many filters, and the first filter of a new shape.
fn changes(filters: u32) -> String {
    eprintln!("insertions and removals with {filters} filters");
    let workload = Workload::new(Variant::Tcp5, filters + CHANGES);
    let mut pages = HostPages::default();
    let mut bare = Bare::new(HashKey::new(1));
    let (mut insert, mut remove, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    // Of single operations that take long, wall time also says when the host was elsewhere.
    let mut busy = Vec::new();
    let (mut growing, mut banks) = (Vec::new(), 0);
    for ((rules, depth), number) in workload.filters.iter().zip(0..) {
        let start = Instant::now();
        let done = bare.insert(rules, (*depth, number), &mut pages);
        let time = start.elapsed().as_nanos() as f64;
        done.unwrap_or_else(|error| panic!("{error}"));
        if number >= filters {
            insert.push(time);
        }
        // The last time that the table grows, and the insertions that move what is in it.
        let bytes = bare.engine().stats().table_bytes;
        if bytes > banks * 2 && number > filters / 3 {
            growing.clear();
        }
        banks = bytes;
        if growing.len() < CHANGES as usize {
            growing.push(time);
        }
    }
    for number in 0..CHANGES {
        let start = Instant::now();
        let there = bare.remove(number * (filters / CHANGES).max(1), &mut pages);
        remove.push(start.elapsed().as_nanos() as f64);
        assert!(there);
    }
    let other = Workload::new(Variant::Udp, 1);
    for _ in 0..50 {
        let number = filters + CHANGES;
        let (start, before) = (Instant::now(), clock::now());
        let done = bare.insert(&other.filters[0].0, (1, number), &mut pages);
        fresh.push(start.elapsed().as_nanos() as f64);
        busy.push((clock::now() - before).as_nanos() as f64);
        assert!(done.is_ok() && bare.remove(number, &mut pages));
    }
    let row = |name: &str, times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        let (p50, p99, worst) = (at(0.5), at(0.99), at(1.0));
        format!("| {name} | {p50:.0} | {p99:.0} | {worst:.0} |\n")
    };
    let worst = bare.engine().stats().moved_worst;
    format!(
        "\n### Changes with {filters} connections, nanoseconds of wall time\n\n\
         | | p50 | p99 | worst |\n|---|---|---|---|\n{}{}{}{}{}\n\
         Bytes of table moved by one operation at most: {worst}.\n",
        row("insert", &mut insert),
        row("insert while the table grows", &mut growing),
        row("remove", &mut remove),
        row("first filter of a new shape", &mut fresh),
        row("the same, time of the thread", &mut busy),
    )
}
