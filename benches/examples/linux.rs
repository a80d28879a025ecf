//! The host's kernel as a process: verdicts and runs for whoever has programs, line by line.
//!
//! Standard input: `map KIND KEY VALUE ENTRIES READ_ONLY INITIAL` (numbers; bytes in hexadecimal,
//! `-` for none) for each map of the next program, then `load BYTES`, then any number of
//! `run FRAME`. Standard output: one line for each `load` (`accepted MICROS PROCESSED`,
//! `refused MICROS PROCESSED REASON`, or `failed REASON`) and for each `run` (`RESULT FRAME`, or
//! `failed REASON`). Without a kernel that lets us: `absent`, and the end.

use std::io::{BufRead, Write};

use ebpf::{Kind, MapKind, MapName, MapSpec};
use sluice_benches::peers::linux::{Filled, Linux, Loaded};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let Some(linux) = Linux::here() else { return writeln!(out, "absent") };
    let (mut maps, mut loaded) = (Vec::new(), None);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["map", ref rest @ ..] => {
                let Some(map) = map(rest) else { return writeln!(out, "failed bad map") };
                maps.push(map);
            }
            ["load", bytes] => {
                let answer = load(linux, bytes, &std::mem::take(&mut maps), &mut loaded);
                writeln!(out, "{}", answer.unwrap_or_else(|error| format!("failed {error}")))?;
            }
            ["run", frame] => writeln!(out, "{}", run(loaded.as_ref(), frame))?,
            _ => writeln!(out, "failed unknown line")?,
        }
        out.flush()?;
    }
    Ok(())
}

fn map(words: &[&str]) -> Option<Filled> {
    let [kind, key, value, entries, read_only, initial] = words else { return None };
    let spec = MapSpec {
        kind: MapKind::from_number(kind.parse().ok()?)?,
        key_size: key.parse().ok()?,
        value_size: value.parse().ok()?,
        max_entries: entries.parse().ok()?,
        read_only: *read_only == "1",
        name: MapName::default(),
    };
    Some(Filled { spec, initial: hex(initial)? })
}

fn load(
    linux: Linux,
    bytes: &str,
    maps: &[Filled],
    loaded: &mut Option<Loaded>,
) -> Result<String, Box<dyn std::error::Error>> {
    *loaded = None;
    let bytes = hex(bytes).ok_or("bad bytes")?;
    let program = ebpf::decode(&bytes, Kind::Ash, ebpf::limits::HOST_SLOTS)?;
    let verdict = linux.load(&program, maps)?;
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let spent = format!("{} {}", number(verdict.micros()), number(verdict.processed()));
    let reason = verdict.reason().unwrap_or_default().to_owned();
    Ok(match verdict.program {
        Ok(program) => {
            *loaded = Some(program);
            format!("accepted {spent}")
        }
        Err(error) => format!("refused {spent} {reason} ({error})"),
    })
}

fn run(loaded: Option<&Loaded>, frame: &str) -> String {
    let (Some(program), Some(frame)) = (loaded, hex(frame)) else {
        return "failed nothing to run".to_owned();
    };
    match program.run(&frame) {
        Ok((result, after)) => {
            let after: String = after.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{result} {after}")
        }
        Err(error) => format!("failed {error}"),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}
