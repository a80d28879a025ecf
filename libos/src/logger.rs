//! The `log` facade over [`crate::println!`].
//!
//! The level is a word `log=LEVEL` in the program's arguments; without one it is `info`.

use log::{LevelFilter, Log, Metadata, Record};

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            crate::println!("{:5} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Sends `log` records to the serial console from now on.
pub fn init(arguments: &str) {
    // A second call finds the same logger there.
    let _ = log::set_logger(&Lines);
    log::set_max_level(level(arguments));
}

fn level(arguments: &str) -> LevelFilter {
    let word = arguments.split_whitespace().find_map(|word| word.strip_prefix("log="));
    word.and_then(|name| name.parse().ok()).unwrap_or(LevelFilter::Info)
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    #[test]
    fn the_level_is_a_word() {
        assert_eq!(super::level("a log=trace b"), LevelFilter::Trace);
        assert_eq!(super::level("log=loud"), LevelFilter::Info);
        assert_eq!(super::level(""), LevelFilter::Info);
    }
}
