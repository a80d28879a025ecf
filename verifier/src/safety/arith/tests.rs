//! Every operation against the interpreter's arithmetic on sampled members of sampled sets.

use ebpf::interp::arith as concrete;
use ebpf::{AluOp, ByteOrder, Cond, Size, Width};

use super::super::bits::Bits;
use super::super::number::Num;
use super::super::refine;
use super::{alu, endian, neg, sign_extend};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Numbers near the edges that bugs live at.
    fn number(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            2,
            0x7f,
            0x80,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
        ];
        let near = (self.next() % 5).wrapping_sub(2);
        match self.next() % 4 {
            0 => self.next(),
            1 => self.next() & 0xff,
            _ => EDGES[(self.next() % 12) as usize].wrapping_add(near),
        }
    }

    /// A set with a member.
    fn set(&mut self) -> (Num, u64) {
        let member = self.number();
        let other = self.number();
        let set = match self.next() % 5 {
            0 => Num::constant(member),
            1 => Num::unsigned(member.min(other), member.max(other)),
            2 => {
                let (a, b) = (member.cast_signed(), other.cast_signed());
                Num::signed(a.min(b), a.max(b))
            }
            3 => {
                let unknown = self.number();
                Num::of_bits(Bits { value: member & !unknown, unknown })
            }
            _ => Num::UNKNOWN,
        };
        assert!(set.contains(member), "{set:?} lacks {member:#x}");
        (set, member)
    }
}

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

#[test]
fn results_of_members_are_members_of_results() {
    let mut random = Random(0x5eed_0001);
    for _ in 0..40_000 {
        let ((a, x), (b, y)) = (random.set(), random.set());
        for width in WIDTHS {
            for op in AluOp::ALL {
                let (set, number) = (alu(width, op, a, b), concrete::alu(width, op, x, y));
                assert!(
                    set.contains(number),
                    "{width:?} {op:?} {x:#x} {y:#x} = {number:#x} not in {set:x?}; {a:x?} {b:x?}"
                );
            }
            assert!(neg(width, a).contains(concrete::neg(width, x)));
            for from in [Size::B1, Size::B2, Size::B4] {
                let number = concrete::sign_extend(width, from, x);
                assert!(sign_extend(width, from, a).contains(number), "{width:?} {from:?} {a:x?}");
            }
        }
        for order in [ByteOrder::Le, ByteOrder::Be, ByteOrder::Swap] {
            for bits in [16, 32, 64] {
                assert!(endian(order, bits, a).contains(concrete::endian(order, bits, x)));
            }
        }
    }
}

#[test]
fn a_branch_keeps_the_members_that_take_it() {
    let mut random = Random(0x5eed_0002);
    for _ in 0..40_000 {
        let ((a, x), (b, y)) = (random.set(), random.set());
        for width in WIDTHS {
            for cond in Cond::ALL {
                let taken = concrete::holds(width, cond, x, y);
                let refined = refine::branch(width, cond, taken, a, b);
                let (left, right) = refined.unwrap_or_else(|| {
                    panic!("{width:?} {cond:?} {taken} of {x:#x} {y:#x}: {a:x?} {b:x?}")
                });
                assert!(
                    left.contains(x) && right.contains(y),
                    "{width:?} {cond:?} {taken} of {x:#x} {y:#x}: {left:x?} {right:x?}"
                );
            }
        }
    }
}

#[test]
fn joins_hold_both_and_intersections_the_common() {
    let mut random = Random(0x5eed_0003);
    for _ in 0..40_000 {
        let ((a, x), (b, y)) = (random.set(), random.set());
        let join = a.join(&b);
        assert!(join.contains(x) && join.contains(y));
        assert!(a.low32().contains(x & 0xffff_ffff));
        if b.contains(x) {
            assert!(a.intersect(&b).is_some_and(|both| both.contains(x)));
        }
    }
}

#[test]
fn bounds_that_programs_rely_on_are_exact() {
    let byte = Num::unsigned(0, 255);
    let header = alu(Width::W64, AluOp::And, byte, Num::constant(0x0f));
    let header = alu(Width::W64, AluOp::Lsh, header, Num::constant(2));
    assert_eq!((header.umin, header.umax), (0, 60));
    let any = Num::UNKNOWN;
    assert_eq!(alu(Width::W64, AluOp::Mod, any, Num::constant(16)).umax, 15);
    // Cut to 32 bits the sign is lost, not extended.
    let cut = alu(Width::W32, AluOp::Mov, any, Num::constant(u64::MAX));
    assert_eq!(cut.as_constant(), Some(0xffff_ffff));
    assert_eq!(alu(Width::W32, AluOp::Mov, any, any).umax, 0xffff_ffff);
}
