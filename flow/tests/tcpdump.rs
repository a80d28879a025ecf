//! The expressions of `testdata/flow/tcpdump.txt` against tcpdump itself.
//!
//! For each: what `tcpdump -O -ddd` prints (libpcap's compiler, its optimiser off) is read by
//! `flow::classic` and run on frames; beside it our own compiler's space, the filter that the space
//! lowers to, and the filter that the classic program is translated to. All four must agree on
//! every frame whose headers are what they say they are; where the languages differ on purpose is
//! in `flow::expr` (on frames that libpcap's program runs off only the last must agree with it).
//! Without tcpdump the test says so and is skipped.
//!
//! `SLUICE_FRAMES` says how many frames each expression sees (`evidence tcpdump`: 10,000).

use std::process::Command;

use sluice_flow::classic::Classic;
use sluice_flow::{Rule, Space, expr, lower};

const TEXT: &str = include_str!("../../testdata/flow/tcpdump.txt");

/// Frames for each expression, unless the environment says more.
const FRAMES: usize = 300;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[test]
fn our_expressions_mean_what_tcpdump_says() {
    let expressions: Vec<&str> =
        TEXT.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(expressions.len() >= 500);
    let frames = std::env::var("SLUICE_FRAMES").ok().and_then(|it| it.parse().ok());
    let frames = frames.unwrap_or(FRAMES);
    let mut random = Random(0x7cbd_0001);
    let (mut compared, mut accepted, mut wide, mut short) = (0usize, 0usize, 0usize, 0usize);
    for text in &expressions {
        let Some(classic) = compiled(text) else {
            println!("SKIPPED: there is no tcpdump (package `tcpdump`) to compare with");
            return;
        };
        let parsed = expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let space = match parsed.to_space() {
            Ok(space) => space,
            Err(error) => {
                // Named, counted, and never wrong: more rules than a filter may have.
                println!("{text}: {error}");
                wide += 1;
                continue;
            }
        };
        let ours = lower::lower(&space).unwrap_or_else(|error| panic!("{text}: {error}"));
        let theirs = classic.to_filter().unwrap_or_else(|error| panic!("{text}: {error}"));
        let frames_seen = compared + short + frames;
        // Few are left out; an expression of which none is left would be a mistake here.
        for _ in 0..50 * frames {
            if compared + short == frames_seen {
                break;
            }
            let frame = frame(&mut random, &space);
            if !is_what_it_says(&frame) {
                continue;
            }
            let verdict = classic.run(&frame) != 0;
            let accepts = |filter| ebpf::interp::accepts(filter, &frame);
            assert_eq!(accepts(&theirs), Ok(verdict), "{text}\n{frame:02x?}");
            if classic.result(&frame).is_none() {
                short += 1;
                continue;
            }
            assert_eq!(space.contains(&frame), verdict, "{text}\n{frame:02x?}");
            assert_eq!(accepts(&ours), Ok(verdict), "{text}\n{frame:02x?}");
            compared += 1;
            accepted += usize::from(verdict);
        }
        assert_eq!(compared + short, frames_seen, "{text}");
    }
    println!(
        "| expressions | too many rules | frames compared | accepted | too short for tcpdump \
         | disagreements |\n|---:|---:|---:|---:|---:|---:|\n\
         | {} | {wide} | {compared} | {accepted} | {short} | 0 |",
        expressions.len()
    );
    assert!(
        wide * 20 < expressions.len() && accepted * 10 > compared && accepted * 10 < compared * 9
    );
}

/// libpcap's program, not optimised; `None` if there is no tcpdump.
fn compiled(text: &str) -> Option<Classic> {
    let output =
        Command::new("tcpdump").args(["-y", "EN10MB", "-O", "-ddd", text]).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    Some(Classic::parse(&printed).unwrap_or_else(|error| panic!("{text}: {error}\n{printed}")))
}

/// A frame of the space with a few bytes changed, or one that looks like traffic.
fn frame(random: &mut Random, space: &Space) -> Vec<u8> {
    let rules = space.rules();
    let rule: Option<&Rule> = rules.get(random.below(rules.len()));
    let mut frame = match rule.and_then(|rule| rule.witness().ok().flatten()) {
        Some(frame) if random.below(3) > 0 => frame,
        _ => traffic(random),
    };
    if random.below(3) == 0 {
        frame.resize((frame.len() + random.below(60)).min(1522), 0);
    }
    let at = random.below(frame.len());
    match random.below(5) {
        0 => frame[at] = random.below(256) as u8,
        1 => frame[at] ^= 1 << random.below(8),
        2 if frame.len() > 40 => frame.truncate(14 + random.below(frame.len() - 14)),
        3 if frame.len() > 38 => frame[34 + at % 4] = random.pick(&[0, 22, 53, 80, 255]),
        _ => {}
    }
    frame
}

fn traffic(random: &mut Random) -> Vec<u8> {
    let mut frame = vec![0; 14 + random.below(90)];
    for byte in &mut frame {
        *byte = random.pick(&[0, 1, 10, 53, 80, 255, 6, 17, 0x45, 0x60]);
    }
    let mut tags = random.below(8).saturating_sub(5);
    let mut at = 12;
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    while tags > 0 {
        put(at, &random.pick(&[[0x81, 0], [0x88, 0xa8], [0x91, 0]]));
        put(at + 2, &[random.below(256) as u8, random.pick(&[0, 1, 5, 7, 100])]);
        (at, tags) = (at + 4, tags - 1);
    }
    match random.below(4) {
        0 => {
            put(at, &[0x86, 0xdd, 0x60]);
            put(at + 8, &[random.pick(&[6, 17, 58, 132, 1])]);
        }
        1 => put(at, &[8, 6]),
        _ => {
            put(at, &[8, 0, random.pick(&[0x45, 0x45, 0x46, 0x4f])]);
            put(at + 8, &[random.pick(&[0, 0, 0x40, 0x20]), random.pick(&[0, 0, 1])]);
            put(at + 11, &[random.pick(&[6, 17, 1, 132])]);
        }
    }
    frame
}

/// Whether headers are as long and of the version as the type before them says, and none of those
/// that the two languages treat differently: RARP, IPv6 behind a fragment header.
fn is_what_it_says(frame: &[u8]) -> bool {
    // Whatever is behind a type may be asked about, also where the tags are not heeded.
    [12, 16, 20].into_iter().all(|at| {
        let kind = frame.get(at..at + 2).map(|it| u16::from_be_bytes([it[0], it[1]]));
        let first = frame.get(at + 2).copied();
        match (kind, first) {
            (Some(0x0800), Some(first)) => first >> 4 == 4 && first & 0x0f >= 5,
            (Some(0x86dd), Some(first)) => first >> 4 == 6 && frame.get(at + 8) != Some(&44),
            (Some(0x8035), _) => false,
            _ => true,
        }
    })
}
