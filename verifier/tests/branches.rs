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
