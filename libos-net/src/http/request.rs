//! Requests, read from bytes that anybody may have sent.
//!
//! [`read`] looks at what has arrived so far: a whole head, not yet a whole one, or a reason to
//! refuse. A refusal ends the connection, because where the next request would begin is not known
//! (RFC 9112, 6.3: what is ambiguous is an attack).

use super::Status;

/// Header fields of a request at most.
const FIELDS_MAX: usize = 64;
/// Bytes of a target at most: longer ones are 414.
pub const TARGET_BYTES_MAX: usize = 2048;
/// Bytes of a head at most: longer ones are 431.
pub const HEAD_BYTES_MAX: usize = 8192;
/// Bytes of a body that is read to be thrown away; longer ones are 413.
pub const BODY_BYTES_MAX: u64 = 64 * 1024;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Head and body.
    Get,
    /// The head alone.
    Head,
    /// Something that this server does not do.
    Other,
}

/// A whole head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is wanted.
    pub method: Method,
    /// Of what: the path without query, not decoded.
    pub path: &'a str,
    /// Whether more requests may follow on this connection.
    pub keep_alive: bool,
    /// Entity tags that the client has, as they stand in `If-None-Match`.
    pub tags: Option<&'a [u8]>,
    /// Bytes of the body that follows.
    pub body: u64,
    /// Bytes of the head.
    pub bytes: usize,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// The begin of a head.
    Partial,
    /// A head.
    Whole(Request<'a>),
    /// No request that is answered: why not.
    Refused(Status),
}

/// Reads the first head in `bytes`.
pub fn read(bytes: &[u8]) -> Reading<'_> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length > HEAD_BYTES_MAX => {
            Reading::Refused(Status::HeadTooLarge)
        }
        Ok(httparse::Status::Complete(length)) => match whole(&request, length) {
            Ok(request) => Reading::Whole(request),
            Err(status) => Reading::Refused(status),
        },
        Ok(httparse::Status::Partial) => partial(&request, bytes),
        Err(httparse::Error::TooManyHeaders) => Reading::Refused(Status::HeadTooLarge),
        Err(httparse::Error::Version) => Reading::Refused(version(bytes)),
        Err(_) => Reading::Refused(Status::BadRequest),
    }
}

/// 505 if a version of HTTP is named that is not ours, else 400.
fn version(bytes: &[u8]) -> Status {
    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').find(|line| !line.is_empty());
    let last = line.and_then(|line| line.rsplit(|&byte| byte == b' ').next());
    let named = last.and_then(|word| word.strip_prefix(b"HTTP/"));
    let digits = named.is_some_and(
        |version| matches!(version, [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit()),
    );
    if digits { Status::VersionNotSupported } else { Status::BadRequest }
}

fn partial<'a>(request: &httparse::Request<'_, '_>, bytes: &[u8]) -> Reading<'a> {
    let target = match request.path {
        Some(path) => path.len(),
        // The first line is not over: how long its second word is so far.
        None => bytes.split(|&byte| byte == b' ').nth(1).map_or(0, <[u8]>::len),
    };
    if target > TARGET_BYTES_MAX {
        return Reading::Refused(Status::UriTooLong);
    }
    if bytes.len() > HEAD_BYTES_MAX {
        return Reading::Refused(Status::HeadTooLarge);
    }
    Reading::Partial
}

fn whole<'a>(request: &httparse::Request<'_, 'a>, bytes: usize) -> Result<Request<'a>, Status> {
    let target = request.path.ok_or(Status::BadRequest)?;
    if target.len() > TARGET_BYTES_MAX {
        return Err(Status::UriTooLong);
    }
    let newer = request.version == Some(1);
    let fields = Fields::read(request.headers)?;
    if newer && fields.hosts != 1 || fields.hosts > 1 {
        // RFC 9112, 3.2.
        return Err(Status::BadRequest);
    }
    if fields.transfer_encoding {
        return Err(Status::NotImplemented);
    }
    let body = fields.length.unwrap_or(0);
    if body > BODY_BYTES_MAX {
        return Err(Status::ContentTooLarge);
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    // Heads are made once and do not say "keep-alive", without which an older client waits for the
    // end of the connection (RFC 9112, 9.3).
    let keep_alive = newer && !fields.close;
    let path = path(target).ok_or(Status::BadRequest)?;
    Ok(Request { method, path, keep_alive, tags: fields.tags, body, bytes })
}

/// The path of a target in origin or absolute form (RFC 9112, 3.2).
fn path(target: &str) -> Option<&str> {
    let path = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    path.get(..end).filter(|path| path.starts_with('/') || *path == "*")
}

/// What matters of the header fields.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    length: Option<u64>,
    transfer_encoding: bool,
    close: bool,
    tags: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>]) -> Result<Fields<'a>, Status> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                fields.hosts += 1;
            } else if is("content-length") {
                let length = number(header.value).ok_or(Status::BadRequest)?;
                if fields.length.is_some_and(|before| before != length) {
                    return Err(Status::BadRequest);
                }
                fields.length = Some(length);
            } else if is("transfer-encoding") {
                fields.transfer_encoding = true;
            } else if is("connection") {
                fields.close |= has_word(header.value, b"close");
            } else if is("if-none-match") {
                fields.tags = Some(header.value);
            }
        }
        if fields.transfer_encoding && fields.length.is_some() {
            return Err(Status::BadRequest);
        }
        Ok(fields)
    }
}

/// Digits and nothing else: no sign, no list, no blank inside.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES_MAX, Method, Reading, Request, TARGET_BYTES_MAX, read};
    use crate::http::Status;
    use alloc::format;
    use alloc::string::String;

    fn whole(text: &str) -> Request<'_> {
        match read(text.as_bytes()) {
            Reading::Whole(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> Status {
        match read(text.as_bytes()) {
            Reading::Refused(status) => status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn every_prefix_of_a_head_is_partial() {
        let text = "GET /a?b HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"q\"\r\n\r\n";
        for length in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..length]), Reading::Partial, "{length}");
        }
        let more = format!("{text}GET /");
        let request = whole(&more);
        assert_eq!((request.method, request.path, request.bytes), (Method::Get, "/a", text.len()));
        assert_eq!(
            (request.tags, request.keep_alive, request.body),
            (Some(&b"\"q\""[..]), true, 0)
        );
    }

    #[test]
    fn connections_stay_or_end_as_their_versions_say() {
        let keep = |text: &str| whole(text).keep_alive;
        assert!(keep("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, Close\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
        // `ab -k` waited for ever for the end of a connection that stayed.
        assert!(!keep("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.0\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n"));
    }

    #[test]
    fn targets_come_in_several_forms() {
        let path = |target: &str| {
            let text = format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            match read(text.as_bytes()) {
                Reading::Whole(request) => Some(String::from(request.path)),
                _ => None,
            }
        };
        assert_eq!(path("/a/b.html?x=/y#z").as_deref(), Some("/a/b.html"));
        assert_eq!(path("http://10.0.2.15").as_deref(), Some("/"));
        assert_eq!(path("http://10.0.2.15/q?x").as_deref(), Some("/q"));
        assert_eq!(path("*").as_deref(), Some("*"));
        assert_eq!(path("a/b"), None);
        assert_eq!(path("ftp://x/y"), None);
    }

    #[test]
    fn what_is_ambiguous_or_wrong_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET /\u{1} HTTP/1.1\r\n\r\n",
            "\0\0\0\0\r\n\r\n",
            "GET / HTTP/x\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\0",
        ] {
            assert_eq!(refused(text), Status::BadRequest, "{text:?}");
        }
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused(chunked), Status::NotImplemented);
        assert_eq!(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Status::VersionNotSupported);
        let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n";
        assert_eq!(refused(large), Status::ContentTooLarge);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_whole() {
        let target = "x".repeat(TARGET_BYTES_MAX + 1);
        assert_eq!(refused(&format!("GET /{target}")), Status::UriTooLong);
        assert_eq!(
            refused(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n")),
            Status::UriTooLong
        );
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        let long = "y".repeat(HEAD_BYTES_MAX);
        assert_eq!(refused(&format!("{head}{long}")), Status::HeadTooLarge);
        let many = "A: b\r\n".repeat(100);
        assert_eq!(refused(&format!("{head}\r\n{many}\r\n")), Status::HeadTooLarge);
    }

    #[test]
    fn other_methods_are_read_with_their_bodies() {
        let request = whole("POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
        assert_eq!((request.method, request.body), (Method::Other, 10));
        assert_eq!(whole("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
    }

    #[test]
    fn noise_is_never_more_than_refused() {
        let mut state = 11u64;
        let good = b"GET /index.html HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..3 {
                state =
                    state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                let place = (state >> 33) as usize % bytes.len();
                bytes[place] = (state >> 20) as u8;
            }
            if let Reading::Whole(request) = read(&bytes) {
                assert!(request.bytes <= bytes.len());
            }
        }
    }
}
