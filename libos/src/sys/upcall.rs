//! How the kernel's upcalls reach Rust, and how the program goes on without the kernel.
//!
//! For each kind there is a save area and an entry in assembly. The entry keeps the registers that
//! a Rust function may change (the kernel has kept `rax`, `rsp`, `rip` and the flags), calls the
//! handler on a stack of the kind's own, restores them, clears the area's active word, and jumps
//! back: no call into the kernel.
//!
//! Once the active word is clear, the next upcall of the kind may overwrite the area, while the
//! last few instructions still need four words of it. They are therefore copied to the area's spare
//! words first, and used from there; an upcall that interrupts just those instructions does not
//! copy again: what it would have to go back to is what the spare words already say.
//!
//! A handler runs between two instructions of anything, the allocator's included. What a handler
//! shares with the rest of the program is an atomic or an [`super::Exclusive`].

use core::sync::atomic::{AtomicUsize, Ordering};

use abi::upcall::{self, KINDS, Kind};
use abi::{Call, Status};

#[cfg(target_os = "none")]
use super::paged::probe_failed;
use super::plain;
#[cfg(target_os = "none")]
use crate::capability::{Env, Page};

/// What runs when an upcall arrives.
pub type Handler = fn(&mut Upcall);

static HANDLERS: [AtomicUsize; KINDS] = [const { AtomicUsize::new(0) }; KINDS];

/// An upcall that has arrived: why, and where the program was.
#[derive(Debug)]
pub struct Upcall {
    area: *mut u64,
    kind: Kind,
}

impl Upcall {
    /// Which kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For a fault the exception's vector.
    pub fn detail(&self) -> u64 {
        self.word(upcall::DETAIL)
    }

    /// For a fault the processor's error code.
    pub fn error(&self) -> u64 {
        self.word(upcall::ERROR)
    }

    /// For a page fault the address that was touched.
    pub fn address(&self) -> u64 {
        self.word(upcall::ADDRESS)
    }

    /// What it means depends on the kind.
    pub fn argument(&self) -> u64 {
        self.word(upcall::ARGUMENT)
    }

    /// The instruction that was interrupted.
    pub fn rip(&self) -> u64 {
        self.word(upcall::RIP)
    }

    /// If the fault is that of a probe ([`super::paged`]), makes the probe report it when the
    /// program goes on, instead of trying again.
    pub fn skip_probe(&mut self) -> bool {
        #[cfg(target_os = "none")]
        if let Some(recovery) = probe_failed(self.rip()) {
            // SAFETY: within the save area; the probe's other end expects exactly this jump.
            unsafe { self.area.add(upcall::RIP / 8).write_volatile(recovery) };
            return true;
        }
        false
    }

    fn word(&self, offset: usize) -> u64 {
        // SAFETY: the area is `SAVE_BYTES` long and lives for ever; the kernel does not write it
        // while it is active, which it is for as long as the handler runs.
        unsafe { self.area.add(offset / 8).read_volatile() }
    }
}

/// Makes `handler` run on upcalls of a kind, on a stack of its own.
///
/// # Errors
/// What the kernel said when pages for the stack or the registration were asked for.
pub fn register(kind: Kind, handler: Handler) -> Result<(), Status> {
    HANDLERS[kind as usize].store(handler as usize, Ordering::Relaxed);
    let (entry, area) = place(kind);
    let stack = stack(kind)?;
    plain(Call::UpcallSet, &[kind as u64, entry, stack, area]).map(drop)
}

/// Takes a registration back.
///
/// # Errors
/// What the kernel said.
pub fn unregister(kind: Kind) -> Result<(), Status> {
    plain(Call::UpcallSet, &[kind as u64, 0, 0, 0]).map(drop)
}

/// The top of the kind's stack, mapped when it is first asked for; the page below is a guard.
#[cfg(target_os = "none")]
fn stack(kind: Kind) -> Result<u64, Status> {
    use crate::layout::{UPCALL_STACK_PAGES, UPCALL_STACK_STEP, UPCALL_STACKS};
    let base = UPCALL_STACKS + kind as u64 * UPCALL_STACK_STEP;
    let page_bytes = abi::limits::PAGE_BYTES as u64;
    let own = Env(super::own());
    for number in 1..=UPCALL_STACK_PAGES {
        let page = Page::alloc(own)?;
        let mapped = page.map(own, base + number * page_bytes, true);
        // A mapping holds its page; without one the page goes with its name.
        let _ = page.forget();
        match mapped {
            Ok(()) | Err(Status::Occupied) => {}
            Err(status) => return Err(status),
        }
    }
    Ok(base + (UPCALL_STACK_PAGES + 1) * page_bytes)
}

#[cfg(not(target_os = "none"))]
fn stack(_kind: Kind) -> Result<u64, Status> {
    Ok(crate::layout::UPCALL_STACKS + crate::layout::UPCALL_STACK_STEP)
}

/// What the entries call.
#[cfg(target_os = "none")]
extern "C" fn dispatch(area: *mut u64, kind: u64) {
    let handler = HANDLERS.get(kind as usize).map_or(0, |it| it.load(Ordering::Relaxed));
    let (Some(kind), true) = (Kind::from_number(kind), handler != 0) else { super::exit(102) };
    // SAFETY: only `register` stores here, and it stores a `Handler`.
    let handler: Handler = unsafe { core::mem::transmute(handler) };
    handler(&mut Upcall { area, kind });
}

#[cfg(not(target_os = "none"))]
fn place(_kind: Kind) -> (u64, u64) {
    (0x40_0000, 0x40_1000)
}

#[cfg(target_os = "none")]
#[repr(C, align(128))]
struct Area(core::cell::UnsafeCell<[u64; upcall::SAVE_BYTES / 8]>);

#[cfg(target_os = "none")]
// SAFETY: the kernel writes it while nobody reads; afterwards one thread has it.
unsafe impl Sync for Area {}

#[cfg(target_os = "none")]
macro_rules! entries {
    ($($kind:ident => $area:ident, $entry:ident;)*) => {
        $(
            static $area: Area = Area(core::cell::UnsafeCell::new([0; upcall::SAVE_BYTES / 8]));

            /// # Safety
            ///
            /// Not to be called: only the kernel comes here.
            #[unsafe(naked)]
            unsafe extern "C" fn $entry() {
                core::arch::naked_asm!(
                    "push rcx",
                    "push rdx",
                    "push rsi",
                    "push rdi",
                    "push r8",
                    "push r9",
                    "push r10",
                    "push r11",
                    "mov rdi, rax",
                    "mov esi, {kind}",
                    "call {dispatch}",
                    "mov rax, [rip + {area} + {rip}]",
                    "lea rcx, [rip + 4f]",
                    "cmp rax, rcx",
                    "jb 2f",
                    "lea rcx, [rip + 5f]",
                    "cmp rax, rcx",
                    "jb 3f",
                    "2:",
                    "mov [rip + {area} + {spare_rip}], rax",
                    "mov rcx, [rip + {area} + {rflags}]",
                    "mov [rip + {area} + {spare_rflags}], rcx",
                    "mov rcx, [rip + {area} + {rsp}]",
                    "mov [rip + {area} + {spare_rsp}], rcx",
                    "mov rcx, [rip + {area} + {rax}]",
                    "mov [rip + {area} + {spare_rax}], rcx",
                    "3:",
                    "pop r11",
                    "pop r10",
                    "pop r9",
                    "pop r8",
                    "pop rdi",
                    "pop rsi",
                    "pop rdx",
                    "pop rcx",
                    "mov qword ptr [rip + {area} + {active}], 0",
                    "4:",
                    "lea rsp, [rip + {area} + {spare_rflags}]",
                    "popfq",
                    "mov rax, [rip + {area} + {spare_rax}]",
                    "mov rsp, [rip + {area} + {spare_rsp}]",
                    "jmp qword ptr [rip + {area} + {spare_rip}]",
                    "5:",
                    "ud2",
                    kind = const Kind::$kind as u32,
                    dispatch = sym dispatch,
                    area = sym $area,
                    active = const upcall::ACTIVE,
                    rip = const upcall::RIP,
                    rflags = const upcall::RFLAGS,
                    rsp = const upcall::RSP,
                    rax = const upcall::RAX,
                    spare_rip = const upcall::SPARE,
                    spare_rflags = const upcall::SPARE + 8,
                    spare_rsp = const upcall::SPARE + 16,
                    spare_rax = const upcall::SPARE + 24,
                )
            }
        )*

        /// Entry and save area of a kind.
        fn place(kind: Kind) -> (u64, u64) {
            match kind {
                $(Kind::$kind => ($entry as *const () as u64, (&raw const $area) as u64),)*
            }
        }
    };
}

#[cfg(target_os = "none")]
entries! {
    Fault => FAULT, fault_entry;
    SliceStart => SLICE_START, slice_start_entry;
    SliceEnd => SLICE_END, slice_end_entry;
    Revoke => REVOKE, revoke_entry;
    Repossess => REPOSSESS, repossess_entry;
    TransferSync => TRANSFER_SYNC, transfer_sync_entry;
    TransferAsync => TRANSFER_ASYNC, transfer_async_entry;
    Message => MESSAGE, message_entry;
}

const _: () = assert!(upcall::SPARE + 32 <= upcall::SAVE_BYTES);
