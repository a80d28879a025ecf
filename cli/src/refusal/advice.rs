//! What is wrong in one line, and what to change.
//!
//! The verifier's own texts say both in one sentence, the remedy behind a semicolon; where the
//! remedy depends on the instruction it is made here.

use ebpf::{Insn, Program};
use verifier::refusal::Known;
use verifier::{Refusal, RefusalCode, UnsafeReason};

/// Stable name of the reason: the variant's, in lower case with hyphens.
#[must_use]
pub fn code(refusal: &Refusal) -> String {
    let name = match (&refusal.code, &refusal.limit) {
        (RefusalCode::Limit, Some(limit)) => {
            return format!("limit-{}", limit.name.to_lowercase().replace('_', "-"));
        }
        (RefusalCode::Unsafe(reason), _) => format!("{reason:?}"),
        (RefusalCode::Undecided(reason), _) => format!("Undecided{reason:?}"),
        (code, _) => format!("{code:?}"),
    };
    let mut text = String::new();
    for letter in name.chars().take_while(|c| c.is_ascii_alphanumeric()) {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// What is wrong, in less than a line.
pub(super) fn message(refusal: &Refusal) -> String {
    match refusal.code {
        RefusalCode::Unsafe(UnsafeReason::PacketOutOfBounds { reg, .. }) => {
            format!("the packet may end before what is accessed through r{}", reg.number())
        }
        RefusalCode::Unsafe(UnsafeReason::UnboundedOffset(reg)) => {
            format!("r{} is added to a pointer and is not bounded", reg.number())
        }
        RefusalCode::Unsafe(UnsafeReason::HelperSize(reg)) => {
            format!("r{} is the size of memory and may be more than there is", reg.number())
        }
        RefusalCode::Unsafe(UnsafeReason::PointerLeak(reg)) => {
            format!("r{} is or leads to a pointer that would be readable as a number", reg.number())
        }
        _ => parts(refusal).0,
    }
}

/// What to change.
pub(super) fn help(program: &Program, refusal: &Refusal) -> Option<String> {
    let RefusalCode::Unsafe(reason) = refusal.code else {
        return refusal.limit.and_then(|limit| for_limit(limit.name)).or_else(|| parts(refusal).1);
    };
    let insn = refusal.pc.and_then(|pc| program.get(pc));
    match reason {
        UnsafeReason::PacketOutOfBounds { .. } => Some(whole(refusal)),
        UnsafeReason::UninitialisedRegister(reg) => Some(match insn {
            Some(Insn::Exit) => "set r0 to the result on every path".to_owned(),
            _ if caller_saved(program, refusal, reg.number()) => format!(
                "a call loses r1 to r5: keep the value in r6 to r9 or on the stack instead of r{}",
                reg.number()
            ),
            _ => format!("write r{} on every path that leads here", reg.number()),
        }),
        UnsafeReason::MixedRegister(reg) => Some(format!(
            "give r{} the same kind of value on every path, or do not use it after they meet",
            reg.number()
        )),
        UnsafeReason::UninitialisedStack(at) => {
            Some(format!("store to r10{at:+} on every path that leads here"))
        }
        UnsafeReason::StackOutOfBounds(_) => {
            Some("keep the access between r10-512 and r10-1".to_owned())
        }
        UnsafeReason::BeforePacket(reg) => Some(format!(
            "use an offset that is not negative, or bound what r{} was moved back by",
            reg.number()
        )),
        UnsafeReason::UnreachableCode => {
            Some("remove the instruction, or jump to it from somewhere".to_owned())
        }
        UnsafeReason::NotAPointer(reg) => Some(not_a_pointer(refusal, reg.number())),
        _ => parts(refusal).1.or_else(|| remedy(reason).map(str::to_owned)),
    }
}

/// What to change where a limit was met.
fn for_limit(name: &str) -> Option<String> {
    let text = match name {
        "WORST_CASE_MAX" => {
            "bound the loops around here so that one run takes fewer instructions in the worst case"
        }
        "VISITS_MAX" | "STATE_BYTES_MAX" => {
            "fewer values that differ between the paths that meet, or a loop whose rounds look \
            alike"
        }
        "LOOP_DEPTH_MAX" => "fewer loops inside each other",
        _ => return None,
    };
    Some(text.to_owned())
}

/// What to change where the reason alone says it.
fn remedy(reason: UnsafeReason) -> Option<&'static str> {
    Some(match reason {
        UnsafeReason::WriteToReadOnly(_) => {
            "write to the stack, to a map that is not read-only, or in an ASH to the packet"
        }
        UnsafeReason::AtomicAccess(_) => "use plain loads and stores here",
        UnsafeReason::UnalignedAtomic(_) => "use an offset that is a multiple of the size",
        UnsafeReason::HelperArgument(_) => {
            "compare the registers with the helper's signature: what it reads must be written, and \
             lie whole in its memory"
        }
        UnsafeReason::UnknownHelper(_) => "call one of the helpers that are listed",
        UnsafeReason::HelperNotAllowed(_) => "make it an ASH, which may call helpers",
        UnsafeReason::KernelFunction(_) => "call a helper; there are no kernel functions",
        UnsafeReason::IndirectCall => "put the helper's number into the register on every path",
        UnsafeReason::LocalCall => "write the function out where it is called",
        UnsafeReason::Recursion => "use a loop with a counter",
        UnsafeReason::CallDepth => "write the innermost function out where it is called",
        UnsafeReason::UnknownMap(_) => "name a map by its position among the program's maps",
        UnsafeReason::MapReference => "load a number, a map, or a value of a map with one entry",
        UnsafeReason::MapValueOutOfBounds { .. } => {
            "keep offset and size inside the value; bound what was added to the pointer"
        }
        _ => return None,
    })
}

/// Whether a call stands on the way, after which the argument registers are lost.
fn caller_saved(program: &Program, refusal: &Refusal, register: u8) -> bool {
    let pc = refusal.pc.unwrap_or(0) as usize;
    let before = program.insns().iter().take(pc);
    (1..=5).contains(&register) && before.into_iter().any(|insn| matches!(insn, Insn::Call { .. }))
}

fn not_a_pointer(refusal: &Refusal, register: u8) -> String {
    let known = refusal.facts().iter().find(|fact| fact.reg.number() == register);
    match known.map(|fact| fact.known) {
        Some(Known::PacketEnd) => {
            "data_end is only for comparisons; access the packet through data".to_owned()
        }
        Some(Known::Map(_)) => "look the key up first; a map itself cannot be accessed".to_owned(),
        _ => format!(
            "r{register} must come from the context, from r10 or from a look-up; a number, also \
             one that was a pointer once, is none"
        ),
    }
}

/// The verifier's text without the slot: before and behind the first semicolon.
fn parts(refusal: &Refusal) -> (String, Option<String>) {
    let text = whole(refusal);
    match text.split_once("; ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (text, None),
    }
}

fn whole(refusal: &Refusal) -> String {
    let anywhere = Refusal { pc: None, ..refusal.clone() };
    anywhere.to_string().replace('\n', " ")
}
