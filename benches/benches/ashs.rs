//! How good is handlers' code, beside the kernel's compiler and `rbpf`'s on the same bytecode?
//!
//! A dozen programs, each on one frame again and again. All contestants must return the same and
//! leave the same frame. Lowest of nine rounds in turn. From everybody's figures what an empty
//! program costs there is subtracted: a call and its preparation (2 to 5 ns here, 20 ns and more in
//! the kernel). Short programs hide in it, and figures below about 10 ns say little. Compiling is
//! ours alone, checked and sealed: the kernel's and
//! `rbpf`'s are timed with what they cannot be told apart from (proof, allocation).
//!
//! `cargo bench -p sluice-benches --bench ashs`, as `cargo run -- evidence ashs` does it.

use std::sync::Arc;
use std::time::Instant;

use dpf::NativeProgram;
use ebpf::{Kind, MapSpec, Program, asm};
use runtime::PacketBuffer;
use runtime::map::Map;
use runtime::native::HostPages;
use sluice_benches::clock;
use sluice_benches::frames::udp;
use sluice_benches::peers::Rbpf;
use sluice_benches::peers::linux::{Filled, Linux, Loaded};
use sluice_benches::peers::ubpf::{Built, Ubpf};
use sluice_benches::world::{ADDRESS, safe};

/// Name, text, and map.
type Handler = (&'static str, &'static str, Option<Maps>);

/// What a handler's map is made by.
type Maps = fn() -> MapSpec;

const ARRAY: Option<Maps> = Some(|| MapSpec::array(16, 64));
const HASH: Option<Maps> = Some(|| MapSpec::hash(8, 16, 64));

const HANDLERS: [Handler; 22] = [
    ("echo", include_str!("../../examples/ash/echo.s"), None),
    ("parse", include_str!("../ashs/parse.s"), None),
    ("checksum", include_str!("../ashs/checksum.s"), None),
    ("question", include_str!("../ashs/question.s"), None),
    ("byte order", include_str!("../ashs/swaps.s"), None),
    ("forward", include_str!("../ashs/forward.s"), None),
    ("array look-up", include_str!("../ashs/lookup.s"), ARRAY),
    ("array update, atomic", include_str!("../ashs/count.s"), ARRAY),
    ("hash look-up", include_str!("../ashs/keyvalue.s"), HASH),
    ("sum of 1,496 bytes", include_str!("../ashs/sum1500.s"), None),
    ("checksum of a ping of 1,480", include_str!("../ashs/icmp.s"), None),
    ("unmask 1,024 bytes", include_str!("../ashs/unmask.s"), None),
    ("FNV of 256 bytes", include_str!("../ashs/fnv.s"), None),
    ("SipHash of 256 bytes", include_str!("../ashs/siphash.s"), None),
    ("Toeplitz hash", include_str!("../ashs/toeplitz.s"), None),
    ("arithmetic", include_str!("../ashs/arithmetic.s"), None),
    ("decimal digits", include_str!("../ashs/decimal.s"), None),
    ("name of 100 bytes", include_str!("../ashs/name.s"), None),
    ("line of 600 bytes", include_str!("../ashs/find.s"), None),
    ("array, 64 updates", include_str!("../ashs/histogram.s"), ARRAY),
    ("hash, 32 looked up", include_str!("../ashs/store.s"), HASH),
    ("hash, 8 written", include_str!("../ashs/updates.s"), HASH),
];

/// How all of them begin: the frame's ends.
const ENDS: &str = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\n";

/// What a program cannot be told from nothing by, in nanoseconds.
const HIDDEN: f64 = 4.0;
/// From here on a program counts in the mean.
const LONG: f64 = 50.0;
const ROUNDS: usize = 9;
const FRAME_BYTES: usize = 1514;
/// Nanoseconds of one turn, about.
const TURN: f64 = 4e6;

/// Who takes turns: this engine and its peers.
const NAMES: [&str; 4] = ["Sluice", "the kernel", "rbpf", "uBPF"];
/// A contestant's turn with one program: nanoseconds of a call.
type Turns = [Option<Box<dyn FnMut() -> f64>>; NAMES.len()];

/// The peers that this machine has.
struct Peers {
    linux: Option<Linux>,
    ubpf: Result<Built, String>,
}

fn main() {
    let peers = Peers { linux: Linux::here(), ubpf: Built::new() };
    let mut empty = contestants(&("nothing", "mov %r0, 2\nexit\n", None), &peers).turns;
    println!(
        "| handler | slots | Sluice, ns | kernel, ns (ours relative) | rbpf, ns (ours relative) | \
         uBPF, ns (ours relative) | compiled, checked, sealed: ns per slot |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut ratios: [Vec<f64>; NAMES.len()] = Default::default();
    let mut least = [f64::MAX; NAMES.len()];
    for handler in &HANDLERS {
        let mut found = contestants(handler, &peers);
        let mut nothing = [f64::MAX; NAMES.len()];
        let times = measure(&mut found.turns, &mut empty, &mut nothing);
        least = std::array::from_fn(|at| least[at].min(nothing[at]));
        let ours = times[0].unwrap_or(f64::NAN);
        let cells: Vec<String> = times[1..].iter().map(|peer| cell(ours, *peer)).collect();
        let cells = cells.join(" | ");
        println!(
            "| {} | {} | {ours:.1} | {cells} | {:.0} |",
            handler.0, found.slots, found.compile
        );
        for (ratios, time) in ratios.iter_mut().zip(times) {
            ratios.extend(time.filter(|_| ours >= LONG).map(|time| ours / time));
        }
    }
    for (who, ratios) in NAMES.iter().zip(&ratios).skip(1).filter(|(_, ratios)| !ratios.is_empty())
    {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let count = ratios.len();
        println!(
            "| geometric mean of the {count} of {LONG:.0} ns or more, beside {who} | | {mean:.2} |"
        );
    }
    let nothing: Vec<String> =
        NAMES.iter().zip(least).map(|(n, t)| format!("{n} {t:.1}")).collect();
    println!(
        "| subtracted, an empty program in the same turns, at least: {} ns | | |",
        nothing.join(", ")
    );
    if let Err(why) = &peers.ubpf {
        println!("| uBPF skipped: {why} | | |");
    }
}

fn cell(ours: f64, peer: Option<f64>) -> String {
    match peer {
        None => "-".to_owned(),
        Some(time) if time < HIDDEN => format!("under {HIDDEN:.0}"),
        Some(time) => format!("{time:.1} ({:.2})", ours / time),
    }
}

/// The least of each contestant's turns, less its least with an empty program.
fn measure(
    turns: &mut Turns,
    empty: &mut Turns,
    nothing: &mut [f64],
) -> [Option<f64>; NAMES.len()] {
    let mut least = [f64::MAX; NAMES.len()];
    for _ in 0..ROUNDS {
        let both = turns.iter_mut().zip(empty.iter_mut());
        for ((turns, least), nothing) in both.zip(&mut least).zip(nothing.iter_mut()) {
            if let (Some(turn), Some(empty)) = turns {
                *least = least.min(turn());
                *nothing = nothing.min(empty());
            }
        }
    }
    std::array::from_fn(|at| turns[at].as_ref().map(|_| least[at] - nothing[at]))
}

/// A handler's program; all but the example leave its beginning to this.
fn assembled(text: &str) -> Result<Program, asm::AsmError> {
    let ends = if text.contains("%r1+") { "" } else { ENDS };
    asm::program(Kind::Ash, &format!("{ends}{text}"))
}

/// A frame to one of our ports, long.
fn frame() -> Vec<u8> {
    let mut frame = udp(ADDRESS, 7).to_vec();
    frame.resize(FRAME_BYTES, 0x5a);
    frame
}

struct Found {
    slots: usize,
    compile: f64,
    turns: Turns,
}

/// Everybody who can run a handler, after all of them have answered alike.
fn contestants((name, text, map): &Handler, peers: &Peers) -> Found {
    let specs: Vec<MapSpec> = map.iter().map(|make| make()).collect();
    let program = assembled(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = program.with_maps(specs.clone());
    let (native, compile) = compiled(&program, &specs);
    let mut mine = frame();
    let expected = (native.run(&mut PacketBuffer::whole(&mut mine)), mine.clone());
    let kernel = peers.linux.and_then(|linux| in_kernel(name, linux, &program, &specs));
    if let Some(kernel) = &kernel {
        let ran = kernel.run(&frame()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((u64::from(ran.0), ran.1), expected, "{name}: the kernel's");
    }
    let bytecode = ebpf::encode(&program);
    let rbpf = specs.is_empty().then(|| Rbpf::new(&bytecode));
    let mut theirs = frame();
    if let Some(rbpf) = &rbpf {
        assert_eq!((rbpf.run(&mut theirs), theirs.clone()), expected, "{name}: rbpf's");
    }
    let ubpf = peers.ubpf.as_ref().ok().filter(|_| specs.is_empty());
    let ubpf = ubpf.and_then(|ubpf| ubpf.load(&bytecode));
    if let Some(ubpf) = &ubpf {
        assert_eq!(ubpf.run(&frame()), Some(expected), "{name}: uBPF's");
    }
    let turns: Turns = [
        Some(Box::new(move || turn(|| native.run(&mut PacketBuffer::whole(&mut mine))))),
        kernel.map(|kernel| Box::new(move || repeated(&kernel)) as Box<dyn FnMut() -> f64>),
        rbpf.map(|rbpf| Box::new(move || turn(|| rbpf.run(&mut theirs))) as Box<_>),
        ubpf.map(|ubpf| Box::new(move || elsewhere(&ubpf)) as Box<_>),
    ];
    Found { slots: program.len(), compile, turns }
}

fn in_kernel(name: &str, linux: Linux, program: &Program, specs: &[MapSpec]) -> Option<Loaded> {
    let filled = |spec: &MapSpec| Filled { spec: *spec, initial: Vec::new() };
    let verdict = linux.load(program, &specs.iter().map(filled).collect::<Vec<_>>()).ok()?;
    if verdict.program.is_err() {
        eprintln!("{name}: the kernel refuses it: {:?}", verdict.reason());
    }
    verdict.program.ok()
}

/// Native code, and nanoseconds per slot that making it took at least.
fn compiled(program: &Program, specs: &[MapSpec]) -> (NativeProgram, f64) {
    let verified = safe(program.clone());
    let maps: Vec<Arc<Map>> = specs
        .iter()
        .map(|spec| Map::new(*spec, [1, 2]).unwrap_or_else(|error| panic!("{error:?}")))
        .collect();
    let mut pages = HostPages::default();
    let mut make =
        || dpf::load_with(&verified, &maps, &mut pages).unwrap_or_else(|error| panic!("{error}"));
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let native = make();
        best = best.min(start.elapsed().as_nanos() as f64 / program.len() as f64);
        drop(native);
    }
    (make(), best)
}

/// Nanoseconds of one call, over a turn of them.
fn turn(mut run: impl FnMut() -> u64) -> f64 {
    let mut sum = 0;
    let mut calls = |count: u64| {
        let start = clock::now();
        (0..count).for_each(|_| sum += run());
        (clock::now() - start).as_nanos() as f64 / count as f64
    };
    let estimate = calls(200);
    let time = calls((TURN / estimate.max(1.0)) as u64 + 1);
    std::hint::black_box(sum);
    time
}

/// The same in the kernel.
fn repeated(program: &Loaded) -> f64 {
    let frame = frame();
    let times = |count: u32| {
        let taken = program.repeat(&frame, count);
        taken.map_or(f64::NAN, |(_, time)| time.as_nanos() as f64 / f64::from(count))
    };
    let estimate = times(500);
    times((TURN / estimate.max(1.0)) as u32 + 1)
}

/// The same in another process.
fn elsewhere(ubpf: &Ubpf) -> f64 {
    let estimate = ubpf.turn(500);
    ubpf.turn((TURN / estimate.max(1.0)) as u64 + 1)
}
