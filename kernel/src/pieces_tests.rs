//! Fragments in every order, of every owner, and those that lie.

use abi::books::Reason;
use alloc::vec::Vec;
use verifier::{BindingId, HashKey};

use super::{PLACES, Pieces};
use crate::environment::EnvironmentId;
use crate::limits::{DATAGRAMS_PER_OWNER, FRAGMENT_LIFE_NS, FRAGMENTS_MAX};

const OURS: (BindingId, EnvironmentId) = (BindingId::from_raw(1 << 32), EnvironmentId(1));
const THEIRS: (BindingId, EnvironmentId) = (BindingId::from_raw(1 << 32 | 1), EnvironmentId(2));

fn pieces() -> Pieces {
    Pieces::new(HashKey::new(7, 8))
}

/// A fragment of a datagram: number, offset, bytes, whether more follow.
fn ipv4((id, from): (u16, u16), bytes: u16, more: bool) -> Vec<u8> {
    let mut frame = alloc::vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend((20 + bytes).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend(((from / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    frame.extend([64, 17, 0, 0, 10, 0, 2, 99, 10, 0, 2, 15]);
    frame.resize(frame.len() + usize::from(bytes), 0xaa);
    frame
}

fn ipv6((id, from): (u32, u16), bytes: u16, more: bool) -> Vec<u8> {
    let mut frame = alloc::vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((8 + bytes).to_be_bytes());
    frame.extend([44, 64]);
    frame.extend([0x20; 32]);
    frame.extend([17, 0]);
    frame.extend((from | u16::from(more)).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.resize(frame.len() + usize::from(bytes), 0xaa);
    frame
}

fn begin(
    pieces: &mut Pieces,
    frame: &[u8],
    whose: (BindingId, EnvironmentId),
    now: u64,
) -> Result<(), Reason> {
    let piece = pieces.read(frame)?;
    pieces.begin(piece, whose, now)
}

fn next(pieces: &mut Pieces, frame: &[u8], now: u64) -> Result<BindingId, Reason> {
    let piece = pieces.read(frame)?;
    pieces.next(piece, now)
}

#[test]
fn later_fragments_follow_their_first_to_the_last() {
    let mut table = pieces();
    begin(&mut table, &ipv4((5, 0), 64, true), OURS, 0).unwrap();
    begin(&mut table, &ipv6((5, 0), 64, true), THEIRS, 0).unwrap();
    assert_eq!(next(&mut table, &ipv4((5, 64), 8, true), 1), Ok(OURS.0));
    assert_eq!(next(&mut table, &ipv6((5, 64), 800, true), 1), Ok(THEIRS.0));
    assert_eq!(next(&mut table, &ipv6((5, 864), 3, false), 1), Ok(THEIRS.0));
    assert_eq!(next(&mut table, &ipv4((5, 72), 5, false), 1), Ok(OURS.0));
    // It is complete: nothing more of it is anybody's.
    assert_eq!(next(&mut table, &ipv4((5, 72), 5, false), 1), Err(Reason::Fragment));
    assert_eq!(next(&mut table, &ipv6((5, 864), 3, false), 1), Err(Reason::Fragment));
}

#[test]
fn another_datagram_another_network_another_protocol_is_another() {
    let mut table = pieces();
    begin(&mut table, &ipv4((5, 0), 64, true), OURS, 0).unwrap();
    let changed = |at: usize| {
        let mut frame = ipv4((5, 64), 8, false);
        frame[at] ^= 1;
        frame
    };
    // Identification, protocol, both addresses.
    for at in [18, 19, 23, 26, 29, 30, 33] {
        assert_eq!(next(&mut table, &changed(at), 0), Err(Reason::Fragment), "byte {at}");
    }
    let mut tagged = ipv4((5, 64), 8, false);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    assert_eq!(next(&mut table, &tagged, 0), Err(Reason::Fragment));
    // Lifetime, service and the tag's priority say nothing of whose it is.
    let mut aged = ipv4((5, 64), 8, false);
    (aged[15], aged[22]) = (0xff, 1);
    assert_eq!(next(&mut table, &aged, 0), Ok(OURS.0));
    let tag = |frame: Vec<u8>, priority: u8| {
        let mut frame = frame;
        frame.splice(12..12, [0x81, 0x00, priority << 5, 0x05]);
        frame
    };
    begin(&mut table, &tag(ipv4((5, 0), 64, true), 0), OURS, 0).unwrap();
    assert_eq!(next(&mut table, &tag(ipv4((5, 64), 8, false), 7), 0), Ok(OURS.0));
}

#[test]
fn what_is_not_next_is_dropped_and_does_no_harm() {
    let mut table = pieces();
    assert_eq!(next(&mut table, &ipv4((5, 64), 8, true), 0), Err(Reason::Fragment));
    begin(&mut table, &ipv4((5, 0), 64, true), OURS, 0).unwrap();
    assert_eq!(next(&mut table, &ipv4((5, 72), 8, true), 0), Err(Reason::FragmentOrder));
    for from in [8, 56] {
        let over = ipv4((5, from), 64, true);
        assert_eq!(next(&mut table, &over, 0), Err(Reason::FragmentOverlap));
    }
    assert_eq!(next(&mut table, &ipv4((5, 64), 8, true), 0), Ok(OURS.0));
    assert_eq!(next(&mut table, &ipv4((5, 64), 8, true), 0), Err(Reason::FragmentOverlap));
    // The first of somebody else's under the same name takes nothing; one's own starts anew.
    let again = ipv4((5, 0), 32, true);
    assert_eq!(begin(&mut table, &again, THEIRS, 0), Err(Reason::FragmentOverlap));
    assert_eq!(next(&mut table, &ipv4((5, 72), 8, true), 0), Ok(OURS.0));
    begin(&mut table, &again, OURS, 0).unwrap();
    assert_eq!(next(&mut table, &ipv4((5, 32), 8, false), 0), Ok(OURS.0));
}

#[test]
fn lengths_that_make_no_sense_are_refused() {
    let table = pieces();
    // Not a multiple of eight though more follow; nothing at all; beyond the longest datagram.
    let mut cases = alloc::vec![
        ipv4((1, 64), 12, true),
        ipv4((1, 64), 0, false),
        ipv4((1, 65_528), 16, true),
        ipv6((1, 64), 12, true),
        ipv6((1, 64), 0, false),
    ];
    // A header shorter than a header; totals beyond the frame and below the header.
    let mut short = ipv4((1, 64), 8, true);
    short[14] = 0x44;
    cases.push(short);
    for total in [0u16, 19, 29, 0xffff] {
        let mut wrong = ipv4((1, 64), 8, true);
        wrong[16..18].copy_from_slice(&total.to_be_bytes());
        cases.push(wrong);
    }
    for total in [0u16, 7, 17, 0xffff] {
        let mut wrong = ipv6((1, 64), 8, true);
        wrong[18..20].copy_from_slice(&total.to_be_bytes());
        cases.push(wrong);
    }
    // No fragment at all.
    cases.push(ipv4((1, 0), 8, false));
    for frame in &cases {
        assert_eq!(table.read(frame), Err(Reason::FragmentLength), "{frame:02x?}");
    }
    // Cut anywhere: refused, or read as what is there, never a panic.
    for whole in [ipv4((1, 64), 8, true), ipv6((1, 64), 8, true)] {
        assert!(table.read(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(table.read(&whole[..length]), Err(Reason::FragmentLength), "{length}");
        }
    }
}

#[test]
fn datagrams_expire_and_are_counted_per_owner() {
    let mut table = pieces();
    begin(&mut table, &ipv4((1, 0), 64, true), OURS, 0).unwrap();
    let late = FRAGMENT_LIFE_NS;
    assert_eq!(next(&mut table, &ipv4((1, 64), 8, true), late), Err(Reason::Fragment));
    begin(&mut table, &ipv4((9, 0), 64, true), THEIRS, 5).unwrap();
    // A flood of first fragments drives out the flooder's own oldest, and nobody else's.
    let all = DATAGRAMS_PER_OWNER as u16;
    for id in 100..100 + 3 * all {
        begin(&mut table, &ipv4((id, 0), 64, true), OURS, 10 + u64::from(id)).unwrap();
    }
    let kept = |table: &mut Pieces, id| next(table, &ipv4((id, 64), 8, true), 400).is_ok();
    let held: Vec<u16> = (100..100 + 3 * all).filter(|&id| kept(&mut table, id)).collect();
    assert_eq!(held, (100 + 2 * all..100 + 3 * all).collect::<Vec<u16>>());
    assert_eq!(next(&mut table, &ipv4((9, 64), 8, false), 400), Ok(THEIRS.0));
}

#[test]
fn everybody_has_a_share_and_the_table_an_end() {
    let mut table = pieces();
    for owner in 0..abi::limits::ENVIRONMENTS_MAX as u32 {
        for n in 0..2 * DATAGRAMS_PER_OWNER as u16 {
            let id = owner as u16 * 64 + n;
            let whose = (BindingId::from_raw(1 << 32 | u64::from(owner)), EnvironmentId(owner));
            begin(&mut table, &ipv4((id, 0), 64, true), whose, u64::from(n)).unwrap();
        }
    }
    assert_eq!(table.places.len(), PLACES);
    for owner in 0..abi::limits::ENVIRONMENTS_MAX as u16 {
        let id = owner * 64 + 2 * DATAGRAMS_PER_OWNER as u16 - 1;
        let whose = BindingId::from_raw(1 << 32 | u64::from(owner));
        assert_eq!(next(&mut table, &ipv4((id, 64), 8, true), 100), Ok(whose));
    }
}

#[test]
fn a_datagram_comes_in_so_many_fragments() {
    let mut table = pieces();
    begin(&mut table, &ipv4((1, 0), 8, true), OURS, 0).unwrap();
    for n in 1..FRAGMENTS_MAX as u16 {
        assert_eq!(next(&mut table, &ipv4((1, 8 * n), 8, true), 0), Ok(OURS.0));
    }
    let one_more = ipv4((1, 8 * FRAGMENTS_MAX as u16), 8, true);
    assert_eq!(next(&mut table, &one_more, 0), Err(Reason::FragmentFlood));
    assert_eq!(next(&mut table, &one_more, 0), Err(Reason::Fragment));
}

#[test]
fn a_binding_that_goes_takes_its_datagrams_and_one_that_is_renamed_keeps_them() {
    let mut table = pieces();
    begin(&mut table, &ipv4((1, 0), 8, true), OURS, 0).unwrap();
    begin(&mut table, &ipv4((2, 0), 8, true), THEIRS, 0).unwrap();
    let new = BindingId::from_raw(2 << 32);
    table.rename(OURS.0, new);
    table.forget(THEIRS.0);
    assert_eq!(next(&mut table, &ipv4((1, 8), 8, true), 0), Ok(new));
    assert_eq!(next(&mut table, &ipv4((2, 8), 8, true), 0), Err(Reason::Fragment));
    // Whole datagrams, as RFC 6946 has them, are not waited for.
    begin(&mut table, &ipv6((3, 0), 8, false), OURS, 0).unwrap();
    assert_eq!(next(&mut table, &ipv6((3, 8), 8, false), 0), Err(Reason::Fragment));
}
