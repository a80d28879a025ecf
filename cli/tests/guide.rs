//! What docs/guide.md says, done: made, run, asked, ended, broken, watched.

#![cfg(test)]

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, PcapBlockOwned, PcapNGReader};

/// Longest wait for anything: a whole build may be in it.
const LONG: Duration = Duration::from_secs(900);

/// The tool, with its sockets in `place`.
fn sluice(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env("TMPDIR", place).args(["--timeout", "300"]).stdin(Stdio::null());
    command
}

/// A `sluice` that runs, and its lines.
struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| send.send(line).is_ok())
        });
        Running { child, lines, said: Vec::new() }
    }

    /// The first line with that text, said already or still to come.
    fn line(&mut self, text: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            if let Some(line) = self.said.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(error) => panic!("no `{text}` ({error}) in\n{}", self.said.join("\n")),
            }
        }
    }

    /// Ctrl-C; whether it ended well.
    fn interrupt(&mut self) -> bool {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
        self.end()
    }

    fn end(&mut self) -> bool {
        let good = self.child.wait().unwrap().success();
        self.said.extend(self.lines.iter());
        good
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failed assertion; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What that address answers; datagrams get lost.
fn ask(address: &str, text: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 256];
    for _ in 0..6 {
        socket.send(text.as_bytes()).unwrap();
        if let Ok(count) = socket.recv(&mut bytes) {
            return String::from_utf8_lossy(&bytes[..count]).into_owned();
        }
    }
    panic!("no answer to `{text}`")
}

/// The address in `UDP port 7100 of hello is 127.0.0.1:7100`.
fn address(running: &mut Running) -> String {
    let line = running.line("UDP port");
    let address = line.rsplit(' ').next().unwrap().to_owned();
    running.line("`ping` is answered by the ASH");
    address
}

/// Comments of the packets in a capture.
fn comments(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = PcapNGReader::new(1 << 20, bytes.as_slice()).unwrap();
    let mut found = Vec::new();
    while let Ok((used, block)) = reader.next() {
        if let PcapBlockOwned::NG(Block::EnhancedPacket(packet)) = block {
            let comments = packet.options.iter().filter(|option| option.code.0 == 1);
            let texts = comments.map(|it| String::from_utf8_lossy(&it.value).into_owned());
            found.extend(texts);
        }
        reader.consume(used);
    }
    found
}

/// Directories for sockets that were left in `place`.
fn left(place: &Path) -> Vec<String> {
    let names = std::fs::read_dir(place).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("sluice-")).collect()
}

#[test]
fn the_guide_can_be_followed() {
    let guide = include_str!("../../docs/guide.md");
    for step in ["new hello", "run hello", "printf ping", "printf hello", "view hello"] {
        assert!(guide.contains(step), "the guide has no `{step}`");
    }
    let place = tempfile::tempdir().unwrap();
    let project = place.path().join("hello");
    let made = sluice(place.path()).arg("new").arg(&project).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    answered(place.path(), &project);
    broken(place.path(), &project);
    watched(place.path(), &project);
    assert_eq!(left(place.path()), [""; 0]);
}

/// Steps 2 to 4.
fn answered(place: &Path, project: &Path) {
    let capture = place.join("hello.pcapng");
    let mut command = sluice(place);
    command.arg("run").arg(project).arg("--capture").arg(&capture);
    let mut running = Running::start(command);
    let address = address(&mut running);
    assert_eq!(ask(&address, "ping"), "pong");
    assert_eq!(ask(&address, "hello"), "hello heard hello");
    assert!(running.line("says hello").starts_with(" hello | 10.0.2.2:"));
    // What is in the capture by now would be there had it been killed.
    let until = Instant::now() + Duration::from_secs(60);
    let wanted = ["answered by the ASH of hello's binding", "delivered to hello's binding"];
    let whole = |found: &[String]| {
        wanted.iter().all(|text| found.iter().any(|it| it.contains(text) && it.contains("grant")))
    };
    while !whole(&comments(&capture)) {
        assert!(Instant::now() < until, "{:?}", comments(&capture));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!left(place).is_empty(), "the machine's sockets are somewhere else");
    assert!(running.interrupt(), "{}", running.said.join("\n"));
    assert!(running.said.iter().any(|line| line.ends_with("| halted")), "{:?}", running.said);
    assert!(whole(&comments(&capture)));
    assert_eq!(left(place), [""; 0], "sockets were left behind");
}

/// Step 5.
fn broken(place: &Path, project: &Path) {
    let main = project.join("src/main.rs");
    let text = std::fs::read_to_string(&main).unwrap();
    let wrong = text
        .replace("format!(\"hello heard {text}\")", "panic!(\"no answer to {text}\")")
        .replace("use alloc::format;\n", "");
    assert_ne!(text, wrong);
    std::fs::write(&main, wrong).unwrap();
    let mut command = sluice(place);
    command.arg("run").arg(project);
    let mut running = Running::start(command);
    let address = address(&mut running);
    assert_eq!(ask(&address, "ping"), "pong");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"hello", &address).unwrap();
    assert!(running.line("panic: no answer to hello").starts_with(" hello | "));
    assert!(running.line("ended by a panic").starts_with(" hello | "));
    assert!(!running.end(), "the exit status is good");
    std::fs::write(&main, text).unwrap();
}

/// Step 6, as JSON and for Prometheus.
fn watched(place: &Path, project: &Path) {
    let metrics = place.join("hello.prom");
    let mut command = sluice(place);
    command.arg("view").arg(project).args(["--json", "--every", "0.3", "--prometheus"]);
    command.arg(&metrics);
    let mut running = Running::start(command);
    let line = running.line("\"owner\":\"hello\"");
    assert!(line.starts_with("{\"at_ns\":") && line.contains("\"failing\":null"), "{line}");
    assert!(running.interrupt());
    let text = std::fs::read_to_string(&metrics).unwrap();
    assert!(text.contains("owner=\"hello\"") && text.contains("sluice_books_hold 1"), "{text}");
}
