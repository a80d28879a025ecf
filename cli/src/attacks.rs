//! The hostile library OS, followed from outside.
//!
//! The program `attacks` reports each attack as a line and waits for the word to go on. Before that
//! word is given, the victims (an ASH and a library OS) must answer a packet each and the kernel's
//! audit must be clean: an attack passes only if it ended as it must and nobody else noticed.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abi::record::Record;
use abi::start::State;

use crate::build::{self, Image, cast};
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::wire::frames::{self, GUEST_IP, GUEST_MAC};

/// Port on which the attacker waits for the word to go on.
const PACE_PORT: u16 = 7999;
/// From where the harness sends.
const OUR_PORT: u16 = 43_000;
/// Where the Ethernet header has its destination.
const DESTINATION: std::ops::Range<usize> = 0..6;
const BROADCAST: [u8; 6] = [0xff; 6];
const MULTICAST: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 1];
/// Datagrams that each way of pretending is tried with.
const PRETENCES: u16 = 20;
/// Resent so often if the attacker does not go on.
const WORD_EVERY: Duration = Duration::from_secs(2);

/// What came of one attack.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its family.
    pub family: String,
    /// Its name.
    pub name: String,
    /// What came of it, victims and audit included.
    pub outcome: String,
    /// Whether that is what must come of it.
    pub passed: bool,
    /// From the question to the slower victim's answer.
    pub victim: Duration,
}

/// What the attacker said, or that it is no more.
enum Said {
    Attack(String),
    Poke(String),
    Over,
    Ended(State, u64),
}

/// Runs a selection (`attacks`, `attacks-quick`) on a machine that is ready.
///
/// # Errors
/// [`MachineError`]: the machine died, or nothing came in time. What an attack breaks without that
/// is in its verdict.
pub fn run(
    machine: &Machine,
    program: &str,
    mut each: impl FnMut(&Verdict),
) -> Result<Vec<Verdict>, MachineError> {
    let mut verdicts = Vec::new();
    let mut mark = machine.journal().mark();
    machine.command(&format!("start {program}"))?;
    loop {
        let during = format!("attack {} (after {:?})", verdicts.len(), verdicts.last());
        let said = next(machine, &mut mark, program, verdicts.len(), &during)?;
        match said {
            Said::Poke(line) => poke(machine, &line)?,
            Said::Over => return Ok(verdicts),
            Said::Ended(state, detail) => {
                verdicts.push(Verdict {
                    family: "harness".to_owned(),
                    name: "the attacker itself".to_owned(),
                    outcome: format!("{state:?} {detail}"),
                    passed: false,
                    victim: Duration::ZERO,
                });
                return Ok(verdicts);
            }
            Said::Attack(line) => {
                let verdict = judge(machine, &line)?;
                each(&verdict);
                verdicts.push(verdict);
            }
        }
    }
}

/// The next thing that the attacker says; the word to go on is given as often as it takes.
fn next(
    machine: &Machine,
    mark: &mut usize,
    program: &str,
    number: usize,
    during: &str,
) -> Result<Said, MachineError> {
    let begun = Instant::now();
    loop {
        if let Some(before) = number.checked_sub(1) {
            let word = format!("go {before}");
            machine.send(&frames::udp(OUR_PORT, PACE_PORT, word.as_bytes()))?;
        }
        let heard = machine.wait(during, WORD_EVERY, || {
            let entries = machine.journal().since(*mark);
            let found = entries.iter().enumerate().find_map(|(at, entry)| {
                heard(&entry.record, program, number).map(|said| (at, said))
            });
            found.map(|(at, said)| {
                *mark += at + 1;
                said
            })
        });
        match heard {
            Err(MachineError::Hung { .. }) if begun.elapsed() < limits::CONTROL => {}
            other => return other,
        }
    }
}

fn heard(record: &Record, program: &str, number: usize) -> Option<Said> {
    match record {
        Record::User { bytes, .. } => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            if text.starts_with(&format!("attack {number}|")) {
                Some(Said::Attack(text))
            } else if text.starts_with("poke ") {
                Some(Said::Poke(text))
            } else {
                text.starts_with("over ").then_some(Said::Over)
            }
        }
        Record::Environment { name, state, detail, .. } if name == program => {
            let over = matches!(state, State::Exited | State::Faulted | State::Killed);
            over.then_some(Said::Ended(*state, *detail))
        }
        _ => None,
    }
}

/// `poke KIND PORT`: a frame for a handler that means badly.
fn poke(machine: &Machine, line: &str) -> Result<(), MachineError> {
    let mut words = line.split_whitespace().skip(1);
    let kind = words.next().unwrap_or_default();
    let port = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let payload = b"poke";
    let frame = match kind {
        "fragments" => return pretend(machine, port),
        "broadcast" => addressed(frames::udp(OUR_PORT, port, payload), BROADCAST),
        "multicast" => addressed(frames::udp(OUR_PORT, port, payload), MULTICAST),
        "reflected" => {
            let us = (GUEST_IP, port);
            addressed(frames::udp_between(us, us, payload), GUEST_MAC)
        }
        _ => frames::udp(OUR_PORT, port, payload),
    };
    machine.send(&frame)
}

/// Fragments in which a port stands where later ones have none: of the victim's datagram, of no
/// datagram, over IPv6, behind a first that is the port's own; then an honest datagram.
fn pretend(machine: &Machine, port: u16) -> Result<(), MachineError> {
    let first = |to: u16| frames::udp_header(OUR_PORT, to, 24);
    let bytes = |header: [u8; 8]| [header.as_slice(), b"no ports in here"].concat();
    let (theirs, decoy) = (bytes(first(cast::TALK_PORT)), bytes(first(port)));
    for id in 0..PRETENCES {
        machine.send(&frames::piece(id, (0, true), &theirs))?;
        // What comes next is the victim's, whatever it says; what comes again or later is nobody's.
        machine.send(&frames::piece(id, (3, true), &decoy))?;
        machine.send(&frames::piece(id, (3, false), &decoy))?;
        machine.send(&frames::piece(id, (9, false), &decoy))?;
        machine.send(&frames::piece(id + PRETENCES, (1, false), &decoy))?;
        machine.send(&frames::piece6(id.into(), (1, false), &decoy))?;
    }
    machine.send(&frames::udp(OUR_PORT, port, b"honest"))
}

fn addressed(mut frame: Vec<u8>, to: [u8; 6]) -> Vec<u8> {
    if let Some(destination) = frame.get_mut(DESTINATION) {
        destination.copy_from_slice(&to);
    }
    frame
}

/// `attack NUMBER|FAMILY|NAME|VERDICT|OUTCOME`, and how the others are.
fn judge(machine: &Machine, line: &str) -> Result<Verdict, MachineError> {
    let mut parts = line.splitn(5, '|').skip(1).map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (family, name, said, outcome) = (part(), part(), part(), part());
    let mut verdict =
        Verdict { family, name, outcome, passed: said == "PASS", victim: Duration::ZERO };
    for port in [cast::ECHO_PORT, cast::TALK_PORT] {
        let text = format!("after {}", verdict.name);
        let request = frames::udp(OUR_PORT, port, text.as_bytes());
        let echo = |f: &[u8]| frames::is_echo(f, OUR_PORT, port, text.as_bytes());
        let begun = Instant::now();
        match machine.exchange(&text, &request, limits::REPLY, echo) {
            Ok(()) => verdict.victim = verdict.victim.max(begun.elapsed()),
            Err(MachineError::Hung { .. }) => {
                verdict.passed = false;
                write!(verdict.outcome, "; port {port} is silent").unwrap_or_default();
            }
            Err(other) => return Err(other),
        }
    }
    if let Some(check) = machine.audit()? {
        verdict.passed = false;
        write!(verdict.outcome, "; audit: check {check}").unwrap_or_default();
    }
    Ok(verdict)
}

/// Counts by family: attacks and those that passed.
pub fn families(verdicts: &[Verdict]) -> Vec<(String, usize, usize)> {
    let mut families: Vec<(String, usize, usize)> = Vec::new();
    for verdict in verdicts {
        let at = families.iter().position(|(name, ..)| *name == verdict.family);
        let at = at.unwrap_or_else(|| {
            families.push((verdict.family.clone(), 0, 0));
            families.len() - 1
        });
        if let Some((_, all, passed)) = families.get_mut(at) {
            *all += 1;
            *passed += usize::from(verdict.passed);
        }
    }
    families
}

/// The report: counts by family, then every attack.
pub fn report(verdicts: &[Verdict], board: &str) -> String {
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    let slowest = verdicts.iter().map(|verdict| verdict.victim).max().unwrap_or_default();
    let mut text = String::from("# Hostile library OSes\n\n");
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing to a string never fails.
        let _ = writeln!(text, "{words}");
    };
    line(format_args!("Made by `cargo run -- evidence attacks` on {board}, commit {}.", commit()));
    line(format_args!(
        "{} attacks, {passed} stopped. After each: the echo ASH and the echo library OS answered \
         the next packet (slowest: {} ms, the harness looks every {} ms), and the kernel's audit \
         was clean; the attacker checked that environments, grants, bindings and frames were as \
         before.\n",
        verdicts.len(),
        slowest.as_millis(),
        limits::POLL.as_millis()
    ));
    line(format_args!("| family | attacks | stopped |\n|---|---|---|"));
    for (family, all, passed) in families(verdicts) {
        line(format_args!("| {family} | {all} | {passed} |"));
    }
    line(format_args!("\n| name | family | outcome | verdict |\n|---|---|---|---|"));
    for verdict in verdicts {
        let word = if verdict.passed { "PASS" } else { "FAIL" };
        let outcome = verdict.outcome.replace('|', "/").replace('\n', " ");
        line(format_args!("| {} | {} | {outcome} | {word} |", verdict.name, verdict.family));
    }
    text
}

/// The tree's commit; a plus sign behind it says that there were changes.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(build::workspace())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    format!("{commit}{}", if changed.is_some_and(|text| text.is_empty()) { "" } else { "+" })
}

/// Writes a report into `docs/evidence`.
///
/// # Errors
/// The file system's.
pub fn write(name: &str, text: &str) -> std::io::Result<PathBuf> {
    let path = build::workspace().join("docs/evidence").join(name);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Whether the image has the attacker.
pub fn known(image: &Image) -> bool {
    image.manifest.environments.iter().any(|spec| spec.name == "attacks")
}

#[cfg(test)]
mod tests {
    use super::{Verdict, addressed, families, report};
    use std::time::Duration;

    fn verdict(family: &str, passed: bool) -> Verdict {
        Verdict {
            family: family.to_owned(),
            name: "a name".to_owned(),
            outcome: "one|two".to_owned(),
            passed,
            victim: Duration::from_millis(3),
        }
    }

    #[test]
    fn families_are_counted_and_failures_seen() {
        let all = [verdict("x", true), verdict("y", false), verdict("x", true)];
        assert_eq!(families(&all), [("x".to_owned(), 2, 2), ("y".to_owned(), 1, 0)]);
        let text = report(&all, "q35");
        assert!(text.contains("3 attacks, 2 stopped"));
        assert!(text.contains("| a name | y | one/two | FAIL |"));
    }

    #[test]
    fn a_frame_is_readdressed() {
        assert_eq!(addressed(vec![0; 20], [7; 6])[..7], [7, 7, 7, 7, 7, 7, 0]);
        assert_eq!(addressed(vec![0; 3], [7; 6]), [0; 3]);
    }
}
