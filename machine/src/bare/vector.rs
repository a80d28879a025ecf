//! Ring 3's vector state (x87, MMX, SSE): kept apart per context, switched when another one runs.
//!
//! The kernel and the code it generates use no vector register (`x86_64-unknown-none`), so a
//! context's state may stay in the registers while the kernel works, and is saved only when a
//! different context is entered. No context ever sees another's: entering restores before it runs.
//! The state lives in a box, because it must not move while the processor holds its newer copy.

use super::cpu::this_cpu;
use alloc::boxed::Box;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::Ordering;
use x86_64::instructions::segmentation::{DS, ES, FS, GS, Segment};
use x86_64::structures::gdt::SegmentSelector;

/// The image that `fxsave` writes (Intel SDM 1, 10.5.1).
#[repr(C, align(16))]
pub(super) struct VectorState([u8; 512]);

const FCW: usize = 0;
const MXCSR: usize = 24;

impl VectorState {
    /// As after `fninit`, with all exceptions masked and every register zero.
    const fn clean() -> Self {
        let mut image = [0; 512];
        image[FCW] = 0x7f;
        image[FCW + 1] = 0x03;
        image[MXCSR] = 0x80;
        image[MXCSR + 1] = 0x1f;
        Self(image)
    }
}

/// One context's vector state.
pub(super) struct Vectors(Box<UnsafeCell<VectorState>>);

impl Vectors {
    /// A clean state.
    pub(super) fn new() -> Self {
        Self(Box::new(UnsafeCell::new(VectorState::clean())))
    }

    /// Makes the registers hold this state: `false`, and nothing to do, if they do already.
    pub(super) fn load(&mut self) -> bool {
        let mine = self.0.get();
        let owner = this_cpu().vector_owner.load(Ordering::Relaxed);
        if owner != mine {
            self.switch(owner);
        }
        owner != mine
    }

    /// Where it is while the registers do not hold it.
    pub(super) fn state(&self) -> *mut VectorState {
        self.0.get()
    }

    /// Whether the registers hold this state.
    pub(super) fn are_loaded(&self) -> bool {
        this_cpu().vector_owner.load(Ordering::Relaxed) == self.0.get()
    }

    #[cold]
    fn switch(&mut self, owner: *mut VectorState) {
        let mine = self.0.get();
        // SAFETY: `owner` is null or the boxed state of a live context (`drop` clears it), aligned
        // to 16, of 512 bytes; `mine` holds an image that `clean` or `fxsave` made.
        unsafe {
            if !owner.is_null() {
                asm!("fxsave64 [{}]", in(reg) owner, options(nostack, preserves_flags));
            }
            asm!("fxrstor64 [{}]", in(reg) mine, options(nostack, preserves_flags));
        }
        this_cpu().vector_owner.store(mine, Ordering::Relaxed);
        clear_selectors();
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        let owner = &this_cpu().vector_owner;
        let mine = self.0.get();
        // The registers keep the bytes; with no owner they are overwritten before anyone runs.
        let _ = owner.compare_exchange(mine, ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Data selectors that ring 3 may have loaded are state, too: none survives a switch.
fn clear_selectors() {
    // SAFETY: null selectors are legal in long mode, and the kernel uses no segment base.
    unsafe {
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        FS::set_reg(SegmentSelector::NULL);
        GS::set_reg(SegmentSelector::NULL);
    }
}
