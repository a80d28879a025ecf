//! The files that the server has.

use libos_net::http::File;

const HTML: &str = "text/html; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// Bytes of the large file.
const LARGE: usize = 100 * 1024;

/// 100 KiB that a client can check: byte `i` is `i % 251`.
static PATTERN: [u8; LARGE] = pattern();
/// The same, 1 KiB of it.
static KILO: [u8; 1024] = pattern();

const fn pattern<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let mut i = 0;
    while i < BYTES {
        bytes[i] = (i % 251) as u8;
        i += 1;
    }
    bytes
}

/// All of them.
pub(crate) const PAGES: &[File] = &[
    File { path: "/index.html", kind: HTML, bytes: include_bytes!("www/index.html") },
    File { path: "/style.css", kind: "text/css", bytes: include_bytes!("www/style.css") },
    File { path: "/packet.svg", kind: "image/svg+xml", bytes: include_bytes!("www/packet.svg") },
    File { path: "/small.txt", kind: "text/plain", bytes: b"A small file of a size like many.\n" },
    File { path: "/kilo.bin", kind: BINARY, bytes: &KILO },
    File { path: "/large.bin", kind: BINARY, bytes: &PATTERN },
    File { path: "/empty", kind: BINARY, bytes: b"" },
];
