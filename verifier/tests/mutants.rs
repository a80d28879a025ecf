//! One test for each changed verifier that all the other tests let pass
//! (`docs/evidence/mutants.md`), and that some program can tell from the right one.

#![cfg(test)]

mod common;

use common::{bind, claim_expr, claim_text, program, verify};
use ebpf::Kind;
use sluice_verifier::{BindingId, GrantId, RefusalCode, Registry, UnsafeReason};

/// An ASH that has checked 16 bytes behind `r2`, with a byte of them in `r5`.
fn with_byte(rest: &str) -> String {
    format!(
        "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 2\nmov %r4, %r2\nadd %r4, 16
         jgt %r4, %r3, out\nldxb %r5, [%r2+0]\n{rest}\nout: mov %r0, 2\nexit"
    )
}

fn accepted(text: &str) {
    if let Err(refusal) = verify(program(Kind::Ash, text)) {
        panic!("{refusal}\n{text}");
    }
}

fn refused_for_its_packet(text: &str) {
    let code = verify(program(Kind::Ash, text)).map(|_| ()).map_err(|refusal| refusal.code);
    let wanted = matches!(code, Err(RefusalCode::Unsafe(UnsafeReason::PacketOutOfBounds { .. })));
    assert!(wanted, "{code:?}\n{text}");
}

/// `Stack::store`: what fits its bytes is the same number when it comes back.
#[test]
fn a_number_that_is_kept_in_few_bytes_stays_the_same_number() {
    for size in ["b", "h", "w"] {
        let text = format!("stx{size} [%r10-8], %r5\nldx{size} %r6, [%r10-8]");
        accepted(&with_byte(&format!("{text}\njgt %r6, 7, out\nadd %r2, %r5\nldxdw %r0, [%r2+1]")));
        refused_for_its_packet(&with_byte(&format!(
            "{text}\njgt %r6, 8, out\nadd %r2, %r5\nldxdw %r0, [%r2+1]"
        )));
    }
}

/// `effect::unchanged`: a mask that is larger than a number may still take bits from it.
#[test]
fn a_masked_number_is_another_where_bits_may_go() {
    let text = |mask: u32| {
        with_byte(&format!(
            "mov %r6, %r5\nand %r6, {mask}\njne %r6, 8, out\nadd %r2, %r5\nldxdw %r0, [%r2+0]"
        ))
    };
    accepted(&text(0xff));
    accepted(&text(0x1ff));
    refused_for_its_packet(&text(0x1fe));
    refused_for_its_packet(&text(0xfe));
}

/// `join::covers`: what was seen of a pointer says nothing of one that may be farther to the left.
#[test]
fn a_pointer_that_may_be_farther_left_is_looked_at_again() {
    let right = "jlt %r5, 8, out\njgt %r5, 20, out\nmov %r4, %r2\nadd %r4, %r5";
    let left = "jlt %r5, 3, out\njgt %r5, 12, out\nmov %r4, %r2\nadd %r4, 3\nadd %r4, %r5";
    for (one, other) in [(left, right), (right, left)] {
        let text = |at: i32| {
            format!(
                "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 2\nmov %r4, %r2\nadd %r4, 64
                 jgt %r4, %r3, out\nldxb %r5, [%r2+0]\nldxb %r6, [%r2+1]\njeq %r6, 0, other
                 {one}\nja join\nother: {other}\njoin: mov %r5, 0\nmov %r6, 0
                 ldxb %r0, [%r4{at:+}]\nout: mov %r0, 2\nexit"
            )
        };
        accepted(&text(-6));
        assert!(verify(program(Kind::Ash, &text(-7))).is_err(), "{}", text(-7));
        accepted(&text(43));
        refused_for_its_packet(&text(44));
    }
}

/// `claim::decide`: the end of the packet may stand on either side.
#[test]
fn a_claim_is_the_same_whichever_side_the_end_is_on() {
    let text = |compare: &str| {
        format!(
            "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 20\nmov %r0, 0
             {compare}, out\nmov %r0, 1\nout: exit"
        )
    };
    for (end, place) in [("jlt", "jgt"), ("jle", "jge"), ("jgt", "jlt"), ("jge", "jle")] {
        let one = claim_text(&text(&format!("{end} %r3, %r4")));
        let other = claim_text(&text(&format!("{place} %r4, %r3")));
        assert!(one.is_exact(), "{end}");
        assert_eq!(one.space().subset_of(other.space()), Ok(()), "{end}");
        assert_eq!(other.space().subset_of(one.space()), Ok(()), "{end}");
    }
}

/// `BindingId::to_raw`: what goes through a number comes back.
#[test]
fn handles_are_told_apart_by_their_numbers() {
    let mut registry = Registry::new();
    let mut of = |text: &str| bind(&mut registry, GrantId::ROOT, claim_expr(text)).unwrap();
    let ids = [of("udp and dst port 1"), of("udp and dst port 2")];
    for id in ids {
        assert_eq!(BindingId::from_raw(id.to_raw()), id);
        assert_ne!(id.to_raw(), 0);
    }
    assert_ne!(ids[0].to_raw(), ids[1].to_raw());
    assert_eq!(GrantId::from_raw(GrantId::ROOT.to_raw()), GrantId::ROOT);
}
