//! Programs through `load`: verified, compiled, checked, sealed, run, freed.

#![cfg(test)]

use ebpf::interp::{self, NoHelpers};
use ebpf::{Kind, asm};
use runtime::PacketBuffer;
use runtime::effects::Effects;
use runtime::helpers::WithEffects;
use runtime::native::HostPages;
use runtime::pages::CodeError;
use sluice_dpf::fuzzing::verified;
use sluice_dpf::{EngineError, LoadStage, Loading, load};
use verifier::Fuel;

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
fn a_memory_program_runs_on_its_block() {
    let text = "mov %r0, 0\njlt %r2, 16, out\nldxdw %r3, [%r1+8]\njlt %r3, 5, out\n\
                mov %r0, 1\nout:\nexit";
    let predicate = program(Kind::Memory, text);
    let mut pages = HostPages::default();
    let native = load(&predicate, &mut pages).unwrap();
    for (value, bytes, expected) in [(4_u64, 16, 0), (5, 16, 1), (u64::MAX, 16, 1), (5, 15, 0)] {
        let mut block = [0; 16];
        block[8..].copy_from_slice(&value.to_le_bytes());
        let block = &mut block[..bytes];
        assert_eq!(native.run(&mut PacketBuffer::whole(block)), expected, "{value} {bytes}");
    }
    native.free(&mut pages);
    assert_eq!(pages.used(), 0);
}

/// Writes down what a handler did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recorder {
    woken: Vec<u64>,
    copies: Vec<Vec<u8>>,
}

impl Effects for Recorder {
    fn wake(&mut self, argument: u64) {
        self.woken.push(argument);
    }

    fn send_copy(&mut self, frame: &[u8]) -> bool {
        self.copies.push(frame.to_vec());
        self.copies.len() < 2
    }
}

/// Sends a copy, changes a byte, sends another, wakes the owner with both results.
const EFFECTS: &str = "
    mov %r6, %r1
    call 0x10001
    mov %r7, %r0
    ldxw %r2, [%r6+0]
    ldxw %r3, [%r6+4]
    mov %r4, %r2
    add %r4, 14
    jgt %r4, %r3, out
    stb [%r2+3], 0x77
    mov %r1, %r6
    call 0x10001
    lsh %r0, 1
    or %r7, %r0
    mov %r1, %r6
    mov %r2, %r7
    call 0x10000
out:
    mov %r0, 1
    exit
";

#[test]
fn what_a_handler_does_besides_is_the_same_natively_and_interpreted() {
    let ash = program(Kind::Ash, EFFECTS);
    let mut pages = HostPages::default();
    let native = load(&ash, &mut pages).unwrap();
    for length in [14, 15, 1522] {
        let frame: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let (mut by_native, mut by_interpreter) = (Recorder::default(), Recorder::default());
        let mut copy = frame.clone();
        let mut helpers = WithEffects(&mut by_interpreter);
        let result = interp::run_packet(ash.program(), &mut copy, &mut helpers, 100);
        let mut frame = frame;
        let mut packet = PacketBuffer::whole(&mut frame);
        assert_eq!(Ok(native.run_with(&mut packet, &mut by_native)), result);
        assert_eq!(by_native, by_interpreter);
        assert_eq!(by_native.woken, [2]);
        assert_eq!((by_native.copies[0][3], by_native.copies[1][3]), (3, 0x77));
        assert_eq!(by_native.copies[1].len(), length);
    }
    assert_eq!(native.run(&mut PacketBuffer::whole(&mut [0; 14])), 1, "nobody to wake");
    native.free(&mut pages);
}

#[test]
fn a_filter_s_code_has_no_frame_that_it_does_not_need() {
    let filter = program(Kind::Filter, "mov %r0, 0\nexit");
    let mut pages = HostPages::default();
    let native = load(&filter, &mut pages).unwrap();
    assert_eq!(native.bytes(), [0xb8, 0, 0, 0, 0, 0xc3]);
}

#[test]
fn refusals_are_named() {
    let mut none = HostPages::new(0);
    let error = load(&program(Kind::Ash, ECHO), &mut none).unwrap_err();
    assert!(matches!(error, EngineError::Pages(CodeError::NoMemory { limit: 0, .. })));
    assert!(error.to_string().contains("no room"), "{error}");
}

/// A handler with everything that takes more than one look: jumps both ways, local calls, optional
/// arguments, divisions.
fn everything() -> verifier::Verified {
    let mut text = String::from("mov %r6, 7\nmov %r7, 3\n");
    for number in 0..60 {
        text += &format!("jgt %r6, {number}, a{number}\nsdiv %r6, %r7\na{number}: add %r6, 1\n");
    }
    text += "mov %r1, %r6\ncall local half\nmov %r1, %r10\nadd %r1, -8\nstdw [%r10-8], 10\n\
             mov %r2, 2\ncall helper 6\nmov %r0, 2\nexit\nhalf: mov %r0, %r1\nrsh %r0, 1\nexit\n";
    program(Kind::Ash, &text)
}

#[test]
fn however_a_program_is_loaded_in_steps_the_code_is_the_same() {
    let ash = everything();
    let mut pages = HostPages::default();
    let whole = load(&ash, &mut pages).unwrap();
    let slots = ash.program().len() as u32;
    let mut all = 0;
    for fuel in [1, 2, 7, 128, u32::MAX] {
        let mut loading = Loading::new(&ash, &[]).unwrap();
        let (mut compiling, mut checking) = (0, 0);
        loop {
            match loading.stage() {
                LoadStage::Compile => compiling += 1,
                LoadStage::Check => checking += 1,
                LoadStage::Seal => break,
            }
            assert!(!matches!(loading.step(&[], &mut Fuel(fuel)), core::task::Poll::Ready(Err(_))));
        }
        if fuel == 1 {
            // Premises, survey, two passes; premises, wants, match: no step is more than a slot.
            assert!(compiling >= 4 * slots && checking >= 3 * slots);
            all = compiling + checking;
        }
        // A step may overdraw by what its last slot becomes, and no step is skipped.
        assert!(compiling + checking >= all / fuel, "fuel {fuel}");
        let native = loading.seal(&[], &mut pages).unwrap();
        assert_eq!(native.bytes(), whole.bytes());
        native.free(&mut pages);
    }
    whole.free(&mut pages);
    assert_eq!(pages.used(), 0);
}

#[test]
fn a_program_can_be_put_aside_at_any_step() {
    let ash = everything();
    let mut pages = HostPages::default();
    let whole = load(&ash, &mut pages).unwrap();
    for steps in (0..).step_by(50) {
        let mut loading = Loading::new(&ash, &[]).unwrap();
        for _ in 0..steps {
            let _not_yet = loading.step(&[], &mut Fuel(1));
        }
        assert!(loading.is_of(&ash) && !loading.is_of(&everything()));
        let done = loading.stage() == LoadStage::Seal;
        let native = loading.seal(&[], &mut pages).unwrap();
        assert_eq!(native.bytes(), whole.bytes());
        native.free(&mut pages);
        if done {
            break;
        }
    }
    whole.free(&mut pages);
}

#[test]
fn local_calls_nest_to_the_limit_and_no_deeper() {
    let chain = |depth: usize| {
        let mut text = String::new();
        for level in 0..depth {
            text += &format!("f{level}: call local f{}\nexit\n", level + 1);
        }
        asm::program(Kind::Memory, &(text + &format!("f{depth}: mov %r0, 1\nexit\n"))).unwrap()
    };
    let mut pages = HostPages::default();
    let deepest = (1..20).take_while(|depth| verified(chain(*depth)).is_some()).last().unwrap();
    let native = load(&verified(chain(deepest)).unwrap(), &mut pages).unwrap();
    native.free(&mut pages);
}
