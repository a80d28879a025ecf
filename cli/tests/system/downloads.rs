//! Downloaded code in the machine: charged, fused, initiating, asleep until its predicate says so.
//!
//! The machine counts instructions, so that what a pipe costs is the same in every run.

use std::collections::BTreeMap;
use std::time::Duration;

use abi::books::Reason;
use abi::record::Record;
use abi::start::State;
use sluice::demo;
use sluice::limits;
use sluice::machine::{Board, Machine, Options};
use sluice::wire::frames;

use super::boots::{image, turn};

/// Frames of the flood.
const FLOOD: u32 = 4_000;
/// Frames through each pipe, and the bytes of their payload.
const PIPED: u32 = 8;
const PAYLOAD: usize = 1_400;
/// Instructions that each environment may have run for it in a round of the slice vector: what its
/// predicate takes, and some hundred echoes.
const ALLOWANCE: u64 = 45_000;
/// How long a report may take before it is asked for again.
const PATIENCE: Duration = Duration::from_millis(400);

fn echo(machine: &Machine, port: u16, text: &str) {
    let request = frames::udp(43_000, port, text.as_bytes());
    let is_echo = |f: &[u8]| frames::is_echo(f, 43_000, port, text.as_bytes());
    let answer = machine.exchange(text, &request, limits::REPLY, is_echo);
    assert!(answer.is_ok(), "{text}: {}\n{}", answer.unwrap_err(), machine.serial());
}

/// Wakes the program by its handler: what it reports. Asks again while the handler's owner is
/// broke.
fn report(machine: &Machine) -> BTreeMap<String, u64> {
    let mark = machine.journal().mark();
    let said = || {
        let lines = machine.journal().collect(mark, |record| match record {
            Record::User { bytes, .. } => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        });
        lines.last().cloned()
    };
    for _ in 0..20 {
        machine.send(&frames::udp(43_000, 7101, b"report")).unwrap();
        if let Ok(line) = machine.wait("waiting for a report", PATIENCE, said) {
            let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
            return pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect();
        }
    }
    panic!("no report\n{}", machine.serial());
}

fn wait_for(machine: &Machine, line: &str) {
    let during = format!("waiting for `{line}`");
    let seen =
        machine.wait(&during, limits::CONTROL, || machine.serial().contains(line).then_some(()));
    seen.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
}

/// More than the owner can pay for: the rest goes to its ring, and afterwards it can pay again.
fn flood(machine: &Machine) {
    echo(machine, 7100, "before the flood");
    let before = report(machine);
    for number in 0..FLOOD {
        machine.send(&frames::udp(43_001, 7100, &number.to_be_bytes())).unwrap();
    }
    echo(machine, 7, "the flood has passed");
    let after = report(machine);
    let more = |name: &str| after[name] - before[name];
    let received = more("charged.received");
    println!(
        "{received} packets: {} answered in the kernel, {} fell back ({} into the ring), {} runs",
        more("charged.answered"),
        more("charged.fell_back"),
        more("charged.delivered"),
        more("runs"),
    );
    assert!(received > u64::from(FLOOD) / 2);
    assert!(more("charged.answered") > 0 && more("charged.delivered") > 0, "{after:?}");
    assert_eq!(received, more("charged.answered") + more("charged.fell_back"), "{after:?}");
    assert_eq!(more("charged.taken"), more("charged.delivered"), "each frame is taken once");
    // The predicate: not for each packet, and not without reason.
    assert!(more("runs") <= more("charged.delivered") / 64 + 2, "{after:?}");
    // The next rounds of the vector bring the next allowances.
    for attempt in 0.. {
        let before = report(machine);
        let request = frames::udp(43_000, 7100, b"after the flood");
        let is_echo = |f: &[u8]| frames::is_echo(f, 43_000, 7100, b"after the flood");
        if machine.exchange("after", &request, limits::REPLY, is_echo).is_ok() {
            break;
        }
        assert!(attempt < 3, "{before:?}");
    }
}

/// Delivery that sums and decrypts in one loop costs less than the passes one by one.
fn pipes(machine: &Machine) {
    for port in 7103..=7106 {
        for number in 0..PIPED {
            let payload = vec![number as u8 ^ 0x6b; PAYLOAD + number as usize];
            machine.send(&frames::udp(43_002, port, &payload)).unwrap();
        }
    }
    echo(machine, 7, "the pipes are through");
    echo(machine, 7102, "a copy");
    let seen = report(machine);
    let each = |name: &str| {
        assert_eq!(seen[&format!("{name}.piped")], u64::from(PIPED), "{name}: {seen:?}");
        seen[&format!("{name}.cycles")] / u64::from(PIPED)
    };
    let (fused, separate) = (each("fused"), [each("copy"), each("checksum"), each("xor")]);
    println!("guest instructions a frame: fused {fused}, one pass after the other {separate:?}");
    assert_eq!((seen["tee.initiated"], seen["tee.delivered"]), (1, 1));
    assert!(fused < separate.iter().sum());
    assert_eq!(seen["fused.right"], u64::from(PIPED), "the sums are those of the bytes that came");
}

fn attacks(machine: &Machine) {
    let mark = machine.journal().mark();
    machine.command("start download-attacks").unwrap();
    wait_for(machine, "port 7110 amplifies");
    let before = machine.books().unwrap();
    machine.send(&frames::udp(43_003, 7110, b"amplify me")).unwrap();
    let end = machine.record(mark, "waiting for the attacks' end", |record| match record {
        Record::Environment { name, state: State::Exited, detail, .. } => {
            (name == "download-attacks").then_some(*detail)
        }
        _ => None,
    });
    let code = end.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    assert_eq!(code, 0, "{}", machine.serial());
    let after = machine.books().unwrap();
    let refused =
        |reason: Reason| after.tx.refused[reason as usize] - before.tx.refused[reason as usize];
    assert_eq!((refused(Reason::Guard), refused(Reason::CopyLimit)), (4, 2));
}

#[test]
fn downloaded_code_is_charged_fused_and_contained() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let mut options = demo::counting_options(&options, "info");
    options.words.push_str(&format!(" allowance={ALLOWANCE}"));
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    machine.command("start downloads").unwrap();
    wait_for(&machine, "downloaded code is in place");
    flood(&machine);
    pipes(&machine);
    attacks(&machine);
    echo(&machine, 7, "after the attacks");
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}
