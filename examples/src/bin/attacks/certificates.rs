//! Certificates that are to prove what is not so, and right ones that give away nothing of others.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::certificate::{BYTES_MAX, CASES_MAX, Case, Certificate, Test, VERSION};
use abi::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN};
use abi::refusal::{Blame, Code};
use ebpf::Kind;
use libos::Binding;
use libos::capability::{BindError, RingPages};
use libos::program::assemble;
use libos_net::filter;

use crate::attack::{Attack, Outcome};
use crate::child::said;
use crate::lab::Lab;
use crate::tricks::verdict;

/// The victim's port, and one that nobody has.
const VICTIM: u16 = 7777;
const OWN: u16 = 7913;

/// Makes the bytes that are sent along.
type Send = fn() -> Vec<u8>;

/// Name, certificate, and how the victim's port is refused then.
const WRONG: &[(&str, Send, Code, Blame)] = &[
    ("the right certificate", right, Code::Overlap, Blame::Filter),
    ("a certificate that leaves the victim out", one_sided, Code::Undecided, Blame::Certificate),
    ("a certificate of no case", || cases(Vec::new()), Code::Undecided, Blame::Certificate),
    ("a certificate that says nothing", nothing, Code::Undecided, Blame::Certificate),
    ("a certificate of short frames", short, Code::Undecided, Blame::Certificate),
    ("a certificate that is cut off", cut_off, Code::Malformed, Blame::Certificate),
    ("a certificate of garbage", || alloc::vec![0xff; 64], Code::Malformed, Blame::Certificate),
    ("a certificate of impossible cases", impossible, Code::Malformed, Blame::Certificate),
    ("too many cases", too_many, Code::Limit, Blame::Certificate),
    (
        "a certificate that is too long",
        || alloc::vec![VERSION; BYTES_MAX + 1],
        Code::Limit,
        Blame::Certificate,
    ),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = WRONG
        .iter()
        .map(|&(name, send, code, blame)| {
            let name = format!("the victim's port and {name}");
            Attack::custom("squatting", &name, move |lab| {
                let filter = even(lab, VICTIM, false)?;
                refused(bind(lab, &filter, &send()), code, blame)
            })
        })
        .collect();
    attacks.push(Attack::custom("squatting", "a certificate that hides what is decided", |lab| {
        let expression = filter::udp_expression(lab.net.addresses().ipv4, VICTIM);
        let filter = filter::from_expression(&expression).map_err(|error| format!("{error}"))?;
        refused(bind(lab, &filter, &one_sided()), Code::Overlap, Blame::Filter)
    }));
    attacks.push(Attack::custom("squatting", "a half that is certified, twice", halves));
    attacks
}

/// Two halves of a port, told apart by their certificates only, and one of them again.
fn halves(lab: &mut Lab) -> Outcome {
    let (even, odd) = (even(lab, OWN, false)?, even(lab, OWN, true)?);
    let first = bind(lab, &even, &right()).map_err(|error| format!("{error}"))?;
    let unproven = refused(bind(lab, &odd, &[]), Code::Undecided, Blame::Filter);
    let second = bind(lab, &odd, &right());
    let again = refused(bind(lab, &even, &right()), Code::Overlap, Blame::Filter);
    let bound = second.is_ok();
    for binding in [Ok(first), second].into_iter().flatten() {
        binding.unbind().map_err(said("unbind"))?;
    }
    unproven?;
    if bound { again } else { Err(String::from("the other half was refused")) }
}

/// Datagrams to a port of whose source port and identification the last bits are the same, or not.
fn even(lab: &Lab, port: u16, other: bool) -> Result<Vec<u8>, String> {
    let ([a, b, c, d], [high, low]) = (lab.net.addresses().ipv4, port.to_be_bytes());
    let wanted = [(12, 8), (13, 0), (14, 0x45), (20, 0x40), (21, 0), (23, 17)];
    let address = [(30, a), (31, b), (32, c), (33, d), (36, high), (37, low)];
    let tests: String = wanted
        .into_iter()
        .chain(address)
        .map(|(at, value)| format!("ldxb %r5, [%r2+{at}]\njne %r5, {value}, out\n"))
        .collect();
    let compare = if other { "jeq" } else { "jne" };
    let text = format!(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, 42\n\
         jgt %r4, %r3, out\n{tests}ldxb %r5, [%r2+35]\nand %r5, 1\nldxb %r6, [%r2+19]\n\
         and %r6, 1\n{compare} %r5, %r6, out\nmov %r0, 1\nout: exit"
    );
    assemble(Kind::Filter, &text, &[]).map_err(|error| format!("{error}"))
}

fn bind(lab: &Lab, filter: &[u8], certificate: &[u8]) -> Result<Binding, BindError> {
    let pages = RingPages { certificate, ..RingPages::default() };
    lab.grant.bind_pages(filter, None, &pages)
}

/// Refused with this code and this blame; what is bound against all expectation goes again.
fn refused(answer: Result<Binding, BindError>, code: Code, blame: Blame) -> Outcome {
    match answer {
        Ok(binding) => {
            binding.unbind().map_err(said("unbind"))?;
            Err(String::from("it was bound"))
        }
        Err(error) => {
            let said = error.refusal.as_ref().map(|record| (record.code, record.blame));
            verdict(said == Some((code, blame)), format!("{error}"))
        }
    }
}

fn cases(cases: Vec<Case>) -> Vec<u8> {
    Certificate { version: VERSION, cases }.encode()
}

/// Frames of these lengths in which the last bit of the source port is this, or anything.
fn case(lengths: (u16, u16), bits: &[u8]) -> Case {
    let test = |&value| Test { behind: None, offset: 35, mask: 1, value };
    Case { lengths, tests: bits.iter().map(test).collect() }
}

const ANY: (u16, u16) = (FRAME_BYTES_MIN as u16, FRAME_BYTES_MAX as u16);

fn right() -> Vec<u8> {
    cases(alloc::vec![case(ANY, &[0]), case(ANY, &[1])])
}

fn one_sided() -> Vec<u8> {
    cases(alloc::vec![case(ANY, &[0])])
}

fn nothing() -> Vec<u8> {
    cases(alloc::vec![case(ANY, &[])])
}

fn short() -> Vec<u8> {
    cases(alloc::vec![case((14, 60), &[0]), case((14, 60), &[1])])
}

fn impossible() -> Vec<u8> {
    cases(alloc::vec![case(ANY, &[0, 1])])
}

fn too_many() -> Vec<u8> {
    cases(alloc::vec![case(ANY, &[]); CASES_MAX + 1])
}

fn cut_off() -> Vec<u8> {
    let mut bytes = right();
    bytes.pop();
    bytes
}
