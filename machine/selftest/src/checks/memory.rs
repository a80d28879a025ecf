//! Address spaces, copies, arenas, code pages.

use super::ring3::{CODE, Program, STACK};
use crate::raw;
use alloc::vec::Vec;
use core::hint::black_box;
use machine::{AddressSpace, CodeWindow, FramePool, MapError, Rights, USER_END, UserFault, heap};
use runtime::pages::CodePages;

const READ: Rights = Rights { write: false, execute: false };
const WRITE: Rights = Rights { write: true, execute: false };
const KERNEL_TEXT: u64 = 0xffff_ffff_8010_0000;
const PHYSICAL_MAP: u64 = 0xffff_8000_0000_0000;

/// What must not be mapped is not, and everything comes back.
pub(crate) fn mapping(pool: &mut FramePool) {
    let (Ok(mut space), Some(frame)) = (AddressSpace::new(pool), pool.take()) else {
        panic!("no memory");
    };
    let both = Rights { write: true, execute: true };
    for (va, rights, error) in [
        (0, READ, MapError::NotUser),
        (USER_END, READ, MapError::NotUser),
        (KERNEL_TEXT, READ, MapError::NotUser),
        (0x1001, READ, MapError::Misaligned),
        (0x5000, both, MapError::WriteAndExecute),
    ] {
        assert_eq!(space.map(pool, va, &frame, rights), Err(error), "{va:#x}");
    }
    assert_eq!(space.table_frames(), 1);
    assert_eq!(space.map(pool, 0x5000, &frame, WRITE), Ok(()));
    assert_eq!(space.map(pool, 0x5000, &frame, WRITE), Err(MapError::Occupied));
    assert_eq!(space.map(pool, USER_END - 4096, &frame, READ), Ok(()));
    assert_eq!(space.table_frames(), 7);
    assert_eq!(space.lookup(0x5fff), Some((frame.number(), WRITE)));
    assert_eq!(space.lookup(0x6000), None);
    assert_eq!(space.unmap(0x5000), Some(frame.number()));
    assert_eq!((space.unmap(0x5000), space.unmap(KERNEL_TEXT)), (None, None));
    space.destroy(pool);
    pool.give(frame);
}

/// Copies stop where ring 3 would fault, and never fault themselves.
pub(crate) fn copies(pool: &mut FramePool) {
    let program = Program::new(pool, raw::CALLS, 0);
    let space = &program.space;
    let fault = |address| Err(UserFault { address });
    let end = STACK + 4096;
    let mut bytes = [0; 64];
    assert_eq!(space.write(end - 32, &[7; 64]), fault(end));
    assert_eq!(space.read(end - 32, &mut bytes), fault(end));
    assert_eq!(bytes[..33], [&[7; 32][..], &[0]].concat());
    assert_eq!(space.write(CODE, &[0]), fault(CODE));
    assert_eq!(space.read(CODE, &mut bytes), Ok(()));
    for address in [0, USER_END, KERNEL_TEXT, PHYSICAL_MAP, u64::MAX - 3, 0x8000_0000_0000] {
        assert_eq!(space.read(address, &mut bytes), fault(address));
        assert_eq!(space.write(address, &bytes), fault(address));
        assert_eq!(space.read(address, &mut []), Ok(()));
    }
    program.end(pool);
}

/// What is allocated in an arena stays there, and goes back there.
pub(crate) fn arenas(pool: &mut FramePool) {
    let Some(run) = pool.take_run(32) else { panic!("no memory") };
    let used = heap::used_bytes();
    let mut arena = heap::Arena::new(run);
    let inside = black_box(arena.enter(|| (0..5000_u64).collect::<Vec<_>>()));
    assert_eq!(heap::used_bytes(), used);
    let outside = black_box(alloc::vec![1_u8; 100]);
    assert!(heap::used_bytes() > used);
    let Err(busy) = arena.into_run() else { panic!("an arena in use was given back") };
    assert_eq!(busy.alive, 1);
    drop((inside, outside));

    let mut arena = busy.arena;
    let large = black_box(arena.enter(|| alloc::vec![1_u8; 1 << 20]));
    assert_eq!(heap::arena_overflows(), 1);
    drop(large);
    match arena.into_run() {
        Ok(run) => pool.give_run(run),
        Err(busy) => panic!("{busy:?}"),
    }
    assert_eq!(heap::used_bytes(), used);
}

/// Code can be written, then sealed, then called; and nothing else.
pub(crate) fn code(window: &mut CodeWindow) {
    let Ok(region) = window.reserve(10) else { panic!("no code pages") };
    assert_eq!(window.write(&region, 0, &[0xb8, 42, 0, 0, 0, 0xc3]), Ok(())); // mov eax, 42; ret
    assert!(window.write(&region, 4090, &[0; 7]).is_err());
    assert!(window.write(&region, usize::MAX, &[0; 7]).is_err());
    let Ok(sealed) = window.seal(region) else { panic!("not sealed") };
    assert_eq!(raw::call(sealed.base()), 42);
    window.free(sealed);
    assert_eq!(window.used(), 0);
    assert!(window.reserve(1 << 30).is_err());
}
