//! Machines for tests, and a kernel that dies.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use sluice::build::{self, Image};
use sluice::demo;
use sluice::machine::{Board, Machine, MachineError, Options};

/// One machine at a time: two cores are to be had, and QEMU wants one and a half.
static TURN: Mutex<()> = Mutex::new(());

/// A turn at booting; others wait until it is dropped.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The image, built once for all tests here.
pub(crate) fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| build::image().unwrap_or_else(|error| panic!("{error}")))
}

/// A machine on which everybody has bound its filters.
pub(crate) fn ready(board: Board, words: &str) -> Machine {
    let options = Options { board, words: words.to_owned(), ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap_or_else(|error| panic!("{error}"));
    machine.wait_ready().unwrap_or_else(|error| panic!("{error}"));
    demo::wait_bound(&machine, &image().manifest).unwrap_or_else(|error| panic!("{error}"));
    machine
}

#[test]
fn a_kernel_that_dies_prints_a_backtrace_and_is_reported() {
    let _turn = turn();
    for board in [Board::Q35, Board::Microvm] {
        let words = "log=info crash=test".to_owned();
        let options = Options { board, words, ..Options::default() };
        let machine = Machine::boot(image(), &options).unwrap();
        let error = machine.wait_ready().unwrap_err();
        assert!(matches!(error, MachineError::Died { .. }), "{board:?}: {error}");
        let text = error.to_string();
        assert!(text.contains("0x7f"), "{board:?}: the exit code: {text}");
        // A symbolised backtrace names the function that panicked.
        assert!(machine.serial().contains("kernel::"), "{board:?}: {}", machine.serial());
    }
}

#[test]
fn halting_gives_the_code_and_leaves_nobody_behind() {
    let _turn = turn();
    let machine = ready(Board::Microvm, "log=info");
    let process = machine.process();
    let status = machine.halt(21).unwrap();
    assert_eq!(sluice::machine::guest_code(status), Some(21));
    drop(machine);
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    assert!(line.is_empty(), "QEMU was left behind");
}
