//! The abstract state before an instruction: registers, frames, what is known of the packet's end.
//!
//! Invariant: whatever run reaches the instruction, there are values for the names with which its
//! registers, stack and packet are as one of the states kept for it describes.

use alloc::vec::Vec;

use ebpf::{Kind, Reg};

use super::arith;
use super::name::{Name, Names};
use super::number::Num;
use super::scalar::Scalar;
use super::stack::{SLOTS, Slot, Stack};
use super::trail::Trail;
use super::value::{Pointer, Region, Value};
use crate::limits::{LIGHT_SLOTS, MOVED_PACKET_MAX, SPANS_MAX};

/// What is known before an instruction.
#[derive(Clone, Debug)]
pub(super) struct State {
    registers: [Value; 11],
    /// `r6` to `r9` of the functions that wait for this one, the outermost first.
    saved: Vec<[Value; 4]>,
    pub(super) stack: Stack,
    /// Least and greatest length of the packet, in bytes.
    pub(super) length: (i64, i64),
    spans: [Span; SPANS_MAX],
    /// Most instructions run so far.
    pub(super) cost: u64,
    /// One way that leads here.
    pub(super) trail: Trail,
}

/// The packet has at least `bytes` bytes behind a base; an unused span is about zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) base: Name,
    pub(super) bytes: i64,
}

/// The first seat of waiting functions' registers, and of stack slots.
const SAVED: usize = 11;
const SLOT: usize = 64;

const _: () = assert!(SAVED + 4 * ebpf::limits::CALL_DEPTH <= SLOT);

const NO_SPAN: Span = Span { base: Name::ZERO, bytes: 0 };

/// Longest packet or buffer that anything is said of, in bytes.
const LONGEST: i64 = i64::MAX >> 1;

impl State {
    /// What holds when a program of this kind begins.
    ///
    /// Nothing is taken for granted about the packet's length but that it is no more than a packet
    /// can have: a program must compare, even for the Ethernet header.
    pub(super) fn at_entry(kind: Kind, names: &mut Names) -> State {
        let length = (0, longest(kind));
        let mut registers = [Value::Uninit; 11];
        registers[Reg::R10.index()] = Value::Pointer(Pointer::first(Region::Stack(0)));
        match kind {
            Kind::Filter | Kind::Ash => registers[Reg::R1.index()] = Value::Context,
            Kind::Memory => {
                let first = Pointer::first(Region::Packet);
                registers[Reg::R1.index()] = Value::Pointer(first);
                registers[Reg::R2.index()] = Value::Scalar(first.to_end(length, names));
            }
        }
        let (stack, saved, spans) = (Stack::default(), Vec::new(), [NO_SPAN; SPANS_MAX]);
        State { registers, saved, stack, length, spans, cost: 0, trail: Trail::START }
    }

    /// How much more work the state is than a small one.
    pub(super) fn weight(&self) -> u32 {
        // At most SLOTS * CALL_DEPTH slots.
        1 + (self.stack.slots().len() / LIGHT_SLOTS) as u32
    }

    /// By how much fewer such states are kept apart than small ones.
    pub(super) fn heft(&self) -> usize {
        2 * self.weight() as usize - 1
    }

    /// The heap that the state holds, itself included, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<State>()
            + self.saved.capacity() * size_of::<[Value; 4]>()
            + self.stack.capacity() * size_of::<(u16, Slot)>()
    }

    pub(super) const fn get(&self, reg: Reg) -> Value {
        // A register's index is below 11.
        self.registers[reg.index()]
    }

    pub(super) const fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    /// Forgets the registers that are not in a mask: nothing reads them.
    pub(super) fn keep(&mut self, live: u16) {
        for reg in Reg::ALL {
            if live & 1 << reg.index() == 0 {
                self.set(reg, Value::Uninit);
            }
        }
    }

    /// Index of the running function's frame, the outermost 0.
    pub(super) fn frame(&self) -> u8 {
        // At most `CALL_DEPTH` functions wait.
        self.saved.len() as u8
    }

    /// The registers that waiting functions keep.
    pub(super) fn saved(&self) -> &[[Value; 4]] {
        &self.saved
    }

    /// The same, to be changed.
    pub(super) fn saved_mut(&mut self) -> &mut [[Value; 4]] {
        &mut self.saved
    }

    /// Enters a function: a new frame, `r6` to `r9` put aside.
    pub(super) fn enter(&mut self) {
        let [.., r6, r7, r8, r9, _] = self.registers;
        self.saved.push([r6, r7, r8, r9]);
        for reg in [Reg::R0, Reg::R6, Reg::R7, Reg::R8, Reg::R9] {
            self.set(reg, Value::Uninit);
        }
        let frame = Region::Stack(self.frame());
        self.set(Reg::R10, Value::Pointer(Pointer::first(frame)));
    }

    /// Leaves a function: its frame is gone, and pointers to it are good for nothing.
    pub(super) fn leave(&mut self) {
        let gone = self.frame();
        let Some(kept) = self.saved.pop() else { return };
        self.stack.truncate(usize::from(gone) * SLOTS);
        for (reg, value) in [Reg::R6, Reg::R7, Reg::R8, Reg::R9].into_iter().zip(kept) {
            self.set(reg, value);
        }
        for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            self.set(reg, Value::Uninit);
        }
        let frame = Region::Stack(self.frame());
        self.set(Reg::R10, Value::Pointer(Pointer::first(frame)));
        self.each(|value| match value {
            Value::Pointer(Pointer { region: Region::Stack(frame), .. }) if *frame >= gone => {
                *value = Value::Stale;
            }
            _ => {}
        });
    }

    /// The packet's bounds may have moved: everything that was known of it is forgotten.
    pub(super) fn packet_moved(&mut self, kind: Kind) {
        self.each(|value| match value {
            Value::Pointer(Pointer { region: Region::Packet, .. }) => *value = Value::Old,
            // A comparison with the old end looks like a check and is none.
            Value::End | Value::Half(_) | Value::HalfEnd => *value = Value::Stale,
            Value::Scalar(number) => number.distance = None,
            _ => {}
        });
        self.length = (0, longest(kind).max(MOVED_PACKET_MAX));
        self.forget_spans();
    }

    /// How many bytes are known to be in the packet behind a base.
    pub(super) fn span(&self, base: Name) -> Option<i64> {
        if base == Name::ZERO {
            return Some(self.length.0);
        }
        self.spans.iter().find(|span| span.base == base).map(|span| span.bytes)
    }

    /// Learns that the packet has at least `bytes` bytes behind a base.
    pub(super) fn reaches(&mut self, base: Name, bytes: i64) {
        if base == Name::ZERO {
            self.length.0 = self.length.0.max(bytes);
            return;
        }
        if let Some(known) = self.spans.iter_mut().find(|span| span.base == base) {
            known.bytes = known.bytes.max(bytes);
            return;
        }
        let free = self.spans.iter().position(|span| span.base == Name::ZERO);
        let place = free.or_else(|| self.unused_span()).unwrap_or_else(|| {
            // All are in use: the oldest is forgotten.
            self.spans.rotate_left(1);
            SPANS_MAX - 1
        });
        if let Some(span) = self.spans.get_mut(place) {
            *span = Span { base, bytes };
        }
    }

    /// The known spans behind variable bases.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        self.spans.iter().filter(|span| span.base != Name::ZERO).copied()
    }

    /// Forgets all spans behind variable bases.
    pub(super) fn forget_spans(&mut self) {
        self.spans = [NO_SPAN; SPANS_MAX];
    }

    /// What holds a number called `name` is `number`, at its own distance; pointers with that base
    /// are where it says. `false`: nothing can be so.
    pub(super) fn learn(&mut self, number: &Scalar) -> bool {
        let Scalar { num, name, delta, .. } = *number;
        if name == Name::ZERO {
            return true;
        }
        let mut possible = true;
        self.each(|value| match value {
            Value::Scalar(known) if known.name == name => {
                let moved = match known.delta.wrapping_sub(delta) {
                    0 => num,
                    by => arith::alu(ebpf::Width::W64, ebpf::AluOp::Add, num, Num::constant(by)),
                };
                match known.num.intersect(&moved) {
                    Some(both) => *known = known.refined(both),
                    None => possible = false,
                }
            }
            Value::Pointer(pointer) if pointer.base == name => {
                possible &= narrow(pointer, &num, delta.cast_signed());
            }
            _ => {}
        });
        possible
    }

    /// What the look-up called `name` gave is null, or it is not.
    pub(super) fn learn_null(&mut self, name: Name, null: bool) {
        self.each(|value| match *value {
            Value::Lookup(_, other) if other == name && null => {
                *value = Value::Scalar(Scalar::constant(0));
            }
            Value::Lookup(map, other) if other == name => {
                *value = Value::Pointer(Pointer::first(Region::Map(map)));
            }
            _ => {}
        });
    }

    /// Does something with every value; what becomes a number on the stack is one.
    pub(super) fn each(&mut self, mut change: impl FnMut(&mut Value)) {
        self.registers.iter_mut().chain(self.saved.iter_mut().flatten()).for_each(&mut change);
        for (_, slot) in self.stack.slots_mut() {
            let (written, mut value) = match *slot {
                Slot::Pointer(value) => (0xff, value),
                Slot::Number(written, content) => (written, Value::Scalar(content)),
            };
            change(&mut value);
            *slot = match value {
                Value::Scalar(content) => Slot::Number(written, content),
                other => Slot::Pointer(other),
            };
        }
    }

    /// Every value that is stored whole, with its seat: registers, waiting functions' registers,
    /// stack slots.
    pub(super) fn values(&self) -> impl Iterator<Item = (usize, Value)> {
        let registers = self.registers.iter().copied().enumerate();
        let saved = (SAVED..).zip(self.saved.iter().flatten().copied());
        let slots = self.stack.slots().iter().map(|&(at, slot)| match slot {
            Slot::Pointer(value) => (SLOT + usize::from(at), value),
            Slot::Number(_, content) => (SLOT + usize::from(at), Value::Scalar(content)),
        });
        registers.chain(saved).chain(slots)
    }

    /// The value in a seat.
    pub(super) fn value(&self, seat: usize) -> Option<Value> {
        if let Some(at) = seat.checked_sub(SLOT) {
            return Some(match self.stack.slot(at) {
                Slot::Pointer(value) => value,
                Slot::Number(_, content) => Value::Scalar(content),
            });
        }
        match seat.checked_sub(SAVED) {
            Some(at) => self.saved.iter().flatten().nth(at).copied(),
            None => self.registers.get(seat).copied(),
        }
    }

    /// A span whose base no value refers to any more.
    fn unused_span(&self) -> Option<usize> {
        self.spans.iter().position(|span| !self.refers(span.base))
    }

    fn refers(&self, base: Name) -> bool {
        let about = |value: &Value| match value {
            Value::Pointer(pointer) => pointer.base == base,
            Value::Scalar(number) => {
                number.name == base || number.distance.is_some_and(|it| it.base == base)
            }
            _ => false,
        };
        self.registers.iter().chain(self.saved.iter().flatten()).any(about)
            || self.stack.slots().iter().any(|(_, slot)| match slot {
                Slot::Pointer(value) => about(value),
                Slot::Number(_, content) => about(&Value::Scalar(*content)),
            })
    }
}

/// The longest packet or buffer that a program of this kind can be given, in bytes.
fn longest(kind: Kind) -> i64 {
    match kind {
        Kind::Filter | Kind::Ash => ebpf::limits::PACKET_MAX as i64,
        Kind::Memory => LONGEST,
    }
}

/// Narrows a pointer whose base is `num - delta`. `false`: it can be nowhere.
fn narrow(pointer: &mut Pointer, num: &Num, delta: i64) -> bool {
    // Far from where the difference could wrap only.
    const FAR: i64 = 1 << 40;
    if !(-FAR..FAR).contains(&delta) || num.smin < -FAR || num.smax > FAR {
        return true;
    }
    pointer.low = pointer.low.max(num.smin - delta);
    pointer.high = pointer.high.min(num.smax - delta);
    pointer.low <= pointer.high
}
