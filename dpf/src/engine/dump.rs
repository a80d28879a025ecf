//! What the engine holds, as numbers and as text.

use alloc::string::String;
use core::fmt::Write;

use super::Engine;
use super::why::name;
use crate::check;
use crate::plan::{Block, Step};

/// Holders named for each lane of a dump.
const NAMED: usize = 4;

/// What the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Published bindings.
    pub bindings: usize,
    /// Published derived grants.
    pub grants: usize,
    /// Mask shapes.
    pub shapes: usize,
    /// Lanes: each that a frame gets to costs it a look-up.
    pub lanes: usize,
    /// Distinct keys in all tables.
    pub entries: usize,
    /// Slots in all tables.
    pub slots: usize,
    /// Bytes of all tables.
    pub table_bytes: usize,
    /// Bytes of dispatch code.
    pub code_bytes: usize,
    /// Times that dispatch code was generated.
    pub compilations: u64,
    /// Bytes of table that the last operation moved.
    pub moved: usize,
    /// Bytes of table that any one operation moved at most.
    pub moved_worst: usize,
}

impl Engine {
    /// Numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let tables = self.merged.dispatcher.as_ref().map_or(&[][..], |d| d.tables());
        Stats {
            bindings: self.bound,
            grants: self.granted,
            shapes: self.merged.shapes(),
            lanes: self.merged.rooms.len(),
            entries: self.merged.entries.count(),
            slots: tables.iter().map(|table| table.slots()).sum(),
            table_bytes: tables.iter().map(|table| table.bytes()).sum(),
            code_bytes: self.code().len(),
            compilations: self.merged.compilations,
            moved: self.merged.moves.now,
            moved_worst: self.merged.moves.worst,
        }
    }

    /// The dispatch code, to read.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.merged.dispatcher.as_ref().map_or(&[], |dispatcher| dispatcher.code().bytes())
    }

    /// Lanes, tables and holders as text, one line each; then the code.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        let _ = self.write_code(&mut text);
        text
    }

    /// The merged graph in Graphviz's language.
    #[must_use]
    pub fn graphviz(&self) -> String {
        let mut text = String::from("digraph engine {\n  node [shape=box fontname=monospace];\n");
        text.push_str("  start [label=\"frame\"];\n");
        let mut drawing = Drawing { engine: self, text, next: 0 };
        let _ = drawing.block(&self.merged.plan.graph, "start", "");
        drawing.text.push_str("}\n");
        drawing.text
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        let stats = self.stats();
        writeln!(text, "{} bindings, {} grants", stats.bindings, stats.grants)?;
        let (code, lanes, shapes) = (stats.code_bytes, stats.lanes, stats.shapes);
        writeln!(text, "{code} bytes of code for {lanes} lanes of {shapes} shapes")?;
        for (position, lane) in self.merged.plan.lanes.iter().enumerate() {
            let Some(room) = self.merged.rooms.get(position) else { continue };
            let slots = self.merged.table(position).map_or(0, |table| table.slots());
            let (entries, layout) = (room.entries, lane.layout);
            let closing = if room.closing { ", closing" } else { "" };
            writeln!(
                text,
                "lane {position}: {lane}: {layout:?}, {entries} keys in {slots} slots{closing}"
            )?;
        }
        for (index, holder) in self.holders.iter() {
            let keys = holder.entries.len();
            let how = if holder.residual.is_some() { ", confirmed by its program" } else { "" };
            match holder.verdict {
                Some(verdict) => {
                    writeln!(text, "holder {index}: {}: {keys} keys{how}", name(verdict))?
                }
                None => writeln!(text, "holder {index}: prepared: {keys} keys{how}")?,
            }
        }
        Ok(())
    }

    /// The generated code, one instruction per line, with whom each part is for.
    fn write_code(&self, text: &mut String) -> core::fmt::Result {
        let code = self.code();
        let mut at = 0;
        while let Some((next, line)) = check::text(code, at) {
            for (_, lane) in self.merged.parts.iter().filter(|(start, _)| *start == at) {
                let room = self.merged.rooms.get(*lane);
                let holders = room.map(|room| self.holders_in(room.number, NAMED));
                write!(text, "; lane {lane}:")?;
                for verdict in holders.unwrap_or_default() {
                    write!(text, " {},", name(verdict))?;
                }
                let entries = room.map_or(0, |room| room.entries);
                writeln!(text, " {entries} keys")?;
            }
            writeln!(text, "{at:6x}  {line}")?;
            at = next;
        }
        Ok(())
    }
}

/// A graph being drawn.
struct Drawing<'a> {
    engine: &'a Engine,
    text: String,
    next: usize,
}

impl Drawing<'_> {
    fn node(&mut self, label: &str, from: &str, edge: &str) -> Result<String, core::fmt::Error> {
        let name = alloc::format!("n{}", self.next);
        self.next += 1;
        writeln!(self.text, "  {name} [label=\"{label}\"];")?;
        writeln!(self.text, "  {from} -> {name} [label=\"{edge}\"];")?;
        Ok(name)
    }

    /// Draws a block under `from`; what comes after a nested block hangs where that hung.
    fn block(&mut self, block: &Block, from: &str, edge: &str) -> core::fmt::Result {
        let (mut from, mut edge) = (String::from(from), String::from(edge));
        for step in block {
            let label = match step {
                Step::Length(least) => alloc::format!("length >= {least}"),
                Step::Range(range) => {
                    alloc::format!("[{}] in {:#x}-{:#x}", range.offset, range.low, range.high)
                }
                Step::Test(w) => {
                    let (at, size) = (w.offset, w.size.bytes());
                    alloc::format!("[{at}:{size}] & {:#x} == {:#x}", w.mask, w.value)
                }
                Step::Switch(window, cases) => {
                    let (at, size) = (window.offset, window.size.bytes());
                    let label = alloc::format!("[{at}:{size}] & {:#x} ?", window.mask);
                    from = self.node(&label, &from, &edge)?;
                    edge.clear();
                    for (value, block) in cases {
                        self.block(block, &from, &alloc::format!("{value:#x}"))?;
                    }
                    continue;
                }
                Step::Nested(block) => {
                    self.block(block, &from, &edge)?;
                    continue;
                }
                Step::Look(lane) => {
                    let merged = &self.engine.merged;
                    let keys = merged.rooms.get(*lane).map_or(0, |room| room.entries);
                    let layout = merged
                        .plan
                        .lanes
                        .get(*lane)
                        .map_or(String::new(), |lane| alloc::format!("{:?}", lane.layout));
                    alloc::format!("lane {lane}\\n{layout}\\n{keys} keys")
                }
            };
            from = self.node(&label, &from, &edge)?;
            edge.clear();
        }
        Ok(())
    }
}
