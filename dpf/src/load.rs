//! One verified program, compiled, checked, sealed, ready to run.
//!
//! `Verified -> Emitted -> Checked -> Code`: each stage takes what the stage before it made.

use alloc::sync::Arc;

use ebpf::Kind;
use runtime::PacketBuffer;
use runtime::effects::{Effects, NoEffects};
use runtime::map::Map;
use runtime::native::{Code, Filter, Memory, Packet};
use runtime::pages::CodePages;
use verifier::Verified;

use crate::error::EngineError;
use crate::{check, compile};

/// A program in native code, with its maps: it keeps them.
///
/// Give it back with [`NativeProgram::free`]; dropping it leaks its pages.
#[derive(Debug)]
pub struct NativeProgram {
    body: Body,
}

#[derive(Debug)]
enum Body {
    Filter(Code<Filter>),
    Ash(Code<Packet>),
    Memory(Code<Memory>),
}

/// Compiles, checks and seals a verified program that has no maps.
///
/// # Errors
/// [`EngineError`]; no page is in use then.
pub fn load(verified: &Verified, pages: &mut dyn CodePages) -> Result<NativeProgram, EngineError> {
    load_with(verified, &[], pages)
}

/// The same with its maps, by position: those that it was proven with, by what they are.
///
/// # Errors
/// [`EngineError`]; no page is in use then.
pub fn load_with(
    verified: &Verified,
    maps: &[Arc<Map>],
    pages: &mut dyn CodePages,
) -> Result<NativeProgram, EngineError> {
    let emitted = compile::compile(verified, maps)?;
    let body = match verified.kind() {
        Kind::Filter => Body::Filter(Code::seal(check::filter(verified, emitted)?, pages)?),
        Kind::Ash => Body::Ash(Code::seal(check::handler(verified, emitted, maps)?, pages)?),
        Kind::Memory => Body::Memory(Code::seal(check::memory(verified, emitted, maps)?, pages)?),
    };
    Ok(NativeProgram { body })
}

impl NativeProgram {
    /// Runs the program on a frame in place: its `r0` (an XDP action, or a filter's verdict). A
    /// memory program has the frame as its memory.
    pub fn run(&self, packet: &mut PacketBuffer<'_>) -> u64 {
        self.run_with(packet, &mut NoEffects)
    }

    /// The same; what a handler does besides goes to `effects`.
    pub fn run_with(&self, packet: &mut PacketBuffer<'_>, effects: &mut dyn Effects) -> u64 {
        match &self.body {
            Body::Filter(code) => code.run_filter(packet.data()),
            Body::Ash(code) => code.run_packet_with(packet, effects),
            Body::Memory(code) => code.run_memory_with(packet.data_mut(), effects),
        }
    }

    /// Runs a handler that calls no helper on a frame in place: its `r0`. Other programs abort.
    #[inline(always)]
    pub fn run_frame(&self, frame: &mut [u8]) -> u64 {
        match &self.body {
            Body::Ash(code) => code.run_frame(frame),
            Body::Filter(_) | Body::Memory(_) => u64::from(ebpf::context::ABORTED),
        }
    }

    /// A filter's verdict on a frame. Other programs accept nothing.
    #[inline]
    #[must_use]
    pub fn accepts(&self, frame: &[u8]) -> bool {
        match &self.body {
            Body::Filter(code) => code.run_filter(frame) != 0,
            Body::Ash(_) | Body::Memory(_) => false,
        }
    }

    /// The machine code, to read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Filter(code) => code.bytes(),
            Body::Ash(code) => code.bytes(),
            Body::Memory(code) => code.bytes(),
        }
    }

    /// Gives the pages back.
    pub fn free(self, pages: &mut dyn CodePages) {
        match self.body {
            Body::Filter(code) => code.release(pages),
            Body::Ash(code) => code.release(pages),
            Body::Memory(code) => code.release(pages),
        }
    }
}
