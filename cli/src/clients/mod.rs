//! `sluice evidence clients`: programs that people have, against the machine, on a tap device.
//!
//! The clients come from the distribution's packages; what is missing is installed first. Each runs
//! in the namespace that holds the tap device and nothing else, must say what it should, and leaves
//! the books exact: after each the kernel audits itself. [`list`] says who is asked what.

mod list;

use std::io::Write;
use std::process::{Command, Stdio};

use crate::build::Image;
use crate::evidence::EvidenceError;
use crate::machine::{Machine, Net, Options, tap::Tap};
use crate::progress::Progress;
use crate::wire::hostile;
use crate::{attacks, limits};

pub use list::{CLIENTS, Client};

/// Memory in which all services fit at once.
const ALL_MIB: u32 = 512;

/// The services, and the line that each prints when it is bound.
const SERVICES: &[(&str, &str)] = &[
    ("dns", "port 53 "),
    ("kv", "port 11211 "),
    ("ntp", "port 123 "),
    ("limiter", "port 7120 "),
    ("guarded", "port 7080 "),
    ("http", "port 80 "),
    ("bulk", "port 5201 "),
];

/// Waits until the machine answers again, at most a minute.
const DRAIN: &str = "for i in $(seq 60); do ping -q -c 1 -W 1 10.0.2.15 > /dev/null && break; done";

/// What came of a client.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub client: &'static str,
    /// What it was to do.
    pub did: &'static str,
    /// The line of its output that says what it got, or why it was left out.
    pub got: String,
    /// Whether that is right and the books are exact; `None` if it was left out.
    pub right: Option<bool>,
    /// Packets during it: received, answered by handlers, delivered, dropped.
    pub packets: [u64; 4],
}

/// Why there can be no clients here: not root, or no such devices.
pub fn missing() -> Option<String> {
    Tap::up().err().map(|error| error.to_string())
}

/// Runs every client.
///
/// # Errors
/// [`EvidenceError`], when the machine does not do its part.
pub fn run(
    image: &Image,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Row>, EvidenceError> {
    install(progress);
    let words = "log=info".to_owned();
    let memory_mib = options.memory_mib.max(ALL_MIB);
    let options = Options { net: Net::Tap, words, memory_mib, ..options.clone() };
    let machine = Machine::boot(image, &options)?;
    machine.wait_ready()?;
    crate::demo::wait_bound(&machine, &image.manifest)?;
    for (name, line) in SERVICES {
        machine.command(&format!("start {name}"))?;
        machine.wait_serial(line, limits::CONTROL)?;
    }
    let mut rows = Vec::new();
    for client in CLIENTS {
        progress.now(client.name);
        rows.push(one(&machine, client)?);
    }
    machine.halt(0)?;
    Ok(rows)
}

fn one(machine: &Machine, client: &Client) -> Result<Row, EvidenceError> {
    let before = machine.books()?.rx;
    let (output, there) = output(machine, client);
    let after = machine.books()?.rx;
    let exact = machine.audit()?.is_none();
    let dropped = |rx: &abi::books::ReceiveBooks| rx.dropped.iter().sum::<u64>();
    let packets = [
        after.received - before.received,
        after.answered - before.answered,
        after.delivered - before.delivered,
        dropped(&after) - dropped(&before),
    ];
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let got = lines.iter().find(|line| line.contains(client.shown));
    let got = got.or(lines.last()).copied().unwrap_or("nothing").to_owned();
    let right = there.then(|| exact && (client.right)(&output));
    if right == Some(false) {
        println!("FAIL {} {}: books exact: {exact}\n{output}", client.name, client.did);
    }
    Ok(Row { client: client.name, did: client.did, got, right, packets })
}

/// What a client says, and whether it is there at all.
fn output(machine: &Machine, client: &Client) -> (String, bool) {
    let Some(tap) = machine.tap() else { return ("no tap device".to_owned(), false) };
    if !is_there(client.name) {
        return (format!("skipped: `{}` is not installed", client.name), false);
    }
    let mut command = Command::new("ip");
    command.args(["netns", "exec", tap.namespace(), "timeout", "120", "sh", "-c", client.script]);
    let capture = match odd_capture() {
        Ok(capture) => capture,
        Err(error) => return (format!("skipped: {error}"), false),
    };
    let pattern = match pattern() {
        Ok(pattern) => pattern,
        Err(error) => return (format!("skipped: {error}"), false),
    };
    command.env("SLUICE_CAPTURE", capture.path()).env("SLUICE_DRAIN", DRAIN);
    command.env("SLUICE_PATTERN", pattern.path());
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            (text, true)
        }
        Err(error) => (format!("skipped: {error}"), false),
    }
}

/// What `bulk` sends and checks: byte `i` is `i % 251`.
fn pattern() -> std::io::Result<tempfile::NamedTempFile> {
    const BYTES: usize = 8 << 20;
    let mut file = tempfile::Builder::new().prefix("sluice-").suffix(".bytes").tempfile()?;
    let bytes: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    file.write_all(&bytes)?;
    file.flush()?;
    Ok(file)
}

/// Every malformed frame that a real wire carries, as a capture file for `tcpreplay`.
fn odd_capture() -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("sluice-").suffix(".pcap").tempfile()?;
    // libpcap's format: magic number, version 2.4, zone, accuracy, length kept, Ethernet.
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let frames = hostile::malformed().into_iter().map(|hostile| hostile.frame);
    for (number, frame) in frames.filter(|frame| (14..=1514).contains(&frame.len())).enumerate() {
        let length = frame.len() as u32;
        let head = [1, number as u32, length, length];
        bytes.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(frame);
    }
    file.write_all(&bytes)?;
    file.flush()?;
    Ok(file)
}

fn is_there(program: &str) -> bool {
    let script = format!("command -v {program}");
    let found = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Gets what is missing, where that can be had.
fn install(progress: &Progress) {
    let missing = CLIENTS.iter().filter(|client| !is_there(client.name));
    let packages: Vec<&str> = missing.map(|client| client.package).collect();
    if packages.is_empty() {
        return;
    }
    progress.now(&format!("installing {}", packages.join(" ")));
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]).args(&packages);
    // What cannot be had is skipped by name later.
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// The table.
pub fn report(rows: &[Row], made: &str) -> String {
    let right = rows.iter().filter(|row| row.right == Some(true)).count();
    let asked = rows.iter().filter(|row| row.right.is_some()).count();
    let mut text = format!(
        "# Real clients on a tap device\n\n`cargo run -- evidence clients`, as root. {made}\n\n\
         {right} of {asked} clients got what they should, with the books exact after each. \
         Packets: received by the machine,\nanswered by handlers in the kernel, delivered to \
         library OSes, dropped and counted.\n\n\
         | client | did | got | received | answered | delivered | dropped | |\n\
         |---|---|---|---:|---:|---:|---:|---|\n"
    );
    for row in rows {
        let verdict = match row.right {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => "skipped",
        };
        let [received, answered, delivered, dropped] = row.packets;
        let got = row.got.replace('|', "/");
        text.push_str(&format!(
            "| {} | {} | `{got}` | {received} | {answered} | {delivered} | {dropped} | \
             {verdict} |\n",
            row.client, row.did
        ));
    }
    text
}

/// Measures and writes `docs/evidence/clients.md`.
///
/// # Errors
/// [`EvidenceError`]; a client that did not get what it should.
pub fn evidence(image: &Image, options: &Options, made: &str) -> Result<(), EvidenceError> {
    if let Some(why) = missing() {
        println!("skipped: clients: {why}");
        return Ok(());
    }
    let progress = Progress::spinner("clients");
    let rows = run(image, options, &progress)?;
    progress.done("done");
    println!("{}", attacks::write("clients.md", &report(&rows, made))?.display());
    let count = rows.iter().filter(|row| row.right == Some(false)).count();
    if count == 0 { Ok(()) } else { Err(EvidenceError::Failed { count, what: "clients" }) }
}
