//! The processor: what it can do, its segments, and what it keeps for itself.
//!
//! Protection that the processor offers is switched on: no-execute, write protection in ring 0,
//! SMEP, SMAP, UMIP. Not switched on: AVX and FS/GS base instructions (decision 010), so that
//! ring 3's state is what `Registers` and `fxsave` hold.

use super::stack;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::paging::PhysFrame;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PhysAddr, PrivilegeLevel, VirtAddr};

/// Ring-0 code segment.
pub(super) const KERNEL_CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
/// Ring-0 data segment.
pub(super) const KERNEL_DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);
/// Ring-3 data segment; `sysret` wants it before the code segment.
pub(super) const USER_DATA: SegmentSelector = SegmentSelector::new(3, PrivilegeLevel::Ring3);
/// Ring-3 code segment.
pub(super) const USER_CODE: SegmentSelector = SegmentSelector::new(4, PrivilegeLevel::Ring3);

/// Interrupt stack table: debug exceptions, NMI, double faults, machine checks.
pub(super) const IST_DEBUG: u16 = 0;
pub(super) const IST_NMI: u16 = 1;
pub(super) const IST_DOUBLE_FAULT: u16 = 2;
pub(super) const IST_MACHINE_CHECK: u16 = 3;

/// What each processor keeps for itself. The first five are used by the entry code in `user` and
/// `trap`, by their offsets.
#[repr(C)]
pub struct Cpu {
    /// Registers of the ring-3 program that runs or ran last.
    pub(super) context: AtomicU64,
    /// The kernel's stack pointer while ring 3 runs.
    pub(super) kernel_stack: AtomicU64,
    /// A moment's place for ring 3's stack pointer.
    pub(super) user_stack: AtomicU64,
    /// The fault upcall of the context whose vector state is loaded: its save area in the physical
    /// map (0: none), entry, stack, and the save area's address in ring 3.
    pub(super) upcall: [AtomicU64; 4],
    /// Faults that the trap entry took to ring 3's handlers.
    pub(super) upcall_count: AtomicU64,
    /// Synchronous transfers made by the entry code, and how often gates were closed.
    pub(super) transfers: AtomicU64,
    pub(super) epoch: AtomicU64,
    /// Number of the environment whose context ran last.
    pub(super) running: AtomicU64,
    /// Which calls the entry code asks the kernel about on the spot, whom it asks and with what,
    /// and which call that is; and an answer with which the stay in ring 3 ends, if `answered` is
    /// not zero, or goes on in another context.
    pub(super) short_calls: AtomicU64,
    pub(super) short_call: AtomicU64,
    pub(super) short_answer: AtomicU64,
    pub(super) short_kernel: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) answer: [AtomicU64; 2],
    pub(super) switch: AtomicU64,
    /// Number of the environment that the slice was given to by the entry code; 0: none.
    pub(super) heir: AtomicU64,
    /// Whose vector state is in the registers.
    pub(super) vector_owner: AtomicPtr<super::vector::VectorState>,
    /// The root table in use.
    pub(super) root: AtomicU64,
    /// Whether a fault report has begun; a second one must not.
    pub(super) dying: AtomicBool,
    number: u32,
}

impl Cpu {
    /// Its number, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Faults that went straight to ring 3's handlers since boot.
    pub fn fault_upcalls(&self) -> u64 {
        self.upcall_count.load(Ordering::Relaxed)
    }
}

/// The one processor.
pub(super) static CPU: Cpu = Cpu {
    context: AtomicU64::new(0),
    kernel_stack: AtomicU64::new(0),
    user_stack: AtomicU64::new(0),
    upcall: [const { AtomicU64::new(0) }; 4],
    upcall_count: AtomicU64::new(0),
    transfers: AtomicU64::new(0),
    // A link without a gate has epoch 0.
    epoch: AtomicU64::new(1),
    running: AtomicU64::new(0),
    short_calls: AtomicU64::new(0),
    short_call: AtomicU64::new(0),
    short_answer: AtomicU64::new(0),
    short_kernel: AtomicU64::new(0),
    answered: AtomicU64::new(0),
    answer: [const { AtomicU64::new(0) }; 2],
    switch: AtomicU64::new(u64::MAX),
    heir: AtomicU64::new(0),
    vector_owner: AtomicPtr::new(core::ptr::null_mut()),
    root: AtomicU64::new(0),
    dying: AtomicBool::new(false),
    number: 0,
};

/// The processor that this runs on. There is one.
pub fn this_cpu() -> &'static Cpu {
    &CPU
}

/// What the processor offers beyond long mode (Intel SDM 2A, CPUID).
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) no_execute: bool,
    pub(super) smep: bool,
    pub(super) smap: bool,
    pub(super) umip: bool,
    pub(super) global: bool,
    pub(super) rdrand: bool,
}

/// Asks CPUID.
pub(super) fn features() -> Features {
    let bit = |word: u32, bit: u32| word >> bit & 1 == 1;
    let top = __cpuid(0).eax;
    let extended_top = __cpuid(0x8000_0000).eax;
    let basic = __cpuid(1);
    let more = (top >= 7).then(|| __cpuid_count(7, 0));
    let extended = (extended_top >= 0x8000_0001).then(|| __cpuid(0x8000_0001));
    Features {
        no_execute: extended.is_some_and(|e| bit(e.edx, 20)),
        smep: more.is_some_and(|m| bit(m.ebx, 7)),
        smap: more.is_some_and(|m| bit(m.ebx, 20)),
        umip: more.is_some_and(|m| bit(m.ecx, 2)),
        global: bit(basic.edx, 13),
        rdrand: bit(basic.ecx, 30),
    }
}

/// Switches on what is there: protections, `syscall`, and SSE for ring 3.
pub(super) fn enable(features: Features) {
    let mut efer = EferFlags::LONG_MODE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS;
    efer.set(EferFlags::NO_EXECUTE_ENABLE, features.no_execute);
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::PAGING
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE;
    let mut cr4 =
        Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    cr4.set(Cr4Flags::PAGE_GLOBAL, features.global);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
    // SAFETY: long mode stays on, and each feature is one that CPUID reports; the kernel keeps what
    // they ask of it (it executes and touches no user page).
    unsafe {
        Efer::write(EferFlags::from_bits_retain(Efer::read_raw() | efer.bits()));
        Cr0::write_raw(cr0.bits());
        Cr4::write_raw(cr4.bits());
    }
}

struct Once<T>(UnsafeCell<T>);

// SAFETY: written once, at boot, by `load_segments`; read by the processor afterwards.
unsafe impl<T> Sync for Once<T> {}

static GDT: Once<GlobalDescriptorTable> = Once(UnsafeCell::new(GlobalDescriptorTable::empty()));
static TSS: Once<TaskStateSegment> = Once(UnsafeCell::new(TaskStateSegment::new()));

/// Loads segments and the task state: where traps find their stacks.
pub(super) fn load_segments() {
    // SAFETY: called once, at boot, before anything else uses these two; from here on they are
    // only read. The selectors are those of the descriptors appended, in this order.
    unsafe {
        let tss = &mut *TSS.0.get();
        let top = |range: core::ops::Range<u64>| VirtAddr::new(range.end);
        tss.privilege_stack_table[0] = top(stack::TRAP_STACK.range());
        let mut table = [VirtAddr::zero(); 7];
        table[IST_DEBUG as usize] = top(stack::DEBUG_STACK.range());
        table[IST_NMI as usize] = top(stack::NMI_STACK.range());
        table[IST_DOUBLE_FAULT as usize] = top(stack::DOUBLE_FAULT_STACK.range());
        table[IST_MACHINE_CHECK as usize] = top(stack::MACHINE_CHECK_STACK.range());
        tss.interrupt_stack_table = table;

        let gdt = &mut *GDT.0.get();
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        gdt.append(Descriptor::user_data_segment());
        gdt.append(Descriptor::user_code_segment());
        let task = gdt.append(Descriptor::tss_segment_unchecked(TSS.0.get()));
        gdt.load_unsafe();
        CS::set_reg(KERNEL_CODE);
        SS::set_reg(KERNEL_DATA);
        load_tss(task);
    }
}

/// The root table that the processor uses; 0 while that is the boot code's.
pub(super) fn current_root() -> u64 {
    CPU.root.load(Ordering::Relaxed)
}

/// Makes the processor use a root table.
///
/// # Safety
///
/// It maps, as before, everything that the kernel uses from now on.
pub(super) unsafe fn load_root(phys: u64) {
    let frame = PhysFrame::containing_address(PhysAddr::new(phys));
    // SAFETY: as promised by the caller.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    CPU.root.store(phys, Ordering::Relaxed);
}
