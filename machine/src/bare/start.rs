//! From the first Rust instruction to the kernel's `main`.

use super::code::CodeWindow;
use super::frame::{self, FramePool};
use super::nic::{Console, Nic};
use super::{
    apic, cpu, entropy, hal, heap, layout, mmio, paging, pci, pvh, rtc, serial, time, trap,
};
use crate::limits::{CODE_WINDOW, HEAP_MAX, HEAP_MIN, HEAP_SHARE};
use crate::memory::PAGE;
use core::sync::atomic::{AtomicBool, Ordering};

/// Everything that the kernel is handed when it starts.
pub struct Boot {
    /// The kernel command line.
    pub command_line: &'static str,
    /// The initial file, or nothing.
    pub initrd: &'static [u8],
    /// The free frames.
    pub frames: FramePool,
    /// Where generated code lives.
    pub code: CodeWindow,
    /// The network card, if there is one.
    pub nic: Option<Nic>,
    /// The framed channel to the host, if there is one.
    pub console: Option<Console>,
    /// Seeds that differ from boot to boot.
    pub entropy: [u64; 4],
    /// Unix time at boot, in nanoseconds; 0 without a clock.
    pub wall_clock_ns: u64,
}

/// Devices found so far.
pub(super) struct Devices {
    pub(super) nic: Option<Nic>,
    pub(super) console: Option<Console>,
}

/// Defines the boot entry: control comes from the loader and goes to this function.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called by the machine's first instructions.
        #[unsafe(no_mangle)]
        extern "C" fn sluice_entry() -> ! {
            $crate::start($main)
        }
    };
}

/// Brings the machine up and hands it to the kernel. For [`entry!`]; a second call panics.
pub fn start(main: fn(Boot) -> !) -> ! {
    static STARTED: AtomicBool = AtomicBool::new(false);
    assert!(!STARTED.swap(true, Ordering::Relaxed), "the machine starts once");

    serial::init();
    let features = cpu::features();
    cpu::enable(features);
    cpu::load_segments();
    trap::init();
    let loaded = pvh::read();
    let mut frames = frame::pool(&loaded);
    let code = code_memory(&mut frames);
    paging::switch(&mut frames, &loaded, code..code + CODE_WINDOW as u64, features);
    heap::init(heap_memory(&mut frames));
    // SAFETY: the memory was taken for this, the new tables leave it out of the physical map, and
    // `start` runs once.
    let code = unsafe { CodeWindow::new(code) };
    apic::init();
    time::init();
    let wall_clock_ns = rtc::unix_ns();
    let mut devices = Devices { nic: None, console: None };
    if hal::reserve(&mut frames) {
        if pci::present() {
            pci::probe(&mut devices);
        }
        mmio::probe(loaded.command_line, &mut devices);
    }
    main(Boot {
        command_line: loaded.command_line,
        initrd: initrd(&loaded),
        frames,
        code,
        nic: devices.nic,
        console: devices.console,
        entropy: entropy::seeds(features, wall_clock_ns),
        wall_clock_ns,
    })
}

/// Takes the code window's frames, whole tables of them, for good.
fn code_memory(frames: &mut FramePool) -> u64 {
    match frames.take_aligned(CODE_WINDOW / PAGE, 512) {
        Some(run) => run.first().0 * PAGE as u64,
        None => panic!("no memory for the code window"),
    }
}

/// Takes the kernel heap's frames: a share of memory, within limits, for good.
fn heap_memory(frames: &mut FramePool) -> frame::FrameRun {
    let share = frames.total() * PAGE / HEAP_SHARE;
    let pages = share.clamp(HEAP_MIN, HEAP_MAX) / PAGE;
    match frames.take_run(pages) {
        Some(run) => run,
        None => panic!("no memory for a heap of {pages} pages"),
    }
}

fn initrd(loaded: &pvh::Loaded) -> &'static [u8] {
    let range = loaded.initrd.clone();
    let listed =
        |region: &core::ops::Range<u64>| region.start <= range.start && range.end <= region.end;
    if range.is_empty() || !loaded.memory().iter().any(listed) {
        return &[];
    }
    let length = (range.end - range.start) as usize;
    // SAFETY: it lies in memory, which the physical map covers, and its frames are never in the
    // pool, so nobody writes them.
    unsafe { core::slice::from_raw_parts(layout::phys_to_virt(range.start), length) }
}
