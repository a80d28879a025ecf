//! Time: what the handler says is what the library OS says.

use sluice::wire::frames;
use sluice_examples::ntp::{Time, answer};
use zerocopy::IntoBytes;

use crate::{Handler, survives};

const OBJECT: &[u8] = include_bytes!("../../../examples/ash/ntp.o");

fn handler(time: &Time) -> Handler {
    let handler = Handler::load(OBJECT, "ntp");
    handler.map("clock").update(&[0; 4], time.as_bytes(), 0).unwrap();
    handler
}

fn question(first: u8, length: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|i| (i * 7 + 3) as u8).collect();
    packet[0] = first;
    packet
}

#[test]
fn the_handler_says_what_the_library_os_says() {
    let set = Time::new(Some(1_790_000_000_123_456_789));
    let unset = Time::new(None);
    for time in [set, unset] {
        let handler = handler(&time);
        for version in 1..=4 {
            for length in [48, 49, 52, 68, 128] {
                handler.now_ns.set(u64::from(version) * 3_999_999_999);
                let asked = question(version << 3 | 3 | 0xc0, length);
                let told = handler.ask(123, &asked);
                assert!(told.is_some());
                assert_eq!(told, answer(&time, &asked, handler.now_ns.get()));
            }
        }
    }
    let told = handler(&unset).ask(123, &question(0x23, 48)).unwrap();
    assert_eq!((told[0] >> 6, told[1]), (3, 0), "not synchronised");
    let told = handler(&set).ask(123, &question(0x23, 48)).unwrap();
    assert_eq!((told[0] >> 6, told[1], &told[12..16]), (0, 10, &b"LOCL"[..]));
    let seconds = u64::from(u32::from_be_bytes(told[40..44].try_into().unwrap()));
    assert_eq!(seconds, 1_790_000_000 + 2_208_988_800);
}

#[test]
fn only_questions_are_answered() {
    let handler = handler(&Time::new(Some(1)));
    for first in 0..=255_u8 {
        let right = first & 7 == 3 && (1..=4).contains(&(first >> 3 & 7));
        let asked = question(first, 48);
        assert_eq!(handler.ask(123, &asked).is_some(), right, "{first:#x}");
        assert_eq!(answer(&Time::new(None), &asked, 0).is_some(), right);
    }
    for length in 1..48 {
        assert_eq!(handler.ask(123, &question(0x23, length)), None);
        assert_eq!(answer(&Time::new(None), &question(0x23, length), 0), None);
    }
    assert_eq!(handler.ask(123, &question(0x23, 130)), None, "that is for the library OS");
    assert_eq!(answer(&Time::new(None), &question(0x23, 130), 0).unwrap().len(), 48);
}

#[test]
fn changed_questions_are_answered_rightly_or_not_at_all() {
    let time = Time::new(Some(1_790_000_000_000_000_000));
    let handler = handler(&time);
    let good = frames::udp(40_001, 123, &question(0x23, 68));
    survives(&handler, 123, &good, |asked, told| answer(&time, asked, 0).as_deref() == Some(told));
}
