//! Attacks on processor time and on protected control transfer, and a judge of what came of them.
//!
//! The judge is this program; attacker and victim are twins of it, each with a position of the
//! vector. After every attack the victim must still count, and the kernel's books must add up.
//! Exits with 0 if all attacks were withstood, otherwise with the number of the first that was not.
#![no_std]
#![no_main]

extern crate alloc;

use abi::slice::{ENDED_BY_EXCESS, POSITIONS};
use abi::start::State;
use abi::{Rights, Status};
use libos::capability::{audit, grant_handle, report};
use libos::clock::{NEVER, now_ns, wait, yield_now};
use libos::slice::{Slice, Vector, give_back_in_time, stats, yield_to};
use libos::sys::Window;
use libos::sys::transfer::{set_vector, vector};
use libos::sys::twin::{self, page_at, shared_page};
use libos::sys::upcall;
use libos::transfer::{Message, Served, call, send, serve};
use libos::{Env, Environment, Handle, println};

libos::entry!(main);

const FRAMES: u64 = 160;
/// The longest that an attack may take to be decided, and the victim to be seen counting.
const PATIENCE_NS: u64 = 2_000_000_000;
const MS: u64 = 1_000_000;

/// First words by which the server is told what to do.
const LOOK: u64 = 2;
const INCREMENT: u64 = 1 << 32;
/// In the caller's vector registers.
const SECRET: u64 = 0x5ec2_e75e_c2e7_0000;

/// Words of the shared page: the victim's counter, the attacker's, the server's.
const VICTIM: usize = 0;
const ATTACKER: usize = 64;
const SERVER: usize = 128;

type Verdict = Result<bool, Status>;
type Attack = (&'static str, fn(&Judge) -> Verdict);

const ATTACKS: &[Attack] = &[
    ("forged handle", |judge| refused(judge, Handle::new(4000, 77), Status::BadHandle)),
    ("handle of a page", |judge| refused(judge, judge.page, Status::WrongKind)),
    ("handle of a slice", |judge| refused(judge, judge.slices[1].0, Status::WrongKind)),
    ("transfer to itself", |judge| refused(judge, judge.own.0, Status::BadArgument)),
    ("transfer to one that runs", |judge| refused(judge, judge.victim.0, Status::Busy)),
    ("transfer to one that never registered", never_registered),
    ("transfer to one that ended", transfer_to_dead),
    ("callee ends with the caller's time", callee_dies),
    ("caller ends while it is served", caller_dies),
    ("every word of a message arrives and comes back", message_passes),
    ("vector registers seen through a transfer", vector_leak),
    ("transfer bomb", |judge| bomb(judge, sync_bomb)),
    ("asynchronous transfer bomb", |judge| bomb(judge, async_bomb)),
    ("transfer away during the grace period", |judge| bomb(judge, grace_transfer)),
    ("slice capability forged", slice_forged),
    ("slice capability without the right", slice_without_right),
    ("slice capability used after it was freed", slice_stale),
    ("slice out of the vector", slice_outside),
    ("yields in a loop", |judge| for_a_while(judge, yield_loop)),
    ("yields to nobody and to the dead", |judge| for_a_while(judge, yield_to_nobody)),
    ("parks without a caller", parks),
    ("upcall at the end of a slice that yields at once, for ever", |judge| {
        for_a_while(judge, polite)
    }),
    ("overruns now and then", overruns_sometimes),
    ("keeps its slice at its end", keeps),
];

struct Judge {
    own: Env,
    victim: Env,
    shared: Window,
    page: Handle,
    slices: [Slice; 3],
}

fn main(environment: Environment) -> i32 {
    match run(&environment) {
        Ok(code) => code,
        Err(status) => {
            println!("time-attacks: {status:?}");
            100
        }
    }
}

fn run(environment: &Environment) -> Result<i32, Status> {
    let own = environment.own()?;
    let (shared, page) = shared_page(own)?;
    let mut slices = [Slice(Handle::NONE); 3];
    for (slot, name) in slices.iter_mut().zip(["slice", "slice:1", "slice:2"]) {
        *slot = Slice(environment.handle(name)?);
    }
    let address = shared.address();
    let victim = twin::spawn(own, ("victim", FRAMES), count, |twin| {
        page.map(twin, address, true)?;
        Ok([address, VICTIM as u64, 0, 0, 0, 0])
    })?;
    let judge = Judge { own, victim, shared, page: page.0, slices };
    judge.slices[2].give(victim)?;
    for (number, (name, attack)) in ATTACKS.iter().enumerate() {
        let withstood = attack(&judge)? && judge.all_is_well()?;
        println!("{}: {name}", if withstood { "withstood" } else { "NOT WITHSTOOD" });
        if !withstood {
            return Ok(1 + number as i32);
        }
    }
    victim.kill()?;
    report(alloc::format!("time-attacks {}", ATTACKS.len()).as_bytes())?;
    Ok(0)
}

impl Judge {
    /// The victim goes on counting, and the books add up.
    fn all_is_well(&self) -> Verdict {
        let before = self.shared.load_u32(VICTIM);
        let counts = self.until(|judge| judge.shared.load_u32(VICTIM) != before);
        Ok(counts && audit()? == 0)
    }

    /// Waits for something.
    fn until(&self, done: impl Fn(&Judge) -> bool) -> bool {
        self.until_with(None, done)
    }

    /// Waits for something that needs the time of one who owns no position.
    fn until_with(&self, helped: Option<Env>, done: impl Fn(&Judge) -> bool) -> bool {
        let deadline = now_ns() + PATIENCE_NS;
        while !done(self) {
            if now_ns() > deadline {
                return false;
            }
            if helped.is_none_or(|env| yield_to(env).is_err()) {
                wait(now_ns() + MS);
            }
        }
        true
    }

    /// A twin with the second position of the vector. It knows us, and somebody else.
    fn attacker(&self, main: twin::Main, other: Option<Env>) -> Result<Env, Status> {
        self.shared.store_u32(ATTACKER, 0);
        let twin = self.twin(("attacker", main), other)?;
        self.slices[1].give(twin)?;
        Ok(twin)
    }

    fn twin(&self, (name, main): (&str, twin::Main), other: Option<Env>) -> Result<Env, Status> {
        let (address, page) = (self.shared.address(), libos::Page(self.page));
        twin::spawn(self.own, (name, FRAMES), main, |twin| {
            page.map(twin, address, true)?;
            let us = grant_handle(self.own.0, twin, Rights::empty())?;
            let other = other.map(|it| grant_handle(it.0, twin, Rights::empty())).transpose()?;
            Ok([address, ATTACKER as u64, us.0, other.map_or(0, |it| it.0), 0, 0])
        })
    }

    /// Ends an attacker, and takes its position back first.
    fn stop(&self, attacker: Env) -> Result<(), Status> {
        self.slices[1].give(self.own)?;
        attacker.kill()
    }

    /// A twin that serves, and counts whom.
    fn server(&self) -> Result<Env, Status> {
        self.shared.store_u32(SERVER, 0);
        let server = self.twin(("server", serve_counting), None)?;
        if !self.until_with(Some(server), |_| matches!(server.status(), Ok((State::Waiting, _)))) {
            return Err(Status::Busy);
        }
        Ok(server)
    }
}

/// A transfer of the judge's own, either way, must be refused.
fn refused(_: &Judge, to: Handle, why: Status) -> Verdict {
    let sync = call(Env(to), &mut Message::default());
    let other = send(Env(to), &Message::default());
    Ok(sync == Err(why) && other == Err(why))
}

fn never_registered(judge: &Judge) -> Verdict {
    let twin = judge.twin(("deaf", |_| park_for_ever()), None)?;
    let parked = judge.until_with(Some(twin), |_| matches!(twin.status(), Ok((State::Waiting, _))));
    let right = refused(judge, twin.0, Status::WrongState)?;
    twin.kill()?;
    Ok(parked && right)
}

fn park_for_ever() {
    loop {
        // Back to nobody: parks.
        let _ = call(Env(Handle::NONE), &mut Message::default());
    }
}

fn transfer_to_dead(judge: &Judge) -> Verdict {
    let server = judge.server()?;
    let alive = call(server, &mut Message::default()).is_ok();
    server.kill()?;
    Ok(alive && refused(judge, server.0, Status::WrongState)?)
}

fn callee_dies(judge: &Judge) -> Verdict {
    let server = judge.server()?;
    let mut message = Message([u64::MAX; 11]);
    let died = call(server, &mut message) == Err(Status::WrongState);
    Ok(died && matches!(server.status()?, (State::Exited, 9)))
}

fn message_passes(judge: &Judge) -> Verdict {
    let server = judge.server()?;
    let mut right = true;
    for round in 0..10 {
        let words: [u64; 11] = core::array::from_fn(|at| INCREMENT + round * 100 + at as u64);
        let mut message = Message(words);
        call(server, &mut message)?;
        right &= message.0 == words.map(|word| word + 1);
    }
    server.kill()?;
    Ok(right)
}

/// The callee must not see the caller's vector registers, nor change them.
fn vector_leak(judge: &Judge) -> Verdict {
    let server = judge.server()?;
    let mut safe = true;
    for round in 0..10 {
        set_vector(SECRET + round);
        let mut message = Message([LOOK; 11]);
        call(server, &mut message)?;
        safe &= message.0[1] == 0 && vector() == SECRET + round;
    }
    server.kill()?;
    Ok(safe)
}

fn caller_dies(judge: &Judge) -> Verdict {
    let server = judge.server()?;
    let caller = judge.attacker(call_slow, Some(server))?;
    let served = judge.until(|judge| judge.shared.load_u32(SERVER) > 0);
    judge.stop(caller)?;
    // It finishes what it was asked, parks, and serves the next one.
    let again = judge.until_with(Some(server), |_| call(server, &mut Message::default()).is_ok());
    server.kill()?;
    Ok(served && again)
}

/// An attacker that transfers to a server for a while.
fn bomb(judge: &Judge, main: twin::Main) -> Verdict {
    let server = judge.server()?;
    let attacker = judge.attacker(main, Some(server))?;
    let many = judge.until(|judge| judge.shared.load_u32(SERVER) >= 20);
    let victim = judge.all_is_well()?;
    judge.stop(attacker)?;
    let serves = judge.until_with(Some(server), |_| call(server, &mut Message::default()).is_ok());
    server.kill()?;
    Ok(many && victim && serves)
}

fn slice_forged(judge: &Judge) -> Verdict {
    let forged = Slice(Handle::new(4000, 77));
    let wrong = Slice(judge.page);
    let vector = Vector(judge.slices[0].0);
    Ok(forged.give(judge.own) == Err(Status::BadHandle)
        && wrong.give(judge.own) == Err(Status::WrongKind)
        && wrong.free(0) == Err(Status::WrongKind)
        && vector.allocate(judge.own, None) == Err(Status::WrongKind)
        && vector.reclaim(0) == Err(Status::BadArgument))
}

fn slice_without_right(judge: &Judge) -> Verdict {
    let weak = Slice(grant_handle(judge.slices[0].0, judge.own, Rights::GRANT)?);
    let given = weak.give(judge.victim);
    let all: [_; POSITIONS] = core::array::from_fn(|position| weak.free(position));
    libos::capability::drop_handle(weak.0)?;
    let refused = all.iter().all(|freed| *freed == Err(Status::MissingRight));
    Ok(given == Err(Status::MissingRight) && refused)
}

fn slice_stale(judge: &Judge) -> Verdict {
    // The position of one that ended is free, and the capability to it names nothing.
    let twin = judge.twin(("short", |_| {}), None)?;
    let copy = Slice(grant_handle(judge.slices[1].0, judge.own, Rights::CONTROL)?);
    let before = stats(judge.own)?.positions;
    copy.give(twin)?;
    let moved = stats(judge.own)?.positions + 1 == before;
    copy.give(judge.own)?;
    libos::capability::drop_handle(copy.0)?;
    let stale = copy.give(twin) == Err(Status::BadHandle);
    let ended = judge.until_with(Some(twin), |_| matches!(twin.status(), Ok((State::Exited, _))));
    Ok(moved && stale && ended && judge.slices[1].give(twin) == Err(Status::WrongState))
}

fn slice_outside(judge: &Judge) -> Verdict {
    let slice = judge.slices[0];
    let outside = [POSITIONS, usize::MAX].map(|position| slice.free(position));
    Ok(outside == [Err(Status::BadArgument); 2])
}

/// An attacker that does one thing over and over.
fn for_a_while(judge: &Judge, main: twin::Main) -> Verdict {
    let attacker = judge.attacker(main, None)?;
    let busy = judge.until(|judge| judge.shared.load_u32(ATTACKER) >= 50);
    let victim = judge.all_is_well()?;
    judge.stop(attacker)?;
    Ok(busy && victim)
}

fn parks(judge: &Judge) -> Verdict {
    let attacker = judge.attacker(|_| park_for_ever(), None)?;
    let parked = judge.until(|_| matches!(attacker.status(), Ok((State::Waiting, _))));
    let victim = judge.all_is_well()?;
    judge.stop(attacker)?;
    Ok(parked && victim)
}

fn overruns_sometimes(judge: &Judge) -> Verdict {
    let attacker = judge.attacker(sometimes, None)?;
    let counted = judge.until(|_| stats(attacker).is_ok_and(|it| it.excess > 0));
    // It behaves from then on, and works its debt off.
    judge.shared.store_u32(ATTACKER, 1);
    let forgiven = judge.until(|_| stats(attacker).is_ok_and(|it| it.excess == 0));
    judge.stop(attacker)?;
    Ok(counted && forgiven)
}

fn keeps(judge: &Judge) -> Verdict {
    let attacker = judge.attacker(keep, None)?;
    let ended = judge.until(|_| attacker.status() == Ok((State::Killed, ENDED_BY_EXCESS)));
    // The position went with it.
    Ok(ended && judge.slices[1].give(judge.own) == Err(Status::BadHandle))
}

// What the twins do.

fn count([address, offset, ..]: [u64; twin::WORDS]) {
    let page = page_at(address);
    loop {
        step(&page, offset as usize);
    }
}

fn step(page: &Window, offset: usize) {
    page.store_u32(offset, page.load_u32(offset).wrapping_add(1));
}

fn serve_counting([address, ..]: [u64; twin::WORDS]) {
    // The window of the shared page is where the judge has it: the service finds it by its words.
    libos::sys::twin::remember_page(address);
    let _ = serve(service);
}

fn service(_: Served, message: &mut Message) {
    let page = libos::sys::twin::remembered_page();
    step(&page, SERVER);
    match message.0[0] {
        u64::MAX => libos::sys::exit(9),
        LOOK => message.0[1] = vector(),
        INCREMENT.. => message.0 = message.0.map(|word| word + 1),
        1 => {
            let until = now_ns() + 5 * MS;
            while now_ns() < until {}
        }
        _ => {}
    }
}

fn call_slow([_, _, _, server, ..]: [u64; twin::WORDS]) {
    loop {
        let _ = call(Env(Handle(server)), &mut Message([1; 11]));
    }
}

fn sync_bomb([_, _, _, server, ..]: [u64; twin::WORDS]) {
    loop {
        let _ = call(Env(Handle(server)), &mut Message::default());
        let _ = call(Env(Handle(server ^ 1)), &mut Message::default());
    }
}

fn async_bomb([_, _, _, server, ..]: [u64; twin::WORDS]) {
    loop {
        let _ = send(Env(Handle(server)), &Message::default());
    }
}

fn grace_transfer([_, _, _, server, ..]: [u64; twin::WORDS]) {
    // The slice's end is passed on to the server instead of being obeyed.
    if upcall::register(abi::upcall::Kind::SliceEnd, |_| {}).is_err() {
        return;
    }
    loop {
        let _ = call(Env(Handle(server)), &mut Message([1; 11]));
    }
}

fn yield_loop([address, offset, us, ..]: [u64; twin::WORDS]) {
    let page = page_at(address);
    loop {
        yield_now();
        let _ = yield_to(Env(Handle(us)));
        step(&page, offset as usize);
    }
}

fn yield_to_nobody([address, offset, us, ..]: [u64; twin::WORDS]) {
    let page = page_at(address);
    loop {
        let refused = yield_to(Env(Handle(us ^ 0xff))) == Err(Status::BadHandle);
        if refused {
            step(&page, offset as usize);
        }
    }
}

fn polite([address, offset, ..]: [u64; twin::WORDS]) {
    let page = page_at(address);
    if give_back_in_time().is_ok() {
        loop {
            step(&page, offset as usize);
        }
    }
}

/// Keeps its slices until the judge writes a one, and gives them back from then on.
fn sometimes([address, offset, ..]: [u64; twin::WORDS]) {
    libos::sys::twin::remember_page(address);
    let registered = upcall::register(abi::upcall::Kind::SliceEnd, |_| {
        if libos::sys::twin::remembered_page().load_u32(ATTACKER) != 0 {
            yield_now();
        }
    });
    let page = page_at(address);
    while registered.is_ok() {
        // Never waits: only its upcalls could give anything back.
        let _ = page.load_u32(offset as usize);
    }
}

fn keep(_: [u64; twin::WORDS]) {
    let kind = abi::upcall::Kind::SliceEnd;
    let registered = upcall::register(kind, |_| {
        loop {
            core::hint::black_box(());
        }
    });
    while registered.is_ok() {
        core::hint::black_box(());
    }
    wait(NEVER);
}
