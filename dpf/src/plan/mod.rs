//! The plan of the merged classifier: which lanes there are, what is tested before them, under
//! which key.
//!
//! The idea (design decision 10): rules that test the same bits of the same bytes have one *shape*
//! and differ only in values, so that one look-up answers for all of them, however many. A shape's
//! rules are in one or a few *lanes*, each with a table. A *graph* of the tests that lanes share
//! decides which of them a frame is looked up in. Three things follow the plan and must agree: the
//! generated code ([`crate::dispatch`]), the checker of that code, and the interpreter
//! ([`crate::Engine::classify_interpreted`]), which takes the lanes one by one.

mod graph;
mod hash;
mod lane;
mod shape;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use graph::{Block, Step};
pub use hash::HashKey;
pub(crate) use lane::{Group, Key, Lane, Load, Role};
pub(crate) use shape::{ByteRange, Shape, SplitRule, is_class};
pub(crate) use window::Window;

use alloc::vec::Vec;

use runtime::native::dispatch::Layout;

/// Lanes in the order of their tables, and the graph that leads to them.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) graph: Block,
    pub(crate) key: HashKey,
}

impl Plan {
    pub(crate) fn new(lanes: Vec<Lane>, key: HashKey) -> Self {
        let graph = graph::build(&lanes);
        Self { lanes, graph, key }
    }

    /// Layout of each lane's table.
    pub(crate) fn layouts(&self) -> Vec<Layout> {
        self.lanes.iter().map(|lane| lane.layout).collect()
    }

    /// Key words of the widest lane.
    pub(crate) fn words_max(&self) -> usize {
        self.lanes.iter().map(Lane::words).max().unwrap_or(0)
    }

    /// Whether a lane compares digests first.
    pub(crate) fn has_wide(&self) -> bool {
        self.lanes.iter().any(|lane| matches!(lane.layout, Layout::Wide { .. }))
    }
}
