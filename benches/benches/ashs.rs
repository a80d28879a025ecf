//! How good is handlers' code, beside the kernel's compiler and `rbpf`'s on the same bytecode?
//!
//! A dozen programs, each on one frame again and again. All contestants must return the same and
//! leave the same frame. Lowest of nine rounds in turn; of the kernel's figures what an empty
//! program costs (20 ns and more) is subtracted: short programs hide in it, and figures below about
//! 10 ns say nothing. Compiling is ours alone, checked and sealed: the kernel's and
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
    ("hash, 16 looked up", include_str!("../ashs/store.s"), HASH),
    ("hash, 4 written", include_str!("../ashs/updates.s"), HASH),
];

/// How all of them begin: the frame's ends.
const ENDS: &str = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\n";

/// What a program cannot be told from nothing by, in nanoseconds of the kernel's turns.
const HIDDEN: f64 = 4.0;
const ROUNDS: usize = 9;
const FRAME_BYTES: usize = 1514;
/// Nanoseconds of one turn, about.
const TURN: f64 = 4e6;

fn main() {
    let linux = Linux::here();
    let empty = linux.and_then(|linux| {
        let program = asm::program(Kind::Ash, "mov %r0, 2\nexit").ok()?;
        linux.load(&program, &[]).ok()?.program.ok()
    });
    println!(
        "| handler | slots | Sluice, ns | kernel, ns (ours relative) | rbpf, ns (ours relative) | \
         compiled, checked, sealed: ns per slot |"
    );
    println!("|---|---|---|---|---|---|");
    let mut ratios = [Vec::new(), Vec::new()];
    for handler in &HANDLERS {
        let row = measure(handler, linux, empty.as_ref());
        let cell = |peer: Option<f64>, hidden: f64| match peer {
            None => "-".to_owned(),
            Some(time) if time < hidden => format!("under {hidden:.0}"),
            Some(time) => format!("{time:.1} ({:.2})", row.ours / time),
        };
        println!(
            "| {} | {} | {:.1} | {} | {} | {:.0} |",
            handler.0,
            row.slots,
            row.ours,
            cell(row.peers[0], HIDDEN),
            cell(row.peers[1], 0.0),
            row.compile
        );
        for (ratios, peer) in ratios.iter_mut().zip(row.peers) {
            ratios.extend(peer.filter(|_| row.ours >= 50.0).map(|time| row.ours / time));
        }
    }
    for (who, ratios) in ["the kernel", "rbpf"].iter().zip(&ratios) {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        println!("| of 50 ns or more, geometric mean beside {who} | | | {mean:.2} | | |");
    }
    println!("| uBPF: no package of the distribution, skipped | | | | | |");
}

struct Row {
    slots: usize,
    ours: f64,
    peers: [Option<f64>; 2],
    compile: f64,
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

fn measure((name, text, map): &Handler, linux: Option<Linux>, empty: Option<&Loaded>) -> Row {
    let specs: Vec<MapSpec> = map.iter().map(|make| make()).collect();
    let program = assembled(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = program.with_maps(specs.clone());
    let (native, compile) = compiled(&program, &specs);
    let expected = {
        let mut frame = frame();
        (native.run(&mut PacketBuffer::whole(&mut frame)), frame)
    };
    let kernel = linux.and_then(|linux| {
        let maps: Vec<Filled> =
            specs.iter().map(|spec| Filled { spec: *spec, initial: Vec::new() }).collect();
        let verdict = linux.load(&program, &maps).ok()?;
        if verdict.program.is_err() {
            eprintln!("{name}: the kernel refuses it: {:?}", verdict.reason());
        }
        verdict.program.ok()
    });
    if let Some(kernel) = &kernel {
        let ran = kernel.run(&frame()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((u64::from(ran.0), ran.1), expected, "{name}: the kernel's");
    }
    let rbpf = specs.is_empty().then(|| Rbpf::new(&ebpf::encode(&program)));
    if let Some(rbpf) = &rbpf {
        let mut frame = frame();
        assert_eq!((rbpf.run(&mut frame), frame), expected, "{name}: rbpf's");
    }
    let mut mine = frame();
    let mut theirs = frame();
    let [mut ours, mut other, mut best, mut least] = [f64::MAX; 4];
    for _ in 0..ROUNDS {
        ours = ours.min(turn(|| native.run(&mut PacketBuffer::whole(&mut mine))));
        if let Some(rbpf) = &rbpf {
            other = other.min(turn(|| rbpf.run(&mut theirs)));
        }
        if let (Some(kernel), Some(empty)) = (&kernel, empty) {
            best = best.min(repeated(kernel));
            least = least.min(repeated(empty));
        }
    }
    let peers = [kernel.map(|_| best - least), rbpf.map(|_| other)];
    Row { slots: program.len(), ours, peers, compile }
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
