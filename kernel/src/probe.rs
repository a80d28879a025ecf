//! What tests and tools may look at from outside: states, registers, memory, single calls.
//!
//! Nothing here can do what ring 3 could not: [`Kernel::call`] is a system call by other means.

use abi::start::State;
use machine::{AddressSpace, Registers};

use crate::Kernel;
use crate::environment::EnvironmentId;

impl Kernel {
    /// Makes a system call as if the environment had: number, then arguments in their order. What
    /// it returns is in the registers, at once or when the environment is runnable again.
    pub fn call(&mut self, caller: EnvironmentId, number: u64, words: [u64; 6]) {
        let Some(environment) = self.environments.get_mut(caller) else { return };
        let r = &mut environment.context.registers;
        r.rax = number;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = words;
        self.system_call(caller);
    }

    /// An environment's state, if it is alive.
    #[must_use]
    pub fn state(&self, id: EnvironmentId) -> Option<State> {
        self.environments.get(id).map(|environment| environment.state)
    }

    /// An environment's registers, if it is alive.
    #[must_use]
    pub fn registers(&self, id: EnvironmentId) -> Option<Registers> {
        self.environments.get(id).map(|environment| environment.context.registers)
    }

    /// An environment's address space, if it is alive.
    #[must_use]
    pub fn space(&self, id: EnvironmentId) -> Option<&AddressSpace> {
        self.environments.get(id).map(|environment| &environment.space)
    }

    /// Every environment that is alive, oldest first.
    pub fn environments(&self) -> impl Iterator<Item = EnvironmentId> {
        self.environments.iter().map(|(id, _)| id)
    }

    /// Looks at the predicates that environments wait for, as before a choice.
    pub fn evaluate_predicates(&mut self) {
        self.look_at_predicates(machine::time::now_ns());
    }

    /// Works on an environment's proof for one step, if it has one; whether it still has.
    pub fn step_proof(&mut self, id: EnvironmentId) -> bool {
        if self.state(id) == Some(State::Proving) {
            self.prove(id);
        }
        self.state(id) == Some(State::Proving)
    }

    /// What an environment's proof is at, one of [`abi::record::PROOF_STAGES`], if it has one.
    #[must_use]
    pub fn proof_stage(&self, id: EnvironmentId) -> Option<&'static str> {
        self.environments.get(id)?.proof.as_ref().map(|proof| proof.stage())
    }

    /// Bytes of code pages in use.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.network.code.used()
    }
}
