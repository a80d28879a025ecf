//! The kernel's own mappings: every page has exactly the rights it needs, none can be both written
//! and executed, and nothing is mapped in the lower half.
//!
//! Built once, in fresh frames, while the boot tables (2 MiB pages, all writable) are active.
//! Address spaces share the upper half by copying the root's upper entries, so every root entry
//! that the kernel will ever use exists before the first address space does.

use super::cell::OneCpu;
use super::cpu::{self, Features};
use super::frame::{self, FramePool};
use super::layout::{self, CODE_BASE, KERNEL_BASE, MMIO_BASE, PHYS_BASE, phys_to_virt};
use super::pvh::Loaded;
use super::stack;
use super::walk::Root;
use crate::limits::CODE_WINDOW;
use crate::memory::PAGE;
use core::ops::Range;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::structures::paging::PageTableFlags;

const LARGE: u64 = 2 << 20;

struct Kernel {
    root: Root,
    no_execute: PageTableFlags,
    /// Frames set aside for tables of device mappings, so that mapping one needs no pool.
    spare: [u64; 8],
    spares: usize,
}

static KERNEL: OneCpu<Option<Kernel>> = OneCpu::new(None);

/// Builds the mappings and switches to them. `code` is the code window's physical memory.
pub(super) fn switch(
    frames: &mut FramePool,
    loaded: &Loaded,
    code: Range<u64>,
    features: Features,
) {
    let no_execute = match features.no_execute {
        true => PageTableFlags::NO_EXECUTE,
        false => PageTableFlags::empty(),
    };
    // SAFETY: a fresh zeroed frame is an empty root table, and it is never given back.
    let root = unsafe { Root::new(table_frame(frames)) };
    let mut builder = Builder { root, no_execute, frames };
    builder.image();
    for region in loaded.memory() {
        builder.physical(region.clone(), &code);
    }
    builder.tables(MMIO_BASE, 4);
    builder.tables(CODE_BASE, CODE_WINDOW as u64 / LARGE);
    let spare = core::array::from_fn(|_| table_frame(builder.frames));
    KERNEL.with(|slot| *slot = Some(Kernel { root, no_execute, spare, spares: 8 }));
    // SAFETY: the new tables map everything that runs or is referred to now: the image (the stack
    // in it), and all memory of the physical map but the code window, which nothing refers to.
    unsafe { cpu::load_root(root.phys()) };
}

/// The kernel's own root table.
pub(super) fn root() -> Root {
    KERNEL.with(|kernel| match kernel {
        Some(kernel) => kernel.root,
        None => panic!("no kernel page tables yet"),
    })
}

/// The no-execute flag, or nothing on a processor that has none.
pub(super) fn no_execute() -> PageTableFlags {
    KERNEL.with(|kernel| kernel.as_ref().map_or(PageTableFlags::empty(), |k| k.no_execute))
}

/// Maps device registers, uncached. Only while booting; `None` when the spare tables are used up or
/// the range is not below [`layout::PHYS_SIZE`].
pub(super) fn map_device(phys: u64, bytes: usize) -> Option<*mut u8> {
    let end = phys.checked_add(bytes as u64).filter(|end| *end <= layout::PHYS_SIZE)?;
    let flags = PageTableFlags::PRESENT
        | PageTableFlags::WRITABLE
        | PageTableFlags::NO_CACHE
        | PageTableFlags::GLOBAL
        | no_execute();
    KERNEL.with(|kernel| {
        let kernel = kernel.as_mut()?;
        let Kernel { root, spare, spares, .. } = kernel;
        let mut page = phys - phys % PAGE as u64;
        while page < end {
            let mut frame = || {
                *spares = spares.checked_sub(1)?;
                Some(spare[*spares])
            };
            let slot = root.find_or_make(MMIO_BASE + page, 1, TABLE, &mut frame)?;
            slot.set(page, flags);
            tlb::flush(VirtAddr::new(MMIO_BASE + page));
            page += PAGE as u64;
        }
        Some((MMIO_BASE + phys) as *mut u8)
    })
}

/// Flags of an entry that points to a table: the pages below it restrict.
pub(super) const TABLE: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::WRITABLE);

/// Takes a frame and zeroes it. For tables: without one the machine cannot start.
fn table_frame(frames: &mut FramePool) -> u64 {
    let Some(frame) = frames.take() else { panic!("no memory for the kernel's page tables") };
    frame.zero();
    frame.number().0 * PAGE as u64
}

struct Builder<'a> {
    root: Root,
    no_execute: PageTableFlags,
    frames: &'a mut FramePool,
}

impl Builder<'_> {
    /// The kernel image, 4 KiB page by page, guard pages left out.
    fn image(&mut self) {
        let image = layout::image();
        let read = PageTableFlags::PRESENT | PageTableFlags::GLOBAL;
        let guards = stack::guards();
        let parts = [
            (image.text, read),
            (image.rodata, read | self.no_execute),
            (image.data, read | self.no_execute | PageTableFlags::WRITABLE),
        ];
        for (range, flags) in parts {
            for va in range.step_by(PAGE) {
                if !guards.contains(&va) {
                    self.map(va, va - KERNEL_BASE, 1, flags);
                }
            }
        }
    }

    /// A region of memory in the physical map.
    fn physical(&mut self, region: Range<u64>, code: &Range<u64>) {
        let image = layout::image();
        let constant =
            image.text.start - KERNEL_BASE..image.rodata.end.max(image.text.end) - KERNEL_BASE;
        let touches = |a: &Range<u64>, at: u64, len: u64| a.start < at + len && at < a.end;
        let read = PageTableFlags::PRESENT | PageTableFlags::GLOBAL | self.no_execute;
        let page = PAGE as u64;
        let mut at = region.start.next_multiple_of(page);
        let end = (region.end - region.end % page).min(layout::PHYS_SIZE);
        while at < end {
            let special = [&constant, code].iter().any(|r| touches(r, at, LARGE));
            let large = at.is_multiple_of(LARGE) && at + LARGE <= end && !special;
            if large {
                let flags = read | PageTableFlags::WRITABLE | PageTableFlags::HUGE_PAGE;
                self.map(PHYS_BASE + at, at, 2, flags);
            } else if touches(&constant, at, page) {
                self.map(PHYS_BASE + at, at, 1, read);
            } else if !touches(code, at, page) {
                self.map(PHYS_BASE + at, at, 1, read | PageTableFlags::WRITABLE);
            }
            at += if large { LARGE } else { page };
        }
    }

    /// Empty tables down to 4 KiB pages for `count` times 2 MiB from `va`.
    fn tables(&mut self, va: u64, count: u64) {
        for index in 0..count {
            self.slot(va + index * LARGE, 1);
        }
    }

    fn map(&mut self, va: u64, phys: u64, level: u8, flags: PageTableFlags) {
        self.slot(va, level).set(phys, flags);
    }

    fn slot(&mut self, va: u64, level: u8) -> super::walk::Slot {
        let frames = &mut *self.frames;
        let made = self.root.find_or_make(va, level, TABLE, &mut || Some(table_frame(frames)));
        match made {
            Some(slot) => slot,
            None => panic!("{va:#x} is mapped twice"),
        }
    }
}

/// Copies the kernel's half of the root table into a new address space's root.
pub(super) fn share_upper_half(with: Root) {
    let kernel = root();
    for index in 256..512 {
        if let Some((phys, flags)) = kernel.entry(index).get() {
            with.entry(index).set(phys, flags);
        }
    }
}

/// Zeroes a frame that will become a table, given its number's address.
pub(super) fn zero_table(phys: u64) {
    // SAFETY: the caller has just taken this frame from the pool, so nothing refers to it.
    unsafe { frame::zero(phys_to_virt(phys), 1) }
}
