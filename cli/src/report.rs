//! The report: what happened, step by step, and what of it was expected and did not.
//!
//! Every expectation has a name. A report ends well only if all that were named were met; those
//! that were not are listed at the end, so that nobody has to search the text for them.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Collects and prints.
#[derive(Debug)]
pub struct Report<W: Write> {
    to: W,
    colour: bool,
    met: usize,
    unmet: Vec<String>,
}

impl Report<std::io::Stdout> {
    /// A report on standard output, in colour if that is a terminal.
    pub fn on_screen() -> Report<std::io::Stdout> {
        let to = std::io::stdout();
        let colour = to.is_terminal();
        Report { to, colour, met: 0, unmet: Vec::new() }
    }
}

impl<W: Write> Report<W> {
    /// A report without colours.
    pub fn plain(to: W) -> Report<W> {
        Report { to, colour: false, met: 0, unmet: Vec::new() }
    }

    /// A new part.
    pub fn part(&mut self, title: &str) {
        let text = self.painted("1", title);
        self.put(&format!("\n{text}"));
    }

    /// Something worth knowing.
    pub fn line(&mut self, text: impl Display) {
        self.put(&format!("  {text}"));
    }

    /// A block of text, indented.
    pub fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.put(&format!("      {line}"));
        }
    }

    /// Something that had to happen. Returns whether it did.
    pub fn expect(&mut self, name: &str, met: bool, detail: impl Display) -> bool {
        let detail = detail.to_string();
        let separator = if detail.is_empty() { "" } else { ": " };
        if met {
            self.met += 1;
            let mark = self.painted("32", "ok");
            self.put(&format!("  {mark}  {name}{separator}{detail}"));
        } else {
            self.unmet.push(format!("{name}{separator}{detail}"));
            let mark = self.painted("31", "NOT MET");
            self.put(&format!("  {mark}  {name}{separator}{detail}"));
        }
        met
    }

    /// Something that had to work. The value if it did; an unmet expectation if not.
    pub fn attempt<T, E: Display>(&mut self, name: &str, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.expect(name, false, error);
                None
            }
        }
    }

    /// The end: says what was not met. True if everything was, and there was something.
    pub fn finish(mut self) -> bool {
        let good = self.unmet.is_empty() && self.met > 0;
        if good {
            let text = self.painted("32;1", "Everything that was expected happened");
            self.put(&format!("\n{text} ({} checks).", self.met));
        } else {
            let count = self.unmet.len();
            let text = self.painted("31;1", "Not everything that was expected happened");
            self.put(&format!("\n{text}: {count} of {} checks.", count + self.met));
            for name in std::mem::take(&mut self.unmet) {
                self.put(&format!("  - {}", name.lines().next().unwrap_or_default()));
            }
        }
        good
    }

    /// What was not met so far.
    pub fn unmet(&self) -> &[String] {
        &self.unmet
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn put(&mut self, text: &str) {
        // A reader that went away (a closed pipe) does not change what happened.
        let _ = writeln!(self.to, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn one_unmet_expectation_spoils_the_end_and_is_named() {
        let mut text = Vec::new();
        let mut report = Report::plain(&mut text);
        report.part("Part");
        assert!(report.expect("first", true, ""));
        assert!(!report.expect("second", false, "because"));
        assert_eq!(report.attempt("third", Err::<u8, _>("broken")), None);
        assert_eq!(report.unmet().len(), 2);
        assert!(!report.finish());
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("- second: because\n  - third: broken\n"), "{text}");
    }

    #[test]
    fn a_report_that_expected_nothing_is_no_success() {
        assert!(!Report::plain(Vec::new()).finish());
        let mut report = Report::plain(Vec::new());
        report.expect("one", true, "");
        assert!(report.finish());
    }
}
