//! Every limit of the kernel that ring 3 does not see in `abi::limits`, and how they relate.
//!
//! A refusal that meets one of these names it. Sizes are bytes unless the name says otherwise.

/// Nanoseconds of a time slice.
pub const SLICE_NS: u64 = abi::limits::SLICE_NS;

/// Ended environments whose last state is remembered.
pub const ENDED_MAX: usize = abi::limits::ENVIRONMENTS_MAX;

/// Frames that an environment must be given at least: its root table, a table of capabilities,
/// and the three tables of a first mapping with a page behind it.
pub const ENVIRONMENT_FRAMES_MIN: u64 = 8;

/// Frames that the page tables of one mapping take at worst (x86-64, four levels, root apart).
pub const TABLE_FRAMES_WORST: u64 = 3;

/// Capability slots in one chunk of a table; a chunk is charged as one frame.
pub const SLOTS_PER_CHUNK: usize = 128;

/// Mappings of one page at most.
pub const MAPPINGS_MAX: usize = 128;

/// Kernel heap that one page costs its owner.
pub const PAGE_COST: u64 = 192;

/// Kernel heap that one mapping costs the environment that it is in.
pub const MAPPING_COST: u64 = 96;

/// Kernel heap that an environment costs: its record, registers and queue entries.
pub const ENVIRONMENT_COST: u64 = 4096;

/// Kernel heap that a binding costs besides its programs.
pub const BINDING_COST: u64 = 8192;

/// Kernel heap and code that a pipe costs the owner of its binding.
pub const PIPE_COST: u64 = 8192;

/// The same for a predicate, besides its program's slots.
pub const PREDICATE_COST: u64 = 12 * 1024;

/// Nanoseconds between two looks at predicates while somebody runs or the machine idles.
pub const PREDICATE_NS: u64 = SLICE_NS / 4;

/// Instructions charged for a line that a handler prints, beyond the handler's own.
pub const LINE_COST: u32 = 4096;

/// Words of a new map that are filled between two looks at the card.
pub const MAP_FILL_WORDS: usize = 2048;

/// Bytes that a map's arena takes for the allocator itself, and for what one allocation is more
/// than was asked for.
pub const MAP_OVERHEAD: usize = 4096 + 64 * runtime::map::Map::ALLOCATIONS;

/// Instructions charged for a copy that a handler sends, besides the handler's own: guard, copy and
/// queueing of the longest frame.
pub const COPY_COST: u32 = 2048;

/// Frames for the bytes of such copies behind their headers, two copies to a frame.
pub const STAGING_FRAMES: usize = 4;

/// Kernel heap that must be free before a call may allocate its few hundred bytes, so that the
/// small allocations between two reservations never meet an empty heap.
pub const HEAP_HEADROOM: usize = 128 * 1024;

/// Kernel heap that merging, compiling and checking a program of so many slots takes at worst.
pub const fn compile_heap(slots: usize) -> usize {
    256 * 1024 + slots * 256
}

/// Kernel heap that one call may need that fills the proof index's tables: a segment of nodes and
/// the rules that are put in.
pub const SETTLE_HEAP: usize = 160 * 1024;

/// Datagrams of one environment of which fragments may be awaited at once: what it is charged for
/// fragments is its share of the table.
pub const DATAGRAMS_PER_OWNER: usize = 8;

/// Fragments that one datagram may come in: more than 65,535 bytes over Ethernet need.
pub const FRAGMENTS_MAX: u32 = 64;

/// Bytes of a datagram's payload at most, RFC 791 3.1.
pub const DATAGRAM_BYTES_MAX: u32 = 65_535;

/// Nanoseconds for which later fragments are awaited: RFC 791 3.2, "fifteen seconds".
pub const FRAGMENT_LIFE_NS: u64 = 15_000_000_000;

/// Steps that a predicate's proof may take: its caller's slice goes by meanwhile.
pub const PREDICATE_STEPS_MAX: u32 = 256;

/// Fuel of one step of a proof: a few tens of thousands of guest instructions.
pub const PROOF_FUEL: u32 = 128;

/// The same where a claim is extracted: one instruction that is followed, whatever it costs.
pub const CLAIM_FUEL: u32 = 32;

/// Packets taken from the card in one poll.
pub const BATCH_MAX: usize = 16;

/// Batches between two stays in ring 3: together all that the card's queue can hold, so that
/// nothing waits for an interrupt that was acknowledged with it.
pub const BATCHES_MAX: usize = 16;

/// Slots taken from a transmit ring in one call.
pub const TRANSMIT_BATCH_MAX: usize = 32;

/// Pages that are given back between two polls of the card.
pub const REAP_BATCH: usize = 32;

/// Pages and mappings that an audit looks at between two polls of the card: about 10,000 guest
/// instructions.
pub const AUDIT_BATCH: usize = 128;

/// Pages that are taken by force at one serving.
pub const REPOSSESS_BATCH: usize = 16;

/// Rules of a residual flow space that is read as a program.
pub const RESIDUAL_RULES_MAX: usize = 64;

/// Kernel heap that making it takes at worst.
pub const RESIDUAL_HEAP: usize = 512 * 1024;

/// Pages of `init`'s stack.
pub const STACK_PAGES: u64 = 16;

/// Exit code of a machine that could not start `init`.
pub const EXIT_NO_INIT: u8 = 0x7e;

/// Exit code of a machine on which no environment is left.
pub const EXIT_DESERTED: u8 = 0x7d;

const _: () = assert!(CLAIM_FUEL <= PROOF_FUEL);
const _: () = assert!(abi::limits::CAPABILITIES_MAX.is_multiple_of(SLOTS_PER_CHUNK));
const _: () = assert!(BATCHES_MAX * BATCH_MAX >= machine::limits::NIC_QUEUE);
const _: () = assert!(TRANSMIT_BATCH_MAX <= machine::limits::TRANSMIT_SLOTS);
const _: () = assert!(abi::limits::GUARDED_BYTES_MAX == machine::limits::TRANSMIT_HEADER_MAX);
const _: () = assert!(abi::limits::FRAME_BYTES_MAX < machine::limits::FRAME_MAX);
const _: () = assert!(abi::limits::FRAME_BYTES_MAX == ebpf::limits::PACKET_MAX);
const _: () = assert!(abi::limits::FRAME_BYTES_MIN == ebpf::limits::PACKET_MIN);
const _: () = assert!(abi::limits::PROGRAM_SLOTS_MAX == ebpf::limits::KERNEL_SLOTS);
const _: () = assert!(abi::limits::PAGE_BYTES == machine::PAGE);
const _: () = assert!(abi::limits::USER_START == machine::USER_START);
const _: () = assert!(abi::limits::USER_END == machine::USER_END);
