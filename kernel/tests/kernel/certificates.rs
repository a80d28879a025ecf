//! Certificates: right ones make a filter exact, all others are refused, say why, and change
//! nothing.

use abi::bind::{
    BindRequest, CertificateAt, HandOverRequest, MapList, WITH_CERTIFICATE, WITH_MAPS,
};
use abi::certificate::{BYTES_MAX, CASES_MAX, Case, Certificate, Header, TESTS_MAX, Test, VERSION};
use abi::refusal::{Blame, Code};
use abi::{Call, Status};
use zerocopy::IntoBytes;

use crate::harness::{Machine, REFUSAL, SCRATCH, filter, refusal, udp};

const BLOCK: u64 = SCRATCH + 0x200;
const STATS: u64 = SCRATCH + 0x400;
const CODE: u64 = SCRATCH + 0x2000;
const FIRST: u64 = SCRATCH + 0x3000;
const CASES: u64 = SCRATCH + 0x4000;

/// A small last byte of the source port equals the last byte of the destination port: a relation
/// of two fields, of datagrams to ports 0x1e00 to 0x1e03.
const SAME: &str = "ldxb %r5, [%r2+35]\n jgt %r5, 3, out\n ldxb %r6, [%r2+37]
    jne %r5, %r6, out\n mov %r0, 1";

fn program(body: &str) -> Vec<u8> {
    let text = format!(
        "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 0\n mov %r4, %r2\n add %r4, 42
         jgt %r4, %r3, out\n ldxb %r5, [%r2+12]\n jne %r5, 8, out\n ldxb %r5, [%r2+13]
         jne %r5, 0, out\n ldxb %r5, [%r2+14]\n jne %r5, 69, out\n ldxb %r5, [%r2+23]
         jne %r5, 17, out\n ldxb %r5, [%r2+36]\n jne %r5, 30, out\n {body}\nout: exit\n"
    );
    let insns = ebpf::asm::assemble(&text).unwrap();
    ebpf::encode(&ebpf::Program::from_insns(ebpf::Kind::Filter, insns).unwrap())
}

fn case(offset: u16, value: u8) -> Case {
    let test = Test { behind: None, offset, mask: 0xff, value };
    Case { lengths: (14, 1522), tests: vec![test] }
}

fn certificate(cases: Vec<Case>) -> Vec<u8> {
    Certificate { version: VERSION, cases }.encode()
}

/// The cases that [`SAME`] needs.
fn right() -> Vec<u8> {
    certificate((0..4).map(|value| case(35, value)).collect())
}

fn request(machine: &Machine, program: &[u8], flags: u64) -> BindRequest {
    machine.write(machine.init, CODE, program);
    BindRequest {
        filter: CODE,
        filter_bytes: program.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        flags,
        ..BindRequest::default()
    }
}

fn placed(machine: &Machine, certificate: &[u8]) -> CertificateAt {
    machine.write(machine.init, CASES, certificate);
    CertificateAt { certificate: CASES, certificate_bytes: certificate.len() as u64 }
}

fn send(machine: &mut Machine, program: &[u8], certificate: &[u8]) -> (Status, u64) {
    let grant = machine.handle("grant:root");
    let request = request(machine, program, WITH_CERTIFICATE);
    let at = placed(machine, certificate);
    machine.write(machine.init, BLOCK, &[request.as_bytes(), at.as_bytes()].concat());
    machine.call(Call::Bind, &[grant, BLOCK])
}

fn received(machine: &mut Machine, binding: u64) -> u64 {
    machine.ok(Call::BindingStats, &[binding, STATS]);
    u64::from_le_bytes(machine.read(machine.init, STATS, 8).try_into().unwrap())
}

#[test]
fn a_filter_that_is_undecided_without_is_exact_with_its_certificate() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    // Everything of these ports of which the two bytes are not the same.
    let others = program(
        "ldxb %r5, [%r2+35]\n jgt %r5, 3, out\n ldxb %r6, [%r2+37]\n jeq %r5, %r6, out
         mov %r0, 1",
    );
    let (status, other) = send(&mut machine, &others, &right());
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    // Without its cases it cannot be told apart from the first.
    let same = request(&machine, &program(SAME), 0);
    machine.write(machine.init, BLOCK, same.as_bytes());
    assert_eq!(machine.call(Call::Bind, &[grant, BLOCK]).0, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!((record.code, record.blame), (Code::Undecided, Blame::Filter));
    let (status, binding) = send(&mut machine, &program(SAME), &right());
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    // To whom a packet goes is what the programs themselves say.
    for from in [0x1000, 0x1001, 0x1003, 0x1004] {
        for to in [0x1e00, 0x1e01, 0x1e03] {
            let before = [binding, other].map(|it| received(&mut machine, it));
            machine.receive(&udp(from, to, b"whose"));
            let after = [binding, other].map(|it| received(&mut machine, it));
            let small = from & 0xff <= 3;
            let equal = from & 0xff == to & 0xff;
            let got = [after[0] - before[0], after[1] - before[1]];
            assert_eq!(got, [u64::from(small && equal), u64::from(small && !equal)]);
        }
    }
    // What is exact is refused where it meets another, with a packet that both accept.
    let wanted = filter("udp and dst port 7682 and src port 4098");
    let (status, _) = send(&mut machine, &wanted, &certificate(vec![case(35, 2)]));
    assert_eq!(status, Status::Refused);
    let record = refusal(&machine, machine.init);
    assert_eq!(record.code, Code::Overlap);
    let witness = record.witness.unwrap();
    for bytes in [&wanted, &program(SAME)] {
        let accepting = ebpf::decode(bytes, ebpf::Kind::Filter, 4096).unwrap();
        assert_eq!(ebpf::interp::accepts(&accepting, &witness), Ok(true));
    }
    machine.audit();
}

#[test]
fn a_wrong_certificate_is_refused_by_name_and_nothing_is_bound() {
    let missing = certificate([0, 1, 3].map(|value| case(35, value)).to_vec());
    let open = certificate(vec![Case { lengths: (14, 1522), tests: Vec::new() }]);
    let elsewhere = certificate((0..4).map(|value| case(41, value)).collect());
    let nothing = certificate(vec![Case { lengths: (60, 50), tests: Vec::new() }]);
    let contrary = {
        let test = |value| Test { behind: None, offset: 35, mask: 0xff, value };
        certificate(vec![Case { lengths: (14, 1522), tests: vec![test(1), test(2)] }])
    };
    let beyond = certificate(vec![case(0xffff, 1)]);
    let header = |at, shift, add, offset| {
        let behind = Some(Header { at, mask: 0xff, shift, add });
        let test = Test { behind, offset, mask: 1, value: 1 };
        certificate(vec![Case { lengths: (14, 1522), tests: vec![test] }])
    };
    let right = right();
    let cases = [
        (missing, Code::Undecided, "no case for this frame"),
        (certificate(Vec::new()), Code::Undecided, "no case for this frame"),
        (open, Code::Undecided, "in case 0 of the certificate"),
        (elsewhere, Code::Undecided, "no case for this frame"),
        (nothing, Code::Malformed, "case 0 of the certificate holds no frame"),
        (contrary, Code::Malformed, "case 0 of the certificate holds no frame"),
        (beyond, Code::Malformed, "case 0 of the certificate holds no frame"),
        (header(0xffff, 0, 0, 0), Code::Malformed, "holds no frame"),
        (header(14, 127, 0xffff, 0xffff), Code::Malformed, "holds no frame"),
        (header(14, -128, 0, 14), Code::Undecided, "certificate"),
        (header(14, 15, 0, 16), Code::Undecided, "certificate"),
        (right[..right.len() - 1].to_vec(), Code::Malformed, "at its case 3"),
        (right[..1].to_vec(), Code::Malformed, "at its case 0"),
        ([&right[..], &[0]].concat(), Code::Malformed, "behind its last case"),
        (vec![0xa5; 100], Code::Malformed, "version"),
        (vec![VERSION, 0xff, 0xff, 0xff, 0xff, 0x0f], Code::Limit, "CERTIFICATE_CASES_MAX"),
    ];
    let mut machine = Machine::new();
    for (bytes, code, text) in cases {
        let before = machine.kernel.books();
        assert_eq!(send(&mut machine, &program(SAME), &bytes).0, Status::Refused, "{text}");
        let record = refusal(&machine, machine.init);
        assert_eq!((record.code, record.blame), (code, Blame::Certificate), "{record:?}");
        assert!(record.explanation.contains(text), "{text}: {record:?}");
        let after = machine.kernel.books();
        assert_eq!((after.bindings, after.frames.free), (before.bindings, before.frames.free));
        machine.audit();
    }
    // A frame that no case holds comes along, and it is one that the filter accepts.
    let missing = certificate([0, 1, 3].map(|value| case(35, value)).to_vec());
    assert_eq!(send(&mut machine, &program(SAME), &missing).0, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).witness.unwrap()[35], 2);
    // What a case leaves open is named where it stands in the filter.
    let open = certificate(vec![Case { lengths: (14, 1522), tests: Vec::new() }]);
    assert_eq!(send(&mut machine, &program(SAME), &open).0, Status::Refused);
    assert_eq!(refusal(&machine, machine.init).instruction, Some(19));
}

#[test]
fn one_that_is_too_large_is_refused_by_the_limit() {
    let mut machine = Machine::new();
    let none = Case { lengths: (14, 1522), tests: Vec::new() };
    let test = case(35, 1).tests[0];
    let wide = Case { lengths: (14, 1522), tests: vec![test; TESTS_MAX + 1] };
    let cases = [
        (vec![0xa5; BYTES_MAX + 1], "CERTIFICATE_BYTES_MAX", BYTES_MAX),
        (certificate(vec![none; CASES_MAX + 1]), "CERTIFICATE_CASES_MAX", CASES_MAX),
        (certificate(vec![wide]), "CERTIFICATE_TESTS_MAX", TESTS_MAX),
    ];
    for (bytes, name, value) in cases {
        assert_eq!(send(&mut machine, &program(SAME), &bytes).0, Status::Refused, "{name}");
        let record = refusal(&machine, machine.init);
        assert_eq!((record.code, record.blame), (Code::Limit, Blame::Certificate));
        assert_eq!(record.limit, Some((name.to_owned(), value as u64)));
        assert_eq!(machine.kernel.books().bindings, 0);
    }
    // A length that no memory has names the limit too, and is never read.
    let request = request(&machine, &program(SAME), WITH_CERTIFICATE);
    let grant = machine.handle("grant:root");
    for (certificate, certificate_bytes, wanted) in [
        (CASES, u64::MAX, Status::Refused),
        (1 << 47, 8, Status::BadAddress),
        (0x10, 8, Status::BadAddress),
        (0, 8, Status::BadArgument),
        (0, 0, Status::Ok),
    ] {
        let at = CertificateAt { certificate, certificate_bytes };
        machine.write(machine.init, BLOCK, &[request.as_bytes(), at.as_bytes()].concat());
        let (status, binding) = machine.call(Call::Bind, &[grant, BLOCK]);
        assert_eq!(status, wanted, "{certificate:#x} {certificate_bytes}");
        if status == Status::Ok {
            machine.ok(Call::Unbind, &[binding]);
        }
    }
    machine.audit();
}

#[test]
fn the_most_that_may_be_sent_is_read_in_steps_and_paid_by_its_sender() {
    let mut machine = Machine::new();
    // Behind headers, all of them: the dearest there are.
    let test = |bit| {
        let behind = Some(Header { at: 14, mask: 0x0f, shift: 2, add: 14 });
        Test { behind, offset: bit, mask: 0x80, value: 0 }
    };
    let tests: Vec<Test> = (0..8).map(test).collect();
    let cases = vec![Case { lengths: (14, 1522), tests }; 70];
    let bytes = certificate(cases);
    assert!(bytes.len() <= BYTES_MAX, "{}", bytes.len());
    let grant = machine.handle("grant:root");
    let request = request(&machine, &program(SAME), WITH_CERTIFICATE);
    let at = placed(&machine, &bytes);
    machine.write(machine.init, BLOCK, &[request.as_bytes(), at.as_bytes()].concat());
    let free = machine.kernel.books().frames.free;
    machine.kernel.call(machine.init, Call::Bind as u64, [grant, BLOCK, 0, 0, 0, 0]);
    let paid = free - machine.kernel.books().frames.free;
    assert!(paid as usize * 4096 > verifier::certificate_bytes(), "{paid}");
    let mut steps = 0;
    while machine.kernel.step_proof(machine.init) {
        steps += 1;
    }
    // One for each test at least.
    assert!(steps >= 560, "{steps}");
    assert_eq!(refusal(&machine, machine.init).blame, Blame::Certificate);
    assert_eq!(machine.kernel.books().frames.free, free);
    machine.audit();
}

#[test]
fn maps_and_a_certificate_stand_one_behind_the_other() {
    let mut machine = Machine::new();
    let grant = machine.handle("grant:root");
    let request = request(&machine, &program(SAME), WITH_MAPS | WITH_CERTIFICATE);
    let at = placed(&machine, &right());
    let block = [request.as_bytes(), MapList::default().as_bytes(), at.as_bytes()].concat();
    machine.write(machine.init, BLOCK, &block);
    machine.ok(Call::Bind, &[grant, BLOCK]);
    machine.audit();
}

#[test]
fn a_carved_filter_and_both_parts_of_a_hand_over_may_have_one() {
    use abi::bind::CarveRequest;
    let mut machine = Machine::new();
    let whole = filter(
        "udp and dst portrange 7680-7683 and ip[0] == 0x45 and ip[6:2] == 0x4000 and greater 42",
    );
    let (status, listener) = send(&mut machine, &whole, &certificate(Vec::new()));
    assert_eq!(status, Status::Ok, "{:?}", machine.last_refusal());
    // What is carved must be exact: it is a grant.
    let whole_frame = format!(
        "ldxb %r5, [%r2+20]\n jne %r5, 64, out\n ldxb %r5, [%r2+21]\n jne %r5, 0, out\n {SAME}"
    );
    for (cases, wanted) in [(Vec::new(), Status::Refused), (right(), Status::Ok)] {
        let bind = request(&machine, &program(&whole_frame), WITH_CERTIFICATE);
        let block = CarveRequest { bind, ..CarveRequest::default() };
        let at = if cases.is_empty() { CertificateAt::default() } else { placed(&machine, &cases) };
        machine.write(machine.init, BLOCK, &[block.as_bytes(), at.as_bytes()].concat());
        let (status, carved) = machine.call(Call::Carve, &[listener, BLOCK]);
        assert_eq!(status, wanted, "{:?}", machine.last_refusal());
        if status == Status::Ok {
            machine.receive(&udp(0x1002, 0x1e02, b"carved"));
            machine.receive(&udp(0x1002, 0x1e01, b"not"));
            assert_eq!((received(&mut machine, carved), received(&mut machine, listener)), (1, 1));
            machine.ok(Call::Unbind, &[carved]);
        }
    }
    // The relation, and what is left.
    let rest = "ldxb %r5, [%r2+35]\n ldxb %r6, [%r2+37]\n jgt %r6, 3, out\n jgt %r5, 3, yes
        jeq %r5, %r6, out\nyes: mov %r0, 1";
    let rest = format!(
        "ldxb %r5, [%r2+20]\n jne %r5, 64, out\n ldxb %r5, [%r2+21]\n jne %r5, 0, out\n {rest}"
    );
    let second = request(&machine, &program(&rest), WITH_CERTIFICATE);
    let first = program(&whole_frame);
    machine.write(machine.init, FIRST, &first);
    let block = HandOverRequest { first: FIRST, first_bytes: first.len() as u64, second };
    let mut cases: Vec<Case> = (0..4).map(|value| case(35, value)).collect();
    for bit in 2..8 {
        let test = Test { behind: None, offset: 35, mask: 1 << bit, value: 1 << bit };
        cases.push(Case { lengths: (14, 1522), tests: vec![test] });
    }
    for (certificate, wanted) in [(right(), Status::Refused), (certificate(cases), Status::Ok)] {
        let at = placed(&machine, &certificate);
        machine.write(machine.init, BLOCK, &[block.as_bytes(), at.as_bytes()].concat());
        let (status, part) = machine.call(Call::HandOver, &[listener, BLOCK]);
        assert_eq!(status, wanted, "{:?}", machine.last_refusal());
        if status == Status::Refused {
            assert_eq!(refusal(&machine, machine.init).blame, Blame::Certificate);
            continue;
        }
        let before = received(&mut machine, listener);
        for from in 0..=255 {
            machine.receive(&udp(from, 0x1e02, b"of two"));
        }
        let counts = [received(&mut machine, listener) - before, received(&mut machine, part)];
        assert_eq!(counts, [1, 255]);
    }
    machine.audit();
}
