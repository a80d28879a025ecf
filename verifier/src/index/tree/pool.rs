//! Where the nodes of a tree live: numbered places that are used again.

use super::node::Node;
use crate::chunked::Chunked;

/// Marks the end of the list of free nodes.
const NONE: u32 = u32::MAX;

/// Nodes by number.
#[derive(Debug)]
pub(super) struct Pool<T> {
    nodes: Chunked<T, 8>,
    free: u32,
    live: usize,
}

impl<T: Node> Pool<T> {
    pub(super) const fn new() -> Pool<T> {
        Pool { nodes: Chunked::new(), free: NONE, live: 0 }
    }

    pub(super) const fn live(&self) -> usize {
        self.live
    }

    pub(super) fn bytes(&self) -> usize {
        self.nodes.bytes()
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.nodes.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.nodes.get_mut(number as usize)
    }

    /// A place for a node, and its number.
    pub(super) fn put(&mut self, node: T) -> u32 {
        self.live += 1;
        let number = self.free;
        if let Some(place) = self.nodes.get_mut(number as usize) {
            self.free = *place.link();
            *place = node;
            return number;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    pub(super) fn free(&mut self, number: u32) {
        if let Some(place) = self.nodes.get_mut(number as usize) {
            *place = T::empty();
            *place.link() = self.free;
            self.free = number;
            self.live -= 1;
        }
        if self.live == 0 {
            // One segment of one node is all that an empty pool may keep.
            *self = Pool::new();
        }
    }

    /// Gives a part of the memory back; the pool is of no use then. `false`: nothing is left.
    pub(super) fn shed(&mut self) -> bool {
        self.nodes.shed()
    }
}
