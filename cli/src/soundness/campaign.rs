//! What campaigns share: their extent, their choices, the file that they go on from.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::build;
use crate::evidence::EvidenceError;

/// How far a campaign goes. Without a limit each campaign has one of its own.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Extent {
    /// Programs (or mutants) in all, those of earlier calls included.
    #[arg(long)]
    pub programs: Option<u64>,
    /// Hours that this call may take.
    #[arg(long)]
    pub hours: Option<f64>,
    /// Where all choices come from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What is done at the same time: processes of `fuzz`, copies of the tree of `mutants`.
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// `fuzz` only: processor minutes of each libFuzzer target, those of earlier calls included.
    #[arg(long, value_name = "MINUTES")]
    pub each: Option<f64>,
    /// `conformance` only: the suite's folder of `.data` files.
    #[arg(long, value_name = "DIR")]
    pub suite: Option<PathBuf>,
    /// `fuzz`'s own: only `--programs` of them from this one on, and what came of it as JSON.
    #[arg(long, hide = true)]
    pub first: Option<u64>,
}

impl Extent {
    /// When this call must end, if it must.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hours = self.hours.filter(|hours| hours.is_finite() && *hours >= 0.0)?;
        Some(Instant::now() + Duration::from_secs_f64((hours * 3600.0).min(1e6)))
    }

    /// Whether a campaign that has done so many goes on.
    pub(super) fn goes_on(&self, done: u64, otherwise: u64, deadline: Option<Instant>) -> bool {
        let most = match (self.programs, deadline) {
            (Some(programs), _) => programs,
            (None, Some(_)) => u64::MAX,
            (None, None) => otherwise,
        };
        done < most && deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// The commit that changed a path last.
pub(super) fn last(path: &str) -> String {
    let output = Command::new("git")
        .args(["log", "-1", "--abbrev=12", "--format=%h", "--", path])
        .current_dir(build::workspace())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The commit that is being judged; `-dirty` if the verifier's sources are not as committed.
pub(super) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(build::workspace()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned());
    let judged = ["status", "--porcelain", "--", "verifier", "ebpf", "dpf", "runtime"];
    match git(&judged) {
        Ok(changes) if changes.is_empty() => head,
        _ => format!("{head}-dirty"),
    }
}

fn path(name: &str, seed: u64) -> PathBuf {
    build::workspace().join(format!("target/evidence/{name}-{seed}.json"))
}

/// What an earlier call left, if it was about the same commit.
pub(super) fn load<T: DeserializeOwned>(name: &str, seed: u64, commit: &str) -> Option<T> {
    let text = std::fs::read_to_string(path(name, seed)).ok()?;
    let (about, state): (String, T) = serde_json::from_str(&text).ok()?;
    (about == commit).then_some(state)
}

/// Leaves it for the next call.
///
/// # Errors
/// The file cannot be written.
pub(super) fn save<T: Serialize>(
    name: &str,
    seed: u64,
    commit: &str,
    state: &T,
) -> Result<(), EvidenceError> {
    let path = path(name, seed);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let text = serde_json::to_string(&(commit, state)).map_err(std::io::Error::other)?;
    // Replaced in one step, so that a call that is killed leaves the old one.
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    Ok(std::fs::rename(next, path)?)
}

/// Does the same so many times at once, each with its number; the first error, when all have ended.
pub(super) fn side_by_side(
    jobs: usize,
    work: impl Fn(usize) -> Result<(), EvidenceError> + Sync,
) -> Result<(), EvidenceError> {
    std::thread::scope(|scope| {
        let work = &work;
        let spawn = |job| scope.spawn(move || work(job));
        let workers: Vec<_> = (0..jobs.max(1)).map(spawn).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        let gone = || std::io::Error::other("a worker panicked").into();
        joined.map(|ended| ended.unwrap_or_else(|_| Err(gone()))).fold(Ok(()), Result::and)
    })
}

/// Locks what no panic can leave broken.
pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Choices (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Those of the `index`-th program of a campaign.
    pub(super) fn new(seed: u64, index: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ index);
        let start = random.next();
        Random(start)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Processor seconds of this process so far.
pub(super) fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

/// `12,345`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of so many, in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::{Extent, Random, grouped};

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let pairs = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (number, text) in pairs {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_seed_and_an_index_fix_the_choices() {
        let choices = |seed, index| Random::new(seed, index).bytes(33);
        assert_eq!(choices(1, 2), choices(1, 2));
        assert_ne!(choices(1, 2), choices(1, 3));
        assert_ne!(choices(1, 2), choices(2, 2));
        assert_eq!(choices(7, 7).len(), 33);
    }

    #[test]
    fn the_first_limit_ends_a_campaign() {
        let extent = Extent { programs: Some(5), ..Extent::default() };
        assert!(extent.goes_on(4, 0, None) && !extent.goes_on(5, 100, None));
        let nothing = Extent::default();
        assert!(nothing.goes_on(9, 10, None) && !nothing.goes_on(10, 10, None));
        let spent = Extent { hours: Some(0.0), ..Extent::default() };
        assert!(!spent.goes_on(0, 10, spent.deadline()));
    }
}
