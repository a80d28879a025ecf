//! A generated program in native code and in the interpreter, packet after packet.
//!
//! Each engine has maps of its own, which keep what earlier packets left in them; after each packet
//! result and packet must be the same, and after the last one the maps.

use std::sync::Arc;

use dpf::fuzzing::{idioms_from_bytes, verified};
use ebpf::interp::{self, World};
use ebpf::packet::HEADROOM;
use ebpf::{CallTarget, Insn, Kind, Program};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::map::{Map, MapSet};
use runtime::native::HostPages;
use runtime::random::{self, mix};
use verifier::Verified;

/// Packets of one program.
pub const PACKETS: u64 = 16;

/// Bytes behind a packet in its buffer.
const TAILROOM: usize = 256;

/// What one trial was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// No program, or one that the verifier refuses.
    Refused,
    /// So many instructions run by the interpreter.
    Alike(u64),
}

/// The kinds of programs in turn, by name.
pub const KINDS: [&str; 4] = ["handlers", "memory programs", "filters", "programs of idioms"];

/// Runs the program that the bytes make, of the nth of [`KINDS`].
///
/// # Panics
/// If the engines differ, the interpreter traps, or the engine refuses a verified program.
#[must_use]
pub fn trial(nth: usize, bytes: &[u8], pages: &mut HostPages) -> Trial {
    let program = match nth {
        0 => ebpf::fuzzing::rich_program_from_bytes(Kind::Ash, bytes),
        1 => ebpf::fuzzing::rich_program_from_bytes(Kind::Memory, bytes),
        2 => ebpf::fuzzing::rich_program_from_bytes(Kind::Filter, bytes),
        _ => idioms_from_bytes(bytes),
    };
    let Some(verified) = program.filter(|program| !tells_time(program)).and_then(verified) else {
        return Trial::Refused;
    };
    let both = [maps(verified.program()), maps(verified.program())];
    let native = dpf::load_with(&verified, &both[0], pages)
        .unwrap_or_else(|error| panic!("{error}\n{}", text(&verified)));
    let mut steps = 0;
    for packet in packets(bytes) {
        let mut frames = [roomy(&packet), roomy(&packet)];
        let seed = mix(packet.len() as u64 ^ steps);
        let [first, second] = &mut frames;
        random::seed(seed);
        let ours = left(first, packet.len(), |frame| native.run(frame));
        random::seed(seed);
        let theirs = left(second, packet.len(), |frame| {
            let mut set = MapSet(&both[1]);
            let world = World { helpers: &mut Standard, maps: &mut set };
            let budget = verified.worst_case().into();
            interp::run(verified.program(), frame, world, budget, &mut |_| steps += 1)
                .unwrap_or_else(|trap| panic!("{trap}\n{}{packet:02x?}", text(&verified)))
        });
        assert_eq!(ours, theirs, "native and interpreted\n{}{packet:02x?}", text(&verified));
    }
    native.free(pages);
    let [ours, theirs] = both.each_ref().map(|maps| values(maps));
    assert_eq!(ours, theirs, "native and interpreted maps\n{}", text(&verified));
    Trial::Alike(steps)
}

/// What is not the same twice: the clock.
fn tells_time(program: &Program) -> bool {
    let clock = CallTarget::Helper(ebpf::helper::KTIME);
    program.insns().contains(&Insn::Call { target: clock })
}

fn text(verified: &Verified) -> String {
    ebpf::disasm::disassemble(verified.program())
}

fn maps(program: &Program) -> Vec<Arc<Map>> {
    let make = |spec: &_| Map::new(*spec, [0x5eed; 2]).unwrap_or_else(|error| panic!("{error:?}"));
    program.maps().iter().map(make).collect()
}

/// Packets out of parts of the bytes and what they become when mixed.
fn packets(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..PACKETS).map(|nth| {
        let start = bytes.len() * (nth as usize % 4) / 4;
        let mut part = bytes[start..].to_vec();
        for (at, byte) in part.iter_mut().enumerate().filter(|_| nth >= 4) {
            *byte ^= mix(nth ^ (at as u64) << 8) as u8 & 0x11;
        }
        ebpf::fuzzing::packet_from_bytes(&part)
    })
}

/// The packet in a buffer with room on both sides.
fn roomy(packet: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(packet);
    buffer.resize(HEADROOM + packet.len() + TAILROOM, 0);
    buffer
}

/// The result of a run, and the packet that it leaves.
fn left(
    buffer: &mut [u8],
    bytes: usize,
    run: impl FnOnce(&mut PacketBuffer<'_>) -> u64,
) -> (u64, usize, Vec<u8>) {
    let frame = PacketBuffer::new(buffer, HEADROOM, bytes);
    let mut frame = frame.unwrap_or_else(|| panic!("no buffer for {bytes} bytes"));
    let result = run(&mut frame);
    (result, frame.start(), frame.data().to_vec())
}

fn values(maps: &[Arc<Map>]) -> Vec<Vec<u8>> {
    let of = |map: &Arc<Map>, slot| {
        let mut value = vec![0; map.spec().value_size as usize];
        assert!(map.read(slot, 0, &mut value), "slot {slot}");
        value
    };
    maps.iter().flat_map(|map| (0..map.spec().max_entries).map(|slot| of(map, slot))).collect()
}
