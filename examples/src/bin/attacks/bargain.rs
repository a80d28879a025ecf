//! Lies about slices, transfers, revocation and downloaded code, and revocation refused.

use alloc::format;
use alloc::vec::Vec;

use abi::download::{PREDICATE_WORDS_MAX, PredicateRequest};
use abi::limits::PAGE_BYTES;
use abi::{Call, Rights, Status};
use libos::Page;
use libos::capability::grant_handle;
use libos::clock::{now_ns, wait};
use libos::sys::stubs::{Stub, script as layout};

use crate::attack::{Attack, Outcome, script};
use crate::child::{CODE, Child, End, NOTHING, SCRIPT, STACK, STACK_TOP, Step};
use crate::handles::step;
use crate::lab::Lab;
use crate::tricks::verdict;

/// Scratch memory behind a short script.
const BUFFER: u64 = SCRIPT + 0x1800;
const BUFFER_AT: usize = 0x1800;
const KERNEL: u64 = 0xffff_8000_0010_0000;
/// Pages that a child has and does not give back.
const KEPT: u64 = 6;
const KEPT_AT: u64 = 0x80_0000;
/// Upcall kind of a revocation.
const REVOKE: u64 = abi::upcall::Kind::Revoke as u64;

const BAD: &[Status] = &[Status::BadArgument, Status::Limit];
const ANY: &[Status] = &[];
const SELF: &[Status] = &[Status::WrongState, Status::BadArgument];
const PLACE: &[Status] = &[Status::BadAddress];

type Row = (&'static str, &'static str, Call, fn(&Child) -> [u64; 4], &'static [Status]);

const ROWS: &[Row] = &[
    ("revocation", "ask for nothing", Call::Revoke, |c| [c.own.0, 1, 0, 0], BAD),
    ("revocation", "ask for 65,536", Call::Revoke, |c| [c.own.0, 1, 65_536, 0], BAD),
    ("revocation", "ask for all there is", Call::Revoke, |c| [c.own.0, 1, u64::MAX, 0], BAD),
    ("revocation", "ask for kind 0", Call::Revoke, |c| [c.own.0, 0, 1, 0], BAD),
    ("revocation", "ask for kind 99", Call::Revoke, |c| [c.own.0, 99, 1, 0], BAD),
    ("revocation", "take its own bindings", Call::Revoke, |c| [c.own.0, 2, 9, 0], ANY),
    ("revocation", "take its own grants", Call::Revoke, |c| [c.own.0, 3, 9, 0], ANY),
    ("revocation", "take its own slices", Call::Revoke, |c| [c.own.0, 4, 9, 0], ANY),
    ("revocation", "eleven vital pages", Call::VitalSet, |_| [BUFFER, 11, 0, 0], BAD),
    ("revocation", "vital pages beyond count", Call::VitalSet, |_| [BUFFER, u64::MAX, 0, 0], BAD),
    ("revocation", "too much backing", Call::RepossessionSet, |_| [0, BUFFER, 17, 0], BAD),
    ("revocation", "backing beyond count", Call::RepossessionSet, |_| [0, BUFFER, 1 << 61, 0], BAD),
    ("revocation", "its stack as vector", Call::RepossessionSet, |c| [c.page.0, 0, 0, 0], ANY),
    ("revocation", "no room for requests", Call::RevokePending, |_| [KERNEL, 0, 0, 0], ANY),
    ("revocation", "residual of nothing", Call::FlowResidual, |_| [0, BUFFER, 0, 0], ANY),
    ("revocation", "residual into the kernel", Call::FlowResidual, |_| [0, KERNEL, 4096, 0], ANY),
    (
        "slice",
        "position 64",
        Call::SliceFree,
        |c| [c.own.0, 64, 0, 0],
        &[Status::WrongKind, Status::BadArgument],
    ),
    ("slice", "owners beyond count", Call::SliceOwners, |_| [BUFFER, u64::MAX, 0, 0], ANY),
    ("slice", "yield to nobody", Call::Yield, |_| [77, 0, 0, 0], &[Status::BadHandle]),
    ("transfer", "into itself", Call::TransferSync, |c| [c.own.0, 0, 0, 0], SELF),
    ("transfer", "leave for itself", Call::TransferAsync, |c| [c.own.0, 0, 0, 0], SELF),
    (
        "download",
        "wait without a predicate",
        Call::WaitUntil,
        |_| [u64::MAX, 0, 0, 0],
        &[Status::WrongState],
    ),
    ("download", "a request in the kernel", Call::PredicateSet, |_| [KERNEL, 0, 0, 0], PLACE),
    ("download", "a request in nothing", Call::PredicateSet, |_| [NOTHING, 0, 0, 0], PLACE),
    (
        "download",
        "a request across the end",
        Call::PredicateSet,
        |_| [SCRIPT + 0x1ff0, 0, 0, 0],
        PLACE,
    ),
    (
        "download",
        "a pipe on a page",
        Call::PipeSet,
        |c| [c.page.0, BUFFER, 8, 0],
        &[Status::WrongKind],
    ),
    ("download", "a pipe on nothing", Call::PipeSet, |_| [0, BUFFER, 8, 0], &[Status::BadHandle]),
];

type Request = (&'static str, fn(&Child) -> PredicateRequest, &'static [Status]);

const fn predicate(program: u64, bytes: u64, words: u64, count: u64) -> PredicateRequest {
    PredicateRequest {
        program,
        program_bytes: bytes,
        words,
        word_count: count,
        refusal: BUFFER + 256,
        refusal_bytes: 256,
    }
}

/// What follows the request: a program that is none, words that are none.
const PREDICATES: &[Request] = &[
    ("a predicate of garbage", |_| predicate(BUFFER, 16, 0, 0), &[Status::Refused]),
    (
        "a predicate of half a slot",
        |_| predicate(BUFFER, 12, 0, 0),
        &[Status::Refused, Status::BadArgument, Status::Limit],
    ),
    ("a predicate in the kernel", |_| predicate(KERNEL, 16, 0, 0), PLACE),
    ("a predicate of the child's code", |_| predicate(CODE, 64, 0, 0), &[Status::Refused]),
    (
        "a predicate that is too long",
        |_| predicate(CODE, 8 * 4097, 0, 0),
        &[Status::BadArgument, Status::Limit, Status::Refused, Status::BadAddress],
    ),
    (
        "a predicate beyond all numbers",
        |_| predicate(BUFFER, u64::MAX, 0, 0),
        &[Status::BadArgument, Status::Limit, Status::Refused, Status::BadAddress],
    ),
    ("too many words", |_| predicate(BUFFER, 16, BUFFER, PREDICATE_WORDS_MAX as u64 + 1), BAD),
    ("words beyond count", |_| predicate(BUFFER, 16, BUFFER, 1 << 60), BAD),
    ("words in the kernel", |_| predicate(BUFFER, 16, KERNEL, 1), PLACE),
    (
        "words of no page",
        |_| predicate(BUFFER, 16, BUFFER, 1),
        &[Status::BadArgument, Status::BadHandle, Status::WrongKind],
    ),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for &(family, name, call, args, expected) in ROWS {
        attacks.push(Attack::script(family, name.into(), move |_, child| {
            alloc::vec![step(call, args(child), expected)]
        }));
    }
    for &(name, request, expected) in PREDICATES {
        attacks.push(Attack::script("download", name.into(), move |lab, child| {
            let it = request(child);
            let words = [
                it.program,
                it.program_bytes,
                it.words,
                it.word_count,
                it.refusal,
                it.refusal_bytes,
            ];
            for (place, word) in words.into_iter().enumerate() {
                lab.window.write(BUFFER_AT + 512 + 8 * place, &word.to_le_bytes());
            }
            lab.window.write(BUFFER_AT, &[0xff; 64]);
            alloc::vec![step(Call::PredicateSet, [BUFFER + 512, 0, 0, 0], expected)]
        }));
    }
    attacks.push(Attack::script("revocation", "take its own pages".into(), |_, child| {
        let take = step(Call::Revoke, [child.own.0, 1, 1000, 0], ANY);
        let wait = step(Call::Wait, [0, 0, 0, 0], ANY);
        alloc::vec![take, wait.clone(), wait]
    }));
    attacks.push(Attack::script("revocation", "ask itself again and again".into(), |_, child| {
        let ask = step(Call::Revoke, [child.own.0, 1, 1, u64::MAX], ANY);
        alloc::vec![ask; 90]
    }));
    attacks.push(Attack::custom("transfer", "park for ever", |lab| {
        let child = Child::new(lab, crate::child::FRAMES)?;
        let park = Step { raw: true, ..step(Call::TransferSync, [0; 4], ANY) };
        child.write(lab, &[park]);
        let end = child.run(lab, Stub::Script, SCRIPT)?;
        verdict(end == End::Killed, format!("{end:?}"))
    }));
    for (name, entry) in [
        ("ignored", None),
        ("in a handler that faults", Some(CODE + Stub::Ud2.offset())),
        ("in a handler that loops", Some(CODE + Stub::Spin.offset())),
        ("in a handler where nothing is", Some(NOTHING)),
        ("in a handler that yields for ever", Some(CODE + Stub::SpinYield.offset())),
    ] {
        attacks.push(Attack::custom("revocation", &format!("refused, {name}"), move |lab| {
            refusal(lab, entry)
        }));
    }
    attacks
}

/// A child with pages that it does not give back; another takes them from it by force.
fn refusal(lab: &mut Lab, entry: Option<u64>) -> Outcome {
    let stubborn = Child::new(lab, crate::child::FRAMES_OF_SCRIPT)?;
    let outcome = refuses(lab, &stubborn, entry);
    stubborn.kill();
    outcome
}

fn refuses(lab: &mut Lab, stubborn: &Child, entry: Option<u64>) -> Outcome {
    let text = |status: Status| format!("pages of its own: {status:?}");
    for at in (KEPT_AT..).step_by(PAGE_BYTES).take(KEPT as usize) {
        let page = Page::alloc(stubborn.env).map_err(text)?;
        page.map(stubborn.env, at, true).map_err(text)?;
        page.forget().map_err(text)?;
    }
    let handler = entry.map(|it| step(Call::UpcallSet, [REVOKE, it, STACK_TOP, STACK], ANY));
    let steps: Vec<Step> = handler.into_iter().collect();
    stubborn.write(lab, &steps);
    let tail = CODE + Stub::Spin.offset();
    lab.window.write(layout::TAIL, &tail.to_le_bytes());
    stubborn.start(Stub::Script, SCRIPT)?;
    let deadline = now_ns().saturating_add(1_000_000_000);
    while lab.window.load_u64(layout::DONE) < steps.len() as u64 && now_ns() < deadline {
        wait(now_ns().saturating_add(500_000));
    }
    // It is past its last look at the shared page: the other's calls go there now.
    wait(now_ns().saturating_add(2_000_000));
    let taker = Child::new(lab, crate::child::FRAMES_OF_SCRIPT)?;
    let its = grant_handle(stubborn.env.0, taker.env, Rights::CONTROL | Rights::GRANT);
    let its = its.map_err(|status| format!("a handle of it: {status:?}"))?;
    let due = now_ns().saturating_add(3_000_000);
    let calls = [
        step(Call::Revoke, [its.0, 1, KEPT, due], &[Status::Ok]),
        step(Call::Wait, [due + 6_000_000, 0, 0, 0], ANY),
        step(Call::Wait, [due + 12_000_000, 0, 0, 0], ANY),
        step(Call::RevokeStatus, [its.0, 0, 0, 0], ANY),
    ];
    let said = script(lab, taker, &calls)?;
    let Some(&(status, value)) = lab.answers(calls.len()).last() else { return Ok(said) };
    let progress = abi::revocation::Progress::unpack(value);
    let state = stubborn.env.status();
    let gone = status != Status::Ok as u64;
    let taken = progress.taken > 0 && progress.over;
    let ended = matches!(state, Ok((abi::start::State::Faulted, _)));
    let text = format!("{progress:?}, {state:?}");
    verdict(taken || (ended && (gone || progress.over)), text)
}
