//! An explanation as a compiler would show it.
//!
//! The frame around the source line is `annotate-snippets`, which rustc uses too; without line
//! information the instruction itself stands there, its slot as the line number.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Explanation, LINES_MAX, path};

/// Columns of a line.
const COLUMNS: usize = 100;
/// Bytes of a packet that are shown.
const PACKET_SHOWN: usize = 24;
/// Runs of a path that are shown.
const RUNS_SHOWN: usize = 10;

pub(super) fn text(explanation: &Explanation, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let (place, line, mark, label) = place(explanation);
    let room = COLUMNS - explanation.code.len() - "error[]: ".len();
    let message = fit(&explanation.message, room);
    let title = Level::ERROR.primary_title(message).id(&explanation.code);
    let mut group = match &line {
        Some(line) => {
            let span = mark.start..mark.end.max(mark.start + 1).min(line.text.len().max(1));
            let annotation = AnnotationKind::Primary.span(span).label(label.as_deref());
            let snippet = Snippet::source(line.text.as_str())
                .path(place.as_str())
                .line_start(line.number)
                .annotation(annotation);
            title.element(snippet)
        }
        None => annotate_snippets::Group::with_title(title),
    };
    for note in notes(explanation) {
        group = group.element(Level::NOTE.no_name().message(note));
    }
    if let Some(help) = &explanation.help {
        group = group.element(Level::HELP.message(fit(help, COLUMNS - 14)));
    }
    renderer.render(&[group])
}

/// The line that is shown.
struct Line {
    text: String,
    number: usize,
}

/// Where, the line there, the part of it that is marked, and what is said about it.
fn place(of: &Explanation) -> (String, Option<Line>, std::ops::Range<usize>, Option<String>) {
    let assembly = of.assembly.clone().unwrap_or_default();
    let slot = of.instruction.unwrap_or_default();
    match &of.source {
        Some(source) if !source.text.is_empty() => {
            let text = source.text.trim_end().to_owned();
            let indent = text.len() - text.trim_start().len();
            let start = (source.column as usize).saturating_sub(1).max(indent);
            let start = if text.is_char_boundary(start) && start < text.len() { start } else { 0 };
            let mark = start..text.len();
            let label = format!("instruction {slot}: {assembly}");
            let line = Line { number: source.line as usize, text };
            (source.file.clone(), Some(line), mark, Some(label))
        }
        _ if of.assembly.is_some() => {
            let mark = 0..assembly.len();
            let line = Line { number: slot as usize, text: assembly };
            let compiled = of.source.as_ref();
            let label = compiled.map(|source| format!("{}:{}", source.file, source.line));
            ("instruction".to_owned(), Some(line), mark, label)
        }
        _ => (String::new(), None, 0..0, None),
    }
}

/// What was known, the way there, the packet: as many lines as have room.
fn notes(of: &Explanation) -> Vec<String> {
    // The title, four lines of frame, the help and its bar.
    const AROUND: usize = 8;
    let mut rest = Vec::new();
    if of.path.len() > 1 {
        rest.push(format!("path: {}", path::runs(&of.path, RUNS_SHOWN)));
    }
    rest.extend(of.example.as_ref().map(example));
    let known: Vec<String> =
        of.registers.iter().map(|it| format!("{}: {}", it.register, it.known)).collect();
    let room = LINES_MAX - AROUND - rest.len();
    let mut notes = if known.len() <= room { known } else { vec![known.join("; ")] };
    notes.extend(rest);
    notes.into_iter().map(|note| fit(&note, COLUMNS - 8)).collect()
}

fn example(example: &super::Example) -> String {
    let bytes = example.packet.len() / 2;
    if bytes == 0 {
        return "happens with no bytes at all".to_owned();
    }
    let mut hex = example.packet.clone();
    // What is zero to the end need not be shown.
    let kept = hex.trim_end_matches("00").len().next_multiple_of(2);
    hex.truncate(kept);
    let more = if kept < example.packet.len() { " 00.." } else { "" };
    let shown = if hex.len() > PACKET_SHOWN * 2 {
        format!("{}..", hex.get(..PACKET_SHOWN * 2).unwrap_or_default())
    } else {
        format!("{hex}{more}")
    };
    format!("happens with {bytes} bytes: {}", shown.trim())
}

/// A text cut to so many columns.
fn fit(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        Some((at, _)) => format!("{}..", text.get(..at.saturating_sub(2)).unwrap_or_default()),
        None => text.to_owned(),
    }
}
