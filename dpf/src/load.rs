//! One verified program, compiled, checked, sealed, ready to run.
//!
//! `Verified -> Emitted -> Accepted -> Checked -> Code`: each stage takes what the stage before it
//! made.
//!
//! A [`Loading`] goes through them a slot at a time, for whoever must do something else in between;
//! [`load`] and [`load_with`] go through them at once. A [`Loading`] keeps no map alive and holds
//! no page: it can be dropped at any time, and [`Loading::seal`] is told the maps once more.

use alloc::sync::Arc;
use core::task::Poll;

use ebpf::Kind;
use runtime::PacketBuffer;
use runtime::effects::{Effects, NoEffects};
use runtime::map::Map;
use runtime::native::{Code, Filter, Memory, Packet};
use runtime::pages::CodePages;
use verifier::{Fuel, Verified};

use crate::check::{Accepted, Check};
use crate::compile::{Compile, CompileError, Emitted};
use crate::error::EngineError;

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
    Loading::new(verified, maps)?.seal(maps, pages)
}

/// A program being compiled and checked, a slot at a time.
#[derive(Debug)]
pub struct Loading {
    verified: Verified,
    stage: Stage,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, where nothing may be allocated")]
enum Stage {
    Compile(Compile),
    /// Compiled: to be checked, with the maps that [`Loading::step`] is told.
    Emitted(Emitted),
    Check(Check),
    /// Only sealing is left.
    Accepted(Accepted),
    Over,
}

/// What a [`Loading`] is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStage {
    /// Being compiled.
    Compile,
    /// Being checked.
    Check,
    /// To be sealed.
    Seal,
}

impl Loading {
    /// Nothing is compiled yet; `maps` are the program's own, by position.
    ///
    /// # Errors
    /// [`EngineError::Compile`]: they are not those that it was proven with.
    pub fn new(verified: &Verified, maps: &[Arc<Map>]) -> Result<Self, EngineError> {
        let stage = Stage::Compile(Compile::new(verified, maps)?);
        Ok(Self { verified: verified.clone(), stage })
    }

    /// What it is at.
    #[must_use]
    pub const fn stage(&self) -> LoadStage {
        match self.stage {
            Stage::Compile(_) => LoadStage::Compile,
            Stage::Emitted(_) | Stage::Check(_) => LoadStage::Check,
            Stage::Accepted(_) | Stage::Over => LoadStage::Seal,
        }
    }

    /// Whether it is this very program that is loaded.
    #[must_use]
    pub fn is_of(&self, verified: &Verified) -> bool {
        core::ptr::eq(self.verified.program(), verified.program())
    }

    /// Works until the fuel is spent or only sealing is left; `maps` as for [`Loading::new`].
    ///
    /// # Errors
    /// [`EngineError::Compile`], [`EngineError::Check`].
    pub fn step(&mut self, maps: &[Arc<Map>], fuel: &mut Fuel) -> Poll<Result<(), EngineError>> {
        while !fuel.is_empty() {
            match self.advance(maps, fuel) {
                Ok(()) if matches!(self.stage, Stage::Accepted(_)) => return Poll::Ready(Ok(())),
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    fn advance(&mut self, maps: &[Arc<Map>], fuel: &mut Fuel) -> Result<(), EngineError> {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Compile(mut compile) => match compile.step(self.verified.program(), fuel) {
                Poll::Pending => Stage::Compile(compile),
                Poll::Ready(emitted) => Stage::Emitted(emitted?),
            },
            Stage::Emitted(emitted) => Stage::Check(Check::new(&self.verified, emitted, maps)?),
            Stage::Check(mut check) => match check.step(fuel) {
                Poll::Pending => Stage::Check(check),
                Poll::Ready(accepted) => Stage::Accepted(accepted?),
            },
            Stage::Accepted(accepted) => Stage::Accepted(accepted),
            Stage::Over => return Err(EngineError::Compile(CompileError::Internal)),
        };
        Ok(())
    }

    /// Does what is left, all at once: the program with its maps, which it keeps.
    ///
    /// # Errors
    /// [`EngineError`]; no page is in use then.
    pub fn seal(
        mut self,
        maps: &[Arc<Map>],
        pages: &mut dyn CodePages,
    ) -> Result<NativeProgram, EngineError> {
        loop {
            match self.stage {
                Stage::Accepted(accepted) => return seal(&self.verified, accepted, maps, pages),
                _ => self.advance(maps, &mut Fuel::UNLIMITED.clone())?,
            }
        }
    }
}

fn seal(
    verified: &Verified,
    accepted: Accepted,
    maps: &[Arc<Map>],
    pages: &mut dyn CodePages,
) -> Result<NativeProgram, EngineError> {
    let body = match verified.kind() {
        Kind::Filter => Body::Filter(Code::seal(accepted.filter()?, pages)?),
        Kind::Ash => Body::Ash(Code::seal(accepted.handler(maps)?, pages)?),
        Kind::Memory => Body::Memory(Code::seal(accepted.memory(maps)?, pages)?),
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
