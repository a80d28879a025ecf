//! Wake-up predicates: a verified program that says when its environment may run again.
//!
//! The idea (Aegis, Xok): polling without being scheduled. The environment downloads a memory
//! program and names words of pages; while it waits with [`Kernel::wait_until`], the kernel runs
//! the program, natively, over a copy of those words whenever it chooses whom to run, and the
//! environment wakes with what the program returned once that is not zero. The copy is the
//! kernel's: whatever the program writes there is forgotten.
//!
//! Each look is charged to the one that waits: program and words. Who cannot pay is not looked at
//! until the next period; a deadline wakes it all the same. Words are named by page, and a page's
//! name ends with the page: a predicate whose word has gone wakes its environment with
//! [`WORD_GONE`].

use abi::Status;
use abi::download::{BLOCK_CLOCK, BLOCK_EVENTS, BLOCK_FIRST, PREDICATE_WORDS_MAX};
use abi::start::State;
use alloc::boxed::Box;
use alloc::vec::Vec;
use dpf::NativeProgram;
use runtime::PacketBuffer;

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::limits::PREDICATE_NS;
use crate::pages::PageId;

pub(crate) use abi::download::WORD_GONE;

/// A word that a predicate sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) page: PageId,
    pub(crate) offset: usize,
}

/// An environment's predicate.
pub(crate) struct Predicate {
    pub(crate) program: NativeProgram,
    /// What a look is charged.
    pub(crate) cost: u32,
    pub(crate) words: Vec<Word>,
    /// Kernel heap charged to the environment.
    pub(crate) heap: u64,
    /// The environment waits for it, and for nothing else.
    pub(crate) awaited: bool,
}

/// Who has predicates, and when they are looked at next.
#[derive(Debug, Default)]
pub(crate) struct Predicates {
    /// Environments that wait for one, at most: those that ended or were woken otherwise are
    /// found out at the next look.
    awaited: usize,
    due: u64,
}

impl Kernel {
    /// Gives an environment a predicate in the place of the one that it had.
    pub(crate) fn set_predicate(&mut self, id: EnvironmentId, to: Option<Box<Predicate>>) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        if let Some(to) = &to {
            environment.account.heap += to.heap;
        }
        let before = core::mem::replace(&mut environment.predicate, to);
        if let Some(before) = before {
            environment.account.heap = environment.account.heap.saturating_sub(before.heap);
            before.program.free(&mut self.network.code);
        }
    }

    /// Puts an environment to sleep until its predicate says something or the deadline passes;
    /// what the predicate says now, if it says something, or 0 for a deadline that has passed.
    ///
    /// # Errors
    /// [`Status::WrongState`] without a predicate.
    pub(crate) fn wait_until(
        &mut self,
        id: EnvironmentId,
        deadline: u64,
    ) -> Result<Option<u64>, Status> {
        let now = machine::time::now_ns();
        self.network.tick(now);
        let environment = self.environments.get(id).ok_or(Status::WrongState)?;
        environment.predicate.as_ref().ok_or(Status::WrongState)?;
        if let Some(value) = self.look(id, now) {
            return Ok(Some(value));
        }
        if deadline <= now {
            return Ok(Some(0));
        }
        let environment = self.environments.get_mut(id).ok_or(Status::WrongState)?;
        if let Some(predicate) = &mut environment.predicate {
            predicate.awaited = true;
        }
        environment.state = State::Waiting;
        environment.deadline = deadline;
        self.scheduler.forget(id);
        self.scheduler.next_deadline = self.scheduler.next_deadline.min(deadline);
        self.predicates.awaited += 1;
        self.predicates.due = self.predicates.due.min(now.saturating_add(PREDICATE_NS));
        Ok(None)
    }

    /// Looks at every predicate that somebody waits for, if the time has come: before a choice.
    pub(crate) fn look_at_predicates(&mut self, now: u64) {
        if self.predicates.awaited == 0 || now < self.predicates.due {
            return;
        }
        self.network.tick(now);
        self.predicates.due = now.saturating_add(PREDICATE_NS);
        let mut waiting = [None; abi::limits::ENVIRONMENTS_MAX];
        let all = self.environments.iter().filter(|(_, it)| it.is_held());
        all.zip(&mut waiting).for_each(|((id, _), place)| *place = Some(id));
        self.predicates.awaited = waiting.iter().flatten().count();
        for id in waiting.into_iter().flatten() {
            if let Some(value) = self.look(id, now) {
                self.release(id, value);
            }
        }
    }

    /// When somebody has to look again although nobody runs.
    pub(crate) fn predicates_due(&self) -> u64 {
        if self.predicates.awaited == 0 { u64::MAX } else { self.predicates.due }
    }

    /// Wakes an environment that waits for its predicate: its call returns `value`.
    pub(crate) fn release(&mut self, id: EnvironmentId, value: u64) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.let_go();
        environment.answer(Status::Ok, value);
        environment.state = State::Runnable;
        self.scheduler.enqueue(id);
    }

    /// What an environment's predicate says, if it says something and the environment can pay.
    fn look(&mut self, id: EnvironmentId, now: u64) -> Option<u64> {
        let cost = self.environments.get(id)?.predicate.as_ref()?.cost;
        if !self.charge(id, cost) {
            return None;
        }
        let environment = self.environments.get(id)?;
        let predicate = environment.predicate.as_ref()?;
        let mut block = [[0; 8]; BLOCK_FIRST + PREDICATE_WORDS_MAX];
        let words = block.get_mut(..BLOCK_FIRST + predicate.words.len())?;
        *words.get_mut(BLOCK_CLOCK)? = now.to_le_bytes();
        *words.get_mut(BLOCK_EVENTS)? = environment.events.to_le_bytes();
        for (place, word) in words.iter_mut().skip(BLOCK_FIRST).zip(&predicate.words) {
            let Some(page) = self.memory.page(word.page) else { return Some(WORD_GONE) };
            *place = u64::from(page.frame.load_u32(word.offset)).to_le_bytes();
        }
        let block = words.as_flattened_mut();
        let value = predicate.program.run(&mut PacketBuffer::whole(block));
        (value != 0).then_some(value)
    }
}
