//! A hand-over under traffic: numbered datagrams to `parts`, whose binding becomes two meanwhile.
//!
//! The datagrams come at a steady pace, whether or not those before are answered, so that some come
//! while the kernel proves and exchanges. Each must be answered once: that is judged from outside,
//! by the answers, and the program says what its two parts have seen.

use std::time::Duration;

use abi::record::Record;
use etherparse::{SlicedPacket, TransportSlice};

use crate::build::cast::PARTS_PORT;
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::wire::frames;

/// Datagrams in all.
pub const SENT: u16 = 2_000;
/// Between two of them.
const PACE: Duration = Duration::from_micros(300);
/// Datagrams without an answer at most: fewer than the ring has slots.
const OUTSTANDING: usize = 100;
/// The first port that they come from; each has another than the one before.
const FROM: u16 = 45_000;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Datagrams with no answer.
    pub lost: usize,
    /// Datagrams with more than one.
    pub doubled: usize,
    /// What the first part has seen, all before the hand-over among it, and the second.
    pub parts: [usize; 2],
    /// What came in twice, as the program says.
    pub twice: usize,
    /// Datagrams without an answer at once, at most: those that came while the kernel proved.
    pub outstanding: usize,
}

impl Outcome {
    /// Whether it went as it must.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Outcome { lost, doubled, parts: [first, second], twice, .. } = *self;
        [lost, doubled, twice] == [0; 3] && second > 0 && first + second == usize::from(SENT)
    }
}

/// Starts the program and sends.
///
/// # Errors
/// As [`Machine::command`], [`Machine::wait`].
pub fn run(machine: &Machine) -> Result<Outcome, MachineError> {
    let journal = machine.journal().mark();
    let mut answers = Answers { mark: machine.wire().mark(), times: vec![0; SENT.into()] };
    machine.command("start parts")?;
    machine.wait_serial("port 7950 is one binding's", limits::CONTROL)?;
    let mut outcome = Outcome::default();
    for number in 0..SENT {
        machine.wait("waiting for answers of parts", limits::CONTROL, || {
            let outstanding = usize::from(number) - answers.take(machine);
            outcome.outstanding = outcome.outstanding.max(outstanding);
            (outstanding < OUTSTANDING).then_some(())
        })?;
        machine.send(&frames::udp(FROM + number % 64, PARTS_PORT, &payload(number)))?;
        std::thread::sleep(PACE);
    }
    machine.wait("waiting for the last answers of parts", limits::CONTROL, || {
        (answers.take(machine) == usize::from(SENT)).then_some(())
    })?;
    machine.send(&frames::udp(FROM, PARTS_PORT, b"over, and silence"))?;
    let said =
        machine.record(journal, "waiting for what parts has seen", |record| match record {
            Record::User { bytes, .. } => counts(bytes),
            _ => None,
        })?;
    outcome.lost = usize::from(SENT) - answers.take(machine);
    outcome.doubled = answers.times.iter().filter(|&&times| times > 1).count();
    (outcome.parts, outcome.twice) = ([said[0], said[1]], said[2]);
    Ok(outcome)
}

/// A number, and enough that no frame is padded.
fn payload(number: u16) -> [u8; 32] {
    let mut bytes = [0x5a; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// How often each number was answered, as far as the wire was looked at.
struct Answers {
    mark: usize,
    times: Vec<u32>,
}

impl Answers {
    /// Looks at what has come since; how many were answered.
    fn take(&mut self, machine: &Machine) -> usize {
        let Answers { mark, times } = self;
        (*mark, _) = machine.wire().tally(*mark, |frame| {
            let number = answer(frame);
            if let Some(times) = number.and_then(|number| times.get_mut(usize::from(number))) {
                *times += 1;
            }
            number.is_some()
        });
        times.iter().filter(|&&times| times > 0).count()
    }
}

/// The number of the datagram that a frame answers.
fn answer(frame: &[u8]) -> Option<u16> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return None };
    let ours = udp.source_port() == PARTS_PORT;
    let number = udp.payload().first_chunk::<2>().map(|&bytes| u16::from_be_bytes(bytes))?;
    let asked = (FROM + number % 64, &payload(number)[..]);
    (ours && (udp.destination_port(), udp.payload()) == asked).then_some(number)
}

/// What the program reports: `parts FIRST SECOND TWICE`.
fn counts(bytes: &[u8]) -> Option<[usize; 3]> {
    let words = std::str::from_utf8(bytes).ok()?.strip_prefix("parts ")?.split(' ');
    let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, SENT, counts};

    #[test]
    fn nothing_lost_nothing_doubled_and_two_that_worked() {
        let fine = Outcome { parts: [1_200, 800], ..Outcome::default() };
        assert!(fine.is_whole());
        for wrong in [
            Outcome { lost: 1, ..fine.clone() },
            Outcome { doubled: 1, ..fine.clone() },
            Outcome { twice: 1, ..fine.clone() },
            Outcome { parts: [SENT.into(), 0], ..fine.clone() },
            Outcome { parts: [1_200, 799], ..fine },
        ] {
            assert!(!wrong.is_whole(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_whole_report_is_one() {
        assert_eq!(counts(b"parts 3 4 0"), Some([3, 4, 0]));
        for bytes in [&b"parts 3 4"[..], b"parts", b"attack 1 2 3", b"parts 1 2 x"] {
            assert_eq!(counts(bytes), None);
        }
    }
}
