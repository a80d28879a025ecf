//! Values: what the handler says is what the library OS says, and never what it said before.

use sluice::wire::frames;
use sluice_examples::memcached::{Change, Clock, Server};
use zerocopy::IntoBytes;

use crate::{Handler, PASS, Random, survives};

const OBJECT: &[u8] = include_bytes!("../../../examples/ash/kv.o");

/// A server and its handler, the map changed as the server says.
struct Pair {
    server: Server,
    handler: Handler,
}

impl Pair {
    fn new(bytes: usize) -> Pair {
        Pair { server: Server::new(bytes), handler: Handler::load(OBJECT, "kv") }
    }

    fn clock(&self) -> Clock {
        Clock { now_ns: self.handler.now_ns.get(), unix_s: 1_790_000_000 }
    }

    /// As a packet goes: the handler first, the server with what it passes on.
    fn ask(&mut self, request: &[u8]) -> String {
        let datagram = [b"\x12\x34\0\0\0\x01\0\0", request].concat();
        let told = match self.handler.ask(11_211, &datagram) {
            Some(told) => told,
            None => self.serve(&datagram),
        };
        text(&told)
    }

    /// The server alone.
    fn serve(&mut self, datagram: &[u8]) -> Vec<u8> {
        let served = self.server.serve(datagram, self.clock());
        let cache = self.handler.map("cache");
        for change in served.changes {
            match change {
                Change::Put(key, entry) => {
                    cache.update(key.as_bytes(), entry.as_bytes(), 0).unwrap();
                }
                Change::Remove(key) => drop(cache.delete(key.as_bytes())),
                Change::Clear => {
                    let mut key = [0; 64];
                    while cache.next_key(None, &mut key).is_ok() {
                        cache.delete(&key).unwrap();
                    }
                }
            }
        }
        served.answer.concat()
    }

    fn in_kernel(&self, key: &str) -> bool {
        let request = format!("\x12\x34\0\0\0\x01\0\0get {key}\r\n");
        self.handler.ask(11_211, request.as_bytes()).is_some()
    }
}

/// The text of an answer of at most one datagram.
fn text(datagram: &[u8]) -> String {
    if datagram.is_empty() {
        return String::new();
    }
    assert_eq!(datagram[..8], *b"\x12\x34\0\0\0\x01\0\0");
    String::from_utf8(datagram[8..].to_vec()).unwrap()
}

#[test]
fn hits_are_answered_by_the_handler_as_by_the_server() {
    let mut pair = Pair::new(1 << 20);
    for length in (0..200).chain([900, 980, 1340]) {
        let (key, value) = (format!("key{length}"), "v".repeat(length));
        assert!(!pair.in_kernel(&key));
        assert_eq!(pair.ask(format!("get {key}\r\n").as_bytes()), "END\r\n");
        let set = format!("set {key} {length} 0 {length}\r\n{value}\r\n");
        assert_eq!(pair.ask(set.as_bytes()), "STORED\r\n");
        let want = format!("VALUE {key} {length} {length}\r\n{value}\r\nEND\r\n");
        assert!(pair.in_kernel(&key), "{length}");
        assert_eq!(pair.ask(format!("get {key}\r\n").as_bytes()), want);
        let datagram = format!("\x12\x34\0\0\0\x01\0\0get {key}\r\n");
        assert_eq!(text(&pair.serve(datagram.as_bytes())), want);
    }
}

#[test]
fn keys_of_every_length_are_found() {
    let mut pair = Pair::new(1 << 20);
    for length in 1..=250 {
        let key = "k".repeat(length);
        let set = format!("set {key} 0 0 3\r\n{length:03}\r\n");
        assert_eq!(pair.ask(set.as_bytes()), "STORED\r\n");
        assert_eq!(pair.in_kernel(&key), length <= 64, "{length}");
        let want = format!("VALUE {key} 0 3\r\n{length:03}\r\nEND\r\n");
        assert_eq!(pair.ask(format!("get {key}\r\n").as_bytes()), want);
    }
    let long = "k".repeat(251);
    assert!(pair.ask(format!("get {long}\r\n").as_bytes()).starts_with("CLIENT_ERROR"));
}

#[test]
fn every_command_does_what_the_protocol_says() {
    let mut pair = Pair::new(1 << 20);
    for (request, answer) in [
        ("add a 1 0 1\r\nx\r\n", "STORED\r\n"),
        ("add a 1 0 1\r\ny\r\n", "NOT_STORED\r\n"),
        ("get a\r\n", "VALUE a 1 1\r\nx\r\nEND\r\n"),
        ("append a 9 0 2\r\nyz\r\n", "STORED\r\n"),
        ("prepend a 9 0 2\r\nvw\r\n", "STORED\r\n"),
        ("get a\r\n", "VALUE a 1 5\r\nvwxyz\r\nEND\r\n"),
        ("replace a 2 0 2\r\n41\r\n", "STORED\r\n"),
        ("incr a 1\r\n", "42\r\n"),
        ("get a\r\n", "VALUE a 2 2\r\n42\r\nEND\r\n"),
        ("decr a 50\r\n", "0\r\n"),
        ("get a b a\r\n", "VALUE a 2 1\r\n0\r\nVALUE a 2 1\r\n0\r\nEND\r\n"),
        ("incr a x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"),
        ("replace b 2 0 2\r\n41\r\n", "NOT_STORED\r\n"),
        ("append b 2 0 2\r\n41\r\n", "NOT_STORED\r\n"),
        ("delete a\r\n", "DELETED\r\n"),
        ("get a\r\n", "END\r\n"),
        ("delete a\r\n", "NOT_FOUND\r\n"),
        ("incr a 1\r\n", "NOT_FOUND\r\n"),
        ("touch a 1\r\n", "NOT_FOUND\r\n"),
        ("cas a 0 0 1 7\r\nx\r\n", "NOT_FOUND\r\n"),
        ("set a 0 0 1 noreply\r\nx\r\n", ""),
        ("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"),
        ("cas a 0 0 1 99999\r\ny\r\n", "EXISTS\r\n"),
        ("set a 0 0 5\r\nx\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        ("set a 0 0 1\r\nxyz\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        ("set a 0 0 -1\r\nxyz\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("set a 0 0\r\nxyz\r\n", "ERROR\r\n"),
        ("verbosity 1\r\n", "OK\r\n"),
        ("nonsense\r\n", "ERROR\r\n"),
        ("get\r\n", "ERROR\r\n"),
        ("\r\n", "ERROR\r\n"),
        ("get a", "ERROR\r\n"),
        ("flush_all\r\n", "OK\r\n"),
        ("get a\r\n", "END\r\n"),
    ] {
        assert_eq!(pair.ask(request.as_bytes()), answer, "{request}");
    }
    pair.ask(b"set n 0 0 1\r\n1\r\n");
    let number = pair.ask(b"gets n\r\n");
    let number = number.split_whitespace().nth(4).unwrap().to_owned();
    let cas = format!("cas n 0 0 1 {number}\r\n2\r\n");
    assert_eq!(pair.ask(cas.as_bytes()), "STORED\r\n");
    assert_eq!(pair.ask(cas.as_bytes()), "EXISTS\r\n");
    assert!(pair.ask(b"stats\r\n").contains("STAT curr_items 1\r\n"));
    assert!(pair.ask(b"version\r\n").starts_with("VERSION "));
}

#[test]
fn nothing_old_is_shown_after_a_change_was_acknowledged() {
    let mut pair = Pair::new(4096);
    let mut random = Random(11);
    let mut model = std::collections::BTreeMap::new();
    for number in 0..20_000 {
        let key = format!("k{}", random.below(24));
        match random.below(6) {
            0 | 1 => {
                let value = number.to_string().repeat(1 + random.below(40));
                let set = format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
                assert_eq!(pair.ask(set.as_bytes()), "STORED\r\n");
                model.insert(key, value);
            }
            2 => {
                let told = pair.ask(format!("delete {key}\r\n").as_bytes());
                assert!(told == "DELETED\r\n" || told == "NOT_FOUND\r\n");
                model.remove(&key);
            }
            _ => {
                let told = pair.ask(format!("get {key}\r\n").as_bytes());
                // What was evicted is gone, but what is there is what was written last.
                if told != "END\r\n" {
                    let value = &model[&key];
                    let want = format!("VALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len());
                    assert_eq!(told, want);
                }
            }
        }
    }
}

#[test]
fn a_value_ends_in_the_kernel_as_well() {
    let mut pair = Pair::new(1 << 20);
    assert_eq!(pair.ask(b"set a 0 2 1\r\nx\r\n"), "STORED\r\n");
    pair.handler.now_ns.set(1_999_999_999);
    assert!(pair.in_kernel("a"));
    pair.handler.now_ns.set(2_000_000_000);
    assert!(!pair.in_kernel("a"));
    assert_eq!(pair.ask(b"get a\r\n"), "END\r\n");
    assert_eq!(pair.ask(b"set a 0 -1 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(pair.ask(b"get a\r\n"), "END\r\n");
    assert_eq!(pair.ask(b"set a 0 1790000010 1\r\nx\r\n"), "STORED\r\n", "a date");
    pair.handler.now_ns.set(12_000_000_000);
    assert_eq!(pair.ask(b"get a\r\n"), "END\r\n");
    assert_eq!(pair.ask(b"set a 0 1789999999 1\r\nx\r\n"), "STORED\r\n", "a date in the past");
    assert_eq!(pair.ask(b"get a\r\n"), "END\r\n");
    assert_eq!(pair.ask(b"set a 0 0 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(pair.ask(b"touch a 1\r\n"), "TOUCHED\r\n");
    pair.handler.now_ns.set(13_000_000_000);
    assert_eq!(pair.ask(b"get a\r\n"), "END\r\n");
}

#[test]
fn answers_of_several_datagrams_are_numbered() {
    let mut pair = Pair::new(1 << 20);
    let value = "v".repeat(900);
    for key in ["a", "b", "c"] {
        pair.ask(format!("set {key} 0 0 900\r\n{value}\r\n").as_bytes());
    }
    let served = pair.server.serve(b"\x12\x34\0\0\0\x01\0\0get a b c\r\n", pair.clock());
    let heads: Vec<&[u8]> = served.answer.iter().map(|datagram| &datagram[..8]).collect();
    assert_eq!(heads, [b"\x12\x34\0\0\0\x02\0\0", b"\x12\x34\0\x01\0\x02\0\0"]);
    let text: Vec<u8> = served.answer.iter().flat_map(|datagram| datagram[8..].to_vec()).collect();
    assert_eq!(text.len(), 3 * ("VALUE a 0 900\r\n\r\n".len() + 900) + 5);
    let many = pair.server.serve(b"\x12\x34\0\0\0\x02\0\0get a\r\n", pair.clock());
    assert!(many.answer[0][8..].starts_with(b"SERVER_ERROR"));
    assert!(pair.server.serve(b"short", pair.clock()).answer.is_empty());
}

#[test]
fn changed_questions_are_answered_rightly_or_not_at_all() {
    let mut pair = Pair::new(1 << 20);
    pair.ask(b"set somekey 3 0 5\r\nvalue\r\n");
    pair.ask(b"set somekeY 3 0 5\r\nother\r\n");
    let request = b"\x12\x34\0\0\0\x01\0\0get somekey\r\n";
    let good = frames::udp(40_001, 11_211, request);
    survives(&pair.handler, 11_211, &good, |asked, told| {
        let text = std::str::from_utf8(&told[8..]).unwrap();
        told[..8] == asked[..8] && asked[2..8] == [0, 0, 0, 1, 0, 0] && text.contains(" 3 5\r\n")
    });
    for request in ["get  somekey\r\n", "get some\tkey\r\n", "get somekey \r\n", "GET somekey\r\n"]
    {
        let datagram = [b"\0\0\0\0\0\x01\0\0", request.as_bytes()].concat();
        let (verdict, _) = pair.handler.run(&frames::udp(40_001, 11_211, &datagram));
        assert_eq!(verdict, PASS, "{request}");
    }
}
