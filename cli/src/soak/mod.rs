//! `sluice evidence soak`: services under load for minutes, with somebody hostile beside.
//!
//! A well-behaved client asks one question of each kind after the other, first alone, then beside
//! others who ask as fast as they are answered and an adversary who sends what nobody should. Every
//! answer of everybody is checked; the client's 99th percentile of the second part is held against
//! the first's.

mod adversary;
mod ask;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::books::Books;

use crate::build::Image;
use crate::build::cast::{DNS_PORT, ECHO_PORT, KV_PORT, NTP_PORT, TALK_PORT};
use crate::demo::Times;
use crate::evidence::EvidenceError;
use crate::machine::{Machine, MachineError, Net, Options, tap::Tap};
use crate::progress::Progress;
use crate::{attacks, limits};

use ask::{Asker, KINDS, Tally};

/// Pause of the well-behaved client between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// Length of the quiet part.
const QUIET: Duration = Duration::from_secs(60);
/// Others who ask as fast as they are answered.
const OTHERS: usize = 4;
/// The well-behaved client's 99th percentile may be this many times its quiet value.
const SLOWER_MAX: f64 = 2.0;

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// The well-behaved client alone, by kind.
    quiet: Vec<Tally>,
    /// The same beside everybody else.
    loaded: Vec<Tally>,
    /// The others together.
    others: Vec<Tally>,
    /// Frames of the adversary.
    hostile: u64,
    books: Books,
    minutes: u64,
}

/// Measures and writes `docs/evidence/soak.md`.
///
/// # Errors
/// [`EvidenceError`]; wrong answers, lost ones of the well-behaved client, or too slow ones.
pub fn evidence(
    image: &Image,
    options: &Options,
    minutes: u64,
    made: &str,
) -> Result<(), EvidenceError> {
    let progress = Progress::spinner("soaking");
    let seen = run(image, options, minutes, &progress)?;
    progress.done("done");
    let text = report(&seen, made);
    println!("{text}");
    println!("{}", attacks::write("soak.md", &text)?.display());
    let failed = failures(&seen);
    failed.iter().for_each(|line| println!("FAIL {line}"));
    let count = failed.len();
    if count == 0 { Ok(()) } else { Err(EvidenceError::Failed { count, what: "soak's demands" }) }
}

fn run(
    image: &Image,
    options: &Options,
    minutes: u64,
    progress: &Progress,
) -> Result<Seen, EvidenceError> {
    // Through a tap device where there can be one: the user-mode stack is slower than the guest.
    let net = if Tap::up().is_ok() { Net::Tap } else { Net::User };
    let ports = [ECHO_PORT, TALK_PORT, DNS_PORT, KV_PORT, NTP_PORT];
    let forwards = ports.iter().map(|&port| (port, None)).collect();
    let words = "log=info".to_owned();
    let machine = Machine::boot(image, &Options { net, forwards, words, ..options.clone() })?;
    machine.wait_ready()?;
    crate::demo::wait_bound(&machine, &image.manifest)?;
    for (name, line) in [
        ("dns", "port 53 "),
        ("kv", "port 11211 "),
        ("ntp", "port 123 "),
        ("limiter", "port 7120 "),
    ] {
        machine.command(&format!("start {name}"))?;
        machine.wait_serial(line, limits::CONTROL)?;
    }
    let mut client = Asker::new(&machine, "well-behaved")?;
    let over = |length: Duration| {
        let end = Instant::now() + length;
        move || Instant::now() >= end
    };
    // Neighbours, caches, and translations in the emulator.
    behave(&mut client, over(Duration::from_secs(3)), PAUSE);
    progress.now("the quiet part");
    let quiet = behave(&mut client, over(QUIET.min(Duration::from_secs(minutes * 60))), PAUSE);
    progress.now(&format!("{minutes} minutes of load"));
    let stop = AtomicBool::new(false);
    let askers = (0..OTHERS).map(|number| Asker::new(&machine, &format!("other{number}")));
    let askers = askers.collect::<std::io::Result<Vec<Asker>>>()?;
    let (loaded, others, hostile) = std::thread::scope(|scope| {
        let hostile = scope.spawn(|| adversary::run(&machine, &stop));
        let stopped = || stop.load(Ordering::Relaxed);
        let others: Vec<_> = askers
            .into_iter()
            .map(|mut asker| scope.spawn(move || behave(&mut asker, stopped, Duration::ZERO)))
            .collect();
        let loaded = behave(&mut client, over(Duration::from_secs(minutes * 60)), PAUSE);
        stop.store(true, Ordering::Relaxed);
        let others = others.into_iter().flat_map(|thread| thread.join()).collect::<Vec<_>>();
        (loaded, others, hostile.join())
    });
    let hostile = hostile.unwrap_or(Ok(0))?;
    let others = others.into_iter().reduce(sum).unwrap_or_default();
    let exact = machine.audit()?;
    if let Some(check) = exact {
        return Err(MachineError::Command { command: "audit".to_owned(), answer: check }.into());
    }
    let books = machine.books()?;
    machine.halt(0)?;
    Ok(Seen { quiet, loaded, others, hostile, books, minutes })
}

/// Asks one question of each kind after the other.
fn behave(asker: &mut Asker, over: impl Fn() -> bool, pause: Duration) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); KINDS.len()];
    while !over() {
        for ((_, kind), tally) in KINDS.into_iter().zip(&mut tallies) {
            asker.ask(kind, tally);
            std::thread::sleep(pause);
        }
    }
    tallies
}

fn sum(mut all: Vec<Tally>, one: Vec<Tally>) -> Vec<Tally> {
    for (all, one) in all.iter_mut().zip(one) {
        all.times.extend(one.times);
        all.lost += one.lost;
        all.wrong.extend(one.wrong);
    }
    all
}

fn times(tally: &Tally) -> Times {
    Times::new(tally.times.clone(), tally.lost as usize)
}

/// How many times slower, at the 99th percentile over all kinds.
fn slower(seen: &Seen) -> f64 {
    let all = |tallies: &[Tally]| {
        let times = tallies.iter().flat_map(|tally| tally.times.clone()).collect();
        Times::new(times, 0).percentile(99).as_secs_f64()
    };
    all(&seen.loaded) / all(&seen.quiet).max(1e-9)
}

fn failures(seen: &Seen) -> Vec<String> {
    let mut failed = Vec::new();
    for tallies in [&seen.quiet, &seen.loaded, &seen.others] {
        failed.extend(tallies.iter().flat_map(|tally| tally.wrong.clone()));
    }
    let lost: u64 = seen.quiet.iter().chain(&seen.loaded).map(|tally| tally.lost).sum();
    if lost > 0 {
        failed.push(format!("{lost} questions of the well-behaved client were not answered"));
    }
    let slower = slower(seen);
    if slower > SLOWER_MAX {
        failed.push(format!("its 99th percentile is {slower:.2} times its quiet value"));
    }
    failed
}

fn report(seen: &Seen, made: &str) -> String {
    let rate = |tallies: &[Tally]| {
        let count: usize = tallies.iter().map(|tally| tally.times.len()).sum();
        (count, count as u64 / (seen.minutes * 60).max(1))
    };
    let (count, second) = rate(&seen.others);
    let hostile = seen.hostile / (seen.minutes * 60).max(1);
    let mut text = format!(
        "# Services under load, with an adversary beside\n\n`cargo run -- evidence soak --minutes \
         {}`. {made}\n\nThe well-behaved client asks one question of each kind after the other, \
         {} ms apart. Beside it {OTHERS} others ask as fast as\nthey are answered: {count} right \
         answers, {second} a second; and an adversary sends malformed frames, questions with \
         wrong\nbytes, fragments, floods of a limited port: {} frames, {hostile} a second. \
         Microseconds.\n\n\
         | question | alone | p50 | p99 | beside them | p50 | p99 | lost | wrong | others | lost | \
         wrong |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        seen.minutes,
        PAUSE.as_millis(),
        seen.hostile,
    );
    let parts = seen.quiet.iter().zip(&seen.loaded).zip(&seen.others);
    for ((name, _), ((quiet, loaded), others)) in KINDS.iter().zip(parts) {
        let (alone, beside) = (times(quiet), times(loaded));
        let micros = |times: &Times, part| times.percentile(part).as_micros();
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            alone.answered(),
            micros(&alone, 50),
            micros(&alone, 99),
            beside.answered(),
            micros(&beside, 50),
            micros(&beside, 99),
            quiet.lost + loaded.lost,
            quiet.wrong.len() + loaded.wrong.len(),
            others.times.len(),
            others.lost,
            others.wrong.len(),
        ));
    }
    let rx = &seen.books.rx;
    let dropped: u64 = rx.dropped.iter().sum();
    text.push_str(&format!(
        "\nThe client's 99th percentile over all kinds is {:.2} times its quiet value (at most \
         {SLOWER_MAX}). The kernel's books at the end, audited:\n{} received = {} answered by \
         handlers + {} delivered + {dropped} dropped and counted + {} in flight.\n",
        slower(seen),
        rx.received,
        rx.answered,
        rx.delivered,
        rx.in_flight,
    ));
    text
}
