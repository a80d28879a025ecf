//! A library OS that attacks: every attack has a name, a family, and what must come of it.
//!
//! The attacks are data ([`attack`]) in one table per family. What could hurt the attacker itself
//! runs in a child ([`child`]) that has one page of machine code, a stack, and a page of calls to
//! make. After each attack the kernel's audit must be clean and the books as before; then a line
//! `attack NUMBER|FAMILY|NAME|VERDICT|WHAT CAME` is reported, and with the word `paced` among the
//! arguments the program waits for a datagram `go NUMBER` on [`PORT`]: whoever sends it can ask a
//! victim first whether it still answers.
//!
//! Arguments: `all`, `quick` (some of each generated family), or names of families or attacks.
//! Exits with the number of attacks that did not end as they must, at most 250.
#![no_std]
#![no_main]

extern crate alloc;

mod attack;
mod bargain;
mod bombs;
mod certificates;
mod child;
mod handles;
mod lab;
mod maps;
mod numbers;
mod pointers;
mod programs;
mod rings;
mod squatting;
mod tricks;

use alloc::format;
use alloc::vec::Vec;

use libos::capability::{audit, books, report};
use libos::{Environment, println};

use attack::{Attack, Outcome};
use lab::Lab;

libos::entry!(main);

/// Where the word to go on comes in.
const PORT: u16 = 7999;
/// The exit code for "could not begin".
const NOT_READY: i32 = 251;

fn main(environment: Environment) -> i32 {
    let mut lab = match Lab::new(&environment) {
        Ok(lab) => lab,
        Err(why) => {
            println!("not ready: {why}");
            return NOT_READY;
        }
    };
    let words: Vec<&str> = environment.arguments().split_whitespace().collect();
    let mut escaped = 0;
    let chosen: Vec<Attack> = all().into_iter().filter(|attack| attack.is_meant(&words)).collect();
    let count = chosen.len();
    let _ = report(format!("attacks {count}").as_bytes());
    for (number, attack) in chosen.into_iter().enumerate() {
        let outcome = judged(&mut lab, &attack);
        let (verdict, text) = match &outcome {
            Ok(text) => ("PASS", text),
            Err(text) => ("FAIL", text),
        };
        escaped += i32::from(outcome.is_err());
        let line = format!("attack {number}|{}|{}|{verdict}|{text}", attack.family, attack.name);
        let _ = report(line.as_bytes());
        lab.pace(number, &line);
    }
    println!("{count} attacks, {escaped} escaped");
    let _ = report(format!("over {count} {escaped}").as_bytes());
    escaped.min(250)
}

/// Every attack there is.
fn all() -> Vec<Attack> {
    let mut attacks = tricks::attacks();
    attacks.extend(handles::attacks());
    attacks.extend(pointers::attacks());
    attacks.extend(numbers::attacks());
    attacks.extend(programs::attacks());
    attacks.extend(squatting::attacks());
    attacks.extend(certificates::attacks());
    attacks.extend(rings::attacks());
    attacks.extend(bombs::attacks());
    attacks.extend(bargain::attacks());
    attacks.extend(maps::attacks());
    attacks
}

/// What came of it, the books included.
fn judged(lab: &mut Lab, attack: &Attack) -> Outcome {
    let count = |text| books().map_err(|status| format!("{text}: {status:?}"));
    let before = count("books before")?;
    let outcome = attack.run(lab)?;
    match audit() {
        Ok(0) => {}
        other => return Err(format!("{outcome}; audit {other:?}")),
    }
    let after = count("books after")?;
    let held = |it: &abi::books::Books| (it.environments, it.grants, it.bindings);
    if held(&before) != held(&after) {
        let (before, after) = (held(&before), held(&after));
        return Err(format!("{outcome}; environments, grants, bindings {before:?} {after:?}"));
    }
    let lost = before.frames.free.saturating_sub(after.frames.free);
    // The attacker's own heap may have grown by a step, or by the longest program as assembled.
    let program = abi::limits::PROGRAM_SLOTS_MAX * size_of::<ebpf::Insn>();
    let grown = (program / abi::limits::PAGE_BYTES + 1).max(libos::layout::HEAP_STEP_PAGES);
    if lost > grown as u64 + 4 {
        return Err(format!("{outcome}; {lost} frames lost"));
    }
    Ok(outcome)
}
