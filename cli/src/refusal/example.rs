//! A packet on which an unsafe access happens, found by running the program.
//!
//! A small search: inputs wait in a queue; each is run in the reference interpreter while
//! [`shadow`](super::shadow) follows which input bytes each register came from; every branch that
//! could lead to the instruction and was not taken that way gives an input in which the compared
//! bytes, or the length, are such that it is. The search ends when the interpreter refuses an
//! access after control has passed the instruction that the proof refused, or when its budget is
//! spent. Nothing is concluded from an empty result. Maps are empty, arrays zero, when a run
//! begins.

use std::collections::{BTreeSet, VecDeque};

use ebpf::interp::{self, HelperCall, Helpers, Trap, World};
use ebpf::limits::{PACKET_MAX, PACKET_MIN};
use ebpf::packet::{HEADROOM, PacketBuffer};
use ebpf::{Kind, Program, helper};
use runtime::helpers::Standard;
use runtime::map::{Map, MapSet};
use serde::Serialize;

use super::shadow::{Choice, Shadow};

/// Runs of one search.
const RUNS_MAX: usize = 1_000;
/// Instructions of all runs of one search.
const STEPS_MAX: u64 = 1_000_000;
/// Instructions of one run.
const BUDGET: u64 = 100_000;
/// Slots of a path that are kept.
const PATH_MAX: usize = 4_096;

/// A packet, or buffer, on which an unsafe access happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The packet, in hexadecimal.
    pub packet: String,
    /// What the helpers returned, in the order of the calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<u64>,
    /// Why the interpreter stopped, with the instruction.
    pub action: String,
}

/// What a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Input {
    pub(super) data: Vec<u8>,
    pub(super) results: Vec<u64>,
}

/// Helpers that return what the input says.
struct Scripted<'a> {
    results: &'a [u64],
    calls: usize,
}

impl Helpers for Scripted<'_> {
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64> {
        let wide = self.results.get(self.calls).copied().unwrap_or(0);
        self.calls += 1;
        match id {
            helper::RANDOM => Some(wide & u64::from(u32::MAX)),
            helper::KTIME => Some(wide),
            _ => Standard.call(id, args),
        }
    }

    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        match call.id {
            helper::RANDOM | helper::KTIME => self.call(call.id, call.args),
            _ => Standard.call_with(call),
        }
    }
}

/// An example for the refusal at `pc`, and the path that it takes there.
pub(super) fn search(program: &Program, pc: u32) -> Option<(Example, Vec<u32>)> {
    let mut search = Search::new(program, pc);
    let mut steps = 0;
    for _ in 0..RUNS_MAX {
        let input = search.queue.pop_front()?;
        let ran = search.run(&input);
        steps += ran.steps;
        if let Some(trap) = ran.trap.filter(|trap| ran.passed && is_unsafe(trap)) {
            let packet = input.data.iter().map(|byte| format!("{byte:02x}")).collect();
            let action = trap.to_string();
            return Some((Example { packet, results: input.results, action }, ran.path));
        }
        if steps > STEPS_MAX {
            return None;
        }
        search.grow(&input, &ran);
    }
    None
}

/// Whether the trap is the sort of thing that the proof excludes.
fn is_unsafe(trap: &Trap) -> bool {
    !matches!(trap, Trap::Budget { .. } | Trap::UnknownHelper { .. } | Trap::DataTooLong { .. })
}

struct Search<'a> {
    program: &'a Program,
    goal: u32,
    queue: VecDeque<Input>,
    seen: BTreeSet<Input>,
    /// Edges that some run has taken.
    edges: BTreeSet<(u32, u32)>,
}

#[derive(Default)]
struct Ran {
    trap: Option<Trap>,
    /// Control came to the goal.
    passed: bool,
    path: Vec<u32>,
    steps: u64,
    choices: Vec<Choice>,
}

impl<'a> Search<'a> {
    fn new(program: &'a Program, goal: u32) -> Search<'a> {
        let (queue, seen, edges) = (VecDeque::new(), BTreeSet::new(), BTreeSet::new());
        let mut search = Search { program, goal, queue, seen, edges };
        let packet = ebpf::fuzzing::packet_from_bytes(&[1, 0, 0, 0]);
        for length in [packet.len(), 0, PACKET_MIN, 34, 64, 256, PACKET_MAX] {
            let mut data = packet.clone();
            data.resize(length, 0);
            search.push(Input { data, results: Vec::new() });
            search.push(Input { data: vec![0xff; length], results: vec![u64::MAX; 8] });
            search.push(Input { data: vec![0; length], results: Vec::new() });
        }
        search
    }

    /// Packets have at least a header; buffers may be empty.
    fn push(&mut self, input: Input) {
        let least = if self.program.kind() == Kind::Memory { 0 } else { PACKET_MIN };
        let fits = (least..=PACKET_MAX).contains(&input.data.len());
        if fits && self.seen.insert(input.clone()) {
            self.queue.push_back(input);
        }
    }

    fn run(&mut self, input: &Input) -> Ran {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&input.data);
        buffer.resize(input.data.len() + 2 * HEADROOM, 0);
        let mut shadow = Shadow::new(self.program, input.data.len());
        let (mut path, mut passed, mut steps) = (Vec::new(), false, 0);
        let goal = self.goal;
        let specs = self.program.maps().iter();
        let maps: Vec<_> = specs.filter_map(|&spec| Map::new(spec, [1, 2]).ok()).collect();
        let mut helpers = Scripted { results: &input.results, calls: 0 };
        let world = World { helpers: &mut helpers, maps: &mut MapSet(&maps) };
        let Some(mut packet) = PacketBuffer::new(&mut buffer, HEADROOM, input.data.len()) else {
            return Ran::default();
        };
        let result = interp::run(self.program, &mut packet, world, BUDGET, &mut |view| {
            steps += 1;
            passed |= view.pc == goal;
            if path.len() < PATH_MAX && (!passed || view.pc == goal) {
                path.push(view.pc);
            }
            if steps < PATH_MAX as u64 {
                shadow.step(view.pc, view.registers);
            }
        });
        Ran { trap: result.err(), passed, path, steps, choices: shadow.choices() }
    }

    /// Inputs that take a branch the other way; where no branch is new, inputs at the edges.
    fn grow(&mut self, input: &Input, ran: &Ran) {
        for pair in ran.path.windows(2) {
            if let [from, to] = *pair {
                self.edges.insert((from, to));
            }
        }
        for choice in &ran.choices {
            // What is new is tried first, what was seen still may lead to another state.
            let fresh = !self.edges.contains(&(choice.pc, choice.other));
            if fresh || ran.passed {
                for changed in choice.flipped(input) {
                    self.push(changed);
                }
            }
        }
        if ran.passed && self.seen.len() < RUNS_MAX {
            self.edges_of(input);
        }
    }

    /// One byte more or less, and extreme values in each of the first bytes.
    fn edges_of(&mut self, input: &Input) {
        for shorter in 1..=8.min(input.data.len()) {
            let mut less = input.clone();
            less.data.truncate(input.data.len() - shorter);
            self.push(less);
        }
        for at in 0..input.data.len().min(16) {
            for value in [0xff, 0x80, 0x7f, 0] {
                let mut changed = input.clone();
                if let Some(byte) = changed.data.get_mut(at) {
                    *byte = value;
                }
                self.push(changed);
            }
        }
    }
}
