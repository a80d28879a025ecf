//! What compiler and checker take for granted of a program: what the verifier found, and its maps.
//!
//! eBPF programs load 32 bits at the offsets of `struct xdp_md`; the native context has pointers of
//! 64 bits at other offsets, so those loads must be rewritten, and only those. A look-up in an
//! array is a comparison and an address, if it is the same array on every path. The verifier knows
//! both. Compiler and checker use the same premises: they speak about eBPF, not emitted code.

#[cfg(test)]
mod analysis;
mod flow;

#[cfg(test)]
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ebpf::context::Field;
use ebpf::{CallTarget, Insn, MapSpec, Passed, Passing, Program, Reg};
use runtime::map::Map;
use verifier::Verified;

use flow::Joins;

/// What is taken for granted of one program.
#[derive(Debug, Clone)]
pub(crate) struct Premises {
    known: Known,
    /// Which optional arguments calls pass.
    passed: Passed,
    /// Where ways meet.
    joins: Joins,
    /// The maps, by position.
    maps: Vec<Place>,
}

/// Who says what loads and calls do.
#[derive(Debug, Clone)]
enum Known {
    /// The verifier: what it says nothing of is never run.
    Proven(Verified),
    /// For tests, an analysis: the slots whose loads read the context, and the fields that they
    /// read.
    #[cfg(test)]
    Guessed(BTreeMap<u32, Field>),
}

/// Where a map is, and what it is. It keeps nothing alive: whoever runs the code keeps the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    spec: MapSpec,
    object: u64,
    values: u64,
}

/// [`Premises`] in the making, a slot at a time.
#[derive(Debug)]
pub(crate) struct Gathering {
    premises: Premises,
    passing: Passing,
}

impl Premises {
    /// What the verifier found, and these maps; `None` if they are not the program's.
    pub(crate) fn of(verified: &Verified, maps: &[Arc<Map>]) -> Option<Self> {
        let mut gathering = Gathering::new(verified, maps)?;
        while !gathering.advance(verified.program()) {}
        Some(gathering.finish(verified.program()))
    }

    /// Nothing is known of calls and maps yet.
    pub(crate) fn nothing(verified: &Verified) -> Self {
        let known = Known::Proven(verified.clone());
        Self { known, passed: Passed::default(), joins: Joins::default(), maps: Vec::new() }
    }

    /// The field that the load at `pc` reads.
    pub(crate) fn at(&self, pc: u32) -> Option<Field> {
        match &self.known {
            Known::Proven(verified) => verified.context_load(pc),
            #[cfg(test)]
            Known::Guessed(fields) => fields.get(&pc).copied(),
        }
    }

    /// The map that the helper call at `pc` is given, on every path.
    pub(crate) fn map_at(&self, pc: u32) -> Option<&Place> {
        match &self.known {
            Known::Proven(verified) => self.map(verified.map_at(pc)?),
            #[cfg(test)]
            Known::Guessed(_) => None,
        }
    }

    /// The helper that the call at `pc` calls by register, on every path; `Some(None)` where no run
    /// comes by.
    pub(crate) fn helper_at(&self, pc: u32) -> Option<Option<u32>> {
        match &self.known {
            Known::Proven(verified) => Some(verified.helper_at(pc)),
            #[cfg(test)]
            Known::Guessed(_) => None,
        }
    }

    /// The map at a position.
    pub(crate) fn map(&self, position: u32) -> Option<&Place> {
        self.maps.get(position as usize)
    }

    /// Whether the call at `pc` passes an optional argument.
    pub(crate) fn passes(&self, pc: u32, reg: Reg) -> bool {
        self.passed.at(pc, reg)
    }

    /// Whether a slot is reached from elsewhere than the one before it.
    pub(crate) fn joined(&self, pc: u32) -> bool {
        self.joins.at(pc)
    }

    /// Whether nobody reads a register from `pc` on before it is written again.
    pub(crate) fn is_dead(&self, program: &Program, pc: u32, reg: Reg) -> bool {
        flow::is_dead(program, pc, reg, |pc| {
            // An inlined look-up reads its key's address and nothing else.
            let map = self.map_at(pc).filter(|_| looks_up(program, pc));
            map.filter(|map| is_inlined(map.spec())).map(|_| 1 << Reg::R2.index())
        })
    }

    /// Whether the processor has BMI2.
    pub(crate) fn bmi2(&self) -> bool {
        runtime::native::bmi2()
    }

    /// Whether these are the maps whose addresses were taken for granted.
    pub(crate) fn holds_of(&self, maps: &[Arc<Map>]) -> bool {
        self.maps.iter().copied().eq(maps.iter().map(|map| Place::of(map)))
    }
}

#[cfg(test)]
impl Default for Premises {
    fn default() -> Self {
        let known = Known::Guessed(BTreeMap::new());
        Self { known, passed: Passed::default(), joins: Joins::default(), maps: Vec::new() }
    }
}

impl Gathering {
    /// As [`Premises::of`], nothing gathered yet.
    pub(crate) fn new(verified: &Verified, maps: &[Arc<Map>]) -> Option<Self> {
        let program = verified.program();
        let specs = maps.iter().map(|map| map.spec());
        if !program.maps().iter().eq(specs) {
            return None;
        }
        let maps = maps.iter().map(|map| Place::of(map)).collect();
        let premises = Premises { maps, ..Premises::nothing(verified) };
        Some(Self { premises, passing: Passing::new(program) })
    }

    /// Looks at one slot; true when all is gathered.
    pub(crate) fn advance(&mut self, program: &Program) -> bool {
        // Both, even where the other is done.
        self.passing.advance(program) & self.premises.joins.advance(program)
    }

    /// What was gathered.
    pub(crate) fn finish(self, program: &Program) -> Premises {
        Premises { passed: self.passing.found(program), ..self.premises }
    }
}

impl Place {
    fn of(map: &Map) -> Self {
        let object = core::ptr::from_ref(map).expose_provenance() as u64;
        Self { spec: *map.spec(), object, values: map.values_address() }
    }

    pub(crate) const fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// Address of the map's values.
    pub(crate) const fn values_address(&self) -> u64 {
        self.values
    }

    /// Address of the map, as helpers take it.
    pub(crate) const fn object_address(&self) -> u64 {
        self.object
    }

    /// Address of a byte of a map's only value, if a 64-bit load may have it.
    pub(crate) fn direct_address(&self, offset: u32) -> Option<u64> {
        let inside = self.spec.direct_bytes().is_some_and(|bytes| offset < bytes);
        inside.then(|| self.values + u64::from(offset))
    }
}

/// Whether looking something up is a comparison and an address.
pub(crate) fn is_inlined(spec: &MapSpec) -> bool {
    spec.kind.is_array()
}

fn looks_up(program: &Program, pc: u32) -> bool {
    let look_up = CallTarget::Helper(ebpf::helper::MAP_LOOKUP);
    matches!(program.get(pc), Some(Insn::Call { target }) if *target == look_up)
}

/// Whether an instruction calls a helper that gets the run's context as its sixth argument, so that
/// its program's frame must keep it.
pub(crate) fn wants_run(insn: &Insn) -> bool {
    match *insn {
        Insn::Call { target: CallTarget::Helper(id) } => id == runtime::native::WITH_RUN,
        // It may be that helper.
        Insn::Call { target: CallTarget::Register(_) } => true,
        _ => false,
    }
}
