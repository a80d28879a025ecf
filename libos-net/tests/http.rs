//! The web server against a client over a wire: what curl and what an attacker would send.
#![cfg(test)]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Client, Faults, GRANT, world};
use libos::executor::Executor;
use sluice_libos_net::http::{File, Limits, Site, serve};
use sluice_libos_net::{Stack, TcpListener};

static LARGE: [u8; 100_000] = [b'z'; 100_000];
const FILES: &[File] = &[
    File { path: "/index.html", kind: "text/html", bytes: b"<p>hello" },
    File { path: "/large", kind: "text/plain", bytes: &LARGE },
];

/// Sends the pieces, each when nothing has been heard for a while, and gives what came back until
/// the server ended the connection.
fn exchange(faults: Faults, pieces: &[&[u8]], close: bool) -> (String, u64) {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (said, mut next, mut quiet) = (pieces.concat(), 0, 0);
    let ends: Vec<usize> = pieces
        .iter()
        .scan(0, |sum, piece| {
            *sum += piece.len();
            Some(*sum)
        })
        .collect();
    let (mut handle, mut sent, inner) = (None, 0, heard.clone());
    let (_world, net, _guard) = world(faults, move |client: &mut Client, _| {
        let handle = *handle.get_or_insert_with(|| client.connect(4000, 80));
        let socket = client.tcp(handle);
        if socket.may_send() && next < ends.len() {
            sent += socket.send_slice(&said[sent..ends[next]]).unwrap();
            quiet += 1;
            if sent == ends[next] && quiet > 5 {
                (next, quiet) = (next + 1, 0);
            }
        } else if close && next == ends.len() {
            socket.close();
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    inner.borrow_mut().extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
    });
    let stack = Stack::new(&net);
    let listener = TcpListener::bind(&stack, GRANT, 80).unwrap();
    let executor = Executor::new();
    executor.turn(stack.clone());
    let inner = executor.clone();
    let answered = executor.block_on(async move {
        let (stream, _) = listener.accept_async().await.unwrap();
        let limits = Limits { requests: 50, ..Limits::default() };
        let answered = serve(&inner, stream, &Site::new(FILES), &limits).await;
        inner.sleep(core::time::Duration::from_millis(200)).await;
        answered
    });
    let text = String::from_utf8(heard.borrow().clone()).unwrap();
    (text, answered)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect()
}

#[test]
fn requests_one_after_the_other_and_pipelined() {
    let (text, answered) = exchange(Faults::default(), &[GET, GET], true);
    assert_eq!((statuses(&text), answered), (vec!["200", "200"], 2));
    assert!(text.contains("Content-Length: 8\r\n") && text.ends_with("<p>hello"));
    let missing = b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = b"HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345";
    let last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let all = [GET, missing, head, post, last, GET].concat();
    let (text, answered) = exchange(Faults::default(), &[&all], false);
    assert_eq!((statuses(&text), answered), (vec!["200", "404", "200", "405", "200"], 5));
    assert!(!text.contains("zzz"), "HEAD sends no body");
}

#[test]
fn a_request_in_single_bytes_is_one_request() {
    let bytes: Vec<&[u8]> = GET.chunks(1).collect();
    let (text, answered) = exchange(Faults::default(), &bytes, true);
    assert_eq!((statuses(&text), answered), (vec!["200"], 1));
}

#[test]
fn a_large_page_over_a_bad_wire() {
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let faults = Faults { lost: 4, corrupted: 2, doubled: 5, late: 5 };
    let (text, _) = exchange(faults, &[request], false);
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), LARGE.len());
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let long = [b"GET /", &[b'a'; 5000][..]].concat();
    let large = [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", &[b'a'; 9000][..]].concat();
    let cases: [(&[u8], &str); 6] = [
        (b"garbage\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505"),
        (&long, "414"),
        (&large, "431"),
    ];
    for (bytes, status) in cases {
        let (text, _) = exchange(Faults::default(), &[bytes, GET], false);
        assert_eq!(statuses(&text), [status], "{:?}", &bytes[..20.min(bytes.len())]);
        assert!(text.contains("Connection: close\r\n"));
    }
}

#[test]
fn slow_clients_are_let_go() {
    // The begin of a request and then nothing.
    let (text, _) = exchange(Faults::default(), &[b"GET / HTTP/1.1\r\nHost"], false);
    assert_eq!(statuses(&text), ["408"]);
    // Nothing at all.
    let (text, answered) = exchange(Faults::default(), &[], false);
    assert_eq!((text.as_str(), answered), ("", 0));
    // Beyond the requests that one connection has.
    let many = GET.repeat(60);
    let (text, answered) = exchange(Faults::default(), &[&many], false);
    assert_eq!((statuses(&text).len(), answered), (50, 50));
}
