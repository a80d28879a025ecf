//! The kernel heap's double: the process's own allocator; arenas only keep their frames.

use super::memory::FrameRun;
use std::cell::Cell;

thread_local! {
    static FREE: Cell<usize> = const { Cell::new(16 << 20) };
    static USED: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that the kernel heap could still hand out: what [`set_bytes`] last said.
pub fn free_bytes() -> usize {
    FREE.get()
}

/// Bytes that the kernel heap has handed out: what [`set_bytes`] last said.
pub fn used_bytes() -> usize {
    USED.get()
}

/// Allocations that overflowed their arena: never, here.
pub fn arena_overflows() -> u64 {
    0
}

/// Sets what [`free_bytes`] and [`used_bytes`] answer on this thread.
pub fn set_bytes(free: usize, used: usize) {
    FREE.set(free);
    USED.set(used);
}

/// Memory that some work may use and that is given back whole.
pub struct Arena {
    run: FrameRun,
}

impl Arena {
    /// An arena over these frames.
    pub fn new(run: FrameRun) -> Self {
        Self { run }
    }

    /// Runs `f` with the global allocator serving from this arena.
    pub fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// Gives the frames back, unless something that was allocated in them is alive.
    pub fn into_run(self) -> Result<FrameRun, ArenaBusy> {
        Ok(self.run)
    }
}

/// The arena cannot be given back yet: something allocated in it is alive.
pub struct ArenaBusy {
    /// The arena, kept.
    pub arena: Arena,
    /// Allocations alive in it.
    pub alive: usize,
}

impl std::fmt::Debug for ArenaBusy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArenaBusy {{ alive: {} }}", self.alive)
    }
}
