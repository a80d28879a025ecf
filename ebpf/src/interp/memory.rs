//! What a running program can address: the context, its packet or buffer, its stack frames.
//!
//! Addresses are synthetic and fit 32 bits, because the context hands out pointers in 32-bit
//! words. The regions stand far apart, and every access must lie wholly inside one of them, so
//! that no offset from one region reaches another unnoticed. A stack frame also knows which of
//! its bytes were written.

use alloc::vec::Vec;

use super::trap::Trap;
use crate::context;
use crate::insn::Size;
use crate::limits::{CALL_DEPTH, DATA_BYTES, STACK_BYTES};

/// Address of the context.
pub const CONTEXT_BASE: u32 = 0x1000_0000;
/// Address of the outermost stack frame's lowest byte.
pub const STACK_BASE: u32 = 0x2000_0000;
/// Distance between two stack frames: more than a frame, so that running off one is seen.
pub const STACK_STRIDE: u32 = 0x1_0000;
/// Address of the packet or the buffer.
pub const DATA_BASE: u32 = 0x4000_0000;

const _: () = assert!(STACK_STRIDE as usize > STACK_BYTES + (1 << 15));
const _: () = assert!(STACK_BASE as usize + CALL_DEPTH * (STACK_STRIDE as usize) < 0x3000_0000);
const _: () = assert!(DATA_BASE as usize + DATA_BYTES <= u32::MAX as usize);

/// The packet or buffer, as its owner lent it.
pub(super) enum Data<'a> {
    /// Read-only.
    Shared(&'a [u8]),
    /// Writable.
    Exclusive(&'a mut [u8]),
}

impl Data<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Exclusive(bytes) => bytes,
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

impl Access {
    fn outside(self) -> Trap {
        let Self { pc, address, size, .. } = self;
        Trap::OutOfBounds { pc, address, size: size.bytes() }
    }
}

/// All regions of one run.
pub(super) struct Memory<'a> {
    /// Whether `r1` is an XDP context.
    has_context: bool,
    data: Data<'a>,
    frames: Vec<Frame>,
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
}

impl<'a> Memory<'a> {
    pub(super) fn new(has_context: bool, data: Data<'a>) -> Self {
        let mut memory = Self { has_context, data, frames: Vec::new() };
        memory.push_frame();
        memory
    }

    /// The packet or buffer.
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Whether a value is the address of the context that the program was given.
    pub(super) fn is_context(&self, value: u64) -> bool {
        self.has_context && value == u64::from(CONTEXT_BASE)
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
        u64::from(STACK_BASE) + inner * u64::from(STACK_STRIDE) + STACK_BYTES as u64
    }

    /// Reads `size` bytes, little endian, zero-extended.
    pub(super) fn load(&self, access: Access) -> Result<u64, Trap> {
        let size = access.size.bytes();
        match self.locate(access)? {
            Place::Context(offset) => self.context(access, offset),
            Place::Data(at) => read(self.data.bytes(), at, size).ok_or(access.outside()),
            Place::Stack(frame, at) => {
                let frame = self.frames.get(frame).ok_or(access.outside())?;
                let written = frame.written.get(at..at + size).ok_or(access.outside())?;
                if let Some(hole) = written.iter().position(|&byte| !byte) {
                    let address = access.address + hole as u64;
                    return Err(Trap::UninitialisedStack { pc: access.pc, address });
                }
                read(&frame.bytes, at, size).ok_or(access.outside())
            }
        }
    }

    /// Writes the low `size` bytes of a value, little endian.
    pub(super) fn store(&mut self, access: Access, value: u64) -> Result<(), Trap> {
        let Access { pc, address, size, .. } = access;
        let size = size.bytes();
        match self.locate(access)? {
            Place::Context(_) => Err(Trap::ReadOnly { pc, address, size }),
            Place::Data(at) => match &mut self.data {
                Data::Shared(_) => Err(Trap::ReadOnly { pc, address, size }),
                Data::Exclusive(bytes) => write(bytes, at, size, value).ok_or(access.outside()),
            },
            Place::Stack(frame, at) => {
                let frame = self.frames.get_mut(frame).ok_or(access.outside())?;
                let written = frame.written.get_mut(at..at + size).ok_or(access.outside())?;
                written.fill(true);
                write(&mut frame.bytes, at, size, value).ok_or(access.outside())
            }
        }
    }

    /// The region that holds the whole access.
    fn locate(&self, access: Access) -> Result<Place, Trap> {
        let Access { address, size, .. } = access;
        let within = |base: u64, length: usize| {
            let offset = usize::try_from(address.checked_sub(base)?).ok()?;
            (offset.checked_add(size.bytes())? <= length).then_some(offset)
        };
        if self.has_context
            && let Some(offset) = within(u64::from(CONTEXT_BASE), context::SIZE as usize)
        {
            return Ok(Place::Context(offset as u64));
        }
        if let Some(at) = within(u64::from(DATA_BASE), self.data.len()) {
            return Ok(Place::Data(at));
        }
        (0..self.frames.len())
            .find_map(|frame| {
                let base = u64::from(STACK_BASE) + frame as u64 * u64::from(STACK_STRIDE);
                within(base, STACK_BYTES).map(|at| Place::Stack(frame, at))
            })
            .ok_or(access.outside())
    }

    /// A load from the context: only whole fields exist.
    fn context(&self, access: Access, offset: u64) -> Result<u64, Trap> {
        let size = access.size.bytes();
        let plain = access.size == Size::B4 && !access.signed;
        let field = context::Field::at(offset.cast_signed()).filter(|_| plain);
        match field.ok_or(Trap::Context { pc: access.pc, offset, size })? {
            context::Field::Data | context::Field::DataMeta => Ok(u64::from(DATA_BASE)),
            context::Field::DataEnd => Ok(u64::from(DATA_BASE) + self.data.len() as u64),
            context::Field::IngressIfindex | context::Field::RxQueueIndex => Ok(0),
        }
    }
}

fn read(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let source = bytes.get(at..at + size)?;
    let mut word = [0; 8];
    word.get_mut(..size)?.copy_from_slice(source);
    Some(u64::from_le_bytes(word))
}

fn write(bytes: &mut [u8], at: usize, size: usize, value: u64) -> Option<()> {
    let word = value.to_le_bytes();
    bytes.get_mut(at..at + size)?.copy_from_slice(word.get(..size)?);
    Some(())
}
