//! What is refused, and why: claims that collide, claims too wide, unsafe programs, forged frames.

use std::io::Write;

use abi::books::{Books, Reason};
use abi::record::{Record, Verdict};
use abi::refusal::{self, Blame, Code};
use abi::start::State;
use ebpf::Kind;

use super::Stage;
use crate::limits;
use crate::machine::MachineError;
use crate::report::Report;
use crate::wire::Side;
use crate::wire::frames::{GUEST_IP, GUEST_MAC};

/// The library OS that asks for what it must not have.
const SQUATTER: &str = "squatter";

/// A refusal as the journal has it.
struct Refused {
    grant: u64,
    program: Vec<u8>,
    refusal: refusal::Record,
    proof_cycles: u64,
}

/// Starts the squatter and shows what it gets.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("Refusals: squatter asks for what is not its own");
    let before = stage.machine.books()?;
    let mark = stage.machine.journal().mark();
    let wire = stage.machine.wire().mark();
    if let Err(error) = stage.machine.command(&format!("start {SQUATTER}")) {
        report.expect("init starts squatter", false, error);
        return Ok(());
    }
    for (code, name) in [
        (Code::Overlap, "a claim that meets another's is refused"),
        (Code::OutsideGrant, "a claim outside its grant is refused"),
        (Code::Unsafe, "an unsafe program is refused"),
    ] {
        let during = format!("waiting for squatter's refusal {code:?}");
        let found = stage.machine.record(mark, &during, |record| refused(record, code));
        if let Some(refused) = report.attempt(name, found) {
            one(report, stage, &refused);
            judge(report, stage, name, &refused);
        }
    }
    forged(report, stage, (mark, wire), &before)
}

fn refused(record: &Record, code: Code) -> Option<Refused> {
    let Record::Refused { grant, program, refusal, proof_cycles, .. } = record else { return None };
    (refusal.code == code).then(|| Refused {
        grant: *grant,
        program: program.clone(),
        refusal: refusal.clone(),
        proof_cycles: *proof_cycles,
    })
}

fn one<W: Write>(report: &mut Report<W>, stage: &Stage<'_>, refused: &Refused) {
    let roster = stage.roster();
    let record = &refused.refusal;
    report.line(format!(
        "{:?} under grant {}: {} instructions, refused after {:.0} us",
        record.code,
        roster.grant(refused.grant),
        refused.program.len() / 8,
        roster.micros(refused.proof_cycles)
    ));
    report.block(&record.explanation);
    if let Some(pc) = record.instruction {
        report.block(&format!("at instruction {pc}: {}", instruction(refused, pc)));
    }
    if let Some(other) = record.other {
        report.block(&format!("it collides with {}", roster.binding(other)));
    }
    if let Some(witness) = &record.witness {
        report.block(&format!("witness: {}", flow::witness::render(witness)));
        report.block(&flow::witness::hexdump(witness));
    }
}

fn instruction(refused: &Refused, pc: u32) -> String {
    let kind = if refused.refusal.blame == Blame::Ash { Kind::Ash } else { Kind::Filter };
    match ebpf::decode(&refused.program, kind, abi::limits::PROGRAM_SLOTS_MAX) {
        Ok(program) => {
            program.get(pc).map_or_else(|| "?".to_owned(), |instruction| instruction.to_string())
        }
        Err(error) => error.to_string(),
    }
}

/// What the record must hold up to: witnesses are run here, on the host, once more.
fn judge<W: Write>(report: &mut Report<W>, stage: &Stage<'_>, name: &str, refused: &Refused) {
    let record = &refused.refusal;
    let roster = stage.roster();
    let witness = record.witness.as_deref().unwrap_or_default();
    let claimed = accepts(&refused.program, witness);
    let (proof, detail) = match record.code {
        Code::Overlap => {
            let other = roster.bindings.iter().find(|bound| Some(bound.id) == record.other);
            let both = claimed && other.is_some_and(|bound| accepts(&bound.filter, witness));
            (both, "both filters, run here on the witness, accept it")
        }
        Code::OutsideGrant => {
            let grant = roster.grants.iter().find(|grant| grant.id == refused.grant);
            let outside = grant.is_some_and(|grant| !accepts(&grant.receive, witness));
            (claimed && outside, "the filter accepts the witness, the grant's program does not")
        }
        _ => (record.instruction.is_some(), "the record names the instruction"),
    };
    report.expect(name, proof, detail);
}

/// Whether the program, interpreted here, accepts the frame; no program and no frame do not.
fn accepts(program: &[u8], frame: &[u8]) -> bool {
    ebpf::decode(program, Kind::Filter, abi::limits::PROGRAM_SLOTS_MAX)
        .is_ok_and(|program| ebpf::interp::accepts(&program, frame).unwrap_or(false))
}

/// The frames that squatter sends in somebody else's name.
fn forged<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
    (mark, wire): (usize, usize),
    before: &Books,
) -> Result<(), MachineError> {
    report.part("Forged transmissions: squatter sends in somebody else's name");
    let ended = stage.machine.record(mark, "waiting for squatter's end", |record| match record {
        Record::Environment { name, state: State::Exited, detail, .. } if name == SQUATTER => {
            Some(*detail)
        }
        _ => None,
    });
    if let Some(code) = report.attempt("squatter ends by itself", ended) {
        let detail = format!("its exit code is {code}");
        report.expect("squatter itself says that nothing of its own escaped", code == 0, detail);
    }
    let guard = Reason::Guard as usize;
    let books = stage.machine.books()?;
    let refused = books.tx.refused[guard] - before.tx.refused[guard];
    let traced = stage.machine.journal().collect(mark, |record| match record {
        Record::Packet { verdict: Verdict::Refused(reason, _), frame, .. } => {
            Some((*reason, frame.clone()))
        }
        _ => None,
    });
    for (reason, frame) in traced.iter().take(6) {
        report.line(format!("refused[{}]: {}", reason.name(), flow::witness::render(frame)));
    }
    report.expect("the guard refuses and counts forged transmissions", refused > 0, refused);
    std::thread::sleep(limits::SILENCE);
    let escaped = forgeries(stage, wire);
    report.expect("no forged frame leaves the machine", escaped == 0, format!("{escaped} seen"));
    Ok(())
}

/// Frames of the guest that come from another card or address than its own, or that claim to be a
/// name server's.
fn forgeries(stage: &Stage<'_>, mark: usize) -> usize {
    let forged = |frame: &[u8]| {
        let other_card = frame.get(6..12) != Some(&GUEST_MAC);
        let is_ipv4 = frame.get(12..14) == Some(&[0x08, 0x00]);
        let other_address = frame.get(26..30) != Some(&GUEST_IP);
        let name_server = frame.get(34..36) == Some(&53u16.to_be_bytes());
        other_card || (is_ipv4 && (other_address || name_server))
    };
    let frames = stage.machine.wire().since(mark);
    frames.iter().filter(|p| p.side == Side::Guest && forged(&p.frame)).count()
}
