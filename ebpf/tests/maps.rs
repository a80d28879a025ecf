//! The interpreter with maps and with helpers that work on memory: what is allowed, and every trap.

#![cfg(test)]

use sluice_ebpf::interp::{self, HelperCall, Helpers, Maps, NoHelpers, Packet, Trap, World};
use sluice_ebpf::{Kind, MapSpec, PacketBuffer, Reg, asm};

/// Arrays of four values of 8 bytes, whatever the program says.
#[derive(Default)]
struct Arrays([[u8; 32]; 2]);

impl Maps for Arrays {
    fn lookup(&mut self, map: u32, key: &[u8]) -> Option<u32> {
        let at = u32::from_le_bytes(key.try_into().ok()?);
        (at < 4 && map < 2).then_some(at)
    }

    fn update(&mut self, map: u32, key: &[u8], value: &[u8], flags: u64) -> u64 {
        let Some(slot) = self.lookup(map, key) else { return -7_i64 as u64 };
        if self.write(map, slot, 0, value) { flags } else { 99 }
    }

    fn delete(&mut self, _: u32, _: &[u8]) -> u64 {
        -22_i64 as u64
    }

    fn read(&self, map: u32, slot: u32, offset: usize, into: &mut [u8]) -> bool {
        let at = slot as usize * 8 + offset;
        into.copy_from_slice(&self.0[map as usize][at..at + into.len()]);
        true
    }

    fn write(&mut self, map: u32, slot: u32, offset: usize, bytes: &[u8]) -> bool {
        let at = slot as usize * 8 + offset;
        self.0[map as usize][at..at + bytes.len()].copy_from_slice(bytes);
        true
    }
}

fn specs() -> Vec<MapSpec> {
    let constant = MapSpec { read_only: true, ..MapSpec::array(8, 1) };
    vec![MapSpec::array(8, 4), constant]
}

fn run_with(text: &str, helpers: &mut dyn Helpers) -> Result<u64, Trap> {
    let program = asm::program(Kind::Ash, text).unwrap().with_maps(specs());
    let (mut arrays, mut frame) = (Arrays::default(), [7; 60]);
    let world = World { helpers, maps: &mut arrays };
    interp::run(&program, &mut PacketBuffer::whole(&mut frame), world, 1_000, &mut |_| {})
}

fn run(text: &str) -> Result<u64, Trap> {
    run_with(text, &mut NoHelpers)
}

/// Looks entry `key` of map 0 up and goes on with its address in `r0`.
fn looked_up(key: u32, rest: &str) -> String {
    format!(
        "stw [%r10-4], {key}\nlddw %r1, map_fd 0\nmov %r2, %r10\nadd %r2, -4\ncall helper 1\n{rest}"
    )
}

#[test]
fn values_are_memory() {
    let text = "mov %r1, 5\nlock fetch add [%r0+0], %r1\nstb [%r0+7], 1\nldxdw %r0, [%r0+0]\nexit";
    assert_eq!(run(&looked_up(3, text)), Ok(0x0100_0000_0000_0005));
    assert_eq!(run(&looked_up(4, "exit")), Ok(0), "null");
    assert_eq!(run("lddw %r1, map_value 1 4\nldxw %r0, [%r1+0]\nexit"), Ok(0));
}

#[test]
fn every_way_out_of_a_value_is_seen() {
    let outside = |key, text: &str| {
        let result = run(&looked_up(key, &format!("{text}\nexit")));
        assert!(matches!(result, Err(Trap::OutOfBounds { .. })), "{text}: {result:?}");
    };
    outside(0, "ldxb %r0, [%r0+8]");
    outside(0, "ldxdw %r0, [%r0+1]");
    outside(1, "ldxb %r0, [%r0-1]");
    outside(1, "stb [%r0-1], 1");
    // The next value of the same map is not reached either.
    outside(0, "ldxb %r0, [%r0+32767]");
    outside(0, "add %r0, 65536\nadd %r0, 65535\nldxb %r0, [%r0+0]");
    // Null.
    outside(9, "ldxb %r0, [%r0+0]");
    outside(9, "add %r0, 8\nldxb %r0, [%r0-8]");
}

#[test]
fn what_programs_may_only_read_is_not_written() {
    let read_only = |text| assert!(matches!(run(text), Err(Trap::ReadOnly { .. })), "{text}");
    read_only("lddw %r1, map_value 1 0\nstb [%r1+0], 1\nexit");
    read_only("lddw %r1, map_value 1 0\nmov %r2, 1\nlock add [%r1+0], %r2\nexit");
    // A helper refuses with -EPERM.
    let update = "stdw [%r10-8], 0\nlddw %r1, map_fd 1\nmov %r2, %r10\nadd %r2, -8\n\
                  mov %r3, %r2\nmov %r4, 0\ncall helper 2\nexit";
    assert_eq!(run(update), Ok(-1_i64 as u64));
}

#[test]
fn maps_and_their_addresses_are_only_what_they_are() {
    for (text, map) in [("map_fd 2", 2), ("map_value 2 0", 2), ("map_value 1 8", 1)] {
        let text = format!("lddw %r0, {text}\nexit");
        assert_eq!(run(&text), Err(Trap::UnknownMap { pc: 0, map }));
    }
    // Direct values are those of arrays with one entry.
    assert!(matches!(run("lddw %r0, map_value 0 0\nexit"), Err(Trap::UnknownMap { map: 0, .. })));
    let inside = "lddw %r1, map_fd 0\nldxb %r0, [%r1+0]\nexit";
    assert!(matches!(run(inside), Err(Trap::OutOfBounds { pc: 2, .. })));
    let moved = looked_up(0, "exit").replacen("mov %r2", "add %r1, 8\nmov %r2", 1);
    assert!(matches!(run(&moved), Err(Trap::HelperArgument { reg: Reg::R1, .. })));
    let value = looked_up(0, "mov %r1, %r0\nmov %r2, %r10\nadd %r2, -4\ncall helper 1\nexit");
    assert!(matches!(run(&value), Err(Trap::HelperArgument { reg: Reg::R1, .. })));
}

#[test]
fn keys_and_values_of_helpers_are_written_memory() {
    let unwritten = "lddw %r1, map_fd 0\nmov %r2, %r10\nadd %r2, -4\ncall helper 1\nexit";
    assert!(matches!(run(unwritten), Err(Trap::UninitialisedStack { .. })));
    let over = looked_up(0, "exit").replacen("add %r2, -4", "add %r2, -2", 1);
    assert!(matches!(run(&over), Err(Trap::OutOfBounds { size: 4, .. })));
    let half = "stw [%r10-8], 0\nlddw %r1, map_fd 0\nmov %r2, %r10\nadd %r2, -8\nmov %r3, %r2\n\
                mov %r4, 0\ncall helper 2\nexit";
    assert!(matches!(run(half), Err(Trap::UninitialisedStack { .. })));
    let context = "mov %r2, %r1\nlddw %r1, map_fd 0\ncall helper 1\nexit";
    assert!(matches!(run(context), Err(Trap::OutOfBounds { .. })), "the context is no memory");
    // A key in the packet, a value in another value.
    let packet = "ldxw %r2, [%r1+0]\nlddw %r1, map_fd 0\nlddw %r3, map_value 1 0\nmov %r4, 0\n\
                  call helper 2\nexit";
    assert_eq!(run(packet), Ok(-7_i64 as u64));
}

/// A call: the helper, its arguments, what its input regions held, the output region's length.
type Call = (u32, [u64; 5], Vec<Vec<u8>>, usize);

/// Notes what it is called with.
#[derive(Default)]
struct Noted(Vec<Call>);

impl Helpers for Noted {
    fn call(&mut self, _: u32, _: [u64; 5]) -> Option<u64> {
        None
    }

    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        let inputs = call.inputs.iter().map(|bytes| bytes.to_vec()).collect();
        self.0.push((call.id, call.args, inputs, call.output.len()));
        call.output.fill(5);
        if let (65, Packet::Exclusive(packet)) = (call.id, &mut call.packet) {
            return Some(u64::from(!packet.move_end(-10)));
        }
        Some(0)
    }
}

#[test]
fn memory_arguments_arrive_as_bytes_and_buffers_are_written() {
    let text = "mov %r6, %r1\nmov %r2, 3\nmov %r3, %r10\nadd %r3, -8\nmov %r4, 8\n\
                call helper 189\nldxdw %r0, [%r10-8]\nexit";
    let mut noted = Noted::default();
    assert_eq!(run_with(text, &mut noted), Ok(0x0505_0505_0505_0505));
    assert_eq!((noted.0[0].1[1], noted.0[0].3), (3, 8));
    let sums = "mov %r1, 0\nmov %r2, 0\nmov %r3, %r10\nadd %r3, -4\nstw [%r10-4], 1\nmov %r4, 4\n\
                mov %r5, 9\ncall helper 28\nexit";
    let mut noted = Noted::default();
    assert_eq!(run_with(sums, &mut noted), Ok(0));
    assert_eq!(noted.0[0].2, [vec![], vec![1, 0, 0, 0]]);
    let argument = |text: &str| match run_with(text, &mut Noted::default()) {
        Err(Trap::HelperArgument { reg, .. }) => reg,
        other => panic!("{text}: {other:?}"),
    };
    let empty = text.replace("mov %r4, 8", "mov %r4, 0");
    assert_eq!(argument(&empty), Reg::R4, "a size is at least 1");
    let endless = text.replace("mov %r4, 8", "mov %r4, -1");
    assert_eq!(argument(&endless), Reg::R4);
    let long = text.replace("mov %r4, 8", "mov %r4, 9");
    assert!(matches!(run_with(&long, &mut noted), Err(Trap::OutOfBounds { size: 9, .. })));
    let null = sums.replace("mov %r2, 0", "mov %r2, 4");
    assert!(matches!(run_with(&null, &mut noted), Err(Trap::OutOfBounds { address: 0, .. })));
}

#[test]
fn a_pointer_from_before_the_packet_moved_leads_nowhere() {
    let text =
        "mov %r6, %r1\nldxw %r7, [%r1+4]\nmov %r2, -10\ncall helper 65\nldxb %r0, [%r7-1]\nexit";
    let result = run_with(text, &mut Noted::default());
    assert!(matches!(result, Err(Trap::OutOfBounds { pc: 4, .. })), "{result:?}");
}

/// The ends of an ASH's runs on sixty bytes, at every layout.
fn everywhere(text: &str) -> Vec<Result<u64, Trap>> {
    let program = asm::program(Kind::Ash, text).unwrap().with_maps(specs());
    let layouts = [interp::Layout::USUAL].into_iter().chain(interp::Layout::ELSEWHERE);
    let run = |layout| {
        let (mut bytes, mut maps) = ([0; 60], Arrays::default());
        let world = World { helpers: &mut NoHelpers, maps: &mut maps };
        let mut packet = PacketBuffer::whole(&mut bytes);
        interp::run_at(&program, &mut packet, world, (layout, 100), &mut |_| {})
    };
    layouts.map(run).collect()
}

#[test]
fn what_keeps_to_the_rules_ends_alike_wherever_its_memory_lies() {
    for (text, result) in [
        ("ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nsub %r3, %r2\nmov %r0, %r3\nexit", 60),
        (
            "ldxw %r2, [%r1+0]\nstxdw [%r10-8], %r10\nldxdw %r4, [%r10-8]\nstxdw [%r4-16], %r2\n\
             ldxdw %r2, [%r10-16]\nldxb %r0, [%r2+5]\nexit",
            0,
        ),
        (
            "stw [%r10-4], 1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map_fd 0\ncall helper 1\n\
             jeq %r0, 0, out\nstdw [%r0+0], 7\nldxdw %r0, [%r0+0]\nout:\nexit",
            7,
        ),
        ("call local f\nexit\nf:\nstdw [%r10-8], 3\nldxdw %r0, [%r10-8]\nexit", 3),
    ] {
        assert_eq!(everywhere(text), [Ok(result), Ok(result), Ok(result)], "{text}");
    }
}

#[test]
fn what_moves_with_a_region_is_a_pointer_and_nothing_else() {
    let text = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov32 %r4, %r10\nmov %r5, 77\n\
                mov %r6, %r3\nsub %r6, %r10\nlddw %r7, map_fd 1\nmov %r8, %r3\nsub %r8, %r2\n\
                mov %r0, 0\nexit";
    let program = asm::program(Kind::Ash, text).unwrap().with_maps(specs());
    let last = |layout| {
        let (mut bytes, mut maps, mut last) = ([0; 60], Arrays::default(), [0; 11]);
        let world = World { helpers: &mut NoHelpers, maps: &mut maps };
        let mut packet = PacketBuffer::whole(&mut bytes);
        let watch = &mut |view: &interp::View<'_>| last = *view.registers;
        interp::run_at(&program, &mut packet, world, (layout, 100), watch).unwrap();
        last
    };
    let usual = interp::Layout::USUAL;
    let here = last(usual);
    for other in interp::Layout::ELSEWHERE {
        let there = last(other);
        let moves = |reg: usize| usual.moves(here[reg], &other, there[reg]);
        assert_eq!([1, 2, 3, 7, 10].map(moves), [true; 5], "pointers");
        assert_eq!([4, 6, 0, 5, 8].map(moves), [false; 5], "numbers");
        assert_eq!([0, 5, 8].map(|reg| here[reg] == there[reg]), [true; 3]);
        assert_eq!([4, 6].map(|reg| here[reg] == there[reg]), [false; 2]);
    }
}

#[test]
fn an_address_that_became_a_number_is_another_elsewhere() {
    for text in [
        "mov %r0, %r1\nexit",
        "mov %r0, %r10\nrsh %r0, 40\nexit",
        "ldxw %r0, [%r1+0]\nexit",
        "ldxw %r0, [%r1+0]\nrsh %r0, 31\nexit",
        "lddw %r0, map_fd 1\nexit",
        "call local f\nexit\nf:\nmov32 %r0, %r10\nexit",
    ] {
        let ends = everywhere(text);
        assert!(ends.iter().all(Result::is_ok), "{text}: {ends:?}");
        assert!(ends.iter().any(|end| *end != ends[0]), "{text}: {ends:?}");
    }
}
