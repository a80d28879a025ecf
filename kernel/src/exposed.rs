//! What every address space shows, read-only: clock, counters, books, frames, environments.
//!
//! Layout and addresses are `abi::exposed`'s. The frame table is kept by the frame pool and by
//! [`crate::pages`], a store for each change, so that it is never wrong; the rest is copied from
//! the kernel's own books when a slice begins, by [`Kernel::show_books`]. All of it lies in frames
//! of the kernel's, taken once, at boot.

use abi::exposed as at;
use abi::limits::{ENVIRONMENTS_MAX, PAGE_BYTES, SLICE_NS};
use alloc::vec::Vec;
use machine::Frame;

use crate::Kernel;
use crate::environment::{Environment, EnvironmentId};
use crate::pages::Memory;

/// Frames of the environment table.
const ROW_FRAMES: usize = (ENVIRONMENTS_MAX * at::ROW_BYTES).div_ceil(PAGE_BYTES);
/// Rows in one of them.
const ROWS_PER_FRAME: usize = PAGE_BYTES / at::ROW_BYTES;

/// The pages, and the tables that show them.
pub(crate) struct Exposed {
    pub(crate) shown: machine::Exposed,
    system: Frame,
    rows: Vec<Frame>,
    sequence: u32,
    /// When it is to be refreshed, in nanoseconds since boot.
    pub(crate) due: u64,
}

impl Exposed {
    /// Takes the frames and shows them; `None`, with a line in the log, if there are too few.
    pub(crate) fn new(memory: &mut Memory, wall_clock_ns: u64) -> Option<Exposed> {
        let before = memory.pool.free();
        let exposed = Exposed::build(memory);
        memory.tables_changed(memory.pool.free(), before);
        match &exposed {
            Some(exposed) => exposed.constants(wall_clock_ns),
            None => log::error!("too few frames to show the books in every address space"),
        }
        exposed
    }

    fn build(memory: &mut Memory) -> Option<Exposed> {
        let pool = &mut memory.pool;
        let mut shown = machine::Exposed::new(pool)?;
        pool.keep_owners(&mut shown, at::FRAMES).ok()?;
        let zeroed = |pool: &mut machine::FramePool| pool.take().inspect(Frame::zero);
        let system = zeroed(pool)?;
        shown.show(pool, at::SYSTEM, &system).ok()?;
        let mut rows = Vec::with_capacity(ROW_FRAMES);
        for place in (at::ENVIRONMENTS..).step_by(PAGE_BYTES).take(ROW_FRAMES) {
            let frame = zeroed(pool)?;
            shown.show(pool, place, &frame).ok()?;
            rows.push(frame);
        }
        Some(Exposed { shown, system, rows, sequence: 0, due: 0 })
    }

    /// What never changes.
    fn constants(&self, wall_clock_ns: u64) {
        let (base, scale) = machine::time::calibration();
        self.system.store_u32(at::VERSION, abi::VERSION);
        self.words(at::CLOCK_BASE, &[base, scale, machine::time::tsc_hz(), wall_clock_ns]);
    }

    fn words<const N: usize>(&self, offset: usize, words: &[u64; N]) {
        self.system.write(offset, words.map(u64::to_le_bytes).as_flattened());
    }

    /// The sequence number is odd from the first of these to the second.
    fn step_sequence(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.system.store_u32(at::SEQUENCE, self.sequence);
    }

    fn row(&self, row: usize, (id, it): (EnvironmentId, &Environment), slices: u64) {
        let Some(frame) = self.rows.get(row / ROWS_PER_FRAME) else { return };
        let start = row % ROWS_PER_FRAME * at::ROW_BYTES;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        // In the order of their offsets.
        let words: [u64; 7] = [
            pair(id.0, it.state as u32),
            pair(it.parent.map_or(0, |parent| parent.0), it.bindings as u32),
            it.account.quota,
            it.account.used(),
            it.account.pages,
            slices,
            u64::from(it.excess),
        ];
        frame.write(start, words.map(u64::to_le_bytes).as_flattened());
        // A name never changes, but its row may become another's.
        if frame.load_u32(start + ROW_NAMED) != id.0 {
            let mut name = [0; abi::limits::NAME_BYTES_MAX];
            name.iter_mut().zip(it.name.bytes()).for_each(|(to, from)| *to = from);
            frame.write(start + at::ROW_NAME, &name);
            frame.store_u32(start + ROW_NAMED, id.0);
        }
    }
}

impl Kernel {
    /// Brings what is shown up to date, if the time has come.
    pub(crate) fn show_if_due(&mut self, now: u64) {
        if self.exposed.as_ref().is_some_and(|it| now >= it.due) {
            self.show_books(now);
        }
    }

    /// What is shown is out of date: it is written anew before anybody runs again.
    pub(crate) fn show_soon(&mut self) {
        if let Some(exposed) = &mut self.exposed {
            exposed.due = 0;
        }
    }

    /// Brings the system page and the environment table up to date.
    pub(crate) fn show_books(&mut self, now: u64) {
        let books = self.books();
        let Some(exposed) = self.exposed.as_mut() else { return };
        exposed.due = now.saturating_add(SLICE_NS);
        exposed.step_sequence();
        let (f, rx, tx) = (&books.frames, &books.rx, &books.tx);
        let total = |all: &[u64]| all.iter().sum::<u64>();
        exposed.words(at::NOW_NS, &[now]);
        let entries = self.memory.pool.owner_table().len() * (PAGE_BYTES / 4);
        let rows = u64::from(books.environments);
        exposed.words(at::FRAME_BOOKS, &[f.total, f.free, f.owned, f.kernel]);
        exposed.words(at::FRAME_ENTRIES, &[entries as u64, rows]);
        let (dropped, refused) = (total(&rx.dropped), total(&tx.refused));
        let received = [rx.received, rx.answered, rx.delivered, dropped, rx.in_flight];
        exposed.words(at::RECEIVE_BOOKS, &received);
        exposed.words(at::RECEIVE_BOOKS + 40, &[rx.malformed]);
        exposed.words(at::TRANSMIT_BOOKS, &[tx.requested, tx.sent, refused, tx.in_flight]);
        exposed.words(at::FLOW_BOOKS, &[u64::from(books.grants), u64::from(books.bindings)]);
        let faults = machine::this_cpu().fault_upcalls();
        exposed.words(at::FAULT_UPCALLS, &[faults, books.records_lost]);
        exposed.words(at::DROPPED, &rx.dropped);
        for (row, environment) in self.environments.iter().enumerate() {
            let slices = self.scheduler.positions_of(environment.0).count_ones();
            exposed.row(row, environment, slices.into());
        }
        exposed.step_sequence();
    }
}

/// In a row, the kernel's own: whose name stands there.
const ROW_NAMED: usize = at::ROW_NAME + abi::limits::NAME_BYTES_MAX;

const _: () = assert!(ROW_NAMED + 4 <= at::ROW_BYTES && ROW_NAMED.is_multiple_of(4));
const _: () = assert!(at::ROW_ID == 0 && at::ROW_STATE == 4 && at::ROW_PARENT == 8);
const _: () = assert!(at::ROW_BINDINGS == 12 && at::ROW_QUOTA == 16 && at::ROW_USED == 24);
const _: () = assert!(at::ROW_PAGES == 32 && at::ROW_SLICES == 40 && at::ROW_EXCESS == 48);
const _: () = assert!(at::FRAME_ENTRIES + 8 == at::ENVIRONMENT_ROWS);
const _: () = assert!(at::FAULT_UPCALLS + 8 == at::RECORDS_LOST);
