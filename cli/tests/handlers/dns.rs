//! Names: what the handler says is what the library OS says.

use sluice_examples::dns::{Zone, answer, cached, question};
use zerocopy::IntoBytes;

use crate::{Handler, Random, survives};
use sluice::wire::frames;

const OBJECT: &[u8] = include_bytes!("../../../examples/ash/dns.o");
const ZONE: &str = include_str!("../../../examples/zone.txt");

fn zone() -> Zone {
    Zone::parse("sluice.test.", ZONE).unwrap()
}

fn handler() -> Handler {
    let handler = Handler::load(OBJECT, "dns");
    for (key, entry) in cached(&zone()) {
        handler.map("answers").update(key.as_bytes(), entry.as_bytes(), 0).unwrap();
    }
    handler
}

const EDNS: [u8; 11] = [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
const COOKIE: [u8; 23] =
    [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn the_handler_says_what_the_library_os_says() {
    let (handler, zone) = (handler(), zone());
    let names = ["sluice.test", "www.SLUICE.test", "Ns.sluice.tEST", "mail.sluice.test"];
    let mut answered = 0;
    for name in names {
        for kind in [1, 28] {
            for flags in [0, 0x0100, 0x0130] {
                for edns in [&[][..], &EDNS, &COOKIE] {
                    let asked = question(flags, name, kind, edns);
                    let Some(told) = handler.ask(53, &asked) else {
                        assert!(kind == 28 && !name.starts_with("www"), "{name} {kind}");
                        continue;
                    };
                    assert_eq!(Some(told), answer(&zone, &asked), "{name} {kind} {flags:x}");
                    answered += 1;
                }
            }
        }
    }
    assert_eq!(answered, 5 * 9);
    let seen = handler.map(".bss");
    let mut counts = [0; 16];
    assert!(seen.read(0, 0, &mut counts));
    assert_eq!(counts[..8], 45_u64.to_le_bytes());
}

#[test]
fn names_of_every_length_are_summed_rightly() {
    // Each length puts the records at another place of the words of the checksum.
    let handler = Handler::load(OBJECT, "dns");
    for length in 1..=52 {
        let label = "x".repeat(length);
        let text = format!("@ 1 SOA a b 1 2 3 4 5\n{label} 7 A 10.255.254.1\n{label} 7 A 1.2.3.4");
        let zone = Zone::parse("zz.", &text).unwrap();
        for (key, entry) in cached(&zone) {
            handler.map("answers").update(key.as_bytes(), entry.as_bytes(), 0).unwrap();
        }
        for edns in [&[][..], &EDNS, &COOKIE] {
            let asked = question(0x100, &format!("{label}.zz"), 1, edns);
            assert_eq!(handler.ask(53, &asked), answer(&zone, &asked), "{length}");
        }
    }
}

#[test]
fn what_is_not_in_the_map_is_passed_on() {
    let handler = handler();
    let long = format!("{}.sluice.test", "a".repeat(63));
    let passed = [
        question(0x100, "nobody.sluice.test", 1, &[]),
        question(0x100, "www.sluice.test", 16, &[]),
        question(0x100, "alias.sluice.test", 1, &[]),
        question(0x100, &long, 1, &[]),
        question(0x8100, "www.sluice.test", 1, &[]),
        question(0x2900, "www.sluice.test", 1, &[]),
        question(0x0300, "www.sluice.test", 1, &[]),
        question(0x0140, "www.sluice.test", 1, &[]),
        question(0x0101, "www.sluice.test", 1, &[]),
        // A later version of EDNS, an option that is cut, a record that is not OPT.
        question(0x100, "www.sluice.test", 1, &[0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0]),
        question(0x100, "www.sluice.test", 1, &COOKIE[..22]),
        question(0x100, "www.sluice.test", 1, &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]),
        [question(0x100, "www.sluice.test", 1, &[]), vec![0]].concat(),
        vec![],
        vec![0; 12],
    ];
    for question in passed {
        assert_eq!(handler.ask(53, &question), None, "{question:02x?}");
    }
    let mut class = question(0x100, "www.sluice.test", 1, &[]);
    *class.last_mut().unwrap() = 3;
    assert_eq!(handler.ask(53, &class), None);
}

#[test]
fn a_wrong_checksum_is_no_question_and_none_is_one() {
    let handler = handler();
    let asked = question(0x100, "www.sluice.test", 1, &EDNS);
    let good = frames::udp(40_001, 53, &asked);
    for place in 34..good.len() {
        let mut frame = good.clone();
        frame[place] ^= 0x20;
        let (verdict, _) = handler.run(&frame);
        assert_eq!(verdict, crate::PASS, "byte {place}");
    }
    let mut unchecked = good;
    unchecked[40..42].fill(0);
    assert_eq!(handler.ask_frame(53, &unchecked), answer(&zone(), &asked));
}

#[test]
fn changed_questions_are_answered_rightly_or_not_at_all() {
    let (handler, zone) = (handler(), zone());
    for edns in [&[][..], &COOKIE] {
        let good = frames::udp(40_001, 53, &question(0x100, "mail.sluice.test", 1, edns));
        survives(&handler, 53, &good, |asked, told| answer(&zone, asked).as_deref() == Some(told));
    }
}

#[test]
fn the_library_os_answers_everything() {
    let zone = zone();
    let told = |name, kind| answer(&zone, &question(0x100, name, kind, &[])).unwrap();
    let code = |message: &[u8]| message[3] & 15;
    let counts = |message: &[u8]| [message[5], message[7], message[9], message[11]];
    let www = told("www.sluice.test", 1);
    assert_eq!((code(&www), www[2] & 4, counts(&www)), (0, 4, [1, 2, 0, 0]));
    let none = told("nobody.sluice.test", 1);
    assert_eq!((code(&none), counts(&none)), (3, [1, 0, 1, 0]), "NXDOMAIN with the SOA");
    let nodata = told("ns.sluice.test", 28);
    assert_eq!((code(&nodata), counts(&nodata)), (0, [1, 0, 1, 0]), "NODATA with the SOA");
    let between = told("under.sluice.test", 1);
    assert_eq!((code(&between), counts(&between)), (0, [1, 0, 1, 0]), "RFC 8020");
    let alias = told("alias.sluice.test", 1);
    assert_eq!((code(&alias), counts(&alias)), (0, [1, 3, 0, 0]), "the alias and its addresses");
    assert_eq!(counts(&told("outside.sluice.test", 1)), [1, 1, 0, 0]);
    assert!(counts(&told("loop.sluice.test", 1))[1] <= 8, "a loop of aliases ends");
    assert_eq!(code(&told("elsewhere.example", 1)), 5);
    assert_eq!(code(&told("sluice.test", 252)), 5, "no transfers");
    let big = told("big.sluice.test", 16);
    assert_eq!((big[2] & 2, counts(&big), big.len() <= 512), (2, [1, 0, 0, 0], true), "TC");
    let big = answer(&zone, &question(0x100, "big.sluice.test", 16, &EDNS)).unwrap();
    assert_eq!((big[2] & 2, counts(&big)), (0, [1, 5, 0, 1]));
    let version = [0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0];
    let version = answer(&zone, &question(0, "www.sluice.test", 1, &version)).unwrap();
    assert_eq!((code(&version), version[version.len() - 6]), (0, 1), "BADVERS is 16");
    assert_eq!(code(&answer(&zone, &question(0x2900, "www", 1, &[])).unwrap()), 4);
    assert_eq!(answer(&zone, &question(0x8000, "www.sluice.test", 1, &[])), None);
    assert_eq!(answer(&zone, &[0; 11]), None);
    for malformed in [
        question(0x100, "www.sluice.test", 1, &[])[..20].to_vec(),
        [question(0x100, "www.sluice.test", 1, &[]), vec![1]].concat(),
        question(0x100, "www.sluice.test", 1, &COOKIE[..15]),
        vec![0; 12],
    ] {
        let told = answer(&zone, &malformed).unwrap();
        assert_eq!((code(&told), counts(&told)), (1, [0; 4]), "{malformed:02x?}");
    }
    let mut random = Random(3);
    for _ in 0..20_000 {
        let mut message = question(0x100, "alias.sluice.test", 255, &COOKIE);
        for _ in 0..=random.below(4) {
            let place = random.below(message.len());
            message[place] = random.below(256) as u8;
        }
        message.truncate(random.below(message.len() + 1));
        if let Some(told) = answer(&zone, &message) {
            assert!(told[..2] == message[..2] && told[2] & 0x80 != 0 && told.len() <= 1232);
        }
    }
}
