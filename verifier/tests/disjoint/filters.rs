//! Pairs of filters inside the fragment, made so that about half of them meet.
//!
//! A filter is a chain of tests: a load of one to four bytes at a constant place or behind an IPv4
//! header, then what compilers put between a load and a comparison (byte order, mask, shift, add,
//! subtract, exclusive or), then a comparison of any kind with a constant, in 32 or 64 bits; or a
//! comparison of the frame's length. A test that fails rejects, or tries another chain.

use std::fmt::Write;

use ebpf::{Kind, Program};

use crate::common::{Random, program};

/// Two filters: unrelated ones, or a filter and a variation of it.
pub(crate) fn pair(random: &mut Random) -> [Program; 2] {
    let first = Filter::new(random);
    let mut second = if random.below(3) > 0 { first.clone() } else { Filter::new(random) };
    for _ in 0..=random.below(2) {
        second.vary(random);
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
enum Test {
    /// Behind an IPv4 header or not, offset, size, steps, comparison.
    Bytes { behind: bool, offset: u64, size: u64, steps: Vec<String>, failing: String },
    /// The frame's length, compared.
    Length(String),
}

const CONDITIONS: [&str; 11] =
    ["jeq", "jne", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle", "jset"];

impl Filter {
    fn new(random: &mut Random) -> Filter {
        let chain =
            |random: &mut Random| (0..=random.below(3)).map(|_| Test::new(random)).collect();
        let mut chains = vec![chain(random)];
        if random.below(3) == 0 {
            chains.push(chain(random));
        }
        Filter { length: 38 + random.below(3) * 20, chains }
    }

    /// Changes one test, or adds one.
    fn vary(&mut self, random: &mut Random) {
        let at = random.below(self.chains.len() as u64) as usize;
        let chain = &mut self.chains[at];
        let test = random.below(chain.len() as u64) as usize;
        match random.below(4) {
            0 => chain.push(Test::new(random)),
            1 => chain[test] = Test::new(random),
            _ => match &mut chain[test] {
                Test::Bytes { size, failing, .. } => {
                    let condition = failing.split(' ').next().unwrap_or("jne").to_owned();
                    *failing = format!("{condition} %r5, {}", constant(random, *size * 8));
                }
                Test::Length(failing) => *failing = of_length(random),
            },
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
    fn new(random: &mut Random) -> Test {
        if random.below(8) == 0 {
            return Test::Length(of_length(random));
        }
        let behind = random.below(4) == 0;
        let size = [1, 2, 4][random.below(3) as usize];
        let offset = if behind {
            random.below(8)
        } else {
            // Few places, so that filters meet there.
            [12, 14, 20, 22, 23, 30, 33, 34][random.below(8) as usize]
        };
        let mut steps: Vec<String> = (0..random.below(3)).map(|_| step(random, size)).collect();
        // A sum is compared, not masked or shifted: with carries it is no field any more.
        let sum = random.below(3) == 0;
        if sum {
            steps.push(add(random, size));
        }
        let mut failing = comparison(random, size * 8);
        while sum && failing.starts_with("jset") {
            failing = comparison(random, size * 8);
        }
        Test::Bytes { behind, offset, size, steps, failing }
    }

    fn write(&self, text: &mut String, fail: &str) {
        let _ = match self {
            Test::Length(failing) => {
                writeln!(text, "mov %r5, %r3\nsub %r5, %r2\n{}, {fail}", failing)
            }
            Test::Bytes { behind, offset, size, steps, failing } => {
                let mut base = "%r2";
                if *behind {
                    let _ = writeln!(
                        text,
                        "ldxb %r6, [%r2+14]\nand %r6, 15\nlsh %r6, 2\nmov %r7, %r2\nadd %r7, %r6\n\
                         mov %r8, %r7\nadd %r8, {}\njgt %r8, %r3, {fail}",
                        14 + offset + size
                    );
                    base = "%r7";
                }
                let letter = ["b", "h", "", "w"][*size as usize - 1];
                let offset = if *behind { offset + 14 } else { *offset };
                let _ = writeln!(text, "ldx{letter} %r5, [{base}+{offset}]");
                steps.iter().for_each(|step| {
                    let _ = writeln!(text, "{step}");
                });
                writeln!(text, "{failing}, {fail}")
            }
        };
    }
}

fn step(random: &mut Random, size: u64) -> String {
    let bits = size * 8;
    match random.below(5) {
        0 if size == 2 => "be16 %r5".to_owned(),
        0 if size == 4 => "be32 %r5".to_owned(),
        0 | 1 => format!("and %r5, {}", [0x0f, 0xf0, 0x1f, 0xff, 0x3f][random.below(5) as usize]),
        2 => format!("rsh %r5, {}", random.below(bits)),
        3 => format!("lsh %r5, {}", random.below(9)),
        _ => format!("xor %r5, {}", constant(random, bits.min(16))),
    }
}

fn add(random: &mut Random, size: u64) -> String {
    let what = ["add", "sub", "add32", "sub32"][random.below(4) as usize];
    format!("{what} %r5, {}", constant(random, size * 8))
}

/// A comparison of the length: of any kind but a test of bits.
fn of_length(random: &mut Random) -> String {
    loop {
        let one = comparison(random, 7);
        if !one.starts_with("jset") {
            return one;
        }
    }
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
