//! Calls about downloaded code besides filters and handlers: pipes and predicates.

use abi::download::{
    self, PASS_CHECKSUM, PASS_COPY, PASS_KEY_SHIFT, PASS_KIND_MASK, PASS_SWAP_16, PASS_SWAP_32,
    PASS_XOR, PASSES_MAX, PREDICATE_SLOTS_MAX, PREDICATE_WORDS_MAX, PredicateRequest, WordRef,
};
use abi::{Handle, Rights, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;
use dpf::dilp::{self, Pass, Pipeline};
use zerocopy::FromBytes;

use super::{Answer, Arguments, Done, bounded};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::limits::{PIPE_COST, PREDICATE_COST, compile_heap};
use crate::predicate::{Predicate, Word};
use crate::reserve::{Need, frames_of};

impl Kernel {
    /// `(binding, passes, bytes)`: what delivery does to a packet; zero bytes take it back.
    pub(super) fn pipe_set(&mut self, a: &Arguments) -> Answer {
        let id = self.binding_of(a, Rights::REVOKE)?;
        let binding = self.network.bindings.get(&id).ok_or(Status::BadHandle)?;
        if binding.owner != a.caller {
            return Err(Status::MissingRight);
        }
        let pipe = match bounded(a.words[2], PASSES_MAX * 8)? {
            0 => None,
            bytes if !bytes.is_multiple_of(8) => return Err(Status::BadArgument),
            bytes => {
                let bytes = self.copy_in(a.caller, a.words[1], bytes)?;
                let need = Need { charge: frames_of(PIPE_COST), heap: 64 * 1024, frames: 0 };
                self.reserve(a.caller, need)?;
                let pipeline = pipeline(&bytes).ok_or(Status::BadArgument)?;
                let loaded = dilp::load(&pipeline, &mut self.network.code);
                Some(loaded.map_err(|_| Status::NoMemory)?)
            }
        };
        let gained = pipe.is_some();
        let binding = self.network.bindings.get_mut(&id).ok_or(Status::BadHandle)?;
        let before = core::mem::replace(&mut binding.pipe, pipe);
        let lost = before.is_some();
        binding.cost = (binding.cost + charged(gained)).saturating_sub(charged(lost));
        if let Some(environment) = self.environments.get_mut(a.caller) {
            let heap = environment.account.heap + charged(gained);
            environment.account.heap = heap.saturating_sub(charged(lost));
        }
        if let Some(before) = before {
            before.free(&mut self.network.code);
        }
        Ok(Done::Value(0))
    }

    /// `(&PredicateRequest)`: the caller's predicate from now on; a program of zero takes it back.
    pub(super) fn predicate_set(&mut self, a: &Arguments) -> Answer {
        let request: PredicateRequest = self.read_block(a.caller, a.words[0])?;
        if request.program == 0 {
            self.set_predicate(a.caller, None);
            return Ok(Done::Value(0));
        }
        let refusal = self.refusal_buffer(a.caller, request.refusal, request.refusal_bytes)?;
        let source = self.source(a.caller, request.program, request.program_bytes)?;
        let words = self.words(a.caller, request.words, request.word_count)?;
        let heap = PREDICATE_COST + 64 * source.slots().min(PREDICATE_SLOTS_MAX) as u64;
        let proof = verifier::safety_bytes(PREDICATE_SLOTS_MAX);
        let need = Need {
            charge: frames_of(heap),
            heap: proof + compile_heap(PREDICATE_SLOTS_MAX),
            frames: 0,
        };
        self.reserve(a.caller, need)?;
        match self.prove_predicate(a.caller, source) {
            Ok(proven) => {
                let cost = proven.cost.saturating_add(words.len() as u32 * WORD_COST);
                let (program, awaited) = (proven.program, false);
                let predicate = Predicate { program, cost, words, heap, awaited };
                self.set_predicate(a.caller, Some(Box::new(predicate)));
                Ok(Done::Value(0))
            }
            Err(trouble) => self.refuse_predicate(a.caller, (source, refusal), &trouble),
        }
    }

    /// `(deadline_ns)` → what the predicate returned, or 0 if the deadline passed.
    pub(super) fn wait_until_call(&mut self, a: &Arguments) -> Answer {
        let [deadline, ..] = a.words;
        Ok(self.wait_until(a.caller, deadline)?.map_or(Done::Later, Done::Value))
    }

    /// The words of a request: of pages that the caller may read.
    fn words(&self, caller: EnvironmentId, address: u64, count: u64) -> Result<Vec<Word>, Status> {
        let count = bounded(count, PREDICATE_WORDS_MAX)?;
        let bytes = self.copy_in(caller, address, count * size_of::<WordRef>())?;
        let references = bytes.chunks_exact(size_of::<WordRef>());
        let words = references.map(|bytes| {
            let word = WordRef::read_from_bytes(bytes).map_err(|_| Status::BadArgument)?;
            let offset = bounded(word.offset, abi::limits::PAGE_BYTES - 4)?;
            if !offset.is_multiple_of(4) {
                return Err(Status::BadArgument);
            }
            Ok(Word { page: self.page_of(caller, Handle(word.page), Rights::READ)?, offset })
        });
        words.collect()
    }
}

/// Instructions charged for each word that a look copies.
const WORD_COST: u32 = 64;

fn charged(there: bool) -> u64 {
    if there { PIPE_COST } else { 0 }
}

/// The passes in a call's words.
fn pipeline(bytes: &[u8]) -> Option<Pipeline> {
    let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let passes: Option<Vec<Pass>> = words.map(|word| pass(u64::from_le_bytes(word))).collect();
    Pipeline::new(&passes?).ok()
}

fn pass(word: u64) -> Option<Pass> {
    let (kind, key) = (word & PASS_KIND_MASK, (word >> PASS_KEY_SHIFT) as u32);
    let rest = word & !PASS_KIND_MASK & u64::from(u32::MAX);
    match kind {
        _ if rest != 0 => None,
        PASS_XOR => Some(Pass::Xor(key)),
        _ if key != 0 => None,
        PASS_COPY => Some(Pass::Copy),
        PASS_CHECKSUM => Some(Pass::Checksum),
        PASS_SWAP_16 => Some(Pass::Swap16),
        PASS_SWAP_32 => Some(Pass::Swap32),
        _ => None,
    }
}

const _: () = assert!(PASSES_MAX == dilp::PASSES_MAX);
const _: () = assert!(download::CHECKSUMS_MAX == dilp::SUMS_MAX);
