//! Grants: derived, refused, held, revoked, collected.

use abi::refusal::{Blame, Code};
use abi::{Call, Status};

use crate::binding::bind_filter;
use crate::harness::{Machine, derive, filter, refusal};

const PUBLIC: &str = "udp and dst host 10.0.2.15 and dst portrange 7000-7999";

#[test]
fn a_child_is_inside_its_parent_and_apart_from_its_siblings() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (status, public) = derive(&mut machine, root, &filter(PUBLIC), &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let narrow = filter("udp and dst host 10.0.2.15 and dst port 7100");
    let (status, _) = derive(&mut machine, public, &narrow, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let outside = filter("udp and dst host 10.0.2.15 and dst port 8000");
    assert_eq!(derive(&mut machine, public, &outside, &[]).0, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).code, Code::OutsideGrant);
    let sibling = filter("udp and dst host 10.0.2.15 and dst portrange 7050-7150");
    assert_eq!(derive(&mut machine, public, &sibling, &[]).0, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!(record.code, Code::Overlap);
    assert!(record.witness.is_some());
    machine.audit();
    assert_eq!(machine.kernel.books().grants, 3);
}

#[test]
fn a_transmit_space_of_ones_own_is_held_to_the_parents() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let source = filter("udp and src host 10.0.2.15 and src portrange 7000-7999");
    let (status, public) = derive(&mut machine, root, &filter(PUBLIC), &source);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let narrow = filter("udp and dst host 10.0.2.15 and dst port 7100");
    let spoof = filter("udp and src port 53");
    assert_eq!(derive(&mut machine, public, &narrow, &spoof).0, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!((record.code, record.blame), (Code::OutsideGrant, Blame::Transmit));
    machine.audit();
}

#[test]
fn a_space_that_has_no_mirror_is_refused_by_name() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let any = filter("greater 100");
    assert_eq!(derive(&mut machine, root, &any, &[]).0, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).code, Code::NoMirror);
}

#[test]
fn a_guard_that_would_look_beyond_the_copy_is_refused() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let far = filter("ether[300] = 7");
    assert_eq!(derive(&mut machine, root, &filter(PUBLIC), &far).0, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!(record.limit, Some(("GUARDED_BYTES_MAX".into(), 256)));
}

#[test]
fn revocation_takes_the_whole_subtree() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (_, public) = derive(&mut machine, root, &filter(PUBLIC), &[]);
    let narrow = filter("udp and dst host 10.0.2.15 and dst port 7100");
    let (_, child) = derive(&mut machine, public, &narrow, &[]);
    let (status, binding) = bind_filter(&mut machine, child, &narrow);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.ok(Call::GrantRevoke, &[public]);
    machine.audit();
    let books = machine.kernel.books();
    assert_eq!((books.grants, books.bindings), (1, 0));
    for handle in [public, child, binding] {
        assert_eq!(machine.call(Call::CapInspect, &[handle]).0, Status::BadHandle);
        machine.ok(Call::CapDrop, &[handle]);
    }
    assert_eq!(machine.call(Call::GrantRevoke, &[root]).0, Status::MissingRight);
    // What was taken back can be given again.
    assert_eq!(derive(&mut machine, root, &filter(PUBLIC), &[]).0, Status::Ok);
}

#[test]
fn a_grant_goes_with_its_last_holder_unless_something_stands_under_it() {
    let mut machine = Machine::new();
    let root = machine.handle("grant:root");
    let (_, public) = derive(&mut machine, root, &filter(PUBLIC), &[]);
    let copy = machine.ok(Call::CapDerive, &[public, 32]);
    machine.ok(Call::CapDrop, &[public]);
    assert_eq!(machine.kernel.books().grants, 2);
    let narrow = filter("udp and dst host 10.0.2.15 and dst port 7100");
    let (_, binding) = bind_filter(&mut machine, copy, &narrow);
    machine.ok(Call::CapDrop, &[copy]);
    assert_eq!(machine.kernel.books().grants, 2);
    machine.ok(Call::Unbind, &[binding]);
    assert_eq!(machine.kernel.books().grants, 1);
    machine.audit();
}
