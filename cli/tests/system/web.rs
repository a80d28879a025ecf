//! The web server and bulk transfer through real TCP sockets of the host.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use sluice::build::cast::{BULK_PORT, HTTP_PORT};
use sluice::limits;
use sluice::machine::{Board, Machine, Options};
use sluice::wire::frames;

use super::boots::{image, turn};

fn machine_with(program: &str, says: &str) -> Machine {
    let options = Options { board: Board::Microvm, ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    machine.command(&format!("start {program}")).unwrap();
    machine.wait_serial(says, limits::CONTROL).unwrap();
    machine
}

fn connect(machine: &Machine, port: u16) -> TcpStream {
    let stream = TcpStream::connect(machine.tcp_address(port).unwrap()).unwrap();
    stream.set_read_timeout(Some(limits::REPLY * 3)).unwrap();
    stream
}

/// Sends, and reads until the server ends the connection.
fn exchange(machine: &Machine, bytes: &[u8]) -> String {
    let mut stream = connect(machine, HTTP_PORT);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect()
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n\r\n";

#[test]
fn a_real_client_fetches_pages() {
    let _turn = turn();
    let machine = machine_with("http", "port 80 serves");
    let text = exchange(&machine, format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert_eq!(statuses(&text), ["200"], "{text}");
    assert!(text.contains("<h1>Served by a library OS</h1>"), "{text}");

    // 100 KiB, every byte.
    let mut stream = connect(&machine, HTTP_PORT);
    write!(stream, "GET /large.bin HTTP/1.1\r\n{CLOSE}").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let wanted: Vec<u8> = (0..100 * 1024).map(|i| (i % 251) as u8).collect();
    assert!(answer[body..] == wanted, "{} bytes", answer.len());

    // Pipelined, on one connection; what comes behind the last is not answered.
    let get = "GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = "HEAD /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let none = format!("GET /none HTTP/1.1\r\n{CLOSE}{get}");
    let text = exchange(&machine, format!("{get}{head}{post}{none}").as_bytes());
    assert_eq!(statuses(&text), ["200", "200", "405", "404"], "{text}");

    many_connections(&machine);
    garbage(&machine);
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

fn many_connections(machine: &Machine) {
    let mut streams: Vec<TcpStream> = (0..16).map(|_| connect(machine, HTTP_PORT)).collect();
    for round in 0..3 {
        for stream in &mut streams {
            write!(stream, "GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut text = String::new();
            let mut buffer = [0; 512];
            while !text.ends_with("many.\n") {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "round {round}: {text}");
                text.push_str(core::str::from_utf8(&buffer[..count]).unwrap());
            }
            assert_eq!(statuses(&text), ["200"]);
        }
    }
}

fn garbage(machine: &Machine) {
    let long = format!("GET /{} HTTP/1.1\r\n{CLOSE}", "a".repeat(4000));
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
        (b"nonsense\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (long.as_bytes(), "414"),
    ] {
        let text = exchange(machine, bytes);
        assert_eq!(statuses(&text), [status], "{:?}", &bytes[..10]);
    }
    // Ends before the request does, and in the middle of a response.
    connect(machine, HTTP_PORT).write_all(b"GET / HT").unwrap();
    let mut stream = connect(machine, HTTP_PORT);
    write!(stream, "GET /large.bin HTTP/1.1\r\n{CLOSE}").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    drop(stream);
    let text = exchange(machine, format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert_eq!(statuses(&text), ["200"]);
}

#[test]
fn bytes_in_bulk_in_both_directions() {
    const BYTES: u64 = 4 << 20;
    let _turn = turn();
    let machine = machine_with("bulk", "port 5201 takes");
    let byte = |i: u64| (i % 251) as u8;
    let mut stream = connect(&machine, BULK_PORT);
    stream.write_all(&[&b"S"[..], &BYTES.to_be_bytes()].concat()).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got.len() as u64, BYTES, "{}", machine.serial());
    assert!((0..).zip(&got).all(|(i, &it)| it == byte(i)));
    let mut stream = connect(&machine, BULK_PORT);
    let data: Vec<u8> = (0..BYTES).map(byte).collect();
    stream.write_all(&[&b"T"[..], &BYTES.to_be_bytes(), &data].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut right = [0; 8];
    stream.read_exact(&mut right).unwrap();
    assert_eq!(u64::from_be_bytes(right), BYTES, "{}", machine.serial());
    let told = || machine.serial().contains("took 4194304 bytes").then_some(());
    machine.wait("waiting for the rate", Duration::from_secs(10), told).unwrap();
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

#[test]
fn init_obeys_the_key_and_nobody_else() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    let obeyed = |frame: &[u8]| frames::control_answer(frame, "alive");
    let open = frames::control("alive");
    assert_eq!(machine.silence("an open command", &open, obeyed).unwrap(), None);
    let sealed = machine.sealed("alive");
    let first = machine.exchange("a sealed command", &sealed, limits::CONTROL, obeyed);
    assert!(first.unwrap().starts_with("ok"));
    assert_eq!(machine.silence("the same frame again", &sealed, obeyed).unwrap(), None);
    let other = frames::sealed(&abi::control::Key::new([1; 16]), 1_000_000, "alive");
    assert_eq!(machine.silence("another key", &other, obeyed).unwrap(), None);
    assert!(machine.command("alive").is_ok());
    assert!(!machine.serial().contains(abi::control::WORD), "the key is in the log");
}
