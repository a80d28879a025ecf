//! The peer of the proof index: how Open vSwitch looks for overlaps.
//!
//! Written after the description of `classifier_rule_overlaps` (openvswitch/ovs,
//! `lib/classifier.c`): one list of rules for each mask; masks are combined and every rule of every
//! list compared under the combined mask. Exact for ternary rules, linear in their number.

/// A ternary rule over the 5-tuple: value and mask of 96 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ternary {
    /// Addresses and ports, only bits of the mask.
    pub value: u128,
    /// The bits that are tested.
    pub mask: u128,
}

impl Ternary {
    /// From (value, mask) of source, destination, source port, destination port.
    #[must_use]
    pub fn of(
        from: (u32, u32),
        to: (u32, u32),
        ports: (u16, u16),
        to_ports: (u16, u16),
    ) -> Ternary {
        let join = |a: u32, b: u32, c: u16, d: u16| {
            u128::from(a) << 64 | u128::from(b) << 32 | u128::from(c) << 16 | u128::from(d)
        };
        let mask = join(from.1, to.1, ports.1, to_ports.1) | PROTOCOL;
        Ternary { value: join(from.0, to.0, ports.0, to_ports.0) & mask, mask }
    }

    /// The same under the other of two protocols.
    #[must_use]
    pub const fn other_protocol(self) -> Ternary {
        Ternary { value: self.value | PROTOCOL, ..self }
    }
}

/// One of two protocols.
const PROTOCOL: u128 = 1 << 96;

/// Rules by mask.
#[derive(Debug, Default)]
pub struct Classifier {
    subtables: Vec<(u128, Vec<u128>)>,
}

impl Classifier {
    /// Takes a rule in.
    pub fn insert(&mut self, rule: Ternary) {
        match self.subtables.iter_mut().find(|(mask, _)| *mask == rule.mask) {
            Some((_, values)) => values.push(rule.value),
            None => self.subtables.push((rule.mask, vec![rule.value])),
        }
    }

    /// Whether some rule meets this one.
    #[must_use]
    pub fn overlaps(&self, rule: Ternary) -> bool {
        self.subtables.iter().any(|(mask, values)| {
            let combined = mask & rule.mask;
            let wanted = rule.value & combined;
            values.iter().any(|value| value & combined == wanted)
        })
    }
}
