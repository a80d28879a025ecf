//! Instructions that ring 3 must not get away with, flags and registers at odd moments, and what
//! one environment may find of another's in the processor.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use libos::sys::stubs::Stub;

use crate::attack::{Attack, Outcome};
use crate::child::{CODE, Child, End, NOTHING, SCRIPT, STACK};
use crate::lab::Lab;

const KERNEL: u64 = 0xffff_8000_0010_0000;
const IMAGE: u64 = 0xffff_ffff_8010_0000;
const WILD: u64 = 0x0123_4567_89ab_cdef;
const EDGE: u64 = abi::limits::USER_END;

const OK: &[End] = &[End::Exited(0)];
const GP: &[End] = &[End::Faulted(13)];
const UD: &[End] = &[End::Faulted(6)];
const PF: &[End] = &[End::Faulted(14)];
const GP_OR_UD: &[End] = &[End::Faulted(13), End::Faulted(6)];
const GP_OR_SS: &[End] = &[End::Faulted(13), End::Faulted(12)];
const SS: &[End] = &[End::Faulted(12)];
/// Returns of ring 3's own. QEMU before 9.1 reads the frame as the kernel would, so that with SMAP
/// the processor that it plays faults on it.
const RETURN: &[End] = &[End::Faulted(13), End::Faulted(11), End::Faulted(14)];
/// What only a real processor checks: QEMU's goes on, and nothing has happened.
const PF_OR_NOTHING: &[End] = &[End::Faulted(14), End::Exited(1)];
const GP_OR_NOTHING: &[End] = &[End::Faulted(13), End::Exited(1)];
const XM_OR_NOTHING: &[End] = &[End::Faulted(19), End::Exited(1)];
/// Selectors: not present, ring 0's, no segment at all.
const SEGMENT: &[End] = &[End::Faulted(13), End::Faulted(11), End::Faulted(12)];

type Row = (&'static str, Stub, u64, &'static [End]);

/// Privileged instructions, and others that are not ring 3's.
const PRIVILEGED: &[Row] = &[
    ("port input", Stub::In, 0, GP),
    ("the port that stops the machine", Stub::OutExit, 0, GP),
    ("mask all interrupts", Stub::OutMask, 0, GP),
    ("string input from a port", Stub::Ins, 0, GP),
    ("string output to a port", Stub::Outs, 0, GP),
    ("hlt", Stub::Hlt, 0, GP),
    ("cli", Stub::Cli, 0, GP),
    ("sti", Stub::Sti, 0, GP),
    ("rdmsr", Stub::Rdmsr, 0, GP),
    ("wrmsr of the call entry", Stub::Wrmsr, 0, GP),
    ("rdpmc", Stub::Rdpmc, 0, GP),
    ("read cr0", Stub::ReadCr0, 0, GP),
    ("write protection off", Stub::WriteCr0, 0, GP),
    ("read cr2", Stub::ReadCr2, 0, GP),
    ("read cr3", Stub::ReadCr3, 0, GP),
    ("another root table", Stub::WriteCr3, 0, GP),
    ("smep and smap off", Stub::WriteCr4, 0, GP),
    ("task priority", Stub::WriteCr8, 0, GP),
    ("a breakpoint address", Stub::WriteDr0, 0, GP),
    ("breakpoint control", Stub::WriteDr7, 0, GP),
    ("lgdt", Stub::Lgdt, 0, GP),
    ("lidt", Stub::Lidt, 0, GP),
    ("lldt", Stub::Lldt, 0, GP),
    ("ltr", Stub::Ltr, 0, GP),
    ("lmsw", Stub::Lmsw, 0, GP),
    ("clts", Stub::Clts, 0, GP),
    ("invlpg", Stub::Invlpg, 0, GP),
    ("invd", Stub::Invd, 0, GP),
    ("wbinvd", Stub::Wbinvd, 0, GP),
    ("swapgs", Stub::Swapgs, 0, GP),
    ("sysret", Stub::Sysret, 0, GP_OR_UD),
    ("sysenter", Stub::Sysenter, 0, GP_OR_UD),
    ("sysexit", Stub::Sysexit, 0, GP_OR_UD),
    ("wrgsbase", Stub::Wrgsbase, 0, UD),
    ("xsetbv", Stub::Xsetbv, 0, GP_OR_UD),
    ("avx", Stub::Avx, 0, UD),
    ("vmcall", Stub::Vmcall, 0, GP_OR_UD),
    ("vmrun", Stub::Vmrun, 0, GP_OR_UD),
    ("mwait", Stub::Mwait, 0, GP_OR_UD),
    ("sidt", Stub::Sidt, 0, &[End::Faulted(13), End::Exited(0)]),
];

/// Exceptions on purpose.
const EXCEPTIONS: &[Row] = &[
    ("int 0x80", Stub::Int80, 0, GP),
    ("int 14", Stub::Int14, 0, GP),
    ("int 8", Stub::Int8, 0, GP),
    ("int 2", Stub::Int2, 0, GP),
    ("int 18", Stub::Int18, 0, GP),
    ("int 32", Stub::Int32, 0, GP),
    ("int 255", Stub::Int255, 0, GP),
    ("int3", Stub::Int3, 0, &[End::Faulted(3), End::Faulted(13)]),
    ("icebp", Stub::Icebp, 0, &[End::Faulted(1), End::Faulted(6)]),
    ("ud2", Stub::Ud2, 0, UD),
    ("division by zero", Stub::Divide, 0, &[End::Faulted(0)]),
    ("lock prefix before nop", Stub::BadLock, 0, UD),
    ("an instruction of sixteen bytes", Stub::TooLong, 0, GP_OR_UD),
    ("jump to the kernel", Stub::Jump, KERNEL, PF),
    ("jump into the kernel's image", Stub::Jump, IMAGE, PF),
    ("jump to a non-canonical address", Stub::Jump, WILD, GP),
    ("jump to the edge of ring 3", Stub::Jump, EDGE, PF),
    ("jump to zero", Stub::Jump, 0, PF),
    ("jump to nothing", Stub::Jump, NOTHING, PF),
    ("jump to the stack", Stub::Jump, STACK, PF),
    ("jump to shown memory", Stub::Jump, abi::exposed::SYSTEM, PF),
    ("run the stack", Stub::RunStack, 0, PF),
    ("read the kernel", Stub::Load, KERNEL, PF),
    ("read the kernel's image", Stub::Load, IMAGE, PF),
    ("read a non-canonical address", Stub::Load, WILD, GP),
    ("read zero", Stub::Load, 0, PF),
    ("read the last byte there is", Stub::Load, u64::MAX - 7, PF),
    ("read across the edge of ring 3", Stub::Straddle, EDGE, PF),
    (
        "read across the canonical edge",
        Stub::Straddle,
        1 << 47,
        &[End::Faulted(13), End::Faulted(14)],
    ),
    ("write to the kernel", Stub::Store, KERNEL, PF),
    ("write to own code", Stub::Store, CODE, PF),
    ("write to the system page", Stub::Store, abi::exposed::SYSTEM, PF),
    ("write to the frame table", Stub::Store, abi::exposed::FRAMES, PF),
    ("write to the environment table", Stub::Store, abi::exposed::ENVIRONMENTS, PF),
    ("write to a shown page table", Stub::Store, abi::exposed::TABLES, PF),
    ("flush the kernel's line", Stub::Flush, KERNEL, PF_OR_NOTHING),
    ("push onto the kernel's stack", Stub::Push, KERNEL, PF),
    ("push onto a non-canonical stack", Stub::Push, WILD & !7, GP_OR_SS),
    ("push onto nothing", Stub::Push, NOTHING, PF),
    ("use up the stack", Stub::Recurse, 0, PF),
    ("return to ring 0", Stub::IretKernel, 0, RETURN),
    ("iretq to a non-canonical address", Stub::IretWild, 0, RETURN),
    ("iretq with nt set", Stub::IretNested, 0, GP),
    ("iretq with iopl 3, then a port", Stub::IretIopl, 0, RETURN),
];

/// Flags, stack pointers and other state at a call and at interrupts.
const MOMENTS: &[Row] = &[
    ("kernel's stack pointer at a call", Stub::WildStack, KERNEL, OK),
    ("image's stack pointer at a call", Stub::WildStack, IMAGE, OK),
    ("non-canonical stack pointer at a call", Stub::WildStack, WILD, SS),
    ("stack pointer zero at a call", Stub::WildStack, 0, OK),
    ("odd stack pointer at a call", Stub::WildStack, STACK + 1, OK),
    ("ac set at a call", Stub::Flags, 1 << 18, OK),
    ("nt set at a call", Stub::Flags, 1 << 14, OK),
    ("df set at a call", Stub::Flags, 1 << 10, OK),
    ("rf set at a call", Stub::Flags, 1 << 16, OK),
    ("id set at a call", Stub::Flags, 1 << 21, OK),
    ("all harmless flags set at a call", Stub::Flags, 0x24_4cd5, OK),
    ("tf set at a call", Stub::Flags, 1 << 8, &[End::Faulted(1)]),
    ("iopl by popf", Stub::KeepsFlags, 3 << 12, OK),
    ("vif by popf", Stub::KeepsFlags, 1 << 19, OK),
    ("vip by popf", Stub::KeepsFlags, 1 << 20, OK),
    ("vm by popf", Stub::KeepsFlags, 1 << 17, OK),
    ("interrupts off by popf", Stub::PopfCli, 0, &[End::Killed]),
    (
        "single step over a call behind mov ss",
        Stub::StepOverCall,
        0,
        &[End::Faulted(1), End::Exited(0)],
    ),
    ("alignment checks", Stub::Unaligned, 0, &[End::Faulted(17), End::Exited(0)]),
    ("loop for ever", Stub::Spin, 0, &[End::Killed]),
    ("null calls for ever", Stub::SpinCalls, 0, &[End::Killed]),
    ("yields for ever", Stub::SpinYield, 0, &[End::Killed]),
    ("registers at the start", Stub::LookRegisters, 0, OK),
    ("registers after a call", Stub::AfterCall, 0, OK),
    ("vector state at the start", Stub::LookVectors, 0, OK),
    ("a pending x87 exception over calls", Stub::PendingX87, 0, &[End::Faulted(16)]),
    ("an unmasked vector exception", Stub::VectorDivide, 0, XM_OR_NOTHING),
    ("reserved bits of mxcsr", Stub::BadMxcsr, 0, GP_OR_NOTHING),
    ("reserved bits by fxrstor", Stub::BadFxrstor, 0, GP_OR_NOTHING),
    ("vector exceptions unmasked and df set over calls", Stub::UnmaskedCalls, 0, OK),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let tables = [("privileged", PRIVILEGED), ("exception", EXCEPTIONS), ("moment", MOMENTS)];
    for (family, rows) in tables {
        for &(name, stub, argument, expected) in rows {
            attacks.push(Attack::stub((family, String::from(name)), stub, argument, expected));
        }
    }
    for selector in 0..16u64 {
        let value = selector << 3;
        for (ring, what) in [(0, "ring 0"), (3, "ring 3")] {
            let name = |doing: &str| format!("{doing} selector {value:#x}, {what}");
            let quick = selector < 8 && ring == 3;
            // The one code segment of ring 3, and its data segment.
            let code: &[End] = if (selector, ring) == (4, 3) {
                &[End::Exited(0), End::Faulted(14)]
            } else {
                RETURN
            };
            let row = ("segment", name("far return to"));
            attacks.push(Attack::stub(row, Stub::FarReturn, value | ring, code).only_if(quick));
            let loads: &'static [End] =
                if selector == 0 || matches!((selector, ring), (3 | 4, _)) { OK } else { SEGMENT };
            let row = ("segment", name("load data segments with"));
            attacks.push(Attack::stub(row, Stub::LoadData, value | ring, loads).only_if(quick));
            let stack: &[End] = if matches!((selector, ring), (3, 3)) { OK } else { SEGMENT };
            let row = ("segment", name("load the stack segment with"));
            attacks.push(Attack::stub(row, Stub::LoadStack, value | ring, stack).only_if(quick));
        }
    }
    attacks.push(Attack::custom("moment", "vector state of a neighbour", neighbour));
    for (name, entry, stack) in [
        ("start at a kernel address", KERNEL, STACK),
        ("start at a non-canonical address", WILD, STACK),
        ("start at zero", 0, STACK),
        ("start with the kernel's stack", CODE, KERNEL),
        ("start with a non-canonical stack", CODE, WILD),
    ] {
        attacks.push(Attack::custom("moment", name, move |lab| started(lab, entry, stack)));
    }
    attacks.push(Attack::custom("moment", "start twice", |lab| {
        let child = Child::new(lab, crate::child::FRAMES)?;
        child.start(Stub::Spin, SCRIPT)?;
        let again = child.env.start(CODE, STACK, 0);
        child.kill();
        verdict(again == Err(abi::Status::WrongState), format!("{again:?}"))
    }));
    attacks
}

/// One child keeps a secret in its vector registers; another, started beside it, looks.
fn neighbour(lab: &mut Lab) -> Outcome {
    let keeper = Child::new(lab, crate::child::FRAMES)?;
    keeper.start(Stub::FillVectors, 0)?;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let looker = Child::new(lab, crate::child::FRAMES)?;
        seen.push(looker.run(lab, Stub::LookVectors, 0)?);
    }
    let kept = keeper.env.status();
    keeper.kill();
    let alive = matches!(kept, Ok((abi::start::State::Runnable, _)));
    let fine = alive && seen.iter().all(|&end| end == End::Exited(0));
    verdict(fine, format!("{seen:?}, keeper {kept:?}"))
}

fn started(lab: &mut Lab, entry: u64, stack: u64) -> Outcome {
    let child = Child::new(lab, crate::child::FRAMES)?;
    let answer = child.env.start(entry, stack, 0);
    child.kill();
    verdict(answer == Err(abi::Status::BadAddress), format!("{answer:?}"))
}

/// Right or wrong, in words.
pub(crate) fn verdict(fine: bool, text: String) -> Outcome {
    if fine { Ok(text) } else { Err(text) }
}
