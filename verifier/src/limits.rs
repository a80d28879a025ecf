//! Every limit of the proofs, and the relations between them.
//!
//! A refusal that comes from a limit names the constant here (or in `flow::limits`,
//! `ebpf::limits`). They bound time and memory of a proof whatever the program looks like;
//! [`crate::arena_bytes`] is computed from them.

/// The attempts at a safety proof, each with more effort than the one before: states that are kept
/// apart where ways meet, whether the rounds of loops are kept apart, and instructions that may be
/// visited.
pub const EFFORTS: [(usize, bool, u32); 4] = [
    (1, false, VISITS_MAX / 8),
    (8, false, VISITS_MAX / 8),
    (24, false, VISITS_MAX / 4),
    (24, true, VISITS_MAX / 2),
];

/// Visits that a safety proof may make in all its attempts: one instruction with one state. A state
/// of more than `LIGHT_SLOTS` stack slots counts for as many as it has times so many.
pub const VISITS_MAX: u32 = 1 << 20;

/// Stack slots of a state that are looked at for the price of one visit.
pub const LIGHT_SLOTS: usize = 32;

/// Instructions that one run of a program may take: what [`crate::Verified::worst_case`] can say.
pub const WORST_CASE_MAX: u64 = u32::MAX as u64;

/// Bytes that the states of a safety proof may take together, for a program of `slots` slots.
#[must_use]
pub const fn state_bytes(slots: usize) -> usize {
    least((256 << 10) + slots * 1_024, 4 << 20)
}

/// Branches of the way that a state came by; of a longer way a refusal does not tell.
pub const TURNS_MAX: usize = 512;

/// Instructions of the way that a refusal tells of.
pub const PATH_MAX: usize = 4_096;

/// Loops around one instruction of a function.
pub const LOOP_DEPTH_MAX: usize = 16;

/// Rounds of a loop that are kept apart; behind that it is summed up.
pub const EXPLORED_ROUNDS_MAX: u32 = 4_096;

/// Widenings that a loop's state may take until it holds in every round.
pub const WIDENINGS_MAX: u32 = 12;

/// Numbers that a loop's state may be widened to.
pub const THRESHOLDS_MAX: usize = 96;

/// Variable packet pointers whose proven length one state remembers; older ones are forgotten,
/// which refuses more and never less.
pub const SPANS_MAX: usize = 16;

/// Largest number that is not a constant and may be added to a packet pointer (as in Linux:
/// `MAX_PACKET_OFF`), in bytes.
pub const VARIABLE_OFFSET_MAX: i64 = 0xffff;

/// Largest distance from the start of its region that a pointer may have, in bytes: far from
/// anything that could wrap an address.
pub const OFFSET_MAX: i64 = 0xf_ffff;

/// Smallest distance from the start of its region that a pointer may have, in bytes.
pub const OFFSET_MIN: i64 = -0xf_ffff;

/// Longest packet that there can be after its bounds were moved, in bytes: any that its buffer has
/// room for.
pub const MOVED_PACKET_MAX: i64 = 0xffff;

/// Longest memory that may be passed to a helper, in bytes: no key, value, line or packet is
/// longer.
pub const MEMORY_ARGUMENT_MAX: u64 = 0xffff;

/// Longest header whose length a filter may add to a pointer, in bytes: an IPv6 extension header's
/// length is a byte that counts eights.
pub const HEADER_MAX: u16 = 2_048;

/// Bits of the frame that an address may depend on beyond one header's length: each doubles the
/// cases that a claim proof tells apart.
pub const SPLIT_BITS_MAX: u32 = 4;

/// Pairs of instruction and symbolic state that a claim proof may visit.
pub const NODES_MAX: usize = 4_096;

/// Instructions that a claim proof may follow, over all its nodes.
pub const CLAIM_STEPS_MAX: u32 = 1 << 20;

/// Different symbolic values, and different cells, that a claim proof may make.
pub const VALUES_MAX: usize = 4_096;

/// Stores that a claim proof tracks on the stack at once.
pub const SPILLS_MAX: usize = 32;

/// Rules that one comparison may ask of the frame, either way it comes out. A range over eight
/// bytes takes 15, a range of lengths behind a header 16.
pub const CONDITION_RULES_MAX: usize = 32;

/// Rules of each space and condition in a claim proof that has met a limit and goes on around what
/// is accepted.
pub const COARSE_RULES_MAX: usize = 8;

/// Rules that an intermediate space of a claim proof may have; the claim itself may have
/// `flow::limits::RULES_MAX`.
pub const RULES_WORK_MAX: usize = 256;

/// Different rules that a claim proof may make.
pub const RULES_TABLE_MAX: usize = 8_192;

/// Cells, summed over all different rules, that a claim proof may make.
pub const CELLS_WORK_MAX: usize = 32_768;

/// Rules, summed over all intermediate spaces and conditions, that a claim proof may refer to.
pub const REFERENCES_MAX: usize = 1 << 17;

/// Cases of a certificate.
pub const CERTIFICATE_CASES_MAX: usize = 128;

/// Bytes that one case of a certificate may fix.
pub const CERTIFICATE_TESTS_MAX: usize = 16;

/// Rules that the cases of a certificate may come to before the claim is done.
pub const CERTIFIED_RULES_MAX: usize = 256;

/// Cells, summed over all rules, that the cases of a certificate may come to.
pub const CERTIFIED_CELLS_MAX: usize = 8_192;

/// What a claim proof may make for a program of a certain length: the limits above, or less for a
/// short program, so that it needs little memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimBudget {
    /// At most `NODES_MAX`.
    pub nodes: usize,
    /// At most `VALUES_MAX`.
    pub values: usize,
    /// At most `RULES_TABLE_MAX`.
    pub rules: usize,
    /// At most `CELLS_WORK_MAX`.
    pub cells: usize,
    /// At most `REFERENCES_MAX`.
    pub references: usize,
}

impl ClaimBudget {
    /// The budget for a program of `slots` slots.
    #[must_use]
    pub const fn of(slots: usize) -> ClaimBudget {
        // 64 slots are a filter for one connection; the work is seldom more than twice its slots.
        let slots = slots.next_multiple_of(64);
        ClaimBudget {
            nodes: least(slots * 8, NODES_MAX),
            values: least(slots * 12, VALUES_MAX),
            rules: least(slots * 32, RULES_TABLE_MAX),
            cells: least(slots * 192, CELLS_WORK_MAX),
            references: least(slots * 256, REFERENCES_MAX),
        }
    }
}

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// Grants that a registry may hold at once, the root included.
pub const GRANTS_MAX: usize = 4_096;

/// Bindings that a registry may hold at once.
pub const BINDINGS_MAX: usize = 65_536;

/// Derivations between the root and a grant.
pub const DEPTH_MAX: usize = 16;

/// Bindings, or child grants, that may stand directly under one grant.
pub const NEIGHBOURS_MAX: usize = 65_536;

/// Shapes that the rules of the bindings, or of the child grants, directly under one grant may
/// have: each costs every proof under the grant a look-up.
pub const INDEX_SHAPES_MAX: usize = 128;

/// Rules that a child of the root and everything under it may have together: a quarter of what
/// there may be of bindings.
pub const RULES_PER_GRANT: usize = 16_384;

/// Rules of neighbours that the index may name for one claim though they do not meet it, before
/// the claim is refused: rules that are told apart by two ranges at once, or by sets with holes.
pub const CANDIDATES_MAX: u32 = 4_096;

/// Rules that are put into an unfinished table with each commit and each release.
pub const FILL_AT_ONCE: usize = 8;

/// What a registry may hold: the constants above, or more on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// As [`GRANTS_MAX`].
    pub grants: usize,
    /// As [`BINDINGS_MAX`]; no more than `2^26`.
    pub bindings: usize,
    /// As [`NEIGHBOURS_MAX`].
    pub neighbours: usize,
    /// As [`INDEX_SHAPES_MAX`].
    pub shapes: usize,
    /// As [`RULES_PER_GRANT`].
    pub rules: usize,
    /// As [`CANDIDATES_MAX`].
    pub candidates: u32,
}

impl Limits {
    /// The constants above.
    pub const KERNEL: Limits = Limits {
        grants: GRANTS_MAX,
        bindings: BINDINGS_MAX,
        neighbours: NEIGHBOURS_MAX,
        shapes: INDEX_SHAPES_MAX,
        rules: RULES_PER_GRANT,
        candidates: CANDIDATES_MAX,
    };

    /// For a host with memory: sixteen million of everything.
    pub const HOST: Limits = Limits {
        grants: 1 << 24,
        bindings: 1 << 24,
        neighbours: 1 << 24,
        rules: 1 << 26,
        ..Limits::KERNEL
    };
}

/// New neighbours that `own` and `adopt` compare by themselves, when a proof waited between its
/// last step and its commit; more than that is [`crate::RefusalCode::Stale`].
pub const RECHECK_MAX: usize = 4;

/// Fuel units that one work item may cost at most.
pub const ITEM_UNITS: u32 = 256;

const _: () = assert!(ebpf::limits::PACKET_MAX as i64 <= VARIABLE_OFFSET_MAX);
const _: () = assert!(VARIABLE_OFFSET_MAX < OFFSET_MAX && MOVED_PACKET_MAX < OFFSET_MAX);
const _: () = assert!(ebpf::limits::MAP_VALUE_BYTES_MAX as u64 <= MEMORY_ARGUMENT_MAX);
// Every visit makes a few names, every join one for each value: less than there are numbers.
const _: () = assert!((VISITS_MAX as u64) * 2_048 <= u32::MAX as u64);
const _: () = assert!(ebpf::limits::PACKET_MAX == flow::limits::FRAME_MAX as usize);
const _: () = assert!(ebpf::limits::PACKET_MIN == flow::limits::FRAME_MIN as usize);
const _: () = assert!(flow::limits::RULES_MAX <= RULES_WORK_MAX);
// Two sides, each rule with each condition.
const _: () = assert!(2 * COARSE_RULES_MAX * COARSE_RULES_MAX <= RULES_WORK_MAX);
// One grant's full claim, many times over, and never all that there is room for.
const _: () = assert!(flow::limits::RULES_MAX * 64 <= RULES_PER_GRANT);
const _: () = assert!(RULES_PER_GRANT * 4 <= BINDINGS_MAX);
const _: () = assert!(NEIGHBOURS_MAX <= BINDINGS_MAX && RECHECK_MAX <= NEIGHBOURS_MAX);
// A rule's tag is 26 bits of slot and 6 bits of rule.
const _: () = assert!(flow::limits::RULES_MAX <= 1 << 6);
const _: () = assert!(Limits::KERNEL.bindings <= 1 << 26 && Limits::HOST.bindings <= 1 << 26);
const _: () = assert!(Limits::KERNEL.grants <= 1 << 26 && Limits::HOST.grants <= 1 << 26);
