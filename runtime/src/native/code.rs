//! Checked bytes, and code that can be called.
//!
//! The idea: two types, made in one direction. [`Checked`] owns bytes that the checker vouched for;
//! [`Code::seal`] consumes it and copies those bytes, and no others, into pages that it seals.
//! The convention is part of the type: what was checked as a filter cannot be called as a
//! dispatcher.

use alloc::vec::Vec;
use core::fmt;

use super::pages::{CodeError, CodePages, Sealed};

/// How a piece of generated code is called. Implemented by the marker types of this crate only.
pub trait Convention: sealed::Convention + fmt::Debug {
    /// What the caller must hold to the code besides its arguments (table geometry, or nothing).
    type Geometry: fmt::Debug;
}

pub(super) mod sealed {
    /// Keeps [`super::Convention`] to this crate.
    pub trait Convention {}
}

/// Bytes that the checker vouched for.
#[derive(Debug)]
pub struct Checked<C: Convention> {
    bytes: Vec<u8>,
    geometry: C::Geometry,
}

impl<C: Convention> Checked<C> {
    /// Vouches for `bytes`: **the trust line**.
    ///
    /// The caller promises that, entered at the first byte under convention `C`, these bytes
    /// - read and write only what `C` lets them: their own stack frame (at most 8 KiB for one
    ///   call), the context, the packet or memory it names, and tables of the given geometry;
    /// - transfer control only inside themselves, to helper bodies of [`crate::helpers`], and back
    ///   to the caller with the System V callee-saved registers and the stack as they were;
    /// - use no vector register, no privileged instruction, and come to an end;
    /// - work at any address.
    ///
    /// `dpf::check` is the only caller, after it has decoded every byte. This is a safe function
    /// because the crate that calls it may not use `unsafe`; a tidy test keeps the caller unique.
    #[must_use]
    pub fn vouch(bytes: Vec<u8>, geometry: C::Geometry) -> Self {
        Self { bytes, geometry }
    }

    /// The bytes vouched for.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sealed code: checked, executable, mapped until [`Code::release`].
///
/// Dropping it instead of releasing it leaks its pages, and nothing else.
#[derive(Debug)]
pub struct Code<C: Convention> {
    sealed: Sealed,
    len: usize,
    geometry: C::Geometry,
}

impl<C: Convention> Code<C> {
    /// Moves checked bytes into pages and seals them.
    ///
    /// # Errors
    /// Those of [`CodePages`]; [`CodeError::WrongMachine`] where the code could not run.
    pub fn seal(checked: Checked<C>, pages: &mut dyn CodePages) -> Result<Self, CodeError> {
        if !SUPPORTED {
            return Err(CodeError::WrongMachine);
        }
        let region = pages.reserve(checked.bytes.len())?;
        if let Err(error) = pages.write(&region, 0, &checked.bytes) {
            pages.abandon(region);
            return Err(error);
        }
        let sealed = pages.seal(region)?;
        Ok(Self { sealed, len: checked.bytes.len(), geometry: checked.geometry })
    }

    /// The code, to read: for dumps and disassembly.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let base = core::ptr::with_exposed_provenance::<u8>(self.sealed.base());
        // SAFETY: `seal` wrote `len` bytes there; `CodePages` promises that they stay mapped and
        // readable, and unwritten, until this `Sealed` is freed, which needs `self` by value.
        unsafe { core::slice::from_raw_parts(base, self.len) }
    }

    /// Virtual address of the entry.
    #[must_use]
    pub fn address(&self) -> usize {
        self.sealed.base()
    }

    /// Gives the pages back to where they came from.
    pub fn release(self, pages: &mut dyn CodePages) {
        pages.free(self.sealed);
    }

    /// What the code was checked against.
    #[must_use]
    pub fn geometry(&self) -> &C::Geometry {
        &self.geometry
    }

    /// The entry as a pointer that the conventions turn into a function.
    pub(super) fn entry(&self) -> *const () {
        core::ptr::with_exposed_provenance(self.sealed.base())
    }
}

/// True where generated code can run: x86-64 with the System V calling convention.
pub const SUPPORTED: bool = cfg!(all(target_arch = "x86_64", not(windows)));
