//! The work list: forward along the instructions, backward along the branches.
//!
//! A task follows the instructions from a node until a branch depends on the frame or the program
//! ends. At a branch it waits for the nodes on both sides, then combines what they accept. The
//! program has no loop, so a task never waits for itself, and the tasks that wait are a stack.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use ebpf::{Cond, Insn, Program, Reg, Width};
use flow::{Rule, Space};

use super::combine::{Combine, Side};
use super::decide::{Outcome, decide};
use super::live::Live;
use super::machine::Machine;
use super::nodes::{NodeId, Nodes};
use super::rules::{RuleId, Rules};
use super::value::{Value, Values};
use super::word::Word;
use crate::arena;
use crate::fuel::Fuel;
use crate::graph::{Graph, Walk, successors};
use crate::hash::HashKey;
use crate::limits::{CLAIM_STEPS_MAX, ClaimBudget, ITEM_UNITS};
use crate::refusal::{Refusal, RefusalCode, UndecidedReason, UnsafeReason};

/// An extraction under way.
#[derive(Debug)]
pub(super) struct Extraction {
    stage: Stage,
    live: Live,
    values: Values,
    rules: Rules,
    nodes: Nodes,
    tasks: Vec<Task>,
    steps: u32,
    /// Fuel that the last work item cost beyond its fixed price.
    owed: u32,
    /// Whether what cannot be decided is taken as possible either way.
    guards: bool,
    doubt: Option<Doubt>,
}

/// What a claim could not decide first, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The instruction.
    pub pc: u32,
    /// Why.
    pub reason: UndecidedReason,
}

#[derive(Debug)]
enum Stage {
    /// The order of instructions is found.
    Order(Walk),
    /// Live registers are computed, last instruction first; how many are left.
    Live(Graph, usize),
    /// The tasks are worked off.
    Work,
}

/// What a node needs to be worked out.
#[derive(Debug)]
struct Task {
    node: NodeId,
    state: TaskState,
}

#[derive(Debug)]
enum TaskState {
    /// Nothing is done yet.
    Start,
    /// The instructions from `pc` on are followed.
    Follow { pc: u32, machine: Box<Machine> },
    /// What is accepted behind the branch is worked out by the tasks above.
    Wait { taken: (NodeId, Box<[RuleId]>), other: (NodeId, Box<[RuleId]>) },
    /// Both sides are put together.
    Combine(Box<Combine>),
}

/// What following an instruction leads to.
enum Next {
    On(u32),
    Ask { target: u32, holds: Vec<Rule>, fails: Vec<Rule> },
    End(Vec<RuleId>),
}

/// Fuel for one instruction that is followed.
const FOLLOW_UNITS: u32 = 40;

/// Fuel for a comparison that came to so many rules: they were compared with each other.
const fn ask_units(rules: usize) -> u32 {
    64 + (rules * rules / 8) as u32
}

/// Fuel for one thing that is given back: a few blocks of memory.
const CLEAR_UNITS: u32 = 4;

const _: () = assert!(FOLLOW_UNITS <= ITEM_UNITS && CLEAR_UNITS <= ITEM_UNITS);

/// The most heap that the work list for a program of `slots` slots holds, in bytes: two tasks for
/// each branch on a path.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    arena::table(2 * slots, size_of::<Task>()) + size_of::<Extraction>()
}

impl Extraction {
    pub(super) fn new(program: &Program, key: HashKey, guards: bool) -> Extraction {
        let budget = ClaimBudget::of(program.len());
        Extraction {
            stage: Stage::Order(Walk::new(program)),
            live: Live::new(program.len()),
            values: Values::new(budget.values, key),
            rules: Rules::new(budget, key),
            nodes: Nodes::new(budget.nodes, key),
            tasks: Vec::with_capacity(2 * program.len()),
            steps: 0,
            owed: 0,
            guards,
            doubt: None,
        }
    }

    /// Works until the fuel is spent or the space is there.
    pub(super) fn step(
        &mut self,
        program: &Program,
        fuel: &mut Fuel,
    ) -> Poll<Result<Space, Refusal>> {
        loop {
            match &mut self.stage {
                Stage::Order(walk) => match walk.step(program, fuel) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                    Poll::Ready(Ok(graph)) => {
                        let left = graph.order.len();
                        self.stage = Stage::Live(graph, left);
                    }
                },
                Stage::Live(graph, left) => {
                    while let Some(pc) = left.checked_sub(1).and_then(|at| graph.order.get(at)) {
                        if fuel.is_empty() {
                            return Poll::Pending;
                        }
                        fuel.spend(1);
                        self.live.compute(program, *pc);
                        *left -= 1;
                    }
                    if let Err(refusal) = self.begin() {
                        return Poll::Ready(Err(refusal));
                    }
                }
                Stage::Work => return self.work(program, fuel),
            }
        }
    }

    /// Gives memory back piece by piece, until nothing is left whose freeing takes long.
    pub(super) fn clear(&mut self, fuel: &mut Fuel) -> Poll<()> {
        loop {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(CLEAR_UNITS);
            if self.tasks.pop().is_none() && !self.nodes.forget_one() && !self.rules.forget_one() {
                return Poll::Ready(());
            }
        }
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let machine = Machine::at_entry(&mut self.values)?;
        let root = self.nodes.find(0, machine)?;
        self.push(root);
        self.stage = Stage::Work;
        Ok(())
    }

    fn push(&mut self, node: NodeId) {
        if self.nodes.accepted(node).is_none() {
            self.tasks.push(Task { node, state: TaskState::Start });
        }
    }

    fn work(&mut self, program: &Program, fuel: &mut Fuel) -> Poll<Result<Space, Refusal>> {
        while let Some(task) = self.tasks.pop() {
            if fuel.is_empty() {
                self.tasks.push(task);
                return Poll::Pending;
            }
            if let Err(refusal) = self.advance(program, task, fuel) {
                return Poll::Ready(Err(refusal));
            }
            fuel.spend(core::mem::take(&mut self.owed));
        }
        Poll::Ready(self.finish())
    }

    /// One work item of the topmost task, which is put back unless it is done.
    fn advance(&mut self, program: &Program, task: Task, fuel: &mut Fuel) -> Result<(), Refusal> {
        let Task { node, state } = task;
        match state {
            TaskState::Start => {
                fuel.spend(FOLLOW_UNITS);
                // The other side of the branch may have led here meanwhile.
                match self.nodes.start(node).filter(|_| self.nodes.accepted(node).is_none()) {
                    Some((pc, machine)) => self.follow(program, node, pc, Box::new(machine)),
                    None => Ok(()),
                }
            }
            TaskState::Follow { pc, machine } => {
                fuel.spend(FOLLOW_UNITS);
                self.follow(program, node, pc, machine)
            }
            TaskState::Wait { taken, other } => {
                fuel.spend(1);
                let [taken, other] = [taken, other].map(|(id, condition)| {
                    let accepted = self.nodes.accepted(id).map(Arc::clone);
                    Side { condition, accepted: accepted.unwrap_or_default() }
                });
                let state = TaskState::Combine(Box::new(Combine::new([taken, other])));
                self.tasks.push(Task { node, state });
                Ok(())
            }
            TaskState::Combine(mut combine) => match combine.step(&mut self.rules, fuel) {
                Poll::Pending => {
                    self.tasks.push(Task { node, state: TaskState::Combine(combine) });
                    Ok(())
                }
                Poll::Ready(accepted) => self.resolve(node, &accepted?),
            },
        }
    }

    fn follow(
        &mut self,
        program: &Program,
        node: NodeId,
        pc: u32,
        mut machine: Box<Machine>,
    ) -> Result<(), Refusal> {
        self.steps += 1;
        if self.steps > CLAIM_STEPS_MAX {
            let limit = Refusal::limit("CLAIM_STEPS_MAX", u64::from(CLAIM_STEPS_MAX));
            return Err(limit.at(pc));
        }
        match self.insn(program, pc, &mut machine)? {
            Next::On(next) => {
                machine.keep(self.live.before(next));
                let state = TaskState::Follow { pc: next, machine };
                self.tasks.push(Task { node, state });
                Ok(())
            }
            Next::End(accepted) => self.resolve(node, &accepted),
            Next::Ask { target, holds, fails } => {
                let mut side = |pc: u32| {
                    let mut state = Machine::clone(&machine);
                    state.keep(self.live.before(pc));
                    self.nodes.find(pc, state)
                };
                let (taken, other) = (side(target)?, side(pc + 1)?);
                self.owed = ask_units(holds.len() + fails.len());
                let (holds, fails) = (self.rules.list(holds)?, self.rules.list(fails)?);
                let state = TaskState::Wait { taken: (taken, holds), other: (other, fails) };
                self.tasks.push(Task { node, state });
                self.push(taken);
                if other != taken {
                    self.push(other);
                }
                Ok(())
            }
        }
    }

    fn resolve(&mut self, node: NodeId, accepted: &[RuleId]) -> Result<(), Refusal> {
        self.rules.refer(accepted.len())?;
        self.nodes.resolve(node, accepted);
        Ok(())
    }

    fn insn(&mut self, program: &Program, pc: u32, machine: &mut Machine) -> Result<Next, Refusal> {
        let malformed = || Refusal::unsafety(pc, UnsafeReason::Malformed);
        let insn = program.get(pc).ok_or_else(malformed)?;
        match *insn {
            Insn::Branch { width, cond, dst, src, target } => {
                let left = machine.get(&self.values, dst);
                let right = machine.operand(&self.values, src);
                Ok(match self.decide(pc, (width, cond), &left, &right)? {
                    Outcome::Known(true) => Next::On(target),
                    Outcome::Known(false) => Next::On(pc + 1),
                    Outcome::Depends(holds, fails) => Next::Ask { target, holds, fails },
                })
            }
            Insn::Exit => {
                let result = machine.get(&self.values, Reg::R0);
                self.result(pc, &result).map(Next::End)
            }
            _ => {
                machine.step(&mut self.values, pc, insn)?;
                successors(insn, pc)[0].map(Next::On).ok_or_else(malformed)
            }
        }
    }

    /// What a comparison comes to. Where that cannot be told a guard lets every frame take both
    /// sides: what it accepts then holds what the program accepts.
    fn decide(
        &mut self,
        pc: u32,
        test: (Width, Cond),
        left: &Value,
        right: &Value,
    ) -> Result<Outcome, Refusal> {
        match decide(&self.values, pc, test, left, right) {
            Err(Refusal { code: RefusalCode::Undecided(reason), pc: at, .. }) if self.guards => {
                self.doubt.get_or_insert(Doubt { pc: at.unwrap_or(pc), reason });
                Ok(Outcome::Depends(alloc::vec![Rule::any()], alloc::vec![Rule::any()]))
            }
            other => other,
        }
    }

    /// What could not be decided, if anything; of use once the space is there.
    pub(super) const fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// The frames for which a program that ends with `result` accepts: those that make it not 0.
    fn result(&mut self, pc: u32, result: &Value) -> Result<Vec<RuleId>, Refusal> {
        let zero = Value::Word(Word::constant(0));
        let test = (Width::W64, Cond::Ne);
        let accepted = match self.decide(pc, test, result, &zero)? {
            Outcome::Known(false) => Vec::new(),
            Outcome::Known(true) => alloc::vec![Rule::any()],
            Outcome::Depends(holds, _) => holds,
        };
        let mut space = Vec::new();
        for rule in accepted {
            self.rules.add(&mut space, rule)?;
        }
        Ok(space)
    }

    /// The root's space, if it keeps to the limits of spaces that proofs take.
    fn finish(&self) -> Result<Space, Refusal> {
        let accepted = self.nodes.accepted(0).map_or(&[][..], |accepted| accepted);
        let rules = accepted.iter().filter_map(|&id| self.rules.get(id).cloned()).collect();
        let space = Space::from_rules(rules);
        crate::placement::admissible(&space)?;
        Ok(space)
    }
}
