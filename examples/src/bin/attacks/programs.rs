//! Programs that must not be bound, and handlers that misbehave within what they may.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::refusal::Code;
use ebpf::Kind;
use libos::program::assemble;
use libos_net::filter;

use crate::attack::{Attack, Outcome};
use crate::lab::Lab;
use crate::tricks::verdict;

/// Ports of the shared grant that the attacks here ask for.
const WANTED: u16 = 7910;
const POKED: u16 = 7911;

/// Bytes that are no program.
const GARBAGE: &[(&str, &[u8])] = &[
    ("no bytes but one", &[0x95]),
    ("half an instruction", &[0x95, 0, 0, 0]),
    ("one and a half instructions", &[0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0]),
    ("all ones", &[0xff; 16]),
    ("all zeros", &[0; 16]),
    ("no exit", &[0xb7, 0, 0, 0, 1, 0, 0, 0]),
    ("half of a 64-bit load", &[0x18, 0, 0, 0, 1, 0, 0, 0]),
    (
        "a jump into a 64-bit load",
        &[
            5, 0, 1, 0, 0, 0, 0, 0, 0x18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0,
            0, 0, 0, 0, 0,
        ],
    ),
    ("a jump behind the end", &[5, 0, 9, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
    ("a jump before the start", &[5, 0, 0xf0, 0xff, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
    ("a register that there is not", &[0xb7, 0x0c, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
    ("a write to r10", &[0xb7, 0x0a, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
    ("reserved bits set", &[0xb7, 0x10, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
    ("an elf header", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
];

/// Filters that are programs and not safe, or that nobody can decide.
const FILTERS: &[(&str, &str, Code)] = &[
    ("an unwritten register", "mov %r0, %r5\nexit", Code::Unsafe),
    ("no verdict", "exit", Code::Unsafe),
    ("an unwritten stack byte", "ldxb %r0, [%r10-8]\nexit", Code::Unsafe),
    ("below the stack", "stdw [%r10-520], 1\nmov %r0, 0\nexit", Code::Unsafe),
    ("above the stack", "stdw [%r10+0], 1\nmov %r0, 0\nexit", Code::Unsafe),
    ("an unchecked read", "ldxw %r2, [%r1+0]\nldxb %r0, [%r2+0]\nexit", Code::Unsafe),
    (
        "a read before the packet",
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 0\n\
         jgt %r4, %r3, out\nldxb %r0, [%r2-1]\nout: exit",
        Code::Unsafe,
    ),
    (
        "one byte too far",
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 0\n\
         jgt %r4, %r3, out\nldxb %r0, [%r2+14]\nout: exit",
        Code::Unsafe,
    ),
    (
        "a write to the packet by a filter",
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 0\n\
         jgt %r4, %r3, out\nstb [%r2+0], 1\nout: exit",
        Code::Unsafe,
    ),
    ("a write to the context", "mov %r0, 0\nstxw [%r1+0], %r0\nexit", Code::Unsafe),
    ("a byte of the context", "ldxb %r0, [%r1+0]\nexit", Code::Unsafe),
    ("behind the context", "ldxw %r0, [%r1+64]\nexit", Code::Unsafe),
    ("through a number", "mov %r2, 4096\nldxw %r0, [%r2+0]\nexit", Code::Unsafe),
    (
        "through a kernel address",
        "lddw %r2, 0xffff800000100000\nldxdw %r0, [%r2+0]\nexit",
        Code::Unsafe,
    ),
    ("a pointer as verdict", "mov %r0, %r10\nexit", Code::Unsafe),
    ("a pointer as verdict by arithmetic", "mov %r0, %r1\nand %r0, 1\nexit", Code::Unsafe),
    ("a pointer times two", "mov %r2, %r10\nmul %r2, 2\nmov %r0, 0\nexit", Code::Unsafe),
    (
        "a pointer compared with a number",
        "mov %r0, 0\njgt %r10, 4096, out\nmov %r0, 1\nout: exit",
        Code::Unsafe,
    ),
    (
        "a spilled pointer read in part",
        "stxdw [%r10-8], %r1\nldxw %r0, [%r10-8]\nexit",
        Code::Unsafe,
    ),
    ("a loop", "mov %r0, 0\nagain: add %r0, 1\njlt %r0, 10, again\nexit", Code::Unsafe),
    ("a loop for ever", "mov %r0, 0\nagain: ja again\nexit", Code::Unsafe),
    ("code that nothing reaches", "mov %r0, 0\nexit\nmov %r0, 1\nexit", Code::Unsafe),
    ("a helper that there is not", "call helper 9999\nmov %r0, 0\nexit", Code::Unsafe),
    ("a kernel function", "call kernel 7\nmov %r0, 0\nexit", Code::Unsafe),
    ("a map", "lddw %r1, map_fd 3\nmov %r0, 0\nexit", Code::Unsafe),
    ("an indirect call", "mov %r2, 5\ncall %r2\nmov %r0, 0\nexit", Code::Unsafe),
    (
        "an atomic operation off its place",
        "mov %r2, 0\nstdw [%r10-8], 0\nstdw [%r10-16], 0\n\
         lock add [%r10-12], %r2\nmov %r0, 0\nexit",
        Code::Unsafe,
    ),
    (
        "a field times a field",
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 42\nmov %r0, 0\n\
         jgt %r4, %r3, out\nldxb %r5, [%r2+20]\nldxb %r6, [%r2+21]\nmul %r5, %r6\n\
         jne %r5, 6, out\nmov %r0, 1\nout: exit",
        Code::Undecided,
    ),
    (
        "a field compared with a field",
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 42\nmov %r0, 0\n\
         jgt %r4, %r3, out\nldxb %r5, [%r2+20]\nldxb %r6, [%r2+21]\njne %r5, %r6, out\n\
         mov %r0, 1\nout: exit",
        Code::OutsideGrant,
    ),
];

/// What squatters ask for; `US` stands for the machine's address.
const CLAIMS: &[(&str, &str, Code)] = &[
    ("everything", "len >= 14", Code::OutsideGrant),
    ("all datagrams", "udp", Code::OutsideGrant),
    ("all of ip", "ip", Code::OutsideGrant),
    ("the echo service's port", "udp and dst host US and dst port 7", Code::OutsideGrant),
    ("the control channel", "ether proto 0x88b5", Code::OutsideGrant),
    ("all arp", "arp", Code::OutsideGrant),
    ("another address", "udp and dst host 10.0.2.99 and dst port 7910", Code::OutsideGrant),
    ("tcp to a port of the grant", "tcp and dst host US and dst port 7910", Code::OutsideGrant),
    ("the same behind a vlan tag", "vlan and udp and dst port 7910", Code::OutsideGrant),
    ("ip version 6", "ip6 and udp and dst port 7910", Code::OutsideGrant),
    ("fragments", "ip and ip[6:2] & 0x1fff != 0 and dst host US", Code::OutsideGrant),
    ("a port below the grant's", "udp and dst host US and dst port 6999", Code::OutsideGrant),
    ("a port above the grant's", "udp and dst host US and dst port 8000", Code::OutsideGrant),
    (
        "a range one port too wide",
        "udp and dst host US and dst portrange 6999-7010",
        Code::OutsideGrant,
    ),
    ("the victim's port", "udp and dst host US and dst port 7777", Code::Overlap),
    (
        "a range around the victim's port",
        "udp and dst host US and dst portrange 7770-7780",
        Code::Overlap,
    ),
    ("the whole grant", "udp and dst host US and dst portrange 7000-7999", Code::Overlap),
    (
        "the victim's port behind options",
        "ip[0] & 0x0f > 5 and udp and dst host US and dst port 7777",
        Code::Overlap,
    ),
    (
        "the victim's port without options",
        "ip[0] == 0x45 and udp and dst host US and dst port 7777",
        Code::Overlap,
    ),
    (
        "first fragments for the victim's port",
        "ip[6:2] & 0x3fff == 0x2000 and udp and dst host US and dst port 7777",
        Code::Overlap,
    ),
    ("behind two vlan tags", "vlan and vlan and udp and dst port 7910", Code::OutsideGrant),
    (
        "the victim's port from one source",
        "udp and dst host US and dst port 7777 and src port 9",
        Code::Overlap,
    ),
    (
        "the victim's port with a payload",
        "udp and dst host US and dst port 7777 and udp[8] = 1",
        Code::Overlap,
    ),
    (
        "the victim's port in long frames",
        "udp and dst host US and dst port 7777 and len >= 1000",
        Code::Overlap,
    ),
];

/// Handlers that are safe and mean badly: text, and how the machine is to be poked.
const HANDLERS: &[(&str, &str, &str)] = &[
    ("an unchanged frame as reply", "mov32 %r0, 3\nexit", "unicast"),
    ("a reply to a broadcast", "mov32 %r0, 3\nexit", "broadcast"),
    ("a reply to a multicast", "mov32 %r0, 3\nexit", "multicast"),
    ("a reply to itself", "mov32 %r0, 3\nexit", "reflected"),
    ("an action that there is not", "mov32 %r0, 77\nexit", "unicast"),
    ("an action beyond all numbers", "lddw %r0, 0xffffffffffffffff\nexit", "unicast"),
    ("an abort", "mov32 %r0, 0\nexit", "unicast"),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (number, &(name, bytes)) in GARBAGE.iter().enumerate() {
        for ash in [false, true] {
            let what = if ash { "handler" } else { "filter" };
            let attack = Attack::custom("program", &format!("{what} of {name}"), move |lab| {
                let filter = if ash { honest(lab, WANTED)? } else { bytes.to_vec() };
                let ash = ash.then_some(bytes);
                refused(lab, &filter, ash, &[Code::Malformed, Code::Unsafe])
            });
            attacks.push(attack.only_if(number % 4 == usize::from(ash)));
        }
    }
    for (number, &(name, text, code)) in FILTERS.iter().enumerate() {
        let attack = Attack::custom("program", &format!("filter with {name}"), move |lab| {
            let bytes = assemble(Kind::Filter, text, &[]).map_err(|error| format!("{error}"))?;
            refused(lab, &bytes, None, &[code])
        });
        attacks.push(attack.only_if(number % 4 == 0));
    }
    attacks.push(Attack::custom("program", "a filter longer than any", |lab| {
        let bytes = alloc::vec![0xb7; 8 * (abi::limits::PROGRAM_SLOTS_MAX + 1)];
        refused(lab, &bytes, None, &[Code::Limit, Code::Malformed])
    }));
    for (number, &(name, text, code)) in CLAIMS.iter().enumerate() {
        let attack = Attack::custom("squatting", name, move |lab| {
            let [a, b, c, d] = lab.net.addresses().ipv4;
            let text = text.replace("US", &format!("{a}.{b}.{c}.{d}"));
            let bytes = filter::from_expression(&text).map_err(|error| format!("{error}"))?;
            refused(lab, &bytes, None, &[code])
        });
        attacks.push(attack.only_if(number % 3 == 0));
    }
    attacks.push(Attack::custom("squatting", "the same filter twice", |lab| {
        let bytes = honest(lab, WANTED)?;
        let first = lab.grant.bind(&bytes, None).map_err(|error| format!("{error}"))?;
        let again = refused(lab, &bytes, None, &[Code::Overlap]);
        first.unbind().map_err(|status| format!("unbind: {status:?}"))?;
        again
    }));
    attacks.push(Attack::custom("squatting", "a derived grant", |lab| {
        let bytes = honest(lab, WANTED)?;
        let answer = lab.grant.derive(&bytes, None).map_err(|error| error.status);
        verdict(answer == Err(abi::Status::MissingRight), format!("{answer:?}"))
    }));
    attacks.push(Attack::custom("squatting", "revoke a grant of others", |lab| {
        let answer = lab.grant.revoke();
        verdict(answer == Err(abi::Status::MissingRight), format!("{answer:?}"))
    }));
    attacks.push(Attack::custom("squatting", "stop the machine", |_| {
        let answer = libos::capability::halt(0);
        verdict(answer == Err(abi::Status::MissingRight), format!("{answer:?}"))
    }));
    for &(name, text, poke) in HANDLERS {
        attacks.push(Attack::custom("handler", name, move |lab| handler(lab, text, poke)));
    }
    attacks.push(Attack::custom("handler", "the longest program without loops", |lab| {
        let (first, line, count) =
            ("mov32 %r0, 1\n", "add %r0, 0\n", abi::limits::PROGRAM_SLOTS_MAX - 3);
        // At its size at once: a text that doubles makes the heap grow by more than a step.
        let mut text = String::with_capacity(first.len() + (count + 1) * line.len());
        text.push_str(first);
        for _ in 0..count {
            text.push_str(line);
        }
        text.push_str("exit\n");
        handler(lab, &text, "unicast")
    }));
    attacks
}

fn honest(lab: &Lab, port: u16) -> Result<Vec<u8>, String> {
    let text = filter::udp_expression(lab.net.addresses().ipv4, port);
    filter::from_expression(&text).map_err(|error| format!("{error}"))
}

/// It is refused with one of these codes; what is bound against all expectation goes again.
fn refused(lab: &mut Lab, filter: &[u8], ash: Option<&[u8]>, codes: &[Code]) -> Outcome {
    let error = match lab.grant.bind(filter, ash) {
        Ok(binding) => {
            let _ = binding.unbind();
            return Err(String::from("it was bound"));
        }
        Err(error) => error,
    };
    let code = error.refusal.as_ref().map(|record| record.code);
    // What is not even looked at is refused by its status.
    let early = code.is_none()
        && matches!(error.status, abi::Status::Limit | abi::Status::BadArgument)
        && codes.iter().any(|it| matches!(it, Code::Malformed | Code::Limit));
    let fine = early || code.is_some_and(|code| codes.contains(&code));
    verdict(fine, format!("{error}"))
}

/// Bound, poked from outside, and what it wanted to send did not go out.
fn handler(lab: &mut Lab, text: &str, poke: &str) -> Outcome {
    let filter = honest(lab, POKED)?;
    let ash = assemble(Kind::Ash, text, &[]).map_err(|error| format!("{error}"))?;
    let binding = lab.grant.bind(&filter, Some(&ash)).map_err(|error| format!("{error}"))?;
    lab.poke(poke, POKED, || binding.stats().is_ok_and(|stats| stats.received > 0));
    let stats = binding.stats().unwrap_or_default();
    binding.unbind().map_err(|status| format!("unbind: {status:?}"))?;
    let poked = stats.received > 0 || !lab.is_paced();
    let text = format!("{} received, {} answered", stats.received, stats.answered);
    verdict(poked && stats.answered == 0, text)
}
