//! Maps: made, used, shared, paid for, given back; and what hostile callers get.

use abi::bind::{BindRequest, MapList, WITH_MAPS};
use abi::map::{EXIST, MAPS_MAX, MapRequest, NO_EXIST, READ_ONLY, sizes};
use abi::record::Record;
use abi::{Call, Status};
use kernel::EnvironmentId;
use zerocopy::IntoBytes;

use crate::harness::{Machine, REFUSAL, SCRATCH, ash, filter, udp};

const BLOCK: u64 = SCRATCH + 0x3000;
const KEY: u64 = SCRATCH + 0x3100;
const VALUE: u64 = SCRATCH + 0x3200;
const NEXT: u64 = SCRATCH + 0x3400;
const CODE: u64 = SCRATCH + 0x2000;
/// Of keys and values, and of keys alone.
const BOTH: u64 = sizes(4, 8);
const ONE: u64 = sizes(4, 0);
const HASH: MapRequest = MapRequest {
    kind: 1,
    key_size: 4,
    value_size: 8,
    max_entries: 4,
    flags: 0,
    name: *b"counts\0\0\0\0\0\0\0\0\0\0",
};
const ARRAY: MapRequest = MapRequest { kind: 2, ..HASH };

fn create_as(machine: &mut Machine, who: EnvironmentId, request: MapRequest) -> (Status, u64) {
    machine.write(who, BLOCK, request.as_bytes());
    machine.call_as(who, Call::MapCreate, &[BLOCK])
}

fn create(machine: &mut Machine, request: MapRequest) -> (Status, u64) {
    let init = machine.init;
    create_as(machine, init, request)
}

fn made(machine: &mut Machine, request: MapRequest) -> u64 {
    let (status, map) = create(machine, request);
    assert_eq!(status, Status::Ok);
    map
}

fn update(machine: &mut Machine, map: u64, key: u32, value: u64, flags: u64) -> Status {
    machine.write(machine.init, KEY, &key.to_le_bytes());
    machine.write(machine.init, VALUE, &value.to_le_bytes());
    machine.call(Call::MapUpdate, &[map, KEY, VALUE, flags, BOTH]).0
}

fn lookup(machine: &mut Machine, map: u64, key: u32) -> Result<u64, Status> {
    machine.write(machine.init, KEY, &key.to_le_bytes());
    match machine.call(Call::MapLookup, &[map, KEY, VALUE, 0, BOTH]).0 {
        Status::Ok => {
            let bytes = machine.read(machine.init, VALUE, 8);
            Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
        }
        status => Err(status),
    }
}

#[test]
fn entries_come_and_go_as_in_linux() {
    let mut machine = Machine::new();
    let map = made(&mut machine, HASH);
    assert_eq!(lookup(&mut machine, map, 7), Err(Status::NoEntry));
    assert_eq!(update(&mut machine, map, 7, 70, EXIST), Status::NoEntry);
    assert_eq!(update(&mut machine, map, 7, 70, 0), Status::Ok);
    assert_eq!(update(&mut machine, map, 7, 71, NO_EXIST), Status::Exists);
    assert_eq!(update(&mut machine, map, 7, 71, EXIST), Status::Ok);
    assert_eq!(update(&mut machine, map, 7, 71, 3), Status::BadArgument);
    assert_eq!(lookup(&mut machine, map, 7), Ok(71));
    for key in 0..3 {
        assert_eq!(update(&mut machine, map, key, key.into(), 0), Status::Ok);
    }
    assert_eq!(update(&mut machine, map, 99, 0, 0), Status::Limit);
    let (mut keys, mut from) = (Vec::new(), 0);
    while machine.call(Call::MapNext, &[map, from, NEXT, 0, ONE]).0 == Status::Ok {
        keys.push(machine.read_u32(machine.init, NEXT));
        from = NEXT;
    }
    assert_eq!(keys, [7, 0, 1, 2]);
    machine.write(machine.init, KEY, &7_u32.to_le_bytes());
    assert_eq!(machine.call(Call::MapDelete, &[map, KEY, 0, 0, ONE]).0, Status::Ok);
    assert_eq!(machine.call(Call::MapDelete, &[map, KEY, 0, 0, ONE]).0, Status::NoEntry);
    machine.audit();
}

#[test]
fn arrays_are_there_from_the_start() {
    let mut machine = Machine::new();
    let map = made(&mut machine, ARRAY);
    assert_eq!(lookup(&mut machine, map, 3), Ok(0));
    assert_eq!(lookup(&mut machine, map, 4), Err(Status::NoEntry));
    assert_eq!(update(&mut machine, map, 4, 1, 0), Status::Limit);
    assert_eq!(update(&mut machine, map, 3, 5, 0), Status::Ok);
    assert_eq!(lookup(&mut machine, map, 3), Ok(5));
    assert_eq!(machine.call(Call::MapDelete, &[map, KEY, 0, 0, ONE]).0, Status::BadArgument);
}

#[test]
fn a_large_value_is_copied_whole() {
    let mut machine = Machine::new();
    let map = made(&mut machine, MapRequest { value_size: 3001, ..ARRAY });
    let value: Vec<u8> = (0..3001).map(|at| (at % 251) as u8).collect();
    let (from, into) = (SCRATCH + 0x4000, SCRATCH + 0x6000);
    machine.write(machine.init, from, &value);
    machine.write(machine.init, KEY, &2_u32.to_le_bytes());
    machine.ok(Call::MapUpdate, &[map, KEY, from, 0, sizes(4, 3001)]);
    machine.ok(Call::MapLookup, &[map, KEY, into, 0, sizes(4, 3001)]);
    assert_eq!(machine.read(machine.init, into, 3001), value);
    assert_eq!(machine.read(machine.init, into + 3001, 1), [0]);
}

#[test]
fn what_is_no_map_is_refused_and_costs_nothing() {
    let mut machine = Machine::new();
    let before = machine.kernel.books().frames;
    let bad = [
        MapRequest { kind: 0, ..HASH },
        MapRequest { kind: 27, ..HASH },
        MapRequest { kind: 1 << 32 | 1, ..HASH },
        MapRequest { key_size: 0, ..HASH },
        MapRequest { key_size: 257, ..HASH },
        MapRequest { value_size: 0, ..HASH },
        MapRequest { value_size: u64::MAX, ..HASH },
        MapRequest { max_entries: 0, ..HASH },
        MapRequest { max_entries: u64::from(u32::MAX), ..HASH },
        MapRequest { flags: 2, ..HASH },
        MapRequest { flags: READ_ONLY, ..HASH },
        MapRequest { kind: 2, key_size: 8, ..HASH },
        MapRequest { kind: 11, ..HASH },
    ];
    for request in bad {
        assert_eq!(create(&mut machine, request).0, Status::BadArgument, "{request:?}");
    }
    let large = MapRequest { value_size: 32 << 10, max_entries: 128, ..HASH };
    assert_eq!(create(&mut machine, large).0, Status::Limit);
    assert_eq!(machine.call(Call::MapCreate, &[1 << 47]).0, Status::BadAddress);
    assert_eq!(machine.kernel.books().frames, before);
    machine.audit();
}

#[test]
fn a_bomb_of_maps_stops_at_quota_and_count_and_goes_with_its_maker() {
    let mut machine = Machine::new();
    let before = machine.kernel.books().frames;
    let (child, handle, _) = machine.child(64);
    // 64 frames hold no map of a megabyte.
    let large = MapRequest { value_size: 4096, max_entries: 256, ..HASH };
    assert_eq!(create_as(&mut machine, child, large).0, Status::NoMemory);
    let mut many = 0;
    while create_as(&mut machine, child, ARRAY).0 == Status::Ok {
        many += 1;
        assert!(many <= MAPS_MAX);
    }
    assert!(many > 4);
    machine.audit();
    machine.ok(Call::EnvKill, &[handle]);
    machine.ok(Call::CapDrop, &[handle]);
    assert_eq!(machine.kernel.books().frames, before);
    for _ in 0..MAPS_MAX {
        made(&mut machine, ARRAY);
    }
    assert_eq!(create(&mut machine, ARRAY).0, Status::Limit);
    machine.audit();
}

#[test]
fn a_map_goes_with_its_last_capability() {
    let mut machine = Machine::new();
    let map = made(&mut machine, HASH);
    let with_map = machine.kernel.books().frames;
    let second = machine.ok(Call::CapDerive, &[map, 1]);
    machine.ok(Call::CapDrop, &[map]);
    assert_eq!(machine.kernel.books().frames, with_map);
    assert_eq!(lookup(&mut machine, second, 1), Err(Status::NoEntry));
    assert_eq!(update(&mut machine, second, 1, 1, 0), Status::MissingRight);
    assert_eq!(machine.call(Call::MapDelete, &[second, KEY, 0, 0, ONE]).0, Status::MissingRight);
    machine.ok(Call::CapDrop, &[second]);
    assert!(machine.kernel.books().frames.free > with_map.free);
    assert_eq!(lookup(&mut machine, second, 1), Err(Status::BadHandle));
    machine.audit();
}

#[test]
fn a_map_that_is_passed_on_stays_its_owner_s() {
    let mut machine = Machine::new();
    let map = made(&mut machine, HASH);
    update(&mut machine, map, 1, 11, 0);
    let (child, handle, _) = machine.child(64);
    let theirs = machine.ok(Call::CapGrant, &[map, handle, 1]);
    machine.write(child, KEY, &1_u32.to_le_bytes());
    machine.ok_as(child, Call::MapLookup, &[theirs, KEY, VALUE, 0, BOTH]);
    assert_eq!(machine.read(child, VALUE, 1), [11]);
    assert_eq!(
        machine.call_as(child, Call::MapUpdate, &[theirs, KEY, VALUE, 0, BOTH]).0,
        Status::MissingRight
    );
    // The owner drops its own: the other's holds it, still at the owner's cost.
    machine.ok(Call::CapDrop, &[map]);
    machine.ok_as(child, Call::MapLookup, &[theirs, KEY, VALUE, 0, BOTH]);
    machine.audit();
    machine.ok_as(child, Call::CapDrop, &[theirs]);
    let (status, _) = machine.call_as(child, Call::MapLookup, &[theirs, KEY, VALUE, 0, BOTH]);
    assert_eq!(status, Status::BadHandle);
    machine.audit();
}

#[test]
fn hostile_handles_and_addresses_reach_nothing() {
    let mut machine = Machine::new();
    let map = made(&mut machine, HASH);
    let others =
        [0, u64::MAX, map + 1, map ^ 1 << 32, machine.handle("self"), machine.handle("grant:root")];
    for handle in others {
        for call in [Call::MapLookup, Call::MapUpdate, Call::MapDelete, Call::MapNext] {
            let (status, _) = machine.call(call, &[handle, KEY, VALUE, 0]);
            assert!(
                matches!(status, Status::BadHandle | Status::WrongKind),
                "{call:?} {handle:#x}"
            );
        }
    }
    update(&mut machine, map, 1, 5, 0);
    for bad in [1, 1 << 47, u64::MAX, u64::MAX - 3, 0xffff_8000_0000_0000] {
        assert_eq!(
            machine.call(Call::MapLookup, &[map, bad, VALUE, 0, BOTH]).0,
            Status::BadAddress
        );
        assert_eq!(machine.call(Call::MapLookup, &[map, KEY, bad, 0, BOTH]).0, Status::BadAddress);
        assert_eq!(machine.call(Call::MapUpdate, &[map, KEY, bad, 0, BOTH]).0, Status::BadAddress);
        assert_eq!(machine.call(Call::MapDelete, &[map, bad, 0, 0, ONE]).0, Status::BadAddress);
        assert_eq!(machine.call(Call::MapNext, &[map, bad, NEXT, 0, ONE]).0, Status::BadAddress);
        assert_eq!(machine.call(Call::MapNext, &[map, 0, bad, 0, ONE]).0, Status::BadAddress);
    }
    // Who is wrong about the sizes is refused, before anything is read or written.
    for wrong in [0, ONE, sizes(8, 8), sizes(4, 16), u64::MAX] {
        for call in [Call::MapLookup, Call::MapUpdate] {
            assert_eq!(machine.call(call, &[map, KEY, VALUE, 0, wrong]).0, Status::BadArgument);
        }
    }
    assert_eq!(machine.call(Call::MapNext, &[map, 0, NEXT, 0, BOTH]).0, Status::BadArgument);
    // A value that cannot be read leaves no entry behind.
    machine.write(machine.init, KEY, &9_u32.to_le_bytes());
    assert_eq!(machine.call(Call::MapUpdate, &[map, KEY, 1 << 47, 0, BOTH]).0, Status::BadAddress);
    assert_eq!(lookup(&mut machine, map, 9), Err(Status::NoEntry));
    assert_eq!(lookup(&mut machine, map, 1), Ok(5));
    machine.audit();
}

#[test]
fn every_reservation_may_fail_and_leaves_nothing() {
    let mut failed = 0;
    for fail in 1..80 {
        let command = format!("log=off fail_reservation={fail}");
        let Ok(mut machine) = Machine::try_boot(command.leak(), true) else { continue };
        let before = machine.kernel.books().frames;
        let (status, map) = create(&mut machine, HASH);
        machine.audit();
        if status == Status::Ok {
            machine.ok(Call::CapDrop, &[map]);
        } else {
            assert_eq!(status, Status::NoMemory);
            failed += 1;
        }
        assert_eq!(machine.kernel.books().frames, before);
    }
    assert!(failed > 0, "no reservation of the call's was hit");
}

/// Binds a handler with maps to the echo port; its filter accepts UDP to port 7.
fn bind(machine: &mut Machine, text: &str, maps: &[u64]) -> (Status, u64) {
    let (filter, ash) = (filter("udp and dst port 7"), ash(text));
    let (who, list) = (machine.init, BLOCK + 0x100);
    machine.write(who, CODE, &filter);
    machine.write(who, CODE + 0x800, &ash);
    let bytes: Vec<u8> = maps.iter().flat_map(|map| map.to_le_bytes()).collect();
    machine.write(who, list, &bytes);
    let request = BindRequest {
        filter: CODE,
        filter_bytes: filter.len() as u64,
        ash: CODE + 0x800,
        ash_bytes: ash.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        flags: WITH_MAPS,
        ..Default::default()
    };
    machine.write(who, BLOCK, request.as_bytes());
    let behind = BLOCK + size_of::<BindRequest>() as u64;
    let maps = MapList { maps: list, count: maps.len() as u64 };
    machine.write(who, behind, maps.as_bytes());
    let root = machine.handle("grant:root");
    machine.call(Call::Bind, &[root, BLOCK])
}

const PASS: &str = "mov %r0, 1\nexit";

#[test]
fn only_one_s_own_maps_with_both_rights_are_bound() {
    let mut machine = Machine::new();
    let map = made(&mut machine, ARRAY);
    let readable = machine.ok(Call::CapDerive, &[map, 1]);
    let page = machine.handle("self");
    assert_eq!(bind(&mut machine, PASS, &[readable]).0, Status::MissingRight);
    assert_eq!(bind(&mut machine, PASS, &[page]).0, Status::WrongKind);
    assert_eq!(bind(&mut machine, PASS, &[map, map ^ 1 << 40]).0, Status::BadHandle);
    assert_eq!(bind(&mut machine, PASS, &[map; MAPS_MAX + 1]).0, Status::BadArgument);
    // A map of the child's, passed up: its owner pays for it, so no other's handler stands on it.
    let (child, handle, own) = machine.child(128);
    let theirs = create_as(&mut machine, child, ARRAY).1;
    let me = machine.handle("self");
    let init = machine.ok(Call::CapGrant, &[me, handle, 64]);
    let up = machine.ok_as(child, Call::CapGrant, &[theirs, init, 3]);
    assert_eq!(bind(&mut machine, PASS, &[up]).0, Status::BadArgument);
    assert_ne!(own, up);
    machine.audit();
}

#[test]
fn a_bound_map_outlives_its_capabilities_and_no_longer() {
    let mut machine = Machine::new();
    let before = machine.kernel.books().frames;
    let map = made(&mut machine, ARRAY);
    let (status, binding) = bind(&mut machine, PASS, &[map]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    machine.ok(Call::CapDrop, &[map]);
    assert!(machine.kernel.books().frames.free < before.free, "the binding keeps it");
    machine.audit();
    machine.receive(&udp(4242, 7, b"x"));
    machine.ok(Call::Unbind, &[binding]);
    assert_eq!(machine.kernel.books().frames, before);
    machine.audit();
}

/// Counts in its map's only entry, prints on the first packet, and drops.
const COUNT: &str = "
    lddw %r1, map_value 0 0
    mov %r2, 1
    lock fetch add [%r1+0], %r2
    jne %r2, 0, out
    stw [%r10-8], 0x20736579
    stw [%r10-4], 0x00006425
    mov %r3, 42
    mov %r1, %r10
    add %r1, -8
    mov %r2, 8
    call helper 6
    out: mov %r0, 1
    exit
";

#[test]
fn a_handler_and_its_owner_share_a_map() {
    let mut machine = Machine::new();
    let map = made(&mut machine, MapRequest { max_entries: 1, ..ARRAY });
    let (status, binding) = bind(&mut machine, COUNT, &[map]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    for _ in 0..3 {
        machine.receive(&udp(4242, 7, b"count me"));
    }
    assert_eq!(lookup(&mut machine, map, 0), Ok(3));
    assert_eq!(update(&mut machine, map, 0, 100, EXIST), Status::Ok);
    machine.receive(&udp(4242, 7, b"count me"));
    assert_eq!(lookup(&mut machine, map, 0), Ok(101));
    let lines: Vec<_> = machine
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Printed { binding: by, environment, line } => Some((by, environment, line)),
            _ => None,
        })
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].1, &lines[0].2[..]), (machine.init.0, &b"yes 42"[..]));
    machine.ok(Call::Unbind, &[binding]);
    assert_eq!(lookup(&mut machine, map, 0), Ok(101));
    machine.audit();
}

#[test]
fn a_handler_without_its_maps_is_refused_by_name() {
    let mut machine = Machine::new();
    let map = made(&mut machine, ARRAY);
    // No list; a list that is too short; an array that has no variables.
    for maps in [&[][..], &[map]] {
        let (status, _) = bind(&mut machine, COUNT, maps);
        assert_eq!(status, Status::Refused);
        let refusal = machine.last_refusal().unwrap();
        assert_eq!(refusal.code, abi::refusal::Code::Unsafe, "{refusal:?}");
    }
    machine.audit();
}

#[test]
fn a_reply_leaves_from_where_the_handler_moved_it() {
    let text = "mov %r6, %r1\nmov %r2, -4\ncall helper 65\nmov %r1, %r6\nmov %r2, -14\n\
                call helper 44\nmov %r0, 3\nexit";
    let mut machine = Machine::new();
    let (status, _) = bind(&mut machine, text, &[]);
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    let frame = udp(4242, 7, &[9; 30]);
    machine.receive(&frame);
    let mut moved = vec![0; 14];
    moved.extend_from_slice(&frame[..frame.len() - 4]);
    assert_eq!(machine.wire.sent(), [moved]);
    // The buffer that it left comes back whole.
    machine.receive(&frame);
    assert_eq!(machine.wire.sent().len(), 1);
    machine.audit();
}
