//! A binding becomes two while its packets come in: UDP echo on port 7950.
//!
//! It begins with one filter and one ring. After so many datagrams the filter is replaced by two,
//! each with a ring of its own, that share its datagrams by a bit of the sender's
//! address and a bit of the sender's port: every one goes to the part where the two are the same,
//! or to the part where they differ. What compares two fields of a packet is nothing that the
//! kernel can decide by itself, so a certificate goes along: the two values that the one bit has.
//! With it the kernel proves that the parts are together exactly what there was.
//!
//! Each datagram begins with its number. The word `over` makes the program say what it has seen:
//! by each part, and how many more than once.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::certificate::{Case, Certificate, Test, VERSION};
use abi::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN};
use ebpf::Kind;
use libos::capability::report;
use libos::clock::{now_ns, wait};
use libos::program::assemble;
use libos::rings::{RingMemory, SendError, TX_PAGES};
use libos::{BindError, Environment, Rings, Status, println};
use libos_net::{Net, SocketError, explain};

libos::entry!(main);

const PORT: u16 = 7950;
/// Datagrams after which there are two parts.
const WHOLE: usize = 300;
/// Numbers that a datagram may have.
const NUMBERS: usize = 1 << 16;
/// Pages of each receive ring, two frames each: what comes in while the kernel proves waits there.
const RX_PAGES: usize = 64;
/// Between two looks at two rings, in nanoseconds.
const LOOK_NS: u64 = 1_000_000;

/// Place of the last byte of the sender's address, and of its port, in a frame without options.
const ADDRESS: u16 = 29;
const SOURCE: u16 = 35;
/// Where a datagram's bytes begin.
const PAYLOAD: usize = 42;

fn main(environment: Environment) -> i32 {
    match serve(&environment) {
        Ok(code) => code,
        Err(error) => {
            for line in explain::lines(&error) {
                println!("{line}");
            }
            1
        }
    }
}

/// What was seen, by number, and by which part.
struct Seen {
    times: Vec<u8>,
    parts: [usize; 2],
    over: bool,
}

fn serve(environment: &Environment) -> Result<i32, SocketError> {
    let net = Net::new(environment)?;
    let grant = environment.grant("public")?;
    let memory = || RingMemory::new(net.own(), RX_PAGES, TX_PAGES).map_err(without_record);
    let mut first = memory()?.bind(grant, &program(&net, "mov %r0, 1")?, None)?;
    println!("port {PORT} is one binding's");
    let mut seen = Seen { times: alloc::vec![0; NUMBERS], parts: [0; 2], over: false };
    while seen.parts[0] < WHOLE && !seen.over {
        wait(now_ns().saturating_add(LOOK_NS));
        answer(&mut first, &mut seen, 0);
    }
    let [same, other] = ["jne", "jeq"].map(|unless| program(&net, &compare(unless)));
    let parts = [&same?[..], &other?[..]];
    let mut second = memory()?.hand_over(first.binding(), parts, None, &certificate())?;
    println!("port {PORT} is two bindings'");
    while !seen.over {
        wait(now_ns().saturating_add(LOOK_NS));
        answer(&mut first, &mut seen, 0);
        answer(&mut second, &mut seen, 1);
    }
    let twice = seen.times.iter().filter(|&&times| times > 1).count();
    let [a, b] = seen.parts;
    let _ = report(format!("parts {a} {b} {twice}").as_bytes());
    Ok(i32::from(twice > 0 || b == 0))
}

/// Answers all that is there.
fn answer(rings: &mut Rings, seen: &mut Seen, part: usize) {
    let mut buffer = [0; FRAME_BYTES_MAX];
    while let Some(length) = rings.receive(&mut buffer) {
        let frame = buffer.get_mut(..length).unwrap_or_default();
        let datagram = frame.get(PAYLOAD..).unwrap_or_default();
        seen.over |= datagram.starts_with(b"over");
        if let Some(&[high, low]) = datagram.first_chunk::<2>().filter(|_| !seen.over) {
            let number = usize::from(u16::from_be_bytes([high, low]));
            seen.parts[part] += 1;
            if let Some(times) = seen.times.get_mut(number) {
                *times = times.saturating_add(1);
            }
        }
        turn(frame);
        while let Err(error) = rings.send(frame) {
            if error != SendError::Full {
                println!("{error:?}");
                break;
            }
            wait(now_ns().saturating_add(LOOK_NS));
        }
    }
}

/// Back to its sender: both checksums stay what they are.
fn turn(frame: &mut [u8]) {
    for [a, b, bytes] in [[0, 6, 6], [26, 30, 4], [34, 36, 2]] {
        for at in 0..bytes {
            if a + at < frame.len() && b + at < frame.len() {
                frame.swap(a + at, b + at);
            }
        }
    }
}

/// A filter of the port's datagrams without IPv4 options, with a decision at its end.
fn program(net: &Net, decision: &str) -> Result<Vec<u8>, SocketError> {
    let ([a, b, c, d], [high, low]) = (net.addresses().ipv4, PORT.to_be_bytes());
    let wanted = [(12, 8), (13, 0), (14, 0x45), (21, 0), (23, 17)];
    let address = [(30, a), (31, b), (32, c), (33, d), (36, high), (37, low)];
    let tests: String = wanted
        .into_iter()
        .chain(address)
        .map(|(at, value)| format!("ldxb %r5, [%r2+{at}]\njne %r5, {value}, out\n"))
        .collect();
    let text = format!(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, 42\n\
         jgt %r4, %r3, out\n{tests}ldxb %r5, [%r2+20]\njset %r5, 0x1f, out\n{decision}\nout: exit"
    );
    // It is a text of this program's own.
    assemble(Kind::Filter, &text, &[]).map_err(|_| without_record(Status::BadArgument))
}

/// Accepts unless the two bits compare so.
fn compare(unless: &str) -> String {
    format!(
        "ldxb %r5, [%r2+{ADDRESS}]\nand %r5, 1\nldxb %r6, [%r2+{SOURCE}]\nand %r6, 1\n\
         {unless} %r5, %r6, out\nmov %r0, 1"
    )
}

/// The two values of the port's bit: in each the other field is compared with a constant.
fn certificate() -> Vec<u8> {
    let lengths = (FRAME_BYTES_MIN as u16, FRAME_BYTES_MAX as u16);
    let case = |value| {
        let test = Test { behind: None, offset: SOURCE, mask: 1, value };
        Case { lengths, tests: alloc::vec![test] }
    };
    Certificate { version: VERSION, cases: alloc::vec![case(0), case(1)] }.encode()
}

fn without_record(status: Status) -> SocketError {
    SocketError::Bind { error: BindError { status, refusal: None } }
}
