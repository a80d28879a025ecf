//! How many programs that are safe on all sampled packets are refused, by us, by the host's kernel
//! and by PREVAIL, on the same set; and whether Linux runs the accepted ones as we do.
//!
//! Left out is what Linux refuses for reasons of its own, that no analysis could change: stack
//! accesses that are not aligned, constant divisors of zero, calls through registers.
//!
//! That a program did nothing wrong on the samples does not make it safe: the figures are upper
//! bounds of false refusals, and comparable only with each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::task::Poll;

use ebpf::interp::{self, World};
use ebpf::packet::{HEADROOM, PacketBuffer};
use ebpf::{AluOp, CallTarget, Insn, Kind, Operand, Program, Reg, Size, helper};
use runtime::helpers::Standard;
use runtime::map::{Map, MapSet};
use serde::{Deserialize, Serialize};
use verifier::{Fuel, Refusal, SafetyProof};

use super::campaign::{self, Extent, Random, grouped, percent};
use crate::attacks;
use crate::evidence::EvidenceError;
use crate::objects::linux::Linux;
use crate::objects::prevail::Prevail;
use crate::objects::write;
use crate::progress::Progress;

/// Programs of a call without a limit.
const PROGRAMS: u64 = 5_000;
const BATCH: u64 = 100;
/// Packets that each program runs on.
const SAMPLES: usize = 24;
/// Instructions of one run.
const BUDGET: u64 = 200_000;

/// What a campaign has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Done {
    generated: u64,
    /// Did nothing wrong on any sample.
    safe: u64,
    ours: Side,
    linux: Side,
    prevail: Side,
    /// Instructions of the safe programs, and the deep ones of them.
    slots: u64,
    deep: u64,
    /// Programs that one of the three accepts and that did something wrong on a sample.
    wrong: [u64; 3],
    /// Runs of programs that both accept, on Linux and in our interpreter; and those that differ.
    runs: u64,
    differ: Vec<u64>,
}

/// What one verifier said of the safe programs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Side {
    judged: u64,
    refused: u64,
    reasons: BTreeMap<String, u64>,
}

impl Side {
    fn share(&self) -> f64 {
        self.refused as f64 / self.judged.max(1) as f64
    }

    fn add(&mut self, refused: Option<String>) {
        self.judged += 1;
        if let Some(reason) = refused {
            self.refused += 1;
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    let (commit, deadline) = (campaign::commit(), extent.deadline());
    let mut done: Done = campaign::load("refusals", extent.seed, &commit).unwrap_or_default();
    let mut peers = Peers::start()?;
    let progress = Progress::spinner("programs judged");
    while extent.goes_on(done.generated, PROGRAMS, deadline) {
        one(&mut done, extent.seed, &mut peers)?;
        if done.generated.is_multiple_of(BATCH) {
            campaign::save("refusals", extent.seed, &commit, &done)?;
            progress.now(&format!("{}, {} safe", grouped(done.generated), grouped(done.safe)));
        }
    }
    campaign::save("refusals", extent.seed, &commit, &done)?;
    progress.done("done");
    let text = report(&done, extent.seed, &commit);
    println!("{text}");
    println!("{}", attacks::write("refusals.md", &text)?.display());
    match done.wrong[0] as usize + done.differ.len() {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "accepted programs" }),
    }
}

/// Who is asked beside ourselves.
struct Peers {
    linux: Option<Linux>,
    prevail: Option<(Prevail, tempfile::TempDir)>,
}

impl Peers {
    fn start() -> Result<Self, EvidenceError> {
        let linux = Linux::start();
        if let Err(why) = &linux {
            eprintln!("The host's kernel is left out: {why}");
        }
        let prevail = match Prevail::here() {
            Some(prevail) => Some((prevail, tempfile::tempdir()?)),
            None => {
                eprintln!("PREVAIL is left out: `PREVAIL` does not name its command");
                None
            }
        };
        Ok(Self { linux: linux.ok(), prevail })
    }

    /// PREVAIL's verdict.
    fn prevail(&self, program: &Program) -> Result<Option<bool>, EvidenceError> {
        let Some((prevail, folder)) = &self.prevail else { return Ok(None) };
        let file = folder.path().join("program.o");
        std::fs::write(&file, write::object(program).map_err(std::io::Error::other)?)?;
        Ok(prevail.accepts(&file, write::SECTION, write::NAME))
    }
}

fn one(done: &mut Done, seed: u64, peers: &mut Peers) -> Result<(), EvidenceError> {
    let mut random = Random::new(seed ^ 0x7ef5, done.generated);
    done.generated += 1;
    let length = 40 + random.below(360) as usize;
    let bytes = random.bytes(length);
    let program = ebpf::fuzzing::rich_program_from_bytes(Kind::Ash, &bytes);
    let Some(program) = program.filter(|program| !program.insns().iter().any(is_ours)) else {
        return Ok(());
    };
    let safe = is_safe(&program, &mut random);
    let ours = refused(&program).map(|refusal| reason(&refusal));
    let prevail = peers.prevail(&program)?;
    let theirs = match &mut peers.linux {
        Some(linux) => {
            let verdict = linux.judge_program(&program).map_err(std::io::Error::other)?;
            if verdict.accepted && ours.is_none() && repeats(&program) {
                compare(done, linux, &program, &mut random)?;
            }
            Some(verdict)
        }
        None => None,
    };
    if !safe {
        done.wrong[0] += u64::from(ours.is_none());
        done.wrong[1] += u64::from(theirs.is_some_and(|verdict| verdict.accepted));
        done.wrong[2] += u64::from(prevail == Some(true));
        if ours.is_none() {
            let text = ebpf::disasm::disassemble(&program);
            eprintln!("program {}: accepted, and goes wrong\n{text}", done.generated - 1);
        }
        return Ok(());
    }
    done.safe += 1;
    done.slots += program.len() as u64;
    done.deep += dpf::fuzzing::deep(&program) as u64;
    done.ours.add(ours);
    if let Some(verdict) = theirs {
        done.linux.add((!verdict.accepted).then(|| short(&verdict.reason)));
    }
    if peers.prevail.is_some() {
        // No answer in a minute is none, like in the table of objects.
        let refused = match prevail {
            Some(true) => None,
            Some(false) => Some("refused"),
            None => Some("no verdict"),
        };
        done.prevail.add(refused.map(str::to_owned));
    }
    Ok(())
}

/// Whether Linux refuses an instruction whatever is known of its operands.
fn is_ours(insn: &Insn) -> bool {
    let apart = |base: Reg, offset: i16, size: Size| {
        base == Reg::R10 && i64::from(offset) % size.bytes() as i64 != 0
    };
    match *insn {
        Insn::Call { target: CallTarget::Register(_) } => true,
        Insn::Load { size, base, offset, .. } | Insn::Store { size, base, offset, .. } => {
            apart(base, offset, size)
        }
        Insn::Alu { op, src, .. } => {
            let divides = [AluOp::Div, AluOp::Mod, AluOp::Sdiv, AluOp::Smod].contains(&op);
            divides && src == Operand::Imm(0)
        }
        _ => false,
    }
}

/// Whether every run of a program on a packet gives the same: neither time nor chance, and no move
/// of the packet's ends, for which there is another buffer there.
fn repeats(program: &Program) -> bool {
    const OTHER: [u32; 6] = [
        helper::KTIME,
        helper::RANDOM,
        helper::PROCESSOR,
        helper::ADJUST_HEAD,
        helper::ADJUST_TAIL,
        // One that fails leaves zeroes here, and on Linux what was there.
        helper::LOAD_BYTES,
    ];
    let differs = |insn: &Insn| match insn {
        Insn::Call { target: CallTarget::Helper(id) } => OTHER.contains(id),
        _ => false,
    };
    !program.insns().iter().any(differs)
}

/// One run on Linux, whose maps are as empty as ours, and one in our interpreter.
fn compare(
    done: &mut Done,
    linux: &mut Linux,
    program: &Program,
    random: &mut Random,
) -> Result<(), EvidenceError> {
    let packet = ebpf::fuzzing::packet_from_bytes(&random.bytes(24));
    let Some(theirs) = linux.run(&packet).map_err(std::io::Error::other)? else { return Ok(()) };
    done.runs += 1;
    // What Linux returns has 32 bits.
    let ours = on(program, &packet).map(|(result, after)| (result as u32, after));
    if ours.as_ref() != Some(&theirs) {
        let text = ebpf::disasm::disassemble(program);
        let number = done.generated - 1;
        eprintln!("program {number}: Linux {theirs:x?}, ours {ours:x?}\n{text}\n{packet:02x?}");
        done.differ.push(number);
    }
    Ok(())
}

/// Runs a program with fresh maps; `None` if it does something wrong or does not end.
fn on(program: &Program, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(packet);
    buffer.resize(HEADROOM + packet.len() + HEADROOM, 0);
    let mut frame = PacketBuffer::new(&mut buffer, HEADROOM, packet.len())?;
    let maps: Option<Vec<_>> =
        program.maps().iter().map(|&spec| Map::new(spec, [7, 7]).ok()).collect();
    let maps = maps?;
    let world = World { helpers: &mut Standard, maps: &mut MapSet(&maps) };
    let result = interp::run(program, &mut frame, world, BUDGET, &mut |_| {}).ok()?;
    Some((result, frame.data().to_vec()))
}

/// Whether no sample makes the program do anything wrong, and it ends on each.
fn is_safe(program: &Program, random: &mut Random) -> bool {
    (0..SAMPLES).all(|_| {
        let packet = ebpf::fuzzing::packet_from_bytes(&random.bytes(24));
        on(program, &packet).is_some()
    })
}

fn refused(program: &Program) -> Option<Refusal> {
    let mut proof = SafetyProof::new(program.clone());
    loop {
        if let Poll::Ready(answer) = proof.step(&mut Fuel::UNLIMITED.clone()) {
            return answer.err();
        }
    }
}

fn reason(refusal: &Refusal) -> String {
    crate::refusal::code(refusal)
}

/// A reason without its numbers.
fn short(reason: &str) -> String {
    let words =
        reason.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(6).collect::<Vec<_>>().join(" ")
}

fn report(done: &Done, seed: u64, commit: &str) -> String {
    let mut text = String::from("# Refusals of programs that are safe on all samples\n\n");
    let Done { generated, safe, ours, linux, prevail, slots, deep, wrong, runs, differ } = done;
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence refusals --seed {seed} --programs {generated}` at \
        {commit}.\n\n\
         {} generated ASHs, {} of them safe on {SAMPLES} packets each; {} of their instructions \
         are deep \
         (calls, atomics, backward jumps, accesses through moved pointers and map values). \
         PREVAIL gets each as an object with its maps in BTF, and does not have to prove that \
         it ends.\n",
        grouped(*generated),
        grouped(*safe),
        percent(*deep, *slots)
    );
    text.push_str("| verifier | judged | refused | share | accepted and wrong on a sample |\n");
    text.push_str("|---|---|---|---|---|\n");
    let rows = [("Sluice", ours), ("Linux", linux), ("PREVAIL", prevail)];
    for ((name, side), wrong) in rows.into_iter().zip(wrong) {
        let (judged, refused) = (grouped(side.judged), grouped(side.refused));
        let share = percent(side.refused, side.judged);
        match side.judged {
            0 => {
                let _ = writeln!(text, "| {name} | not here | - | - | - |");
            }
            _ => {
                let _ = writeln!(text, "| {name} | {judged} | {refused} | {share} | {wrong} |");
            }
        }
    }
    for (name, side) in rows.into_iter().skip(1).filter(|(_, side)| side.refused > 0) {
        let ratio = ours.share() / side.share();
        let _ = writeln!(text, "\nRefusals of ours for each of {name}'s: {ratio:.2}.");
    }
    let _ = writeln!(
        text,
        "\nRuns of programs that both accept, through `BPF_PROG_TEST_RUN` and in the reference \
         interpreter: {}; results or packets that differ: {}.",
        grouped(*runs),
        differ.len()
    );
    for (name, side) in rows.into_iter().filter(|(_, side)| side.refused > 0) {
        reasons(&mut text, name, side);
    }
    text
}

fn reasons(text: &mut String, name: &str, side: &Side) {
    let _ = writeln!(text, "\n{name}'s most frequent reasons:\n\n| reason | programs |\n|---|---|");
    let mut sorted: Vec<_> = side.reasons.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in sorted.into_iter().take(12) {
        let _ = writeln!(text, "| {reason} | {} |", grouped(*count));
    }
}
