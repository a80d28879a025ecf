//! The model on a terminal.
//!
//! Totals and rates on top, then environments beside grants, then bindings. What does not fit is
//! cut off at the end of its list, whose title has the number of all.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::widgets::{Block, Paragraph, Row, Table};

use super::model::{Bound, Model};

/// Lines of the totals, with their border.
const TOTALS: u16 = 8;

/// Draws one moment.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let rows = [Constraint::Length(TOTALS), Constraint::Fill(1), Constraint::Fill(1)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(frame.area());
    let halves = [Constraint::Percentage(40), Constraint::Percentage(60)];
    let [left, right] = Layout::horizontal(halves).areas(middle);
    totals(frame, top, model);
    environments(frame, left, model);
    grants(frame, right, model);
    bindings(frame, bottom, model);
}

fn totals(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let (all, rate) = (&model.packets, &model.rates);
    let verdicts = [
        ("answered", all.answered, rate.answered),
        ("delivered", all.delivered, rate.delivered),
        ("dropped", all.dropped, rate.dropped),
        ("sent", all.sent, rate.sent),
        ("refused", all.refused, rate.refused),
    ];
    let line = |of: fn(&(&str, u64, f64)) -> String| {
        verdicts.iter().map(|it| format!("{:>11}", of(it))).collect::<String>()
    };
    let [total, free, owned, kernel] = model.frames;
    let text = [
        format!("{:>8}{}", "", line(|it| it.0.to_owned())),
        format!("{:>8}{}", "packets", line(|it| it.1.to_string())),
        format!("{:>8}{}", "per s", line(|it| format!("{:.1}", it.2))),
        format!("dropped: {}   refused: {}", listed(&model.dropped), listed(&model.refused)),
        format!("pages: {total} = {free} free + {owned} owned + {kernel} the kernel's"),
        match &model.failing {
            None => format!("the books hold; {} records lost", model.lost),
            Some(check) => format!("THE BOOKS DO NOT HOLD: {check}"),
        },
    ];
    let seconds = model.at_ns / 1_000_000_000;
    let block = Block::bordered().title(format!(" sluice, up {seconds} s; q ends "));
    let colour = if model.failing.is_none() { Color::Reset } else { Color::Red };
    let paragraph = Paragraph::new(text.join("\n")).style(Style::new().fg(colour));
    frame.render_widget(paragraph.block(block), area);
}

fn listed(counts: &BTreeMap<&str, u64>) -> String {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn environments(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let alive = model.environments.iter().filter(|it| !it.ended).count();
    let rows = model.environments.iter().map(|it| {
        let colour = if it.ended { Color::DarkGray } else { Color::Reset };
        let cells = [it.id.to_string(), it.name.clone(), it.state.clone()];
        Row::new(cells).style(Style::new().fg(colour))
    });
    let widths = [Constraint::Length(4), Constraint::Length(16), Constraint::Fill(1)];
    let title = format!(" {alive} environments ");
    let table = Table::new(rows, widths).header(Row::new(["id", "name", "state"]));
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

fn grants(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.grants.iter().map(|it| {
        Row::new([it.id.clone(), it.name.clone(), it.parent.clone(), it.receives.clone()])
    });
    let widths =
        [Constraint::Length(6), Constraint::Length(12), Constraint::Length(8), Constraint::Fill(1)];
    let title = format!(" {} grants ", model.grants.len());
    let table = Table::new(rows, widths).header(Row::new(["id", "name", "of", "receives"]));
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

fn bindings(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.bindings.iter().map(|it| {
        let packets = &it.packets;
        Row::new([
            it.id.clone(),
            it.owner.clone(),
            it.grant.clone(),
            it.filter.to_string(),
            if it.ash > 0 { it.ash.to_string() } else { "-".to_owned() },
            packets.answered.to_string(),
            packets.delivered.to_string(),
            packets.dropped.to_string(),
            packets.sent.to_string(),
            packets.refused.to_string(),
            handler_time(it),
        ])
    });
    let mut widths = vec![Constraint::Length(7), Constraint::Length(14), Constraint::Length(12)];
    widths.extend([Constraint::Length(6), Constraint::Length(4)]);
    widths.extend([Constraint::Length(9); 5]);
    widths.push(Constraint::Fill(1));
    let header = [
        "binding",
        "owner",
        "grant",
        "filter",
        "ASH",
        "answered",
        "delivered",
        "dropped",
        "sent",
        "refused",
        "ASH time",
    ];
    let title = format!(" {} bindings ", model.bindings.len());
    let table = Table::new(rows, widths).header(Row::new(header));
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

/// The mean of the measured runs.
fn handler_time(bound: &Bound) -> String {
    match bound.ash_ns.checked_div(bound.ash_runs) {
        None => String::new(),
        Some(mean) => format!("{:.1} us x {}", mean as f64 / 1e3, bound.ash_runs),
    }
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::view::model::Model;
    use crate::view::model::tests::sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(model: &Model, (width, height): (u16, u16)) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(row).collect()
    }

    #[test]
    fn everything_of_a_moment_is_on_the_screen() {
        let lines = drawn(&sample(), (130, 30));
        let has = |words: &[&str]| {
            let found = lines.iter().any(|line| {
                let mut rest = line.as_str();
                words
                    .iter()
                    .all(|word| rest.split_once(word).map(|(_, after)| rest = after).is_some())
            });
            assert!(found, "{words:?} in\n{}", lines.join("\n"));
        };
        has(&["sluice, up 3 s"]);
        has(&["packets", "1000", "0", "4", "0", "0"]);
        has(&["per s", "500.0", "2.0"]);
        has(&["dropped: 4 unbound", "refused: none"]);
        has(&["pages: 10 = 6 free + 0 owned + 4 the kernel's"]);
        has(&["the books hold; 7 records lost"]);
        has(&["1 environments", "1 grants"]);
        has(&["echo", "runnable"]);
        has(&["faulter", "exception 14"]);
        has(&["ec\"ho", "root", "udp and dst port 7"]);
        has(&["echo", "ec\"ho", "10", "60", "2", "0", "1", "0", "0", "0.4 us x 2"]);
    }

    #[test]
    fn books_that_do_not_hold_are_said_loudly() {
        let mut model = Model::default();
        model.failing = Some("Receive".to_owned());
        assert!(drawn(&model, (100, 20)).concat().contains("THE BOOKS DO NOT HOLD: Receive"));
    }

    #[test]
    fn no_size_of_a_terminal_is_too_small() {
        for size in [(1, 1), (3, 2), (20, 5), (400, 100)] {
            drawn(&sample(), size);
        }
    }
}
