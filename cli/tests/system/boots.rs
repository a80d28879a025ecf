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
    booted(&Options { board, words: words.to_owned(), ..Options::default() })
}

/// A machine of any kind on which everybody has bound.
pub(crate) fn booted(options: &Options) -> Machine {
    let machine = Machine::boot(image(), options).unwrap_or_else(|error| panic!("{error}"));
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

#[test]
fn a_tap_device_carries_real_clients_or_says_what_is_missing() {
    use sluice::machine::{Net, tap::Tap};
    let _turn = turn();
    if let Err(error) = Tap::up() {
        // Not root, or no such devices here: the message names the option and what failed.
        assert!(error.to_string().contains("--net tap"), "{error}");
        return;
    }
    let options = Options { net: Net::Tap, words: "log=info".to_owned(), ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    demo::wait_bound(&machine, &image().manifest).unwrap();
    let address = machine.address(7).unwrap();
    let tap = machine.tap().unwrap();
    let namespace = tap.namespace().to_owned();
    let answer = tap.inside(|| -> std::io::Result<Vec<u8>> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(sluice::limits::REPLY))?;
        socket.send_to(b"through the tap", address)?;
        let mut bytes = [0; 64];
        let (count, _) = socket.recv_from(&mut bytes)?;
        Ok(bytes[..count].to_vec())
    });
    assert_eq!(answer.unwrap().unwrap(), b"through the tap");
    drop(machine);
    assert!(!std::path::Path::new("/run/netns").join(namespace).exists());
}
