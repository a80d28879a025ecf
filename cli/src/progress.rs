//! What the tool is doing right now.
//!
//! On a terminal: a spinner or bar that disappears when the step is done, and one line that stays.
//! Elsewhere: plain lines on standard error. Results never go through here; they are the report's.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One step in progress.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    title: String,
    total: u64,
}

impl Progress {
    /// Starts a step of unknown length.
    pub fn spinner(title: &str) -> Progress {
        Progress::start(title, 0)
    }

    /// Starts a step of about `total` parts.
    pub fn parts(title: &str, total: u64) -> Progress {
        Progress::start(title, total)
    }

    fn start(title: &str, total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
            let template = if total == 0 {
                "{spinner} {prefix} {msg} ({elapsed})"
            } else {
                "{spinner} {prefix} [{bar:30}] {pos}/{len} {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            eprintln!("{title} ...");
        }
        Progress { bar, title: title.to_owned(), total }
    }

    /// One part is done; `what` names it.
    pub fn part(&self, what: &str) {
        if let Some(bar) = &self.bar {
            if bar.position() + 1 >= self.total {
                bar.inc_length(1);
            }
            bar.inc(1);
            bar.set_message(what.to_owned());
        }
    }

    /// What is being done now.
    pub fn now(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("{}: {what}", self.title),
        }
    }

    /// The step is over; `outcome` stays on the screen.
    pub fn done(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {outcome}", self.title);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
