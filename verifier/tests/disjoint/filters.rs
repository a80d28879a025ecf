//! Pairs of filters inside the fragment, made so that about half of them meet.
//!
//! A filter is a chain of tests. Most are a load of one to four bytes and a comparison of any kind
//! with a constant, in 32 or 64 bits, and between the two what compilers put there: byte order,
//! mask, shift, exclusive or, sums, in any order. The load is at a constant place (behind VLAN tags
//! too), behind an IPv4 header, behind a TCP header behind that, or behind one or two IPv6
//! extension headers. The others are of the frame's length. A test that fails rejects, or tries
//! another chain; a frame that ends in an extension header, or before the byte behind it, is
//! always rejected.

use std::fmt::Write;

use ebpf::{Kind, Program};

use crate::common::{Random, program};

/// Two filters: unrelated ones, or a filter and a variation of it. Each test is at one of these
/// places, all as likely.
pub(crate) fn pair(random: &mut Random, places: &[Place]) -> [Program; 2] {
    let first = Filter::new(random, places);
    let mut second = if random.below(3) > 0 { first.clone() } else { Filter::new(random, places) };
    for _ in 0..=random.below(2) {
        second.vary(random, places);
    }
    [first, second].map(|filter| program(Kind::Filter, &filter.text()))
}

#[derive(Clone)]
struct Filter {
    /// Frames must have so many bytes.
    length: u64,
    /// Accepted if all tests of one chain pass.
    chains: Vec<Vec<Test>>,
}

#[derive(Clone)]
struct Test {
    place: Place,
    /// Behind the place.
    offset: u64,
    size: u64,
    steps: Vec<String>,
    /// The branch to where the test has failed.
    failing: String,
}

/// Where a number comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Frame,
    /// Behind so many VLAN tags.
    Tags(u64),
    Ipv4,
    /// Behind a TCP header behind an IPv4 header.
    Tcp,
    /// Behind an IPv6 extension header.
    Extension,
    /// Behind two, the first of at most 32 bytes.
    Extensions,
    /// The frame's length.
    Length,
}

/// What the pairs are made of that Z3 is asked about: half of the tests are at constant places, a
/// fifth behind IPv4 options, a tenth behind VLAN tags, a twentieth each behind TCP options, behind
/// one or two extension headers, and of the length.
pub(crate) const MIX: [Place; 20] = [
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Frame,
    Place::Tags(1),
    Place::Tags(2),
    Place::Ipv4,
    Place::Ipv4,
    Place::Ipv4,
    Place::Ipv4,
    Place::Tcp,
    Place::Extension,
    Place::Extensions,
    Place::Length,
];

const CONDITIONS: [&str; 11] =
    ["jeq", "jne", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle", "jset"];

impl Filter {
    fn new(random: &mut Random, places: &[Place]) -> Filter {
        let chain = |random: &mut Random| {
            (0..=random.below(3)).map(|_| Test::new(random, places)).collect()
        };
        let mut chains = vec![chain(random)];
        if random.below(3) == 0 {
            chains.push(chain(random));
        }
        Filter { length: 58 + random.below(3) * 20, chains }
    }

    /// Changes one test, or adds one.
    fn vary(&mut self, random: &mut Random, places: &[Place]) {
        let at = random.below(self.chains.len() as u64) as usize;
        let chain = &mut self.chains[at];
        let test = random.below(chain.len() as u64) as usize;
        match random.below(4) {
            0 => chain.push(Test::new(random, places)),
            1 => chain[test] = Test::new(random, places),
            _ => {
                let Test { size, failing, .. } = &mut chain[test];
                let condition = failing.split(' ').next().unwrap_or("jne").to_owned();
                *failing = format!("{condition} %r5, {}", constant(random, *size * 8));
            }
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r0, 0\nmov %r4, %r2\nadd %r4, {}\n\
             jgt %r4, %r3, out\n",
            self.length
        );
        for (number, chain) in self.chains.iter().enumerate() {
            for test in chain {
                test.write(&mut text, &format!("no{number}"));
            }
            let _ = writeln!(text, "mov %r0, 1\nja out\nno{number}: mov %r0, 0");
        }
        text.push_str("out: exit\n");
        text
    }
}

impl Test {
    fn new(random: &mut Random, places: &[Place]) -> Test {
        let place = places[random.below(places.len() as u64) as usize];
        let size = match place {
            Place::Length => 2,
            _ => [1, 2, 4][random.below(3) as usize],
        };
        let offset = match place {
            // Few places, so that filters meet there.
            Place::Frame => [12, 14, 20, 22, 23, 30, 33, 34][random.below(8) as usize],
            Place::Tags(_) => 12 + random.below(8),
            _ => random.below(8),
        };
        let steps = (0..random.below(4)).map(|_| step(random, size)).collect();
        let bits = if place == Place::Length { 10 } else { size * 8 };
        Test { place, offset, size, steps, failing: comparison(random, bits) }
    }

    fn write(&self, text: &mut String, fail: &str) {
        let Test { place, offset, size, steps, failing } = self;
        // What leads to the place, and how far it is from register and name.
        let (base, add) = match place {
            Place::Frame | Place::Length => ("%r2", 0),
            Place::Tags(tags) => {
                for tag in 0..*tags {
                    let at = 12 + tag * 4;
                    let _ = writeln!(text, "ldxh %r5, [%r2+{at}]\njne %r5, 0x0081, {fail}");
                }
                ("%r2", tags * 4)
            }
            Place::Ipv4 => {
                text.push_str(IPV4);
                ("%r7", 14)
            }
            Place::Tcp => {
                let _ = write!(
                    text,
                    "{IPV4}mov %r8, %r7\nadd %r8, 27\njgt %r8, %r3, {fail}\nldxb %r6, [%r7+26]\n\
                     rsh %r6, 2\nand %r6, 60\nadd %r7, %r6\n"
                );
                ("%r7", 14)
            }
            Place::Extension => {
                let _ = write!(text, "ldxb %r6, [%r2+55]\n{HEADER}");
                ("%r7", 54)
            }
            Place::Extensions => {
                let _ = write!(
                    text,
                    "ldxb %r6, [%r2+55]\nand %r6, 3\n{HEADER}mov %r8, %r7\nadd %r8, 56\n\
                     jgt %r8, %r3, out\nldxb %r6, [%r7+55]\nadd %r6, 1\nlsh %r6, 3\n\
                     add %r7, %r6\n"
                );
                ("%r7", 54)
            }
        };
        let at = add + offset;
        let fail_if_short = match place {
            // All lengths of a header at which that is so are more cases than are told apart.
            Place::Extension | Place::Extensions => "out",
            _ => fail,
        };
        if base == "%r7" {
            let _ = writeln!(
                text,
                "mov %r8, %r7\nadd %r8, {}\njgt %r8, %r3, {fail_if_short}",
                at + size
            );
        }
        let letter = ["b", "h", "", "w"][*size as usize - 1];
        let _ = match place {
            Place::Length => writeln!(text, "mov %r5, %r3\nsub %r5, %r2"),
            _ => writeln!(text, "ldx{letter} %r5, [{base}+{at}]"),
        };
        let _ = writeln!(text, "{}{failing}, {fail}", steps.concat());
    }
}

/// `r7` so far behind the frame's start as the IPv4 header is long.
const IPV4: &str = "ldxb %r6, [%r2+14]\nand %r6, 15\nlsh %r6, 2\nmov %r7, %r2\nadd %r7, %r6\n";

/// `r7` so far behind the frame's start as the extension header is long whose length is in `r6`.
const HEADER: &str = "add %r6, 1\nlsh %r6, 3\nmov %r7, %r2\nadd %r7, %r6\n";

fn step(random: &mut Random, size: u64) -> String {
    let bits = size * 8;
    let what = match random.below(7) {
        0 if size == 2 => "be16 %r5".to_owned(),
        0 if size == 4 => "be32 %r5".to_owned(),
        0 | 1 => format!("and %r5, {}", [0x0f, 0xf0, 0x1f, 0xff, 0x3f][random.below(5) as usize]),
        2 => format!("rsh %r5, {}", random.below(bits)),
        3 => format!("lsh %r5, {}", random.below(9)),
        4 => format!("xor %r5, {}", constant(random, bits.min(16))),
        _ => {
            let what = ["add", "sub", "add32", "sub32"][random.below(4) as usize];
            format!("{what} %r5, {}", constant(random, bits))
        }
    };
    what + "\n"
}

/// A branch to where the test has failed.
fn comparison(random: &mut Random, bits: u64) -> String {
    let condition = match random.below(3) {
        0 => "jne",
        _ => CONDITIONS[random.below(11) as usize],
    };
    let width = if random.below(3) == 0 { "32" } else { "" };
    format!("{condition}{width} %r5, {}", constant(random, bits))
}

/// Numbers at the edges.
fn constant(random: &mut Random, bits: u64) -> i64 {
    let top = 1i64 << (bits - 1).min(30);
    let edge = [0, 1, 2, 8, 17, 53, 64, 69, 80, 127, 255, top - 1, top, top + 1, -1];
    edge[random.below(15) as usize]
}
