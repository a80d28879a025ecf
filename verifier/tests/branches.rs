//! What comparisons may not rule out, what joins may not lose, and what the end of a function takes
//! away: each a pair of programs that differ in one place, one accepted and one not.

mod common;

use common::{program, verify};
use ebpf::{Kind, MapSpec, Program};
use sluice_verifier::{RefusalCode, UnsafeReason};

fn ash(text: &str) -> Program {
    program(Kind::Ash, text).with_maps(vec![MapSpec::array(16, 4), MapSpec::array(64, 4)])
}

fn accepted(text: &str) {
    if let Err(refusal) = verify(ash(text)) {
        panic!("{refusal}\n{text}");
    }
}

/// Refused at the line that is marked.
fn refused(text: &str, reason: &dyn Fn(UnsafeReason) -> bool) {
    let refusal = match verify(ash(text)) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(refusal) => refusal,
    };
    match refusal.code {
        RefusalCode::Unsafe(found) if reason(found) => {}
        _ => panic!("{refusal}\n{text}"),
    }
}

/// Two pointers, each up to 255 bytes behind the start of the packet, compared.
fn two_pointers(compare: &str, then: &str) -> String {
    format!(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 2\nmov %r4, %r2\nadd %r4, 600
         jgt %r4, %r3, out\nldxb %r5, [%r2+0]\nldxb %r6, [%r2+1]\nmov %r7, %r2\nadd %r7, %r5
         mov %r8, %r2\nadd %r8, %r6\n{compare}\nja out\nhere: {then}\nout: mov %r0, 2\nexit"
    )
}

/// Ranges that overlap decide no comparison, so what stands behind it is reached.
#[test]
fn pointers_that_may_be_anywhere_may_compare_either_way() {
    for compare in ["jeq", "jne", "jgt", "jge", "jlt", "jle"] {
        let compare = format!("{compare} %r7, %r8, here");
        accepted(&two_pointers(&compare, "ldxb %r0, [%r2+599]"));
        let reason = |reason| matches!(reason, UnsafeReason::PacketOutOfBounds { .. });
        refused(&two_pointers(&compare, "ldxb %r0, [%r2+600]"), &reason);
    }
}

/// Ranges that do not overlap do.
#[test]
fn pointers_that_are_apart_compare_one_way() {
    let apart = |compare: &str| {
        let compare = format!("add %r8, 256\n{compare} %r7, %r8, here");
        two_pointers(&compare, "ldxb %r0, [%r2+600]")
    };
    accepted(&apart("jgt"));
    accepted(&apart("jge"));
    let reason = |reason| matches!(reason, UnsafeReason::PacketOutOfBounds { .. });
    refused(&apart("jlt"), &reason);
    refused(&apart("jle"), &reason);
}

/// A look-up in one map or another, or none, and a byte of what was found.
fn looked_up(other: &str, byte: u32) -> String {
    format!(
        "stw [%r10-4], 0\nldxw %r6, [%r1+0]\ncall helper 7\nmov %r6, %r0\nmov %r2, %r10
         add %r2, -4\njeq %r6, 0, other\nlddw %r1, map_fd 0\ncall helper 1\nja join
         other: {other}\njoin: jeq %r0, 0, out\nldxb %r1, [%r0+{byte}]\nout: mov %r0, 2\nexit"
    )
}

#[test]
fn a_value_found_on_two_ways_is_of_the_map_that_both_name() {
    let (none, same) = ("mov %r0, 0", "lddw %r1, map_fd 0\ncall helper 1");
    accepted(&looked_up(none, 15));
    accepted(&looked_up(same, 15));
    let reason = |reason| matches!(reason, UnsafeReason::MapValueOutOfBounds { .. });
    refused(&looked_up(none, 16), &reason);
    refused(&looked_up(same, 16), &reason);
    let larger = "lddw %r1, map_fd 1\ncall helper 1";
    refused(&looked_up(larger, 16), &|_| true);
}

/// The stack of a function is as unwritten for the next as for the first.
#[test]
fn a_function_leaves_nothing_of_its_stack_behind() {
    let filled: String = (1..=64).map(|at| format!("stdw [%r10-{}], 1\n", 8 * at)).collect();
    for at in [8, 16, 256, 504, 512] {
        let text = format!(
            "call local fill\ncall local read\nmov %r0, 2\nexit
             fill: {filled}mov %r0, 0\nexit
             read: ldxdw %r0, [%r10-{at}]\nmov %r0, 0\nexit"
        );
        refused(&text, &|reason| matches!(reason, UnsafeReason::UninitialisedStack { .. }));
    }
    // And takes nothing of its caller's.
    let text = format!(
        "{filled}call local read\nldxdw %r0, [%r10-512]\nldxdw %r0, [%r10-8]\nmov %r0, 2\nexit
         read: stdw [%r10-8], 1\nmov %r0, 0\nexit"
    );
    accepted(&text);
}

/// A pointer is never null, on whichever side it stands.
#[test]
fn a_pointer_is_not_null() {
    let unsafe_load = "ldxb %r0, [%r10+0]";
    for compare in ["jeq %r4, 0", "jeq %r4, %r5", "jeq %r5, %r4"] {
        let text = |then: &str, other: &str| {
            format!(
                "mov %r4, %r10\nmov %r5, 0\n{compare}, null\n{other}\nmov %r0, 2\nexit
                 null: {then}\nmov %r0, 2\nexit"
            )
        };
        accepted(&text(unsafe_load, "mov %r0, 1"));
        refused(&text("mov %r0, 1", unsafe_load), &|_| true);
    }
}

/// Pointers to one packet can be subtracted, and nothing else can be done with two of them.
#[test]
fn two_pointers_only_have_a_difference() {
    let ends = "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r3\nmov %r0, 2\n";
    accepted(&format!("{ends}sub %r4, %r2\nexit"));
    for op in ["add", "mul", "div", "or", "and", "xor", "lsh", "rsh", "arsh", "mod"] {
        for (left, right) in [("%r4", "%r2"), ("%r2", "%r4")] {
            refused(&format!("{ends}{op} {left}, {right}\nexit"), &|reason| {
                matches!(reason, UnsafeReason::PointerArithmetic { .. })
            });
        }
    }
}

/// A sign-extending load of a kept number is extended.
#[test]
fn a_kept_number_is_extended_when_it_is_loaded() {
    for (store, load, bits) in [("stxw", "ldxsw", 32), ("stxh", "ldxsh", 16), ("stxb", "ldxsb", 8)]
    {
        let text = |then: &str| {
            format!(
                "lddw %r5, {}\n{store} [%r10-8], %r5\n{load} %r6, [%r10-8]\nmov %r0, 2
                 jne %r6, -1, out\n{then}\nout: exit",
                (1u64 << bits) - 1
            )
        };
        refused(&text("ldxb %r0, [%r10+0]"), &|_| true);
        let other = text("ja end").replace("out: exit", "out: ldxb %r0, [%r10+0]\nend: exit");
        accepted(&other);
    }
}

/// What leaves a number as it is leaves its name.
#[test]
fn neutral_arithmetic_keeps_what_is_learned_of_a_number() {
    for same in ["mul %r6, 1", "div %r6, 1", "or %r6, 0", "lsh %r6, 0", "add %r6, 0"] {
        accepted(&format!(
            "call helper 7\nmov %r6, %r0\n{same}\njgt %r0, 7, out\nstdw [%r10-8], 0\nmov %r1, %r10
             add %r1, -8\nadd %r1, %r6\nldxb %r0, [%r1+0]\nout: mov %r0, 2\nexit"
        ));
    }
}

/// A map that cannot be made is none.
#[test]
fn a_map_without_keys_is_unknown() {
    let text = "stdw [%r10-8], 0\nmov %r2, %r10\nadd %r2, -8\nlddw %r1, map_fd 0\ncall helper 1
        mov %r0, 2\nexit";
    let spec = MapSpec { key_size: 0, ..MapSpec::hash(8, 8, 8) };
    let refusal = verify(program(Kind::Ash, text).with_maps(vec![spec])).unwrap_err();
    assert!(matches!(refusal.code, RefusalCode::Unsafe(UnsafeReason::UnknownMap(0))), "{refusal}");
}

/// A pointer that was moved by one number and then by another, which may be negative.
#[test]
fn a_moved_pointer_is_moved_again_either_way() {
    let text = |from: u32| {
        let written: String =
            (8..=from).step_by(8).map(|at| format!("stdw [%r10-{at}], 1\n")).collect();
        format!(
            "{written}call helper 7\nmov %r6, %r0\nand %r6, 7\nmov %r7, %r0\nrsh %r7, 5
             and %r7, 8\nadd %r7, -8\nmov %r4, %r10\nadd %r4, -16\nadd %r4, %r6\nadd %r4, %r7
             ldxb %r0, [%r4+0]\nmov %r0, 2\nexit"
        )
    };
    accepted(&text(24));
    refused(&text(16), &|reason| matches!(reason, UnsafeReason::UninitialisedStack { .. }));
}

/// What is learned of a number is learned of the pointers that it moved.
#[test]
fn a_pointer_is_where_its_number_says() {
    let text = |byte: u32| {
        format!(
            "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 2\nmov %r4, %r2\nadd %r4, 600
             jgt %r4, %r3, out\nldxb %r5, [%r2+0]\nmov %r7, %r2\nadd %r7, %r5\njgt %r5, 7, out
             ldxb %r0, [%r7+{byte}]\nout: mov %r0, 2\nexit"
        )
    };
    accepted(&text(592));
    refused(&text(593), &|reason| matches!(reason, UnsafeReason::PacketOutOfBounds { .. }));
}
