//! The model as Prometheus reads it: text format 0.0.4.
//!
//! Counters end in `_total`; times are in seconds. Names of reasons and states are labels, so that
//! a new one needs no new series name.

use std::fmt::Write;

use super::model::{Model, Traffic};

/// What the answer to a scrape says that it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole text.
pub fn text(model: &Model) -> String {
    let mut text = Text(String::new());
    totals(&mut text, model);
    memory(&mut text, model);
    bindings(&mut text, model);
    text.0
}

fn totals(text: &mut Text, model: &Model) {
    text.head("sluice_uptime_seconds", "gauge", "Time since boot.");
    text.value("sluice_uptime_seconds", &[], model.at_ns as f64 / 1e9);
    text.head("sluice_received_total", "counter", "Packets taken from the card.");
    text.value("sluice_received_total", &[], model.received as f64);
    text.head("sluice_packets_total", "counter", "Packets by what became of them.");
    for (verdict, count) in verdicts(&model.packets) {
        text.value("sluice_packets_total", &[("verdict", verdict)], count as f64);
    }
    text.head("sluice_dropped_total", "counter", "Received packets dropped, by reason.");
    for (reason, count) in &model.dropped {
        text.value("sluice_dropped_total", &[("reason", reason)], *count as f64);
    }
    text.head("sluice_refused_total", "counter", "Transmissions refused, by reason.");
    for (reason, count) in &model.refused {
        text.value("sluice_refused_total", &[("reason", reason)], *count as f64);
    }
    text.head("sluice_in_flight", "gauge", "Packets taken from the card and not yet decided.");
    text.value("sluice_in_flight", &[], model.in_flight as f64);
    text.head("sluice_records_lost_total", "counter", "Records that the framed channel lost.");
    text.value("sluice_records_lost_total", &[], model.lost as f64);
    text.head("sluice_books_hold", "gauge", "1 if both sides of every line are equal.");
    text.value("sluice_books_hold", &[], f64::from(u8::from(model.failing.is_none())));
}

fn memory(text: &mut Text, model: &Model) {
    text.head("sluice_pages", "gauge", "Pages of memory, by who holds them.");
    for (state, pages) in ["total", "free", "owned", "kernel"].into_iter().zip(model.frames) {
        text.value("sluice_pages", &[("state", state)], pages as f64);
    }
    text.head("sluice_environment", "gauge", "1 for each environment that lives.");
    for living in model.environments.iter().filter(|it| !it.ended) {
        let id = living.id.to_string();
        text.value("sluice_environment", &[("id", &id), ("name", &living.name)], 1.0);
    }
    text.head("sluice_grant", "gauge", "1 for each grant that was derived.");
    for held in &model.grants {
        let labels = [("id", held.id.as_str()), ("name", &held.name), ("parent", &held.parent)];
        text.value("sluice_grant", &labels, 1.0);
    }
}

fn bindings(text: &mut Text, model: &Model) {
    text.head("sluice_binding_packets_total", "counter", "Traced packets of a binding.");
    for bound in &model.bindings {
        for (verdict, count) in verdicts(&bound.packets) {
            let labels = [
                ("binding", bound.id.as_str()),
                ("owner", &bound.owner),
                ("grant", &bound.grant),
                ("verdict", verdict),
            ];
            text.value("sluice_binding_packets_total", &labels, count as f64);
        }
    }
    text.head("sluice_ash_runs_total", "counter", "Runs of an ASH that were measured.");
    for bound in model.bindings.iter().filter(|it| it.ash > 0) {
        let labels = [("binding", bound.id.as_str()), ("owner", &bound.owner)];
        text.value("sluice_ash_runs_total", &labels, bound.ash_runs as f64);
    }
    text.head("sluice_ash_seconds_total", "counter", "Time that those runs took.");
    for bound in model.bindings.iter().filter(|it| it.ash > 0) {
        let labels = [("binding", bound.id.as_str()), ("owner", &bound.owner)];
        text.value("sluice_ash_seconds_total", &labels, bound.ash_ns as f64 / 1e9);
    }
}

fn verdicts(traffic: &Traffic<u64>) -> [(&'static str, u64); 5] {
    [
        ("answered", traffic.answered),
        ("delivered", traffic.delivered),
        ("dropped", traffic.dropped),
        ("sent", traffic.sent),
        ("refused", traffic.refused),
    ]
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string never fails.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let pairs: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// Backslash, quote and line feed, as the format wants them.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{escaped, text};
    use crate::view::model::tests::sample;
    use std::collections::{BTreeMap, BTreeSet};

    /// Reads the format strictly: series to value; panics on what Prometheus would refuse.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        assert!(text.ends_with('\n'));
        let (mut kinds, mut values) = (BTreeSet::new(), BTreeMap::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name.to_owned()), "twice: {line}");
                current = name.to_owned();
            } else if line.starts_with("# HELP ") {
                assert!(line.split(' ').count() > 3, "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert_eq!(name, current, "series of another metric: {line}");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                labels(&series[name.len()..]);
                let value: f64 = value.parse().unwrap();
                assert!(values.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        values
    }

    /// `{a="x",b="y\"z"}` or nothing.
    fn labels(text: &str) {
        let Some(inner) = text.strip_prefix('{') else { return assert_eq!(text, "") };
        let mut rest = inner;
        loop {
            let (name, after) = rest.split_once("=\"").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{text}");
            let bytes = after.as_bytes();
            let mut at = 0;
            while bytes[at] != b'"' {
                at += if bytes[at] == b'\\' {
                    assert!(b"\\\"n".contains(&bytes[at + 1]), "{text}");
                    2
                } else {
                    1
                };
            }
            match &after[at + 1..] {
                "}" => return,
                more => rest = more.strip_prefix(',').unwrap(),
            }
        }
    }

    #[test]
    fn a_strict_reader_takes_all_of_it() {
        let values = parse(&text(&sample()));
        assert_eq!(values["sluice_packets_total{verdict=\"answered\"}"], 1000.0);
        assert_eq!(values["sluice_dropped_total{reason=\"unbound\"}"], 4.0);
        assert_eq!(values["sluice_pages{state=\"free\"}"], 6.0);
        assert_eq!(values["sluice_books_hold"], 1.0);
        assert_eq!(values["sluice_environment{id=\"3\",name=\"echo\"}"], 1.0);
        let of = |name: &str| values.iter().find(|(series, _)| series.starts_with(name)).unwrap();
        assert!((of("sluice_ash_seconds_total").1 - 8e-7).abs() < 1e-12);
        let (series, _) = of("sluice_binding_packets_total");
        assert!(series.contains("grant=\"ec\\\"ho\""), "{series}");
    }

    #[test]
    fn an_empty_machine_is_text_as_well() {
        let values = parse(&text(&super::Model::default()));
        assert_eq!(values["sluice_received_total"], 0.0);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
