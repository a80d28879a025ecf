//! Loops, functions and maps: what is accepted, at what cost, and what the compiler is told.

mod common;

use common::{program, verify, verify_with};
use ebpf::interp::{NoHelpers, run_memory};
use ebpf::map::MapSpec;
use ebpf::{Kind, Program};
use sluice_verifier::{RefusalCode, UnsafeReason};

fn worst(text: &str) -> u32 {
    let verified = verify(program(Kind::Memory, text));
    verified.unwrap_or_else(|refusal| panic!("{refusal}\n{text}")).worst_case()
}

fn refused(kind: Kind, text: &str) -> RefusalCode {
    match verify(program(kind, text)) {
        Ok(verified) => panic!("accepted at {}\n{text}", verified.worst_case()),
        Err(refusal) => refusal.code,
    }
}

const UNBOUNDED: RefusalCode = RefusalCode::Unsafe(UnsafeReason::UnboundedLoop);

/// Loops that can be told by one thing that changes: the text, instructions in the worst case.
const COUNTED: &[(&str, u32)] = &[
    ("mov %r0, 0\n a: add %r0, 1\n jlt %r0, 2000000, a\n exit", 4_000_002),
    ("mov %r0, 0\n a: add %r0, 1\n jne %r0, 2000000, a\n exit", 4_000_002),
    ("mov %r0, 0\n a: add %r0, 4\n jne %r0, 400, a\n exit", 202),
    ("mov32 %r0, 0\n a: add32 %r0, 1\n jslt32 %r0, 1000, a\n exit", 2_002),
    ("mov %r0, 1000\n a: sub %r0, 1\n jne %r0, 0, a\n exit", 2_002),
    ("mov %r0, 99\n a: sub %r0, 1\n jsge %r0, 0, a\n exit", 202),
    // The bound comes from the input, and is bounded.
    ("and %r2, 255\n mov %r0, 0\n a: jge %r0, %r2, out\n add %r0, 1\n ja a\n out: exit", 769),
    // Counted on the stack.
    (
        "mov %r0, 0\n stdw [%r10-8], 0\n a: ldxdw %r1, [%r10-8]\n add %r1, 1\n
        stxdw [%r10-8], %r1\n jlt %r1, 100, a\n exit",
        403,
    ),
    // Nested.
    (
        "mov %r0, 0\n mov %r1, 0\n a: mov %r2, 0\n b: add %r0, 1\n add %r2, 1\n jlt %r2, 50, b\n
        add %r1, 1\n jlt %r1, 50, a\n exit",
        7_653,
    ),
];

#[test]
fn counted_loops_end_as_late_as_they_say() {
    for &(text, most) in COUNTED {
        assert_eq!(worst(text), most, "{text}");
        let program = program(Kind::Memory, text);
        let steps = verify_with(1, program.clone()).map(|verified| verified.worst_case());
        assert_eq!(steps, Ok(most), "{text}");
        for length in [0, 1, 255, 300] {
            let mut memory = vec![0; length];
            let result = run_memory(&program, &mut memory, &mut NoHelpers, most.into());
            assert!(result.is_ok(), "{text}: {result:?}");
        }
    }
}

#[test]
fn loops_without_a_counter_are_gone_through() {
    // Nothing goes up or down by steps, but no length has more than 62 bits.
    assert_eq!(worst("mov %r0, %r2\n a: rsh %r0, 1\n jne %r0, 0, a\n exit"), 126);
    // Two ways round.
    let two =
        "mov %r0, 0\n a: jset %r2, 1, b\n add %r0, 1\n b: add %r0, 1\n jlt %r0, 100, a\n exit";
    assert!(worst(two) >= 302);
}

#[test]
fn loops_that_may_not_end_are_refused() {
    for text in [
        "mov %r0, 0\n a: jge %r0, 0, a\n exit",
        "mov %r0, 0\n a: add %r0, 2\n jne %r0, 7, a\n exit",
        "mov %r0, 0\n mov %r1, 0\n a: add %r0, 1\n jlt %r1, 10, a\n exit",
        // The inner loop sets the outer counter back.
        "mov %r0, 0\n mov %r1, 0\n a: mov %r2, 0\n b: mov %r1, 0\n add %r2, 1\n jlt %r2, 5, b\n
         add %r1, 1\n jlt %r1, 10, a\n exit",
        // Up on one way, down on the other.
        "mov %r0, 10\n a: mul %r2, 5\n add %r2, 1\n jset %r2, 4, b\n add %r0, 1\n ja c\n
         b: sub %r0, 1\n
         c: mov %r3, %r0\n jgt %r3, 100, out\n jgt %r0, 0, a\n out: exit",
    ] {
        assert_eq!(refused(Kind::Memory, text), UNBOUNDED, "{text}");
    }
    // It ends, but not within what the worst case can say.
    let far = "mov %r0, 0\n a: add %r0, 1\n jlt %r0, %r2, a\n exit";
    assert!(matches!(refused(Kind::Memory, far), RefusalCode::Limit));
}

#[test]
fn a_loop_s_state_holds_in_every_round() {
    // The index stays below the size that was compared; one more does not.
    let walk = |size: i32| {
        format!(
            "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r4, %r2\n add %r4, 64\n mov %r0, 1\n
             jgt %r4, %r3, out\n mov %r5, 0\n a: mov %r6, %r2\n add %r6, %r5\n ldxb %r7, [%r6+0]\n
             add %r5, 1\n jlt %r5, {size}, a\n out: exit"
        )
    };
    assert!(verify(program(Kind::Ash, &walk(64))).is_ok());
    let reason = refused(Kind::Ash, &walk(65));
    assert!(matches!(reason, RefusalCode::Unsafe(UnsafeReason::PacketOutOfBounds { .. })));
    // A cursor that is compared in every round.
    let cursor =
        "ldxw %r2, [%r1+0]\n ldxw %r3, [%r1+4]\n mov %r0, 1\n a: mov %r4, %r2\n add %r4, 2\n
        jgt %r4, %r3, out\n ldxh %r5, [%r2+0]\n mov %r2, %r4\n ja a\n out: exit";
    let cost = verify(program(Kind::Ash, cursor)).unwrap().worst_case();
    assert!((4_000..5_000).contains(&cost), "{cost}");
}

#[test]
fn functions_are_proven_where_they_are_called() {
    // The callee reads what its caller passes: one call is right, the other is not.
    let text = |second: i32| {
        format!(
            "stdw [%r10-8], 7\n mov %r1, %r10\n add %r1, -8\n call local read\n mov %r6, %r0\n
             mov %r1, %r10\n add %r1, {second}\n call local read\n add %r0, %r6\n exit\n
             read: ldxdw %r0, [%r1+0]\n exit"
        )
    };
    assert_eq!(worst(&text(-8)), 14);
    let code = refused(Kind::Memory, &text(-16));
    assert_eq!(code, RefusalCode::Unsafe(UnsafeReason::UninitialisedStack(-16)));
}

fn with_map(text: &str, maps: Vec<MapSpec>) -> Program {
    program(Kind::Ash, text).with_maps(maps)
}

const LOOK_UP: &str = "mov %r6, %r1\n stw [%r10-4], 1\n mov %r2, %r10\n add %r2, -4\n
    lddw %r1, map_fd 0\n call helper 1\n jeq %r0, 0, out\n";

#[test]
fn the_compiler_is_told_of_maps_and_indirect_calls() {
    let text = format!("{LOOK_UP} ldxdw %r1, [%r0+8]\n out: mov %r0, 1\n exit");
    let maps = vec![MapSpec::array(16, 4)];
    let verified = verify(with_map(&text, maps.clone())).unwrap();
    let told: Vec<_> = (0..12).filter_map(|pc| verified.map_at(pc)).collect();
    assert_eq!((told.as_slice(), verified.map_at(6)), ([0].as_slice(), Some(0)));
    let indirect = LOOK_UP.replace("call helper 1", "mov %r3, 1\n call %r3");
    let text = format!("{indirect} ldxdw %r1, [%r0+8]\n out: mov %r0, 1\n exit");
    let verified = verify(with_map(&text, maps.clone())).unwrap();
    assert_eq!((verified.helper_at(7), verified.map_at(7)), (Some(1), Some(0)));
    assert_eq!(verified.detach().helper_at(7), Some(1));
    let text = format!("{LOOK_UP} ldxdw %r1, [%r0+9]\n out: mov %r0, 1\n exit");
    let refusal = verify(with_map(&text, maps)).unwrap_err();
    assert!(refusal.to_string().contains("16 bytes"), "{refusal}");
    // What programs may only read they do not update either.
    let text = format!("{LOOK_UP} mov %r0, 1\n out: exit");
    let text = text.replace("call helper 1", "mov %r3, %r2\n mov %r4, 0\n call helper 2");
    let constant = MapSpec { read_only: true, ..MapSpec::array(4, 4) };
    assert!(verify(with_map(&text, vec![MapSpec::array(4, 4)])).is_ok());
    let code = verify(with_map(&text, vec![constant])).unwrap_err().code;
    assert_eq!(code, RefusalCode::Unsafe(UnsafeReason::WriteToReadOnly(ebpf::Reg::R1)));
}

#[test]
fn work_grows_with_the_program_and_not_with_its_paths() {
    // Fuel, which does not depend on the machine: a thousand diamonds whose paths all differ.
    let fuel = |diamonds: usize| {
        let mut text = String::from("mov %r8, 0\n mov %r7, %r2\n");
        for at in 0..diamonds {
            text += &format!("jset %r7, {}, l{at}\n add %r8, {at}\n l{at}:\n", 1 << (at % 31));
        }
        let program = program(Kind::Memory, &format!("{text} mov %r0, %r8\n exit"));
        let mut proof = sluice_verifier::SafetyProof::new(program);
        let mut steps = 0_u32;
        loop {
            steps += 1;
            let mut fuel = sluice_verifier::Fuel(1_000);
            if let core::task::Poll::Ready(answer) = proof.step(&mut fuel) {
                assert!(answer.is_ok());
                return steps;
            }
        }
    };
    let (few, many) = (fuel(128), fuel(1_024));
    assert!(many <= few * 10, "{few} {many}");
}

#[test]
fn hard_programs_are_refused_within_their_budget() {
    // A loop of doubt: nothing ends it, and every effort is made.
    let mut text = String::from("mov %r6, %r1\n call helper 7\n mov %r7, %r0\n again:\n");
    for at in 0..40 {
        text += &format!(
            "mov %r5, %r7\n rsh %r5, {at}\n and %r5, 1\n jeq %r5, 0, l{at}\n
             xor %r7, {at}\n l{at}:\n"
        );
    }
    text += "jne %r7, 0, again\n mov %r0, 0\n exit";
    assert_eq!(refused(Kind::Ash, &text), UNBOUNDED);
}
