//! `cargo run`, as a person runs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::boots::{image, turn};

/// Processes whose command line mentions `text`.
fn mentioned(text: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text) && line.contains("qemu"))
        .collect()
}

/// The tool, with its sockets in `directory`, so that a QEMU of its own can be told from others'.
fn sluice(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env("TMPDIR", directory).stdin(Stdio::null());
    command.arg("--capture").arg(directory.join("capture.pcapng"));
    command
}

fn demo_on(board: &str) {
    let _turn = turn();
    image();
    let directory = tempfile::tempdir().unwrap();
    let output = sluice(directory.path()).args(["--machine", board]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{board}: {}\n{text}\n{complaints}", output.status);
    for part in ["Overlap", "OutsideGrant", "Unsafe", "witness", "refused[guard]"] {
        assert!(text.contains(part), "{board}: no `{part}` in\n{text}");
    }
    let capture = std::fs::read(directory.path().join("capture.pcapng")).unwrap();
    let mut reader = pcap_parser::PcapNGReader::new(1 << 20, capture.as_slice()).unwrap();
    let packets = packets(&mut reader);
    assert!(packets[0] > 600, "frames on the wire: {packets:?}");
    assert!(packets[1] > 600, "verdicts: {packets:?}");
    assert!(packets[2] >= 2, "witnesses: {packets:?}");
    let path = directory.path().to_string_lossy().into_owned();
    assert_eq!(mentioned(&path), [""; 0], "QEMU was left behind");
}

/// Packets by interface.
fn packets(reader: &mut pcap_parser::PcapNGReader<&[u8]>) -> [usize; 3] {
    use pcap_parser::traits::PcapReaderIterator;
    use pcap_parser::{Block, PcapBlockOwned, PcapError};
    let mut counts = [0; 3];
    loop {
        match reader.next() {
            Ok((used, block)) => {
                if let PcapBlockOwned::NG(Block::EnhancedPacket(packet)) = block {
                    counts[packet.if_id as usize] += 1;
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return counts,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap_or_default(),
            Err(error) => panic!("the capture is no pcapng file: {error}"),
        }
    }
}

#[test]
fn the_demo_succeeds_on_q35() {
    demo_on("q35");
}

#[test]
fn the_demo_succeeds_on_microvm() {
    demo_on("microvm");
}

#[test]
fn a_port_in_use_is_reported_and_the_exit_status_is_bad() {
    let _turn = turn();
    image();
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = format!("7={}", taken.local_addr().unwrap().port());
    let output = sluice(directory.path()).args(["--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&port[2..]));
}

#[test]
fn a_tool_that_is_killed_takes_its_machine_with_it() {
    let _turn = turn();
    image();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_string_lossy().into_owned();
    let mut child =
        sluice(directory.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while mentioned(&path).is_empty() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!mentioned(&path).is_empty(), "no machine came up");
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while !mentioned(&path).is_empty() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(mentioned(&path), [""; 0], "QEMU was left behind");
}
