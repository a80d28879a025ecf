//! Programs with maps and with the helpers that work on memory: proven, compiled, checked, and held
//! against the interpreter, result, packet, maps and effects.

#![cfg(test)]

use std::sync::Arc;

use ebpf::interp::{self, World};
use ebpf::{Kind, MapKind, MapSpec, asm};
use runtime::PacketBuffer;
use runtime::effects::Effects;
use runtime::helpers::WithEffects;
use runtime::map::{Map, MapSet};
use runtime::native::HostPages;
use sluice_dpf::fuzzing::verified;
use sluice_dpf::{EngineError, compile, load, load_with};

/// What both engines leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    result: u64,
    frame: Vec<u8>,
    values: Vec<Vec<u8>>,
    printed: Vec<String>,
}

#[derive(Default)]
struct Log(Vec<String>);

impl Effects for Log {
    fn wake(&mut self, _: u64) {}

    fn send_copy(&mut self, _: &[u8]) -> bool {
        false
    }

    fn print(&mut self, line: &[u8]) {
        self.0.push(String::from_utf8(line.to_vec()).unwrap());
    }
}

fn maps(specs: &[MapSpec]) -> Vec<Arc<Map>> {
    specs.iter().map(|&spec| Map::new(spec, [7, 8]).unwrap()).collect()
}

fn values(maps: &[Arc<Map>]) -> Vec<Vec<u8>> {
    let all = maps.iter().flat_map(|map| (0..map.spec().max_entries).map(move |slot| (map, slot)));
    all.map(|(map, slot)| {
        let mut value = vec![0; map.spec().value_size as usize];
        assert!(map.read(slot, 0, &mut value));
        value
    })
    .collect()
}

/// Runs a program `times` on the same frame, natively and interpreted, in worlds of their own.
#[track_caller]
fn both(kind: Kind, text: &str, specs: &[MapSpec], frame: &[u8], times: usize) -> Left {
    let program = asm::program(kind, text).unwrap().with_maps(specs.to_vec());
    let mut proof = verifier::SafetyProof::new(program.clone());
    if let std::task::Poll::Ready(Err(refusal)) = proof.step(&mut verifier::Fuel(u32::MAX)) {
        panic!("{refusal}");
    }
    let verified = verified(program).unwrap();
    let program = verified.program();
    let (mut first, mut second) = (vec![0x5a; 2048], vec![0x5a; 2048]);
    for buffer in [&mut first, &mut second] {
        buffer[256..256 + frame.len()].copy_from_slice(frame);
    }
    let mut packet = PacketBuffer::new(&mut first, 256, frame.len()).unwrap();
    let (mine, mut log, mut result) = (maps(specs), Log::default(), 0);
    for _ in 0..times {
        let (helpers, maps) = (&mut WithEffects(&mut log), &mut MapSet(&mine));
        let budget = verified.worst_case().into();
        let run = interp::run(program, &mut packet, World { helpers, maps }, budget, &mut |_| {});
        result = run.unwrap();
    }
    let frame_left = packet.data().to_vec();
    let interpreted = Left { result, frame: frame_left, values: values(&mine), printed: log.0 };

    let mut pages = HostPages::default();
    let mut packet = PacketBuffer::new(&mut second, 256, frame.len()).unwrap();
    let (theirs, mut log, mut result) = (maps(specs), Log::default(), 0);
    let native = load_with(&verified, &theirs, &mut pages).unwrap();
    for _ in 0..times {
        result = native.run_with(&mut packet, &mut log);
    }
    native.free(&mut pages);
    let frame_left = packet.data().to_vec();
    let left = Left { result, frame: frame_left, values: values(&theirs), printed: log.0 };
    assert_eq!(left, interpreted);
    left
}

const FRAME: [u8; 60] = [7; 60];

/// Counts in the entry that the packet's first byte names.
const COUNT: &str = "
    mov %r6, 1
    ldxw %r2, [%r1+0]
    ldxw %r3, [%r1+4]
    mov %r4, %r2
    add %r4, 14
    jgt %r4, %r3, out
    ldxb %r5, [%r2+0]
    stxw [%r10-4], %r5
    lddw %r1, map_fd 0
    mov %r2, %r10
    add %r2, -4
    call helper 1
    jeq %r0, 0, out
    mov %r1, 1
    lock fetch add [%r0+0], %r1
    mov %r6, %r1
    add %r6, 100
    out: mov %r0, %r6
    exit
";

#[test]
fn arrays_are_looked_up_without_a_call() {
    for (value_size, entries) in [(8, 16), (8, 8), (8, 7), (24, 9), (40, 1), (4096, 20)] {
        let left = both(Kind::Ash, COUNT, &[MapSpec::array(value_size, entries)], &FRAME, 3);
        let there = entries > 7;
        assert_eq!(left.result, if there { 102 } else { 1 });
        let counted = left.values.iter().filter(|value| value[0] == 3).count();
        assert_eq!(counted, usize::from(there));
    }
    // Inlined: no call in the code, whatever the kind of array.
    let per_cpu = MapSpec { kind: MapKind::PercpuArray, ..MapSpec::array(8, 16) };
    for spec in [MapSpec::array(8, 16), per_cpu] {
        let program = asm::program(Kind::Ash, COUNT).unwrap().with_maps(vec![spec]);
        let code = compile::compile(&verified(program).unwrap(), &maps(&[spec])).unwrap().bytes;
        assert!(!code.windows(2).any(|pair| pair == [0xff, 0xd0]), "call rax");
    }
}

/// Makes the entry if it is not there, counts in it, deletes it at three.
const HASH: &str = "
    mov %r0, 0
    stxdw [%r10-8], %r0
    stxdw [%r10-16], %r0
    stw [%r10-8], 77
    lddw %r1, map_fd 0
    mov %r2, %r10
    add %r2, -8
    call helper 1
    jne %r0, 0, found
    stdw [%r10-16], 1
    lddw %r1, map_fd 0
    mov %r2, %r10
    add %r2, -8
    mov %r3, %r10
    add %r3, -16
    mov %r4, 1
    call helper 2
    exit
    found: ldxdw %r1, [%r0+0]
    add %r1, 1
    stxdw [%r0+0], %r1
    jlt %r1, 3, more
    lddw %r1, map_fd 0
    mov %r2, %r10
    add %r2, -8
    call helper 3
    more: mov %r0, 2
    exit
";

#[test]
fn hash_tables_are_called_and_a_deleted_entry_keeps_its_memory() {
    for kind in [MapKind::Hash, MapKind::LruHash] {
        let spec = MapSpec { kind, ..MapSpec::hash(8, 8, 2) };
        for times in 1..6 {
            let left = both(Kind::Memory, HASH, &[spec], &[0; 8], times);
            assert_eq!(left.result, if times % 3 == 1 { 0 } else { 2 }, "{times}");
        }
    }
}

#[test]
fn a_trie_s_errors_are_linux_s() {
    let text = "
        stw [%r10-8], 24
        stw [%r10-4], 0x0001000a
        stw [%r10-16], 5
        lddw %r1, map_fd 0
        mov %r2, %r10
        add %r2, -8
        mov %r3, %r10
        add %r3, -16
        mov %r4, 0
        call helper 2
        mov %r6, %r0
        stw [%r10-8], 33
        lddw %r1, map_fd 0
        mov %r2, %r10
        add %r2, -8
        mov %r3, %r10
        add %r3, -16
        mov %r4, 0
        call helper 2
        lsh %r6, 32
        add %r0, %r6
        exit
    ";
    let spec = MapSpec { kind: MapKind::LpmTrie, ..MapSpec::hash(8, 4, 3) };
    assert_eq!(both(Kind::Memory, text, &[spec], &[0; 8], 1).result as i64, -22);
}

#[test]
fn variables_are_addressed_directly() {
    let text = "
        lddw %r1, map_value 1 8
        ldxdw %r2, [%r1+0]
        add %r2, 3
        stxdw [%r1+0], %r2
        lddw %r3, map_value 0 4
        ldxw %r0, [%r3+0]
        add %r0, %r2
        exit
    ";
    let constants = MapSpec { read_only: true, ..MapSpec::array(8, 1) };
    let left = both(Kind::Memory, text, &[constants, MapSpec::array(16, 1)], &[0; 8], 4);
    assert_eq!(left.result, 12);
    assert_eq!(left.values[1][8], 12);
}

#[test]
fn lines_go_to_the_log_and_nothing_that_was_not_passed() {
    let text = "
        stw [%r10-16], 0x25207825
        stw [%r10-12], 0x78252078
        stw [%r10-8], 0
        mov %r3, 0x2a
        mov %r4, 0x1000
        mov %r1, %r10
        add %r1, -16
        mov %r2, 12
        call helper 6
        exit
    ";
    // "%x %x %x": the third number is not passed, whatever is in its register.
    for kind in [Kind::Ash, Kind::Memory] {
        let left = both(kind, text, &[], &FRAME, 2);
        assert_eq!(left.printed, ["2a 1000 0", "2a 1000 0"]);
        assert_eq!(left.result, 9);
        let nested = format!("call local f\nexit\nf:{text}");
        assert_eq!(both(kind, &nested, &[], &FRAME, 1).printed, ["2a 1000 0"]);
    }
}

#[test]
fn a_frame_s_ends_move_and_uncover_zeroes() {
    let text = "
        mov %r6, %r1
        mov %r2, -20
        call helper 44
        jne %r0, 0, out
        mov %r1, %r6
        mov %r2, 6
        call helper 65
        jne %r0, 0, out
        ldxw %r2, [%r6+0]
        ldxw %r3, [%r6+4]
        mov %r0, %r3
        sub %r0, %r2
        mov %r4, %r2
        add %r4, 20
        jgt %r4, %r3, out
        stb [%r2+0], 9
        out: exit
    ";
    let left = both(Kind::Ash, text, &[], &FRAME, 1);
    assert_eq!((left.result, left.frame.len()), (86, 86));
    assert_eq!(left.frame[..21], [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(left.frame[79..], [7, 0, 0, 0, 0, 0, 0]);
    // Until there is no room left.
    assert_eq!(both(Kind::Ash, text, &[], &FRAME, 13).result as i64, -22);
}

#[test]
fn bytes_are_copied_between_packet_and_stack_and_summed() {
    let text = "
        mov %r6, %r1
        mov %r2, 12
        mov %r3, %r10
        add %r3, -16
        mov %r4, 8
        call helper 189
        jne %r0, 0, out
        mov %r1, %r10
        add %r1, -16
        mov %r2, 8
        mov %r3, %r10
        add %r3, -16
        mov %r4, 4
        mov %r5, 0x1234
        call helper 28
        stxh [%r10-16], %r0
        mov %r1, %r6
        mov %r2, 0
        mov %r3, %r10
        add %r3, -16
        mov %r4, 2
        call helper 190
        out: exit
    ";
    let left = both(Kind::Ash, text, &[], &FRAME, 1);
    assert_eq!(left.result, 0);
    assert_ne!(left.frame[..2], FRAME[..2]);
    let short = both(Kind::Ash, text, &[], &FRAME[..15], 1);
    assert_eq!(short.result as i64, -22);
}

#[test]
fn a_helper_called_by_register_is_the_one_that_was_proven() {
    let text = "
        mov %r6, 8
        jeq %r6, 9, never
        call %r6
        exit
        never: call %r1
        exit
    ";
    let left = both(Kind::Memory, text, &[], &[0; 8], 1);
    assert_eq!(left.result, 0);
}

#[test]
fn code_is_only_made_for_the_maps_of_the_proof_and_keeps_them() {
    let spec = MapSpec::array(8, 16);
    let program = asm::program(Kind::Ash, COUNT).unwrap().with_maps(vec![spec]);
    let verified = verified(program).unwrap();
    let mut pages = HostPages::default();
    assert!(matches!(load(&verified, &mut pages), Err(EngineError::Compile(_))));
    for wrong in [MapSpec::array(8, 15), MapSpec::array(16, 16), MapSpec::hash(4, 8, 16)] {
        assert!(load_with(&verified, &maps(&[wrong]), &mut pages).is_err());
    }
    assert!(load_with(&verified, &maps(&[spec, spec]), &mut pages).is_err());
    assert_eq!(pages.used(), 0);
    let mine = maps(&[spec]);
    let native = load_with(&verified, &mine, &mut pages).unwrap();
    let watch = Arc::downgrade(&mine[0]);
    drop(mine);
    let mut frame = FRAME;
    assert_eq!(native.run(&mut PacketBuffer::whole(&mut frame)), 100);
    assert!(watch.upgrade().is_some());
    native.free(&mut pages);
    assert!(watch.upgrade().is_none());
}
