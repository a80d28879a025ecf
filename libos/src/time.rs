//! Points in time, in the shape of `std::time`.
//!
//! [`Instant`] is monotonic, [`unix`] is the wall clock where the machine has one. Both count from
//! what the kernel calibrated at boot; reading them is no more than a call.

use core::ops::{Add, Sub};
use core::time::Duration;

use crate::clock;
use crate::exposed::Exposed;

/// A monotonic point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Now.
    pub fn now() -> Instant {
        Instant(clock::now_ns())
    }

    /// From nanoseconds since boot.
    pub fn from_ns(ns: u64) -> Instant {
        Instant(ns)
    }

    /// Nanoseconds since boot, as `Wait` takes them.
    pub fn as_ns(self) -> u64 {
        self.0
    }

    /// The time since then; zero if it is still to come.
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// At the end of time there is no more of it.
    fn add(self, time: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if the other is later.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The time since 1970, if the machine has a clock.
pub fn unix() -> Option<Duration> {
    Exposed::new().unix_ns().map(Duration::from_nanos)
}

/// Sleeps so long, whatever happens meanwhile.
pub fn sleep(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        clock::wait(until.as_ns());
    }
}

#[cfg(test)]
mod tests {
    use super::Instant;
    use core::time::Duration;

    #[test]
    fn time_does_not_wrap() {
        let end = Instant::from_ns(u64::MAX) + Duration::from_secs(1);
        assert_eq!(end.as_ns(), u64::MAX);
        assert_eq!(Instant::from_ns(5) - Instant::from_ns(9), Duration::ZERO);
        let later = Instant::from_ns(5) + Duration::from_micros(1);
        assert_eq!(later - Instant::from_ns(5), Duration::from_nanos(1000));
    }
}
