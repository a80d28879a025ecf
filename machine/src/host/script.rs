//! Ring 3 as a script: each entry into it plays the next turn.

use super::space::AddressSpace;
use super::time;
use super::transfer::Transfers;
use crate::event::{Event, FaultUpcall, Registers};
use crate::short::{Answer, Short};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};

type Act = Box<dyn FnOnce(&mut Registers, &AddressSpace) -> Event>;

/// One turn of ring 3: what it does from being entered until it stops.
pub struct Turn(Act);

impl Turn {
    /// It does nothing that can be seen, and stops with this event.
    pub fn event(event: Event) -> Self {
        Self::act(move |_, _| event)
    }

    /// It makes a system call: number, then up to six arguments in their order.
    pub fn syscall(number: u64, arguments: &[u64]) -> Self {
        let mut padded = [0; 6];
        padded[..arguments.len()].copy_from_slice(arguments);
        Self::act(move |r, _| {
            r.rax = number;
            [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = padded;
            Event::Syscall
        })
    }

    /// It does whatever this does to its registers and memory. To see what the last system call
    /// returned, look at the registers.
    pub fn act(f: impl FnOnce(&mut Registers, &AddressSpace) -> Event + 'static) -> Self {
        Self(Box::new(f))
    }
}

impl From<Event> for Turn {
    fn from(event: Event) -> Self {
        Self::event(event)
    }
}

thread_local! {
    static SCRIPT: RefCell<VecDeque<Turn>> = const { RefCell::new(VecDeque::new()) };
    static NIC_RAISED: Cell<bool> = const { Cell::new(false) };
}

/// Appends turns to this thread's script. Whichever context is entered plays the next one.
pub fn script<T: Into<Turn>>(turns: impl IntoIterator<Item = T>) {
    SCRIPT.with_borrow_mut(|script| script.extend(turns.into_iter().map(Into::into)));
}

/// Makes the next [`idle`] on this thread return [`Event::Nic`]. A [`super::Wire`] does so itself.
pub fn raise_nic() {
    NIC_RAISED.set(true);
}

/// A ring-3 program's registers.
pub struct UserContext {
    /// Its registers while it is not running.
    pub registers: Registers,
    pub(super) link: Transfers,
}

impl UserContext {
    /// A context that will start at `entry`, with its stack pointer and its `rdi` set.
    pub fn new(entry: u64, stack: u64, argument: u64) -> Self {
        let registers = Registers {
            rip: entry,
            rsp: stack,
            rdi: argument,
            rflags: 0x202,
            ..Default::default()
        };
        Self { registers, link: Transfers::default() }
    }

    /// On bare metal faults go to ring 3 by the trap entry; here all of them come out as events.
    pub fn set_fault_upcall(&mut self, _to: Option<FaultUpcall<'_>>) {}

    /// Plays the next turn of the script. Unwinds with [`ScriptEnded`] when there is none.
    pub fn enter(&mut self, space: &AddressSpace) -> Event {
        self.is_running();
        let turn = SCRIPT.with_borrow_mut(VecDeque::pop_front);
        match turn {
            Some(Turn(act)) => act(&mut self.registers, space),
            None => panic_any(ScriptEnded),
        }
    }
}

/// Enters the context of this number; `None` if there is none. A call that the kernel answers on
/// the spot ends the turn as every other does: [`Event::Answered`], even if ring 3 would go on.
pub fn stay<K: Short>(kernel: &mut K, number: u64) -> Option<Event> {
    let (context, space) = kernel.place(number)?;
    let event = context.enter(space);
    let r = context.registers;
    let who = super::this_cpu().running();
    if event != Event::Syscall || kernel.calls() >> (r.rax % 64) & 1 == 0 {
        return Some(event);
    }
    let answer = kernel.short(who, r.rax, &[r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]);
    let (status, value) = match answer {
        Answer::Go(status, value) | Answer::Stop(status, value) => (status, value),
        Answer::Switch(status, value, _) => (status, value),
        Answer::Long => return Some(event),
    };
    let (context, _) = kernel.place(who)?;
    (context.registers.rax, context.registers.rdx) = (status, value);
    if let Answer::Switch(_, _, next) = answer {
        // The other one's turn is the next; this one has only changed places.
        kernel.place(next)?.0.is_running();
    }
    Some(Event::Answered)
}

/// Waits: for the card if it has raised its interrupt, else for the deadline (the clock jumps to
/// it). With neither to come it unwinds with [`ScriptEnded`].
pub fn idle(deadline_ns: Option<u64>) -> Event {
    if NIC_RAISED.replace(false) {
        return Event::Nic;
    }
    let ended = SCRIPT.with_borrow(VecDeque::is_empty);
    match deadline_ns {
        Some(deadline) if !ended => {
            time::set_clock(deadline.max(time::now_ns()));
            Event::Timer
        }
        _ => panic_any(ScriptEnded),
    }
}

/// What unwinds when the script has no further turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScriptEnded;

/// What unwinds when the kernel exits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exited(pub u8);

/// Ends the machine. On the host it unwinds with [`Exited`].
pub fn exit(code: u8) -> ! {
    panic_any(Exited(code))
}

/// How a run of the kernel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It exited with this code.
    Exited(u8),
    /// The script was played to its end.
    ScriptEnded,
}

/// Runs a kernel until it exits or the script ends. Other panics go on to the caller.
pub fn run<R>(kernel: impl FnOnce() -> R) -> Outcome {
    let Err(payload) = catch_unwind(AssertUnwindSafe(kernel)) else {
        return Outcome::ScriptEnded;
    };
    SCRIPT.with_borrow_mut(VecDeque::clear);
    match (payload.downcast_ref::<Exited>(), payload.is::<ScriptEnded>()) {
        (Some(&Exited(code)), _) => Outcome::Exited(code),
        (None, true) => Outcome::ScriptEnded,
        _ => resume_unwind(payload),
    }
}
