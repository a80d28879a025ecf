//! What a machine says, line by line, each under the name of who said it.
//!
//! Lines come from the serial log: library OSes speak there under their names, and the kernel of
//! faults and of itself. How a library OS ended, why something of it was refused, and what its ASH
//! printed come from the framed channel. What `init` and the kernel say in passing is left out
//! unless everything is wanted.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use abi::record::Record;
use abi::start::State;

use crate::roster::Roster;

/// Who speaks for the kernel.
const KERNEL: &str = "kernel";
/// Exceptions that people know by name (Intel manual, volume 3, table 6-1).
const FAULTS: [(u64, &str); 6] = [
    (0, "division by zero"),
    (3, "a breakpoint"),
    (6, "an instruction that does not exist"),
    (12, "a fault of the stack"),
    (13, "something that ring 3 may not do"),
    (14, "an access to memory that it has not"),
];

/// A line and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A library OS, one's ASH, or the kernel.
    pub who: String,
    /// What.
    pub text: String,
}

/// Reads a growing log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    at: u64,
    rest: Vec<u8>,
    all: bool,
}

impl Log {
    /// From its beginning; with `all`, nothing is left out.
    pub fn new(path: &Path, all: bool) -> Log {
        Log { path: path.to_owned(), at: 0, rest: Vec::new(), all }
    }

    /// The lines that are whole since the last time.
    ///
    /// # Errors
    /// The file's.
    pub fn more(&mut self, roster: &Roster) -> std::io::Result<Vec<Line>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        self.at += file.read_to_end(&mut self.rest)? as u64;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let bytes: Vec<u8> = self.rest.drain(..whole).collect();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(|line| spoken(line.trim_end(), roster, self.all)).collect())
    }
}

/// A line of the serial log as a person should see it, if at all.
fn spoken(line: &str, roster: &Roster, all: bool) -> Option<Line> {
    let said = |who: &str, text: &str| Line { who: who.to_owned(), text: text.to_owned() };
    if let Some((who, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        return (all || who != "init").then(|| said(who, text));
    }
    if line.is_empty() {
        return None;
    }
    let level = line.split(' ').next().unwrap_or_default();
    if matches!(level, "INFO" | "DEBUG" | "TRACE") {
        return all.then(|| said(KERNEL, line));
    }
    // `WARN  sluice_kernel::kernel: environment 4: exception 14 at …` is that library OS's.
    let (_, text) = line.split_once(": ").unwrap_or(("", line));
    let whose = text.strip_prefix("environment ").and_then(|rest| rest.split_once(": "));
    match whose.and_then(|(number, text)| Some((number.parse().ok()?, text))) {
        Some((number, text)) => Some(said(&roster.environment(number), text)),
        None => Some(said(KERNEL, line)),
    }
}

/// What a record has to say to somebody who watches.
pub fn told(record: &Record, roster: &Roster) -> Vec<Line> {
    match record {
        Record::Environment { name, state, detail, .. } => {
            let line = |text| Line { who: name.clone(), text };
            ended(*state, *detail).map(line).into_iter().collect()
        }
        Record::Printed { binding, line, .. } => {
            let who = format!("{} (ASH)", roster.owner(*binding));
            vec![Line { who, text: String::from_utf8_lossy(line).into_owned() }]
        }
        Record::Refused { environment, refusal, .. } => {
            let who = roster.environment(*environment);
            let line = |text: String| Line { who: who.clone(), text };
            let mut lines = vec![line(format!("refused: {:?}", refusal.code))];
            if let Some(witness) = &refusal.witness {
                lines.push(line(format!("for example {}", flow::witness::render(witness))));
            }
            lines
        }
        _ => Vec::new(),
    }
}

/// How it ended, if it did.
pub fn ended(state: State, detail: u64) -> Option<String> {
    match state {
        State::Exited if detail == 101 => Some("ended by a panic".to_owned()),
        State::Exited => Some(format!("ended with code {detail}")),
        State::Killed => Some("was killed".to_owned()),
        State::Faulted => {
            let known = FAULTS.iter().find(|(vector, _)| *vector == detail);
            let what = known.map_or(String::new(), |(_, what)| format!(": {what}"));
            Some(format!("ended by exception {detail}{what}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, ended, told};
    use crate::roster::Roster;
    use abi::record::Record;
    use abi::start::State;
    use std::io::Write;

    fn roster() -> Roster {
        let mut roster = Roster::default();
        let name = "hello".to_owned();
        let state = State::Runnable;
        let record = Record::Environment { id: 4, name, state, detail: 0 };
        roster.take(record, &abi::start::Manifest::default());
        roster
    }

    #[test]
    fn whole_lines_come_once_under_the_name_of_who_said_them() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut log = Log::new(file.path(), false);
        let mut more = |text: &str| {
            file.write_all(text.as_bytes()).unwrap();
            let lines = log.more(&roster()).unwrap();
            lines.into_iter().map(|l| format!("{}|{}", l.who, l.text)).collect::<Vec<_>>()
        };
        assert_eq!(more("[hello] one\r\n[hello] tw"), ["hello|one"]);
        assert_eq!(more("o\n[init] told to books\nINFO  x: y\n"), ["hello|two"]);
        let fault = "WARN  k::kernel: environment 4: exception 14 at 0x40, error 0x4\n";
        assert_eq!(more(fault), ["hello|exception 14 at 0x40, error 0x4"]);
        assert_eq!(more("[hello] panic: no at src/main.rs:3:4\n").len(), 1);
        assert_eq!(more("kernel panic: here\n"), ["kernel|kernel panic: here"]);
        assert_eq!(more(""), [""; 0]);
        let mut all = Log::new(file.path(), true);
        assert_eq!(all.more(&roster()).unwrap().len(), 7);
    }

    #[test]
    fn every_end_has_its_words() {
        assert_eq!(ended(State::Exited, 3).unwrap(), "ended with code 3");
        assert!(ended(State::Exited, 101).unwrap().contains("panic"));
        assert!(ended(State::Faulted, 14).unwrap().contains("memory"));
        assert!(ended(State::Faulted, 99).unwrap().contains("99"));
        assert!(ended(State::Killed, 0).is_some());
        assert!(ended(State::Waiting, 0).is_none());
    }

    #[test]
    fn an_ash_speaks_under_its_owners_name() {
        let record = Record::Printed { binding: 9, environment: 4, line: b"seen".to_vec() };
        let lines = told(&record, &roster());
        assert_eq!((lines.len(), lines[0].text.as_str()), (1, "seen"));
    }
}
