//! What the kernel is handed, and the clock.

use machine::{Boot, Event, heap, idle, time};

/// The facts of this boot are plausible.
pub(crate) fn facts(boot: &Boot) {
    assert!(boot.frames.total() > 4096, "less than 16 MiB");
    assert!(heap::free_bytes() >= 1 << 20, "hardly any heap");
    assert!(boot.entropy.iter().all(|seed| *seed != 0));
    let year_2020 = 1_577_836_800_000_000_000;
    assert!(boot.wall_clock_ns > year_2020, "the wall clock says {}", boot.wall_clock_ns);
    let hz = time::tsc_hz();
    assert!((100_000_000..20_000_000_000).contains(&hz), "a cycle counter of {hz} Hz");
    log::info!("command line {:?}", boot.command_line);
    log::info!("initrd {} bytes, first {:?}", boot.initrd.len(), boot.initrd.first());
    log::info!("frames {} heap {} Hz {hz}", boot.frames.total(), heap::free_bytes());
}

/// The timer goes off, and not before its deadline.
pub(crate) fn idling() {
    for _ in 0..10 {
        let deadline = time::now_ns() + 1_000_000;
        assert_eq!(idle(Some(deadline)), Event::Timer);
        assert!(time::expired(deadline) || deadline - time::now_ns() < 10_000, "far too early");
    }
    assert_eq!(idle(Some(0)), Event::Timer);
}
