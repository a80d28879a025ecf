//! The three conventions of eBPF programs: filter, packet handler, memory program.
//!
//! The idea: a packet program gets one argument, the address of a [`NativeContext`] on the caller's
//! stack. It is XDP's context with pointers as wide as they are; `dpf` rewrites each 32-bit load of
//! `struct xdp_md` into a load of the field here, as Linux does. A filter may only read its frame,
//! so it runs on a shared borrow.
//!
//! A proof speaks of frames up to [`PACKET_MAX`] bytes: behind a test for a longer one a program
//! may do anything. So no longer frame is ever run, whoever asks.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::{offset_of, transmute};

use ebpf::PacketBuffer;
use ebpf::context::ABORTED;
use ebpf::limits::PACKET_MAX;

use super::code::{Code, Convention, sealed};
use super::effects::Run;
use crate::effects::{Effects, NoEffects};
use crate::map::Map;

/// What a packet program sees behind r1, in native layout.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NativeContext {
    /// First byte of the frame.
    pub data: u64,
    /// One past the last byte of the frame.
    pub data_end: u64,
    /// First byte of metadata: there is none, so it equals `data`.
    pub data_meta: u64,
    /// Device that the frame came from; 0 until there are several (design decision 9).
    pub ingress_ifindex: u32,
    /// Receive queue that the frame came from.
    pub rx_queue_index: u32,
    /// Address of what else belongs to this run, or 0. No program can load it.
    pub run: u64,
}

// The engine emits these offsets and its checker compares them: they are an interface.
const _: () = assert!(offset_of!(NativeContext, data) == 0);
const _: () = assert!(offset_of!(NativeContext, data_end) == 8);
const _: () = assert!(offset_of!(NativeContext, data_meta) == 16);
const _: () = assert!(offset_of!(NativeContext, ingress_ifindex) == 24);
const _: () = assert!(offset_of!(NativeContext, rx_queue_index) == 28);

/// A filter: r1 = context; reads the frame, writes nothing but its own stack.
#[derive(Debug)]
pub enum Filter {}

/// A packet handler (ASH): r1 = context; reads and writes the frame and its maps.
#[derive(Debug)]
pub enum Packet {}

/// A memory program: r1 = first byte, r2 = length; reads and writes that memory and its maps. The
/// third argument, which the program cannot read, is the context of the run.
#[derive(Debug)]
pub enum Memory {}

impl sealed::Convention for Filter {}
impl Convention for Filter {
    type Geometry = ();
}
impl sealed::Convention for Packet {}
impl Convention for Packet {
    /// The maps whose addresses are in the code.
    type Geometry = Vec<Arc<Map>>;
}
impl sealed::Convention for Memory {}
impl Convention for Memory {
    /// The maps whose addresses are in the code.
    type Geometry = Vec<Arc<Map>>;
}

type PacketEntry = extern "C" fn(*const NativeContext) -> u64;
type MemoryEntry = extern "C" fn(*mut u8, u64, *mut NativeContext) -> u64;

impl Code<Filter> {
    /// Runs the filter on a frame: r0, where not 0 means "mine". A frame longer than
    /// [`PACKET_MAX`] is nobody's and is not run.
    #[inline]
    #[must_use]
    pub fn run_filter(&self, frame: &[u8]) -> u64 {
        if frame.len() > PACKET_MAX {
            return 0;
        }
        let start = frame.as_ptr().expose_provenance() as u64;
        let context = context(start, frame.len());
        // SAFETY: the code was vouched for under `Filter`: entered here with the address of a
        // context, it reads only that context and the frame it names (both outlive the call, and
        // the frame is no longer than the proof allows), writes only its own stack, and returns
        // under the System V ABI.
        let entry = unsafe { transmute::<*const (), PacketEntry>(self.entry()) };
        entry(&raw const context)
    }
}

impl Code<Packet> {
    /// Runs the handler on a frame in place: r0, an XDP action. A frame longer than [`PACKET_MAX`]
    /// is not run: `ABORTED`.
    #[must_use]
    pub fn run_packet(&self, packet: &mut PacketBuffer<'_>) -> u64 {
        self.run_packet_with(packet, &mut NoEffects)
    }

    /// The same for a handler that calls no helper: one that does finds nothing to work on.
    #[inline(always)]
    #[must_use]
    pub fn run_frame(&self, frame: &mut [u8]) -> u64 {
        if frame.len() > PACKET_MAX {
            return u64::from(ABORTED);
        }
        let start = frame.as_mut_ptr().expose_provenance() as u64;
        let context = context(start, frame.len());
        // SAFETY: as for `run_packet_with`; without a run, helpers do nothing.
        let entry = unsafe { transmute::<*const (), PacketEntry>(self.entry()) };
        entry(&raw const context)
    }

    /// The same; what the handler does besides goes to `effects`.
    #[must_use]
    pub fn run_packet_with(&self, packet: &mut PacketBuffer<'_>, effects: &mut dyn Effects) -> u64 {
        if packet.len() > PACKET_MAX {
            return u64::from(ABORTED);
        }
        let frame = packet.data_mut();
        let (start, len) = (frame.as_mut_ptr().expose_provenance() as u64, frame.len());
        let mut run = Run { effects, packet: Some(packet) };
        let run = (&raw mut run).expose_provenance() as u64;
        let mut context = NativeContext { run, ..context(start, len) };
        let context = &raw mut context;
        let _ = context.expose_provenance();
        // SAFETY: as for a filter; under `Packet` it also writes the frame, which is borrowed
        // exclusively for the time of the call, and its maps, which this `Code` keeps; and it calls
        // helpers with the context, which carries the address of `run`: both outlive the call.
        let entry = unsafe { transmute::<*const (), PacketEntry>(self.entry()) };
        entry(context.cast_const())
    }
}

impl Code<Memory> {
    /// Runs the program on `memory`: r0.
    #[must_use]
    pub fn run_memory(&self, memory: &mut [u8]) -> u64 {
        self.run_memory_with(memory, &mut NoEffects)
    }

    /// The same; what the program does besides goes to `effects`.
    #[must_use]
    pub fn run_memory_with(&self, memory: &mut [u8], effects: &mut dyn Effects) -> u64 {
        let start = memory.as_mut_ptr();
        let _ = start.expose_provenance();
        let mut run = Run { effects, packet: None };
        let run = (&raw mut run).expose_provenance() as u64;
        let mut context = NativeContext { run, ..context(0, 0) };
        let context = &raw mut context;
        let _ = context.expose_provenance();
        // SAFETY: the code was vouched for under `Memory`: it reads and writes only the memory
        // given, borrowed exclusively for the call, its maps, which this `Code` keeps, and its own
        // stack, calls helpers with the context, which outlives the call, and returns under the
        // System V ABI.
        let entry = unsafe { transmute::<*const (), MemoryEntry>(self.entry()) };
        entry(start, memory.len() as u64, context)
    }
}

fn context(start: u64, len: usize) -> NativeContext {
    NativeContext {
        data: start,
        data_end: start + len as u64,
        data_meta: start,
        ingress_ifindex: 0,
        rx_queue_index: 0,
        run: 0,
    }
}
