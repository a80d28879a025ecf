//! Objects in a library OS: which maps are made, what is written into them, and what is said of
//! those that cannot be had.
#![cfg(test)]

use std::cell::RefCell;
use std::rc::Rc;

use abi::map::{MapRequest, READ_ONLY};
use abi::{Call, Handle, Status};
use ebpf::Kind;
use sluice_libos::object::{HandlerError, Handlers};
use sluice_libos::sys::host::{self, Guard};
use sluice_libos::sys::{MapMemory, Request};
use zerocopy::FromBytes;

const SEVERAL: &[u8] = include_bytes!("../../testdata/objects/several.o");
const UNSUPPORTED: &[u8] = include_bytes!("../../testdata/objects/unsupported.o");

#[derive(Default)]
struct Seen {
    /// Name, kind, flags, by handle from 100 on.
    made: Vec<(String, u64, u64)>,
    /// What was written into which map.
    written: Vec<(u64, Vec<u8>)>,
    dropped: Vec<u64>,
    /// The n-th map is not made; the n-th is not written.
    fail_make: Option<usize>,
    fail_write: Option<usize>,
}

fn kernel(seen: Seen) -> (Rc<RefCell<Seen>>, Guard) {
    let seen = Rc::new(RefCell::new(seen));
    let inner = seen.clone();
    let guard = host::script(move |request| {
        let mut seen = inner.borrow_mut();
        match request {
            Request::Block { call: Call::MapCreate, bytes } => {
                let request = MapRequest::read_from_bytes(bytes).unwrap();
                let name = String::from_utf8(request.name.to_vec()).unwrap();
                let name = name.trim_end_matches('\0').to_owned();
                if seen.fail_make == Some(seen.made.len()) {
                    return (Status::NoMemory as u64, 0);
                }
                seen.made.push((name, request.kind, request.flags));
                (0, 99 + seen.made.len() as u64)
            }
            Request::Map { call: Call::MapUpdate, map, key, memory, flags: 0 } => {
                assert_eq!(key, [0; 4]);
                if seen.fail_write == Some(seen.written.len()) {
                    return (Status::BadAddress as u64, 0);
                }
                let MapMemory::Value(value) = memory else { panic!("no value") };
                seen.written.push((map.0, value.to_vec()));
                (0, 0)
            }
            Request::Plain { call: Call::CapDrop, args } => {
                seen.dropped.push(args[0]);
                (0, 0)
            }
            other => panic!("{other:?}"),
        }
    });
    (seen, guard)
}

#[test]
fn each_map_is_made_once_and_filled_as_the_object_says() {
    let (seen, _guard) = kernel(Seen::default());
    let mut handlers = Handlers::open(SEVERAL).unwrap();
    assert!(seen.borrow().made.is_empty(), "nothing before it is needed");
    let names: Vec<String> =
        handlers.object().programs().iter().map(|program| program.name().to_owned()).collect();
    for name in &names {
        let handler = handlers.handler(name).unwrap();
        let program = ebpf::decode(&handler.code, Kind::Ash, 4096).unwrap();
        let linked = handlers.object().program(name).unwrap();
        assert_eq!(program.insns(), linked.program().unwrap().insns());
        assert_eq!(handler.maps.len(), linked.maps().len());
        for (handle, &map) in handler.maps.iter().zip(linked.maps()) {
            let made = &seen.borrow().made[handle.0 as usize - 100];
            assert!(handlers.object().maps()[map].name().starts_with(&made.0));
        }
        assert_eq!(handlers.handler(name).unwrap(), handler, "the same maps again");
    }
    let seen = seen.borrow();
    let mut made: Vec<&str> = seen.made.iter().map(|map| map.0.as_str()).collect();
    made.sort_unstable();
    let before = made.len();
    made.dedup();
    assert_eq!(made.len(), before, "{made:?}");
    let at = |name: &str| seen.made.iter().position(|map| map.0 == name).unwrap();
    let constants = at(".rodata");
    assert_eq!((seen.made[constants].1, seen.made[constants].2), (2, READ_ONLY));
    let written = seen.written.iter().find(|(map, _)| *map == 100 + constants as u64);
    assert!(written.unwrap().1.windows(16).any(|bytes| bytes == b"0123456789abcdef"));
    let data = seen.written.iter().find(|(map, _)| *map == 100 + at(".data") as u64);
    assert_eq!(data.unwrap().1[..8], 3_u64.to_le_bytes());
    let zeroes = 100 + at(".bss") as u64;
    assert!(seen.written.iter().all(|(map, _)| *map != zeroes), "a new map is zero");
}

#[test]
fn a_map_is_had_by_name_and_by_its_sizes() {
    let (seen, _guard) = kernel(Seen::default());
    let mut handlers = Handlers::open(SEVERAL).unwrap();
    let verdicts = handlers.map::<u32, u64>("verdicts").unwrap();
    assert_eq!(verdicts.handle(), Handle(100));
    assert_eq!(handlers.map::<u32, u64>("verdicts").unwrap(), verdicts);
    let wrong = handlers.map::<u32, u32>("verdicts").unwrap_err();
    assert!(matches!(wrong, HandlerError::Sizes { object: (4, 8), types: (4, 4), .. }), "{wrong}");
    let none = handlers.map::<u32, u32>("nobody").unwrap_err();
    assert_eq!(none.to_string(), "the object has no map `nobody`");
    assert_eq!(seen.borrow().made.len(), 1);
}

#[test]
fn a_map_that_the_kernel_refuses_leaves_nothing() {
    let (seen, _guard) = kernel(Seen { fail_write: Some(0), ..Seen::default() });
    let mut handlers = Handlers::open(SEVERAL).unwrap();
    let failed = handlers.map::<u32, u64>(".data").unwrap_err();
    assert!(matches!(failed, HandlerError::Kernel { call: Call::MapUpdate, .. }), "{failed}");
    assert_eq!(seen.borrow().dropped, [100]);
    seen.borrow_mut().fail_write = None;
    assert!(handlers.map::<u32, u64>(".data").is_ok(), "and the next attempt makes it");
    drop(handlers);

    let made = seen.borrow().made.len();
    seen.borrow_mut().fail_make = Some(made);
    let mut handlers = Handlers::open(SEVERAL).unwrap();
    let failed = handlers.handler("digit").unwrap_err();
    assert!(failed.to_string().ends_with("MapCreate answered NoMemory"), "{failed}");
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let (seen, _guard) = kernel(Seen::default());
    let error = Handlers::open(b"\x7fELF no more").unwrap_err();
    assert!(error.to_string().starts_with("the object: "), "{error}");
    let mut handlers = Handlers::open(SEVERAL).unwrap();
    let error = handlers.handler("Pass").unwrap_err();
    assert!(error.to_string().contains("no program `Pass`; it has "), "{error}");
    let mut handlers = Handlers::open(UNSUPPORTED).unwrap();
    let names: Vec<String> =
        handlers.object().programs().iter().map(|program| program.name().to_owned()).collect();
    let mut refused = 0;
    for name in names {
        match handlers.handler(&name) {
            Err(HandlerError::Program { name: named, section, .. }) => {
                assert!(named == name && !section.is_empty());
                refused += 1;
            }
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => {}
        }
    }
    assert!(refused > 0 && seen.borrow().made.len() <= 1);
}
