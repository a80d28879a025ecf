//! The tables that dispatch code looks into.
//!
//! The idea: a table has one of a few *layouts*, which the code was made for, and holds its values
//! in a [`Bank`]. To grow, it gets a second, larger bank; while entries move over a few at a time,
//! the code looks into both ([`Table::old`]). A slot's value is written last, in one store, so that
//! nobody ever finds a key with half a value.
//!
//! | layout | is |
//! |---|---|
//! | [`Layout::Single`] | one value |
//! | [`Layout::Plain`] | buckets of one cache line: four times (key, value) |
//! | [`Layout::Wide`] | the same with the keys' digests, and lines with the keys behind |
//! | [`Layout::Direct`] | one value for each 16-bit number in a window |
//!
//! In a bucket, bit 55 ([`MARK`]) of slot 0's value says that keys whose first bucket this is are
//! in their second one. Everything else in a value is the engine's business.

use core::sync::atomic::{AtomicU64, Ordering};

use super::super::pages::CodeError;
use super::super::zeroed::{LINE_BYTES, Zeroed, Zeroing};
use super::KEY_WORDS_MAX;

/// Slots in a bucket.
pub const BUCKET_SLOTS: usize = 4;
/// Buckets of a bank at most: the second one is named by the hash's upper half.
pub const BUCKETS_MAX: usize = 1 << 24;
/// Numbers in a window at most: all that 16 bits can name.
pub const WINDOW_MAX: usize = 1 << 16;
/// In the value of a bucket's slot 0: look into the second bucket too.
pub const MARK: u64 = 1 << 55;

const LINE_WORDS: usize = LINE_BYTES / 8;
/// Words from one slot of a bucket to the next.
const SLOT_WORDS: usize = 2;

/// How a table's values are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// There is one, at offset 0.
    Single,
    /// By a key of one word, which has some bit that no key has set.
    Plain,
    /// By a key of several words: its digest in the slot, its words in the lines behind, two and
    /// two, each pair at its slot's place.
    Wide {
        /// Key words, 1 to `KEY_WORDS_MAX`.
        words: usize,
    },
    /// By a number of 16 bits, less the window's first.
    Direct,
}

impl Layout {
    /// Bytes from one bucket to the next, a power of two; 8 where there are no buckets.
    #[must_use]
    pub const fn stride(self) -> usize {
        match self {
            Self::Single | Self::Direct => 8,
            Self::Plain => LINE_BYTES,
            Self::Wide { words } => LINE_BYTES * (1 + words.div_ceil(2)).next_power_of_two(),
        }
    }

    /// Whether it has buckets.
    #[must_use]
    pub const fn is_hashed(self) -> bool {
        matches!(self, Self::Plain | Self::Wide { .. })
    }

    /// Key words that are stored beside the digest.
    const fn stored_words(self) -> usize {
        match self {
            Self::Wide { words } => words,
            _ => 0,
        }
    }
}

/// Memory for one size of a table.
#[derive(Debug)]
pub struct Bank {
    words: Zeroed<AtomicU64>,
    layout: Layout,
    /// Buckets, or numbers in the window, or 1.
    places: usize,
    /// The window's first number.
    first: u16,
}

/// A bank whose memory is being zeroed.
#[derive(Debug)]
pub struct BankMaker {
    words: Zeroing<AtomicU64>,
    layout: Layout,
    places: usize,
    first: u16,
}

impl BankMaker {
    /// Buckets, or numbers in the window, or 1.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// Zeroes at most so many bytes, and takes them off the budget; true once all are.
    pub fn advance(&mut self, budget: &mut usize) -> bool {
        self.words.advance(budget)
    }

    /// The bank, empty; what was not zeroed yet is now.
    #[must_use]
    pub fn finish(self) -> Bank {
        let Self { words, layout, places, first } = self;
        Bank { words: words.finish(), layout, places, first }
    }
}

impl Bank {
    /// An empty bank: so many buckets (rounded up to a power of two), or a window of so many
    /// numbers from `first` on.
    ///
    /// # Errors
    /// [`CodeError::NoMemory`] if there is no memory, or more is asked for than the layout's limit.
    pub fn new(layout: Layout, places: usize, first: u16) -> Result<Self, CodeError> {
        let (places, words) = Self::size(layout, places, first)?;
        Ok(Self { words: Zeroed::new(words)?, layout, places, first })
    }

    /// The same with memory that is still to be zeroed.
    ///
    /// # Errors
    /// As for [`Bank::new`].
    pub fn reserve(layout: Layout, places: usize, first: u16) -> Result<BankMaker, CodeError> {
        let (places, words) = Self::size(layout, places, first)?;
        Ok(BankMaker { words: Zeroing::new(words)?, layout, places, first })
    }

    /// Places and words of a bank.
    fn size(layout: Layout, places: usize, first: u16) -> Result<(usize, usize), CodeError> {
        let most = match layout {
            Layout::Single => 1,
            Layout::Direct => WINDOW_MAX.saturating_sub(usize::from(first)),
            Layout::Plain | Layout::Wide { .. } => BUCKETS_MAX,
        };
        let bytes = places.saturating_mul(LINE_BYTES * 4);
        let full = CodeError::NoMemory { bytes, limit: most.saturating_mul(LINE_BYTES * 4) };
        if places > most || layout.stored_words() > KEY_WORDS_MAX {
            return Err(full);
        }
        let places = if layout.is_hashed() { places.max(1).next_power_of_two() } else { places };
        Ok((places, (places * layout.stride() / 8).max(LINE_WORDS)))
    }

    /// Buckets, or numbers in the window, or 1.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// The window's first number.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// Values that there is room for.
    #[must_use]
    pub fn slots(&self) -> usize {
        if self.layout.is_hashed() { self.places * BUCKET_SLOTS } else { self.places }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.bytes()
    }

    /// The two buckets that a hash names; they may be the same.
    #[must_use]
    pub fn buckets_of(&self, hash: u64) -> [usize; 2] {
        let (mask, stride) = (self.mask(), self.layout.stride());
        [(hash & mask) as usize / stride, (hash >> 32 & mask) as usize / stride]
    }

    /// The slot of a number; `None` if it is outside the window.
    #[must_use]
    pub fn slot_of(&self, number: u16) -> Option<usize> {
        let slot = usize::from(number.checked_sub(self.first)?);
        (slot < self.places).then_some(slot)
    }

    /// A slot's digest; 0 where there are none.
    #[must_use]
    pub fn digest(&self, slot: usize) -> u64 {
        if self.layout.is_hashed() { self.word(self.at(slot)) } else { 0 }
    }

    /// A word of the key in a slot; 0 where none is stored.
    #[must_use]
    pub fn key_word(&self, slot: usize, word: usize) -> u64 {
        match self.layout {
            Layout::Plain if word == 0 => self.digest(slot),
            Layout::Wide { words } if word < words => self.word(self.key_at(slot, word)),
            _ => 0,
        }
    }

    /// A slot's value.
    #[must_use]
    pub fn value(&self, slot: usize) -> u64 {
        self.word(self.value_at(slot))
    }

    /// Writes digest and key of a slot whose value is 0.
    pub fn set_key(&self, slot: usize, digest: u64, key: &[u64]) {
        if self.layout.is_hashed() {
            for (word, value) in key.iter().enumerate().take(self.layout.stored_words()) {
                self.store(self.key_at(slot, word), *value);
            }
            self.store(self.at(slot), digest);
        }
    }

    /// Writes a slot's value, and keeps its mark.
    pub fn set_value(&self, slot: usize, value: u64) {
        let at = self.value_at(slot);
        let mark = if self.layout.is_hashed() { self.word(at) & MARK } else { 0 };
        self.store(at, value & !MARK | mark);
    }

    /// Says whether keys of this bucket may be in their second one.
    pub fn set_mark(&self, bucket: usize, marked: bool) {
        let at = self.value_at(bucket * BUCKET_SLOTS);
        let value = self.word(at) & !MARK;
        self.store(at, value | if marked { MARK } else { 0 });
    }

    /// Whether keys of this bucket may be in their second one.
    #[must_use]
    pub fn is_marked(&self, bucket: usize) -> bool {
        self.layout.is_hashed() && self.value(bucket * BUCKET_SLOTS) & MARK != 0
    }

    /// The word of a slot's digest.
    fn at(&self, slot: usize) -> usize {
        let bucket = (slot / BUCKET_SLOTS).saturating_mul(self.layout.stride() / 8);
        bucket + slot % BUCKET_SLOTS * SLOT_WORDS
    }

    fn value_at(&self, slot: usize) -> usize {
        if self.layout.is_hashed() { self.at(slot) + 1 } else { slot }
    }

    fn key_at(&self, slot: usize, word: usize) -> usize {
        self.at(slot) + LINE_WORDS * (1 + word / 2) + word % 2
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Release: who sees this word sees what was written before it.
    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// What is cut out of a hash to make a bucket's offset in bytes.
    fn mask(&self) -> u64 {
        (self.places.saturating_sub(1) * self.layout.stride()) as u64
    }

    /// As the code sees it: where it is, then the mask, or the window's first and length.
    pub(super) fn reference(&self) -> [u64; 3] {
        let address = self.words.address();
        match self.layout {
            Layout::Single => [address, 0, 1],
            Layout::Plain | Layout::Wide { .. } => [address, self.mask(), 0],
            Layout::Direct => [address, self.first.into(), self.places as u64],
        }
    }
}

/// One table: the bank that entries go to, and while it grows the one that they come from.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
    current: Bank,
    old: Option<Bank>,
}

impl Table {
    /// A table with an empty bank; see [`Bank::new`].
    ///
    /// # Errors
    /// Those of [`Bank::new`].
    pub fn new(layout: Layout, places: usize, first: u16) -> Result<Self, CodeError> {
        Ok(Self { layout, current: Bank::new(layout, places, first)?, old: None })
    }

    /// Its layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where entries go.
    #[must_use]
    pub fn current(&self) -> &Bank {
        &self.current
    }

    /// Where entries come from while the table grows.
    #[must_use]
    pub fn old(&self) -> Option<&Bank> {
        self.old.as_ref()
    }

    /// Values that there is room for, in both banks.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.current.slots() + self.old.as_ref().map_or(0, Bank::slots)
    }

    /// Bytes held, in both banks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.current.bytes() + self.old.as_ref().map_or(0, Bank::bytes)
    }

    /// Makes a larger bank the current one. Gives it back while the table still grows from the time
    /// before, or if the layout is another.
    pub(super) fn grow(&mut self, bank: Bank) -> Result<(), Bank> {
        if self.old.is_some() || bank.layout != self.layout {
            return Err(bank);
        }
        self.old = Some(core::mem::replace(&mut self.current, bank));
        Ok(())
    }

    /// Takes out the bank that entries came from.
    pub(super) fn settle(&mut self) -> Option<Bank> {
        self.old.take()
    }
}
