//! What an expert writes for XDP on Linux, run by the host's own kernel.
//!
//! Programs take their frames from a map, one after the other, so that one test run answers for
//! many. What a program costs that only takes its frame and returns is subtracted: what is left is
//! the classification. Short programs hide in what is subtracted: figures below about 5 ns are
//! lower bounds.

use ebpf::{Kind, MapKind, MapSpec, Program};

use super::workload::{LISTENER, Variant, Workload};
use crate::peers::linux::{Filled, Linux, Loaded};

/// Frames that the map holds.
const FRAMES: usize = 1 << 16;
/// Frames of one turn.
const REPEAT: u32 = 1 << 18;
/// Slots that the hash looks at before it gives up.
const PROBES: usize = 8;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Programs for one workload.
#[derive(Debug)]
pub struct Kernel {
    base: Loaded,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    program: Loaded,
}

/// Instruction words.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn op(&mut self, code: u8, dst: u8, src: u8, rest: (i16, i32)) -> &mut Self {
        self.0.extend_from_slice(&[code, dst | src << 4]);
        self.0.extend_from_slice(&rest.0.to_le_bytes());
        self.0.extend_from_slice(&rest.1.to_le_bytes());
        self
    }

    fn imm(&mut self, code: u8, dst: u8, imm: i32) -> &mut Self {
        self.op(code, dst, 0, (0, imm))
    }

    /// `dst` = 64 bits.
    fn wide(&mut self, dst: u8, value: u64) -> &mut Self {
        let low = value as u32;
        self.op(0x18, dst, 0, (0, low.cast_signed())).op(0, 0, 0, (0, (value >> 32) as i32))
    }

    /// `dst` = address of a map's first value.
    fn map_value(&mut self, dst: u8, map: i32) -> &mut Self {
        self.op(0x18, dst, 2, (0, map)).op(0, 0, 0, (0, 0))
    }

    fn load(&mut self, code: u8, dst: u8, src: u8, at: i16) -> &mut Self {
        self.op(code, dst, src, (at, 0))
    }

    /// The next frame's address in r2: map 0 counts, map 1 holds the frames.
    fn frame(&mut self) -> &mut Self {
        self.map_value(1, 0).load(0x61, 3, 1, 0).op(0xbf, 4, 3, (0, 0)).imm(0x07, 4, 1);
        self.op(0x63, 1, 4, (0, 0)).imm(0x57, 3, FRAMES as i32 - 1).imm(0x67, 3, 6);
        self.map_value(2, 1).op(0x0f, 2, 3, (0, 0))
    }

    /// Leaves with 0 unless 32 bits of the frame are right.
    fn expect(&mut self, at: i16, mask: u32, value: u32) -> &mut Self {
        self.load(0x61, 3, 2, at);
        if mask != u32::MAX {
            self.imm(0x54, 3, mask.cast_signed());
        }
        self.op(0x16, 3, 0, (2, value.cast_signed())).imm(0xb7, 0, 0).imm(0x95, 0, 0)
    }

    /// Everything but the key, which goes to r3.
    fn header(&mut self, variant: Variant) -> &mut Self {
        let protocol = if variant == Variant::Udp { 17 } else { 6 };
        self.expect(12, 0x00ff_ffff, 0x0045_0008).expect(20, 0xff00_ff1f, protocol << 24);
        self.expect(30, u32::MAX, 0x0100_000a);
        if variant == Variant::Udp {
            return self.load(0x69, 3, 2, 36);
        }
        self.load(0x69, 3, 2, 36).imm(0x57, 3, 0xffff);
        let port = i32::from(LISTENER.swap_bytes());
        self.op(0x15, 3, 0, (2, port)).imm(0xb7, 0, 0).imm(0x95, 0, 0);
        self.load(0x61, 3, 2, 26).load(0x69, 4, 2, 34).imm(0x67, 4, 32).op(0x4f, 3, 4, (0, 0))
    }

    fn program(&self) -> Option<Program> {
        ebpf::decode(&self.0, Kind::Ash, ebpf::limits::HOST_SLOTS).ok()
    }
}

fn array(bytes: Vec<u8>) -> Filled {
    let value_size = (bytes.len() as u32).next_multiple_of(8);
    let spec = MapSpec {
        kind: MapKind::Array,
        key_size: 4,
        value_size,
        max_entries: 1,
        read_only: false,
        name: Default::default(),
    };
    Filled { spec, initial: bytes }
}

fn load(code: &Code, workload: &Workload, table: Filled) -> Option<Loaded> {
    let frames = workload.frames.iter().take(FRAMES).flatten().copied().collect();
    let maps = [array(vec![0; 8]), array(frames), table];
    let verdict = Linux::here()?.load(&code.program()?, &maps).ok()?;
    if verdict.program.is_err() {
        eprintln!("the kernel refuses a peer: {}", verdict.log);
    }
    verdict.program.ok()
}

impl Kernel {
    /// The kernel, if it takes programs from here.
    #[must_use]
    pub fn here(workload: &Workload) -> Option<Kernel> {
        let mut code = Code::default();
        code.frame().imm(0xb7, 0, 2).imm(0x95, 0, 0);
        Some(Kernel { base: load(&code, workload, array(vec![0; 8]))? })
    }

    /// An array by port (`udp`).
    #[must_use]
    pub fn by_port(&self, workload: &Workload) -> Option<Row> {
        let mut table = vec![0_u8; 4 << 16];
        for (key, owner) in workload.keys.iter().zip(1_u32..) {
            let at = *key as usize * 4;
            table[at..at + 4].copy_from_slice(&owner.to_le_bytes());
        }
        let mut code = Code::default();
        code.frame().header(workload.variant).imm(0x67, 3, 2).map_value(5, 2);
        code.op(0x0f, 5, 3, (0, 0)).load(0x61, 0, 5, 0).imm(0x95, 0, 0);
        checked(load(&code, workload, array(table))?, workload)
    }

    /// A hash table written in eBPF, in the value of an array map.
    #[must_use]
    pub fn by_hash(&self, workload: &Workload) -> Option<Row> {
        let mut bits = (workload.keys.len() * 2).next_power_of_two().ilog2().max(2);
        let table = loop {
            match filled(&workload.keys, bits) {
                Some(table) => break table,
                None => bits += 1,
            }
        };
        let mut code = Code::default();
        code.frame().header(workload.variant).op(0xbf, 4, 3, (0, 0));
        code.wide(5, FACTOR).op(0x2f, 4, 5, (0, 0)).imm(0x77, 4, 64 - bits as i32).imm(0x67, 4, 4);
        code.map_value(2, 2).op(0x0f, 2, 4, (0, 0));
        for probe in 0..PROBES as i16 {
            code.load(0x79, 5, 2, 16 * probe).load(0x61, 0, 2, 16 * probe + 8);
            code.op(0x1d, 5, 3, (2, 0)).op(0x15, 0, 0, (1, 0)).op(0x05, 0, 0, (1, 0));
            code.imm(0x95, 0, 0);
        }
        code.imm(0xb7, 0, 0).imm(0x95, 0, 0);
        checked(load(&code, workload, array(table))?, workload)
    }

    /// A map of the kind that everybody takes first.
    #[must_use]
    pub fn by_map(&self, workload: &Workload) -> Option<Row> {
        let mut code = Code::default();
        // The key on the stack, its address, the map, `bpf_map_lookup_elem`.
        code.frame().header(workload.variant).op(0x7b, 10, 3, (-8, 0)).op(0xbf, 2, 10, (0, 0));
        code.imm(0x07, 2, -8).op(0x18, 1, 1, (0, 2)).op(0, 0, 0, (0, 0)).imm(0x85, 0, 1);
        code.op(0x15, 0, 0, (1, 0)).load(0x61, 0, 0, 0).imm(0x95, 0, 0);
        let spec = MapSpec {
            kind: MapKind::Hash,
            key_size: 8,
            value_size: 8,
            max_entries: workload.keys.len() as u32,
            read_only: false,
            name: Default::default(),
        };
        let program = load(&code, workload, Filled { spec, initial: Vec::new() })?;
        program.fill(2, workload.keys.iter().copied().zip(1_u64..)).ok()?;
        checked(program, workload)
    }

    /// One program that searches all keys by halves, in code. The kernel's jumps reach no further
    /// than a thousand filters.
    #[must_use]
    pub fn by_halves(&self, workload: &Workload) -> Option<Row> {
        let mut keys: Vec<(u64, u32)> = workload.keys.iter().copied().zip(1..).collect();
        keys.sort_unstable();
        let mut code = Code::default();
        code.frame().header(workload.variant);
        code.0.extend(halves(&keys).0);
        checked(load(&code, workload, array(vec![0; 8]))?, workload)
    }

    /// Nanoseconds per frame, less what taking a frame costs.
    #[must_use]
    pub fn time(&self, row: &Row) -> f64 {
        let time = |program: &Loaded| {
            let taken = program.repeat(&[0; 64], REPEAT);
            taken.map_or(f64::NAN, |(_, time)| time.as_nanos() as f64 / f64::from(REPEAT))
        };
        time(&row.program) - time(&self.base)
    }
}

/// Its first answers looked at.
fn checked(program: Loaded, workload: &Workload) -> Option<Row> {
    for owner in workload.owners.iter().take(500) {
        let (answer, _) = program.repeat(&[0; 64], 1).ok()?;
        assert_eq!(answer, *owner, "the kernel's program answers otherwise");
    }
    Some(Row { program })
}

/// Comparisons of r3 with keys in ascending order.
fn halves(keys: &[(u64, u32)]) -> Code {
    let mut code = Code::default();
    if let [(key, owner)] = keys {
        code.wide(5, *key).imm(0xb7, 0, owner.cast_signed()).op(0x1d, 3, 5, (1, 0));
        code.imm(0xb7, 0, 0).imm(0x95, 0, 0);
        return code;
    }
    let (low, high) = keys.split_at(keys.len() / 2);
    let left = halves(low);
    if let Some((key, _)) = high.first() {
        code.wide(5, *key).op(0x3d, 3, 5, ((left.0.len() / 8) as i16, 0));
    }
    code.0.extend(left.0);
    code.0.extend(halves(high).0);
    code
}

/// Open addressing with 2^bits slots of (key, owner); `None` if a key is too far from its place.
fn filled(keys: &[u64], bits: u32) -> Option<Vec<u8>> {
    let mut table = vec![0_u8; ((1 << bits) + PROBES) * 16];
    for (key, owner) in keys.iter().zip(1_u32..) {
        let start = (key.wrapping_mul(FACTOR) >> (64 - bits)) as usize;
        let free = (start..start + PROBES).find(|at| table[at * 16 + 8..at * 16 + 12] == [0; 4])?;
        table[free * 16..free * 16 + 8].copy_from_slice(&key.to_le_bytes());
        table[free * 16 + 8..free * 16 + 12].copy_from_slice(&owner.to_le_bytes());
    }
    Some(table)
}
