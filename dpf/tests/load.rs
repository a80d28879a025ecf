//! Programs through `load`: verified, compiled, checked, sealed, run, freed.

#![cfg(test)]

use ebpf::interp::{self, NoHelpers};
use ebpf::{Kind, asm};
use runtime::PacketBuffer;
use runtime::native::HostPages;
use runtime::pages::CodeError;
use sluice_dpf::fuzzing::verified;
use sluice_dpf::{EngineError, load};

const ECHO: &str = "
    ldxw %r2, [%r1+0]
    ldxw %r3, [%r1+4]
    mov %r4, %r2
    add %r4, 14
    mov %r0, 1
    jgt %r4, %r3, out
    ldxw %r5, [%r2+0]
    ldxw %r6, [%r2+6]
    stxw [%r2+0], %r6
    stxw [%r2+6], %r5
    mov %r0, 3
out:
    exit
";

fn program(kind: Kind, text: &str) -> verifier::Verified {
    verified(asm::program(kind, text).unwrap()).unwrap()
}

#[test]
fn a_handler_rewrites_its_packet_in_place() {
    let ash = program(Kind::Ash, ECHO);
    let mut pages = HostPages::default();
    let native = load(&ash, &mut pages).unwrap();
    for length in [14, 60, 1522] {
        let frame: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut expected = frame.clone();
        let result = interp::run_packet(ash.program(), &mut expected, &mut NoHelpers, 100);
        let mut buffer = vec![0xee; length + 512];
        buffer[256..256 + length].copy_from_slice(&frame);
        let mut packet = PacketBuffer::new(&mut buffer, 256, length).unwrap();
        assert_eq!(Ok(native.run(&mut packet)), result);
        assert_eq!(packet.data(), expected);
        assert!(buffer[..256].iter().chain(&buffer[256 + length..]).all(|byte| *byte == 0xee));
    }
    assert!(!native.accepts(&[0; 60]), "a handler accepts nothing");
    native.free(&mut pages);
    assert_eq!(pages.used(), 0);
}

#[test]
fn a_filter_says_natively_what_it_says_interpreted() {
    let space = flow::expr::parse("udp and dst portrange 50-60").unwrap().to_space().unwrap();
    let filter = verified(flow::lower::lower(&space).unwrap()).unwrap();
    let mut pages = HostPages::default();
    let native = load(&filter, &mut pages).unwrap();
    let witness = space.witness().unwrap().unwrap();
    assert!(native.accepts(&witness));
    for at in 0..witness.len() {
        for value in [0, 1, 0x45, 0xff] {
            let mut frame = witness.clone();
            frame[at] = value;
            let expected = interp::accepts(filter.program(), &frame).unwrap();
            assert_eq!(native.accepts(&frame), expected);
            assert_eq!(expected, space.contains(&frame));
        }
        let short = &witness[..at];
        assert_eq!(native.accepts(short), interp::accepts(filter.program(), short).unwrap());
    }
}

#[test]
fn refusals_are_named() {
    let memory = program(Kind::Memory, "mov %r0, 0\nexit");
    let mut pages = HostPages::default();
    let error = load(&memory, &mut pages).unwrap_err();
    assert_eq!(error, EngineError::WrongKind { kind: Kind::Memory });
    let mut none = HostPages::new(0);
    let error = load(&program(Kind::Ash, ECHO), &mut none).unwrap_err();
    assert!(matches!(error, EngineError::Pages(CodeError::NoMemory { limit: 0, .. })));
    assert!(error.to_string().contains("no room"), "{error}");
}

#[test]
fn a_filter_s_code_has_no_frame_that_it_does_not_need() {
    let filter = program(Kind::Filter, "mov %r0, 0\nexit");
    let mut pages = HostPages::default();
    let native = load(&filter, &mut pages).unwrap();
    assert_eq!(native.bytes(), [0xb8, 0, 0, 0, 0, 0xc3]);
}
