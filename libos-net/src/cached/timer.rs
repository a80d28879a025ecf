//! The retransmission timer (RFC 6298), and the probes of a closed window.

use libos::clock::NEVER;

const MS: u64 = 1_000_000;
/// Before the first measurement.
const FIRST: u64 = 1000 * MS;
/// RFC 6298 says a second; what everybody does is less.
const LEAST: u64 = 200 * MS;
const MOST: u64 = 60_000 * MS;
/// Times that something is sent again before the other side counts as gone.
const TRIES_MAX: u8 = 8;

/// When to send again.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    at: u64,
    patience: u64,
    smoothed: Option<u64>,
    varies: u64,
    /// What acknowledges the segment that is measured, and when it was sent.
    measured: Option<(u32, u64)>,
    tries: u8,
}

impl Timer {
    pub(super) fn new() -> Timer {
        let (at, patience) = (NEVER, FIRST);
        Timer { at, patience, smoothed: None, varies: 0, measured: None, tries: 0 }
    }

    /// When it is over; [`NEVER`] while it does not run.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// How long it runs: twice as long each time that it was over and nothing was heard since.
    pub(super) fn patience(&self) -> u64 {
        self.patience.checked_shl(u32::from(self.tries)).unwrap_or(MOST).min(MOST)
    }

    /// Whether it was over since something was last acknowledged: a closed window is probed.
    pub(super) fn probes(&self) -> bool {
        self.tries > 0
    }

    pub(super) fn start(&mut self, now: u64) {
        self.at = now.saturating_add(self.patience());
    }

    pub(super) fn stop(&mut self) {
        self.at = NEVER;
        self.tries = 0;
    }

    /// A fresh segment that `behind` acknowledges is sent.
    pub(super) fn measure(&mut self, behind: u32, now: u64) {
        self.measured.get_or_insert((behind, now));
    }

    /// What is sent again measures nothing (Karn's algorithm).
    pub(super) fn forget(&mut self) {
        self.measured = None;
    }

    /// Something was acknowledged; all there is, or not.
    pub(super) fn acknowledged(&mut self, ack: u32, now: u64, all: bool) {
        self.tries = 0;
        if let Some((behind, sent)) = self.measured
            && !super::sending::before(ack, behind)
        {
            self.measured = None;
            self.learn(now.saturating_sub(sent));
        }
        self.at = if all { NEVER } else { now.saturating_add(self.patience) };
    }

    fn learn(&mut self, took: u64) {
        let smoothed = match self.smoothed {
            None => {
                self.varies = took / 2;
                took
            }
            Some(before) => {
                self.varies = (3 * self.varies + before.abs_diff(took)) / 4;
                (7 * before + took) / 8
            }
        };
        self.smoothed = Some(smoothed);
        self.patience = (smoothed + (4 * self.varies).max(MS)).clamp(LEAST, MOST);
    }

    /// It is over; false if the other side counts as gone.
    pub(super) fn over(&mut self, now: u64) -> bool {
        self.tries = self.tries.saturating_add(1);
        self.forget();
        self.start(now);
        self.tries <= TRIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, MS, NEVER, TRIES_MAX, Timer};

    #[test]
    fn it_doubles_and_gives_up_and_learns() {
        let mut timer = Timer::new();
        assert_eq!(timer.at(), NEVER);
        timer.start(5);
        assert_eq!(timer.at(), 5 + 1000 * MS);
        assert!(timer.over(0) && timer.at() == 2000 * MS && timer.probes());
        timer.acknowledged(10, 0, true);
        assert!(timer.at() == NEVER && !timer.probes());
        timer.measure(20, 100);
        timer.acknowledged(19, 100 + 400 * MS, false);
        assert_eq!(timer.patience(), 1000 * MS);
        timer.acknowledged(20, 100 + 400 * MS, false);
        assert_eq!(timer.patience(), 1200 * MS);
        for _ in 0..50 {
            timer.measure(30, 0);
            timer.acknowledged(30, 1000, true);
        }
        assert_eq!(timer.patience(), LEAST);
        assert!((0..TRIES_MAX).all(|_| timer.over(0)) && !timer.over(0));
    }
}
