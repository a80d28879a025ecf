//! The engine's merged classifier: its convention, its tables, the call.
//!
//! The idea: dispatch code finds, for each *lane*, a value in that lane's table. Code and tables
//! live apart, so that an insertion is a data write: the code gets an array of table references
//! with each call. What ties them is *geometry*: the [`Layout`] of each table, which the checker
//! compared with the code. A [`Dispatcher`] holds code and tables of equal geometry, and is the
//! only way to call.
//!
//! What the words in the tables mean is the engine's business: no content can make the code
//! misbehave.

mod table;
#[cfg(test)]
#[cfg(feature = "std")]
mod tests;

use alloc::vec::Vec;
use core::mem::{MaybeUninit, offset_of, size_of, transmute};

pub use table::{BUCKET_SLOTS, BUCKETS_MAX, Bank, BankMaker, Layout, MARK, Table, WINDOW_MAX};

use super::code::{Code, Convention, sealed};
use super::pages::CodeError;

/// Key words at most.
pub const KEY_WORDS_MAX: usize = 5;
/// Tables of one dispatcher at most.
pub const TABLES_MAX: usize = 64;
/// Frames of one call at most.
pub const BATCH_MAX: usize = 64;
/// In a value: somebody must be asked. The bits above are what is compared first.
pub const PENDING: u64 = 1 << 56;

/// Dispatch code: `(frame, length, pending, table references) -> (best, end of pending)`.
///
/// The entry at 0 writes nothing and does not look at `pending`: if its best has bit [`PENDING`],
/// somebody must be asked, and the entry at `full` says who. That one writes at most one word per
/// table to `pending`. The entry at `prefetch` only fetches what the others will look at, and its
/// answer means nothing.
#[derive(Debug)]
pub enum Dispatch {}

/// What dispatch code was checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Layout of each table, in order.
    pub tables: Vec<Layout>,
    /// Offset of the entry that notes what is pending.
    pub full: usize,
    /// Offset of the entry that fetches.
    pub prefetch: usize,
}

impl sealed::Convention for Dispatch {}
impl Convention for Dispatch {
    type Geometry = Geometry;
}

/// A table's whereabouts as the code sees them. Three words for the current bank, three for the
/// old one; those are 0 where there is none.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct TableRef {
    current: [u64; 3],
    old: [u64; 3],
}

// The engine emits these and its checker compares them: they are an interface.
const _: () = assert!(offset_of!(TableRef, current) == 0);
const _: () = assert!(offset_of!(TableRef, old) == 24);
const _: () = assert!(size_of::<TableRef>() == 48);

/// What the code returns, in `rax` and `rdx`.
#[repr(C)]
struct Answer {
    best: u64,
    pending_end: u64,
}

type DispatchEntry =
    extern "C" fn(*const u8, u64, MaybeUninit<*mut u64>, *const TableRef) -> Answer;

/// Room for what one call finds pending.
type Pending = [MaybeUninit<u64>; TABLES_MAX];

/// Dispatch code together with tables of the geometry it was checked against.
#[derive(Debug)]
pub struct Dispatcher {
    code: Code<Dispatch>,
    tables: Vec<Table>,
    refs: Vec<TableRef>,
}

/// Code and tables that do not fit each other, given back.
#[derive(Debug)]
pub struct Mismatch {
    /// Why.
    pub error: CodeError,
    /// The code.
    pub code: Code<Dispatch>,
    /// The tables.
    pub tables: Vec<Table>,
}

impl Dispatcher {
    /// Joins code and tables.
    ///
    /// # Errors
    /// [`CodeError::WrongTables`] names the first table that does not fit; [`CodeError::NoMemory`].
    pub fn new(code: Code<Dispatch>, tables: Vec<Table>) -> Result<Self, Mismatch> {
        let layouts = tables.iter().map(Table::layout);
        let refs = match fits(code.geometry(), layouts) {
            Ok(()) => room(tables.len()),
            Err(error) => Err(error),
        };
        match refs {
            Ok(mut refs) => {
                refs.extend(tables.iter().map(table_ref));
                Ok(Self { code, tables, refs })
            }
            Err(error) => Err(Mismatch { error, code, tables }),
        }
    }

    /// Puts new code in the place of the old, keeps the tables at the ascending positions `kept`
    /// and appends `fresh`. Returns what is not needed any more. On an error nothing has changed.
    ///
    /// # Errors
    /// As for [`Dispatcher::new`]; code and tables are given back.
    pub fn exchange(
        &mut self,
        code: Code<Dispatch>,
        kept: &[usize],
        fresh: Vec<Table>,
    ) -> Result<(Code<Dispatch>, Vec<Table>), Mismatch> {
        let ascending = kept.is_sorted_by(|a, b| a < b);
        let layouts = || {
            let old = kept.iter().filter_map(|at| self.tables.get(*at));
            old.chain(&fresh).map(Table::layout)
        };
        let len = kept.len() + fresh.len();
        let wrong = CodeError::WrongTables { table: 0 };
        let checked = fits(code.geometry(), layouts());
        let checked =
            checked.and(if ascending && layouts().count() == len { Ok(()) } else { Err(wrong) });
        let prepared =
            checked.and_then(|()| Ok((room(len)?, room(len)?, room(self.tables.len())?)));
        let (mut refs, mut tables, mut gone) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(Mismatch { error, code, tables: fresh }),
        };
        for (at, table) in core::mem::take(&mut self.tables).into_iter().enumerate() {
            let stays = kept.binary_search(&at).is_ok();
            if stays { tables.push(table) } else { gone.push(table) }
        }
        tables.extend(fresh);
        refs.extend(tables.iter().map(table_ref));
        self.tables = tables;
        self.refs = refs;
        Ok((core::mem::replace(&mut self.code, code), gone))
    }

    /// Takes code and tables apart again.
    #[must_use]
    pub fn into_parts(self) -> (Code<Dispatch>, Vec<Table>) {
        (self.code, self.tables)
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &Code<Dispatch> {
        &self.code
    }

    /// The tables, in the order of the code.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Makes a larger bank of the same layout a table's current one; entries in the old one are
    /// still found.
    ///
    /// # Errors
    /// [`CodeError::WrongTables`] if there is no such table, its layout is another, or it still has
    /// an old bank.
    pub fn grow(&mut self, table: usize, bank: Bank) -> Result<(), CodeError> {
        let wrong = CodeError::WrongTables { table };
        let chosen = self.tables.get_mut(table).ok_or(wrong)?;
        let entry = self.refs.get_mut(table).ok_or(wrong)?;
        chosen.grow(bank).map_err(|_| wrong)?;
        *entry = table_ref(chosen);
        Ok(())
    }

    /// Takes out a table's old bank, which must be empty by now: its entries are found no more.
    pub fn settle(&mut self, table: usize) -> Option<Bank> {
        let chosen = self.tables.get_mut(table)?;
        let bank = chosen.settle();
        if let Some(entry) = self.refs.get_mut(table) {
            *entry = table_ref(chosen);
        }
        bank
    }

    /// Classifies a frame: the greatest value among the hits. If it has bit [`PENDING`], one or
    /// more hits are "pending", and [`Dispatcher::run_full`] must be asked.
    #[inline]
    #[must_use]
    pub fn run(&self, frame: &[u8]) -> u64 {
        self.enter(0, frame, MaybeUninit::uninit()).best
    }

    /// Classifies a frame: the greatest among the hits without bit [`PENDING`]. Each hit with it is
    /// then passed to `resolve` with the best so far, in table order; what that returns is the new
    /// best.
    #[must_use]
    pub fn run_full(&self, frame: &[u8], resolve: impl FnMut(u64, u64) -> u64) -> u64 {
        let mut pending: Pending = [MaybeUninit::uninit(); TABLES_MAX];
        let start = pending.as_mut_ptr().cast::<u64>();
        let answer = self.enter(self.code.geometry().full, frame, MaybeUninit::new(start));
        let bytes = answer.pending_end.wrapping_sub(start.addr() as u64) as usize;
        let count = bytes / size_of::<u64>();
        settle(answer.best, pending.get(..count).unwrap_or(&[]), resolve)
    }

    /// Fetches into the cache what [`Dispatcher::run`] will look at first.
    #[inline]
    pub fn prefetch(&self, frame: &[u8]) {
        let _nothing = self.enter(self.code.geometry().prefetch, frame, MaybeUninit::uninit());
    }

    #[inline]
    fn enter(&self, offset: usize, frame: &[u8], pending: MaybeUninit<*mut u64>) -> Answer {
        let entry = self.code.entry().cast::<u8>().wrapping_add(offset).cast::<()>();
        // SAFETY: the code was vouched for under `Dispatch` with the geometry of `self.tables`
        // (compared in `new` and `exchange`, kept by `grow`), with entries at 0, `geometry.full`
        // and `geometry.prefetch`; callers here name no other offset. It reads `frame`, the table
        // references and, in each bank that a reference names, only places below its mask or length
        // (all borrowed from `self` for the call). Only the entry at `full` uses `pending`: it
        // writes at most one word per table to it, and `run_full` makes it `TABLES_MAX` words long.
        let entry = unsafe { transmute::<*const (), DispatchEntry>(entry) };
        entry(frame.as_ptr(), frame.len() as u64, pending, self.refs.as_ptr())
    }
}

/// The rare end of a call: some of what was found must be confirmed.
#[cold]
fn settle(
    best: u64,
    pending: &[MaybeUninit<u64>],
    mut resolve: impl FnMut(u64, u64) -> u64,
) -> u64 {
    pending.iter().fold(best, |best, word| {
        // SAFETY: the code wrote every word up to the end that it returned.
        resolve(best, unsafe { word.assume_init() })
    })
}

fn table_ref(table: &Table) -> TableRef {
    let old = table.old().map_or([0; 3], Bank::reference);
    TableRef { current: table.current().reference(), old }
}

fn room<T>(len: usize) -> Result<Vec<T>, CodeError> {
    let mut room = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    let full = CodeError::NoMemory { bytes, limit: TABLES_MAX * size_of::<T>() };
    room.try_reserve_exact(len).map_err(|_| full)?;
    Ok(room)
}

fn fits(geometry: &Geometry, layouts: impl Iterator<Item = Layout>) -> Result<(), CodeError> {
    let mut expected = geometry.tables.iter();
    let mut table = 0;
    for layout in layouts {
        if table == TABLES_MAX || expected.next() != Some(&layout) {
            return Err(CodeError::WrongTables { table });
        }
        table += 1;
    }
    if expected.next().is_some() { Err(CodeError::WrongTables { table }) } else { Ok(()) }
}
