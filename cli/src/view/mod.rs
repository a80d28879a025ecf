//! `sluice view`: a machine while it runs, on the terminal, as JSON lines, for Prometheus.
//!
//! [`model::Model`] is made of the framed channel's records; the three renderings show it and know
//! nothing else. The books are asked for once a period; between two of them the channel's trace
//! tells whose each packet was.

pub mod model;
pub mod prometheus;
mod screen;
pub mod serve;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use crate::build::{self, Image, Project};
use crate::interrupt::Patience;
use crate::machine::{Machine, MachineError};
use crate::new;
use crate::run::{self, RunError, file};
use model::Model;
use serve::Page;

pub use screen::draw;

/// Between two looks for a key.
const GLANCE: Duration = Duration::from_millis(100);

/// What is to be seen, and where.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The machine, and one's own library OS if it is named; the demo's cast otherwise.
    pub machine: run::Wanted,
    /// How it is shown.
    pub shown: Shown,
}

/// The renderings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shown {
    /// A line of JSON each period, instead of the screen.
    #[arg(long)]
    pub json: bool,
    /// Prometheus's text, besides: at this address under /metrics, or in this file.
    #[arg(long, value_name = "ADDRESS|FILE")]
    pub prometheus: Option<String>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub every: f64,
    /// Seconds after which it ends by itself.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub during: Option<f64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.05..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("0.05 to 86400".into()) }
}

/// Where Prometheus's text goes.
enum Metrics {
    Page(Page),
    File(PathBuf),
}

impl Metrics {
    fn open(place: &str) -> io::Result<Metrics> {
        match place.parse::<SocketAddr>() {
            Ok(address) => Page::listen(address).map(Metrics::Page),
            Err(_) => Ok(Metrics::File(PathBuf::from(place))),
        }
    }

    fn publish(&self, text: String) -> io::Result<()> {
        match self {
            Metrics::Page(page) => {
                page.publish(text);
                Ok(())
            }
            Metrics::File(path) => replace(path, &text),
        }
    }
}

/// Whoever reads the file reads an old text or a new one, whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)
}

/// Boots and shows until `q`, Ctrl-C, the end of the time or of the machine.
///
/// # Errors
/// [`RunError`].
pub fn run(wanted: &Wanted) -> Result<bool, RunError> {
    let screen = !wanted.shown.json && io::stdout().is_terminal();
    let (image, machine) = booted(&wanted.machine)?;
    let metrics = wanted.shown.prometheus.as_deref().map(Metrics::open).transpose();
    let metrics = metrics.map_err(file("opening a place for Prometheus's text"))?;
    if let Some(Metrics::Page(page)) = &metrics {
        eprintln!("http://{}/metrics", page.address());
    }
    let mut viewer = Viewer {
        machine: &machine,
        image: &image,
        shown: &wanted.shown,
        metrics,
        model: Model::default(),
        seen: 0,
    };
    let outcome = if screen {
        let mut terminal = ratatui::init();
        let outcome = viewer.watch(Some(&mut terminal));
        ratatui::restore();
        outcome
    } else {
        viewer.watch(None)
    };
    outcome?;
    // A machine that does not halt is killed with its handle.
    let _ = machine.halt(0);
    Ok(true)
}

fn booted(wanted: &run::Wanted) -> Result<(Image, Machine), RunError> {
    let words = format!("log={} trace latency", wanted.log);
    if wanted.what.is_empty() {
        let image = build::image()?;
        let options = crate::machine::Options { words, ..wanted.machine.clone() };
        let machine = Machine::boot(&image, &options)?;
        machine.wait_ready()?;
        return Ok((image, machine));
    }
    let project = Project::read(&new::folder(&wanted.what))?;
    let image = build::image_of(&project)?;
    let machine = run::boot(&image, &project, &words, wanted)?;
    Ok((image, machine))
}

struct Viewer<'a> {
    machine: &'a Machine,
    image: &'a Image,
    shown: &'a Shown,
    metrics: Option<Metrics>,
    model: Model,
    seen: usize,
}

impl Viewer<'_> {
    fn watch(&mut self, mut screen: Option<&mut DefaultTerminal>) -> Result<(), RunError> {
        let patience = Patience::new();
        let began = Instant::now();
        let every = Duration::from_secs_f64(self.shown.every);
        let during = self.shown.during.map(Duration::from_secs_f64);
        let is_over = |over: bool| {
            over || patience.is_over() || during.is_some_and(|all| began.elapsed() >= all)
        };
        loop {
            self.look()?;
            self.show(screen.as_deref_mut())?;
            let next = Instant::now() + every;
            while Instant::now() < next {
                let quit = pause(screen.is_some(), next).map_err(file("reading the terminal"))?;
                if is_over(quit) {
                    return Ok(());
                }
            }
        }
    }

    /// The books and everything before them.
    fn look(&mut self) -> Result<(), MachineError> {
        self.machine.books()?;
        let entries = self.machine.journal().since(self.seen);
        self.seen += entries.len();
        for entry in entries {
            self.model.take(entry.record, &self.image.manifest);
        }
        self.machine.journal().forget(self.seen);
        self.machine.wire().forget(self.machine.wire().mark());
        Ok(())
    }

    fn show(&self, screen: Option<&mut DefaultTerminal>) -> Result<(), RunError> {
        if let Some(metrics) = &self.metrics {
            let text = prometheus::text(&self.model);
            metrics.publish(text).map_err(file("writing Prometheus's text"))?;
        }
        match screen {
            Some(terminal) => {
                let drawn = terminal.draw(|frame| draw(frame, &self.model));
                drawn.map(drop).map_err(file("drawing"))
            }
            None => json(&self.model).map_err(file("writing JSON")),
        }
    }
}

/// One line.
fn json(model: &Model) -> io::Result<()> {
    let line = serde_json::to_string(model).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Waits a moment; whether somebody pressed `q`, Escape or Ctrl-C.
fn pause(keys: bool, until: Instant) -> io::Result<bool> {
    let left = until.saturating_duration_since(Instant::now()).min(GLANCE);
    if !keys {
        std::thread::sleep(left);
        return Ok(false);
    }
    if !event::poll(left)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
    Ok(interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use super::model::tests::sample;
    use super::{Metrics, seconds};

    #[test]
    fn a_line_of_json_holds_the_whole_moment() {
        let line = serde_json::to_string(&sample()).unwrap();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["packets"]["answered"], 1000);
        assert_eq!(value["rates"]["answered"], 500.0);
        assert_eq!(value["bindings"][0]["owner"], "echo");
        assert_eq!(value["bindings"][0]["ash_ns"], 800);
        assert_eq!(value["environments"][1]["ended"], true);
        assert_eq!(value["dropped"]["unbound"], 4);
        assert!(value.get("roster").is_none());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sluice.prom");
        let metrics = Metrics::open(&path.display().to_string()).unwrap();
        metrics.publish("one 1\n".to_owned()).unwrap();
        metrics.publish("two 2\n".to_owned()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two 2\n");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(matches!(Metrics::open("127.0.0.1:0"), Ok(Metrics::Page(_))));
    }

    #[test]
    fn times_are_checked() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["0", "-1", "1e9", "nan", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
