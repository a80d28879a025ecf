//! The domain held against arithmetic itself: exhaustively in small worlds, and as queries for a
//! solver in the whole one.
//!
//! For tests and evidence only. A small world is every set that an interval or known bits describe
//! over a few neighbouring numbers, at the places where widths and signs end; every operation and
//! every branch is asked for every pair of them, every member tried. A [`Query`] asks a solver of
//! bit vectors whether any member of two sets leads outside the result, over all 2^64 values of
//! each; `unsat` is the answer of a sound domain.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::interp::arith as concrete;
use ebpf::{AluOp, ByteOrder, Cond, Size, Width};

use super::arith;
use super::bits::Bits;
use super::number::Num;
use super::refine;

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const NARROW: [Size; 3] = [Size::B1, Size::B2, Size::B4];

/// Where numbers wrap or change sign.
const PLACES: [u64; 6] = [0, 0x80, 1 << 31, 1 << 32, 1 << 63, u64::MAX];

/// What a small world was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exhausted {
    /// Pairs of sets and operation.
    pub operations: u64,
    /// Members tried.
    pub members: u64,
    /// The first results that lack a member, at most ten.
    pub wrong: Vec<String>,
}

/// One question for a solver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which operation at which width.
    pub name: String,
    /// The sets and the result, for a report.
    pub about: String,
    /// SMT-LIB 2: `check-sat` answers `unsat` if the result has every member.
    pub text: String,
}

/// Every set over `1 << bits` neighbouring numbers at one place.
fn world(place: u64, bits: u32) -> Vec<Num> {
    let (count, start) = (1u64 << bits, place.wrapping_sub(1 << (bits - 1)));
    let numbers: Vec<u64> = (0..count).map(|at| start.wrapping_add(at)).collect();
    let mut sets = Vec::new();
    for (index, &a) in numbers.iter().enumerate() {
        for &b in numbers.get(index..).unwrap_or_default() {
            sets.push(Num::unsigned(a.min(b), a.max(b)));
            let (a, b) = (a.cast_signed(), b.cast_signed());
            sets.push(Num::signed(a.min(b), a.max(b)));
        }
    }
    for value in 0..count {
        for unknown in (0..count).filter(|unknown| unknown & value == 0) {
            let high = place & !(count - 1);
            sets.push(Num::of_bits(Bits { value: high | value, unknown }));
        }
    }
    // Low halves of anything.
    let halves: Vec<Num> = sets.iter().filter_map(|set| Num::UNKNOWN.with_low(set)).collect();
    sets.extend(halves.into_iter().step_by(3));
    // Some that are wide: the whole, halves, and a wide one with holes.
    sets.push(Num::UNKNOWN);
    sets.push(Num::unsigned(0, place));
    sets.push(Num::of_bits(Bits { value: place & 1, unknown: !1 & !(place & 1) }));
    sets
}

/// Members that are tried: all near the place, and the ends.
fn members(set: &Num, places: [u64; 2], bits: u32) -> Vec<u64> {
    let half = 1u64 << (bits - 1);
    let near = places
        .into_iter()
        .flat_map(|place| (0..2 * half).map(move |at| place.wrapping_sub(half).wrapping_add(at)));
    let ends =
        [0, 1, u64::MAX, set.umin, set.umax, set.smin.cast_unsigned(), set.smax.cast_unsigned()];
    let mut found: Vec<u64> = near.chain(ends).filter(|&number| set.contains(number)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Asks every operation and branch about every pair of sets over `1 << bits` numbers at every pair
/// of places.
#[must_use]
pub fn exhaust(bits: u32) -> Exhausted {
    let mut done = Exhausted::default();
    for left in PLACES {
        for right in PLACES {
            let other = world(right, bits);
            for a in &world(left, bits) {
                let xs = members(a, [left, right], bits);
                unary(&mut done, *a, &xs);
                for b in &other {
                    let ys = members(b, [left, right], bits);
                    binary(&mut done, (*a, &xs), (*b, &ys));
                }
            }
        }
    }
    done
}

fn note(done: &mut Exhausted, holds: bool, text: impl FnOnce() -> String) {
    done.members += 1;
    if !holds && done.wrong.len() < 10 {
        done.wrong.push(text());
    }
}

fn unary(done: &mut Exhausted, a: Num, xs: &[u64]) {
    for &(ref name, set, of) in &unaries(a) {
        done.operations += 1;
        for &x in xs {
            note(done, set.contains(of.apply(x)), || {
                format!("{name} {x:#x}: {a:x?} gives {set:x?}")
            });
        }
    }
}

fn binary(done: &mut Exhausted, (a, xs): (Num, &[u64]), (b, ys): (Num, &[u64])) {
    for width in WIDTHS {
        for op in AluOp::ALL {
            done.operations += 1;
            let set = arith::alu(width, op, a, b);
            for (x, y) in pairs(xs, ys) {
                let number = concrete::alu(width, op, x, y);
                note(done, set.contains(number), || {
                    format!("{width:?} {op:?} {x:#x} {y:#x} = {number:#x}: {a:x?} {b:x?} {set:x?}")
                });
            }
        }
        for cond in Cond::ALL {
            done.operations += 2;
            let sides = [false, true].map(|holds| refine::branch(width, cond, holds, a, b));
            for (x, y) in pairs(xs, ys) {
                let taken = concrete::holds(width, cond, x, y);
                let side = sides.get(usize::from(taken)).copied().flatten();
                let inside = side.is_some_and(|(a, b)| a.contains(x) && b.contains(y));
                note(done, inside, || {
                    format!("{width:?} {cond:?} {taken} {x:#x} {y:#x}: {a:x?} {b:x?} {side:x?}")
                });
            }
        }
    }
    done.operations += 2;
    let (join, both) = (a.join(&b), a.intersect(&b));
    for &y in ys {
        note(done, !a.includes(&b) || a.contains(y), || format!("{a:x?} includes {b:x?}: {y:#x}"));
    }
    for &x in xs {
        note(done, join.contains(x), || format!("join of {a:x?} {b:x?} lacks {x:#x}"));
        let kept = !b.contains(x) || both.is_some_and(|both| both.contains(x));
        note(done, kept, || format!("meet of {a:x?} {b:x?} lacks {x:#x}"));
    }
}

fn pairs<'a>(xs: &'a [u64], ys: &'a [u64]) -> impl Iterator<Item = (u64, u64)> + 'a {
    xs.iter().flat_map(|&x| ys.iter().map(move |&y| (x, y)))
}

/// An operation of one operand.
#[derive(Clone, Copy, Debug)]
enum Unary {
    Neg(Width),
    Extend(Width, Size),
    Swap(ByteOrder, u8),
    Low,
    Wide,
}

impl Unary {
    fn apply(self, x: u64) -> u64 {
        match self {
            Unary::Neg(width) => concrete::neg(width, x),
            Unary::Extend(width, from) => concrete::sign_extend(width, from, x),
            Unary::Swap(order, bits) => concrete::endian(order, bits, x),
            Unary::Low => x & u64::from(u32::MAX),
            Unary::Wide => i64::from(x as u32 as i32).cast_unsigned(),
        }
    }

    /// The result as a bit-vector term.
    fn term(self) -> String {
        match self {
            Unary::Neg(Width::W64) => "(bvneg x)".into(),
            Unary::Neg(Width::W32) => "((_ zero_extend 32) (bvneg ((_ extract 31 0) x)))".into(),
            Unary::Extend(width, from) => {
                let (last, bits) = (from.bits() - 1, if width == Width::W32 { 32 } else { 64 });
                let part =
                    format!("((_ sign_extend {}) ((_ extract {last} 0) x))", bits - last - 1);
                if bits == 32 { format!("((_ zero_extend 32) {part})") } else { part }
            }
            Unary::Swap(order, bits) => swapped(order, bits),
            Unary::Low => "((_ zero_extend 32) ((_ extract 31 0) x))".into(),
            Unary::Wide => "((_ sign_extend 32) ((_ extract 31 0) x))".into(),
        }
    }
}

fn swapped(order: ByteOrder, bits: u8) -> String {
    let bytes = (0..bits / 8).map(|at| format!("((_ extract {} {}) x)", at * 8 + 7, at * 8));
    let mut bytes: Vec<String> = bytes.collect();
    if order == ByteOrder::Le {
        bytes.reverse();
    }
    let whole = format!("(concat {})", bytes.join(" "));
    if bits == 64 { whole } else { format!("((_ zero_extend {}) {whole})", 64 - bits) }
}

fn unaries(a: Num) -> Vec<(String, Num, Unary)> {
    let mut all = Vec::new();
    for width in WIDTHS {
        all.push((format!("Neg {width:?}"), arith::neg(width, a), Unary::Neg(width)));
        for from in NARROW {
            if from != Size::B4 || width == Width::W64 {
                let set = arith::sign_extend(width, from, a);
                all.push((format!("Extend {width:?} {from:?}"), set, Unary::Extend(width, from)));
            }
        }
    }
    for order in [ByteOrder::Le, ByteOrder::Be, ByteOrder::Swap] {
        for bits in [16, 32, 64] {
            let set = arith::endian(order, bits, a);
            all.push((format!("{order:?}{bits}"), set, Unary::Swap(order, bits)));
        }
    }
    all.push(("Low32".into(), a.low32(), Unary::Low));
    all.push(("Wide32".into(), a.sext32(), Unary::Wide));
    all
}

/// Choices from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn number(&mut self) -> u64 {
        let place = PLACES.get((self.next() % 6) as usize).copied().unwrap_or(0);
        match self.next() % 4 {
            0 => self.next(),
            1 => self.next() & 0xff,
            2 => place.wrapping_add(self.next() % 32).wrapping_sub(16),
            _ => self.next() >> (self.next() & 63),
        }
    }

    /// A set as proofs make them: one view, or two that meet.
    fn set(&mut self) -> Num {
        let one = self.view();
        if self.next() & 1 == 0 {
            return one;
        }
        one.intersect(&self.view()).unwrap_or(one)
    }

    fn view(&mut self) -> Num {
        let (a, b) = (self.number(), self.number());
        match self.next() % 6 {
            5 => {
                let half = Num::unsigned(a.min(b), a.max(b));
                Num::UNKNOWN.with_low(&half).unwrap_or(half)
            }
            0 => Num::constant(a),
            1 => Num::unsigned(a.min(b), a.max(b)),
            2 => {
                let (a, b) = (a.cast_signed(), b.cast_signed());
                Num::signed(a.min(b), a.max(b))
            }
            3 => Num::of_bits(Bits { value: a & !b, unknown: b }),
            _ => Num::UNKNOWN,
        }
    }
}

/// `count` questions for each operation and branch, at both widths, about sets chosen by the seed.
#[must_use]
pub fn queries(seed: u64, count: usize) -> Vec<Query> {
    let mut random = Random(seed | 1);
    let mut queries = Vec::new();
    for _ in 0..count {
        for width in WIDTHS {
            for op in AluOp::ALL {
                let (a, b) = (random.set(), random.set());
                queries.push(operation(width, op, a, b));
            }
            for cond in Cond::ALL {
                for holds in [false, true] {
                    queries.push(decision(width, cond, holds, [random.set(), random.set()]));
                }
            }
        }
        let a = random.set();
        for (name, set, of) in unaries(a) {
            let text = format!(
                "{DECLARE}{}(assert (not {}))",
                assert_in(&a, "x"),
                inside(&set, &of.term())
            );
            queries.push(Query { name, about: format!("{a:x?} gives {set:x?}"), text });
        }
    }
    queries
}

const DECLARE: &str = "(declare-const x (_ BitVec 64))(declare-const y (_ BitVec 64))";

fn operation(width: Width, op: AluOp, a: Num, b: Num) -> Query {
    let set = arith::alu(width, op, a, b);
    let text = format!(
        "{DECLARE}{}{}(assert (not {}))",
        assert_in(&a, "x"),
        assert_in(&b, "y"),
        inside(&set, &term(width, op))
    );
    let about = format!("{a:x?} {b:x?} gives {set:x?}");
    Query { name: format!("{op:?} {width:?}"), about, text }
}

fn decision(width: Width, cond: Cond, holds: bool, [a, b]: [Num; 2]) -> Query {
    let sides = refine::branch(width, cond, holds, a, b);
    let inside = sides
        .map_or("false".into(), |(a, b)| format!("(and {} {})", inside(&a, "x"), inside(&b, "y")));
    let test = comparison(width, cond);
    let test = if holds { test } else { format!("(not {test})") };
    let text = format!(
        "{DECLARE}{}{}(assert {test})(assert (not {inside}))",
        assert_in(&a, "x"),
        assert_in(&b, "y"),
    );
    let about = format!("{a:x?} {b:x?} {holds} gives {sides:x?}");
    Query { name: format!("{cond:?} {width:?}"), about, text }
}

fn assert_in(set: &Num, term: &str) -> String {
    format!("(assert {})", inside(set, term))
}

fn number(value: u64) -> String {
    format!("#x{value:016x}")
}

fn half(value: u32) -> String {
    format!("#x{value:08x}")
}

/// That a term is a member.
fn inside(set: &Num, term: &str) -> String {
    format!(
        "(let ((v {term})) (let ((h ((_ extract 31 0) v))) (and (= (bvand v {}) {}) (bvule {} v) \
         (bvule v {}) (bvsle {} v) (bvsle v {}) (bvule {} h) (bvule h {}) (bvsle {} h) \
         (bvsle h {}))))",
        number(!set.bits.unknown),
        number(set.bits.value),
        number(set.umin),
        number(set.umax),
        number(set.smin.cast_unsigned()),
        number(set.smax.cast_unsigned()),
        half(set.low.0),
        half(set.low.1),
        half(set.slow.0.cast_unsigned()),
        half(set.slow.1.cast_unsigned()),
    )
}

/// `x op y` as a term of 64 bits, after RFC 9669 section 4.1.
fn term(width: Width, op: AluOp) -> String {
    let (x, y, zero, mask) = match width {
        Width::W64 => ("x", "y", number(0), number(63)),
        Width::W32 => (
            "((_ extract 31 0) x)",
            "((_ extract 31 0) y)",
            "#x00000000".into(),
            "#x0000001f".into(),
        ),
    };
    let plain = |name: &str| format!("({name} {x} {y})");
    let shift = |name: &str| format!("({name} {x} (bvand {y} {mask}))");
    let guarded =
        |name: &str, other: &str| format!("(ite (= {y} {zero}) {other} ({name} {x} {y}))");
    let result = match op {
        AluOp::Add => plain("bvadd"),
        AluOp::Sub => plain("bvsub"),
        AluOp::Mul => plain("bvmul"),
        AluOp::Div => guarded("bvudiv", &zero),
        AluOp::Sdiv => guarded("bvsdiv", &zero),
        AluOp::Mod => guarded("bvurem", x),
        AluOp::Smod => guarded("bvsrem", x),
        AluOp::Or => plain("bvor"),
        AluOp::And => plain("bvand"),
        AluOp::Xor => plain("bvxor"),
        AluOp::Lsh => shift("bvshl"),
        AluOp::Rsh => shift("bvlshr"),
        AluOp::Arsh => shift("bvashr"),
        AluOp::Mov => y.into(),
    };
    match width {
        Width::W64 => result,
        Width::W32 => format!("((_ zero_extend 32) {result})"),
    }
}

fn comparison(width: Width, cond: Cond) -> String {
    let (x, y) = match width {
        Width::W64 => ("x", "y"),
        Width::W32 => ("((_ extract 31 0) x)", "((_ extract 31 0) y)"),
    };
    let name = match cond {
        Cond::Eq => "=",
        Cond::Ne => "distinct",
        Cond::Gt => "bvugt",
        Cond::Ge => "bvuge",
        Cond::Lt => "bvult",
        Cond::Le => "bvule",
        Cond::Set => return format!("(distinct (bvand {x} {y}) (bvand {x} (bvnot {x})))"),
        Cond::Sgt => "bvsgt",
        Cond::Sge => "bvsge",
        Cond::Slt => "bvslt",
        Cond::Sle => "bvsle",
    };
    format!("({name} {x} {y})")
}
