//! `sluice evidence NAME`: one measurement behind one claim, printed as a table.

use abi::start::State;

use crate::build::{self, BuildError, Image};
use crate::demo;
use crate::lifecycle;
use crate::machine::{Machine, MachineError, Options};
use crate::oracles::{self, Oracle};
use crate::progress::Progress;
use crate::roundtrip::{self, Measured, Stage};
use crate::soundness::Campaign;
use crate::starvation::{self, Outcome};
use crate::{
    attacks, clients, crowd, http, limits, linux, newcomer, papers, proving, soak, stages,
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Guest instructions for an echo by the ASH and by the library OS, with 1, 4 and 16 runnable.
    Instructions,
    /// Every attack of the hostile library OS; written to `docs/evidence/attacks.md`.
    Attacks,
    /// Boots with every size of memory, up to one with everybody and beyond;
    /// `docs/evidence/memory.md`.
    Memory,
    /// Boots in which the n-th reservation fails; `docs/evidence/reservations.md`.
    Reservations,
    /// 10,000 lives, and 1,000 kills in the middle of a call: the books are as they were;
    /// `docs/evidence/lifecycle.md`.
    Lifecycle,
    /// The papers' tables, with a Linux guest beside Sluice; `docs/evidence/papers.md`.
    Papers,
    /// What a UDP echo costs, with 1 to 32 others runnable and a Linux guest beside Sluice;
    /// `docs/evidence/roundtrip.md` and two plots.
    Roundtrip,
    /// What an HTTP request costs, with nginx on a Linux guest beside Sluice;
    /// `docs/evidence/http.md`.
    Http,
    /// Where a UDP echo's instructions go, by stage; `docs/evidence/stages.md`.
    Stages,
    /// What finding a packet's owner costs in the kernel, from a few filters to 10,000;
    /// `docs/evidence/classify.md`.
    Classify,
    /// How long a ping waits while programs as long as programs may be are proven;
    /// `docs/evidence/proving.md`.
    Proving,
    /// Every XDP program of a folder of objects, beside Linux and PREVAIL;
    /// `docs/evidence/objects.md`.
    Objects,
    /// Generated programs against the oracles; `docs/evidence/fuzz.md`.
    Fuzz,
    /// Refusals of programs that are safe on all samples, beside the host's kernel;
    /// `docs/evidence/refusals.md`.
    Refusals,
    /// Changed verifiers against the tests; `docs/evidence/mutants.md`.
    Mutants,
    /// The public conformance suite in both engines; `docs/evidence/conformance.md`.
    Conformance,
    /// Time and memory of proofs, by the size of programs; `docs/evidence/growth.md` and two plots.
    Growth,
    /// Insertion into the proof index at up to a million filters; `docs/evidence/ownership.md`.
    Ownership,
    /// Disjointness and containment against Z3; `docs/evidence/disjoint.md`.
    Disjoint,
    /// Expressions against tcpdump's own programs; `docs/evidence/tcpdump.md`.
    Tcpdump,
    /// Finding a frame's owner beside the peers; `docs/evidence/demux.md`, `.csv` and `.svg`.
    Demux,
    /// Handlers' native code beside other compilers; `docs/evidence/ashs.md`.
    Ashs,
    /// Generated code with a byte changed, shown to the checker; `docs/evidence/checker.md`. Goes
    /// on where it stood; `SLUICE_MINUTES` says for how long.
    Checker,
    /// Merged filters against the same one by one; `docs/evidence/merged.md`. Goes on as `checker`.
    Merged,
    /// Generated programs on sixteen packets each, in native code and in the interpreter;
    /// `docs/evidence/native.md`. Goes on as `checker`.
    Native,
    /// Programs that people have, on a tap device; root only; `docs/evidence/clients.md`.
    Clients,
    /// From a fresh clone to a service of one's own that answers, timed;
    /// `docs/evidence/newcomer.md`.
    Newcomer,
    /// Services under load with an adversary beside, `--minutes` long; `docs/evidence/soak.md`.
    Soak,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// There is nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine did not do its part.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The Linux guest beside it did not do its part.
    #[error(transparent)]
    Linux(#[from] linux::PeerError),
    /// The report could not be written.
    #[error("writing the report: {0}")]
    Report(#[from] std::io::Error),
    /// What was measured is not as it must be.
    #[error("{count} of {what} did not end as they must")]
    Failed {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
}

impl Name {
    /// The campaign that this is, if it needs no machine.
    pub fn campaign(self) -> Option<Campaign> {
        match self {
            Name::Fuzz => Some(Campaign::Fuzz),
            Name::Refusals => Some(Campaign::Refusals),
            Name::Mutants => Some(Campaign::Mutants),
            Name::Conformance => Some(Campaign::Conformance),
            Name::Growth => Some(Campaign::Growth),
            _ => None,
        }
    }
}

impl Name {
    /// The oracle of one crate that this is, if it is one.
    pub const fn oracle(self) -> Option<Oracle> {
        match self {
            Name::Ownership => Some(oracles::OWNERSHIP),
            Name::Disjoint => Some(oracles::DISJOINT),
            Name::Tcpdump => Some(oracles::TCPDUMP),
            Name::Demux => Some(oracles::DEMUX),
            Name::Ashs => Some(oracles::ASHS),
            Name::Checker => Some(oracles::CHECKER),
            Name::Merged => Some(oracles::MERGED),
            Name::Native => Some(oracles::NATIVE),
            _ => None,
        }
    }
}

/// Measures and prints.
///
/// # Errors
/// [`EvidenceError`].
pub fn run(name: Name, machine: &Options, log: &str, minutes: u64) -> Result<(), EvidenceError> {
    if let Some(oracle) = name.oracle() {
        return oracle.run();
    }
    if name == Name::Newcomer {
        return newcomers_way();
    }
    let image = build::image()?;
    match name {
        Name::Instructions => {
            let progress = Progress::spinner("counting instructions");
            let machine = Machine::boot(&image, &demo::counting_options(machine, log))?;
            machine.wait_ready()?;
            let rows = demo::table(&machine, &image.manifest, |row| progress.now(row))?;
            let stages = demo::stages(&machine)?;
            progress.done("done");
            for line in demo::print(&rows).into_iter().chain(demo::print_stages(&stages)) {
                println!("{line}");
            }
            machine.halt(0)?;
            Ok(())
        }
        Name::Attacks => attack(&image, machine, log),
        Name::Memory => memory(&image, machine),
        Name::Reservations => reservations(&image, machine),
        Name::Papers => papers(&image, machine, log),
        Name::Roundtrip => roundtrip(&image, machine),
        Name::Http => requests(&image, machine),
        Name::Stages => by_stage(&image, machine),
        Name::Classify => by_filters(&image, machine),
        Name::Proving => while_proving(&image, machine),
        Name::Lifecycle => lives(&Machine::boot(&image, machine)?, machine),
        Name::Clients => clients::evidence(&image, machine, &made(machine, None)),
        Name::Soak => soak::evidence(&image, machine, minutes, &made(machine, None)),
        // Those that need no machine: `Name::campaign`, and the command itself.
        Name::Fuzz | Name::Refusals | Name::Mutants | Name::Objects => Ok(()),
        Name::Conformance | Name::Growth | Name::Newcomer => Ok(()),
        Name::Ownership | Name::Disjoint | Name::Tcpdump => Ok(()),
        Name::Demux | Name::Ashs | Name::Checker | Name::Merged | Name::Native => Ok(()),
    }
}

fn attack(image: &Image, options: &Options, log: &str) -> Result<(), EvidenceError> {
    let progress = Progress::spinner("attacking");
    let options = Options { words: format!("log={log}"), ..options.clone() };
    let machine = Machine::boot(image, &options)?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    let verdicts = attacks::run(&machine, "attacks", |verdict| {
        progress.now(&verdict.name);
        if !verdict.passed {
            println!("FAIL {} ({}): {}", verdict.name, verdict.family, verdict.outcome);
        }
    })?;
    progress.done("done");
    for (family, all, stopped) in attacks::families(&verdicts) {
        println!("{family:<14} {stopped:>4} of {all:>4} stopped");
    }
    let board = format!("{:?}", options.board).to_lowercase();
    let path = attacks::write("attacks.md", &attacks::report(&verdicts, &board))?;
    println!("{} attacks; {}", verdicts.len(), path.display());
    machine.halt(0)?;
    judged(verdicts.iter().filter(|verdict| !verdict.passed).count(), "attacks")
}

fn memory(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let sizes = limits::STARVED_MIB.chain(limits::FED_MIB);
    let rows = starvation::sizes(image, options, sizes, |mib, outcome| {
        println!("{mib:>4} MiB: {outcome}");
    })?;
    let title = "Boots with little memory, in MiB";
    let text = starvation::report(title, "cargo run -- evidence memory", &rows);
    finished("memory.md", &text, &rows)
}

fn reservations(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let numbers = starvation::numbers(limits::RESERVATIONS_DENSE, limits::RESERVATIONS_PART);
    let rows = starvation::reservations(image, options, numbers, |number, outcome| {
        println!("{number:>6}: {outcome}");
    })?;
    let title = "Boots in which the n-th reservation fails, n dense up to 40, then in steps of 5 %";
    let text = starvation::report(title, "cargo run -- evidence reservations", &rows);
    finished("reservations.md", &text, &rows)
}

fn lives(machine: &Machine, options: &Options) -> Result<(), EvidenceError> {
    machine.wait_ready()?;
    let outcome = lifecycle::run(machine, &lifecycle::ALL)?;
    let board = format!("{:?}", options.board).to_lowercase();
    let text = lifecycle::report(&outcome, &lifecycle::ALL, &board);
    println!("{text}");
    println!("{}", attacks::write("lifecycle.md", &text)?.display());
    machine.halt(0)?;
    judged(usize::from(!outcome.is_clean()), "the books")
}

fn papers(image: &Image, options: &Options, log: &str) -> Result<(), EvidenceError> {
    let counting = demo::counting_options(options, log);
    let machine = Machine::boot(image, &counting)?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    let (mut reports, mut failed) = (Vec::new(), 0);
    for who in papers::RESIDENTS {
        let ending = papers::run(&machine, who)?;
        failed += usize::from((ending.state, ending.detail) != (State::Exited, 0));
        reports.extend(ending.reports);
    }
    machine.halt(0)?;
    let peer = peer()?;
    let mut figures = Vec::new();
    if let Some(peer) = &peer {
        let progress = Progress::spinner("the same on Linux");
        figures = peer.papers(&counting)?;
        progress.done("done");
    }
    let made = made(options, peer.as_ref());
    let text = papers::report(&reports, &figures, &made);
    println!("{text}");
    println!("{}", attacks::write("papers.md", &text)?.display());
    judged(failed, "programs that measure")
}

fn roundtrip(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let peer = peer()?;
    let stage = Stage { image, options, peer: peer.as_ref() };
    let progress = Progress::spinner("round trips");
    let now = |what: &str| progress.now(what);
    let steady = stage.steady(now)?;
    let counted = stage.counted(now)?;
    let timed = stage.timed(now)?;
    progress.done("done");
    let all = Measured { steady, counted, timed };
    let (text, plots) = roundtrip::report(&all, &made(options, peer.as_ref()));
    println!("{text}");
    for (name, svg) in &plots {
        attacks::write(name, svg)?;
    }
    println!("{}", attacks::write("roundtrip.md", &text)?.display());
    Ok(())
}

fn requests(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let (nginx, skipped) = match linux::web_peer() {
        Ok(peer) => (Some(peer), None),
        Err(missing @ BuildError::Missing { .. }) => (None, Some(missing.to_string())),
        Err(other) => return Err(other.into()),
    };
    let progress = Progress::spinner("requests");
    let rows = http::run(image, options, nginx.as_ref(), |who| progress.now(who))?;
    progress.done("done");
    let text = http::report(&rows, &made(options, nginx.as_ref()), skipped.as_deref());
    println!("{text}");
    println!("{}", attacks::write("http.md", &text)?.display());
    Ok(())
}

fn newcomers_way() -> Result<(), EvidenceError> {
    let (progress, load) = (Progress::spinner("a newcomer"), newcomer::load());
    let steps = newcomer::run(|what| progress.now(what))?;
    progress.done("done");
    let text = newcomer::report(&steps, &load);
    println!("{text}");
    println!("{}", attacks::write("newcomer.md", &text)?.display());
    Ok(())
}

fn by_stage(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let progress = Progress::spinner("counting each instruction");
    let all = stages::run(image, options)?;
    progress.done("done");
    let text = stages::report(&all, &format!("{:?}", options.board).to_lowercase());
    println!("{text}");
    println!("{}", attacks::write("stages.md", &text)?.display());
    Ok(())
}

fn by_filters(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let progress = Progress::spinner("classifying among ever more filters");
    let rows = crowd::run(image, options, |what| progress.now(what))?;
    progress.done("done");
    let text = crowd::report(&rows, &format!("{:?}", options.board).to_lowercase());
    println!("{text}");
    println!("{}", attacks::write("classify.md", &text)?.display());
    judged(usize::from(!crowd::is_flat(&rows)), "the tables' rows")
}

fn while_proving(image: &Image, options: &Options) -> Result<(), EvidenceError> {
    let progress = Progress::spinner("pinging while programs are proven");
    let outcome = proving::run(image, options, |what| progress.now(what))?;
    progress.done("done");
    let text = proving::report(&outcome, &format!("{:?}", options.board).to_lowercase());
    println!("{text}");
    println!("{}", attacks::write("proving.md", &text)?.display());
    Ok(())
}

/// The Linux guest; without one the command that would get it is shown.
fn peer() -> Result<Option<linux::Peer>, EvidenceError> {
    match linux::peer() {
        Ok(peer) => Ok(Some(peer)),
        Err(missing @ BuildError::Missing { .. }) => {
            eprintln!("The Linux side is left out: {missing}");
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

/// What the measurements were made on.
fn made(options: &Options, peer: Option<&linux::Peer>) -> String {
    let board = format!("{:?}", options.board).to_lowercase();
    let linux = peer.map_or_else(
        || "No Linux guest was to be had beside it.".to_owned(),
        |peer| format!("Linux {}.", peer.release()),
    );
    format!("Board {board}, {} MiB. {linux}", options.memory_mib)
}

fn finished(name: &str, text: &str, rows: &[(u64, Outcome)]) -> Result<(), EvidenceError> {
    println!("{}", attacks::write(name, text)?.display());
    judged(rows.iter().filter(|(_, outcome)| !outcome.is_fine()).count(), "boots")
}

fn judged(count: usize, what: &'static str) -> Result<(), EvidenceError> {
    if count == 0 { Ok(()) } else { Err(EvidenceError::Failed { count, what }) }
}
