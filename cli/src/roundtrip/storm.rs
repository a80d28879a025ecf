//! Requests on the raw wire: so many at a time, or one after the other with a clock beside them.

use std::time::{Duration, Instant};

use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::wire::frames;

/// A source port of ours.
const OURS: u16 = 40_011;
/// What every request carries; all are alike, so that answers need only be counted.
const PAYLOAD: &[u8; 32] = b"thirty-two bytes in every packet";

/// Round trips, as the host sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trips {
    /// The shortest.
    pub least: Duration,
    /// The middle one.
    pub median: Duration,
    /// Nine in ten are no longer.
    pub most: Duration,
}

/// Sends `count` requests, at most `window` of them unanswered at any time, and waits for all.
///
/// # Errors
/// [`MachineError::Hung`] if an answer does not come; as [`Machine::send`].
pub fn storm(
    machine: &Machine,
    port: u16,
    window: usize,
    count: usize,
) -> Result<(), MachineError> {
    let request = frames::udp(OURS, port, PAYLOAD);
    let is_ours = |frame: &[u8]| frames::is_echo(frame, OURS, port, PAYLOAD).is_some();
    let (mut mark, mut sent, mut answered) = (machine.wire().mark(), 0, 0);
    let mut last = Instant::now();
    while answered < count {
        while sent < count && sent < answered + window {
            machine.send(&request)?;
            sent += 1;
        }
        let (behind, found) = machine.wire().tally(mark, is_ours);
        (mark, answered) = (behind, answered + found);
        if found > 0 {
            last = Instant::now();
        } else if last.elapsed() > limits::REPLY {
            let during = format!("waiting for {count} echoes from port {port}; {answered} came");
            machine.wait(&during, Duration::ZERO, || None::<()>)?;
        } else {
            std::thread::sleep(limits::GLANCE);
        }
    }
    Ok(())
}

/// [`limits::TIMED`] round trips, one after the other.
///
/// # Errors
/// As [`storm`].
pub fn trips(machine: &Machine, port: u16) -> Result<Trips, MachineError> {
    storm(machine, port, 1, limits::TIMED / 10)?;
    let mut all = Vec::with_capacity(limits::TIMED);
    for _ in 0..limits::TIMED {
        let begin = Instant::now();
        storm(machine, port, 1, 1)?;
        all.push(begin.elapsed());
    }
    Ok(summary(all))
}

fn summary(mut all: Vec<Duration>) -> Trips {
    all.sort_unstable();
    let at = |part: usize| all.get(all.len() * part / 10).copied().unwrap_or_default();
    Trips { least: at(0), median: at(5), most: at(9) }
}

#[cfg(test)]
mod tests {
    use super::{Trips, summary};
    use std::time::Duration;

    #[test]
    fn the_middle_of_ten_is_the_sixth() {
        let ms = Duration::from_millis;
        let all = [9, 2, 3, 4, 5, 6, 7, 8, 1, 10].map(ms).to_vec();
        assert_eq!(summary(all), Trips { least: ms(1), median: ms(6), most: ms(10) });
        let none = Duration::ZERO;
        assert_eq!(summary(Vec::new()), Trips { least: none, median: none, most: none });
    }
}
