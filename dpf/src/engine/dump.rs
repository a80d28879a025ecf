//! What the engine holds, as numbers and as text.

use alloc::string::String;
use core::fmt::Write;

use super::Engine;

/// What the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Published bindings.
    pub bindings: usize,
    /// Published derived grants.
    pub grants: usize,
    /// Mask shapes, each a probe per packet.
    pub shapes: usize,
    /// Distinct keys in all tables.
    pub entries: usize,
    /// Slots in all tables.
    pub slots: usize,
    /// Bytes of dispatch code.
    pub code_bytes: usize,
    /// Times that dispatch code was generated.
    pub compilations: u64,
}

impl Engine {
    /// Numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let tables = self.merged.dispatcher.as_ref().map_or(&[][..], |d| d.tables());
        Stats {
            bindings: self.bindings.len(),
            grants: self.grants.len(),
            shapes: self.merged.plan.shapes.len(),
            entries: self.merged.entries.iter().count(),
            slots: tables.iter().map(|table| table.slots()).sum(),
            code_bytes: self.code().len(),
            compilations: self.merged.compilations,
        }
    }

    /// The dispatch code, to read.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.merged.dispatcher.as_ref().map_or(&[], |dispatcher| dispatcher.code().bytes())
    }

    /// Shapes, tables and holders as text, one line each.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        let stats = self.stats();
        writeln!(text, "{} bindings, {} grants", stats.bindings, stats.grants)?;
        writeln!(text, "{} bytes of code for {} shapes", stats.code_bytes, stats.shapes)?;
        for (position, shape) in self.merged.plan.shapes.iter().enumerate() {
            let entries = self.merged.entries_in(position);
            let slots = self.merged.table(position).map_or(0, |table| table.slots());
            writeln!(text, "shape {position}: {shape}: {entries} keys in {slots} slots")?;
        }
        for (index, holder) in self.holders.iter() {
            let keys = holder.entries.len();
            let how = if holder.residual.is_some() { ", confirmed by its program" } else { "" };
            match holder.verdict {
                Some(verdict) => writeln!(text, "holder {index}: {verdict:?}: {keys} keys{how}")?,
                None => writeln!(text, "holder {index}: prepared: {keys} keys{how}")?,
            }
        }
        Ok(())
    }
}
