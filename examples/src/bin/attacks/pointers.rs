//! Pointers that lead where they must not: for every call that takes one.

use alloc::format;
use alloc::vec::Vec;

use abi::{Call, Status};
use libos::sys::stubs::Stub;

use crate::attack::{Attack, Outcome, script};
use crate::child::{CODE, Child, FRAMES, NOTHING, SCRIPT, STACK_TOP, Step};
use crate::handles::step;
use crate::lab::Lab;
use crate::tricks::verdict;

/// A call with a pointer: where it stands, how many bytes or entries, and whether the kernel
/// writes there.
struct Row {
    call: Call,
    what: &'static str,
    writes: bool,
    args: fn(&Child, u64) -> [u64; 4],
}

const ROWS: &[Row] = &[
    Row { call: Call::EnvCreate, what: "name", writes: false, args: |_, at| [8, at, 16, 0] },
    Row { call: Call::Books, what: "buffer", writes: true, args: |_, at| [at, 1024, 0, 0] },
    Row { call: Call::PageBatch, what: "list", writes: false, args: |c, at| [c.own.0, at, 4, 0] },
    Row { call: Call::SliceOwners, what: "buffer", writes: true, args: |_, at| [at, 64, 0, 0] },
    Row { call: Call::SliceStats, what: "place", writes: true, args: |c, at| [c.own.0, at, 0, 0] },
    Row { call: Call::VitalSet, what: "list", writes: false, args: |_, at| [at, 4, 0, 0] },
    Row { call: Call::RepossessionSet, what: "list", writes: false, args: |_, at| [0, at, 4, 0] },
    Row {
        call: Call::UpcallSet,
        what: "save area",
        writes: true,
        args: |_, at| [7, CODE, STACK_TOP, at],
    },
];

/// Where to.
const PLACES: &[(&str, u64, bool)] = &[
    ("the kernel", 0xffff_8000_0010_0000, false),
    ("the kernel's image", 0xffff_ffff_8010_0000, false),
    ("the edge of ring 3", abi::limits::USER_END - 8, false),
    ("the canonical edge", (1 << 47) - 8, false),
    ("nothing", NOTHING, false),
    ("half a page and nothing", SCRIPT + 0x2000 - 8, false),
    ("a non-canonical address", 0x0123_4567_89ab_cd80, false),
    ("the end of all addresses", u64::MAX - 7, false),
    ("the last address", u64::MAX, false),
    ("zero", 0, false),
    ("own code", CODE, true),
    ("the system page", abi::exposed::SYSTEM, true),
    ("the frame table", abi::exposed::FRAMES, true),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        for (which, &(place, at, readable)) in PLACES.iter().enumerate() {
            if readable && !row.writes {
                continue;
            }
            let name = format!("{:?} with its {} in {place}", row.call, row.what);
            let quick = which % ROWS.len() == number;
            let attack = Attack::script("pointer", name, move |_, child| {
                // What is misaligned besides may be refused for that.
                let expected: &'static [Status] = if row.call == Call::UpcallSet {
                    &[Status::BadAddress, Status::BadArgument]
                } else if matches!(row.call, Call::VitalSet | Call::RepossessionSet) {
                    // Lists are read one by one: the first entry may be there, and wrong.
                    &[Status::BadAddress, Status::BadHandle]
                } else {
                    &[Status::BadAddress]
                };
                alloc::vec![step(row.call, (row.args)(child, at), expected)]
            });
            attacks.push(attack.only_if(quick));
        }
    }
    for (name, address) in [
        ("map at the edge of ring 3", abi::limits::USER_END),
        ("map in the kernel", 0xffff_8000_0010_0000),
        ("map at a non-canonical address", 0x0123_4567_89ab_c000),
        ("map at zero", 0),
        ("map over the shown memory", abi::exposed::SYSTEM),
        ("map over the shown tables", abi::exposed::TABLES),
        ("map at an odd address", NOTHING + 1),
        ("map over itself", SCRIPT),
    ] {
        attacks.push(Attack::script("pointer", name.into(), move |_, child| {
            let refused = &[Status::BadAddress, Status::BadArgument, Status::Occupied];
            let args = [child.own.0, child.page.0, address, 1];
            alloc::vec![step(Call::PageMap, args, refused)]
        }));
    }
    attacks.push(Attack::script("pointer", "map writable and executable".into(), |_, child| {
        let args = [child.own.0, child.page.0, NOTHING, 7];
        alloc::vec![step(Call::PageMap, args, &[Status::WriteAndExecute])]
    }));
    attacks.push(Attack::script("pointer", "a batch in its own answers".into(), |_, child| {
        // The list lies in the very words that the child writes its answers to.
        let args = [child.own.0, SCRIPT + 64, 2, 0];
        alloc::vec![step(Call::PageBatch, args, &[]); 3]
    }));
    for (name, call) in [
        ("a batch that changes while it is read", Call::PageBatch),
        ("a name that changes while it is read", Call::EnvCreate),
        ("a list of pages that changes while it is read", Call::VitalSet),
    ] {
        attacks.push(Attack::custom("pointer", name, move |lab| flipped(lab, call)));
    }
    attacks
}

/// A second child flips the word that the first one's calls point to.
fn flipped(lab: &mut Lab, call: Call) -> Outcome {
    let flipper = Child::new(lab, FRAMES)?;
    let at = SCRIPT + 0x1f00;
    flipper.start(Stub::Flip, at)?;
    let child = Child::new(lab, crate::child::FRAMES_OF_SCRIPT)?;
    let args = match call {
        Call::PageBatch => [child.own.0, at, 4, 0],
        Call::EnvCreate => [8, at, 8, 0],
        _ => [at, 1, 0, 0],
    };
    let steps: Vec<Step> = alloc::vec![step(call, args, &[]); 60];
    let outcome = script(lab, child, &steps);
    let alive = flipper.env.status();
    flipper.kill();
    let outcome = outcome?;
    verdict(matches!(alive, Ok((abi::start::State::Runnable, _))), outcome)
}
