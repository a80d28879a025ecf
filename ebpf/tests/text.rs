//! The assembler on lines that are wrong, and on the spellings that it must take.

use sluice_ebpf::asm::{self, Reason};
use sluice_ebpf::disasm::disassemble;
use sluice_ebpf::{DecodeError, Insn, Kind};

/// Line and reason of a text that does not assemble.
fn wrong(text: &str) -> (u32, Reason) {
    match asm::program(Kind::Memory, text) {
        Ok(_) => panic!("assembles: {text}"),
        Err(error) => (error.line, error.reason),
    }
}

fn operand(expected: &'static str, found: &str) -> Reason {
    Reason::Operand { expected, found: found.into() }
}

fn same(left: &str, right: &str) {
    let insns = |text| asm::assemble(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(insns(left), insns(right), "{left}");
}

#[test]
fn mnemonics_that_do_not_exist() {
    for name in
        ["movq", "mov16", "le8", "be128", "ldx", "ldxsdw", "stx", "jz", "add32x", "movsx", "€"]
    {
        let text = format!("exit\n{name} %r0, 1");
        assert_eq!(wrong(&text), (2, Reason::Mnemonic { found: name.into() }));
    }
}

#[test]
fn operands_are_counted() {
    for (text, expected, found) in [
        ("mov %r0", 2, 1),
        ("mov", 2, 0),
        ("exit %r0", 0, 1),
        ("jeq %r0, 1", 3, 2),
        ("neg %r0, %r1", 1, 2),
        ("lock add [%r1]", 2, 1),
        ("ldxw %r0", 2, 1),
        ("call", 1, 0),
        ("be16", 1, 0),
        ("movsx864 %r0", 2, 1),
    ] {
        assert_eq!(wrong(text), (1, Reason::OperandCount { expected, found }), "{text}");
    }
}

#[test]
fn operands_are_of_their_sort() {
    let register = "a register (%r0 to %r10)";
    let address = "an address ([%r1+4])";
    for (text, expected, found) in [
        ("mov %r11, 1", register, "%r11"),
        ("mov %r00, 1", register, "%r00"),
        ("mov 1, %r0", register, "1"),
        ("mov %r0, %x", register, "%x"),
        ("mov %r0, x", "a number", "x"),
        ("mov %r0, 0x", "a number", "0x"),
        ("mov %r0, --1", "a number", "--1"),
        ("mov %r0, ", "a number", ""),
        ("ldxw %r0, %r1", address, "%r1"),
        ("ldxw %r0, [%r1", address, "[%r1"),
        ("ldxw %r0, [1+%r1]", register, "1"),
        ("stxw [%r1], 1", register, "1"),
        ("stw [%r1], %r2", "a number", "%r2"),
        ("lock add %r1, %r2", address, "add %r1"),
        ("lock sub [%r1], %r2", "an atomic operation", "sub"),
        ("lock [%r1], %r2", "an atomic operation", ""),
        ("ja 5", "a label", "5"),
        ("call global f", "helper, local or kernel", "global"),
        ("lddw %r0, kind 256 0 0", "a kind (3 to 6)", "256"),
    ] {
        assert_eq!(wrong(text), (1, operand(expected, found)), "{text}");
    }
}

#[test]
fn numbers_fit_their_fields() {
    for (text, found, bits) in [
        ("mov %r0, 2147483648", "2147483648", 32),
        ("mov %r0, -2147483649", "-2147483649", 32),
        ("mov %r0, 0x100000000", "0x100000000", 32),
        ("lddw %r0, 0x10000000000000000", "0x10000000000000000", 64),
        ("lddw %r0, -9223372036854775809", "-9223372036854775809", 64),
        ("ldxw %r0, [%r1+32768]", "+32768", 16),
        ("ldxw %r0, [%r1-32769]", "-32769", 16),
        ("call helper 4294967296", "4294967296", 32),
        ("call helper -1", "-1", 32),
    ] {
        assert_eq!(wrong(text), (1, Reason::Range { found: found.into(), bits }), "{text}");
    }
}

#[test]
fn labels() {
    let name = |found: &str| Reason::LabelName { found: found.into() };
    assert_eq!(wrong("1a: exit"), (1, name("1a")));
    assert_eq!(wrong(": exit"), (1, name("")));
    assert_eq!(wrong("a b: exit"), (1, name("a b")));
    assert_eq!(wrong("a:\nexit\na:"), (3, Reason::LabelTwice { label: "a".into() }));
    assert_eq!(wrong("exit\n\nja b"), (3, Reason::LabelUnknown { label: "b".into() }));
    assert_eq!(wrong("ja exit"), (1, Reason::LabelUnknown { label: "exit".into() }));
    same("ja exit\nmov %r0, 1\nexit\nexit", "ja +1\nmov %r0, 1\nexit\nexit");
    same("ja exit\nexit\nexit: exit", "ja +1\nexit\nexit");
    same("a: b:\nc: ja c\nexit", "ja -1\nexit");
}

#[test]
fn structure_is_reported_at_its_line() {
    let structure = |error| Reason::Structure { error };
    assert_eq!(wrong(""), (1, structure(DecodeError::Empty)));
    let outside = DecodeError::TargetOutside { pc: 2, target: 9 };
    assert_eq!(wrong("# one\nlddw %r0, 1\n\nja +6"), (4, structure(outside)));
    let written = DecodeError::FramePointerWritten { pc: 0 };
    assert_eq!(wrong("mov %r10, 1\nexit"), (1, structure(written)));
    assert_eq!(wrong("mov %r0, 1"), (1, structure(DecodeError::FallsOffEnd { pc: 0 })));
    // A distance before the first slot, and one that no slot number can hold.
    let before = asm::assemble("ja -2").unwrap_err();
    assert!(matches!(before.reason, Reason::Operand { expected: "inside the program", .. }));
    assert!(asm::assemble("ja +18446744073709551615").is_err());
}

#[test]
fn spellings() {
    same("mov r0, 1", "mov %r0, 1");
    same("mov64 %r0, 0x1", "mov %r0, 1");
    same("  mov   %r0 ,1   # comment", "mov %r0, 1 // comment");
    same("mov %r0, 0xffffffff ; comment", "mov %r0, -1");
    same("add %r0, -0x10", "add %r0, -16");
    same("bswap32 %r1", "swap32 %r1");
    same("ldxw %r0, [ %r1 + 0x4 ]", "ldxw %r0, [%r1+4]");
    same("ldxw %r0, [%r1]", "ldxw %r0, [%r1+0]");
    same("lock fetch add [%r1], %r2", "lock fetch_add [%r1], %r2");
    same("lock fetch xchg [%r1], %r2", "lock xchg [%r1], %r2");
    same("call 5", "call helper 5");
    same("callx %r3", "call %r3");
    same("gotol a\na: exit", "ja a\na: exit");
    same("ja32 +0\nexit", "ja +0\nexit");
    same("jeq32 %r1, %r2, a\na:exit", "jeq32 %r1, %r2, +0\nexit");
}

#[test]
fn limits() {
    let long = "exit\n".repeat(65_537);
    assert_eq!(wrong(&long), (65_537, Reason::TooLong { limit: 65_536 }));
    assert_eq!(asm::assemble(&"exit\n".repeat(65_536)).unwrap().len(), 65_536);
    let text = " ".repeat((4 << 20) + 1);
    assert_eq!(wrong(&text), (1, Reason::TooLong { limit: 4 << 20 }));
}

#[test]
fn printed_form() {
    let text = "l0:
    mov32 %r0, -1
    lddw %r1, 0x10
    ldxsh %r2, [%r1-2]
    jsge32 %r2, %r0, l6
    ja l0
l6:
    lock fetch add32 [%r10-4], %r2
    call local l6
    exit
";
    let program = asm::program(Kind::Memory, text).unwrap();
    assert_eq!(disassemble(&program), text);
    assert_eq!(program.insns()[0].to_string(), "mov32 %r0, -1");
    assert_eq!(program.insns()[4].to_string(), "jsge32 %r2, %r0, l6");
    assert_eq!(Insn::LoadImm64High.to_string(), "# second slot");
}

#[test]
fn errors_are_one_line_with_the_place() {
    let error = asm::assemble("exit\nmov %r0, 1, 2").unwrap_err();
    assert_eq!(error.to_string(), "line 2: 2 operands are needed, 3 are given");
}
