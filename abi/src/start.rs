//! What an environment is told when it starts, and the manifest that `init` works through.
//!
//! `rdi` holds the address of the start block: a `u32` length and a `postcard` [`Start`]. The
//! kernel writes `init`'s; `init` writes everybody else's.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::handle::Handle;

/// The start block of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`crate::VERSION`].
    pub version: u32,
    /// The environment's name.
    pub name: String,
    /// Words for the program, separated by blanks; for `init` the kernel's command line.
    pub arguments: String,
    /// Capabilities, by name: `self`, `debug`, `grant:NAME`, `child:NAME` …
    pub handles: Vec<(String, Handle)>,
    /// Memory mapped beforehand, by name: (`initrd`, address, bytes), (`addresses`, …).
    pub regions: Vec<(String, u64, u64)>,
    /// The network card's address; all zero if there is no card.
    pub mac: [u8; 6],
}

impl Start {
    /// The handle of that name.
    pub fn handle(&self, name: &str) -> Option<Handle> {
        self.handles.iter().find(|(n, _)| n == name).map(|(_, handle)| *handle)
    }

    /// The region of that name: address and bytes.
    pub fn region(&self, name: &str) -> Option<(u64, u64)> {
        self.regions.iter().find(|(n, _, _)| n == name).map(|(_, at, bytes)| (*at, *bytes))
    }

    /// The block as it lies in memory: length, then `postcard`.
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).unwrap_or_default();
        let mut block = Vec::with_capacity(4 + body.len());
        block.extend_from_slice(&(body.len() as u32).to_le_bytes());
        block.extend_from_slice(&body);
        block
    }

    /// Reads a block; `None` unless it is whole and of this version.
    pub fn decode(block: &[u8]) -> Option<Start> {
        let (length, body) = block.split_first_chunk::<4>()?;
        let body = body.get(..u32::from_le_bytes(*length) as usize)?;
        let start: Start = postcard::from_bytes(body).ok()?;
        (start.version == crate::VERSION).then_some(start)
    }
}

/// The state of an environment, in the low byte of `Call::EnvStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum State {
    /// Made, not started.
    Created = 0,
    /// Running or runnable.
    Runnable = 1,
    /// In `Wait`.
    Waiting = 2,
    /// Its proof is being worked on.
    Proving = 3,
    /// Called `Exit`; the detail is the code.
    Exited = 4,
    /// Ended by a fault; the detail is the vector.
    Faulted = 5,
    /// Ended by `EnvKill`.
    Killed = 6,
}

/// Initrd entry with the manifest: a `postcard` [`Manifest`].
pub const MANIFEST: &str = "manifest";

/// What `init` starts and grants. Flow spaces are filter programs (8 bytes an instruction).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Grants, parents before children.
    pub grants: Vec<GrantSpec>,
    /// Environments that may be started.
    pub environments: Vec<EnvironmentSpec>,
    /// IPv4 address, prefix length, gateway: what `netd` announces and all stacks use.
    pub ipv4: ([u8; 4], u8, [u8; 4]),
    /// The same of IPv6; zeros for none besides the link-local address.
    pub ipv6: ([u8; 16], u8, [u8; 16]),
}

/// One grant to derive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantSpec {
    /// Its name.
    pub name: String,
    /// The parent's name; empty for the root grant.
    pub parent: String,
    /// The expression that the programs were made from, for people.
    pub expression: String,
    /// Filter program of the receive space.
    pub receive: Vec<u8>,
    /// Filter program of the transmit space; empty for the mirror.
    pub transmit: Vec<u8>,
}

/// One environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentSpec {
    /// Its name, also the name by which a control frame asks for it.
    pub name: String,
    /// The initrd entry with its program.
    pub program: String,
    /// Frame quota.
    pub frames: u32,
    /// Passed in the start block.
    pub arguments: String,
    /// Grants that it gets capabilities to.
    pub grants: Vec<String>,
    /// Started at boot, or only when a control frame asks.
    pub at_boot: bool,
    /// Whether the page of addresses is writable for it (`netd`) or read-only.
    pub owns_addresses: bool,
    /// Positions of the vector of slices that it gets; 0 is taken as 1.
    pub slices: u32,
}
