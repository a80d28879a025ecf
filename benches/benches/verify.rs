//! What does it cost to prove a program safe?
//!
//! Straight-line programs of bounds-checked loads, stores to the stack and arithmetic; and the
//! handlers in `testdata/verifier`.

use std::fmt::Write;

use criterion::{BatchSize, Throughput};
use ebpf::{Kind, Program, asm};
use sluice_benches::clock::{Group, criterion};
use sluice_benches::world::safe;

const HANDLERS: [(&str, &str); 3] = [
    ("udp_echo", include_str!("../../testdata/verifier/udp_echo.bpf")),
    ("icmp_echo", include_str!("../../testdata/verifier/icmp_echo.bpf")),
    ("arp_reply", include_str!("../../testdata/verifier/arp_reply.bpf")),
];

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("verify");
    group.sample_size(30);
    for slots in [64, 512, 4096] {
        let program = straight(slots);
        assert_eq!(program.len(), slots);
        verify(&mut group, &format!("straight, {slots} slots"), &program);
    }
    for (name, text) in HANDLERS {
        let program = assembled(Kind::Ash, text);
        verify(&mut group, &format!("{name}, {} slots", program.len()), &program);
    }
    group.finish();
    criterion.final_summary();
}

fn verify(group: &mut Group<'_>, name: &str, program: &Program) {
    group.throughput(Throughput::Elements(program.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(|| program.clone(), safe, BatchSize::SmallInput);
    });
}

/// Exactly `slots` slots: a length check, then groups of four, then the verdict.
fn straight(slots: usize) -> Program {
    let mut text = String::from(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, 60\n\
         jgt %r4, %r3, out\n",
    );
    let (head, tail) = (6, 1);
    for number in 0..slots - head - tail {
        let line = match number % 4 {
            0 => format!("ldxw %r5, [%r2+{}]", number % 56),
            1 => String::from("add %r0, %r5"),
            2 => format!("stxdw [%r10-{}], %r0", 8 + number % 64 * 8),
            _ => String::from("xor %r0, 0x5a5a"),
        };
        let _infallible = writeln!(text, "{line}");
    }
    text.push_str("out: exit\n");
    assembled(Kind::Filter, &text)
}

fn assembled(kind: Kind, text: &str) -> Program {
    asm::program(kind, text).unwrap_or_else(|error| panic!("{error}"))
}
