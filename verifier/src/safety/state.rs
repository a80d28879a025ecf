//! The abstract state before an instruction: registers, stack, what is known of the packet's end.
//!
//! Invariant: whatever run reaches the instruction, its registers, stack and packet are among
//! those that the state describes.

use ebpf::{Kind, Reg};

use super::name::{Name, Seat};
use super::scalar::Scalar;
use super::stack::{Slot, Stack};
use super::value::{Place, Value};
use crate::limits::SPANS_MAX;

/// What is known before an instruction.
#[derive(Clone, Debug)]
pub(super) struct State {
    registers: [Value; 11],
    pub(super) stack: Stack,
    /// Least and greatest length of the packet, in bytes.
    pub(super) length: (i64, i64),
    spans: [Option<Span>; SPANS_MAX],
}

/// The packet has at least `bytes` bytes behind a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) base: Name,
    pub(super) bytes: i64,
}

/// The most heap that one state holds, itself included, in bytes.
pub(super) const fn heap_bytes() -> usize {
    size_of::<State>() + super::stack::SLOTS * size_of::<(u8, Slot)>()
}

impl State {
    /// What holds when a program of this kind begins.
    ///
    /// Nothing is taken for granted about the packet's length but that it is no more than a packet
    /// can have: a program must compare, even for the Ethernet header.
    pub(super) fn at_entry(kind: Kind) -> State {
        let longest = match kind {
            Kind::Filter | Kind::Ash => ebpf::limits::PACKET_MAX as i64,
            Kind::Memory => i64::MAX >> 1,
        };
        let mut registers = [Value::Uninit; 11];
        registers[Reg::R10.index()] = Value::Stack(0);
        match kind {
            Kind::Filter | Kind::Ash => registers[Reg::R1.index()] = Value::Context,
            Kind::Memory => {
                registers[Reg::R1.index()] = Value::Packet(Place::START);
                registers[Reg::R2.index()] = Value::Scalar(Place::START.to_end(0, longest));
            }
        }
        let (stack, spans) = (Stack::default(), [None; SPANS_MAX]);
        State { registers, stack, length: (0, longest), spans }
    }

    pub(super) const fn get(&self, reg: Reg) -> Value {
        // A register's index is below 11.
        self.registers[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    /// Every value with its seat: registers, then stack slots.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Seat, Value)> {
        let registers = (0..11).zip(self.registers);
        let slots = self.stack.slots().iter().filter_map(|&(index, slot)| match slot {
            Slot::Whole(value) => Some((11 + index, value)),
            Slot::Bytes(_) => None,
        });
        registers.chain(slots)
    }

    /// How many bytes are known to be in the packet behind a base.
    pub(super) fn span(&self, base: Name) -> Option<i64> {
        if base == Name::DATA {
            return Some(self.length.0);
        }
        self.spans.iter().flatten().find(|span| span.base == base).map(|span| span.bytes)
    }

    /// Learns that the packet has at least `bytes` bytes behind a base.
    pub(super) fn reaches(&mut self, base: Name, bytes: i64) {
        if base == Name::DATA {
            self.length.0 = self.length.0.max(bytes);
            return;
        }
        if let Some(known) = self.spans.iter_mut().flatten().find(|span| span.base == base) {
            known.bytes = known.bytes.max(bytes);
            return;
        }
        let span = Some(Span { base, bytes });
        let place = self.spans.iter().position(Option::is_none).or_else(|| self.unused_span());
        match place.and_then(|place| self.spans.get_mut(place)) {
            Some(free) => *free = span,
            None => {
                // All are in use: the oldest is forgotten.
                self.spans.rotate_left(1);
                self.spans[SPANS_MAX - 1] = span;
            }
        }
    }

    /// The known spans behind variable bases.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        self.spans.iter().flatten().copied()
    }

    /// Forgets all spans behind variable bases.
    pub(super) fn forget_spans(&mut self) {
        self.spans = [None; SPANS_MAX];
    }

    /// Whatever holds the number called `name` holds `number`.
    pub(super) fn learn(&mut self, name: Name, number: Scalar) {
        if name == Name::NONE {
            return;
        }
        for value in self.registers.iter_mut().chain(self.stack.values_mut()) {
            match value {
                Value::Scalar(known) if known.name == name => *known = number,
                _ => {}
            }
        }
    }

    /// A span whose base no value refers to any more.
    fn unused_span(&self) -> Option<usize> {
        let refers = |base: Name| {
            self.seats().any(|(_, value)| match value {
                Value::Packet(place) => place.base == base,
                Value::Scalar(number) => number.distance.is_some_and(|it| it.base == base),
                _ => false,
            })
        };
        self.spans.iter().position(|span| span.is_some_and(|span| !refers(span.base)))
    }
}
