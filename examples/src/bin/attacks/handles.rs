//! Handles that were never given out, are no more, name something else, or lack the rights: for
//! every argument of every call that is a handle.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::{Call, Handle, Status};

use crate::attack::Attack;
use crate::child::{Child, NOTHING, SCRIPT, Step};

/// What a handle argument must name, and what that child has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Page,
    Environment,
    Other,
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
enum Argument {
    /// The handle under attack.
    Here,
    Own,
    Page,
    Number(u64),
}

use Argument::{Here, Number, Own, Page};

/// A call with one handle under attack; `zero` says whether zero has a meaning there, `right`
/// whether a capability without rights is refused.
struct Row {
    call: Call,
    wants: Wants,
    zero: bool,
    right: bool,
    args: [Argument; 4],
}

const fn row(call: Call, wants: Wants, args: [Argument; 4]) -> Row {
    Row { call, wants, zero: false, right: true, args }
}

const N: Argument = Number(0);
/// Scratch memory of the child's: the second page that it shares.
const BUFFER: Argument = Number(SCRIPT + 0x1800);

const ROWS: &[Row] = &[
    Row { zero: true, right: false, ..row(Call::Yield, Wants::Environment, [Here, N, N, N]) },
    row(Call::Print, Wants::Other, [Here, BUFFER, Number(8), N]),
    row(Call::Report, Wants::Other, [Here, BUFFER, Number(8), N]),
    row(Call::Halt, Wants::Other, [Here, N, N, N]),
    Row { right: false, ..row(Call::CapDrop, Wants::Other, [Here, N, N, N]) },
    row(Call::CapDerive, Wants::Other, [Here, Number(1), N, N]),
    row(Call::CapGrant, Wants::Other, [Here, Own, Number(1), N]),
    row(Call::CapGrant, Wants::Environment, [Page, Here, Number(1), N]),
    Row { right: false, ..row(Call::CapInspect, Wants::Other, [Here, N, N, N]) },
    row(Call::PageAlloc, Wants::Environment, [Here, Number(u64::MAX), N, N]),
    row(Call::PageFree, Wants::Page, [Here, N, N, N]),
    row(Call::PageMap, Wants::Environment, [Here, Page, Number(NOTHING), Number(1)]),
    row(Call::PageMap, Wants::Page, [Own, Here, Number(NOTHING), Number(1)]),
    row(Call::PageUnmap, Wants::Environment, [Here, Number(NOTHING), N, N]),
    Row { right: false, ..row(Call::PageName, Wants::Page, [Here, N, N, N]) },
    row(Call::PageProtect, Wants::Environment, [Here, Number(SCRIPT), Number(1), Number(1)]),
    row(Call::PageBatch, Wants::Environment, [Here, BUFFER, Number(1), N]),
    row(Call::PageRenew, Wants::Page, [Here, N, N, N]),
    row(
        Call::EnvStart,
        Wants::Environment,
        [Here, Number(crate::child::CODE), Number(crate::child::STACK_TOP), N],
    ),
    row(Call::EnvKill, Wants::Environment, [Here, N, N, N]),
    Row { right: false, ..row(Call::EnvStatus, Wants::Environment, [Here, N, N, N]) },
    row(Call::GrantDerive, Wants::Other, [Here, BUFFER, N, N]),
    row(Call::GrantRevoke, Wants::Other, [Here, N, N, N]),
    row(Call::Bind, Wants::Other, [Here, BUFFER, N, N]),
    row(Call::Unbind, Wants::Other, [Here, N, N, N]),
    row(Call::Transmit, Wants::Other, [Here, N, N, N]),
    row(Call::BindingStats, Wants::Other, [Here, BUFFER, N, N]),
    row(Call::Carve, Wants::Other, [Here, BUFFER, N, N]),
    row(Call::HandOver, Wants::Other, [Here, BUFFER, N, N]),
    row(Call::GrantSettle, Wants::Other, [Here, N, N, N]),
    row(Call::SliceAllocate, Wants::Other, [Here, Own, Number(u64::MAX), N]),
    row(Call::SliceFree, Wants::Other, [Here, N, N, N]),
    row(Call::SliceGive, Wants::Other, [Here, Own, N, N]),
    Row { right: false, ..row(Call::SliceStats, Wants::Environment, [Here, BUFFER, N, N]) },
    Row {
        zero: true,
        right: false,
        ..row(Call::TransferSync, Wants::Environment, [Here, N, N, N])
    },
    Row { right: false, ..row(Call::TransferAsync, Wants::Environment, [Here, N, N, N]) },
    row(Call::Revoke, Wants::Environment, [Here, N, Number(1), N]),
    row(Call::RevokeStatus, Wants::Environment, [Here, N, N, N]),
    Row { zero: true, ..row(Call::RepossessionSet, Wants::Page, [Here, N, N, N]) },
    row(Call::GrantRecall, Wants::Other, [Here, N, N, N]),
    Row { zero: true, ..row(Call::FlowResidual, Wants::Other, [Here, BUFFER, Number(8), N]) },
];

/// How a handle lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Zero,
    Forged,
    Generation,
    Overflow,
    Stale,
    Kind,
    Rights,
}

const LIES: [(Lie, &str); 7] = [
    (Lie::Zero, "zero"),
    (Lie::Forged, "a forged handle"),
    (Lie::Generation, "another generation"),
    (Lie::Overflow, "an overflowing handle"),
    (Lie::Stale, "a stale handle"),
    (Lie::Kind, "a handle of another kind"),
    (Lie::Rights, "a handle without rights"),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        for (which, (lie, what)) in LIES.into_iter().enumerate() {
            if !makes_sense(row, lie) {
                continue;
            }
            let place = row.args.iter().position(|it| matches!(it, Here)).unwrap_or(0);
            let name = format!("{:?} with {what} as argument {place}", row.call);
            let quick = number % LIES.len() == which;
            let attack = Attack::script("handle", name, move |_, child| steps(row, lie, child));
            attacks.push(attack.only_if(quick));
        }
    }
    attacks.push(Attack::script("handle", String::from("a handle dropped twice"), |_, child| {
        let drop = |expected| step(Call::CapDrop, [child.page.0, 0, 0, 0], expected);
        alloc::vec![drop(&[Status::Ok]), drop(&[Status::BadHandle])]
    }));
    attacks
}

fn makes_sense(row: &Row, lie: Lie) -> bool {
    match lie {
        Lie::Zero => !row.zero,
        // The child holds pages and environments only.
        Lie::Kind => {
            row.wants != Wants::Other || !matches!(row.call, Call::CapDrop | Call::CapInspect)
        }
        Lie::Rights => row.right && row.wants != Wants::Other,
        _ => true,
    }
}

fn steps(row: &Row, lie: Lie, child: &Child) -> Vec<Step> {
    let right = if row.wants == Wants::Page { child.page } else { child.own };
    let (handle, expected): (u64, &'static [Status]) = match lie {
        Lie::Zero => (0, &[Status::BadHandle]),
        Lie::Forged => (Handle::new(4000, 0x7777_7777).0, &[Status::BadHandle]),
        Lie::Generation => {
            (Handle::new(right.index(), right.generation().wrapping_add(1)).0, &[Status::BadHandle])
        }
        Lie::Overflow => (u64::MAX, &[Status::BadHandle]),
        Lie::Stale => (right.0, &[Status::BadHandle]),
        Lie::Kind if row.wants == Wants::Page => (child.own.0, &[Status::WrongKind]),
        Lie::Kind => (child.page.0, &[Status::WrongKind]),
        Lie::Rights if row.wants == Wants::Page => (child.bare_page.0, &[Status::MissingRight]),
        Lie::Rights => (child.bare_own.0, &[Status::MissingRight]),
    };
    // These two take any kind; what they then miss is the right.
    let any = matches!((row.call, row.wants), (Call::CapDerive | Call::CapGrant, Wants::Other));
    let expected = if any && lie == Lie::Kind { &[Status::Ok] } else { expected };
    let mut steps = Vec::new();
    if lie == Lie::Stale {
        steps.push(step(Call::CapDrop, [right.0, 0, 0, 0], &[Status::Ok]));
    }
    let value = |argument: &Argument| match *argument {
        Here => handle,
        Own => if lie == Lie::Stale && right == child.own { child.bare_own } else { child.own }.0,
        Page => child.page.0,
        Number(number) => number,
    };
    let mut args = [0; 4];
    for (to, from) in args.iter_mut().zip(&row.args) {
        *to = value(from);
    }
    steps.push(step(row.call, args, expected));
    steps
}

/// A call of up to four arguments.
pub(crate) fn step(call: Call, [a, b, c, d]: [u64; 4], expected: &'static [Status]) -> Step {
    let raw = matches!(call, Call::TransferSync | Call::TransferAsync);
    Step { number: call as u64, args: [a, b, c, d, 0, 0], expected, raw }
}
