//! Protected control transfer: from one ring-3 context straight into another one.
//!
//! The first transfer through a handle is the kernel's: it checks, and opens a *gate* in the
//! sender's context. From then on `transfer_entry` itself moves control through the gate and
//! back, in 52 instructions there and 45 back, and leaves every general register
//! but `rax`, `rcx` and `r11` where it is. The contexts' [`Link`]s are the only record of who waits
//! for whom, so that the kernel finds out by asking when it is entered next.
//!
//! What keeps the pointers good: a context that was linked does not move (`enter` and the links
//! check it), dropping one takes it out of every link, and any gate is void once [`close_gates`]
//! was called: the kernel does so whenever an entry, a capability or an environment goes.

use super::cpu::{CPU, Cpu, this_cpu};
use super::space::AddressSpace;
use super::user::{CONTEXT, FLAGS_ALLOWED, FLAGS_FORCED, UPCALL_AREA, UserContext};
use super::user::{USER_STACK, syscall_store};
use super::vector::VectorState;
use crate::event::{Link as State, Registers};
use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::Ordering;

/// It runs, or would.
const FREE: u64 = 0;
/// It has given its registers up and can be entered.
const PARKED: u64 = 1;
/// It has transferred synchronously and waits for the answer.
const AWAITING: u64 = 2;

/// A context's part in transfers. The entry code uses it by its offsets.
#[repr(C)]
pub(super) struct Link {
    mode: u64,
    /// The environment's number.
    tag: u64,
    /// Where it was when it was linked; null before.
    home: *mut UserContext,
    /// Whom it waits for, while `mode` says so.
    awaits: *mut UserContext,
    /// Who waits for it, or null.
    donor: *mut UserContext,
    /// Who entered it last; only looked at right after.
    from: *mut UserContext,
    /// Where it is entered, while it is parked; 0: nowhere.
    entry: u64,
    stack: u64,
    /// Physical address of its root table.
    root: u64,
    vectors: *mut VectorState,
    /// The handle that the gate stands for, the gate, and when it was opened.
    handle: u64,
    gate: *mut UserContext,
    epoch: u64,
}

impl Link {
    pub(super) const fn new() -> Link {
        Link {
            mode: FREE,
            tag: 0,
            home: ptr::null_mut(),
            awaits: ptr::null_mut(),
            donor: ptr::null_mut(),
            from: ptr::null_mut(),
            entry: 0,
            stack: 0,
            root: 0,
            vectors: ptr::null_mut(),
            handle: 0,
            gate: ptr::null_mut(),
            epoch: 0,
        }
    }

    /// The environment's number.
    pub(super) fn tag(&self) -> u64 {
        self.tag
    }
}

/// Makes every gate void.
pub(super) fn close_gates() {
    this_cpu().epoch.fetch_add(1, Ordering::Relaxed);
}

impl UserContext {
    /// Says whose it is, and which address space goes with it. From now on it must not move.
    pub fn settle(&mut self, tag: u64, space: &AddressSpace) {
        self.link.tag = tag;
        self.link.root = space.root();
        self.link.vectors = self.vectors.state();
        self.link.home = self;
    }

    /// Where it can be entered while it is parked: address and stack; or nowhere. Open gates
    /// close.
    pub fn set_transfer_entry(&mut self, to: Option<(u64, u64)>) {
        let (entry, stack) = to.unwrap_or_default();
        assert!(entry >> 47 == 0 && stack >> 47 == 0, "entry or stack in the kernel's half");
        (self.link.entry, self.link.stack) = (entry, stack);
        close_gates();
    }

    /// Whether it runs, is parked, or waits for another one.
    pub fn link(&self) -> State {
        match self.link.mode {
            FREE => State::Free,
            PARKED => State::Parked,
            // SAFETY: whoever it waits for is alive: dropping it would have ended the wait.
            _ => State::Awaiting(unsafe { (*self.link.awaits).link.tag }),
        }
    }

    /// Who waits for it.
    pub fn donor(&self) -> Option<u64> {
        let donor = self.link.donor;
        // SAFETY: whoever waits for it is alive: dropping it would have cleared this.
        (!donor.is_null()).then(|| unsafe { (*donor).link.tag })
    }

    /// Gives its registers up.
    pub fn park(&mut self) {
        self.link.mode = PARKED;
    }

    /// It runs again: parked no more, and waiting for nobody.
    pub fn unpark(&mut self) {
        if self.link.mode == AWAITING {
            // SAFETY: as in `link`.
            unsafe { (*self.link.awaits).link.donor = ptr::null_mut() };
        }
        self.link.mode = FREE;
    }

    /// Its donor ended.
    pub fn forget_donor(&mut self) {
        self.link.donor = ptr::null_mut();
    }

    /// Whether a synchronous transfer can enter it.
    pub fn accepts(&self) -> bool {
        self.link.mode == PARKED && self.link.entry != 0
    }

    /// Transfers to a context that accepts; this one waits. Opens a gate for the handle.
    pub fn transfer(&mut self, to: &mut UserContext, handle: u64) {
        self.check_home();
        to.check_home();
        assert!(self.link.mode == FREE && to.accepts(), "a transfer that cannot be");
        self.link.mode = AWAITING;
        self.link.awaits = to;
        to.link.donor = self;
        to.link.mode = FREE;
        to.registers.receive(&self.registers, self.link.tag);
        (to.registers.rip, to.registers.rsp) = (to.link.entry, to.link.stack);
        to.registers.rflags = abi::upcall::FLAGS;
        self.link.handle = handle;
        self.link.gate = to;
        self.link.epoch = this_cpu().epoch.load(Ordering::Relaxed);
    }

    /// Gives the time back to its donor, with its registers, and parks.
    pub fn give_back(&mut self, donor: &mut UserContext) {
        assert!(ptr::eq(self.link.donor, donor), "not the donor");
        self.link.donor = ptr::null_mut();
        self.link.mode = PARKED;
        donor.link.mode = FREE;
        donor.registers.receive(&self.registers, self.link.tag);
    }

    pub(super) fn check_home(&self) {
        assert!(ptr::eq(self.link.home, self), "a linked context has moved");
    }
}

impl Drop for UserContext {
    fn drop(&mut self) {
        let cpu = this_cpu();
        // Ring 3 would go on in what is no more (`super::syscall`).
        let staying = cpu.short_calls.load(Ordering::Relaxed) != 0;
        let ran = cpu.context.load(Ordering::Relaxed) == &raw const *self as u64;
        assert!(!(staying && ran), "a context ended while it was in ring 3");
        if self.link.home.is_null() {
            return;
        }
        close_gates();
        self.unpark();
        let donor = self.link.donor;
        if !donor.is_null() {
            // SAFETY: as in `donor`.
            unsafe { (*donor).link.mode = FREE };
        }
    }
}

impl Cpu {
    /// Synchronous transfers that the entry code made by itself.
    #[inline]
    pub fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    /// Number of the environment whose context ran last. A transfer may have put another one in
    /// the place of the one that was entered.
    #[inline]
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Makes every transfer ask the kernel again.
    pub fn close_gates(&self) {
        close_gates();
    }
}

const LINK: usize = offset_of!(UserContext, link);
/// Offsets in a context, for the entry code.
pub(super) const VECTORS: usize = LINK + offset_of!(Link, vectors);
pub(super) const ROOT: usize = LINK + offset_of!(Link, root);
pub(super) const TAG: usize = LINK + offset_of!(Link, tag);
const REGISTERS: usize = offset_of!(UserContext, registers);

unsafe extern "C" {
    /// A synchronous transfer: ring 3's stack pointer is in the per-CPU record, `rcx` the return
    /// address, `r11` the flags. Only the `syscall` entry comes here.
    pub(super) fn transfer_entry();
}

global_asm!(
    r#"
    .text
    .balign 16
    .global transfer_entry
transfer_entry:
    mov rsp, [rip + {cpu} + {context}]
    test rdi, rdi
    jz 2f
    cmp rdi, [rsp + {handle}]         # the gate is this handle's,
    jne {store}
    mov rax, [rip + {cpu} + {now}]
    cmp rax, [rsp + {epoch}]          # and still open,
    jne 4f
    mov rax, [rsp + {gate}]
    cmp qword ptr [rax + {mode}], {PARKED}  # into a context that is parked
    jne 4f
    mov qword ptr [rsp + {mode}], {AWAITING}
    mov [rsp + {awaits}], rax
    mov [rax + {donor}], rsp
    mov [rsp + {rip}], rcx
    and r11d, {allowed}
    or r11d, {forced}
    mov [rsp + {rflags}], r11
    mov rcx, [rip + {cpu} + {user_stack}]
    mov [rsp + {rsp_}], rcx
    mov rcx, [rax + {stack}]
    mov [rip + {cpu} + {user_stack}], rcx
    mov rcx, [rax + {entry}]
    mov r11d, {flags}
    jmp 3f
2:
    mov rax, [rsp + {donor}]          # back to the donor
    test rax, rax
    jz 4f
    mov qword ptr [rsp + {mode}], {PARKED}
    mov qword ptr [rsp + {donor}], 0
    mov [rsp + {rip}], rcx
    and r11d, {allowed}
    or r11d, {forced}
    mov [rsp + {rflags}], r11
    mov rcx, [rip + {cpu} + {user_stack}]
    mov [rsp + {rsp_}], rcx
    mov rcx, [rax + {rsp_}]
    mov [rip + {cpu} + {user_stack}], rcx
    mov rcx, [rax + {rip}]
    mov r11, [rax + {rflags}]
3:
    mov qword ptr [rax + {mode}], {FREE}    # from rsp to rax; rcx, r11: where to go on
    mov qword ptr [rip + {cpu} + {upcall}], 0
    mov [rax + {from}], rsp
    mov rsp, [rsp + {vectors}]
    fxsave64 [rsp]
    mov rsp, [rax + {vectors}]
    mov [rip + {cpu} + {vector_owner}], rsp
    fxrstor64 [rsp]
    xor esp, esp
    mov ds, esp
    mov es, esp
    mov fs, esp
    mov gs, esp
    mov rsp, [rax + {root}]
    mov cr3, rsp
    mov [rip + {cpu} + {cpu_root}], rsp
    mov [rip + {cpu} + {context}], rax
    inc qword ptr [rip + {cpu} + {transfers}]
    mov rax, [rax + {from}]
    mov rax, [rax + {tag}]
    mov rsp, [rip + {cpu} + {user_stack}]
    sysretq
4:
    mov eax, {transfer_sync}
    jmp {store}
    "#,
    cpu = sym CPU,
    store = sym syscall_store,
    context = const CONTEXT,
    user_stack = const USER_STACK,
    upcall = const UPCALL_AREA,
    now = const offset_of!(Cpu, epoch),
    cpu_root = const offset_of!(Cpu, root),
    vector_owner = const offset_of!(Cpu, vector_owner),
    transfers = const offset_of!(Cpu, transfers),
    transfer_sync = const abi::Call::TransferSync as u64,
    PARKED = const PARKED,
    AWAITING = const AWAITING,
    FREE = const FREE,
    flags = const abi::upcall::FLAGS,
    allowed = const FLAGS_ALLOWED,
    forced = const FLAGS_FORCED,
    handle = const LINK + offset_of!(Link, handle),
    epoch = const LINK + offset_of!(Link, epoch),
    gate = const LINK + offset_of!(Link, gate),
    mode = const LINK + offset_of!(Link, mode),
    awaits = const LINK + offset_of!(Link, awaits),
    donor = const LINK + offset_of!(Link, donor),
    stack = const LINK + offset_of!(Link, stack),
    entry = const LINK + offset_of!(Link, entry),
    from = const LINK + offset_of!(Link, from),
    vectors = const VECTORS,
    root = const ROOT,
    tag = const TAG,
    rip = const REGISTERS + offset_of!(Registers, rip),
    rflags = const REGISTERS + offset_of!(Registers, rflags),
    rsp_ = const REGISTERS + offset_of!(Registers, rsp),
);
