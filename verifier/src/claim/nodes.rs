//! Pairs of instruction and symbolic state, each worked out once.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::HashTable;

use super::machine::Machine;
use super::rules::RuleId;
use crate::arena;
use crate::hash::HashKey;
use crate::refusal::Refusal;

/// A node's number.
pub(super) type NodeId = usize;

/// All nodes of an extraction.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    numbers: HashTable<NodeId>,
    hasher: HashKey,
    limit: usize,
}

#[derive(Debug)]
struct Node {
    pc: u32,
    state: Box<Machine>,
    /// What is accepted from here on, once it is known.
    accepted: Option<Arc<[RuleId]>>,
}

/// The most heap that a table of so many nodes holds, in bytes. The lists of rules are accounted
/// for with the rules, but for their counters.
pub(super) const fn heap_bytes(limit: usize) -> usize {
    arena::table(limit, size_of::<Node>())
        + arena::index(limit)
        + limit * (super::machine::heap_bytes() + 2 * size_of::<usize>())
}

impl Nodes {
    /// A table of at most `limit` nodes. It never grows: moving thousands of nodes would be a long
    /// step.
    pub(super) fn new(limit: usize, hasher: HashKey) -> Nodes {
        Nodes {
            nodes: Vec::with_capacity(limit),
            numbers: HashTable::with_capacity(limit),
            limit,
            hasher,
        }
    }

    /// The node for `state` before the instruction at `pc`.
    ///
    /// # Errors
    /// More than `NODES_MAX` nodes.
    pub(super) fn find(&mut self, pc: u32, state: Machine) -> Result<NodeId, Refusal> {
        let Nodes { nodes, numbers, hasher, limit } = self;
        let hash = hasher.hash_one((pc, &state));
        let same =
            |&id: &NodeId| nodes.get(id).is_some_and(|node| node.pc == pc && *node.state == state);
        if let Some(&id) = numbers.find(hash, same) {
            return Ok(id);
        }
        if nodes.len() >= *limit {
            return Err(Refusal::limit("NODES_MAX", *limit as u64).at(pc));
        }
        let id = nodes.len();
        nodes.push(Node { pc, state: Box::new(state), accepted: None });
        numbers.insert_unique(hash, id, |&id| {
            nodes.get(id).map_or(0, |node| hasher.hash_one((node.pc, &*node.state)))
        });
        Ok(id)
    }

    /// Where a node stands, and in which state.
    pub(super) fn start(&self, id: NodeId) -> Option<(u32, Machine)> {
        self.nodes.get(id).map(|node| (node.pc, Machine::clone(&node.state)))
    }

    /// What is accepted from a node on, if it was worked out.
    pub(super) fn accepted(&self, id: NodeId) -> Option<&Arc<[RuleId]>> {
        self.nodes.get(id)?.accepted.as_ref()
    }

    /// Keeps what is accepted from a node on.
    pub(super) fn resolve(&mut self, id: NodeId, accepted: &[RuleId]) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.accepted = Some(Arc::from(accepted));
        }
    }

    /// Gives the memory of one node back; the table is of no use then. `false`: there is none.
    pub(super) fn forget_one(&mut self) -> bool {
        self.nodes.pop().is_some()
    }
}
