//! A child with one page of machine code: where attacks run that would hurt the attacker.

use alloc::format;
use alloc::string::String;

use abi::limits::PAGE_BYTES;
use abi::start::State;
use abi::{Handle, Rights, Status};
use libos::capability::{drop_handle, grant_handle};
use libos::clock::{now_ns, wait};
use libos::sys::stubs::{Stub, script};
use libos::{Env, Page};

use crate::lab::Lab;

/// Where a child has the stubs, readable and executable.
pub(crate) const CODE: u64 = 0x40_0000;
/// Where it has the page that it shares with the attacker.
pub(crate) const SCRIPT: u64 = 0x50_0000;
/// Pages of it.
pub(crate) const SCRIPT_PAGES: usize = 2;
/// Its stack page, and the stack's top.
pub(crate) const STACK: u64 = 0x60_0000;
pub(crate) const STACK_TOP: u64 = STACK + PAGE_BYTES as u64;
/// Where nothing is.
pub(crate) const NOTHING: u64 = 0x70_0000;
/// Frames of a child that runs a stub, and of one that makes calls.
pub(crate) const FRAMES: u64 = 24;
pub(crate) const FRAMES_OF_SCRIPT: u64 = 64;
/// How long a child may take before it is killed, in nanoseconds.
const PATIENCE_NS: u64 = 60_000_000;
/// Between two looks at it.
const LOOK_NS: u64 = 500_000;

/// One call of a script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    pub(crate) number: u64,
    pub(crate) args: [u64; 6],
    /// What it must answer, one of these; nothing: anything that is a status.
    pub(crate) expected: &'static [Status],
    /// Whether the answer need not be a status.
    pub(crate) raw: bool,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with a code.
    Exited(u64),
    /// By an exception.
    Faulted(u64),
    /// It had to be killed.
    Killed,
}

/// A child that has not been started.
pub(crate) struct Child {
    pub(crate) env: Env,
    /// Its handle of itself.
    pub(crate) own: Handle,
    /// Its handle of the shared page.
    pub(crate) page: Handle,
    /// The same without any right.
    pub(crate) bare_page: Handle,
    /// Itself without any right.
    pub(crate) bare_own: Handle,
}

impl Child {
    /// Makes it: code, shared pages, stack, and handles of itself and of a page.
    pub(crate) fn new(lab: &Lab, frames: u64) -> Result<Child, String> {
        let env = Env::create(frames, "attacker").map_err(said("creating a child"))?;
        Child::fill(lab, env).map_err(|status| {
            let _ = env.kill();
            let _ = drop_handle(env.0);
            format!("filling a child: {status:?}")
        })
    }

    fn fill(lab: &Lab, env: Env) -> Result<Child, Status> {
        lab.code.map_with(env, CODE, Rights::READ | Rights::EXECUTE)?;
        for (at, page) in (SCRIPT..).step_by(PAGE_BYTES).zip(&lab.shared) {
            page.map(env, at, true)?;
        }
        let stack = Page::alloc(env)?;
        stack.map(env, STACK, true)?;
        let whole = Rights::READ | Rights::WRITE | Rights::EXECUTE | Rights::CONTROL;
        let page = grant_handle(stack.0, env, whole | Rights::GRANT)?;
        let bare_page = grant_handle(stack.0, env, Rights::empty())?;
        stack.forget()?;
        let own = grant_handle(env.0, env, Rights::CONTROL | Rights::GRANT | Rights::READ)?;
        let bare_own = grant_handle(env.0, env, Rights::empty())?;
        Ok(Child { env, own, page, bare_page, bare_own })
    }

    /// Writes the calls that `Stub::Script` is to make.
    pub(crate) fn write(&self, lab: &Lab, steps: &[Step]) {
        let word = |at: usize, value: u64| lab.window.write(at, &value.to_le_bytes());
        word(script::COUNT, steps.len() as u64);
        word(script::TAIL, 0);
        word(script::DONE, 0);
        for (place, step) in steps.iter().enumerate() {
            let at = script::ENTRIES + place * script::ENTRY;
            word(at, step.number);
            for (i, &arg) in step.args.iter().enumerate() {
                word(at + 8 + 8 * i, arg);
            }
            word(at + script::STATUS, u64::MAX);
        }
    }

    /// Starts it at a stub.
    pub(crate) fn start(&self, stub: Stub, argument: u64) -> Result<(), String> {
        let started = self.env.start(CODE + stub.offset(), STACK_TOP, argument);
        started.map_err(said("starting a child"))
    }

    /// Starts it and waits for its end; kills it when that takes too long.
    pub(crate) fn run(self, _lab: &mut Lab, stub: Stub, argument: u64) -> Result<End, String> {
        if let Err(why) = self.start(stub, argument) {
            self.kill();
            return Err(why);
        }
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Result<End, String> {
        let deadline = now_ns().saturating_add(PATIENCE_NS);
        loop {
            let (state, detail) = self.env.status().map_err(said("asking for its state"))?;
            let end = match state {
                State::Exited => End::Exited(detail),
                State::Faulted => End::Faulted(detail),
                State::Killed => End::Killed,
                _ if now_ns() < deadline => {
                    wait(now_ns().saturating_add(LOOK_NS));
                    continue;
                }
                _ => {
                    self.kill();
                    return Ok(End::Killed);
                }
            };
            drop_handle(self.env.0).map_err(said("forgetting a child"))?;
            return Ok(end);
        }
    }

    /// Ends it.
    pub(crate) fn kill(self) {
        // It may have ended by itself in this moment.
        let _ = self.env.kill();
        let _ = drop_handle(self.env.0);
    }
}

/// An error in words.
pub(crate) fn said(doing: &str) -> impl Fn(Status) -> String {
    move |status| format!("{doing}: {status:?}")
}
