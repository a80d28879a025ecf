//! Answers every frame with source and destination swapped, until one starts with `QUIT`.
//!
//! One that starts with `SEND` is answered by a transmission from a header and a frame.

use machine::{Boot, Event, idle, time};

/// How long it idles at most, so that a lost interrupt shows as slowness and not as a hang.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Serves the card, for ever.
pub(crate) fn serve(mut boot: Boot) -> ! {
    let (Some(mut nic), Some(frame)) = (boot.nic.take(), boot.frames.take()) else {
        panic!("no network card, or no frame");
    };
    frame.zero();
    frame.write(100, b"from a frame");
    if let Some(console) = &mut boot.console {
        assert_eq!(console.write(b"over the console\n"), 17);
        let mut rest = &[b'x'; 300_000][..];
        while !rest.is_empty() {
            rest = &rest[console.write(rest)..];
            idle(Some(time::now_ns() + 1_000_000)); // The device takes its time.
        }
    }
    log::info!("ready {:02x?}", nic.mac());
    let (mut echoed, mut sent, mut done, mut late) = (0, 0, 0, 0);
    loop {
        while let Some(mut received) = nic.receive() {
            match received.frame().get(..4) {
                Some(b"QUIT") => {
                    nic.recycle(received);
                    assert_eq!((nic.malformed(), nic.in_flight().held), (0, 0));
                    log::info!("echoed {echoed} sent {sent} done {done} late {late}");
                    machine::exit(crate::PASSED);
                }
                Some(b"SEND") => {
                    nic.recycle(received);
                    sent +=
                        u64::from(nic.transmit(b"header and ", Some((&frame, 100, 12))).is_ok());
                }
                _ => {
                    let frame = received.frame_mut();
                    if let Some((to, rest)) = frame.split_at_mut_checked(6) {
                        to.iter_mut().zip(rest).for_each(|(a, b)| core::mem::swap(a, b));
                    }
                    echoed += 1;
                    if let Err(received) = nic.reply(received) {
                        nic.recycle(received);
                    }
                }
            }
        }
        while nic.completed().is_some() {
            done += 1;
        }
        nic.kick();
        if !nic.pending() {
            late += u64::from(idle(Some(time::now_ns() + PATIENCE_NS)) == Event::Timer);
            nic.acknowledge();
        }
    }
}
