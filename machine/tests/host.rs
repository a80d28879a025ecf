//! The host's double refuses what bare metal refuses, and plays its scripts.

use runtime::pages::CodePages;
use sluice_machine::host::{self, Outcome, Turn};
use sluice_machine::{
    AddressSpace, Boot, Event, Fault, MapError, NicError, Rights, USER_END, UserContext, UserFault,
    idle, limits, time,
};

const READ: Rights = Rights { write: false, execute: false };
const WRITE: Rights = Rights { write: true, execute: false };

#[test]
fn frames_are_linear_and_counted() {
    let mut pool = Boot::host(100).frames;
    assert_eq!((pool.free(), pool.total()), (100, 100));
    let frame = pool.take().unwrap();
    assert!(!pool.is_free(frame.number()));
    assert!(pool.take_at(frame.number()).is_none());
    let number = frame.number();
    pool.give(frame);
    assert_eq!(pool.take_at(number).unwrap().number(), number);
    assert_eq!(pool.free(), 99);
    assert!(pool.take_run(100).is_none());
    let run = pool.take_run(50).unwrap();
    assert_eq!((run.count(), pool.free()), (50, 49));
    pool.give_run(run);
    assert_eq!(std::iter::from_fn(|| pool.take()).count(), 99);
}

#[test]
fn a_frame_is_read_and_written_within_its_bounds() {
    let frame = Boot::host(1).frames.take().unwrap();
    assert_ne!(frame.load_u64(8), 0, "fresh frames are not clean");
    frame.zero();
    frame.store_u32(4092, 0x0102_0304);
    let mut bytes = [0; 4];
    frame.read(4092, &mut bytes);
    assert_eq!(bytes, [4, 3, 2, 1]);
    frame.write(0, &[1; 4096]);
    assert_eq!(frame.load_u64(4088), 0x0101_0101_0101_0101);
    for bad in [
        || Boot::host(1).frames.take().unwrap().write(4093, &[0; 4]),
        || Boot::host(1).frames.take().unwrap().read(usize::MAX, &mut [0; 4]),
        || Boot::host(1).frames.take().unwrap().store_u32(2, 0),
        || assert_eq!(Boot::host(1).frames.take().unwrap().load_u64(4096), 0),
    ] {
        assert!(std::panic::catch_unwind(bad).is_err());
    }
}

#[test]
#[should_panic(expected = "given back while mapped")]
fn a_mapped_frame_cannot_be_given_back() {
    let mut pool = Boot::host(10).frames;
    let mut space = AddressSpace::new(&mut pool).unwrap();
    let frame = pool.take().unwrap();
    space.map(&mut pool, 0x1000, &frame, READ).unwrap();
    pool.give(frame);
}

#[test]
fn spaces_check_and_count_as_page_tables_do() {
    let mut pool = Boot::host(9).frames;
    let mut space = AddressSpace::new(&mut pool).unwrap();
    let frame = pool.take().unwrap();
    let both = Rights { write: true, execute: true };
    assert_eq!(space.map(&mut pool, 0, &frame, READ), Err(MapError::NotUser));
    assert_eq!(space.map(&mut pool, USER_END, &frame, READ), Err(MapError::NotUser));
    assert_eq!(space.map(&mut pool, 0x1800, &frame, READ), Err(MapError::Misaligned));
    assert_eq!(space.map(&mut pool, 0x1000, &frame, both), Err(MapError::WriteAndExecute));
    assert_eq!(space.map(&mut pool, 0x1000, &frame, WRITE), Ok(()));
    assert_eq!(space.map(&mut pool, 0x1000, &frame, READ), Err(MapError::Occupied));
    assert_eq!((space.table_frames(), pool.free()), (4, 4));
    assert_eq!(space.map(&mut pool, 0x2000, &frame, READ), Ok(()));
    assert_eq!(space.map(&mut pool, 0x7fff_ffff_e000, &frame, READ), Ok(()));
    assert_eq!((space.table_frames(), pool.free()), (7, 1));
    assert_eq!(space.map(&mut pool, 0x0100_0000_0000, &frame, READ), Err(MapError::NoFrames));
    assert_eq!(space.unmap(0x2000), Some(frame.number()));
    assert_eq!(space.unmap(0x2000), None);
    assert_eq!(space.lookup(0x1abc), Some((frame.number(), WRITE)));
    space.destroy(&mut pool);
    pool.give(frame);
    assert_eq!(pool.free(), 9);
}

#[test]
fn copies_stop_at_the_first_page_that_is_not_there() {
    let mut pool = Boot::host(20).frames;
    let mut space = AddressSpace::new(&mut pool).unwrap();
    let frames = [pool.take().unwrap(), pool.take().unwrap()];
    space.map(&mut pool, 0x1000, &frames[0], WRITE).unwrap();
    space.map(&mut pool, 0x2000, &frames[1], READ).unwrap();
    let mut bytes = [0; 8192];
    assert_eq!(space.read(0x1000, &mut bytes), Ok(()));
    assert_eq!(space.read(0x1001, &mut bytes), Err(UserFault { address: 0x3000 }));
    assert_eq!(space.write(0x1ffe, b"abc"), Err(UserFault { address: 0x2000 }));
    assert_eq!(space.read(0x1ffe, &mut bytes[..2]), Ok(()));
    assert_eq!(bytes[..2], *b"ab");
    for address in [0, u64::MAX - 1, 0xffff_8000_0000_0000, USER_END] {
        assert_eq!(space.read(address, &mut bytes), Err(UserFault { address }));
    }
}

#[test]
fn ring_3_plays_its_script() {
    let mut pool = Boot::host(20).frames;
    let space = AddressSpace::new(&mut pool).unwrap();
    let fault = Event::Fault(Fault { vector: 14, error: 4, address: 0 });
    let outcome = host::run(|| {
        host::script([
            Turn::syscall(7, &[1, 2, 3]),
            Turn::act(|registers, _| {
                assert_eq!(registers.rax, 42);
                registers.rip += 2;
                Event::Timer
            }),
            fault.into(),
        ]);
        let mut context = UserContext::new(0x1000, 0x2000, 5);
        assert_eq!(context.enter(&space), Event::Syscall);
        let r = &mut context.registers;
        assert_eq!([r.rax, r.rdi, r.rsi, r.rdx, r.r10], [7, 1, 2, 3, 0]);
        r.rax = 42;
        assert_eq!(context.enter(&space), Event::Timer);
        assert_eq!(context.registers.rip, 0x1002);
        assert_eq!(context.enter(&space), fault);
        context.enter(&space)
    });
    assert_eq!(outcome, Outcome::ScriptEnded);
    assert_eq!(host::run(|| sluice_machine::exit(3)), Outcome::Exited(3));
}

#[test]
fn idling_waits_for_the_card_or_the_clock() {
    let nic = Boot::host(1).nic.unwrap();
    host::set_clock(100);
    host::script([Event::Timer]);
    assert_eq!(idle(Some(500)), Event::Timer);
    assert_eq!((time::now_ns(), time::expired(500), time::expired(501)), (500, true, false));
    nic.wire().send(b"frame");
    assert_eq!(idle(None), Event::Nic);
    assert_eq!(host::run(|| idle(None)), Outcome::ScriptEnded);
}

#[test]
fn the_wire_carries_frames_both_ways() {
    let mut boot = Boot::host(4);
    let frame = boot.frames.take().unwrap();
    frame.write(10, b"rest");
    let mut nic = boot.nic.unwrap();
    let wire = nic.wire();
    wire.send(b"one");
    wire.send(&[0; limits::FRAME_MAX + 9]);
    let mut one = nic.receive().unwrap();
    one.frame_mut()[0] = b'O';
    assert_eq!((one.buffer().headroom(), one.len()), (runtime::packet::HEADROOM, 3));
    assert!(nic.reply(one).is_ok());
    let long = nic.receive().unwrap();
    assert_eq!(long.len(), limits::FRAME_MAX);
    assert_eq!(nic.in_flight().held, 1);
    nic.recycle(long);
    assert!(nic.receive().is_none());
    let id = nic.transmit(b"head+", Some((&frame, 10, 4))).unwrap();
    assert_eq!(wire.sent(), [b"One".to_vec(), b"head+rest".to_vec()]);
    assert_eq!((nic.completed(), nic.completed()), (Some(id), None));
    let too_long = Err(NicError::TooLong);
    assert_eq!(nic.transmit(&[0; limits::TRANSMIT_HEADER_MAX + 1], None), too_long);
    assert_eq!(nic.transmit(b"x", Some((&frame, 4095, 2))), too_long);
    assert_eq!(nic.transmit(b"x", Some((&frame, 1, usize::MAX))), too_long);
    assert_eq!(nic.transmit(b"", None), too_long);
    wire.stall(true);
    for _ in 0..limits::TRANSMIT_SLOTS {
        assert!(nic.transmit(b"x", None).is_ok());
    }
    assert_eq!(nic.transmit(b"x", None), Err(NicError::Full));
    assert_eq!(nic.completed(), None);
}

#[test]
fn code_pages_are_the_hosts() {
    let mut boot = Boot::host(1);
    let region = boot.code.reserve(10).unwrap();
    assert!(boot.code.write(&region, 4096, &[0]).is_err());
    boot.code.abandon(region);
}
