//! Evidence that needs no machine: a test or a bench of one crate, at its full extent.
//!
//! Each oracle is a program that cargo builds and runs; it prints its table as Markdown, which goes
//! to `docs/evidence/` under the commit that it was made from. Where a run leaves its counts the
//! next goes on from them.

use std::path::PathBuf;
use std::process::Command;

use crate::attacks;
use crate::build;
use crate::evidence::EvidenceError;

/// What is asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oracle {
    name: &'static str,
    title: &'static str,
    /// What the numbers are about.
    notes: &'static str,
    cargo: &'static [&'static str],
    /// Of its environment: name and value.
    extent: &'static [(&'static str, &'static str)],
    /// Whether the counts stay in `target/evidence/` for the next run.
    resumes: bool,
    /// Whether it writes its own report.
    writes: bool,
}

/// The proof index: insertion and removal at up to a million filters.
pub const OWNERSHIP: Oracle = Oracle {
    name: "ownership",
    title: "Proving a filter inside its grant and apart from all others, times in microseconds",
    notes: "Thread CPU time; the heap in pages of 2 MiB, as the kernel maps its own.\n\n\
        `insert`: filters from all over the world taken out, all of them, their claims proven \
        anew, and then taken in again: placement (containment and disjointness), `own`, commit. \
        `new`: the last 4,000 that the world grew by, fresh memory included. `moved at once`: most \
        bytes moved by one entry in one table; `moved`: by a whole filter; `probes`: most look-ups \
        of one filter (rules x shapes); `nodes`: most nodes of trees looked at. Last columns: the \
        linear scan and Open vSwitch's way for one filter, as multiples of the p50.",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "ownership"],
    // Pages of 2 MiB for the heap, as the kernel maps its own: with 4 KiB each look at memory that
    // is in no cache costs a walk of the page tables as well, which is not the index's.
    extent: &[("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")],
    resumes: false,
    writes: false,
};

/// Finding a frame's owner beside the peers: the bench writes `demux.md`, `.csv` and `.svg`.
pub const DEMUX: Oracle = Oracle {
    name: "demux",
    title: "Finding a frame's owner, beside the peers",
    notes: "",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "demux"],
    extent: &[],
    resumes: false,
    writes: true,
};

/// Handlers' native code beside the kernel's compiler and `rbpf`'s.
pub const ASHS: Oracle = Oracle {
    name: "ashs",
    title: "Handlers in native code, beside other compilers of the same bytecode",
    notes: "",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "ashs"],
    extent: &[],
    resumes: false,
    writes: false,
};

/// Wrong bytes in generated code against the checker.
pub const CHECKER: Oracle = Oracle {
    name: "checker",
    title: "Generated code with a byte changed, shown to the checker",
    notes: "",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "campaign", "--", "checker"],
    extent: &[],
    resumes: true,
    writes: false,
};

/// Merged filters against the same one by one, in any order, and the interpreted plan.
pub const MERGED: Oracle = Oracle {
    name: "merged",
    title: "Filters merged, against the same one by one, in any order, and the interpreted plan",
    notes: "",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "campaign", "--", "merged"],
    extent: &[],
    resumes: true,
    writes: false,
};

/// Generated programs in native code and in the interpreter.
pub const NATIVE: Oracle = Oracle {
    name: "native",
    title: "Generated programs on sixteen packets each, in native code and interpreted",
    notes: "",
    cargo: &["bench", "-p", "sluice-benches", "--bench", "campaign", "--", "native"],
    extent: &[],
    resumes: true,
    writes: false,
};

/// Disjointness and containment against Z3.
pub const DISJOINT: Oracle = Oracle {
    name: "disjoint",
    title: "Disjointness and containment against Z3, encoded from RFC 9669 alone",
    notes: "Pair number n is made from the seed `0xd15_0000_0000 + 2n + 1`; every sixth is a \
        filter and a grant. Whoever was taken in meets nobody, whoever was refused does, and both \
        programs accept the frame that was shown.\n\n\
        The share without an answer depends on what the filters are. In the mix half of the tests \
        are at constant places, a fifth behind IPv4 options, a tenth behind VLAN tags, a twentieth \
        each behind TCP options behind those, behind one IPv6 extension header, behind two, and of \
        the frame's length; a filter has one to four tests, or twice that, and each test a load of \
        1, 2 or 4 bytes, up to three steps of arithmetic and any comparison \
        (`verifier/tests/disjoint/filters.rs`). The second table has each place by itself, half of \
        the tests at constant places, without Z3. A filter without an exact claim is one that \
        takes more cases than a limit allows, which is named (decision 053): addresses behind two \
        headers are told apart by the first one's length, lengths under a mask are as many ranges. \
        A first IPv6 extension header longer than 32 bytes before a second is not in either.",
    cargo: &["test", "-p", "sluice-verifier", "--test", "disjoint", "--", "--nocapture"],
    extent: &[("SLUICE_PAIRS", "120000")],
    resumes: true,
    writes: false,
};

/// Expressions against tcpdump's own programs.
pub const TCPDUMP: Oracle = Oracle {
    name: "tcpdump",
    title: "Expressions against tcpdump's own programs, its optimiser off",
    notes: "",
    cargo: &["test", "-p", "sluice-flow", "--test", "tcpdump", "--", "--nocapture"],
    extent: &[("SLUICE_FRAMES", "10000")],
    resumes: false,
    writes: false,
};

impl Oracle {
    /// Asks and writes the table.
    ///
    /// # Errors
    /// [`EvidenceError::Failed`] if the oracle disagrees (its words are on standard error), or
    /// there is nobody to ask.
    pub fn run(&self) -> Result<(), EvidenceError> {
        let mut command = Command::new("cargo");
        command.args(self.cargo).envs(self.extent.iter().copied());
        command.current_dir(build::workspace());
        if self.resumes {
            let state = self.state();
            if let Some(folder) = state.parent() {
                std::fs::create_dir_all(folder)?;
            }
            command.env("SLUICE_STATE", state);
        }
        if self.writes {
            let ended = command.status()?.success();
            let failed = EvidenceError::Failed { count: 1, what: "benches" };
            return if ended { Ok(()) } else { Err(failed) };
        }
        let output = command.stderr(std::process::Stdio::inherit()).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let table = table(&printed);
        if !output.status.success() || table.is_empty() {
            println!("{printed}");
            return Err(EvidenceError::Failed { count: 1, what: "oracles" });
        }
        println!("{table}");
        let text = report(self, &table, &attacks::commit());
        println!("{}", attacks::write(&format!("{}.md", self.name), &text)?.display());
        Ok(())
    }

    fn state(&self) -> PathBuf {
        build::workspace().join(format!("target/evidence/{}.txt", self.name))
    }
}

/// The lines that are rows of a table, and those behind a colon: an empty one begins another table.
fn table(printed: &str) -> String {
    let kept = |line: &str| match line.strip_prefix(':') {
        Some(text) => Some(format!("{}\n", text.trim())),
        None => line.starts_with('|').then(|| format!("{line}\n")),
    };
    printed.lines().filter_map(kept).collect()
}

fn report(oracle: &Oracle, table: &str, commit: &str) -> String {
    let Oracle { name, title, notes, .. } = oracle;
    let notes = if notes.is_empty() { String::new() } else { format!("{notes}\n\n") };
    let made = format!("Made by `cargo run -- evidence {name}`, commit {commit}.");
    format!("# {title}\n\n{made}\n\n{notes}{table}")
}

#[cfg(test)]
mod tests {
    use super::{DISJOINT, report, table};

    #[test]
    fn rows_are_taken_from_what_is_printed() {
        let printed = "running 1 test\n| a | b |\n|---|---|\n| 1 | 2 |\ntest it ... ok\n";
        let rows = table(printed);
        assert_eq!(rows, "| a | b |\n|---|---|\n| 1 | 2 |\n");
        assert_eq!(table("| a |\n:\nno\n: words\n| b |\n"), "| a |\n\nwords\n| b |\n");
        let text = report(&DISJOINT, &rows, "0123");
        assert!(text.starts_with("# Disjointness") && text.ends_with("| 1 | 2 |\n"));
    }
}
