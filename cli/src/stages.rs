//! Where a packet's instructions go: the kernel's, function by function, put into stages.
//!
//! QEMU's plugin counts every address of the kernel while echoes run one after the other; the
//! kernel's own symbols turn addresses into functions, and [`STAGES`] turns functions into the
//! stages of a packet's way. Instructions outside of every function are generated code.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::attacks::commit;
use crate::build::{self, BuildError, Image};
use crate::demo;
use crate::limits;
use crate::linux::PeerError;
use crate::machine::{Counter, Machine, Options};
use crate::roundtrip::{Who, plugin, storm};

/// A stage, and what its functions' names contain; the first stage that fits has it.
const STAGES: [(&str, &[&str]); 8] = [
    (
        "driver: card, rings, interrupt",
        &["virtio", "bare::nic", "bare::trap", "trap_in_kernel", "bare::idle"],
    ),
    ("classify", &["dpf::engine", "native::dispatch"]),
    ("generated code: dispatcher, ASH, guard", &[GENERATED]),
    ("around generated code", &["native::", "dpf::load", "charge"]),
    ("reply and transmit", &["transmit", "flows"]),
    ("delivery: rings, wake-ups", &["kernel::ring", "deliver"]),
    ("exposed pages, books, clock", &["exposed", "frame::Frame", "books", "bare::time"]),
    ("packet path itself", &["packet::"]),
];
/// Everything else: calls, scheduling, the event loop.
const REST: &str = "calls, scheduling, event loop";
/// The name of what lies outside of every function.
const GENERATED: &str = "<generated>";

/// Functions that the report names one by one.
const NAMED: usize = 24;
/// As the plugin has it.
const WINDOW: usize = 1 << 23;
/// Bytes of the two counters in front of those of addresses.
const HEADER: usize = 16;
/// No function of the kernel is longer.
const FUNCTION_MAX: u64 = 128 << 10;

/// So many requests on their way.
const WINDOWS: [usize; 2] = [1, limits::WINDOW];

/// What one echo takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Who answers.
    pub who: Who,
    /// Requests on their way at once.
    pub window: usize,
    /// Where its instructions go.
    pub profile: Profile,
}

impl Column {
    fn name(&self) -> String {
        match self.window {
            1 => self.who.name().to_owned(),
            window => format!("{}, {window} at a time", self.who.name()),
        }
    }
}

/// Where instructions go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Ring 3, in thousandths of an instruction.
    pub ring3: u64,
    /// Each function of the kernel, in thousandths.
    pub functions: BTreeMap<String, u64>,
}

/// Counts for both of Sluice's echoes, one at a time and with a window.
///
/// # Errors
/// [`PeerError`].
pub fn run(image: &Image, options: &Options) -> Result<Vec<Column>, PeerError> {
    let symbols = symbols(&build::table(&image.kernel)?);
    let file = options.file("each");
    let counter = Counter { plugin: plugin()?, file, each: true };
    let options = Options { counter: Some(counter.clone()), ..options.clone() };
    let machine = Machine::boot(image, &options)?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    let mut all = Vec::new();
    for (who, window) in
        [Who::Ash, Who::Library].into_iter().flat_map(|who| WINDOWS.map(|w| (who, w)))
    {
        storm(&machine, who.port(), window, limits::WARMING)?;
        let before = counts(&counter)?;
        storm(&machine, who.port(), window, limits::AVERAGED)?;
        let after = counts(&counter)?;
        all.push(Column { who, window, profile: profile(&before, &after, &symbols) });
    }
    drop(machine);
    // It is large, and nobody looks at it again.
    let _ = std::fs::remove_file(&counter.file);
    Ok(all)
}

fn counts(counter: &Counter) -> Result<Vec<u64>, BuildError> {
    let failed = |source| BuildError::File { path: counter.file.clone(), source };
    let bytes = std::fs::read(&counter.file).map_err(failed)?;
    let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
    Ok(words.map(u64::from_ne_bytes).collect())
}

/// Functions by the lower bits of their addresses, of which the plugin counts by.
fn symbols(table: &str) -> BTreeMap<u64, String> {
    let entry = |line: &str| {
        let (address, name) = line.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some((address & ((1 << 30) - 1), name.to_owned()))
    };
    table.lines().filter_map(entry).collect()
}

fn profile(before: &[u64], after: &[u64], symbols: &BTreeMap<u64, String>) -> Profile {
    let thousandths = |count: u64| count * 1000 / limits::AVERAGED as u64;
    let ran = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before));
    let mut profile = Profile::default();
    let mut functions: BTreeMap<&str, u64> = BTreeMap::new();
    for (number, count) in ran.enumerate().filter(|(_, count)| *count > 0) {
        if number == 0 {
            profile.ring3 = thousandths(count);
        }
        let Some(address) = number.checked_sub(HEADER / 8) else { continue };
        let below = symbols.range(..=address as u64).next_back();
        let near = below.filter(|(at, _)| address < WINDOW && address as u64 - **at < FUNCTION_MAX);
        *functions.entry(near.map_or(GENERATED, |(_, name)| name)).or_default() += count;
    }
    let named = functions.into_iter().map(|(name, it)| (name.to_owned(), thousandths(it)));
    profile.functions = named.collect();
    profile
}

fn stage(function: &str) -> &'static str {
    let fits = |(_, parts): &&(&str, &[&str])| parts.iter().any(|part| function.contains(part));
    STAGES.iter().find(fits).map_or(REST, |(name, _)| name)
}

/// Instructions of a stage, in whole ones.
fn of_stage(profile: &Profile, wanted: &str) -> u64 {
    let own = profile.functions.iter().filter(|(name, _)| stage(name) == wanted);
    own.map(|(_, count)| count).sum::<u64>().div_ceil(1000)
}

/// The document.
#[must_use]
pub fn report(all: &[Column], board: &str) -> String {
    let mut text = String::from("# Guest instructions of a UDP echo, by stage\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence stages` on {board}, commit {}: {} echoes of 32 bytes, one \
         after the other or so many at a time, every instruction counted by a plugin of QEMU and \
         put down to its function; averages per echo. What a compiler has inlined counts where it \
         was put, and assembly without a symbol of its own for the function before it.\n",
        commit(),
        limits::AVERAGED
    );
    let names: Vec<String> = all.iter().map(Column::name).collect();
    let _ = writeln!(text, "| stage | {} |\n|---|{}", names.join(" | "), "---|".repeat(all.len()));
    let mut row = |name: &str, value: &dyn Fn(&Profile) -> u64| {
        let cells: Vec<String> = all.iter().map(|it| value(&it.profile).to_string()).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    for name in STAGES.iter().map(|(name, _)| *name).chain([REST]) {
        row(name, &|it| of_stage(it, name));
    }
    row("ring 3", &|it| it.ring3.div_ceil(1000));
    row("**all**", &|it| (it.functions.values().sum::<u64>() + it.ring3).div_ceil(1000));
    for column in all {
        let _ = writeln!(text, "\n## {}\n\n| function | instructions |\n|---|---|", column.name());
        let mut functions: Vec<(&String, &u64)> = column.profile.functions.iter().collect();
        functions.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        for (name, count) in functions.into_iter().take(NAMED) {
            let name = name.replace('|', "/");
            let _ = writeln!(text, "| `{name}` | {}.{} |", count / 1000, count % 1000 / 100);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        Column, GENERATED, HEADER, Profile, REST, WINDOW, profile, report, stage, symbols,
    };
    use crate::limits::AVERAGED;
    use crate::roundtrip::Who;

    #[test]
    fn counts_go_to_the_function_below_and_the_rest_is_generated() {
        let symbols = symbols("ffffffff80000004 kernel::packet::poll\nffffffff80000008 trap\n");
        let (before, mut after) = (vec![0; HEADER / 8 + 2 * WINDOW], Vec::new());
        after.extend_from_slice(&before);
        let each = AVERAGED as u64;
        after[0] = 3 * each;
        for (address, count) in [(2, 1), (4, 1), (7, 2), (8, 5), (WINDOW + 4, 7)] {
            after[HEADER / 8 + address] = count * each;
        }
        let Profile { ring3, functions } = profile(&before, &after, &symbols);
        assert_eq!(ring3, 3000);
        let functions: Vec<(&str, u64)> = functions.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        assert_eq!(functions, [(GENERATED, 8000), ("kernel::packet::poll", 3000), ("trap", 5000)]);
    }

    #[test]
    fn every_function_has_one_stage_and_the_sum_is_whole() {
        assert_eq!(stage("virtio_drivers::queue::VirtQueue<H,_>::add"), super::STAGES[0].0);
        assert_eq!(stage("sluice_kernel::packet::poll_card"), "packet path itself");
        assert_eq!(stage("memcpy"), REST);
        let functions = [("memcpy", 1500), (GENERATED, 2000)].map(|(n, c)| (n.to_owned(), c));
        let profile = Profile { ring3: 500, functions: functions.into() };
        let all = [Column { who: Who::Ash, window: 8, profile }];
        let text = report(&all, "q35");
        assert!(text.contains("| stage | Sluice, ASH, 8 at a time |"), "{text}");
        assert!(text.contains("| **all** | 4 |") && text.contains("| `memcpy` | 1.5 |"), "{text}");
        assert!(text.contains(&format!("| {REST} | 2 |")), "{text}");
    }
}
