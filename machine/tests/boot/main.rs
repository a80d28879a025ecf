//! The machine on the machine: boots the self-test kernel in QEMU and looks at what comes out.
//!
//! Builds `sluice-selftest` for `x86_64-unknown-none` first (once). Without QEMU every test fails
//! and says what to install.

#[cfg(test)]
mod qemu;

use qemu::{Machine, Qemu};
use std::path::Path;

/// What QEMU's status is when the self-test got to its end, and when it died.
const PASSED: i32 = 65;
const DIED: i32 = 255;

const BOTH: [Machine; 2] = [Machine::Q35, Machine::Microvm];

#[test]
fn every_check_passes_on_both_machines() {
    for machine in BOTH {
        let run = Qemu::new(machine).append("a=b  c").run();
        assert_eq!(run.status, PASSED, "{}", run.text);
        assert!(run.text.contains(r#"command line "a=b  c"#), "{}", run.text);
        assert!(run.text.contains("checks done"), "{}", run.text);
    }
}

#[test]
fn the_initrd_arrives() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("initrd");
    std::fs::write(&path, vec![b'i'; 1_234_567]).unwrap();
    for machine in BOTH {
        let run = Qemu::new(machine).argument("-initrd").argument(path.to_str().unwrap()).run();
        assert_eq!(run.status, PASSED, "{}", run.text);
        assert!(run.text.contains("initrd 1234567 bytes, first Some(105)"), "{}", run.text);
    }
}

#[test]
fn memory_from_little_to_more_than_the_hole_below_4_gib() {
    for (machine, megabytes) in [(Machine::Microvm, 32), (Machine::Q35, 48), (Machine::Q35, 5000)] {
        let run = Qemu::new(machine).memory(megabytes).run();
        assert_eq!(run.status, PASSED, "{megabytes} MiB: {}", run.text);
    }
}

#[test]
fn an_older_processor_will_do() {
    let run = Qemu::new(Machine::Q35).processor("qemu64").run();
    assert_eq!(run.status, PASSED, "{}", run.text);
}

#[test]
fn counted_instructions_repeat() {
    for machine in BOTH {
        let run = || Qemu::new(machine).icount().argument("-seed").argument("7").run();
        let (first, second) = (run(), run());
        assert_eq!(first.status, PASSED, "{}", first.text);
        let null_call = |text: &str| text.lines().find(|l| l.contains("null")).map(str::to_owned);
        assert_eq!(null_call(&first.text), null_call(&second.text));
    }
}

#[test]
fn a_dying_kernel_says_why_and_exits() {
    for (way, expected) in [
        ("panic", "kernel panic: asked to"),
        ("null", "page fault (vector 14, error 0x0)\ncr2 0000000000000010"),
        ("text", "page fault (vector 14, error 0x3)\ncr2 ffffffff80100000"),
        ("alias", "page fault (vector 14, error 0x3)\ncr2 ffff800000100000"),
        ("execute", "page fault (vector 14, error 0x11)\ncr2 ffff800006000000"),
        ("stack", "double fault"),
        ("user-read", "page fault (vector 14, error 0x1)\ncr2 0000000000400000"),
        ("user-execute", "page fault (vector 14, error 0x11)\ncr2 0000000000400500"),
        ("nested", "kernel panic: in the middle of a line"),
    ] {
        let run = Qemu::new(Machine::Microvm).append(&format!("crash={way}")).run();
        assert_eq!(run.status, DIED, "{way}: {}", run.text);
        let text = run.text.replace('\r', "");
        assert!(text.contains(expected), "{way}: {text}");
        let traced = text.split("backtrace:").nth(1).map_or(0, |trace| trace.lines().count());
        assert!(traced > 2, "{way}: no backtrace in {text}");
    }
}

#[test]
fn frames_and_records_go_both_ways() {
    for machine in BOTH {
        let mut run = Qemu::new(machine).append("echo").network().start();
        run.wait_for("ready [52, 54, 00, aa, bb, cc]");
        let wire = run.wire();
        for round in 0..2000_u32 {
            let size = 14 + round as usize % 1500;
            let mut frame = vec![round as u8; size];
            frame[..12].copy_from_slice(b"TO....FROM..");
            let answer = wire.exchange(&frame);
            assert_eq!(answer[..12], *b"FROM..TO....");
            assert_eq!(answer[12..], frame[12..]);
        }
        for size in [1, 5, 6, 12, 13, 1522, 1776] {
            assert_eq!(wire.exchange(&vec![b'Z'; size]).len(), size);
        }
        assert_eq!(wire.exchange(b"SEND, please; 60 bytes"), b"header and from a frame");
        wire.send(&[0; 1777]); // Longer than a buffer: the device drops it.
        assert_eq!(wire.exchange(&[1; 60]).len(), 60);
        wire.send(b"QUIT");
        let end = run.finish();
        assert_eq!(end.status, PASSED, "{}", end.text);
        assert!(end.text.contains("echoed 2008 sent 1 done 1"), "{}", end.text);
        assert_eq!(end.console, [b"over the console\n", &[b'x'; 300_000][..]].concat());
    }
}
