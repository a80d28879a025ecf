//! Wake-up predicates: who may run again when, at whose cost; and those that must not be.

use abi::download::{PREDICATE_WORDS_MAX, PredicateRequest, WORD_GONE, WordRef};
use abi::refusal::{Blame, Code};
use abi::ring::EVENT_PACKET;
use abi::start::State;
use abi::{Call, Rights, Status};
use zerocopy::IntoBytes;

use crate::downloads::bound;
use crate::harness::{FORGED, Machine, REFUSAL, SCRATCH, refusal, udp};

const CODE: u64 = SCRATCH + 0x5000;
const WORDS: u64 = SCRATCH + 0x6000;
const BLOCK: u64 = SCRATCH + 0x6800;
/// Where the page of words is mapped.
const SHARED: u64 = 0x30_0000_0000;

/// True once the first word is at least 3: returns it.
const AT_LEAST_3: &str = "mov %r0, 0\njlt %r2, 24, out\nldxdw %r3, [%r1+16]\njlt %r3, 3, out\n\
                          mov %r0, %r3\nout:\nexit";
/// True from the thousandth microsecond on.
const AT_1_MS: &str = "mov %r0, 0\njlt %r2, 16, out\nldxdw %r3, [%r1+0]\n\
                       jlt %r3, 1000000, out\nmov %r0, 1\nout:\nexit";
/// True while an event waits: returns the bits.
const EVENTS: &str = "mov %r0, 0\njlt %r2, 16, out\nldxdw %r0, [%r1+8]\nout:\nexit";

fn memory(text: &str) -> Vec<u8> {
    let insns = ebpf::asm::assemble(text).unwrap();
    ebpf::encode(&ebpf::Program::from_insns(ebpf::Kind::Memory, insns).unwrap())
}

fn set(machine: &mut Machine, program: &[u8], words: &[WordRef]) -> (Status, u64) {
    let who = machine.init;
    machine.write(who, CODE, program);
    let list: Vec<u8> = words.iter().flat_map(|word| word.as_bytes().to_vec()).collect();
    machine.write(who, WORDS, &list);
    let request = PredicateRequest {
        program: CODE,
        program_bytes: program.len() as u64,
        words: WORDS,
        word_count: words.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 2048,
    };
    machine.write(who, BLOCK, request.as_bytes());
    machine.call(Call::PredicateSet, &[BLOCK])
}

fn wait_until(machine: &mut Machine, deadline: u64) {
    machine.kernel.call(machine.init, Call::WaitUntil as u64, [deadline; 6]);
}

/// What the call returned, if it has.
fn returned(machine: &Machine) -> Option<u64> {
    let registers = machine.kernel.registers(machine.init).unwrap();
    (machine.state(machine.init) == Some(State::Runnable)).then(|| {
        assert_eq!(registers.rax, Status::Ok as u64);
        registers.rdx
    })
}

/// A machine whose `init` has a page of words; its handle.
fn with_words(words: &'static str) -> (Machine, u64) {
    let mut machine = Machine::boot(words, true);
    let own = machine.handle("self");
    let page = machine.page(machine.init, own, SHARED);
    (machine, page)
}

fn look(machine: &mut Machine) {
    machine::host::advance(abi::limits::SLICE_NS);
    machine.kernel.evaluate_predicates();
    machine.audit();
}

#[test]
fn a_word_in_shared_memory_wakes_whoever_waits_for_it() {
    let (mut machine, page) = with_words("log=off");
    let program = memory(AT_LEAST_3);
    assert_eq!(set(&mut machine, &program, &[WordRef { page, offset: 64 }]).0, Status::Ok);
    wait_until(&mut machine, u64::MAX);
    for (value, woken) in [(1_u32, None), (2, None), (7, Some(7))] {
        machine.write(machine.init, SHARED + 64, &value.to_le_bytes());
        look(&mut machine);
        assert_eq!(returned(&machine), woken, "{value}");
    }
    // It is still so: the next wait does not sleep.
    wait_until(&mut machine, u64::MAX);
    assert_eq!(returned(&machine), Some(7));
}

#[test]
fn the_clock_and_the_deadline_wake() {
    let (mut machine, _) = with_words("log=off");
    assert_eq!(set(&mut machine, &memory(AT_1_MS), &[]).0, Status::Ok);
    wait_until(&mut machine, u64::MAX);
    assert_eq!(returned(&machine), None);
    look(&mut machine);
    assert_eq!(returned(&machine), Some(1));
    assert_eq!(set(&mut machine, &memory("mov %r0, 0\nexit"), &[]).0, Status::Ok);
    let now = machine.kernel.books().at_ns;
    wait_until(&mut machine, now + 500);
    assert_eq!(returned(&machine), None);
    machine::host::advance(1_000);
    machine.kernel.serve();
    assert_eq!(returned(&machine), Some(0));
    wait_until(&mut machine, now);
    assert_eq!(returned(&machine), Some(0), "a deadline that has passed");
}

#[test]
fn events_wait_until_the_predicate_wants_them() {
    let (mut machine, _) = bound("log=off", &[], 1);
    assert_eq!(set(&mut machine, &memory("mov %r0, 0\nexit"), &[]).0, Status::Ok);
    let now = machine.kernel.books().at_ns;
    wait_until(&mut machine, now + 10 * abi::limits::SLICE_NS);
    machine.receive(&udp(9, 7, b"not now"));
    look(&mut machine);
    assert_eq!(returned(&machine), None, "no event ends it");
    machine::host::advance(10 * abi::limits::SLICE_NS);
    machine.kernel.serve();
    assert_eq!(returned(&machine), Some(0), "only the deadline does");
    assert_eq!(set(&mut machine, &memory(EVENTS), &[]).0, Status::Ok);
    wait_until(&mut machine, u64::MAX);
    assert_eq!(returned(&machine), Some(EVENT_PACKET));
}

#[test]
fn a_page_that_goes_wakes_whoever_looks_at_it() {
    let (mut machine, page) = with_words("log=off");
    let program = memory(AT_LEAST_3);
    assert_eq!(set(&mut machine, &program, &[WordRef { page, offset: 0 }]).0, Status::Ok);
    let (child, handle, _) = machine.child(100);
    let passed = machine.ok(Call::CapGrant, &[page, handle, u64::from(Rights::CONTROL.bits())]);
    wait_until(&mut machine, u64::MAX);
    assert_eq!(returned(&machine), None);
    machine.ok_as(child, Call::PageFree, &[passed]);
    look(&mut machine);
    assert_eq!(returned(&machine), Some(WORD_GONE));
}

#[test]
fn a_program_may_scribble_on_its_block_and_nobody_sees_it() {
    let (mut machine, page) = with_words("log=off");
    let text = "mov %r0, 0\njlt %r2, 24, out\nstdw [%r1+16], 99\nout:\nexit";
    assert_eq!(set(&mut machine, &memory(text), &[WordRef { page, offset: 0 }]).0, Status::Ok);
    wait_until(&mut machine, u64::MAX);
    look(&mut machine);
    assert_eq!(machine.read_u32(machine.init, SHARED), 0);
}

#[test]
fn what_never_ends_reads_too_far_or_is_too_long_is_refused_by_name() {
    let (mut machine, page) = with_words("log=off");
    let long = format!("{}exit", "mov %r0, 0\n".repeat(64));
    let cases = [
        ("mov %r0, 0\nagain:\nja again", Code::Unsafe),
        ("mov %r0, 0\nagain:\nadd %r0, 2\njne %r0, 9, again\nexit", Code::Limit),
        ("mov %r0, 0\nagain:\nadd %r0, 1\njlt %r0, 99999, again\nexit", Code::Limit),
        ("ldxdw %r0, [%r1+16]\nexit", Code::Unsafe),
        ("mov %r0, 0\njlt %r2, 24, out\nldxdw %r0, [%r1+24]\nout:\nexit", Code::Unsafe),
        ("mov %r0, %r1\nexit", Code::Unsafe),
        ("call 0x10001\nexit", Code::Unsafe),
        (&*long, Code::Limit),
    ];
    for (text, code) in cases {
        let (status, _) = set(&mut machine, &memory(text), &[WordRef { page, offset: 0 }]);
        assert_eq!(status, Status::Refused, "{text}");
        let record = refusal(&machine, machine.init);
        assert_eq!((record.code, record.blame), (code, Blame::Predicate), "{text}");
    }
    let (status, _) = set(&mut machine, &[0xff; 16], &[]);
    assert_eq!(status, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).code, Code::Malformed);
    assert_eq!(machine.call(Call::WaitUntil, &[0]).0, Status::WrongState, "none was accepted");
    machine.audit();
}

#[test]
fn words_need_a_capability_and_a_place() {
    let (mut machine, page) = with_words("log=off");
    let program = memory(EVENTS);
    let weak = machine.ok(Call::CapDerive, &[page, u64::from(Rights::WRITE.bits())]);
    let own = machine.handle("self");
    for (word, status) in [
        (WordRef { page: FORGED, offset: 0 }, Status::BadHandle),
        (WordRef { page: weak, offset: 0 }, Status::MissingRight),
        (WordRef { page: own, offset: 0 }, Status::WrongKind),
        (WordRef { page, offset: 2 }, Status::BadArgument),
        (WordRef { page, offset: 4096 }, Status::BadArgument),
        (WordRef { page, offset: u64::MAX - 3 }, Status::BadArgument),
    ] {
        assert_eq!(set(&mut machine, &program, &[word]).0, status, "{word:x?}");
    }
    let many = [WordRef { page, offset: 0 }; PREDICATE_WORDS_MAX + 1];
    assert_eq!(set(&mut machine, &program, &many).0, Status::BadArgument);
    assert_eq!(set(&mut machine, &program, &many[1..]).0, Status::Ok);
    assert_eq!(machine.call(Call::PredicateSet, &[0x7000_0000_0000]).0, Status::BadAddress);
    machine.audit();
}

#[test]
fn a_look_is_charged_and_who_is_broke_is_woken_by_the_deadline_only() {
    let (mut machine, _) = with_words("log=off allowance=0");
    assert_eq!(set(&mut machine, &memory("mov %r0, 1\nexit"), &[]).0, Status::Ok);
    let now = machine.kernel.books().at_ns;
    wait_until(&mut machine, now + 5 * abi::limits::SLICE_NS);
    for _ in 0..4 {
        look(&mut machine);
        assert_eq!(returned(&machine), None);
    }
    machine::host::advance(2 * abi::limits::SLICE_NS);
    machine.kernel.serve();
    assert_eq!(returned(&machine), Some(0));
}

#[test]
fn a_predicate_ends_with_its_environment_or_is_taken_back() {
    let (mut machine, _) = with_words("log=off");
    for _ in 0..500 {
        assert_eq!(set(&mut machine, &memory(EVENTS), &[]).0, Status::Ok);
    }
    machine.write(machine.init, BLOCK, PredicateRequest::default().as_bytes());
    machine.ok(Call::PredicateSet, &[BLOCK]);
    machine.ok(Call::PredicateSet, &[BLOCK]);
    assert_eq!(machine.call(Call::WaitUntil, &[0]).0, Status::WrongState);
    machine.audit();
    let (child, handle, _) = machine.child(200);
    machine.write(child, SCRATCH, &memory(EVENTS));
    let request = PredicateRequest {
        program: SCRATCH,
        program_bytes: memory(EVENTS).len() as u64,
        ..Default::default()
    };
    machine.write(child, SCRATCH + 512, request.as_bytes());
    machine.ok_as(child, Call::PredicateSet, &[SCRATCH + 512]);
    machine.kernel.call(child, Call::WaitUntil as u64, [u64::MAX; 6]);
    machine.ok(Call::EnvKill, &[handle]);
    look(&mut machine);
    machine.audit();
}
