//! Files and the responses to requests for them, made once.
//!
//! A response is a head of fixed bytes around the date, and a body that stays where it is
//! ([`Prepared`]). Responses come in two kinds, for connections that stay and for those that end.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use libos::clock::now_ns;
use libos::exposed::Exposed;

use super::Status;
use super::prepared::Prepared;
use super::request::{Method, Request};

/// A file of the embedded file system.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Where it is found: `/index.html`.
    pub path: &'static str,
    /// Its media type: `text/html; charset=utf-8`.
    pub kind: &'static str,
    /// Its contents.
    pub bytes: &'static [u8],
}

/// A table of files, ready to be sent.
#[derive(Debug)]
pub struct Site {
    clock: Exposed,
    pages: BTreeMap<&'static str, Page>,
    errors: Vec<(Status, Page)>,
}

/// What a file has become.
#[derive(Debug)]
struct Page {
    tag: String,
    whole: Response,
    unchanged: Response,
}

/// A response for connections that stay and one for those that end.
#[derive(Debug)]
pub(crate) struct Response([Rc<Prepared>; 2]);

impl Site {
    /// Makes every response. A directory is its `index.html`.
    pub fn new(files: &[File]) -> Site {
        let mut pages = BTreeMap::new();
        for file in files {
            pages.insert(file.path, Page::new(Status::Ok, file));
            if let Some(directory) = file.path.strip_suffix("index.html") {
                pages.insert(directory, Page::new(Status::Ok, file));
            }
        }
        let errors = Status::ERRORS.iter().map(|&status| {
            let bytes = error_page(status).as_bytes();
            let file = File { path: "", kind: "text/plain; charset=utf-8", bytes };
            (status, Page::new(status, &file))
        });
        Site { clock: Exposed::new(), pages, errors: errors.collect() }
    }

    /// Seconds since 1970, or since boot on a machine without a clock.
    pub(crate) fn second(&self) -> u64 {
        self.clock.unix_ns().unwrap_or_else(now_ns) / 1_000_000_000
    }

    /// The response to a request, and whether its body is sent.
    pub(crate) fn answer(&self, request: &Request<'_>) -> (&Response, bool) {
        if request.method == Method::Other {
            return (self.error(Status::MethodNotAllowed), true);
        }
        let body = request.method == Method::Get;
        match self.pages.get(request.path) {
            Some(page) if request.tags.is_some_and(|tags| page.is_among(tags)) => {
                (&page.unchanged, false)
            }
            Some(page) => (&page.whole, body),
            None => (self.error(Status::NotFound), body),
        }
    }

    /// The response of that status.
    pub(crate) fn error(&self, status: Status) -> &Response {
        let found = self.errors.iter().find(|(known, _)| *known == status);
        // Every status that can be asked for is in the list; the first one is the most general.
        &found.unwrap_or(&self.errors[0]).1.whole
    }
}

impl Page {
    fn new(status: Status, file: &File) -> Page {
        let tag = format!("\"{:016x}\"", fingerprint(file.bytes));
        let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        let length = file.bytes.len();
        let own = if status == Status::Ok { format!("ETag: {tag}\r\n") } else { String::new() };
        let whole =
            format!("{allow}{own}Content-Type: {}\r\nContent-Length: {length}\r\n", file.kind);
        Page {
            whole: Response::new(status, &whole, file.bytes),
            unchanged: Response::new(Status::NotModified, &own, &[]),
            tag,
        }
    }

    /// Whether a list of entity tags has this one, or is `*` (RFC 9110, 13.1.2).
    fn is_among(&self, tags: &[u8]) -> bool {
        tags.split(|&byte| byte == b',').any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes()
        })
    }
}

impl Response {
    fn new(status: Status, fields: &str, body: &'static [u8]) -> Response {
        let before = format!("HTTP/1.1 {}\r\nServer: Sluice\r\nDate: ", status.line());
        let way = |connection: &str| {
            let after = format!("\r\n{fields}{connection}\r\n");
            Rc::new(Prepared::new(&before, &after, body))
        };
        Response([way("Connection: close\r\n"), way("")])
    }

    /// For a connection that stays, or ends.
    pub(crate) fn way(&self, keep: bool) -> &Rc<Prepared> {
        &self.0[usize::from(keep)]
    }
}

/// A line that says what is wrong.
fn error_page(status: Status) -> &'static str {
    match status {
        Status::BadRequest => "This is no request that can be understood.\n",
        Status::NotFound => "There is no such page.\n",
        Status::MethodNotAllowed => "Only GET and HEAD.\n",
        Status::RequestTimeout => "That took too long.\n",
        Status::ContentTooLarge => "Nobody here wants a body of that size.\n",
        Status::UriTooLong => "That target is too long.\n",
        Status::HeadTooLarge => "That head is too large.\n",
        Status::NotImplemented => "That transfer coding is not understood.\n",
        Status::VersionNotSupported => "Only HTTP/1.0 and HTTP/1.1.\n",
        Status::Ok | Status::NotModified => "",
    }
}

/// FNV-1a: tells versions of a file apart, and nothing more.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::{File, Site};
    use crate::http::Status;
    use crate::http::request::{Method, Request};
    use alloc::string::String;

    const FILES: &[File] = &[
        File { path: "/index.html", kind: "text/html", bytes: b"<p>hello" },
        File { path: "/a/index.html", kind: "text/html", bytes: b"<p>there" },
    ];

    fn ask(path: &str) -> Request<'_> {
        Request { method: Method::Get, path, keep_alive: true, tags: None, body: 0, bytes: 0 }
    }

    fn head(site: &Site, request: &Request<'_>, second: u64) -> String {
        let (response, _) = site.answer(request);
        String::from_utf8(response.way(true).head(second)).unwrap()
    }

    #[test]
    fn a_file_and_its_directory_are_one_page() {
        let site = Site::new(FILES);
        for (path, body) in [("/", "<p>hello"), ("/index.html", "<p>hello"), ("/a/", "<p>there")] {
            let (response, whole) = site.answer(&ask(path));
            assert_eq!((response.way(true).body(), whole), (body.as_bytes(), true));
        }
        let text = head(&site, &ask("/"), 784_111_777);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 8\r\n"), "{text}");
        assert!(head(&site, &ask("/"), 784_111_778).contains("08:49:38"));
        for missing in ["", "/a", "/a/..", "/../index.html", "/%2e%2e/", "/index.html/"] {
            assert!(head(&site, &ask(missing), 0).starts_with("HTTP/1.1 404"), "{missing}");
        }
    }

    #[test]
    fn who_has_the_page_is_told_so() {
        let site = Site::new(FILES);
        let text = head(&site, &ask("/"), 0);
        let (_, after) = text.split_once("ETag: ").unwrap();
        let (tag, _) = after.split_once("\r\n").unwrap();
        for tags in [tag, "*", &alloc::format!("\"x\", W/{tag}")] {
            let request = Request { tags: Some(tags.as_bytes()), ..ask("/") };
            assert!(head(&site, &request, 0).starts_with("HTTP/1.1 304"), "{tags}");
            assert!(!site.answer(&request).1);
        }
        let request = Request { tags: Some(b"\"x\""), ..ask("/") };
        assert!(head(&site, &request, 0).starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn methods_and_ends() {
        let site = Site::new(FILES);
        let request = Request { method: Method::Head, ..ask("/") };
        assert!(!site.answer(&request).1);
        let request = Request { method: Method::Other, ..ask("/") };
        assert!(head(&site, &request, 0).contains("\r\nAllow: GET, HEAD\r\n"));
        for status in Status::ERRORS {
            let way = site.error(status).way(false);
            let text = String::from_utf8(way.head(0)).unwrap();
            assert!(text.contains(status.line()) && text.contains("Connection: close"), "{text}");
            assert!(!way.body().is_empty());
        }
    }
}
