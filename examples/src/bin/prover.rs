//! Asks for proofs that are as long as proofs can be, one after the other: what they do to others.
//!
//! Each program has as many instructions as a program may have. Whether it is accepted does not
//! matter; it is taken back at once. The host is told the name of each before its proof.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use abi::limits::PROGRAM_SLOTS_MAX;
use libos::capability::report;
use libos::{Environment, Grant, println};
use libos_net::{Net, SocketError, explain, filter};

libos::entry!(main);

/// A port of the shared grant that nobody else binds.
const PORT: u16 = 7900;
/// How often each program is proven.
const ROUNDS: usize = 3;

/// Name, whether it is a handler (or a filter), and text.
type Case = (&'static str, bool, fn() -> String);

const CASES: [Case; 7] = [
    ("handler: a straight line", true, straight),
    ("handler: joins", true, || joins(false)),
    ("handler: joins over a full stack", true, || joins(true)),
    ("handler: one join of many branches", true, switch),
    ("handler: a loop around everything", true, around),
    ("handler: packet accesses", true, accesses),
    ("filter: many ways", false, ways),
];

fn main(environment: Environment) -> i32 {
    match prove_all(&environment) {
        Ok(accepted) => {
            println!("{} proofs, {accepted} accepted", CASES.len() * ROUNDS);
            0
        }
        Err(error) => explain::failed(&error),
    }
}

fn prove_all(environment: &Environment) -> Result<usize, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("public")?;
    let expression = filter::udp_expression(net.addresses().ipv4, PORT);
    let own = filter::from_expression(&expression)?;
    let mut accepted = 0;
    for (name, handler, text) in CASES {
        let Some(program) = assemble(&text()) else {
            println!("{name}: no program");
            continue;
        };
        for _ in 0..ROUNDS {
            // The host counts rounds by it.
            let _ = report(name.as_bytes());
            accepted += usize::from(prove(grant, &own, &program, handler));
        }
    }
    Ok(accepted)
}

/// Whether it was accepted.
fn prove(grant: Grant, own: &[u8], program: &[u8], handler: bool) -> bool {
    let (filter, handler) = if handler { (own, Some(program)) } else { (program, None) };
    match grant.bind(filter, handler) {
        Ok(binding) => binding.unbind().is_ok(),
        Err(_) => false,
    }
}

/// The bytes of a text that was cut to the limit, ending with `exit`.
fn assemble(text: &str) -> Option<Vec<u8>> {
    let insns = ebpf::asm::assemble(text).ok()?;
    let program = ebpf::Program::from_insns(ebpf::Kind::Ash, insns).ok()?;
    (program.len() <= PROGRAM_SLOTS_MAX).then(|| ebpf::encode(&program))
}

/// The frame's first 64 bytes are there, or the program ends.
const HEAD: &str = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 64\n\
                    jgt %r4, %r3, out\nldxdw %r6, [%r2+0]\nldxdw %r7, [%r2+8]\n";
const TAIL: &str = "out: mov %r0, 2\nexit\n";
/// Slots of both.
const ENDS: usize = 9;

/// Both ends, and so many slots of body as there is room for, in parts of so many.
fn fill(before: &str, slots_before: usize, slots: usize, part: impl Fn(usize) -> String) -> String {
    let mut text = String::from(HEAD);
    text.push_str(before);
    let parts = (PROGRAM_SLOTS_MAX - ENDS - slots_before) / slots;
    for number in 0..parts {
        text.push_str(&part(number));
    }
    text.push_str(TAIL);
    text
}

fn straight() -> String {
    fill("", 0, 1, |number| format!("add %r6, {number}\n"))
}

/// After each branch two states become one, over an empty stack or one full of unknown words.
fn joins(full: bool) -> String {
    let mut before = String::new();
    let words = if full { 64 } else { 0 };
    for word in 1..=words {
        // Writing to a string never fails.
        let _ = writeln!(before, "stxdw [%r10-{}], %r{}", word * 8, 6 + word % 2);
    }
    fill(&before, words, 3, |number| {
        let word = 8 * (1 + number % 64);
        let change =
            if full { format!("stxdw [%r10-{word}], %r7\n") } else { String::from("add %r7, 1\n") };
        format!("jgt %r6, {number}, a{number}\n{change}a{number}: xor %r6, %r7\n")
    })
}

/// Every branch leads to the end, each with another state.
fn switch() -> String {
    fill("", 0, 2, |number| format!("add %r6, {number}\njeq %r6, {number}, out\n"))
}

/// The body is gone through until the states at its head are the same.
fn around() -> String {
    let mut text = String::from(HEAD);
    text.push_str("mov %r8, 0\nagain: add %r8, 1\n");
    for number in 0..(PROGRAM_SLOTS_MAX - ENDS - 3) / 3 {
        let _ = writeln!(text, "jgt %r6, {number}, a{number}\nadd %r7, 1\na{number}: add %r6, %r8");
    }
    text.push_str("jlt %r8, 10, again\n");
    text.push_str(TAIL);
    text
}

fn accesses() -> String {
    fill("", 0, 2, |number| {
        let offset = number % 56;
        format!("ldxdw %r6, [%r2+{offset}]\nstxdw [%r2+{offset}], %r6\n")
    })
}

/// Ways through a filter that are told apart by bytes of the frame: its claim takes them all.
fn ways() -> String {
    let mut text = String::from(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 64\nmov %r0, 0\n\
         jgt %r4, %r3, out\n",
    );
    for number in 0..(PROGRAM_SLOTS_MAX - 8) / 3 {
        let (offset, value) = (number % 64, number / 64 * 5 % 256);
        let _ = writeln!(text, "ldxb %r5, [%r2+{offset}]\njne %r5, {value}, b{number}");
        let _ = writeln!(text, "xor %r0, 1\nb{number}:");
    }
    text.push_str("out: exit\n");
    text
}
