//! Which figure of Sluice stands beside which of Linux, and what is demanded of it.
//!
//! Where Linux has several ways to do a thing, all of them are measured and the cheapest counts.

/// What is demanded of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// So many instructions at most.
    AtMost(u64),
    /// So many instructions at most, and fewer than Linux.
    AtMostAndFewer(u64),
    /// So many times fewer than Linux.
    TimesFewer(u64),
    /// As many as Linux, give or take so many per cent: nothing is lost.
    WithinPercent(u64),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is measured.
    pub what: &'static str,
    /// Title and name of Sluice's figures; their sum counts.
    pub ours: &'static [(&'static str, &'static str)],
    /// How Linux does it, with title and name of the figures, whose sum counts; the cheapest.
    pub linux: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    /// What is demanded.
    pub target: Target,
}

/// How many times fewer instructions a service must take, unless its row says otherwise.
const FEWER: Target = Target::TimesFewer(5);

const fn row(
    what: &'static str,
    ours: &'static [(&'static str, &'static str)],
    linux: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    target: Target,
) -> Row {
    Row { what, ours, linux, target }
}

/// The table (SOSP '95, tables 4 to 6 and 8 to 10).
pub const ROWS: [Row; 18] = [
    row(
        "null call",
        &[("ipc", "null_call")],
        &[("`getpid`", &[("linux call", "null")])],
        Target::AtMostAndFewer(60),
    ),
    row(
        "exception, fault to handler",
        &[("pager fault", "to_handler")],
        &[("signal", &[("linux fault", "to_handler")])],
        Target::AtMost(40),
    ),
    row(
        "exception, handler and back",
        &[("pager fault", "to_handler"), ("pager fault", "back")],
        &[("signal", &[("linux fault", "to_handler"), ("linux fault", "back")])],
        FEWER,
    ),
    row("protected transfer, one way", &[("ipc", "transfer")], ONE_WAY, Target::AtMost(80)),
    row(
        "lrpc, there and back",
        &[("ipc", "lrpc")],
        &[
            ("two pipes", &[("linux call", "pipe")]),
            ("socket pair", &[("linux call", "socket")]),
            ("shared page, futex", &[("linux call", "futex")]),
        ],
        FEWER,
    ),
    row("pipe, one way", &[("ipc", "pipe")], &[("pipe", &[("linux one_way", "pipe")])], FEWER),
    row("shm, one way", &[("ipc", "shm")], SHARED, FEWER),
    row(
        "dirty",
        &[("pager linear", "dirty")],
        &[("`pread` of `pagemap`", &[("linux dirty", "one")])],
        FEWER,
    ),
    row(
        "dirty, per page of 100",
        &[("pager linear", "dirty100")],
        &[("one `pread` of `pagemap`", &[("linux dirty", "of_hundred")])],
        FEWER,
    ),
    memory("prot1", &[("pager linear", "prot1")], MPROTECT_1),
    memory("prot100", &[("pager linear", "prot100")], MPROTECT_100),
    memory("unprot100", &[("pager linear", "unprot100")], MUNPROTECT_100),
    memory("trap", &[("pager linear", "trap")], TRAP),
    memory("appel1, per page", &[("pager linear", "appel1")], APPEL_1),
    memory("appel2, per page", &[("pager linear", "appel2")], APPEL_2),
    memory("prot100 over a hash table", &[("pager hashed", "prot100")], MPROTECT_100),
    memory("appel2 over a hash table", &[("pager hashed", "appel2")], APPEL_2),
    row(
        "matrix multiply, 150 × 150",
        &[("pager matrix", "multiply")],
        &[("the same code", &[("linux matrix", "multiply")])],
        Target::WithinPercent(5),
    ),
];

type Ways = &'static [(&'static str, &'static [(&'static str, &'static str)])];

const fn memory(
    what: &'static str,
    ours: &'static [(&'static str, &'static str)],
    linux: Ways,
) -> Row {
    row(what, ours, linux, FEWER)
}

const ONE_WAY: Ways = &[
    ("pipe", &[("linux one_way", "pipe")]),
    ("socket pair", &[("linux one_way", "socket")]),
    ("futex", &[("linux one_way", "futex")]),
    ("`sched_yield`", &[("linux one_way", "yield")]),
];
const SHARED: Ways =
    &[("futex", &[("linux one_way", "futex")]), ("`sched_yield`", &[("linux one_way", "yield")])];
const MPROTECT_1: Ways = &[("`mprotect`", &[("linux memory", "prot1")])];
const MPROTECT_100: Ways = &[("`mprotect`", &[("linux memory", "prot100")])];
const MUNPROTECT_100: Ways = &[("`mprotect`", &[("linux memory", "unprot100")])];
const TRAP: Ways = &[("signal", &[("linux memory", "trap")])];
const APPEL_1: Ways = &[("signal, `mprotect`", &[("linux memory", "appel1")])];
const APPEL_2: Ways = &[("signal, `mprotect`", &[("linux memory", "appel2")])];
