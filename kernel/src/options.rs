//! The kernel's own words on the command line.
//!
//! Words are separated by blanks. What the kernel does not know is handed to `init` as it is.

use log::LevelFilter;

/// What the command line asks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `log=error|warn|info|debug|trace`: how much text goes to the serial line.
    pub log: LevelFilter,
    /// `trace`: a record on the framed channel for every packet.
    pub trace: bool,
    /// `latency` (or `trace`): a record for every answer.
    pub latency: bool,
    /// `fail_reservation=N`: the N-th reservation, counted from 1, fails.
    pub fail_reservation: Option<u64>,
    /// `allowance=N`: instructions of downloaded code per environment and period.
    pub allowance: Option<u32>,
    /// `crash=test`: the kernel panics once `init` is loaded, to show what that looks like.
    pub crash: bool,
}

impl Options {
    /// Reads a command line. A word that is garbled counts as one that the kernel does not know.
    #[must_use]
    pub fn parse(line: &str) -> Options {
        let mut options = Options {
            log: LevelFilter::Info,
            trace: false,
            latency: false,
            fail_reservation: None,
            allowance: None,
            crash: false,
        };
        line.split_ascii_whitespace().for_each(|word| options.word(word));
        options
    }

    fn word(&mut self, word: &str) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("log", level) => self.log = level.parse().unwrap_or(self.log),
            ("trace", "") => (self.trace, self.latency) = (true, true),
            ("latency", "") => self.latency = true,
            ("fail_reservation", n) => self.fail_reservation = n.parse().ok(),
            ("allowance", n) => self.allowance = n.parse().ok(),
            ("crash", "test") => self.crash = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Options;
    use log::LevelFilter;

    #[test]
    fn words_are_read_and_strangers_ignored() {
        let options = Options::parse("log=trace x=y  fail_reservation=7 latency crash=other");
        assert_eq!(options.log, LevelFilter::Trace);
        assert_eq!(options.fail_reservation, Some(7));
        assert!(options.latency && !options.trace && !options.crash);
        let garbled = Options::parse("log=loud fail_reservation=-1 trace=1");
        assert_eq!(garbled, Options::parse(""));
    }
}
