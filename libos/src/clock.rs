//! Time, and sleeping until something happens.

use abi::Call;
use abi::ring::{
    EVENT_CHILD, EVENT_DEADLINE, EVENT_PACKET, EVENT_REPOSSESS, EVENT_REVOKE, EVENT_TRANSMITTED,
};

use crate::sys::plain;

/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// What woke the program; several at once are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events(pub u64);

impl Events {
    /// A packet is in a ring.
    pub fn packet(self) -> bool {
        self.0 & EVENT_PACKET != 0
    }

    /// A transmission completed.
    pub fn transmitted(self) -> bool {
        self.0 & EVENT_TRANSMITTED != 0
    }

    /// The deadline passed.
    pub fn deadline(self) -> bool {
        self.0 & EVENT_DEADLINE != 0
    }

    /// Somebody asks for resources back.
    pub fn revoke(self) -> bool {
        self.0 & EVENT_REVOKE != 0
    }

    /// Resources were taken.
    pub fn repossess(self) -> bool {
        self.0 & EVENT_REPOSSESS != 0
    }

    /// An environment that this program created ended.
    pub fn child(self) -> bool {
        self.0 & EVENT_CHILD != 0
    }
}

/// Monotonic nanoseconds since boot: a few loads from the page that the kernel exposes.
#[cfg(target_os = "none")]
pub fn now_ns() -> u64 {
    crate::exposed::Exposed::new().now_ns()
}

/// Monotonic nanoseconds since boot: what a test's script says.
#[cfg(not(target_os = "none"))]
pub fn now_ns() -> u64 {
    plain(Call::Clock, &[]).unwrap_or_default()
}

/// Sleeps until an event or the monotonic time `deadline_ns` ([`NEVER`] for none).
pub fn wait(deadline_ns: u64) -> Events {
    Events(plain(Call::Wait, &[deadline_ns]).unwrap_or_default())
}

/// Gives up the rest of the slice.
pub fn yield_now() {
    // A refusal means that the slice is simply used up later.
    let _ = plain(Call::Yield, &[0]);
}
