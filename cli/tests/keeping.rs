//! A machine that hangs, dies or cannot start: what is said, and that nothing is left behind.
//!
//! QEMU is a shell script here: these tests are about the tool, and need no kernel.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluice::build::Image;
use sluice::machine::{Machine, MachineError, Options};

/// A stand-in for QEMU: finds the serial log among its arguments, then runs `body`.
fn pretend(directory: &Path, body: &str) -> Options {
    let script = format!(
        "#!/bin/sh\nfor a; do case $a in file,id=serial,path=*) \
         log=${{a#file,id=serial,path=}};; esac; done\n{body}\n"
    );
    let qemu = directory.join("qemu");
    std::fs::write(&qemu, script).unwrap_or_default();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&qemu, executable).unwrap_or_default();
    Options {
        qemu,
        directory: directory.to_owned(),
        timeout: Duration::from_millis(700),
        ..Options::default()
    }
}

fn image() -> Image {
    let manifest = abi::start::Manifest::default();
    Image { kernel: PathBuf::from("kernel"), initrd: PathBuf::from("initrd"), manifest }
}

fn alive(process: u32) -> bool {
    // A process that nobody has waited for yet still has an entry, but no command line.
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    !line.is_empty()
}

#[test]
fn a_boot_that_hangs_is_given_up_with_the_logs_path_and_tail() {
    let directory = tempfile::tempdir().unwrap();
    let options = pretend(directory.path(), "echo 'so far, so good' > $log; exec sleep 600");
    let machine = Machine::boot(&image(), &options).unwrap();
    let process = machine.process();
    let error = machine.wait_ready().unwrap_err();
    assert!(matches!(error, MachineError::Hung { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("so far, so good") && text.contains("serial.log"), "{text}");
    assert!(text.contains("init: ready"), "{text}");
    assert!(alive(process));
    drop(machine);
    assert!(!alive(process), "QEMU was left behind");
}

#[test]
fn a_kernel_that_dies_ends_the_wait_at_once_and_shows_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let mut options =
        pretend(directory.path(), "echo 'panic: here at kernel::main' > $log; exit 255");
    options.timeout = Duration::from_secs(60);
    let start = Instant::now();
    let machine = Machine::boot(&image(), &options).unwrap();
    let error = machine.wait_ready().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(matches!(error, MachineError::Died { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("panic: here at kernel::main"), "{text}");
    assert!(text.contains("0x7f"), "{text}");
}

#[test]
fn qemus_own_complaint_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo 'Could not set up host forwarding rule' >&2; exit 1";
    let machine = Machine::boot(&image(), &pretend(directory.path(), body)).unwrap();
    let text = machine.wait_ready().unwrap_err().to_string();
    assert!(text.contains("qemu: Could not set up host forwarding rule"), "{text}");
}

#[test]
fn what_was_said_before_the_end_is_still_found() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo 'init: ready' > $log; exit 1";
    let machine = Machine::boot(&image(), &pretend(directory.path(), body)).unwrap();
    let status = machine.wait_end(Duration::from_secs(10)).unwrap();
    assert_eq!(sluice::machine::guest_code(status), Some(0));
    assert!(machine.wait_ready().is_ok());
    assert!(matches!(machine.command("audit"), Err(MachineError::Died { .. })));
}

#[test]
fn no_emulator_and_no_port_are_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = pretend(directory.path(), "exec sleep 600");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    options.forwards = vec![(7, Some(port))];
    let error = Machine::boot(&image(), &options).map(|_| ()).unwrap_err();
    assert!(matches!(error, MachineError::Port(_)), "{error}");

    options.forwards = vec![(7, None)];
    options.qemu = PathBuf::from("/no/such/qemu");
    let machine = Machine::boot(&image(), &options);
    // With `setpriv` in between, it is setpriv that is started and fails.
    let text = match machine {
        Ok(machine) => machine.wait_ready().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(text.contains("/no/such/qemu"), "{text}");
}

#[test]
fn a_missing_answer_is_no_endless_wait() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo 'init: ready' > $log; exec sleep 600";
    let machine = Machine::boot(&image(), &pretend(directory.path(), body)).unwrap();
    machine.wait_ready().unwrap();
    // Nobody has bound the guest's end of the wire.
    let error = machine.command("audit").unwrap_err();
    assert!(matches!(error, MachineError::Setup { .. }), "{error}");
}
