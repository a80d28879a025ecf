//! The abstract interpretation: states are pushed along the order of the instructions.
//!
//! Each instruction is visited when everything that can come before it in this round has been. Its
//! obligations are checked, its effect is applied, and the state goes on along the edges. A call of
//! a local function runs the function's order right there, with a frame of its own. Loops are run
//! by [`super::rounds`]. One item of work is one state at one instruction, or one look at where to
//! go on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ebpf::cost::Costs;
use ebpf::{CallTarget, Insn, Program, Reg};

use super::branch::{self, Test};
use super::effect;
use super::entail;
use super::name::{Name, Names};
use super::pending::{Meeting, Pending, States};
use super::record::Record;
use super::require;
use super::rounds::{Phase, Run, Way};
use super::scene;
use super::shape::{Function, Shape};
use super::stack::SLOTS;
use super::state::State;
use super::value::Value;
use crate::fuel::Fuel;
use crate::graph::successors;
use crate::limits::{LIGHT_SLOTS, VISITS_MAX, WORST_CASE_MAX};
use crate::refusal::{Refusal, UnsafeReason};

/// How precise a proof tries to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    /// States that are kept apart where ways meet.
    pub(super) cap: usize,
    /// Whether the rounds of loops are kept apart.
    pub(super) explore: bool,
    /// Instructions that may be visited.
    pub(super) visits: u32,
}

/// What an interpretation is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) program: &'a Program,
    pub(super) shape: &'a Shape,
}

/// The interpretation of one program with one effort.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) effort: Effort,
    pub(super) names: Names,
    pub(super) pending: Pending,
    /// Functions that are being run, the innermost last.
    pub(super) frames: Vec<Frame>,
    /// States at the instruction that the innermost function is at.
    pub(super) todo: States,
    /// They are to be made one before the loop there begins.
    pub(super) merging: bool,
    /// States on their way, the next one last: at most the two that leave a branch.
    out: Vec<Out>,
    pub(super) visits: u32,
    /// What helpers cost.
    costs: Costs,
    /// Most instructions that a run to the end took, those of helpers included.
    worst: u64,
    pub(super) record: Record,
    /// Loops that are not explored any more.
    pub(super) summed: Vec<bool>,
    /// Every state that was checked, by slot, for whoever audits the proof.
    pub(super) kept: Option<Vec<Vec<State>>>,
}

/// A function being run.
#[derive(Debug)]
pub(super) struct Frame {
    function: Function,
    /// Rank of the instruction that it is at.
    pub(super) at: u32,
    /// Whether that instruction's states were taken.
    pub(super) taken: bool,
    /// A function that was called there, not run yet.
    calls: Option<Function>,
    pub(super) runs: Vec<Run>,
}

/// A state on its way.
#[derive(Debug)]
struct Out {
    /// The function that goes on with it, by index; none for one that is only entered.
    frame: Option<usize>,
    slot: u32,
    state: Box<State>,
}

/// Fuel for one instruction's obligations and effect.
const INSN_UNITS: u32 = 10;
/// Fuel for one comparison with a state that waits.
pub(super) const MEET_UNITS: u32 = 5;
/// Fuel for a pass through a loop.
pub(super) const PASS_UNITS: u32 = 60;

/// The heaviest state's weight.
const WEIGHT_MAX: u32 = 1 + (SLOTS * ebpf::limits::CALL_DEPTH / LIGHT_SLOTS) as u32;

/// The greatest weight of all states that are kept where ways meet: so much heft, which is no less
/// than weight, or one state.
const KEPT_MAX: u32 = if WEIGHT_MAX > 24 { WEIGHT_MAX } else { 24 };

// An item is a visit, a state that arrives, a join, or the end of a pass with what came back.
const _: () = assert!(INSN_UNITS * WEIGHT_MAX <= crate::limits::ITEM_UNITS);
const _: () = assert!(MEET_UNITS * (KEPT_MAX + WEIGHT_MAX) < crate::limits::ITEM_UNITS);
const _: () = assert!(2 + MEET_UNITS * WEIGHT_MAX + PASS_UNITS <= crate::limits::ITEM_UNITS);
const _: () = assert!(MEET_UNITS * KEPT_MAX + PASS_UNITS < crate::limits::ITEM_UNITS);

/// The most heap that an interpretation holds for a program of `slots` slots, in bytes.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    super::pending::heap_bytes(slots) + super::record::heap_bytes(slots) + slots
}

impl Engine {
    pub(super) fn new(ground: Ground<'_>, effort: Effort) -> Engine {
        let Ground { program, shape } = ground;
        let mut engine = Engine {
            effort,
            names: Names::new(),
            pending: Pending::new(program.len()),
            frames: Vec::new(),
            todo: Vec::new(),
            merging: false,
            out: Vec::new(),
            visits: 0,
            costs: Costs::of(program.maps()),
            worst: 0,
            record: Record::new(),
            summed: alloc::vec![false; shape.loops()],
            kept: None,
        };
        if let Some(&function) = shape.function(0) {
            engine.frames.push(Frame::new(function));
            let entry = Box::new(State::at_entry(program.kind(), &mut engine.names));
            // One state is always less than may wait.
            let _ = engine.pending.add(function.entry, entry);
        }
        engine
    }

    /// Does one item of work; the worst case when all is done.
    pub(super) fn advance(
        &mut self,
        ground: Ground<'_>,
        fuel: &mut Fuel,
    ) -> Result<Option<u64>, Refusal> {
        if let Some(Out { frame, slot, state }) = self.out.pop() {
            fuel.spend(1);
            let arrived = match frame {
                Some(frame) => self.deliver(ground.shape, (frame, slot), state, fuel),
                None => self.wait(ground.shape, slot, state, fuel),
            };
            return arrived.map(|()| None);
        }
        if self.merging {
            fuel.spend(1);
            return self.merge(ground.shape, fuel).map(|()| None);
        }
        if let Some(state) = self.todo.pop() {
            return self.visit(ground, state, fuel).map(|()| None);
        }
        fuel.spend(1);
        let Some(frame) = self.frames.last_mut() else { return Ok(Some(self.worst)) };
        if let Some(function) = frame.calls.take() {
            self.frames.push(Frame::new(function));
            return Ok(None);
        }
        if frame.taken {
            (frame.at, frame.taken) = (frame.at + 1, false);
        }
        if let Some(run) = frame.runs.last()
            && frame.at == run.shape.end
        {
            fuel.spend(PASS_UNITS);
            return self.end_of_pass(ground, fuel).map(|()| None);
        }
        if frame.at == frame.function.end {
            self.frames.pop();
            return Ok(None);
        }
        self.arrive(ground.shape, fuel).map(|()| None)
    }

    /// Takes the states of the instruction that the innermost function comes to.
    fn arrive(&mut self, shape: &Shape, fuel: &mut Fuel) -> Result<(), Refusal> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let Some(slot) = shape.slot(frame.at) else { return Ok(()) };
        self.pending.take(slot, &mut self.todo);
        match shape.loop_at(frame.at) {
            Some((_, it)) if self.todo.is_empty() && !it.side_entry => frame.at = it.end,
            Some((index, &it)) => {
                fuel.spend(PASS_UNITS);
                return self.begin(index, it);
            }
            None => frame.taken = true,
        }
        Ok(())
    }

    /// Obligations first, then the effect, then on along the edges.
    fn visit(
        &mut self,
        ground: Ground<'_>,
        mut state: Box<State>,
        fuel: &mut Fuel,
    ) -> Result<(), Refusal> {
        let weight = state.weight();
        state.trail.step();
        fuel.spend(INSN_UNITS * weight);
        let Some((pc, insn)) = place(self.frames.last(), ground) else {
            return Err(Refusal::unsafety(0, UnsafeReason::Malformed));
        };
        self.visits += weight;
        // A program that is long may visit all of it in any case.
        let most = self.effort.visits + 4 * ground.program.len() as u32;
        if self.visits > most {
            return Err(Refusal::limit("VISITS_MAX", u64::from(VISITS_MAX)).at(pc));
        }
        let checking = self.is_checking();
        if let Err(reason) = met(ground, &state, (pc, insn)) {
            return match checking {
                true => Err(scene::refusal(ground.program, (pc, insn), &state, reason)),
                false => Ok(()),
            };
        }
        if checking {
            self.record.visit(pc, insn, &state)?;
            if let Some(kept) = self.kept.as_mut().and_then(|kept| kept.get_mut(pc as usize)) {
                kept.push(State::clone(&state));
            }
        }
        state.cost = state.cost.saturating_add(1 + self.beyond(insn));
        if state.cost > WORST_CASE_MAX && checking {
            return Err(Refusal::limit("WORST_CASE_MAX", WORST_CASE_MAX).at(pc));
        }
        self.go_on(ground, (pc, insn), state)
    }

    /// Instructions that are not the program's own: a helper's.
    fn beyond(&self, insn: &Insn) -> u64 {
        match *insn {
            Insn::Call { target: CallTarget::Helper(id) } => self.costs.call(id),
            Insn::Call { target: CallTarget::Register(_) } => self.costs.dearest(),
            _ => 0,
        }
    }

    fn go_on(
        &mut self,
        ground: Ground<'_>,
        (pc, insn): (u32, &Insn),
        mut state: Box<State>,
    ) -> Result<(), Refusal> {
        let shape = ground.shape;
        match *insn {
            Insn::Branch { width, cond, dst, src, target } => {
                let test = Test { width, cond, dst, src };
                self.note(&state, test);
                let mut taken = state.clone();
                taken.trail.turn(true);
                state.trail.turn(false);
                // What is taken arrives first.
                if branch::follow(&mut state, test, false) {
                    self.send(pc + 1, state);
                }
                if branch::follow(&mut taken, test, true) {
                    self.send(target, taken);
                }
                Ok(())
            }
            Insn::Call { target: CallTarget::Local(entry) } => self.call(shape, entry, state),
            Insn::Exit => {
                self.exit(shape, state);
                Ok(())
            }
            _ => {
                effect::apply(ground.program, &mut state, &mut self.names, insn);
                if let [Some(next), _] = successors(insn, pc) {
                    self.send(next, state);
                }
                Ok(())
            }
        }
    }

    /// A function is entered; it is run when all states at the call have been.
    fn call(&mut self, shape: &Shape, entry: u32, mut state: Box<State>) -> Result<(), Refusal> {
        let (Some(&function), Some(frame)) = (shape.function(entry), self.frames.last_mut()) else {
            return Err(Refusal::unsafety(entry, UnsafeReason::Malformed));
        };
        frame.calls = Some(function);
        state.enter();
        self.out.push(Out { frame: None, slot: entry, state });
        Ok(())
    }

    /// A function ends: its caller goes on behind the call, or the program is over.
    fn exit(&mut self, shape: &Shape, mut state: Box<State>) {
        let Some(caller) = self.frames.len().checked_sub(2) else {
            if self.is_checking() {
                self.worst = self.worst.max(state.cost);
            }
            return;
        };
        if self.frames.last().is_some_and(|frame| frame.runs.iter().any(Run::is_loose)) {
            return;
        }
        state.leave();
        let at = self.frames.get(caller).map_or(0, |frame| frame.at);
        let slot = shape.slot(at).map_or(0, |slot| slot + 1);
        self.out.push(Out { frame: Some(caller), slot, state });
    }

    /// A state goes to a slot of the innermost function.
    fn send(&mut self, slot: u32, state: Box<State>) {
        let frame = Some(self.frames.len().saturating_sub(1));
        self.out.push(Out { frame, slot, state });
    }

    /// A state goes to a slot of a function that is being run.
    fn deliver(
        &mut self,
        shape: &Shape,
        (frame, slot): (usize, u32),
        mut state: Box<State>,
        fuel: &mut Fuel,
    ) -> Result<(), Refusal> {
        let rank = shape.rank(slot);
        let meeting = Meeting { cap: self.effort.cap, mark: self.mark() };
        let Some(frame) = self.frames.get_mut(frame) else { return Ok(()) };
        // Nothing leaves a loop whose state is not found.
        let outside = |run: &Run| rank < run.shape.start || rank >= run.shape.end;
        if frame.runs.iter().any(|run| run.is_loose() && outside(run)) {
            return Ok(());
        }
        match frame.runs.iter_mut().find(|run| run.shape.start == rank) {
            Some(run) => {
                state.keep(shape.live(slot));
                let (names, pending) = (&mut self.names, &mut self.pending);
                let weight: u32 = run.back.iter().map(|there| there.weight()).sum();
                fuel.spend(MEET_UNITS * (weight + state.weight()));
                run.comes_back(state, names, pending, meeting)
            }
            None => self.wait(shape, slot, state, fuel),
        }
    }

    /// A state waits for a slot; where others may, without what nothing reads.
    fn wait(
        &mut self,
        shape: &Shape,
        slot: u32,
        mut state: Box<State>,
        fuel: &mut Fuel,
    ) -> Result<(), Refusal> {
        if !shape.meets(slot) {
            return self.pending.add(slot, state);
        }
        state.keep(shape.live(slot));
        let meeting = Meeting { cap: self.effort.cap, mark: self.mark() };
        let weight = self.pending.meet(slot, state, &mut self.names, meeting)?;
        fuel.spend(MEET_UNITS * weight);
        Ok(())
    }

    /// Whether obligations are required: no loop's state is still being found.
    pub(super) fn is_checking(&self) -> bool {
        !self.frames.iter().any(|frame| frame.runs.iter().any(Run::is_loose))
    }

    /// Names below mean the same in all states that meet.
    fn mark(&self) -> Name {
        let runs = self.frames.iter().rev().flat_map(|frame| frame.runs.iter().rev());
        let sums = runs.filter_map(|run| match &run.way {
            Way::Sum(sum) => Some(sum.given()),
            Way::Explore { .. } => None,
        });
        sums.max().unwrap_or(Name::ZERO)
    }

    /// Comparisons say where a loop may stop.
    fn note(&mut self, state: &State, test: Test) {
        let Some(run) = self.frames.last_mut().and_then(|frame| frame.runs.last_mut()) else {
            return;
        };
        let Way::Sum(sum) = &mut run.way else { return };
        if sum.phase != Phase::Find {
            return;
        }
        let right = match test.src {
            ebpf::Operand::Reg(reg) => state.get(reg),
            ebpf::Operand::Imm(imm) => {
                let number = i64::from(imm).cast_unsigned();
                Value::Scalar(super::scalar::Scalar::constant(number))
            }
        };
        if let (Value::Scalar(a), Value::Scalar(b)) = (state.get(test.dst), right) {
            sum.compared(&a, &b);
            sum.compared(&b, &a);
        }
    }
}

impl Frame {
    fn new(function: Function) -> Frame {
        let (at, calls, runs) = (function.start, None, Vec::new());
        Frame { function, at, taken: false, calls, runs }
    }
}

/// The instruction that a function is at.
fn place<'a>(frame: Option<&Frame>, ground: Ground<'a>) -> Option<(u32, &'a Insn)> {
    let pc = ground.shape.slot(frame?.at)?;
    Some((pc, ground.program.get(pc)?))
}

/// Whether a state meets all obligations of an instruction.
fn met(ground: Ground<'_>, state: &State, (pc, insn): (u32, &Insn)) -> entail::Verdict {
    let passes = |reg| ground.shape.passes(pc, reg);
    for need in require::needs(ground.program.kind(), insn).into_iter().flatten() {
        entail::check(ground.program, state, &passes, need)?;
    }
    Ok(())
}

/// The registers that an instruction reads: what a refusal tells of.
pub(super) fn involved(insn: &Insn) -> impl Iterator<Item = Reg> {
    let reads = match *insn {
        // No more arguments than the helper takes.
        Insn::Call { target: CallTarget::Helper(id) } => {
            let taken = ebpf::helper::by_id(id).map_or(0, |helper| helper.args.len());
            ((1 << taken) - 1) << 1
        }
        _ => crate::registers::reads(insn),
    };
    Reg::ALL.into_iter().filter(move |reg| reads & 1 << reg.index() != 0)
}
