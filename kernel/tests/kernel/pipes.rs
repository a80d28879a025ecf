//! Pipes: delivery is copy, sums and the rest in one loop.

use abi::books::Reason;
use abi::download::{
    PASS_CHECKSUM, PASS_COPY, PASS_SWAP_16, PASS_XOR, SLOT_FLAGS, SLOT_PIPED, SLOT_SUMS,
};
use abi::{Call, Rights, Status};
use dpf::dilp::{Pass, Pipeline, sequential};

use crate::downloads::{bound, stats};
use crate::harness::{CONTROL, FORGED, Machine, RECEIVE, SCRATCH, udp};

const KEY: u64 = 0xdead_beef;
const AT: u64 = SCRATCH + 0x5000;

fn set(machine: &mut Machine, binding: u64, passes: &[u64]) -> (Status, u64) {
    let bytes: Vec<u8> = passes.iter().flat_map(|pass| pass.to_le_bytes()).collect();
    machine.write(machine.init, AT, &bytes);
    machine.call(Call::PipeSet, &[binding, AT, bytes.len() as u64])
}

#[test]
fn a_delivered_packet_is_what_the_passes_make_of_it_one_after_the_other() {
    let (mut machine, binding) = bound("log=off", &[], 1);
    let passes = [PASS_CHECKSUM, PASS_SWAP_16, PASS_XOR | KEY << 32, PASS_CHECKSUM];
    assert_eq!(set(&mut machine, binding, &passes).0, Status::Ok);
    let meant = [Pass::Checksum, Pass::Swap16, Pass::Xor(KEY as u32), Pass::Checksum];
    let meant = Pipeline::new(&meant).unwrap();
    for length in [0, 1, 2, 3, 1001, 1480] {
        let mut frame = udp(9, 7, &vec![0x5a; length]);
        machine.receive(&frame);
        let produced = machine.read_u32(machine.init, CONTROL);
        machine.write(machine.init, CONTROL + 64, &produced.to_le_bytes());
        let slot = RECEIVE + u64::from((produced - 1) % 2) * 2048;
        let sums = sequential(&meant, &mut frame);
        assert_eq!(machine.read(machine.init, slot + 16, frame.len()), frame, "{length}");
        assert_eq!(machine.read_u32(machine.init, slot + SLOT_FLAGS as u64), SLOT_PIPED);
        for (place, sum) in (0..).zip(sums) {
            let got = machine.read_u32(machine.init, slot + SLOT_SUMS as u64 + 4 * place);
            assert_eq!(got, u32::from(sum));
        }
    }
    assert_eq!(stats(&mut machine, binding).piped, 6);
    assert_eq!(set(&mut machine, binding, &[]).0, Status::Ok);
    let frame = udp(9, 7, b"plain again");
    machine.receive(&frame);
    assert_eq!(machine.read(machine.init, RECEIVE + 16, frame.len()), frame);
    assert_eq!(machine.read_u32(machine.init, RECEIVE + SLOT_FLAGS as u64), 0);
    machine.audit();
}

#[test]
fn what_is_no_pipe_is_refused_and_changes_nothing() {
    let (mut machine, binding) = bound("log=off", &[], 1);
    assert_eq!(set(&mut machine, binding, &[PASS_COPY]).0, Status::Ok);
    let nine = [PASS_COPY; 9];
    let three = [PASS_CHECKSUM; 3];
    for wrong in [&[5][..], &[u64::MAX], &[PASS_COPY | KEY << 32], &[0x100], &nine, &three] {
        assert_eq!(set(&mut machine, binding, wrong).0, Status::BadArgument, "{wrong:x?}");
    }
    assert_eq!(set(&mut machine, FORGED, &[PASS_COPY]).0, Status::BadHandle);
    let own = machine.handle("self");
    assert_eq!(set(&mut machine, own, &[PASS_COPY]).0, Status::WrongKind);
    let weak = machine.ok(Call::CapDerive, &[binding, u64::from(Rights::READ.bits())]);
    assert_eq!(set(&mut machine, weak, &[PASS_COPY]).0, Status::MissingRight);
    let nowhere = [binding, 0x7000_0000_0000, 16];
    assert_eq!(machine.call(Call::PipeSet, &nowhere).0, Status::BadAddress);
    for bytes in [1, 12, 63, 72, u64::MAX] {
        assert_eq!(machine.call(Call::PipeSet, &[binding, AT, bytes]).0, Status::BadArgument);
    }
    machine.receive(&udp(9, 7, b"x"));
    assert_eq!(stats(&mut machine, binding).piped, 1);
    machine.audit();
}

#[test]
fn somebody_elses_binding_gets_no_pipe() {
    let (mut machine, binding) = bound("log=off", &[], 1);
    let (child, handle, _) = machine.child(200);
    let rights = Rights::READ | Rights::TRANSMIT | Rights::REVOKE;
    let passed = machine.ok(Call::CapGrant, &[binding, handle, u64::from(rights.bits())]);
    machine.write(child, SCRATCH, &PASS_COPY.to_le_bytes());
    let (status, _) = machine.call_as(child, Call::PipeSet, &[passed, SCRATCH, 8]);
    assert_eq!(status, Status::MissingRight);
    machine.audit();
}

#[test]
fn pipes_come_and_go_with_their_bindings_and_leave_nothing_behind() {
    let (mut machine, binding) = bound("log=off", &[], 1);
    let before = machine.kernel.books().frames;
    for round in 0..2_000_u64 {
        let passes = [PASS_XOR | round << 32, PASS_CHECKSUM];
        assert_eq!(set(&mut machine, binding, &passes).0, Status::Ok, "round {round}");
    }
    machine.receive(&udp(9, 7, b"x"));
    machine.ok(Call::Unbind, &[binding]);
    machine.receive(&udp(9, 7, b"x"));
    assert_eq!(machine.kernel.books().rx.dropped[Reason::Unbound as usize], 1);
    assert_eq!(machine.kernel.books().frames, before);
}
