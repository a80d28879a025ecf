//! What a running program can address: context, packet or buffer, stack frames, values of maps.
//!
//! Addresses are synthetic. Those of the packet fit 32 bits, because the context hands them out in
//! 32-bit words; when a packet's start moves, its address moves with it. The regions stand far
//! apart, each value of each map is a region of its own, and every access must lie wholly inside
//! one of them, so that no offset from one region reaches another unnoticed. A stack frame also
//! knows which of its bytes were written.

use alloc::vec::Vec;

use super::layout::{Layout, MAP_STRIDE, STACK_STRIDE, VALUE_STRIDE, VALUES_STRIDE};
use super::trap::Trap;
use super::world::{Maps, Packet};
use crate::context;
use crate::insn::Size;
use crate::limits::STACK_BYTES;
use crate::map::MapSpec;
use crate::packet::PacketBuffer;

/// The packet or buffer, as its owner lent it.
pub(super) enum Data<'d, 'a> {
    /// Read-only.
    Shared(&'a [u8]),
    /// Writable, and movable.
    Exclusive(&'d mut PacketBuffer<'a>),
}

impl Data<'_, '_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Exclusive(packet) => packet.data(),
        }
    }

    fn start(&self) -> usize {
        match self {
            Self::Shared(_) => 0,
            Self::Exclusive(packet) => packet.start(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// An access: where the program is, and what it touches.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub(super) pc: u32,
    pub(super) address: u64,
    pub(super) size: Size,
    /// Whether a load will sign-extend; the context has no such field.
    pub(super) signed: bool,
}

/// Bytes that an instruction or a helper touches.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) pc: u32,
    pub(super) address: u64,
    pub(super) bytes: usize,
}

impl Span {
    fn outside(self) -> Trap {
        Trap::OutOfBounds { pc: self.pc, address: self.address, size: self.bytes }
    }

    fn read_only(self) -> Trap {
        Trap::ReadOnly { pc: self.pc, address: self.address, size: self.bytes }
    }
}

impl Access {
    fn span(self) -> Span {
        Span { pc: self.pc, address: self.address, bytes: self.size.bytes() }
    }
}

/// All regions of one run.
pub(super) struct Memory<'d, 'a> {
    /// Whether `r1` is an XDP context.
    has_context: bool,
    /// Whether the program may not write its packet.
    read_only: bool,
    data: Data<'d, 'a>,
    /// Where the packet began in its buffer at the start of the run.
    origin: usize,
    frames: Vec<Frame>,
    specs: &'d [MapSpec],
    maps: &'d mut dyn Maps,
    layout: Layout,
}

struct Frame {
    bytes: [u8; STACK_BYTES],
    written: [bool; STACK_BYTES],
}

/// Where an access falls.
enum Place {
    Context(u64),
    Stack(usize, usize),
    Data(usize),
    /// Map, slot, offset in the value.
    Value(u32, u32, usize),
}

impl<'d, 'a> Memory<'d, 'a> {
    pub(super) fn new(
        (has_context, read_only): (bool, bool),
        data: Data<'d, 'a>,
        (specs, maps): (&'d [MapSpec], &'d mut dyn Maps),
        layout: Layout,
    ) -> Self {
        let (origin, frames) = (data.start(), Vec::new());
        let mut memory = Self { has_context, read_only, data, origin, frames, specs, maps, layout };
        memory.push_frame();
        memory
    }

    /// The packet or buffer for a helper.
    pub(super) fn packet(&mut self) -> Packet<'_, 'a> {
        if self.read_only {
            return Packet::Shared(self.data.bytes());
        }
        match &mut self.data {
            Data::Exclusive(packet) => Packet::Exclusive(packet),
            Data::Shared(bytes) => Packet::Shared(bytes),
        }
    }

    /// The packet's or buffer's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Address of the packet's first byte.
    pub(super) fn data(&self) -> u64 {
        let moved = self.data.start() as i64 - self.origin as i64;
        self.layout.data.wrapping_add_signed(moved)
    }

    /// Address just past its last byte.
    pub(super) fn data_end(&self) -> u64 {
        self.data() + self.data.len() as u64
    }

    /// What is in the maps.
    pub(super) fn maps(&mut self) -> &mut (dyn Maps + 'd) {
        self.maps
    }

    /// Whether a value is the address of the context that the program was given.
    pub(super) fn is_context(&self, value: u64) -> bool {
        self.has_context && value == self.layout.context
    }

    /// The map at an address: its position and what it is.
    pub(super) fn map_at(&self, address: u64) -> Option<(u32, MapSpec)> {
        let distance = address.checked_sub(self.layout.maps)?;
        let position = u32::try_from(distance / MAP_STRIDE).ok()?;
        let spec = self.specs.get(position as usize)?;
        distance.is_multiple_of(MAP_STRIDE).then_some((position, *spec))
    }

    /// Address of a map, if the program has it.
    pub(super) fn map_address(&self, position: u32) -> Option<u64> {
        self.specs.get(position as usize)?;
        Some(self.layout.maps + u64::from(position) * MAP_STRIDE)
    }

    /// Address of a slot's value.
    pub(super) const fn value_address(&self, position: u32, slot: u32) -> u64 {
        self.layout.values + position as u64 * VALUES_STRIDE + slot as u64 * VALUE_STRIDE
    }

    /// Address of a byte of a map's only value, if a 64-bit load may have it.
    pub(super) fn direct_address(&self, position: u32, offset: u32) -> Option<u64> {
        let spec = self.specs.get(position as usize)?;
        let inside = spec.direct_bytes().is_some_and(|bytes| offset < bytes);
        inside.then(|| self.value_address(position, 0) + u64::from(offset))
    }

    /// Makes the stack frame of a function that is entered.
    pub(super) fn push_frame(&mut self) {
        self.frames.push(Frame { bytes: [0; STACK_BYTES], written: [false; STACK_BYTES] });
    }

    /// Drops the innermost frame: pointers to it lead nowhere from now on.
    pub(super) fn pop_frame(&mut self) {
        self.frames.pop();
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// `r10` of the innermost frame: just above its highest byte.
    pub(super) fn frame_pointer(&self) -> u64 {
        let inner = self.frames.len().saturating_sub(1) as u64;
        self.layout.stack + inner * u64::from(STACK_STRIDE) + STACK_BYTES as u64
    }

    /// Reads `size` bytes, little endian, zero-extended.
    pub(super) fn load(&self, access: Access) -> Result<u64, Trap> {
        let mut word = [0; 8];
        let bytes = word.get_mut(..access.size.bytes()).unwrap_or_default();
        match self.locate(access.span())? {
            Place::Context(offset) => return self.context(access, offset),
            place => self.read_at(access.span(), &place, bytes)?,
        }
        Ok(u64::from_le_bytes(word))
    }

    /// Writes the low `size` bytes of a value, little endian.
    pub(super) fn store(&mut self, access: Access, value: u64) -> Result<(), Trap> {
        let word = value.to_le_bytes();
        let bytes = word.get(..access.size.bytes()).unwrap_or_default();
        self.write(access.span(), bytes)
    }

    /// Reads bytes that a helper is given; the context is no such memory.
    pub(super) fn read(&self, span: Span) -> Result<Vec<u8>, Trap> {
        let place = self.locate(span)?;
        let mut bytes = alloc::vec![0; span.bytes];
        self.read_at(span, &place, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether bytes may be written.
    pub(super) fn writable(&self, span: Span) -> Result<(), Trap> {
        match self.locate(span)? {
            Place::Context(_) => Err(span.read_only()),
            Place::Data(_) => match &self.data {
                Data::Exclusive(_) if !self.read_only => Ok(()),
                _ => Err(span.read_only()),
            },
            Place::Value(map, ..) => match self.specs.get(map as usize) {
                Some(spec) if !spec.read_only => Ok(()),
                _ => Err(span.read_only()),
            },
            Place::Stack(..) => Ok(()),
        }
    }

    /// Writes bytes.
    pub(super) fn write(&mut self, span: Span, bytes: &[u8]) -> Result<(), Trap> {
        self.writable(span)?;
        let done = match self.locate(span)? {
            Place::Context(_) => None,
            Place::Data(at) => match &mut self.data {
                Data::Shared(_) => None,
                Data::Exclusive(packet) => put(packet.data_mut(), at, bytes),
            },
            Place::Value(map, slot, at) => self.maps.write(map, slot, at, bytes).then_some(()),
            Place::Stack(frame, at) => self.frames.get_mut(frame).and_then(|frame| {
                frame.written.get_mut(at..at + bytes.len())?.fill(true);
                put(&mut frame.bytes, at, bytes)
            }),
        };
        done.ok_or(span.outside())
    }

    fn read_at(&self, span: Span, place: &Place, into: &mut [u8]) -> Result<(), Trap> {
        let done = match *place {
            Place::Context(_) => None,
            Place::Data(at) => get(self.data.bytes(), at, into),
            Place::Value(map, slot, at) => self.maps.read(map, slot, at, into).then_some(()),
            Place::Stack(frame, at) => {
                let frame = self.frames.get(frame).ok_or(span.outside())?;
                let written = frame.written.get(at..at + into.len()).ok_or(span.outside())?;
                if let Some(hole) = written.iter().position(|&byte| !byte) {
                    let address = span.address + hole as u64;
                    return Err(Trap::UninitialisedStack { pc: span.pc, address });
                }
                get(&frame.bytes, at, into)
            }
        };
        done.ok_or(span.outside())
    }

    /// The region that holds the whole access.
    fn locate(&self, span: Span) -> Result<Place, Trap> {
        let Span { address, bytes, .. } = span;
        let within = |base: u64, length: usize| {
            let offset = usize::try_from(address.checked_sub(base)?).ok()?;
            (offset.checked_add(bytes)? <= length).then_some(offset)
        };
        if self.has_context
            && let Some(offset) = within(self.layout.context, context::SIZE as usize)
        {
            return Ok(Place::Context(offset as u64));
        }
        if let Some(at) = within(self.data(), self.data.len()) {
            return Ok(Place::Data(at));
        }
        if let Some(place) = self.value_at(address, bytes) {
            return Ok(place);
        }
        (0..self.frames.len())
            .find_map(|frame| {
                let base = self.layout.stack + frame as u64 * u64::from(STACK_STRIDE);
                within(base, STACK_BYTES).map(|at| Place::Stack(frame, at))
            })
            .ok_or(span.outside())
    }

    /// The value of a map that holds the whole access. An entry that was deleted still has its
    /// memory.
    fn value_at(&self, address: u64, bytes: usize) -> Option<Place> {
        let distance = address.checked_sub(self.layout.values)?;
        let map = u32::try_from(distance / VALUES_STRIDE).ok()?;
        let spec = self.specs.get(map as usize)?;
        let slot = u32::try_from(distance % VALUES_STRIDE / VALUE_STRIDE).ok()?;
        let at = (distance % VALUE_STRIDE) as usize;
        let inside = at.checked_add(bytes)? <= spec.value_size as usize;
        (inside && slot < spec.max_entries).then_some(Place::Value(map, slot, at))
    }

    /// A load from the context: only whole fields exist.
    fn context(&self, access: Access, offset: u64) -> Result<u64, Trap> {
        let size = access.size.bytes();
        let plain = access.size == Size::B4 && !access.signed;
        let field = context::Field::at(offset.cast_signed()).filter(|_| plain);
        match field.ok_or(Trap::Context { pc: access.pc, offset, size })? {
            context::Field::Data | context::Field::DataMeta => Ok(self.data()),
            context::Field::DataEnd => Ok(self.data_end()),
            context::Field::IngressIfindex | context::Field::RxQueueIndex => Ok(0),
        }
    }
}

fn get(bytes: &[u8], at: usize, into: &mut [u8]) -> Option<()> {
    into.copy_from_slice(bytes.get(at..at + into.len())?);
    Some(())
}

fn put(bytes: &mut [u8], at: usize, from: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + from.len())?.copy_from_slice(from);
    Some(())
}
