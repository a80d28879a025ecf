//! ELF objects from `clang -target bpf`: their maps made, their programs ready to be bound.
//!
//! The kernel takes instructions and capabilities to maps and never sees an object: reading one is
//! the library OS's own business, and so is this module. [`Handlers::open`] reads the file;
//! [`Handlers::handler`] makes each map that a program uses once, writes what the object says is in
//! it (`.rodata`, `.data`, `.bss`), and gives the program's bytes with its maps by position, as
//! `Bind` wants them. [`Handlers::map`] is the same map by name, for the program beside the
//! handler.
//!
//! Maps are shared by the programs of one object, as in libbpf; pinning means nothing here. An
//! error says which program or map, in which section, and why.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use abi::map::{ANY, BINDING_MAPS_MAX, MapRequest, READ_ONLY};
use abi::{Call, Handle, Status};
use ebpf::map::{MapKind, MapSpec};
use ebpf::object::{MapFault, Object, ObjectError, ObjectMap};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::map::Map;
use crate::sys::{MapMemory, Request, perform, plain};

/// Why an object, a program or a map of it cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// The file as a whole.
    Object {
        /// What the reader says: section, offset, symbol.
        error: Box<ObjectError>,
    },
    /// No program of that name is in it.
    NoProgram {
        /// The name asked for.
        wanted: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// The program has a fault of its own.
    Program {
        /// Its name.
        name: String,
        /// The section that it is in.
        section: String,
        /// What the reader says: relocation, symbol, instruction.
        error: Box<ObjectError>,
    },
    /// It uses more maps than a binding may have.
    Maps {
        /// Its name.
        name: String,
        /// How many it uses.
        count: usize,
    },
    /// No map of that name is in it.
    NoMap {
        /// The name asked for.
        wanted: String,
    },
    /// There can be no such map here.
    Map {
        /// Its name.
        name: String,
        /// Why.
        fault: MapFault,
    },
    /// The kernel did not make or fill the map.
    Kernel {
        /// The map's name.
        name: String,
        /// What was asked: `MapCreate` or `MapUpdate`.
        call: Call,
        /// What it said.
        status: Status,
    },
    /// The map's keys and values are of other sizes than the types that were asked for.
    Sizes {
        /// The map's name.
        name: String,
        /// Bytes of key and value in the object.
        object: (u32, u32),
        /// Bytes of the types.
        types: (usize, usize),
    },
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { error } => write!(f, "the object: {error}"),
            Self::NoProgram { wanted, there } => {
                write!(f, "the object has no program `{wanted}`; it has {}", there.join(", "))
            }
            Self::Program { name, section, error } => {
                write!(f, "program `{name}` in section `{section}`: {error}")
            }
            Self::Maps { name, count } => write!(
                f,
                "program `{name}` uses {count} maps, limit BINDING_MAPS_MAX = {BINDING_MAPS_MAX}"
            ),
            Self::NoMap { wanted } => write!(f, "the object has no map `{wanted}`"),
            Self::Map { name, fault } => write!(f, "map `{name}`: {fault}"),
            Self::Kernel { name, call, status } => {
                write!(f, "map `{name}`: {call:?} answered {status:?}")
            }
            Self::Sizes { name, object, types } => write!(
                f,
                "map `{name}` has keys of {} and values of {} bytes, asked for as {} and {}",
                object.0, object.1, types.0, types.1
            ),
        }
    }
}

/// An object whose maps are made as they are needed.
#[derive(Debug)]
pub struct Handlers {
    object: Object,
    /// The capability to each map of the object that has been made.
    made: Vec<Option<Handle>>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A program of an object, ready to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Its instructions; 64-bit loads name positions in `maps`.
    pub code: Vec<u8>,
    /// Its maps by position.
    pub maps: Vec<Handle>,
}

impl Handlers {
    /// Reads an object. Nothing is made yet.
    ///
    /// # Errors
    /// [`HandlerError::Object`].
    pub fn open(bytes: &[u8]) -> Result<Self, HandlerError> {
        let object =
            Object::parse(bytes).map_err(|error| HandlerError::Object { error: error.into() })?;
        let made = vec![None; object.maps().len()];
        Ok(Self { object, made })
    }

    /// What was read.
    #[must_use]
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// The program of that name; the maps that it uses exist from then on.
    ///
    /// # Errors
    /// [`HandlerError`]. Maps that were made before the fault stay, for the next attempt.
    pub fn handler(&mut self, name: &str) -> Result<Handler, HandlerError> {
        let Some(program) = self.object.program(name) else {
            let there = self.object.programs().iter().map(|program| program.name().to_owned());
            return Err(HandlerError::NoProgram {
                wanted: name.to_owned(),
                there: there.collect(),
            });
        };
        let linked = program.program().map_err(|error| HandlerError::Program {
            name: name.to_owned(),
            section: program.section().to_owned(),
            error: Box::new(error.clone()),
        })?;
        let (code, uses) = (ebpf::encode(linked), program.maps().to_vec());
        if uses.len() > BINDING_MAPS_MAX {
            return Err(HandlerError::Maps { name: name.to_owned(), count: uses.len() });
        }
        let maps = uses.into_iter().map(|index| self.made_map(index)).collect::<Result<_, _>>()?;
        Ok(Handler { code, maps })
    }

    /// The map of that name, for whoever works beside the handlers.
    ///
    /// # Errors
    /// [`HandlerError::Sizes`] if it holds something else; [`HandlerError`].
    pub fn map<K, V>(&mut self, name: &str) -> Result<Map<K, V>, HandlerError>
    where
        K: IntoBytes + FromBytes + Immutable,
        V: IntoBytes + FromBytes + Immutable,
    {
        let index = self.object.maps().iter().position(|map| map.name() == name);
        let Some(index) = index else {
            return Err(HandlerError::NoMap { wanted: name.to_owned() });
        };
        let spec = self.object.maps().get(index).and_then(|map| map.spec().ok());
        if let Some(spec) = spec {
            let (object, types) =
                ((spec.key_size, spec.value_size), (size_of::<K>(), size_of::<V>()));
            if (object.0 as usize, object.1 as usize) != types {
                return Err(HandlerError::Sizes { name: name.to_owned(), object, types });
            }
        }
        self.made_map(index).map(Map::adopt)
    }

    /// Every key and value of the map of that name, as bytes, for whoever does not know what is in
    /// it.
    ///
    /// # Errors
    /// [`HandlerError`].
    pub fn entries(&mut self, name: &str) -> Result<Vec<Entry>, HandlerError> {
        let index = self.object.maps().iter().position(|map| map.name() == name);
        let wanted = || HandlerError::NoMap { wanted: name.to_owned() };
        let map = index.ok_or_else(wanted)?;
        let handle = self.made_map(map)?;
        let spec = self.object.maps().get(map).and_then(|map| map.spec().ok());
        let spec = *spec.ok_or_else(wanted)?;
        let failed =
            |call| move |status| HandlerError::Kernel { name: name.to_owned(), call, status };
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let mut next = vec![0; spec.key_size as usize];
            let before = entries.last().map_or(&[][..], |(key, _)| key);
            let call = Call::MapNext;
            let memory = MapMemory::Key(&mut next);
            match perform(Request::Map { call, map: handle, key: before, memory, flags: 0 }) {
                Ok(_) => {}
                Err(Status::NoEntry) => return Ok(entries),
                Err(status) => return Err(failed(call)(status)),
            }
            let mut value = vec![0; spec.value_size as usize];
            let call = Call::MapLookup;
            let memory = MapMemory::Into(&mut value);
            perform(Request::Map { call, map: handle, key: &next, memory, flags: 0 })
                .map_err(failed(call))?;
            entries.push((next, value));
        }
    }

    /// The map at that place of the object, made and filled if it is not yet.
    fn made_map(&mut self, index: usize) -> Result<Handle, HandlerError> {
        if let Some(&Some(handle)) = self.made.get(index) {
            return Ok(handle);
        }
        let (Some(map), Some(place)) = (self.object.maps().get(index), self.made.get_mut(index))
        else {
            return Err(HandlerError::NoMap { wanted: alloc::format!("number {index}") });
        };
        let handle = make(map)?;
        *place = Some(handle);
        Ok(handle)
    }
}

/// Makes a map and writes what is in it from the beginning.
fn make(map: &ObjectMap) -> Result<Handle, HandlerError> {
    let name = || map.name().to_owned();
    let spec =
        map.spec().map_err(|fault| HandlerError::Map { name: name(), fault: fault.clone() })?;
    let failed = |call| move |status| HandlerError::Kernel { name: name(), call, status };
    let handle = create(spec).map_err(failed(Call::MapCreate))?;
    if let Err(status) = fill(handle, spec, map.initial()) {
        // The map is of no use; a name that is not dropped would only cost its frames.
        let _ = plain(Call::CapDrop, &[handle.0]);
        return Err(failed(Call::MapUpdate)(status));
    }
    Ok(handle)
}

fn create(spec: &MapSpec) -> Result<Handle, Status> {
    let mut name = [0; 16];
    for (place, byte) in name.iter_mut().zip(spec.name.as_str().bytes()) {
        *place = byte;
    }
    let request = MapRequest {
        kind: spec.kind.number().into(),
        key_size: spec.key_size.into(),
        value_size: spec.value_size.into(),
        max_entries: spec.max_entries.into(),
        flags: if spec.read_only { READ_ONLY } else { 0 },
        name,
    };
    perform(Request::Block { call: Call::MapCreate, bytes: request.as_bytes() }).map(Handle)
}

/// Writes the first value of an array; what the object leaves out is zero, as a new map is.
fn fill(handle: Handle, spec: &MapSpec, initial: &[u8]) -> Result<(), Status> {
    if initial.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    let is_array = matches!(spec.kind, MapKind::Array | MapKind::PercpuArray);
    let mut value = vec![0; spec.value_size as usize];
    let Some(place) = value.get_mut(..initial.len()).filter(|_| is_array) else {
        return Err(Status::BadArgument);
    };
    place.copy_from_slice(initial);
    let memory = MapMemory::Value(&value);
    let key = &[0; 4];
    perform(Request::Map { call: Call::MapUpdate, map: handle, key, memory, flags: ANY }).map(drop)
}
