//! Executable pages: reserve, write, seal, call, free.
//!
//! The idea: a region has two lives. Between [`CodePages::reserve`] and [`CodePages::seal`] it is
//! writable and not executable; after that it is executable and not writable, by anyone, through
//! any mapping, until [`CodePages::free`] gives it back. There is no way from the second life to
//! the first. `machine` implements this with the kernel's code window, `native::host` with the
//! host's `mmap`.

/// A reserved region: writable, not executable. Linear: sealed or abandoned, once.
#[derive(Debug)]
pub struct CodeRegion {
    base: usize,
    len: usize,
}

impl CodeRegion {
    /// Names the `len` bytes at `base` as reserved.
    ///
    /// # Safety
    /// Only for implementations of [`CodePages::reserve`]. The region must be owned by that
    /// implementation, not executable, and named by no other `CodeRegion` or [`Sealed`].
    #[must_use]
    pub const unsafe fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// Virtual address of the first byte.
    #[must_use]
    pub const fn base(&self) -> usize {
        self.base
    }

    /// Bytes reserved; at least what was asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if the region holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A sealed region: executable, not writable. Linear: freed once.
#[derive(Debug)]
pub struct Sealed {
    base: usize,
    len: usize,
}

impl Sealed {
    /// Turns a region into a sealed one.
    ///
    /// # Safety
    /// Only for implementations of [`CodePages::seal`], after the pages' permissions have changed
    /// and every stale translation is gone.
    #[must_use]
    pub const unsafe fn new(region: CodeRegion) -> Self {
        Self { base: region.base, len: region.len }
    }

    /// Virtual address of the first byte.
    #[must_use]
    pub const fn base(&self) -> usize {
        self.base
    }

    /// Bytes sealed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if the region holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Why pages could not be had, written or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeError {
    /// No room for `bytes` more; the implementation's whole capacity is `limit` bytes.
    NoMemory {
        /// Bytes asked for.
        bytes: usize,
        /// Capacity in bytes.
        limit: usize,
    },
    /// A write of `bytes` at `offset` leaves a region of `len` bytes, or the region is not ours.
    OutsideRegion {
        /// Offset of the write.
        offset: usize,
        /// Bytes to write.
        bytes: usize,
        /// Bytes in the region.
        len: usize,
    },
    /// The page permissions could not be changed.
    SealFailed,
    /// This machine cannot run what the engine generates (x86-64, System V ABI).
    WrongMachine,
    /// A dispatcher's tables are not those that its code was checked against.
    WrongTables {
        /// Position of the first table that differs.
        table: usize,
    },
}

impl core::fmt::Display for CodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoMemory { bytes, limit } => {
                write!(f, "no room for {bytes} bytes of code (capacity {limit})")
            }
            Self::OutsideRegion { offset, bytes, len } => {
                write!(f, "write of {bytes} bytes at {offset} leaves a region of {len}")
            }
            Self::SealFailed => write!(f, "page permissions could not be changed"),
            Self::WrongMachine => write!(f, "generated code needs x86-64 and the System V ABI"),
            Self::WrongTables { table } => write!(f, "table {table} does not fit its code"),
        }
    }
}

/// Where executable pages come from.
///
/// # Safety
/// An implementation promises, for each region it returns from `reserve`:
/// - its bytes belong to nobody else until freed or abandoned;
/// - after `seal`, it holds exactly what was written (bytes never written trap when executed), is
///   readable and executable at `base` from any context that may call generated code, and is
///   writable through no mapping;
/// - it stays so until `free` is called with that very `Sealed`, *even if the implementation itself
///   is dropped first*. A `Sealed` of another instance given to `free` changes nothing.
pub unsafe trait CodePages {
    /// Reserves at least `bytes` bytes, writable and not executable.
    ///
    /// # Errors
    /// [`CodeError::NoMemory`] names the capacity.
    fn reserve(&mut self, bytes: usize) -> Result<CodeRegion, CodeError>;

    /// Writes `bytes` at `offset` in a reserved region.
    ///
    /// # Errors
    /// [`CodeError::OutsideRegion`] if they do not fit.
    fn write(&mut self, region: &CodeRegion, offset: usize, bytes: &[u8]) -> Result<(), CodeError>;

    /// Makes the region executable and unwritable, for good.
    ///
    /// # Errors
    /// [`CodeError::SealFailed`]; the region is given back then.
    fn seal(&mut self, region: CodeRegion) -> Result<Sealed, CodeError>;

    /// Gives back a region that was never sealed.
    fn abandon(&mut self, region: CodeRegion);

    /// Gives back a sealed region. Nothing may be running in it; `Code` sees to that.
    fn free(&mut self, sealed: Sealed);
}
