//! What an operation on the index did: counted, so that bounds can be asserted.

use core::ops::AddAssign;

/// Counters of one or several operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Look-ups in a table, one for each pair of a rule and a shape.
    pub probes: u64,
    /// Nodes of trees that were looked at.
    pub nodes: u64,
    /// Bytes of nodes that were moved to make room or to close a gap.
    pub moved: u64,
    /// Most bytes moved by one entry's insertion into, or removal from, one table.
    pub moved_at_once: u64,
    /// Rules of others that a look-up could not tell apart, and that were compared.
    pub candidates: u64,
    /// Rules of others that were compared because a table was not there yet.
    pub walked: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.probes += other.probes;
        self.nodes += other.nodes;
        self.moved += other.moved;
        self.moved_at_once = self.moved_at_once.max(other.moved_at_once);
        self.candidates += other.candidates;
        self.walked += other.walked;
    }
}
