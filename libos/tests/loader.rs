//! The loader: a good image ends where it says, a lying one ends nowhere, a refusal leaves nothing.
#![cfg(test)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use abi::image::ImageError;
use abi::start::Start;
use abi::{Call, Handle, Rights, Status};
use sluice_libos::Env;
use sluice_libos::layout::{SCRATCH, STACK_PAGES, STACK_TOP, START};
use sluice_libos::loader::{LoadError, load};
use sluice_libos::sys::Request;
use sluice_libos::sys::host::{self, Guard};

const OWN: Env = Env(Handle(1));
const CHILD: u64 = 2;

#[derive(Default)]
struct Seen {
    /// Address to page and rights, in the child.
    mapped: BTreeMap<u64, (u64, u64)>,
    scratch: Option<u64>,
    pages: u64,
    started: Option<[u64; 6]>,
    killed: u64,
    /// The n-th page is refused.
    fail_at: Option<u64>,
}

fn kernel(fail_at: Option<u64>) -> (Rc<RefCell<Seen>>, Guard) {
    let seen = Rc::new(RefCell::new(Seen { fail_at, ..Seen::default() }));
    let inner = seen.clone();
    let guard = host::script(move |request| {
        let mut seen = inner.borrow_mut();
        match request {
            Request::Text { call: Call::EnvCreate, first: 40, bytes: b"child" } => (0, CHILD),
            Request::Plain { call, args } => plain(&mut seen, call, args),
            other => panic!("unexpected {other:?}"),
        }
    });
    (seen, guard)
}

fn plain(seen: &mut Seen, call: Call, args: [u64; 6]) -> (u64, u64) {
    match (call, args) {
        (Call::PageAlloc, [CHILD, u64::MAX, ..]) => {
            seen.pages += 1;
            if Some(seen.pages) == seen.fail_at {
                return (Status::NoMemory as u64, 0);
            }
            (0, 100 + seen.pages)
        }
        (Call::PageMap, [1, page, SCRATCH, ..]) => {
            assert_eq!(seen.scratch.replace(page), None);
            (0, 0)
        }
        (Call::PageUnmap, [1, SCRATCH, ..]) => {
            assert!(seen.scratch.take().is_some());
            (0, 0)
        }
        (Call::PageMap, [CHILD, page, at, rights, ..]) => {
            assert_eq!(seen.mapped.insert(at, (page, rights)), None);
            (0, 0)
        }
        (Call::CapDrop, _) => (0, 0),
        (Call::EnvStart, args) => {
            seen.started = Some(args);
            (0, 0)
        }
        (Call::EnvKill, [CHILD, ..]) => {
            seen.killed += 1;
            (0, 0)
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// One program header: flags, address, file bytes, bytes in memory.
type Piece<'a> = (u32, u64, &'a [u8], u64);

/// An ELF of these segments.
fn elf(entry: u64, pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend_from_slice(&entry.to_le_bytes());
    file.extend_from_slice(&64u64.to_le_bytes());
    file.extend_from_slice(&[0; 12]);
    file.extend_from_slice(&[64, 0, 56, 0, pieces.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
    let mut at = 64 + 56 * pieces.len() as u64;
    for (flags, address, bytes, memory) in pieces {
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        for word in [at, *address, *address, bytes.len() as u64, *memory, 0x1000] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        at += bytes.len() as u64;
    }
    pieces.iter().for_each(|(_, _, bytes, _)| file.extend_from_slice(bytes));
    file
}

fn content(seen: &Seen, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let (page, _) = seen.mapped[&(at & !0xfff)];
    host::page_window(Handle(page)).read((at & 0xfff) as usize, &mut bytes);
    bytes
}

const RX: u64 = Rights::READ.bits() as u64 | Rights::EXECUTE.bits() as u64;
const RW: u64 = Rights::READ.bits() as u64 | Rights::WRITE.bits() as u64;
const RO: u64 = Rights::READ.bits() as u64;

#[test]
fn bytes_and_rights_end_where_the_image_says() {
    let (seen, _guard) = kernel(None);
    let text: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    let file = elf(
        0x40_0010,
        &[
            (5, 0x40_0000, &text, 5000),
            (4, 0x40_2ff0, b"across the page boundary", 24),
            (6, 0x40_5000, b"data", 0x3000),
        ],
    );
    let loaded = load(OWN, "child", 40, &file).unwrap();
    let start = Start { version: abi::VERSION, name: "child".into(), ..Start::default() };
    assert_eq!(loaded.start(OWN, &start), Ok(Env(Handle(CHILD))));
    let seen = seen.borrow();
    assert_eq!(seen.started, Some([CHILD, 0x40_0010, STACK_TOP, START, 0, 0]));
    assert_eq!(content(&seen, 0x40_0000, 4096), text[..4096]);
    assert_eq!(content(&seen, 0x40_1000, 904), text[4096..]);
    assert_eq!(content(&seen, 0x40_1000 + 904, 8), [0; 8]);
    assert_eq!(content(&seen, 0x40_2ff0, 16), b"across the page ");
    assert_eq!(content(&seen, 0x40_3000, 10), b"boundary\0\0");
    assert_eq!(content(&seen, 0x40_5000, 5), b"data\0");
    assert_eq!(content(&seen, 0x40_7000, 8), [0; 8]);
    let rights = |at| seen.mapped[&at].1;
    assert_eq!([rights(0x40_1000), rights(0x40_2000), rights(0x40_7000)], [RX, RO, RW]);
    assert_eq!((rights(START), rights(STACK_TOP - 0x1000)), (RO, RW));
    let lowest = STACK_TOP - (STACK_PAGES as u64) * 0x1000;
    assert!(seen.mapped.contains_key(&lowest) && !seen.mapped.contains_key(&(lowest - 0x1000)));
    assert_eq!(seen.mapped.len(), 2 + 2 + 3 + STACK_PAGES + 1);
    assert_eq!(Start::decode(&content(&seen, START, 4096)), Some(start));
    assert_eq!(seen.killed, 0);
}

#[test]
fn images_that_lie_are_refused_before_anything_is_made() {
    let _guard = host::script(|request| panic!("asked for {request:?}"));
    let code = &[0x90; 16][..];
    let good = elf(0x40_0000, &[(5, 0x40_0000, code, 16)]);
    let refused = |file: &[u8]| match load(OWN, "child", 40, file) {
        Err(LoadError::Image { error }) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(b""), ImageError::NotElf);
    for length in 0..good.len() {
        refused(&good[..length]);
    }
    let mut other_machine = good.clone();
    other_machine[18] = 40;
    assert_eq!(refused(&other_machine), ImageError::WrongMachine);
    let cases: &[(&[Piece<'_>], ImageError)] = &[
        (&[(7, 0x40_0000, code, 16)], ImageError::WriteAndExecute { index: 0 }),
        (&[(5, 0x40_0000, code, 15)], ImageError::SegmentOutsideFile { index: 0 }),
        (&[(5, 0xffff_ffff_8000_0000, code, 16)], ImageError::SegmentOutsideUser { index: 0 }),
        (&[(5, 0x40_0000, code, u64::MAX)], ImageError::SegmentOutsideUser { index: 0 }),
        (&[(5, 0x40_0000, code, 1 << 40)], ImageError::SegmentOutsideUser { index: 0 }),
        (&[(5, 0, code, 16)], ImageError::SegmentOutsideUser { index: 0 }),
        (
            &[(5, 0x40_0000, code, 16), (6, 0x40_0800, code, 16)],
            ImageError::SharedPage { index: 1 },
        ),
        (&[(6, 0x40_0000, code, 16)], ImageError::BadEntry),
        (&[(5, 0x50_0000, code, 16)], ImageError::BadEntry),
        (&[(5, 0x40_0000, code, 16); 17], ImageError::TooManySegments),
    ];
    for (pieces, error) in cases {
        assert_eq!(refused(&elf(0x40_0000, pieces)), *error, "{pieces:?}");
    }
}

#[test]
fn a_refused_page_leaves_no_environment() {
    let file = elf(0x40_0000, &[(5, 0x40_0000, &[0x90; 5000], 5000)]);
    for fail_at in 1..=2 + STACK_PAGES as u64 {
        let (seen, _guard) = kernel(Some(fail_at));
        let error = load(OWN, "child", 40, &file).map(|_| ()).unwrap_err();
        let wanted = LoadError::Call { doing: "allocating a page", status: Status::NoMemory };
        assert_eq!((error, seen.borrow().killed), (wanted, 1));
    }
}

#[test]
fn a_start_block_that_is_too_long_leaves_no_environment() {
    let (seen, _guard) = kernel(None);
    let file = elf(0x40_0000, &[(5, 0x40_0000, &[0x90; 16], 16)]);
    let loaded = load(OWN, "child", 40, &file).unwrap();
    let arguments = "x".repeat(70_000);
    let start = Start { version: abi::VERSION, arguments, ..Start::default() };
    assert!(matches!(loaded.start(OWN, &start), Err(LoadError::StartTooLong { .. })));
    assert_eq!(seen.borrow().killed, 1);
}
