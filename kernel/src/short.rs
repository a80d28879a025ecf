//! Short calls: those that end at once and leave it to the caller to go on.
//!
//! They are the same functions as on the long way (`calls`), asked from within the caller's stay in
//! ring 3 (`machine::Short`): no event, no look at card, clock and slices, all of which have
//! interrupts of their own. Two things are different. The caller's registers are not in its
//! context, so that no upcall may change them there ([`Kernel::upcall`] waits while
//! `Kernel::away` names it). And the stay has to end when the call has changed who should run, or
//! has raised an upcall for the caller: then the answer is [`Answer::Stop`].

use abi::{Call, Status};
use machine::{AddressSpace, UserContext};

use crate::Kernel;
use crate::calls::{Arguments, Done};
use crate::environment::EnvironmentId;

/// Calls that touch nothing but the caller's own mappings and table: nobody else can tell.
const QUIET: &[Call] = &[
    Call::Clock,
    Call::CapInspect,
    Call::PageMap,
    Call::PageName,
    Call::PageProtect,
    Call::EnvStatus,
];

/// Calls that may free something, send, or let the card be served on the way.
const OTHERS: &[Call] = &[
    Call::CapDrop,
    Call::CapDerive,
    Call::PageAlloc,
    Call::PageFree,
    Call::PageUnmap,
    Call::PageBatch,
    Call::Transmit,
];

const QUIET_SET: u64 = set(QUIET);
const SHORT: u64 = QUIET_SET | set(OTHERS) | set(&[Call::Yield]);

const fn set(calls: &[Call]) -> u64 {
    let (mut set, mut rest) = (0, calls);
    while let [call, more @ ..] = rest {
        assert!((*call as u64) < 64, "the entry code's set has 64 bits");
        (set, rest) = (set | 1 << *call as u64, more);
    }
    set
}

impl machine::Short for Kernel {
    fn calls(&self) -> u64 {
        // Every call is to be seen in a trace.
        if log::log_enabled!(log::Level::Trace) { 0 } else { SHORT }
    }

    fn place(&mut self, number: u64) -> Option<(&mut UserContext, &AddressSpace)> {
        let environment = self.environments.get_mut(EnvironmentId(number as u32))?;
        Some((&mut environment.context, &environment.space))
    }

    fn short(&mut self, who: u64, call: u64, arguments: &[u64; 6]) -> machine::Answer {
        let caller = EnvironmentId(who as u32);
        if call >= 64 || SHORT >> call & 1 == 0 || self.has_upcalls(caller) {
            return machine::Answer::Long;
        }
        let arguments = Arguments { caller, words: *arguments };
        if call == Call::Yield as u64 {
            return self.yield_on(&arguments);
        }
        if QUIET_SET >> call & 1 == 1 {
            let (status, value) = self.quiet(call, &arguments);
            return machine::Answer::Go(status, value);
        }
        self.away = Some(caller);
        self.note_runner(caller);
        let (status, value) = self.other(call, &arguments);
        self.away = None;
        if self.scheduler.runs(caller) && !self.has_upcalls(caller) {
            machine::Answer::Go(status, value)
        } else {
            machine::Answer::Stop(status, value)
        }
    }
}

impl Kernel {
    fn quiet(&mut self, call: u64, a: &Arguments) -> (u64, u64) {
        const CLOCK: u64 = Call::Clock as u64;
        const CAP_INSPECT: u64 = Call::CapInspect as u64;
        const PAGE_MAP: u64 = Call::PageMap as u64;
        const PAGE_NAME: u64 = Call::PageName as u64;
        const PAGE_PROTECT: u64 = Call::PageProtect as u64;
        const ENV_STATUS: u64 = Call::EnvStatus as u64;
        answer(match call {
            CLOCK => Ok(Done::Value(machine::time::now_ns())),
            CAP_INSPECT => self.cap_inspect(a),
            PAGE_MAP => self.page_map(a),
            PAGE_NAME => self.page_name(a),
            PAGE_PROTECT => self.page_protect(a),
            ENV_STATUS => self.env_status(a),
            _ => Err(Status::UnknownCall),
        })
    }

    fn other(&mut self, call: u64, a: &Arguments) -> (u64, u64) {
        answer(match Call::from_number(call) {
            Some(call) => self.dispatch(call, a),
            None => Err(Status::UnknownCall),
        })
    }

    /// A slice given to somebody by name, who can run at once. Everything else about yielding is
    /// for the long way.
    fn yield_on(&mut self, a: &Arguments) -> machine::Answer {
        self.note_runner(a.caller);
        match self.yield_at_once(a) {
            Some(runner) => machine::Answer::Switch(Status::Ok as u64, 0, u64::from(runner.0)),
            None => machine::Answer::Long,
        }
    }

    fn has_upcalls(&self, id: EnvironmentId) -> bool {
        self.environments.get(id).is_none_or(|it| it.upcalls.pending())
    }
}

/// Status and value in the registers.
fn answer(answer: crate::calls::Answer) -> (u64, u64) {
    match answer {
        Ok(Done::Value(value)) => (Status::Ok as u64, value),
        Ok(Done::Refused(bytes)) => (Status::Refused as u64, bytes),
        Ok(Done::Raw(rax)) => (rax, 0),
        // None of the short ones ends later.
        Ok(Done::Later) => (Status::WrongState as u64, 0),
        Err(status) => (status as u64, 0),
    }
}
