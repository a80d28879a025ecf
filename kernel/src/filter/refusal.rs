//! Refusals: what the proofs and the engine say, as the record that ring 3 and the host read.
//!
//! The record is made in the kernel heap from whatever the proof left in its arena, so that the
//! arena can be given back.

use core::fmt::Display;

use abi::refusal::{Blame, Code, Record as Refusal};
use abi::{Status, record::Record};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use dpf::EngineError;
use runtime::pages::CodeError;
use verifier::{Part, Party, RefusalCode};

use super::{Order, Programs};
use crate::Kernel;
use crate::environment::EnvironmentId;

/// Why nothing was bound or derived.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The programs, or what they need: with a record.
    Refused(Box<Refusal>),
    /// The call itself.
    Failed(Status),
}

impl Trouble {
    fn record(code: Code, blame: Blame, explanation: String) -> Refusal {
        Refusal {
            version: abi::refusal::VERSION,
            code,
            blame,
            instruction: None,
            limit: None,
            witness: None,
            other: None,
            explanation,
        }
    }

    /// What a proof said, about the program that `blame` names or the part that it names itself.
    pub(super) fn refused(blame: Blame, refusal: &verifier::Refusal) -> Trouble {
        let blame = match refusal.part {
            Part::Transmit => Blame::Transmit,
            Part::Receive => blame,
        };
        let record = Refusal {
            instruction: refusal.pc,
            limit: refusal.limit.map(|limit| (String::from(limit.name), limit.value)),
            witness: refusal.witness.as_deref().map(<[u8]>::to_vec),
            other: refusal.other.map(|party| match party {
                Party::Binding(id) => id.to_raw(),
                Party::Grant(id) => id.to_raw(),
            }),
            ..Trouble::record(code(refusal.code), blame, refusal.to_string())
        };
        Trouble::Refused(Box::new(record))
    }

    /// The bytes are no program.
    pub(super) fn malformed(blame: Blame, error: &ebpf::DecodeError) -> Trouble {
        let record = Trouble::record(Code::Malformed, blame, error.to_string());
        Trouble::Refused(Box::new(Refusal { instruction: error.pc(), ..record }))
    }

    /// The bytes of what came along with a program say nothing.
    pub(super) fn unreadable(blame: Blame, text: String) -> Trouble {
        Trouble::Refused(Box::new(Trouble::record(Code::Malformed, blame, text)))
    }

    /// A limit was met, or memory is missing.
    pub(super) fn limit(code: Code, blame: Blame, (name, value): (&str, u64)) -> Trouble {
        let explanation = match code {
            Code::NoMemory => alloc::format!("{value} {name} are needed and not there"),
            _ => alloc::format!("the limit {name} = {value} was met"),
        };
        let limit = Some((String::from(name), value));
        Trouble::Refused(Box::new(Refusal { limit, ..Trouble::record(code, blame, explanation) }))
    }

    /// There is no default transmit space, or no guard for it.
    pub(super) fn no_mirror(error: &dyn Display) -> Trouble {
        let text = error.to_string();
        Trouble::Refused(Box::new(Trouble::record(Code::NoMirror, Blame::Transmit, text)))
    }

    /// Something went away while the proof ran.
    pub(super) fn stale(text: &str) -> Trouble {
        Trouble::Refused(Box::new(Trouble::record(Code::Stale, Blame::Request, String::from(text))))
    }

    /// A stage was entered twice: a bug in the kernel, and refused like one.
    pub(super) fn over() -> Trouble {
        Trouble::stale("the proof had already ended")
    }

    /// What the engine said.
    pub(super) fn engine(blame: Blame, error: &EngineError) -> Trouble {
        let (code, limit) = match *error {
            EngineError::Check(_) => (Code::Checker, None),
            EngineError::GrantShapes { limit } => (Code::Limit, Some(("SHAPES_PER_GRANT", limit))),
            EngineError::Shapes { limit } => (Code::Limit, Some(("SHAPES_MAX", limit))),
            EngineError::Collisions { limit } => {
                (Code::Limit, Some(("SLOTS_PER_ENTRY_MAX", limit)))
            }
            EngineError::Claimants { limit } => (Code::Limit, Some(("CLAIMANTS_MAX", limit))),
            EngineError::ResidualCost { limit } => {
                (Code::Limit, Some(("RESIDUAL_COST_MAX", limit as usize)))
            }
            EngineError::Depth { limit } => (Code::Limit, Some(("DEPTH_MAX", limit as usize))),
            EngineError::Pages(CodeError::NoMemory { limit, .. }) => {
                (Code::NoMemory, Some(("CODE_WINDOW", limit)))
            }
            EngineError::Pages(_) | EngineError::NoMemory => (Code::NoMemory, None),
            EngineError::NoSuchGrant => (Code::Stale, None),
            EngineError::Compile(_) => (Code::Malformed, None),
        };
        let limit = limit.map(|(name, value)| (String::from(name), value as u64));
        Trouble::Refused(Box::new(Refusal {
            limit,
            ..Trouble::record(code, blame, error.to_string())
        }))
    }
}

fn code(code: RefusalCode) -> Code {
    match code {
        RefusalCode::Unsafe(_) => Code::Unsafe,
        RefusalCode::Undecided(_) => Code::Undecided,
        RefusalCode::NotAFilter => Code::Malformed,
        RefusalCode::OutsideGrant => Code::OutsideGrant,
        RefusalCode::Overlap => Code::Overlap,
        RefusalCode::Limit => Code::Limit,
        RefusalCode::Stale | RefusalCode::Finished => Code::Stale,
    }
}

impl Kernel {
    /// Tells the caller and the host of a refusal; how many bytes of the record the caller got.
    pub(super) fn refuse(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        trouble: &Trouble,
        proof_cycles: u64,
    ) -> u64 {
        let Trouble::Refused(record) = trouble else { return 0 };
        log::info!(
            "environment {}: {:?} under grant {} refused: {:?}: {}",
            caller.0,
            record.blame,
            order.grant,
            record.code,
            record.explanation
        );
        let program = self.program_at_fault(caller, order, record.blame);
        let hint = record.witness.as_ref().map_or(256, |witness| witness.len() + 256);
        self.channel.emit(hint + program.len(), || Record::Refused {
            environment: caller.0,
            grant: order.grant.to_raw(),
            program,
            refusal: (**record).clone(),
            proof_cycles,
        });
        self.write_refusal(caller, order.refusal, record)
    }

    /// The program that a refusal blames, as the caller's memory has it now; nothing if there is
    /// none, or no room for it.
    fn program_at_fault(&self, caller: EnvironmentId, order: Order, blame: Blame) -> Vec<u8> {
        let Programs { filter, ash, other } = order.programs;
        let source = match blame {
            // What is said of a certificate is said of the filter that it came with.
            Blame::Filter | Blame::Predicate | Blame::Certificate => Some(filter),
            Blame::Ash => ash,
            Blame::Transmit | Blame::Rest => other,
            Blame::Request => None,
        };
        let room = machine::heap::free_bytes().saturating_sub(crate::limits::HEAP_HEADROOM);
        let source = source.filter(|source| source.bytes <= room);
        let bytes = source.and_then(|it| self.copy_in(caller, it.address, it.bytes).ok());
        bytes.unwrap_or_default()
    }

    /// The record into the caller's buffer: without its explanation, then without its witness, if
    /// it does not fit; nothing at all if even that is too long or the buffer has gone.
    fn write_refusal(
        &self,
        caller: EnvironmentId,
        (address, room): (u64, u64),
        record: &Refusal,
    ) -> u64 {
        if address == 0 {
            return 0;
        }
        let terse = Refusal { explanation: String::new(), ..record.clone() };
        let bare = Refusal { witness: None, ..terse.clone() };
        let fitting = [record, &terse, &bare]
            .into_iter()
            .map(Refusal::encode)
            .find(|bytes| bytes.len() as u64 <= room);
        let written = fitting.filter(|bytes| self.copy_out(caller, address, bytes).is_ok());
        written.map_or(0, |bytes| bytes.len() as u64)
    }
}
