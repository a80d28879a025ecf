//! The work list: forward along the instructions, backward along the branches.
//!
//! A task follows the instructions from a node until a branch depends on the frame or the program
//! ends. At a branch it waits for the nodes on both sides, then combines what they accept. The
//! program has no loop, so a task never waits for itself, and the tasks that wait are a stack. A
//! split (`splits`) is a branch whose sides both go on at the same instruction.
//!
//! How much is left open is the [`Effort`]: nothing; what cannot be decided; or, where a limit was
//! met in that, all details beyond a few rules for each instruction.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use ebpf::{Cond, Insn, Operand, Program, Reg, Width};
use flow::limits::RULES_MAX;
use flow::{Rule, Space};

use super::combine::{Combine, Side};
use super::decide::{self, Outcome, decide};
use super::lengths;
use super::live::Live;
use super::machine::{Machine, Step};
use super::nodes::{NodeId, Nodes};
use super::rules::{RuleId, Rules};
use super::splits::{self, Ask, Split};
use super::value::{Value, Values};
use super::word::Word;
use crate::arena;
use crate::fuel::Fuel;
use crate::graph::{Graph, Walk, successors};
use crate::hash::HashKey;
use crate::limits::{
    CLAIM_STEPS_MAX, COARSE_RULES_MAX, CONDITION_RULES_MAX, ClaimBudget, ITEM_UNITS,
};
use crate::refusal::{Limit, Refusal, RefusalCode, UndecidedReason, UnsafeReason};

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
    effort: Effort,
    doubt: Option<Doubt>,
    /// The first instruction from which more is accepted than a space has rules for.
    over: Option<u32>,
}

/// What is to be found out exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Everything, or there is no answer.
    Exact,
    /// Everything that can be; what cannot be decided is taken as possible either way.
    Guard,
    /// A few rules around what is accepted, because of this doubt.
    Coarse(Doubt),
}

/// What a claim could not decide first, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The instruction.
    pub pc: u32,
    /// Why.
    pub reason: UndecidedReason,
    /// The limit that was met, if that is why.
    pub limit: Option<Limit>,
}

impl Doubt {
    /// Of an instruction that a limit was met at.
    pub(super) const fn of_limit(pc: u32, limit: Limit) -> Doubt {
        Doubt { pc, reason: UndecidedReason::Limit, limit: Some(limit) }
    }

    /// The refusal for whoever needs to know exactly.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal { limit: self.limit, ..Refusal::undecided(self.pc, self.reason) }
    }
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
    /// What is accepted behind the branch at `pc` is worked out by the tasks above.
    Wait { pc: u32, sides: [(NodeId, Condition); 2] },
    /// Both sides of the branch at `pc` are put together.
    Combine { pc: u32, combine: Box<Combine> },
}

/// What sends a frame to a side; `None` if that takes more than `CONDITION_RULES_MAX` rules, which
/// is nothing to anybody if nothing is accepted there.
type Condition = Option<Box<[RuleId]>>;

/// What following an instruction leads to.
enum Next {
    On(u32),
    Ask([Way; 2]),
    End(Vec<RuleId>),
}

/// A branch's one way on: where, for which frames, and with which state if it is another.
type Way = (u32, lengths::Rules, Option<Machine>);

/// Fuel for one instruction that is followed.
const FOLLOW_UNITS: u32 = 40;

/// Fuel for a comparison that came to so many rules: they were compared with each other.
const fn ask_units(rules: usize) -> u32 {
    64 + (rules * rules / 8) as u32
}

/// Fuel for a comparison of lengths: all that there can be are tried.
const LENGTH_UNITS: u32 = 200;

/// Fuel for a split: two states of mostly new values.
const SPLIT_UNITS: u32 = 200;

/// Fuel for one thing that is given back: a few blocks of memory.
const CLEAR_UNITS: u32 = 4;

const _: () = assert!(FOLLOW_UNITS + LENGTH_UNITS <= ITEM_UNITS);
const _: () = assert!(FOLLOW_UNITS + SPLIT_UNITS <= ITEM_UNITS && CLEAR_UNITS <= ITEM_UNITS);

/// The most heap that the work list for a program of `slots` slots holds, in bytes: two tasks for
/// each branch on a path.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    arena::table(2 * slots, size_of::<Task>()) + size_of::<Extraction>()
}

impl Extraction {
    /// What is known of every frame are `facts`.
    pub(super) fn new(program: &Program, key: HashKey, effort: Effort, facts: Rule) -> Extraction {
        let budget = ClaimBudget::of(program.len());
        Extraction {
            stage: Stage::Order(Walk::new(program)),
            live: Live::new(program.len()),
            values: Values::new(budget.values, key, facts),
            rules: Rules::new(budget, key),
            nodes: Nodes::new(budget.nodes, key),
            tasks: Vec::with_capacity(2 * program.len()),
            steps: 0,
            owed: 0,
            effort,
            doubt: match effort {
                Effort::Coarse(doubt) => Some(doubt),
                _ => None,
            },
            over: None,
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
            TaskState::Wait { pc, sides } => {
                fuel.spend(1);
                let [taken, other] = sides;
                let sides = [self.side(pc, taken)?, self.side(pc, other)?];
                let combine = Box::new(Combine::new(sides));
                self.tasks.push(Task { node, state: TaskState::Combine { pc, combine } });
                Ok(())
            }
            TaskState::Combine { pc, mut combine } => match combine.step(&mut self.rules, fuel) {
                Poll::Pending => {
                    self.tasks.push(Task { node, state: TaskState::Combine { pc, combine } });
                    Ok(())
                }
                Poll::Ready(accepted) => {
                    let accepted = accepted.map_err(|refusal| refusal.at(pc))?;
                    if accepted.len() > RULES_MAX {
                        self.over.get_or_insert(pc);
                    }
                    self.resolve(node, accepted).map_err(|refusal| refusal.at(pc))
                }
            },
        }
    }

    /// One side of the branch at `pc`, now that it is known what is accepted there.
    fn side(&mut self, pc: u32, (node, condition): (NodeId, Condition)) -> Result<Side, Refusal> {
        let accepted = self.nodes.accepted(node).map(Arc::clone).unwrap_or_default();
        let condition = match condition {
            Some(condition) => condition,
            None if accepted.is_empty() => Box::default(),
            None => {
                let anything = self.unlimited(pc)?;
                self.rules.list(anything)?
            }
        };
        Ok(Side { condition, accepted })
    }

    /// Instead of the condition at `pc`, which has too many rules: every frame, for a guard.
    fn unlimited(&mut self, pc: u32) -> Result<Vec<Rule>, Refusal> {
        let limit = Limit { name: "CONDITION_RULES_MAX", value: CONDITION_RULES_MAX as u64 };
        if self.effort == Effort::Exact {
            return Err(Refusal::limit(limit.name, limit.value).at(pc));
        }
        self.doubts(Doubt::of_limit(pc, limit));
        Ok(alloc::vec![Rule::any()])
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
            Next::End(accepted) => self.resolve(node, accepted),
            Next::Ask(ways) => {
                let count = |way: &Way| way.1.as_ref().map_or(2 * CONDITION_RULES_MAX, Vec::len);
                self.owed += ask_units(ways.iter().map(count).sum());
                let [taken, other] = ways;
                let sides = [self.open(taken, &machine)?, self.open(other, &machine)?];
                let [taken, other] = [sides[0].0, sides[1].0];
                self.tasks.push(Task { node, state: TaskState::Wait { pc, sides } });
                self.push(taken);
                if other != taken {
                    self.push(other);
                }
                Ok(())
            }
        }
    }

    /// The node and the condition of one way on.
    fn open(
        &mut self,
        (pc, rules, state): Way,
        before: &Machine,
    ) -> Result<(NodeId, Condition), Refusal> {
        let mut state = state.unwrap_or_else(|| before.clone());
        state.keep(self.live.before(pc));
        let node = self.nodes.find(pc, state)?;
        let condition = match (rules, self.effort) {
            (Some(rules), Effort::Coarse(_)) => Some(coarsened(rules)),
            (rules, _) => rules,
        };
        let listed = condition.map(|rules| self.rules.list(rules)).transpose();
        Ok((node, listed.map_err(|refusal| refusal.at(pc))?))
    }

    /// Keeps what is accepted from a node on.
    fn resolve(&mut self, node: NodeId, mut accepted: Vec<RuleId>) -> Result<(), Refusal> {
        if matches!(self.effort, Effort::Coarse(_)) && accepted.len() > COARSE_RULES_MAX {
            let rules = accepted.iter().filter_map(|&id| self.rules.get(id).cloned()).collect();
            accepted.clear();
            for rule in coarsened(rules) {
                self.rules.add(&mut accepted, rule)?;
            }
        }
        self.rules.refer(accepted.len())?;
        self.nodes.resolve(node, &accepted);
        Ok(())
    }

    fn insn(&mut self, program: &Program, pc: u32, machine: &mut Machine) -> Result<Next, Refusal> {
        let malformed = || Refusal::unsafety(pc, UnsafeReason::Malformed);
        let insn = program.get(pc).ok_or_else(malformed)?;
        match *insn {
            Insn::Branch { width, cond, dst, src, target } => {
                let left = machine.get(&self.values, dst);
                let right = machine.operand(&self.values, src);
                match self.decide(pc, (width, cond), &left, &right)? {
                    Outcome::Known(true) => Ok(Next::On(target)),
                    Outcome::Known(false) => Ok(Next::On(pc + 1)),
                    Outcome::Depends(holds, fails) => {
                        Ok(Next::Ask([(target, holds, None), (pc + 1, fails, None)]))
                    }
                    Outcome::Carry(side) => match (side, src) {
                        (decide::Operand::Right, Operand::Reg(src)) => {
                            self.split(pc, machine, Ask::Sum(machine.id(src)))
                        }
                        _ => self.split(pc, machine, Ask::Sum(machine.id(dst))),
                    },
                }
            }
            Insn::Exit => {
                let result = machine.get(&self.values, Reg::R0);
                self.result(pc, &result).map(Next::End)
            }
            _ => {
                let may_split = !matches!(self.effort, Effort::Coarse(_));
                let step = machine.step(&mut self.values, pc, insn, may_split);
                match step.map_err(|refusal| refusal.at(pc))? {
                    Step::Split(ask) => self.split(pc, machine, ask),
                    Step::Done => successors(insn, pc)[0].map(Next::On).ok_or_else(malformed),
                }
            }
        }
    }

    /// Goes on at the same instruction, knowing more.
    fn split(&mut self, pc: u32, machine: &mut Machine, ask: Ask) -> Result<Next, Refusal> {
        self.owed += SPLIT_UNITS;
        let split = splits::split(&mut self.values, machine, pc, ask);
        match split.map_err(|refusal| refusal.at(pc))? {
            Split::Same(same) => {
                *machine = same;
                Ok(Next::On(pc))
            }
            Split::Cases(inside, outside, [yes, no]) => {
                let way = |rule, state| (pc, Some(alloc::vec![rule]), Some(state));
                Ok(Next::Ask([way(inside, yes), way(outside, no)]))
            }
        }
    }

    /// Remembers what could not be told first.
    fn doubts(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
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
        let is_length = |value: &Value| matches!(value, Value::Length(_) | Value::End);
        if is_length(left) || is_length(right) {
            self.owed += LENGTH_UNITS;
        }
        let either = || Some(alloc::vec![Rule::any()]);
        match decide(&self.values, pc, test, left, right) {
            Err(Refusal { code: RefusalCode::Undecided(reason), pc: at, .. })
                if self.effort != Effort::Exact =>
            {
                self.doubts(Doubt { pc: at.unwrap_or(pc), reason, limit: None });
                Ok(Outcome::Depends(either(), either()))
            }
            // Sums are not taken apart then.
            Ok(Outcome::Carry(_)) if matches!(self.effort, Effort::Coarse(_)) => {
                Ok(Outcome::Depends(either(), either()))
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
            Outcome::Known(true) => alloc::vec![Rule::any()],
            Outcome::Depends(Some(holds), _) => holds,
            Outcome::Depends(None, _) => self.unlimited(pc)?,
            // No bits of a sum are asked for.
            Outcome::Known(false) | Outcome::Carry(_) => Vec::new(),
        };
        let mut space = Vec::new();
        for rule in accepted {
            self.rules.add(&mut space, rule).map_err(|refusal| refusal.at(pc))?;
        }
        Ok(space)
    }

    /// The root's space, if it keeps to the limits of spaces that proofs take.
    fn finish(&self) -> Result<Space, Refusal> {
        let accepted = self.nodes.accepted(0).map_or(&[][..], |accepted| accepted);
        let rules = accepted.iter().filter_map(|&id| self.rules.get(id));
        let rules = match self.effort {
            Effort::Coarse(_) => rules.map(Rule::loosened).collect(),
            _ => rules.cloned().collect(),
        };
        let space = Space::from_rules(rules);
        crate::placement::admissible(&space)
            .map_err(|refusal| refusal.at(self.over.unwrap_or_default()))?;
        Ok(space)
    }
}

/// No more than a few rules around what these hold.
fn coarsened(mut rules: Vec<Rule>) -> Vec<Rule> {
    while rules.len() > COARSE_RULES_MAX {
        // Two neighbours in the list, which mostly came from one test.
        let common = |at: &usize| match (rules.get(*at), rules.get(at + 1)) {
            (Some(one), Some(next)) => one.hull(next).cells().len(),
            _ => 0,
        };
        let Some(at) = (0..rules.len() - 1).max_by_key(common) else { break };
        let next = rules.remove(at + 1);
        if let Some(one) = rules.get_mut(at) {
            *one = one.hull(&next);
        }
    }
    rules
}
