//! A binding that becomes two while its packets come in.

use abi::record::Record;
use sluice::machine::Board;
use sluice::{limits, parts};

use super::boots::{ready, turn};

#[test]
fn a_binding_becomes_two_under_traffic_and_no_packet_is_lost_or_doubled() {
    let _turn = turn();
    let machine = ready(Board::Q35, "log=info");
    // The last to bind but the program itself.
    machine.wait_serial("answers neighbour discovery", limits::CONTROL).unwrap();
    let (mark, before) = (machine.journal().mark(), machine.books().unwrap());
    let outcome = parts::run(&machine).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_whole(), "{outcome:?}\n{}", machine.serial());
    // More came at once than the program looks at at once: they came while the kernel proved.
    assert!(outcome.outstanding > 8, "{outcome:?}");
    // One binding, then two in its place.
    let [mut bound, mut unbound] = [0; 2];
    for record in machine.journal().since(mark) {
        match record.record {
            Record::Bound { .. } => bound += 1,
            Record::Unbound { .. } => unbound += 1,
            _ => {}
        }
    }
    assert!(bound == 3 && unbound >= 1, "{bound} bound, {unbound} gone");
    machine.command("kill parts").unwrap_or_default();
    let after = machine.books().unwrap();
    assert_eq!(after.rx.dropped, before.rx.dropped, "{before:?}\n{after:?}");
    assert_eq!((after.bindings, after.failing()), (before.bindings, None));
    assert_eq!(machine.audit().unwrap(), None);
}
