//! The ledger: what the proofs say of a few thousand programs, and what it cost them.
//!
//! Soundness has oracles; precision and cost have none that would notice a small loss. So every
//! answer is kept in `testdata/verifier/ledger.txt`: how many programs of a group are accepted, the
//! sums of their worst cases and of the work, what the others are refused for, and a hash of
//! everything else that the answers say. Whoever changes an answer changes the ledger too
//! (`SLUICE_SNAPSHOTS=write cargo test -p sluice-verifier --test ledger`) and sees in the
//! difference what became better and what became worse.

mod common;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;

use common::{Random, bind_worked, derive_worked, program, space, worked};
use ebpf::{Kind, Program};
use sluice_verifier::fuzzing::{cases, domains};
use sluice_verifier::{
    Claim, ClaimProof, GrantId, Refusal, RefusalCode, Registry, SafetyProof, Verified, arena_bytes,
    safety_bytes,
};

/// Generated programs of one line, and lines of one kind of program.
const GROUP: usize = 40;
const GROUPS: usize = 10;

/// FNV-1a: of what is too long to be shown.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Ok(())
    }
}

/// One line of the ledger.
struct Line {
    accepted: usize,
    worst: u64,
    work: u64,
    rules: usize,
    reasons: BTreeMap<String, usize>,
    rest: Hash,
}

impl Line {
    fn new() -> Line {
        let (reasons, rest) = (BTreeMap::new(), Hash(0xcbf2_9ce4_8422_2325));
        Line { accepted: 0, worst: 0, work: 0, rules: 0, reasons, rest }
    }

    fn say(&mut self, what: &dyn Debug) {
        let _ = write!(self.rest, "{what:?};");
    }

    /// The proof of safety.
    fn safety(&mut self, program: Program) -> Option<Verified> {
        let mut proof = SafetyProof::new(program);
        let answer = worked(&mut self.work, |fuel| proof.step(fuel));
        let verified = self.answered(answer)?;
        self.worst += u64::from(verified.worst_case());
        for pc in 0..verified.program().len() as u32 {
            self.say(&(verified.context_load(pc), verified.map_at(pc), verified.helper_at(pc)));
        }
        Some(verified)
    }

    /// Both proofs of a filter.
    fn claim(&mut self, program: Program) -> Option<Claim> {
        let verified = self.safety(program)?;
        self.accepted -= 1;
        let mut proof = ClaimProof::new(verified);
        let answer = worked(&mut self.work, |fuel| proof.step(fuel));
        let claim = self.answered(answer)?;
        self.rules += claim.space().rules().len();
        self.say(claim.space());
        Some(claim)
    }

    fn answered<T>(&mut self, answer: Result<T, Refusal>) -> Option<T> {
        match answer {
            Ok(value) => {
                self.accepted += 1;
                Some(value)
            }
            Err(refusal) => {
                *self.reasons.entry(reason(&refusal)).or_default() += 1;
                self.say(&(refusal.pc, &refusal));
                None
            }
        }
    }

    fn write(&self, name: &str, text: &mut String) {
        let Line { accepted, worst, work, rules, reasons, rest } = self;
        let _ = write!(text, "{name}: {accepted} accepted, worst {worst}, work {work}");
        if *rules > 0 {
            let _ = write!(text, ", rules {rules}");
        }
        for (reason, count) in reasons {
            let _ = write!(text, ", {reason} {count}");
        }
        let _ = writeln!(text, " #{:016x}", rest.0);
    }
}

/// The reason's name, without what it says about registers and offsets.
fn reason(refusal: &Refusal) -> String {
    let text = match refusal.code {
        RefusalCode::Unsafe(reason) => format!("{reason:?}"),
        RefusalCode::Undecided(reason) => format!("{reason:?}"),
        RefusalCode::Limit => refusal.limit.map_or_else(String::new, |limit| limit.name.to_owned()),
        code => format!("{code:?}"),
    };
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

fn generated(text: &mut String) {
    let kinds = [("ash", Kind::Ash), ("memory", Kind::Memory), ("filter", Kind::Filter)];
    for ((name, kind), rich) in kinds.iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        if *kind == Kind::Filter && rich {
            continue;
        }
        let mut random = Random(0x1ed6_e201 + u64::from(rich));
        let style = if rich { "rich" } else { "plain" };
        for group in 0..GROUPS {
            let mut line = Line::new();
            for _ in 0..GROUP {
                let length = 40 + random.below(420) as usize;
                let bytes = random.bytes(length);
                let program = match rich {
                    true => ebpf::fuzzing::rich_program_from_bytes(*kind, &bytes),
                    false => ebpf::fuzzing::program_from_bytes(*kind, &bytes),
                };
                match (kind, program) {
                    (_, None) => {}
                    (Kind::Filter, Some(program)) => drop(line.claim(program)),
                    (_, Some(program)) => drop(line.safety(program)),
                }
            }
            line.write(&format!("{name} {style} {group}"), text);
        }
    }
}

/// What each operation and branch of the number domain makes of some hundred pairs of sets.
fn numbers(text: &mut String) {
    let mut lines: BTreeMap<String, (usize, Hash)> = BTreeMap::new();
    for query in domains::queries(0x1ed6_e202, 150) {
        let (count, hash) = lines.entry(query.name).or_insert((0, Line::new().rest));
        *count += 1;
        let _ = hash.write_str(&query.text);
    }
    for (name, (count, hash)) in lines {
        let _ = writeln!(text, "number {name}: {count} pairs #{:016x}", hash.0);
    }
}

/// The published bugs and their twins.
fn published(text: &mut String) {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for case in cases::all().unwrap_or_else(|error| panic!("{error}")) {
        let class = case.name.split('/').next().unwrap_or_default().to_owned();
        if let Ok(program) = case.program() {
            let _ = lines.entry(class).or_insert_with(Line::new).safety(program);
        }
    }
    for (class, line) in lines {
        line.write(&format!("case {class}"), text);
    }
}

/// Programs made to need much, each by itself.
fn shapes(text: &mut String) {
    let mut programs = Vec::new();
    for size in [1, 40, 400] {
        for (name, shape) in SHAPES {
            programs.push((format!("{name} {size}"), shape(size)));
        }
    }
    for (name, program) in programs {
        let mut line = Line::new();
        match program.kind() {
            Kind::Filter => drop(line.claim(program)),
            _ => drop(line.safety(program)),
        }
        line.write(&name, text);
    }
}

type Shape = fn(usize) -> Program;

const SHAPES: [(&str, Shape); 7] = [
    ("diamonds", diamonds),
    ("waiting", waiting),
    ("nodes", nodes),
    ("loops", loops),
    ("functions", functions),
    ("spills", spills),
    ("masks", masks),
];

/// Diamonds that feed an accumulator.
fn diamonds(count: usize) -> Program {
    let mut text = String::from("call helper 7\nmov %r6, 0\n");
    for at in 0..count {
        let _ = writeln!(text, "jset %r0, {}, d{at}\nadd %r6, {at}\nd{at}:", 1u32 << (at % 31));
    }
    let _ = writeln!(text, "and %r6, 7\nmov %r1, %r10\nstxdw [%r10-8], %r6");
    let _ = writeln!(text, "add %r1, -8\nadd %r1, %r6\nldxb %r0, [%r1+0]\nexit");
    program(Kind::Ash, &text)
}

/// Short sides that wait until the long one is done, each with a stack full of values.
fn waiting(count: usize) -> Program {
    let mut text = String::new();
    for slot in 1..=64 {
        let _ = writeln!(text, "stdw [%r10-{}], {slot}", slot * 8);
    }
    let _ = writeln!(text, "call helper 5");
    for at in 0..count {
        let _ = writeln!(text, "jne %r0, {at}, l{at}\nmov %r0, 1\nexit\nl{at}:");
    }
    let _ = writeln!(text, "exit");
    program(Kind::Ash, &text)
}

/// The ends of a frame of 600 bytes at least.
const LOADS: &str = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2
    add %r4, 600\njgt %r4, %r3, out\n";

/// Diamonds in a filter whose sides leave different values behind.
fn nodes(count: usize) -> Program {
    let mut text = format!("{LOADS}mov %r8, 0\n");
    for at in 0..count {
        let (byte, bit) = (14 + at, 1u32 << (at % 31));
        let _ = writeln!(
            text,
            "ldxb %r5, [%r2+{byte}]\njgt %r5, 7, l{at}\nor %r8, {bit}\nl{at}: mov %r9, 0"
        );
    }
    let _ = writeln!(text, "mov %r0, %r8\nout: exit");
    program(Kind::Filter, &text)
}

/// Loops one after the other, with a bound that is not a constant.
fn loops(count: usize) -> Program {
    let mut text = String::from("call helper 7\nmov %r7, %r0\nmov %r8, 0\n");
    for at in 0..count {
        let _ = writeln!(text, "mov %r6, %r7\nand %r6, {}", at % 15 + 1);
        let _ = writeln!(text, "h{at}: jeq %r6, 0, e{at}\nadd %r8, %r6\nsub %r6, 1\nja h{at}");
        let _ = writeln!(text, "e{at}:");
    }
    let _ = writeln!(text, "mov %r0, %r8\nexit");
    program(Kind::Ash, &text)
}

/// Functions that call the next.
fn functions(count: usize) -> Program {
    let mut text = String::from("mov %r6, 3\n");
    for _ in 0..count {
        let _ = writeln!(text, "mov %r1, %r6\ncall local f\nmov %r6, %r0");
    }
    let _ = writeln!(text, "mov %r0, %r6\nexit\nf: and %r1, 7\ncall local g\nexit");
    let _ = writeln!(text, "g: mov %r2, %r10\nadd %r1, 1\nstxdw [%r2-8], %r1\nmov %r0, %r1\nexit");
    program(Kind::Ash, &text)
}

/// A filter that keeps words on its stack, in another order on every other way.
fn spills(count: usize) -> Program {
    let mut text = String::from(LOADS);
    for at in 0..count.min(60) {
        let (one, other) = (8 * (at % 7 + 1), 8 * (at % 5 + 9));
        let _ = writeln!(text, "ldxb %r5, [%r2+{at}]\njgt %r5, 7, a{at}");
        let _ = writeln!(text, "stxdw [%r10-{one}], %r5\nstxdw [%r10-{other}], %r5\nja b{at}");
        let _ = writeln!(text, "a{at}: stxdw [%r10-{other}], %r5\nstxdw [%r10-{one}], %r5");
        let _ = writeln!(text, "b{at}: stxb [%r10-{}], %r5", one + 8);
        let _ = writeln!(text, "ldxdw %r0, [%r10-{one}]\njeq %r0, {at}, out");
    }
    let _ = writeln!(text, "mov %r0, 0\nout: exit");
    program(Kind::Filter, &text)
}

/// A filter that puts the bits of one field together in many ways.
fn masks(count: usize) -> Program {
    let mut text = String::from(LOADS);
    for at in 0..count.min(60) {
        let (op, mask) = (["xor", "or", "and", "add", "sub", "lsh", "rsh"][at % 7], at * 5 % 64);
        let by = if at % 7 > 4 { format!("{}", at % 5) } else { String::from("%r5") };
        let _ = writeln!(text, "ldxb %r5, [%r2+{at}]\nmov %r6, %r5\nand %r6, {mask}");
        let _ = writeln!(text, "{op} %r6, {by}\njeq %r6, {}, out", at % 16);
    }
    let _ = writeln!(text, "mov %r0, 0\nout: exit");
    program(Kind::Filter, &text)
}

/// Filters of many tenants under a few grants: who gets in, and what the search for neighbours
/// took.
fn owners(text: &mut String) {
    let mut registry = Registry::new();
    let (mut grants, mut bindings) = (vec![GrantId::ROOT], Vec::new());
    let mut random = Random(0x0e4e_0001);
    let (mut line, mut bound, mut derived) = (Line::new(), 0, 0);
    for _ in 0..600 {
        let Ok(program) = flow::lower::lower(&space(&expression(&mut random))) else { continue };
        let Some(claim) = line.claim(program) else { continue };
        let grant = grants[random.below(grants.len() as u64) as usize];
        if random.below(8) == 0 {
            let answer = derive_worked(&mut line.work, &mut registry, grant, claim);
            derived += usize::from(answer.is_ok());
            line.say(&answer);
            grants.extend(answer);
        } else {
            let answer = bind_worked(&mut line.work, &mut registry, grant, claim);
            bound += usize::from(answer.is_ok());
            line.say(&answer);
            bindings.extend(answer);
        }
        if random.below(16) == 0 && !bindings.is_empty() {
            let gone = bindings.swap_remove(random.below(bindings.len() as u64) as usize);
            line.say(&registry.release(gone).is_some());
        }
    }
    line.write(&format!("owners: {bound} bound, {derived} derived"), text);
}

/// An expression as tenants write them.
fn expression(random: &mut Random) -> String {
    let protocol = if random.below(2) == 0 { "udp" } else { "tcp" };
    let port = random.below(3000);
    match random.below(6) {
        0 => format!("{protocol} and dst port {port}"),
        1 => format!("{protocol} and dst port {port} and src host 10.0.{}.1", random.below(4)),
        2 => format!("{protocol} and src net 10.{}.0.0/16 and dst port {port}", random.below(4)),
        3 => format!("{protocol} and dst portrange {port}-{}", port + random.below(40)),
        4 => format!("ip and dst host 10.1.{}.{}", random.below(4), random.below(200)),
        _ => format!("ip6 and {protocol} and dst port {port}"),
    }
}

/// What has to be reserved.
fn rooms(text: &mut String) {
    for slots in [1, 64, 1024, 4096, 65_536] {
        let (safety, all) = (safety_bytes(slots), arena_bytes(slots));
        let _ = writeln!(text, "room for {slots}: {safety} bytes for safety, {all} for all proofs");
    }
}

#[test]
fn answers_and_their_cost_are_those_in_the_ledger() {
    let mut text = String::new();
    generated(&mut text);
    numbers(&mut text);
    published(&mut text);
    shapes(&mut text);
    owners(&mut text);
    rooms(&mut text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/verifier/ledger.txt");
    if std::env::var_os("SLUICE_SNAPSHOTS").is_some_and(|value| value == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = |(old, new): (&str, &str)| (old != new).then(|| format!("-{old}\n+{new}\n"));
    let changes: String = kept.lines().zip(text.lines()).filter_map(changed).collect();
    assert!(kept == text, "not as in the ledger:\n{changes}");
}
