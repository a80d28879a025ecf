//! A classic program, its filter, and text that is neither.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Classic;

/// `tcpdump -O -ddd 'udp dst port 53 and ip'`, shortened by hand to what is asked of IPv4.
const DNS: &str = "12
40 0 0 12
21 0 9 2048
48 0 0 23
21 0 7 17
40 0 0 20
69 5 0 8191
177 0 0 14
72 0 0 16
21 0 2 53
6 0 0 262144
6 0 0 7
6 0 0 0
";

fn dns(options: u8, port: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45 + options;
    frame[23] = 17;
    let at = 36 + 4 * usize::from(options);
    frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
    frame
}

#[test]
fn a_program_means_the_same_as_its_filter() {
    let classic = Classic::parse(DNS).unwrap();
    let filter = classic.to_filter().unwrap();
    for (frame, accepted) in [
        (dns(0, 53), true),
        (dns(3, 53), true),
        (dns(0, 54), false),
        (dns(3, 53)[..40].to_vec(), false),
        (vec![0; 14], false),
    ] {
        assert_eq!(classic.run(&frame) != 0, accepted);
        assert_eq!(ebpf::interp::accepts(&filter, &frame), Ok(accepted));
    }
}

#[test]
fn arithmetic_and_memory_are_those_of_the_classic_machine() {
    // (operation on A = the frame's first word, X = 40) -> accepted?
    let cases: [(&str, u32); 8] = [
        ("108 0 0 0", 0),
        ("124 0 0 0", 0),
        ("12 0 0 0", 40),
        ("28 0 0 0", 0xffff_ffd8),
        ("60 0 0 0", 0),
        ("132 0 0 0", 0),
        ("84 0 0 255", 0),
        ("68 0 0 3", 3),
    ];
    for (line, expected) in cases {
        let text = alloc::format!("6\n1 0 0 40\n3 0 0 2\n97 0 0 2\n32 0 0 0\n{line}\n22 0 0 0\n");
        let classic = Classic::parse(&text).unwrap();
        assert_eq!(classic.run(&[0; 20]), expected, "{line}");
        let filter = classic.to_filter().unwrap();
        assert_eq!(ebpf::interp::accepts(&filter, &[0; 20]), Ok(expected != 0), "{line}");
    }
}

#[test]
fn what_is_no_program_is_refused_by_line() {
    let cases = [
        ("", 1),
        ("0\n", 1),
        ("9999\n", 1),
        ("1\n6 0 0\n", 2),
        ("1\n6 0 0 x\n", 2),
        ("2\n6 0 0 0\n", 3),
        ("1\n6 0 0 0\n6 0 0 0\n", 3),
        ("1\n40 0 0 12\n", 2),
        ("2\n21 1 0 5\n6 0 0 0\n", 2),
        ("2\n5 0 0 1\n6 0 0 0\n", 2),
        ("2\n5 0 0 4294967295\n6 0 0 0\n", 2),
        ("2\n52 0 0 0\n6 0 0 0\n", 2),
        ("2\n100 0 0 32\n6 0 0 0\n", 2),
        ("2\n96 0 0 16\n6 0 0 0\n", 2),
        ("2\n2 0 0 16\n6 0 0 0\n", 2),
        ("2\n40 0 0 4294963200\n6 0 0 0\n", 2),
        ("2\n255 0 0 0\n6 0 0 0\n", 2),
        ("1\n14 0 0 0\n", 2),
    ];
    for (text, line) in cases {
        assert_eq!(Classic::parse(text).map_err(|error| error.line), Err(line), "{text:?}");
    }
    let long: String = core::iter::once("300\n")
        .chain(core::iter::once("21 300 0 5\n"))
        .chain(core::iter::repeat_n("6 0 0 0\n", 299))
        .collect();
    assert_eq!(Classic::parse(&long).unwrap_err().line, 2);
}

/// A far load is no load: the frame is never that long.
#[test]
fn a_load_behind_every_frame_accepts_nothing() {
    let classic = Classic::parse("3\n48 0 0 100000\n21 0 0 0\n6 0 0 1\n").unwrap();
    assert_eq!(classic.run(&[0; 1522]), 0);
    let filter = classic.to_filter().unwrap();
    assert_eq!(ebpf::interp::accepts(&filter, &[0; 1522]), Ok(false));
}
