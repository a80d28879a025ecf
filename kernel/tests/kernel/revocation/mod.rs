//! Revocation: asked and given, asked and taken, and what nobody can do with it.

mod flows;
mod hostile;
mod pages;

use abi::revocation::{CONSUMED, ENTRY_BYTES, ENTRY_FIRST, Entry, Kind, LOST, PRODUCED, Progress};
use abi::{Call, Status, upcall};
use kernel::EnvironmentId;
use zerocopy::FromBytes;

use crate::harness::{Machine, SCRATCH};

/// Where the child's pages are mapped, its vector, and a page that is pinned for save areas.
pub(super) const PAGES: u64 = 0x30_0000_0000;
pub(super) const VECTOR: u64 = 0x40_0000_0000;
pub(super) const SAVES: u64 = 0x40_0000_1000;
const ENTRY_POINT: u64 = 0x40_1000;
/// Two milliseconds.
pub(super) const SOON: u64 = 2_000_000;

/// A child with pages, a vector and a `Revoke` and a `Repossess` upcall.
pub(super) struct Child {
    pub(super) id: EnvironmentId,
    /// Its handle in `init`'s table, and its own.
    pub(super) handle: u64,
    pub(super) own: u64,
    /// Capabilities to its pages, in the order in which they were allocated.
    pub(super) pages: Vec<u64>,
    /// Their frames.
    pub(super) frames: Vec<u64>,
    pub(super) vector: u64,
}

pub(super) fn child(machine: &mut Machine, frames: u64, pages: u64) -> Child {
    let (id, handle, own) = machine.child(frames);
    let vector = machine.page(id, own, VECTOR);
    machine.ok_as(id, Call::RepossessionSet, &[vector, 0, 0]);
    machine.page(id, own, SAVES);
    for (place, kind) in [upcall::Kind::Revoke, upcall::Kind::Repossess].into_iter().enumerate() {
        let save = SAVES + place as u64 * 128;
        machine.ok_as(id, Call::UpcallSet, &[kind as u64, ENTRY_POINT, SAVES + 4096, save]);
    }
    let mut child = Child { id, handle, own, pages: vec![], frames: vec![], vector };
    for n in 0..pages {
        let page = machine.page(id, own, PAGES + n * 4096);
        child.pages.push(page);
        child.frames.push(machine.ok_as(id, Call::PageName, &[page]));
        machine.write(id, PAGES + n * 4096, &[(n as u8).wrapping_add(1); 16]);
    }
    child
}

impl Child {
    /// `init` asks for so many of a kind.
    pub(super) fn ask(&self, machine: &mut Machine, kind: Kind, amount: u64, deadline: u64) -> u64 {
        machine.ok(Call::Revoke, &[self.handle, kind as u64, amount, deadline])
    }

    pub(super) fn status(&self, machine: &mut Machine) -> Progress {
        Progress::unpack(machine.ok(Call::RevokeStatus, &[self.handle]))
    }

    /// What the child finds in its vector; it is done with it then.
    pub(super) fn taken(&self, machine: &Machine) -> Vec<Entry> {
        let consumed = machine.read_u32(self.id, VECTOR + CONSUMED as u64);
        let produced = machine.read_u32(self.id, VECTOR + PRODUCED as u64);
        let entries = (consumed..produced).map(|index| {
            let place = index as usize % abi::revocation::ENTRIES as usize;
            let at = VECTOR + (ENTRY_FIRST + place * ENTRY_BYTES) as u64;
            Entry::read_from_bytes(&machine.read(self.id, at, ENTRY_BYTES)).unwrap()
        });
        let entries = entries.collect();
        machine.write(self.id, VECTOR + CONSUMED as u64, &produced.to_le_bytes());
        entries
    }

    pub(super) fn lost(&self, machine: &Machine) -> u32 {
        machine.read_u32(self.id, VECTOR + LOST as u64)
    }

    /// A word of a save area: 0 for the request, 1 for what was taken.
    pub(super) fn saved(&self, machine: &Machine, area: u64, offset: usize) -> u64 {
        let bytes = machine.read(self.id, SAVES + area * 128 + offset as u64, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    pub(super) fn is_mapped(&self, machine: &Machine, address: u64) -> bool {
        machine.kernel.space(self.id).unwrap().read(address, &mut [0]).is_ok()
    }
}

/// Lets the deadline pass, and the kernel do what is due.
pub(super) fn pass(machine: &mut Machine, ns: u64) {
    machine::host::advance(ns);
    for _ in 0..100 {
        machine.kernel.serve();
        machine.audit();
    }
}

/// What a failing call must answer.
#[track_caller]
pub(super) fn refused(machine: &mut Machine, call: Call, arguments: &[u64], status: Status) {
    assert_eq!(machine.call(call, arguments).0, status, "{call:?} {arguments:x?}");
    machine.audit();
}

/// Writes a list of handles where calls may read it.
pub(super) fn list(machine: &Machine, who: EnvironmentId, handles: &[u64]) -> u64 {
    let bytes: Vec<u8> = handles.iter().flat_map(|handle| handle.to_le_bytes()).collect();
    machine.write(who, SCRATCH, &bytes);
    SCRATCH
}
