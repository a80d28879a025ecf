//! Resources asked back and taken: a cache that gives, a program that refuses in every way, and
//! lives that end at any moment.

use std::time::{Duration, Instant};

use abi::revocation::Progress;
use sluice::lifecycle::{self, Lives};
use sluice::limits;
use sluice::machine::{Board, Machine};
use sluice::wire::frames;

use super::boots::{ready, turn};

/// The echo service answers, and the books add up.
fn is_well(machine: &Machine, what: &str) {
    let request = frames::udp(43_000, 7, what.as_bytes());
    let echo = |f: &[u8]| frames::is_echo(f, 43_000, 7, what.as_bytes());
    let answer = machine.exchange(what, &request, limits::REPLY, echo);
    assert!(answer.is_ok(), "{what}: {}", answer.unwrap_err());
    assert_eq!(machine.audit().unwrap(), None, "{what}");
}

fn command(machine: &Machine, text: &str) -> String {
    machine.command(text).unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()))
}

/// Asks for pages, and waits for what comes of it.
fn revoke(machine: &Machine, name: &str, pages: u64, micros: u64) -> Progress {
    command(machine, &format!("revoke {name} pages {pages} {micros}"));
    let start = Instant::now();
    loop {
        let progress =
            Progress::unpack(command(machine, &format!("revoked {name}")).parse().unwrap());
        if progress.over {
            return progress;
        }
        assert!(start.elapsed() < limits::CONTROL, "{progress:?}\n{}", machine.serial());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lines of the serial log that name a program and say something.
fn lines(machine: &Machine, who: &str, what: &str) -> Vec<String> {
    let tag = format!("[{who}]");
    let serial = machine.serial();
    serial.lines().filter(|it| it.contains(&tag) && it.contains(what)).map(str::to_owned).collect()
}

/// Waits until a program has said something so many times.
fn said(machine: &Machine, who: &str, what: &str, times: usize) -> String {
    let start = Instant::now();
    loop {
        let found = lines(machine, who, what);
        if let Some(line) = found.get(times - 1) {
            return line.clone();
        }
        assert!(start.elapsed() < limits::CONTROL, "{who}: no `{what}`\n{}", machine.serial());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Clean pages first, and served on; then, without time, some by force, and served on.
fn a_cache_gives_back(machine: &Machine) {
    command(machine, "start cache");
    said(machine, "cache", "served on: 32 pages, 0 wrong, 0 lost", 1);
    let progress = revoke(machine, "cache", 10, 1_000_000);
    assert_eq!((progress.given, progress.taken), (10, 0), "{}", machine.serial());
    let gave = said(machine, "cache", "gave back", 1);
    assert!(gave.contains("gave back 10 clean and 0 dirty, 22 left"), "{gave}");
    said(machine, "cache", "served on: 22 pages, 0 wrong, 0 lost", 1);
    // No time at all: force takes the newest, the vector says which, and it goes on.
    let progress = revoke(machine, "cache", 6, 0);
    assert_eq!(progress.given + progress.taken, 6, "{}", machine.serial());
    said(machine, "cache", "served on: 16 pages, 0 wrong", 1);
    is_well(machine, "a cache that gave back");
    assert_eq!(command(machine, "kill cache"), "1");
}

fn a_stubborn_one_is_taken_from(machine: &Machine) {
    command(machine, "start stubborn");
    said(machine, "stubborn", "vital", 1);
    // It ignores, faults in its handler, loops in its handler.
    for request in 1..=3 {
        let progress = revoke(machine, "stubborn", 4, 20_000);
        assert_eq!((progress.given, progress.taken), (0, 4), "request {request}");
        let what = format!("after request {request}: 4 taken");
        let line = said(machine, "stubborn", &what, 1);
        assert!(line.contains("24 held, 0 wrong"), "{line}");
        is_well(machine, &what);
    }
    // It gives and takes again at once: what it gave counts.
    let progress = revoke(machine, "stubborn", 4, 20_000);
    assert_eq!((progress.given, progress.taken), (4, 0));
    said(machine, "stubborn", "after request 4: 0 taken", 1);
    // All that it has besides what is vital and what it began with.
    let progress = revoke(machine, "stubborn", 24, 0);
    assert_eq!((progress.given, progress.taken), (0, 24));
    let line = said(machine, "stubborn", "after request 5: 24 taken", 1);
    assert!(line.contains(" 0 wrong"), "{line}");
    is_well(machine, "a stubborn one without pages");
    // More than there is: its code as well. It cannot go on without, but that is its own fault.
    command(machine, "revoke stubborn pages 30000 0");
    said(machine, "init", "stubborn faulted, vector 14", 1);
    is_well(machine, "a stubborn one without code");
}

fn lives_leave_nothing_behind(machine: &Machine) {
    let few = [("spin", 50), ("caller", 16)];
    let few = few.map(|(program, lives)| {
        let all = lifecycle::ALL.iter().find(|it| it.program == program).unwrap();
        Lives { lives, ..*all }
    });
    let outcome = lifecycle::run(machine, &few).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_clean(), "{outcome:?}");
    assert!(outcome.proving + outcome.waiting > 0, "{outcome:?}");
    is_well(machine, "66 lives");
}

/// A grant of somebody who does not unbind is taken, and its packets are nobody's.
fn a_grant_is_called_back(machine: &Machine) {
    command(machine, "recall bare 50000");
    let request = frames::udp(43_001, 9, b"anybody?");
    let echo = |f: &[u8]| frames::is_echo(f, 43_001, 9, b"anybody?");
    // Until the deadline it answers; some time after it nobody does.
    let start = Instant::now();
    while machine.silence("the end of bare's grant", &request, echo).unwrap().is_some() {
        assert!(start.elapsed() < limits::CONTROL, "{}", machine.serial());
    }
    is_well(machine, "a grant called back");
}

#[test]
fn resources_are_asked_back_and_taken_by_force() {
    let _turn = turn();
    let machine = ready(Board::Q35, "log=info");
    a_cache_gives_back(&machine);
    a_stubborn_one_is_taken_from(&machine);
    lives_leave_nothing_behind(&machine);
    a_grant_is_called_back(&machine);
}
