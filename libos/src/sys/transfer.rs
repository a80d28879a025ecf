//! Registers as messages: the instructions around a protected control transfer.
//!
//! The kernel passes the general registers through, so what goes out is loaded from a [`Message`]
//! right before `syscall` and what comes back is stored right after. The other side is not trusted
//! to keep anything: every register that Rust expects to be kept is on this side's stack.

use abi::{Call, Handle, Status};

use crate::transfer::Service;

/// Words of a message.
pub const WORDS: usize = 11;

/// What a transfer carries: `rbx rdx rsi rbp r8 r9 r10 r12 r13 r14 r15`. (`rdi` carries the
/// sender's handle, which means nothing to the receiver.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Message(pub [u64; WORDS]);

/// Who transferred here, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Number of the sender's environment: the kernel says so.
    pub sender: u64,
    /// The sender waits for the answer.
    pub synchronous: bool,
}

/// How to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sync,
    Async,
}

impl Way {
    fn call(self) -> Call {
        match self {
            Way::Sync => Call::TransferSync,
            Way::Async => Call::TransferAsync,
        }
    }
}

#[cfg(target_os = "none")]
mod machine {
    use core::arch::naked_asm;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use abi::upcall::{Kind, SAVE_BYTES};

    use super::{Call, Handle, Message, Served, Service, Status, Way};
    use crate::sys::plain;

    /// Loads the message, makes the call, stores what came back; `rax`.
    ///
    /// # Safety
    /// `message` is exclusive; `call` is one of the transfers.
    #[unsafe(naked)]
    unsafe extern "C" fn swap(message: *mut Message, handle: u64, call: u64) -> u64 {
        naked_asm!(
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "push rdi",
            "mov rax, rdx",
            "mov rcx, rdi",
            "mov rdi, rsi",
            "mov rbx, [rcx]",
            "mov rdx, [rcx + 8]",
            "mov rsi, [rcx + 16]",
            "mov rbp, [rcx + 24]",
            "mov r8, [rcx + 32]",
            "mov r9, [rcx + 40]",
            "mov r10, [rcx + 48]",
            "mov r12, [rcx + 56]",
            "mov r13, [rcx + 64]",
            "mov r14, [rcx + 72]",
            "mov r15, [rcx + 80]",
            "syscall",
            "pop rcx",
            "mov [rcx], rbx",
            "mov [rcx + 8], rdx",
            "mov [rcx + 16], rsi",
            "mov [rcx + 24], rbp",
            "mov [rcx + 32], r8",
            "mov [rcx + 40], r9",
            "mov [rcx + 48], r10",
            "mov [rcx + 56], r12",
            "mov [rcx + 64], r13",
            "mov [rcx + 72], r14",
            "mov [rcx + 80], r15",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
        )
    }

    pub(crate) fn exchange(way: Way, to: Handle, message: &mut Message) -> u64 {
        // SAFETY: the message is borrowed; the callee saved are put back whatever comes.
        unsafe { swap(message, to.0, way.call() as u64) }
    }

    pub(crate) fn park() {
        exchange(Way::Sync, Handle::NONE, &mut Message::default());
    }

    /// Two save areas, which the kernel does not write, and the stack of the entries.
    #[repr(C, align(128))]
    struct Room(core::cell::UnsafeCell<[u8; 2 * SAVE_BYTES + STACK_BYTES]>);

    // SAFETY: the kernel and the one entry that runs at a time use it.
    unsafe impl Sync for Room {}

    const STACK_BYTES: usize = 16 * 1024;

    static ROOM: Room = Room(core::cell::UnsafeCell::new([0; 2 * SAVE_BYTES + STACK_BYTES]));
    static SERVICE: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn register(service: Service) -> Result<(), Status> {
        SERVICE.store(service as usize, Ordering::Relaxed);
        let area = ROOM.0.get() as u64;
        let top = area + (2 * SAVE_BYTES + STACK_BYTES) as u64;
        let sync = [Kind::TransferSync as u64, sync_entry as *const () as u64, top, area];
        plain(Call::UpcallSet, &sync)?;
        let area = area + SAVE_BYTES as u64;
        let other = [Kind::TransferAsync as u64, async_entry as *const () as u64, top, area];
        plain(Call::UpcallSet, &other).map(drop)
    }

    /// # Safety
    /// Not to be called: only the kernel comes here.
    #[unsafe(naked)]
    unsafe extern "C" fn sync_entry() {
        naked_asm!("mov ecx, 1", "jmp {entry}", entry = sym entry)
    }

    /// # Safety
    /// As [`sync_entry`].
    #[unsafe(naked)]
    unsafe extern "C" fn async_entry() {
        naked_asm!("xor ecx, ecx", "jmp {entry}", entry = sym entry)
    }

    /// Stores the message on the stack, calls the service, answers, and parks.
    ///
    /// # Safety
    /// As [`sync_entry`].
    #[unsafe(naked)]
    unsafe extern "C" fn entry() {
        naked_asm!(
            "sub rsp, 96",
            "mov [rsp], rbx",
            "mov [rsp + 8], rdx",
            "mov [rsp + 16], rsi",
            "mov [rsp + 24], rbp",
            "mov [rsp + 32], r8",
            "mov [rsp + 40], r9",
            "mov [rsp + 48], r10",
            "mov [rsp + 56], r12",
            "mov [rsp + 64], r13",
            "mov [rsp + 72], r14",
            "mov [rsp + 80], r15",
            "mov rdi, rax",
            "mov rsi, rcx",
            "mov rdx, rsp",
            "xor ebp, ebp",
            "call {serve}",
            "mov rbx, [rsp]",
            "mov rdx, [rsp + 8]",
            "mov rsi, [rsp + 16]",
            "mov rbp, [rsp + 24]",
            "mov r8, [rsp + 32]",
            "mov r9, [rsp + 40]",
            "mov r10, [rsp + 48]",
            "mov r12, [rsp + 56]",
            "mov r13, [rsp + 64]",
            "mov r14, [rsp + 72]",
            "mov r15, [rsp + 80]",
            // Woken by another upcall it comes back from the call, and parks again.
            "2:",
            "mov eax, {transfer}",
            "xor edi, edi",
            "syscall",
            "jmp 2b",
            serve = sym serve,
            transfer = const Call::TransferSync as u64,
        )
    }

    extern "C" fn serve(sender: u64, synchronous: u64, message: *mut Message) {
        let service = SERVICE.load(Ordering::Relaxed);
        // SAFETY: entries are registered after a `Service` was stored.
        let service: Service = unsafe { core::mem::transmute(service) };
        // SAFETY: the entry's own, on its stack.
        let message = unsafe { &mut *message };
        service(Served { sender, synchronous: synchronous != 0 }, message);
    }

    /// An entry that answers at once: what a transfer costs without a service.
    ///
    /// # Errors
    /// What the kernel said to the registration.
    pub fn bounce() -> Result<core::convert::Infallible, Status> {
        let area = ROOM.0.get() as u64;
        let top = area + (2 * SAVE_BYTES + STACK_BYTES) as u64;
        let entry = bounce_entry as *const () as u64;
        plain(Call::UpcallSet, &[Kind::TransferSync as u64, entry, top, area])?;
        loop {
            park();
        }
    }

    /// # Safety
    /// As [`sync_entry`].
    #[unsafe(naked)]
    unsafe extern "C" fn bounce_entry() {
        naked_asm!(
            "mov eax, {transfer}",
            "xor edi, edi",
            "syscall",
            "ud2",
            transfer = const Call::TransferSync as u64,
        )
    }

    /// The time-stamp counter, around the shortest possible transfer and back; `rax` of it.
    pub fn timed_null_transfer(to: Handle) -> (u64, u64) {
        let (from, until, rax): (u64, u64, u64);
        // SAFETY: the callee may change every register; those that cannot be named are kept on
        // the stack, which is this program's own.
        unsafe {
            core::arch::asm!(
                "push rbx",
                "push rbp",
                "rdtsc",
                "shl rdx, 32",
                "or rax, rdx",
                "push rax",
                "mov eax, {transfer}",
                "syscall",
                "mov rcx, rax",
                "rdtsc",
                "shl rdx, 32",
                "or rax, rdx",
                "pop rdi",
                "pop rbp",
                "pop rbx",
                transfer = const Call::TransferSync as u64,
                inlateout("rdi") to.0 => from,
                lateout("rax") until,
                lateout("rcx") rax,
                lateout("rdx") _,
                lateout("rsi") _,
                lateout("r8") _,
                lateout("r9") _,
                lateout("r10") _,
                lateout("r11") _,
                lateout("r12") _,
                lateout("r13") _,
                lateout("r14") _,
                lateout("r15") _,
            );
        }
        (until.wrapping_sub(from), rax)
    }

    /// Puts a value into `xmm0`, which compiled code of this target does not use.
    pub fn set_vector(value: u64) {
        // SAFETY: nothing else keeps anything there.
        unsafe { core::arch::asm!("movq xmm0, {}", in(reg) value, options(nomem, nostack)) };
    }

    /// What is in `xmm0`.
    pub fn vector() -> u64 {
        let value: u64;
        // SAFETY: as in `set_vector`.
        unsafe { core::arch::asm!("movq {}, xmm0", out(reg) value, options(nomem, nostack)) };
        value
    }

    /// The time-stamp counter around `Null`.
    pub fn timed_null_call() -> u64 {
        let before = cycles();
        let _ = plain(Call::Null, &[]);
        cycles().wrapping_sub(before)
    }

    /// The time-stamp counter.
    pub fn cycles() -> u64 {
        // SAFETY: ring 3 may read it.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

#[cfg(target_os = "none")]
pub use machine::{bounce, cycles, set_vector, timed_null_call, timed_null_transfer, vector};
#[cfg(target_os = "none")]
pub(crate) use machine::{exchange, park, register};

/// On the host the script answers with `rax` as the status.
#[cfg(not(target_os = "none"))]
pub(crate) fn exchange(way: Way, to: Handle, _message: &mut Message) -> u64 {
    super::platform::registers(way.call() as u64, [to.0, 0, 0, 0, 0, 0]).0
}

#[cfg(not(target_os = "none"))]
pub(crate) fn park() {
    super::platform::stuck();
}

#[cfg(not(target_os = "none"))]
pub(crate) fn register(_service: Service) -> Result<(), Status> {
    Ok(())
}
