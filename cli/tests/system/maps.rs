//! Maps in the machine: a handler counts and drops by them, its library OS reads them; a hostile
//! one gets nothing.

use abi::record::Record;
use sluice::limits;
use sluice::machine::{Board, Machine, Options};
use sluice::wire::frames;

use super::boots::{image, turn};

/// Packets that are answered, as the example has it, and those sent beyond.
const LIMIT: u32 = 10;
const BEYOND: u32 = 5;

#[test]
fn a_handler_and_its_library_os_share_a_map() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    let mark = machine.journal().mark();
    machine.command("start limiter").unwrap();
    let there = || machine.serial().contains("port 7120 answers").then_some(());
    let waited = machine.wait("waiting for the limiter", limits::CONTROL, there);
    waited.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    for number in 0..LIMIT {
        let text = format!("packet {number}");
        let request = frames::udp(43_000, 7120, text.as_bytes());
        let is_echo = |f: &[u8]| frames::is_echo(f, 43_000, 7120, text.as_bytes());
        let answer = machine.exchange(&text, &request, limits::REPLY, is_echo);
        assert!(answer.is_ok(), "{text}: {}\n{}", answer.unwrap_err(), machine.serial());
    }
    for number in 0..BEYOND {
        machine.send(&frames::udp(43_000, 7120, &number.to_be_bytes())).unwrap();
    }
    let wanted = format!("limiter dropped={BEYOND} 10.0.2.99={}", LIMIT + BEYOND);
    let reported = machine.record(mark, "waiting for the counts", |record| match record {
        Record::User { bytes, .. } => (*bytes == wanted.as_bytes()).then_some(()),
        _ => None,
    });
    reported.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    let books = machine.books().unwrap();
    assert_eq!(books.rx.dropped[abi::books::Reason::AshDrop as usize], u64::from(BEYOND));
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}
