//! What a fault costs, in counts of the time-stamp counter: guest instructions where the machine
//! counts those.
//!
//! A fault handler of its own, in assembly, reads the counter in its first instruction and goes on
//! behind the faulting instruction; what lies between two readings of the counter without a fault
//! is subtracted.

use abi::Status;

/// The parts of one fault's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCost {
    /// From the faulting instruction to the first instruction of the handler: the processor's
    /// exception and the kernel.
    pub to_handler: u64,
    /// From the handler's first instruction to the one behind the faulting one: no kernel.
    pub back: u64,
}

/// The least of a number of faults on an address of the kernel's.
///
/// Replaces the program's fault handler: register it again afterwards.
///
/// # Errors
/// What the kernel said to the registration.
#[cfg(target_os = "none")]
pub fn fault_cost(rounds: u32) -> Result<FaultCost, Status> {
    use abi::Call;
    use abi::upcall::Kind;
    let area = AREA.0.get() as u64;
    let stack = area + STACK_TOP as u64;
    let entry = measure_entry as *const () as u64;
    super::plain(Call::UpcallSet, &[Kind::Fault as u64, entry, stack, area])?;
    let mut best = FaultCost { to_handler: u64::MAX, back: u64::MAX };
    for _ in 0..rounds {
        let mut times = [0_u64; 5];
        // SAFETY: the load faults and yields nothing; the handler, entered on its own stack, goes
        // on behind it. `times` is written by this function alone.
        unsafe { measure(times.as_mut_ptr()) };
        let [a, b, before, within, after] = times;
        let reading = b.wrapping_sub(a);
        let to_handler = within.wrapping_sub(before).saturating_sub(reading);
        let back = after.wrapping_sub(within).saturating_sub(reading);
        best.to_handler = best.to_handler.min(to_handler);
        best.back = best.back.min(back);
    }
    super::plain(Call::UpcallSet, &[Kind::Fault as u64, 0, 0, 0])?;
    Ok(best)
}

/// There are no faults on the host.
///
/// # Errors
/// `NoDevice`.
#[cfg(not(target_os = "none"))]
pub fn fault_cost(_rounds: u32) -> Result<FaultCost, Status> {
    Err(Status::NoDevice)
}

/// Offset of the top of the handler's stack, which lies behind the save area.
#[cfg(target_os = "none")]
const STACK_TOP: usize = 1024;

#[cfg(target_os = "none")]
#[repr(C, align(1024))]
struct Area(core::cell::UnsafeCell<[u8; STACK_TOP]>);

#[cfg(target_os = "none")]
// SAFETY: the kernel and the assembly below write it; no Rust code looks into it.
unsafe impl Sync for Area {}

#[cfg(target_os = "none")]
static AREA: Area = Area(core::cell::UnsafeCell::new([0; STACK_TOP]));

/// Two readings in a row, one before the fault, the handler's, one after it.
///
/// # Safety
///
/// `times` has room for five words; [`measure_entry`] is the fault handler.
#[cfg(target_os = "none")]
#[unsafe(naked)]
unsafe extern "C" fn measure(times: *mut u64) {
    core::arch::naked_asm!(
        "push rbx",
        "mov r9, 0xffffffff80000000",
        "rdtsc",
        "mov [rdi], eax",
        "mov [rdi + 4], edx",
        "rdtsc",
        "mov [rdi + 8], eax",
        "mov [rdi + 12], edx",
        "rdtsc",
        "mov [rdi + 16], eax",
        "mov [rdi + 20], edx",
        "mov rbx, [r9]",
        "rdtsc",
        "mov [rdi + 32], eax",
        "mov [rdi + 36], edx",
        "pop rbx",
        "ret",
    )
}

/// The handler: `rdi` is still `times`; the faulting instruction has three bytes.
///
/// # Safety
///
/// Not to be called: only the kernel comes here.
#[cfg(target_os = "none")]
#[unsafe(naked)]
unsafe extern "C" fn measure_entry() {
    core::arch::naked_asm!(
        "rdtsc",
        "mov [rdi + 24], eax",
        "mov [rdi + 28], edx",
        "lea rax, [rip + {area}]",
        "add qword ptr [rax + {rip}], 3",
        "mov qword ptr [rax + {active}], 0",
        "lea rsp, [rax + {rflags}]",
        "popfq",
        "mov rsp, [rip + {area} + {rsp}]",
        "jmp qword ptr [rip + {area} + {rip}]",
        area = sym AREA,
        active = const abi::upcall::ACTIVE,
        rip = const abi::upcall::RIP,
        rflags = const abi::upcall::RFLAGS,
        rsp = const abi::upcall::RSP,
    )
}
