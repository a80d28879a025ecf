//! The normal form, and what it must find out.

use super::Rule;
use crate::byteset::ByteSet;
use crate::cell::{Cell, HeaderBase};
use crate::length::LengthRange;

const PAYLOAD: HeaderBase = HeaderBase::ipv4_payload(14);

#[test]
fn a_cell_makes_the_frame_long_enough() {
    let rule = Rule::any().with(Cell::frame(36), ByteSet::ALL).unwrap();
    assert_eq!(rule.length().min, 37);
    assert_eq!(rule.cells().len(), 0);
    let rule = Rule::any().with(Cell::header(PAYLOAD, 3), ByteSet::exact(7)).unwrap();
    assert_eq!(rule.length().min, 18);
}

#[test]
fn a_fixed_guard_makes_addresses_constant_in_either_order() {
    let port = (Cell::header(PAYLOAD, 3), ByteSet::exact(7));
    let ihl = (Cell::frame(14), ByteSet::exact(0x46));
    let first = Rule::any().with(port.0, port.1).unwrap().with(ihl.0, ihl.1).unwrap();
    let second = Rule::any().with(ihl.0, ihl.1).unwrap().with(port.0, port.1).unwrap();
    assert_eq!(first, second);
    assert!(first.is_absolute());
    assert_eq!(first.set(Cell::frame(41)), ByteSet::exact(7));
}

#[test]
fn an_alias_is_found_empty() {
    // IHL 0 puts the payload's first byte onto the guard itself.
    let rule = Rule::any()
        .with(Cell::frame(14), ByteSet::range(0x40, 0x41))
        .unwrap()
        .with(Cell::header(PAYLOAD, 0), ByteSet::exact(9))
        .unwrap()
        .with(Cell::frame(18), ByteSet::exact(8))
        .unwrap();
    assert!(rule.is_empty_exact().unwrap());
    assert_eq!(rule.witness(), Ok(None));
}

#[test]
fn cells_behind_the_end_narrow_the_guard() {
    let rule = Rule::any()
        .with(Cell::header(PAYLOAD, 0), ByteSet::exact(9))
        .unwrap()
        .with_length(LengthRange { min: 14, max: 34 })
        .unwrap();
    // IHL 5 would need a frame of 35 bytes.
    assert_eq!(rule.set(Cell::frame(14)), ByteSet::from_fn(|b| b & 0x0f < 5));
    assert_eq!(rule.with_length(LengthRange { min: 14, max: 14 }), None);
}

#[test]
fn a_base_without_bits_is_a_constant() {
    let base = HeaderBase { at: 20, mask: 0, shift: 3, add: 30 };
    let rule = Rule::any().with(Cell::header(base, 2), ByteSet::exact(1)).unwrap();
    assert!(rule.is_absolute());
    assert_eq!(rule.set(Cell::frame(32)), ByteSet::exact(1));
}
