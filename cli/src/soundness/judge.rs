//! What a program does on samples: nothing wrong, something wrong, or one of its pointers becomes
//! data that others can read.
//!
//! The last is asked without any rule about instructions. Each sample runs three times, with its
//! memory at other addresses ([`Layout`]), and everything else the same: frame, maps, clock,
//! chance. Whoever then reads another result, another frame, other entries of maps or another line
//! of the log has read an address. Where nobody can, a register may still hold a number that was
//! made from an address: a value that is neither the same in each run, nor the same place of a
//! region. Both are so for sure; what no sample shows stays unseen, and the program counts as safe.
//!
//! Every other sample finds entries in the maps, under the small keys that generated programs use.

use std::sync::Arc;

use dpf::fuzzing::is_deep_access;
use ebpf::interp::{self, Layout, Trap, View, World};
use ebpf::packet::HEADROOM;
use ebpf::{MapKind, MapSpec, PacketBuffer, Program};
use runtime::effects::Effects;
use runtime::helpers::WithEffects;
use runtime::map::{Map, MapSet};
use serde::{Deserialize, Serialize};

use super::campaign::Random;

/// Packets that each program runs on.
pub(super) const SAMPLES: usize = 24;
/// Instructions of one run.
const BUDGET: u64 = 200_000;
/// Entries that a map is given at most.
const ENTRIES: u32 = 6;

/// What the samples showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing wrong.
    Safe {
        /// Whether one of them got to an access that is not plain.
        deep: bool,
    },
    /// A trap, or no end.
    Wrong,
    /// A pointer became data that others can read.
    Leaks(Leak),
    /// A pointer became a number, which is not shown.
    Mixes,
}

/// Where an address could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Leak {
    /// In `r0` at the end.
    Result,
    /// In the frame.
    Frame,
    /// In a key or a value of a map.
    Map,
    /// In the log, or in what the owner is woken with.
    Log,
    /// In whether the run ends well.
    Course,
}

impl Leak {
    /// The words of the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Leak::Result => "the result",
            Leak::Frame => "the frame",
            Leak::Map => "a map",
            Leak::Log => "the log",
            Leak::Course => "the run's course",
        }
    }
}

/// All that can be read when a run has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) result: u64,
    pub(super) frame: Vec<u8>,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    log: Log,
}

impl End {
    /// What tells an end from another.
    fn differs(&self, other: &End) -> Option<Leak> {
        match () {
            () if self.result != other.result => Some(Leak::Result),
            () if self.frame != other.frame => Some(Leak::Frame),
            () if self.entries != other.entries => Some(Leak::Map),
            () if self.log != other.log => Some(Leak::Log),
            () => None,
        }
    }
}

/// What a program said to its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Log {
    lines: Vec<Vec<u8>>,
    woken: Vec<u64>,
}

impl Effects for Log {
    fn wake(&mut self, argument: u64) {
        self.woken.push(argument);
    }

    fn send_copy(&mut self, frame: &[u8]) -> bool {
        self.lines.push(frame.to_vec());
        true
    }

    fn print(&mut self, line: &[u8]) {
        self.lines.push(line.to_vec());
    }
}

/// Judges a program by samples out of `random`.
pub(super) fn judge(program: &Program, random: &mut Random) -> Judged {
    // A clock that stands still can be compared.
    runtime::clock::set(|| 1_000_000_007);
    let (mut reached, mut mixes) = (false, false);
    for sample in 0..SAMPLES {
        let packet = ebpf::fuzzing::packet_from_bytes(&random.bytes(24));
        let fill = (sample % 2 == 1).then(|| random.next());
        let mut trace = Vec::new();
        let see = &mut |view: &View<'_>| {
            reached |= program.get(view.pc).is_some_and(is_deep_access);
            trace.push(*view.registers);
        };
        let Ok(usual) = end(program, &packet, fill, (Layout::USUAL, see)) else {
            return Judged::Wrong;
        };
        for layout in Layout::ELSEWHERE {
            let mut steps = trace.iter();
            let see = &mut |view: &View<'_>| {
                let pairs = steps.next().into_iter().flatten().zip(view.registers);
                mixes |= pairs.clone().any(|(&here, &there)| is_mixed(here, &layout, there));
            };
            let leak = match end(program, &packet, fill, (layout, see)) {
                Ok(end) => usual.differs(&end),
                Err(_) => Some(Leak::Course),
            };
            if let Some(leak) = leak {
                return Judged::Leaks(leak);
            }
        }
    }
    if mixes { Judged::Mixes } else { Judged::Safe { deep: reached } }
}

/// Whether a register's values at two layouts are neither one number nor one pointer.
fn is_mixed(here: u64, layout: &Layout, there: u64) -> bool {
    here != there && !Layout::USUAL.moves(here, layout, there)
}

/// A run with empty maps; `None` if it does something wrong or does not end.
pub(super) fn run(program: &Program, packet: &[u8]) -> Option<End> {
    end(program, packet, None, (Layout::USUAL, &mut |_| {})).ok()
}

/// What a run leaves of a frame, of maps made for it, and in the log.
fn end(
    program: &Program,
    packet: &[u8],
    fill: Option<u64>,
    (layout, see): (Layout, &mut dyn FnMut(&View<'_>)),
) -> Result<End, Trap> {
    let none = Trap::Budget { pc: 0 };
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(packet);
    buffer.resize(HEADROOM + packet.len() + HEADROOM, 0);
    let mut frame = PacketBuffer::new(&mut buffer, HEADROOM, packet.len()).ok_or(none)?;
    let maps: Option<Vec<_>> =
        program.maps().iter().map(|&spec| Map::new(spec, [7, 7]).ok()).collect();
    let maps = maps.ok_or(none)?;
    if let Some(seed) = fill {
        maps.iter().for_each(|map| filled(map, seed));
    }
    runtime::random::seed(fill.unwrap_or(1));
    let mut log = Log::default();
    let world = World { helpers: &mut WithEffects(&mut log), maps: &mut MapSet(&maps) };
    let result = interp::run_at(program, &mut frame, world, (layout, BUDGET), see)?;
    let entries = maps.iter().flat_map(entries).collect();
    Ok(End { result, frame: frame.data().to_vec(), entries, log })
}

/// Gives a map entries under small keys, with any values.
fn filled(map: &Map, seed: u64) {
    let MapSpec { kind, key_size, value_size, max_entries, .. } = *map.spec();
    let mut random = Random::new(seed, u64::from(key_size));
    for number in 0..max_entries.min(ENTRIES) {
        let number = match kind {
            // A prefix's length.
            MapKind::LpmTrie => random.below(33),
            _ => u64::from(number),
        };
        let mut key = number.to_le_bytes().to_vec();
        key.resize(key_size as usize, 0);
        // What does not fit is not there, and that is a state like any other.
        let _ = map.update(&key, &random.bytes(value_size as usize), 0);
    }
}

/// Keys and values of a map, in its own order.
fn entries(map: &Arc<Map>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let spec = map.spec();
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut key = vec![0; spec.key_size as usize];
    loop {
        let before = all.last().map(|(key, _)| key.as_slice());
        if all.len() > spec.max_entries as usize || map.next_key(before, &mut key).is_err() {
            return all;
        }
        let mut value = vec![0; spec.value_size as usize];
        let _ = map.peek(&key).map(|slot| map.read(slot, 0, &mut value));
        all.push((key.clone(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::{Judged, Leak, judge};
    use crate::soundness::campaign::Random;
    use ebpf::{Kind, MapSpec, Program, asm};

    fn program(text: &str) -> Program {
        let program = asm::program(Kind::Ash, text).unwrap_or_else(|error| panic!("{error}"));
        program.with_maps(vec![MapSpec::array(8, 2), MapSpec::hash(8, 8, 4)])
    }

    fn judged(text: &str) -> Judged {
        judge(&program(text), &mut Random::new(1, 1))
    }

    /// Entry 1 of map 0 in `r0`, the context in `r9`, then what is asked for.
    fn with_value(rest: &str) -> String {
        format!(
            "mov %r9, %r1\nstw [%r10-4], 1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map_fd 0\n\
             call helper 1\njeq %r0, 0, out\n{rest}\nmov %r0, 2\nout:\nexit"
        )
    }

    #[test]
    fn each_place_where_an_address_can_be_read_is_looked_at() {
        let print = "stw [%r10-8], 0x786c25\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 4\n\
                     mov %r3, %r10\nrsh %r3, 3\n\
                     call helper 6\nmov %r0, 2\nexit";
        let key = "stxdw [%r10-8], %r10\nmov %r2, %r10\nadd %r2, -8\nmov %r3, %r2\n\
                   stdw [%r10-16], 1\nmov %r3, %r10\nadd %r3, -16\nmov %r4, 0\n\
                   lddw %r1, map_fd 1\ncall helper 2\nmov %r0, 2\nexit";
        let bound = "ldxw %r2, [%r1+0]\nand %r2, 0x8\njeq %r2, 0, out\nldxb %r0, [%r10+0]\nout:\n\
                     mov %r0, 2\nexit";
        for (text, leak) in [
            ("mov %r0, %r1\nexit".to_owned(), Leak::Result),
            (
                "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\n\
                 mov %r0, 2\njgt %r4, %r3, out\nstxdw [%r2+0], %r10\nout:\nexit"
                    .to_owned(),
                Leak::Frame,
            ),
            (with_value("stxdw [%r0+0], %r9"), Leak::Map),
            (key.to_owned(), Leak::Map),
            (print.to_owned(), Leak::Log),
            (bound.to_owned(), Leak::Course),
        ] {
            assert_eq!(judged(&text), Judged::Leaks(leak), "{text}");
        }
    }

    #[test]
    fn a_number_made_from_an_address_is_one_although_nobody_sees_it() {
        for text in [
            "mov32 %r2, %r10\nmov %r0, 0\nexit",
            "ldxw %r2, [%r1+0]\nsub %r2, %r10\nmov %r0, 0\nexit",
            "stxdw [%r10-8], %r10\nldxh %r2, [%r10-6]\nmov %r0, 0\nexit",
            "mov %r2, %r1\nand %r2, 63\nmov %r0, 0\nexit",
        ] {
            assert_eq!(judged(text), Judged::Mixes, "{text}");
        }
    }

    #[test]
    fn what_shows_no_address_is_safe_whatever_is_done_with_it() {
        for text in [
            "mov %r0, 0\nstxdw [%r10-8], %r1\nldxdw %r1, [%r10-8]\nldxw %r2, [%r1+0]\nexit",
            "mov %r0, %r10\nsub %r0, %r10\nexit",
            "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov32 %r0, %r2\nsub32 %r0, %r3\nexit",
            "mov %r0, 7\njne %r1, 0, out\nmov %r0, 8\nout:\nexit",
        ] {
            assert_eq!(judged(text), Judged::Safe { deep: false }, "{text}");
        }
        let deep = with_value("mov %r8, %r0\nldxdw %r3, [%r8+0]");
        assert_eq!(judged(&deep), Judged::Safe { deep: true });
        assert_eq!(dpf::fuzzing::accesses(&program(&deep)), [2, 1]);
    }

    #[test]
    fn what_goes_wrong_on_one_sample_is_wrong() {
        assert_eq!(judged("ldxdw %r0, [%r10-8]\nexit"), Judged::Wrong);
        assert_eq!(judged("mov %r0, 0\nl:\nja l"), Judged::Wrong);
        // Only a map that is not empty has this entry.
        let found = "stdw [%r10-8], 2\nmov %r2, %r10\nadd %r2, -8\nlddw %r1, map_fd 1\n\
                     call helper 1\njeq %r0, 0, out\nldxdw %r0, [%r0+1]\nout:\nmov %r0, 0\nexit";
        assert_eq!(judged(found), Judged::Wrong);
    }
}
