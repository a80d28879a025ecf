//! An HTTP/1.1 server for pages that do not change (RFC 9110, RFC 9112).
//!
//! A [`Site`] is a table of files whose responses are made once, heads and all ([`Prepared`]);
//! [`serve`] answers one connection from it, [`crate::cached`] a whole port: requests one after
//! the other or pipelined, `GET` and `HEAD`, conditional by entity tag. Requests are read by
//! `httparse` ([`request`]). What a client may cost is bounded: bytes of a head, of a target and
//! of a body that nobody wants, and the time that each may take.

pub mod date;
mod prepared;
pub mod request;
mod server;
mod site;

pub use prepared::{Piece, Prepared};
pub use server::{Limits, serve};
pub use site::{File, Site};

/// A status that this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 431
    HeadTooLarge,
    /// 501
    NotImplemented,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// All that are no success: their pages are made beforehand, too.
    pub const ERRORS: [Status; 9] = [
        Status::BadRequest,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::ContentTooLarge,
        Status::UriTooLong,
        Status::HeadTooLarge,
        Status::NotImplemented,
        Status::VersionNotSupported,
    ];

    /// Number and reason, as a status line has them (RFC 9110, 15).
    pub fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}
