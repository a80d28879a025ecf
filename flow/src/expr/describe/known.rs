//! What a rule is known to say about a field, and tests on single bytes as text.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell};
use crate::field::Field;
use crate::headers::{self, Link};
use crate::rule::Rule;

/// The protocol of the VLAN tag that follows `link` in all frames of `rule`.
pub(super) fn tag(rule: &Rule, link: Link) -> Option<u16> {
    let protocol = link.ethertype().fixed(rule)?;
    headers::ETHERTYPE_TAGS.into_iter().find(|&tag| protocol == tag.into())
}

/// Whether a VLAN tag may follow `link`, and not any ethertype.
pub(super) fn may_be_tagged(rule: &Rule, link: Link) -> bool {
    let (high, low) = (rule.set(link.ethertype().first()), rule.set(link.ethertype().last()));
    let has = |tag: u16| {
        let [first, last] = tag.to_be_bytes();
        high.contains(first) && low.contains(last)
    };
    link.ethertype().is_tested(rule) && headers::ETHERTYPE_TAGS.into_iter().any(has)
}

/// `ether[36] in 0x00-0x13`
pub(super) fn byte_test(cell: Cell, set: ByteSet) -> String {
    let place = match cell.base {
        Base::Frame => format!("ether[{}]", cell.offset),
        Base::Header(base) => format!(
            "ether[{} + ((ether[{}] & {:#04x}) {} {})]",
            base.add + cell.offset,
            base.at,
            base.mask,
            if base.shift < 0 { ">>" } else { "<<" },
            base.shift.unsigned_abs()
        ),
    };
    set_test(&place, set)
}

/// `place & 0x02 != 0x00`
pub(super) fn set_test(place: &str, set: ByteSet) -> String {
    let set_or_not = [(set, "=="), (set.complement(), "!=")];
    for (set, relation) in set_or_not {
        match (set.single(), set.as_masked()) {
            (Some(value), _) => return format!("{place} {relation} {value:#04x}"),
            (None, Some((value, mask))) if mask != 0 => {
                return format!("{place} & {mask:#04x} {relation} {value:#04x}");
            }
            _ => {}
        }
    }
    let mut list = String::new();
    for (low, high) in set.intervals() {
        let comma = if list.is_empty() { "" } else { "," };
        let _ = match low == high {
            true => write!(list, "{comma}{low:#04x}"),
            false => write!(list, "{comma}{low:#04x}-{high:#04x}"),
        };
    }
    format!("{place} in {list}")
}

/// The bits that the rule fixes in a field, and which those are. Bytes whose sets are no masks
/// count as open.
pub(super) fn known(rule: &Rule, field: Field) -> (u128, u128) {
    field.cells().fold((0, 0), |(value, mask), cell| {
        let (bits, known) = rule.set(cell).as_masked().unwrap_or((0, 0));
        (value << 8 | u128::from(bits), mask << 8 | u128::from(known))
    })
}

/// The field's value and how many of its leading bits the rule fixes, if it fixes no others.
pub(super) fn prefix(rule: &Rule, field: Field) -> Option<(u128, u32)> {
    let (value, mask) = known(rule, field);
    let prefix = (mask << (128 - 8 * u32::from(field.width))).leading_ones();
    let exact = prefix > 0 && mask.count_ones() == prefix;
    exact.then_some((value, prefix))
}

/// The field's least and greatest value, if the rule's sets are those of one range.
pub(super) fn range(rule: &Rule, field: Field) -> Option<(u128, u128)> {
    let (mut low, mut high) = (0u128, 0u128);
    let mut open = false;
    for cell in field.cells() {
        let set = rule.set(cell);
        let mut intervals = set.intervals();
        let (first, last) = intervals.next()?;
        // Below the first byte that varies, all bytes must be free.
        if intervals.next().is_some() || (open && !set.is_all()) {
            return None;
        }
        open |= first != last;
        low = low << 8 | u128::from(first);
        high = high << 8 | u128::from(last);
    }
    Some((low, high))
}
