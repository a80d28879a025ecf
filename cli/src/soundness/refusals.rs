//! How many programs that are safe on all sampled packets are refused, by us, by the host's kernel
//! and by PREVAIL, on the same set; and whether Linux runs the accepted ones as we do.
//!
//! Safe is what [`super::judge`] finds nothing wrong with. A program that makes a number of an
//! address is not safe (design decision 2), though Linux lets root load it: such programs are
//! counted apart, with what each verifier said of them. Left out is what Linux refuses for reasons
//! of its own, that no analysis could change: stack accesses that are not aligned, constant
//! divisors of zero, calls through registers.
//!
//! That a program did nothing wrong on the samples does not make it safe: the figures are upper
//! bounds of false refusals, and comparable only with each other.

use std::collections::BTreeMap;
use std::task::Poll;

use ebpf::{AluOp, CallTarget, Insn, Kind, Operand, Program, Reg, Size, helper};
use serde::{Deserialize, Serialize};
use verifier::{Fuel, Refusal, SafetyProof};

use super::campaign::{self, Extent, Random, grouped};
use super::judge::{self, Judged, Leak};
use super::refusals_table;
use crate::attacks;
use crate::evidence::EvidenceError;
use crate::objects::linux::Linux;
use crate::objects::prevail::Prevail;
use crate::objects::write;
use crate::progress::Progress;

/// Programs of a call without a limit.
const PROGRAMS: u64 = 5_000;
const BATCH: u64 = 100;
/// Who is asked, in the order of all arrays here.
pub(super) const NAMES: [&str; 4] =
    ["Sluice", "Linux, root", "Linux without `CAP_PERFMON`", "PREVAIL"];

/// What a campaign has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) generated: u64,
    /// Programs left out for what Linux refuses whatever is known, or not made at all.
    pub(super) left_out: u64,
    /// What each said of the programs that did nothing wrong on any sample.
    pub(super) safe: [Side; 4],
    /// Of those that show an address, and where.
    pub(super) leaks: [Side; 4],
    pub(super) places: BTreeMap<Leak, u64>,
    /// Of those that make a number of an address and do not show it.
    pub(super) mixes: [Side; 4],
    /// Of those that did something wrong.
    pub(super) wrong: [Side; 4],
    /// Accesses of the safe programs, and those of them that are not plain.
    pub(super) accesses: [u64; 2],
    /// Safe programs of which a sample got to one that is not.
    pub(super) deep: u64,
    /// Runs of programs that both accept, on Linux and in our interpreter; and those that differ.
    pub(super) runs: u64,
    pub(super) differ: Vec<u64>,
}

/// What one verifier said of some programs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) judged: u64,
    pub(super) refused: u64,
    pub(super) reasons: BTreeMap<String, u64>,
}

/// What one verifier said of a program: nothing, because it is not here; yes; or why not.
type Said = Option<Option<String>>;

impl Side {
    pub(super) fn accepted(&self) -> u64 {
        self.judged - self.refused
    }

    fn add(&mut self, said: Said) {
        let Some(refused) = said else { return };
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
            progress.now(&format!(
                "{}, {} safe",
                grouped(done.generated),
                grouped(done.safe[0].judged)
            ));
        }
    }
    campaign::save("refusals", extent.seed, &commit, &done)?;
    progress.done("done");
    let text = refusals_table::report(&done, extent.seed, &commit);
    println!("{text}");
    println!("{}", attacks::write("refusals.md", &text)?.display());
    let bad = [&done.wrong, &done.leaks, &done.mixes].map(|sides| sides[0].accepted());
    match bad.iter().sum::<u64>() as usize + done.differ.len() {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "accepted programs" }),
    }
}

/// Who is asked beside ourselves.
struct Peers {
    linux: Option<Linux>,
    guarded: Option<Linux>,
    prevail: Option<(Prevail, tempfile::TempDir)>,
}

impl Peers {
    fn start() -> Result<Self, EvidenceError> {
        let here = |linux: Result<Linux, String>| {
            linux.inspect_err(|why| eprintln!("The host's kernel is left out: {why}")).ok()
        };
        let (linux, guarded) = (here(Linux::start()), here(Linux::start_guarded()));
        let prevail = match Prevail::here() {
            Some(prevail) => Some((prevail, tempfile::tempdir()?)),
            None => {
                eprintln!("PREVAIL is left out: `PREVAIL` does not name its command");
                None
            }
        };
        Ok(Self { linux, guarded, prevail })
    }

    /// PREVAIL's verdict. No answer in a minute is none, like in the table of objects.
    fn prevail(&self, program: &Program) -> Result<Said, EvidenceError> {
        let Some((prevail, folder)) = &self.prevail else { return Ok(None) };
        let file = folder.path().join("program.o");
        std::fs::write(&file, write::object(program).map_err(std::io::Error::other)?)?;
        Ok(Some(match prevail.accepts(&file, write::SECTION, write::NAME) {
            Some(true) => None,
            Some(false) => Some("refused".to_owned()),
            None => Some("no verdict".to_owned()),
        }))
    }
}

/// The verdict of one of the two kernels.
fn kernel(linux: &mut Option<Linux>, program: &Program) -> Result<Said, EvidenceError> {
    let Some(linux) = linux else { return Ok(None) };
    let verdict = linux.judge_program(program).map_err(std::io::Error::other)?;
    Ok(Some((!verdict.accepted).then(|| short(&verdict.reason))))
}

fn one(done: &mut Done, seed: u64, peers: &mut Peers) -> Result<(), EvidenceError> {
    let number = done.generated;
    let mut random = Random::new(seed ^ 0x7ef5, number);
    done.generated += 1;
    let length = 40 + random.below(360) as usize;
    let bytes = random.bytes(length);
    let program = ebpf::fuzzing::rich_program_from_bytes(Kind::Ash, &bytes);
    let Some(program) = program.filter(|program| !program.insns().iter().any(is_ours)) else {
        done.left_out += 1;
        return Ok(());
    };
    let judged = judge::judge(&program, &mut random);
    let ours = refused(&program).map(|refusal| reason(&refusal, &program));
    let theirs = kernel(&mut peers.linux, &program)?;
    if let Some(linux) = &mut peers.linux
        && theirs == Some(None)
        && ours.is_none()
        && repeats(&program)
    {
        compare(done, linux, &program, &mut random)?;
    }
    if ours.is_none() && !matches!(judged, Judged::Safe { .. }) {
        let text = ebpf::disasm::disassemble(&program);
        eprintln!("program {number}: accepted, and {judged:?}\n{text}");
    }
    let guarded = kernel(&mut peers.guarded, &program)?;
    let said = [Some(ours), theirs, guarded, peers.prevail(&program)?];
    done.add(&program, judged, said);
    Ok(())
}

impl Done {
    fn add(&mut self, program: &Program, judged: Judged, said: [Said; 4]) {
        let sides = match judged {
            Judged::Safe { deep } => {
                self.deep += u64::from(deep);
                let pairs = self.accesses.iter_mut().zip(dpf::fuzzing::accesses(program));
                pairs.for_each(|(all, more)| *all += more as u64);
                &mut self.safe
            }
            Judged::Leaks(leak) => {
                *self.places.entry(leak).or_default() += 1;
                &mut self.leaks
            }
            Judged::Mixes => &mut self.mixes,
            Judged::Wrong => &mut self.wrong,
        };
        sides.iter_mut().zip(said).for_each(|(side, said)| side.add(said));
    }
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

/// Whether every run of a program on a packet gives the same: neither time nor chance, no move of
/// the packet's ends, for which there is another buffer there, and no conversion of `trace_printk`
/// that is refused here because it may show an address.
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
        Insn::Store { src: Operand::Imm(imm), .. } => {
            imm.to_le_bytes().windows(2).any(|two| [*b"%p", *b"%s"].contains(&[two[0], two[1]]))
        }
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
    let ours = judge::run(program, &packet).map(|end| (end.result as u32, end.frame));
    if ours.as_ref() != Some(&theirs) {
        let text = ebpf::disasm::disassemble(program);
        let number = done.generated - 1;
        eprintln!("program {number}: Linux {theirs:x?}, ours {ours:x?}\n{text}\n{packet:02x?}");
        done.differ.push(number);
    }
    Ok(())
}

fn refused(program: &Program) -> Option<Refusal> {
    let mut proof = SafetyProof::new(program.clone());
    loop {
        if let Poll::Ready(answer) = proof.step(&mut Fuel::UNLIMITED.clone()) {
            return answer.err();
        }
    }
}

/// A refusal's code and the form of its instruction.
fn reason(refusal: &Refusal, program: &Program) -> String {
    let code = crate::refusal::code(refusal);
    let insn = refusal.pc.and_then(|pc| program.get(pc));
    match insn.map(|insn| format!("{insn:?}")) {
        Some(text) => {
            let word =
                |text: &str| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
            match insn {
                Some(Insn::Alu { width, op, .. }) => format!("{code}, `{op:?}` {width:?}"),
                _ => format!("{code}, `{}`", word(&text)),
            }
        }
        None => code,
    }
}

/// A reason without its numbers.
fn short(reason: &str) -> String {
    let words =
        reason.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(6).collect::<Vec<_>>().join(" ")
}
