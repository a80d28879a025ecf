//! The kernel's state, and the loop that drives it.
//!
//! There are no kernel threads and no locks: [`Kernel::step`] serves the card and the clock, picks
//! whose turn it is, and lets that environment run until something happens. Everything that the
//! kernel does on behalf of ring 3 happens in between, with interrupts off; work that could take
//! long (a proof, the end of an environment) polls the card on its way.

use abi::record::Record;
use abi::start::State;
use abi::upcall::Kind;
use machine::{Boot, Event};

use crate::books::Counters;
use crate::channel::Channel;
use crate::environment::{Ended, EnvironmentId, Environments};
use crate::exposed::Exposed;
use crate::initiate::Staging;
use crate::limits::BATCHES_MAX;
use crate::maps::Maps;
use crate::network::Network;
use crate::options::Options;
use crate::pages::Memory;
use crate::predicate::Predicates;
use crate::reserve::{Need, Reservations};
use crate::revocation::Revocations;
use crate::scheduler::Scheduler;
use crate::upcall::Cause;
use crate::watch::Watch;

/// The machine's one kernel.
pub struct Kernel {
    pub(crate) options: Options,
    pub(crate) memory: Memory,
    pub(crate) environments: Environments,
    pub(crate) scheduler: Scheduler,
    pub(crate) network: Network,
    pub(crate) channel: Channel,
    pub(crate) reservations: Reservations,
    pub(crate) revocations: Revocations,
    pub(crate) counters: Counters,
    pub(crate) predicates: Predicates,
    pub(crate) maps: Maps,
    /// What every address space shows; nothing on a machine too small for it.
    pub(crate) exposed: Option<Exposed>,
    pub(crate) watch: Watch,
    /// Whose registers are not in its context: a short call of its is being answered.
    pub(crate) away: Option<EnvironmentId>,
}

impl Kernel {
    /// A kernel on this machine, with no environment yet.
    #[must_use]
    pub fn new(boot: Boot) -> Kernel {
        let options = Options::parse(boot.command_line);
        log::set_max_level(options.log);
        let mut memory = Memory::new(boot.frames);
        let exposed = Exposed::new(&mut memory, boot.wall_clock_ns);
        let staging = Staging::new(&mut memory, boot.nic.is_some());
        let [first, .., last] = boot.entropy;
        let secret = runtime::random::mix(first ^ last.rotate_left(32));
        let network = Network::new(boot.nic, boot.code, staging, boot.entropy);
        let mut kernel = Kernel {
            options,
            memory,
            environments: Environments::new(),
            scheduler: Scheduler::new(),
            network,
            channel: Channel::new(boot.console),
            reservations: Reservations::new(options.fail_reservation),
            revocations: Revocations::new(),
            counters: Counters::default(),
            predicates: Predicates::default(),
            maps: Maps::new(secret),
            exposed,
            watch: Watch::default(),
            away: None,
        };
        let (frames, mac) = (kernel.memory.books().total, kernel.network.mac());
        let tsc_hz = machine::time::tsc_hz();
        log::info!("{frames} frames, {} free", kernel.memory.books().free);
        kernel.channel.emit(64, || Record::Boot { version: abi::VERSION, frames, mac, tsc_hz });
        kernel
    }

    /// One round: devices and clock, then one stay in ring 3 or one step of a proof, or sleep.
    pub fn step(&mut self) {
        if let Some(id) = self.goes_on() {
            return self.run(id);
        }
        let now = self.serve_devices();
        self.end_slice(now);
        self.look_at_predicates(now);
        match self.choose(now) {
            Some(id) => {
                self.show_if_due(now);
                self.run(id);
            }
            None => self.sleep(),
        }
    }

    /// Who ran last, if nobody has to be served before it goes on: the way of most system calls.
    fn goes_on(&self) -> Option<EnvironmentId> {
        let slice = self.scheduler.current?;
        let now = machine::time::now_ns();
        let shown = self.exposed.as_ref().map_or(u64::MAX, |it| it.due);
        let due = slice.alarm.min(self.scheduler.next_deadline).min(shown);
        let quiet = now < due.min(self.predicates_due())
            && !self.revocations.is_due(now)
            && !self.network.is_pending();
        slice.runner.filter(|_| quiet)
    }

    /// Serves the card and the clock, and brings up to date what every address space shows.
    pub fn serve(&mut self) {
        let now = self.serve_devices();
        self.show_if_due(now);
    }

    /// Serves the card and the clock; what time it is.
    fn serve_devices(&mut self) -> u64 {
        for _ in 0..BATCHES_MAX {
            self.poll_card();
            if !self.network.is_pending() {
                break;
            }
        }
        let now = machine::time::now_ns();
        self.keep_deadlines(now);
        if now >= self.scheduler.next_deadline {
            self.wake_sleepers(now);
        }
        now
    }

    fn run(&mut self, id: EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else {
            return self.scheduler.forget(id);
        };
        if environment.state == State::Proving {
            // Whoever gets here has asked the card whether there is something.
            self.looks();
            return self.prove(id);
        }
        if environment.upcalls.pending() {
            self.deliver_raised(id);
        }
        self.scheduler.arm();
        self.looks();
        let Some(event) = machine::stay(self, u64::from(id.0)) else { return };
        self.entered();
        // A transfer may have put another one in its place.
        let id = EnvironmentId(machine::this_cpu().running() as u32);
        self.note_runner(id);
        match event {
            Event::Syscall => self.system_call(id),
            Event::Answered => {}
            Event::Fault(fault) => self.fault(id, fault),
            other => self.interrupt(other),
        }
    }

    /// Nobody can run: waits for the card or the clock. What handlers answer wakes nobody, and the
    /// machine sleeps on without looking for somebody to run.
    fn sleep(&mut self) {
        let deadline = self.scheduler.next_deadline.min(self.predicates_due());
        let deadline = (deadline != u64::MAX).then_some(deadline);
        self.scheduler.disarmed();
        // If more is pending than one serving takes, its interrupt may have come already.
        while !self.network.is_pending() {
            self.looks();
            let event = machine::idle(deadline);
            self.entered();
            self.interrupt(event);
            if event != Event::Nic || !self.sleeps_on() {
                return;
            }
        }
    }

    /// Whether nothing has happened while idle that anybody but the card has to do with.
    fn sleeps_on(&self) -> bool {
        let asleep = self.scheduler.runnable() == 0 && self.scheduler.current.is_none();
        asleep && self.predicates_due() == u64::MAX && !self.revocations.is_stirred()
    }

    fn interrupt(&mut self, event: Event) {
        match event {
            Event::Nic => {
                self.network.interrupted(self.options.latency.then(machine::time::cycles));
                self.poll_card();
            }
            Event::Timer => self.scheduler.disarmed(),
            Event::Spurious(vector) => log::debug!("interrupt {vector} that nobody asked for"),
            Event::Syscall | Event::Answered | Event::Fault(_) => {}
        }
    }

    /// A fault that the machine did not pass on itself: without a handler, or within one, it ends
    /// the environment.
    fn fault(&mut self, id: EnvironmentId, fault: machine::Fault) {
        let machine::Fault { vector, error, address } = fault;
        let cause = Cause { detail: u64::from(vector), error, address, argument: 0 };
        if self.upcall(id, Kind::Fault, cause) {
            return;
        }
        let rip = self.environments.get(id).map_or(0, |it| it.context.registers.rip);
        log::warn!(
            "environment {}: exception {} at {rip:#x}, error {:#x}, address {:#x}",
            id.0,
            fault.vector,
            fault.error,
            fault.address
        );
        let detail = u64::from(fault.vector);
        self.end_environment(Ended { id, state: State::Faulted, detail });
    }

    /// Wakes whoever waits for a time that has come, and finds the next such time.
    fn wake_sleepers(&mut self, now: u64) {
        let mut next = self.revocations.next_deadline();
        let mut woken = [None; abi::limits::ENVIRONMENTS_MAX];
        let sleepers = self.environments.iter().filter(|(_, it)| it.state == State::Waiting);
        for ((id, environment), slot) in sleepers.zip(woken.iter_mut()) {
            if environment.deadline <= now {
                *slot = Some(id);
            } else {
                next = next.min(environment.deadline);
            }
        }
        self.scheduler.next_deadline = next;
        for id in woken.into_iter().flatten() {
            self.post(id, abi::ring::EVENT_DEADLINE);
        }
    }

    /// Makes sure that `payer` and the machine have what a call needs at worst.
    ///
    /// # Errors
    /// [`abi::Status::NoMemory`]; [`abi::Status::WrongState`] if the payer has ended.
    pub(crate) fn reserve(&mut self, payer: EnvironmentId, need: Need) -> Result<(), abi::Status> {
        let environment = self.environments.get(payer).ok_or(abi::Status::WrongState)?;
        let free = self.memory.pool.free() as u64;
        self.reservations.check(need, &environment.account, free)
    }
}
