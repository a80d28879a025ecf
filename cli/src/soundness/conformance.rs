//! The public conformance suite, through `sluice exec` as through any other plugin of it.
//!
//! The suite is a folder of `.data` files (bpf_conformance): a program in assembly or as 64-bit
//! words, a buffer, and the result or the error that must come of it. Each case is a process of
//! this tool for the interpreter and one for native code. The assembler is ours; what it makes of a
//! program is what the plugin gets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ebpf::{Kind, Program};

use super::campaign::Extent;
use crate::attacks;
use crate::evidence::EvidenceError;
use crate::progress::Progress;

/// The engines, and the option that asks for them.
const ENGINES: [(&str, Option<&str>); 2] = [("interpreter", None), ("native code", Some("--jit"))];

/// A case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Case {
    assembly: String,
    words: String,
    memory: String,
    result: Option<u64>,
    error: bool,
}

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    let Some(folder) = &extent.suite else {
        println!("skipped: bpf_conformance is not here; its `tests` folder goes behind `--suite`");
        return Ok(());
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "data"));
    files.sort();
    let progress = Progress::parts("conformance", files.len() as u64);
    let (mut passed, mut failures) = ([0; ENGINES.len()], Vec::new());
    for path in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        progress.now(&name);
        let case = parse(&std::fs::read_to_string(path)?);
        for ((engine, option), count) in ENGINES.iter().zip(&mut passed) {
            match judge(&case, *option)? {
                None => *count += 1,
                Some(what) => failures.push(format!("{name}, {engine}: {what}")),
            }
        }
    }
    progress.done("done");
    let text = report(folder, files.len(), passed, &failures);
    println!("{text}");
    println!("{}", attacks::write("conformance.md", &text)?.display());
    match failures.len() {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "cases" }),
    }
}

/// Reads a `.data` file: sections that begin with `--`, comments with `#`.
fn parse(text: &str) -> Case {
    let mut case = Case::default();
    let mut section = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("--") {
            section = name.trim();
            case.error |= section == "error";
            continue;
        }
        let line = line.split('#').next().unwrap_or_default();
        match section {
            "asm" => case.assembly.extend([line, "\n"]),
            "raw" => case.words.extend([line, "\n"]),
            "mem" => case.memory.extend([line, " "]),
            "result" if !line.trim().is_empty() => case.result = number(line.trim()),
            _ => {}
        }
    }
    case
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The program's bytes. Words are of 64 bits each, or bytes if none has more than two digits.
fn program(case: &Case) -> Option<Vec<u8>> {
    if case.words.trim().is_empty() {
        let insns = ebpf::asm::assemble(&case.assembly).ok()?;
        return Some(ebpf::encode(&Program::from_insns(Kind::Memory, insns).ok()?));
    }
    let digits: Vec<&str> =
        case.words.split_whitespace().map(|word| word.trim_start_matches("0x")).collect();
    let words: Option<Vec<u64>> =
        digits.iter().map(|digits| u64::from_str_radix(digits, 16).ok()).collect();
    let bytes = |word: u64| match digits.iter().all(|digits| digits.len() <= 2) {
        true => vec![word as u8],
        false => word.to_le_bytes().to_vec(),
    };
    Some(words?.into_iter().flat_map(bytes).collect())
}

/// What is wrong with an engine's answer. What does not assemble is an error like any other.
fn judge(case: &Case, option: Option<&str>) -> Result<Option<String>, EvidenceError> {
    let Some(bytes) = program(case) else {
        return Ok((!case.error).then(|| "does not assemble".to_owned()));
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("exec").args(option);
    if !case.memory.trim().is_empty() {
        command.arg(case.memory.trim());
    }
    let piped = || Stdio::piped();
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
    let digits: String = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x} ");
        text
    });
    if let Some(mut input) = child.stdin.take() {
        input.write_all(digits.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let got = output.status.success().then(|| u64::from_str_radix(&said, 16).ok()).flatten();
    let right = match (case.result, case.error) {
        (Some(result), _) => got == Some(result),
        (None, error) => error && !output.status.success(),
    };
    let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Ok((!right).then(|| format!("`{said}` instead of {:x?} {complaint}", case.result)))
}

fn report(folder: &Path, cases: usize, passed: [usize; 2], failures: &[String]) -> String {
    let revision = Command::new("git")
        .args(["log", "-1", "--format=%h of %cs", "--", "."])
        .current_dir(folder)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .filter(|text| !text.is_empty());
    let revision = revision.map_or(String::new(), |text| format!(" (its commit {text})"));
    let mut text = String::from("# The public conformance suite\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence conformance --suite DIR`, commit {}: {cases} cases of \
         bpf_conformance{revision}, each through `sluice exec`.\n",
        attacks::commit()
    );
    text.push_str("| engine | cases | passed |\n|---|---|---|\n");
    for ((engine, _), passed) in ENGINES.iter().zip(passed) {
        let _ = writeln!(text, "| {engine} | {cases} | {passed} |");
    }
    for failure in failures {
        let _ = writeln!(text, "\n- {failure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Case, parse, program};

    #[test]
    fn a_file_is_a_case() {
        let text = "# C\n-- asm\nmov %r0, 1 # one\nexit\n-- mem\n01 02\n-- result\n0x1\n";
        let case = parse(text);
        assert_eq!((case.result, case.error), (Some(1), false));
        assert_eq!(case.memory.trim(), "01 02");
        assert_eq!(program(&case).unwrap().len(), 16);
        let case = parse("-- asm\nnonsense\n-- error\nwhy\n");
        assert!(case.error && case.result.is_none() && program(&case).is_none());
        assert_eq!(parse("-- result\n12\n").result, Some(12));
    }

    #[test]
    fn raw_programs_are_words_or_bytes() {
        let raw = |words: &str| program(&Case { words: words.to_owned(), ..Case::default() });
        assert_eq!(raw("0x95").unwrap(), [0x95]);
        assert_eq!(raw("0x0000000000000095").unwrap(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(raw("zz"), None);
    }
}
