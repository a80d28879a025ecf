//! What a client says, and which responses that makes: requests out of bytes, in their order.
//!
//! The same bytes are the same request: the last few requests are kept with their answers, and one
//! that comes again is compared, not read again ([`Memo`]).

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::http::request::{HEAD_BYTES_MAX, Reading, read};
use crate::http::{Limits, Prepared, Site, Status};

/// Requests that are kept.
const MEMO_MAX: usize = 8;

/// A client's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// What has come and is not a whole request yet, or has to wait.
    input: Vec<u8>,
    /// Bytes of a body that nobody wants, still to come.
    skip: u64,
    answered: u64,
    over: bool,
}

/// An answer: what to send, with or without its body, and whether it is the last.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) response: Rc<Prepared>,
    pub(super) body: bool,
    pub(super) last: bool,
}

/// Requests that came before, and their answers.
#[derive(Debug, Default)]
pub(super) struct Memo {
    kept: Vec<(Vec<u8>, Answer)>,
    turn: usize,
    /// Requests that were found here.
    pub(super) found: u64,
}

/// What a conversation is about.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) site: &'a Site,
    pub(super) limits: &'a Limits,
    pub(super) memo: &'a mut Memo,
}

impl Conversation {
    /// Whether nothing that comes is a request any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a request, or its body, has begun to come.
    pub(super) fn has_begun(&self) -> bool {
        !self.over && (self.skip > 0 || !self.input.is_empty())
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.input.len()
    }

    /// Takes what has come, and gives the answers, `room` at most; what is behind them waits.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        room: usize,
        about: &mut About<'_>,
        mut answer: impl FnMut(Answer),
    ) {
        if self.over {
            return;
        }
        let mut input = core::mem::take(&mut self.input);
        let mut rest = bytes;
        if !input.is_empty() {
            input.extend_from_slice(bytes);
            rest = &input;
        }
        for _ in 0..room {
            rest = self.skipped(rest);
            if rest.is_empty() || self.over {
                break;
            }
            match self.next(rest, about) {
                Some((made, behind)) => {
                    rest = behind;
                    answer(made);
                }
                None => break,
            }
        }
        rest = self.skipped(rest);
        if self.over {
            return;
        }
        let waiting = rest.len();
        if input.is_empty() {
            input.extend_from_slice(bytes.get(bytes.len() - waiting..).unwrap_or_default());
        } else {
            input.drain(..input.len() - waiting);
        }
        self.input = input;
    }

    /// Ends it: no request came in time, or as a whole.
    pub(super) fn time_out(&mut self, site: &Site) -> Option<Answer> {
        let begun = self.has_begun();
        self.over = true;
        let response = site.error(Status::RequestTimeout).way(false);
        begun.then(|| Answer { response: Rc::clone(response), body: true, last: true })
    }

    fn skipped<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let count = self.skip.min(bytes.len() as u64);
        self.skip -= count;
        bytes.get(count as usize..).unwrap_or_default()
    }

    /// The first request, as an answer, and what is behind it; `None` if it is not there yet.
    fn next<'b>(&mut self, bytes: &'b [u8], about: &mut About<'_>) -> Option<(Answer, &'b [u8])> {
        let more = self.answered + 1 < about.limits.requests;
        let known = about.memo.find(bytes).filter(|_| more);
        let (answer, length) = match known {
            Some(known) => known,
            None => self.read(bytes, more, about)?,
        };
        self.answered += 1;
        self.over = answer.last;
        Some((answer, bytes.get(length..).unwrap_or_default()))
    }

    fn read(&mut self, bytes: &[u8], more: bool, about: &mut About<'_>) -> Option<(Answer, usize)> {
        match read(bytes) {
            Reading::Partial if bytes.len() <= HEAD_BYTES_MAX => None,
            Reading::Partial => Some((refusal(about.site, Status::HeadTooLarge), bytes.len())),
            Reading::Refused(status) => Some((refusal(about.site, status), bytes.len())),
            Reading::Whole(request) => {
                let (response, body) = about.site.answer(&request);
                let keep = request.keep_alive && more;
                let response = Rc::clone(response.way(keep));
                let answer = Answer { response, body, last: !keep };
                self.skip = request.body;
                let length = request.bytes;
                if request.body == 0 && keep {
                    about.memo.keep(bytes.get(..length).unwrap_or_default(), &answer);
                }
                Some((answer, length))
            }
        }
    }
}

fn refusal(site: &Site, status: Status) -> Answer {
    Answer { response: Rc::clone(site.error(status).way(false)), body: true, last: true }
}

impl Memo {
    /// The answer to the request that these bytes begin with, and its length.
    fn find(&mut self, bytes: &[u8]) -> Option<(Answer, usize)> {
        let (request, answer) = self.kept.iter().find(|(kept, _)| bytes.starts_with(kept))?;
        self.found += 1;
        Some((answer.clone(), request.len()))
    }

    fn keep(&mut self, request: &[u8], answer: &Answer) {
        let entry = (request.to_vec(), answer.clone());
        match self.kept.get_mut(self.turn) {
            Some(place) => *place = entry,
            None => self.kept.push(entry),
        }
        self.turn = (self.turn + 1) % MEMO_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Conversation, Memo};
    use crate::http::{File, Limits, Site};
    use alloc::string::String;
    use alloc::vec::Vec;

    const FILES: &[File] = &[File { path: "/index.html", kind: "text/html", bytes: b"hello" }];

    struct Room {
        site: Site,
        limits: Limits,
        memo: Memo,
    }

    fn room() -> Room {
        let limits = Limits { requests: 100, ..Limits::default() };
        Room { site: Site::new(FILES), limits, memo: Memo::default() }
    }

    fn said(of: &mut Room, talk: &mut Conversation, bytes: &[u8], room: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut about = About { site: &of.site, limits: &of.limits, memo: &mut of.memo };
        talk.hear(bytes, room, &mut about, |answer| {
            let head = String::from_utf8(answer.response.head(0)).unwrap();
            let last = if answer.last { " last" } else { "" };
            all.push(alloc::format!("{}{last}", &head[9..12]));
        });
        all
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn in_any_pieces_requests_are_the_same() {
        let none = b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n";
        let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n";
        let end = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let all = [GET, GET, none, post, &[b'G'; 30], GET, end, GET].concat();
        let wanted = ["200", "200", "404", "405", "200", "200 last"];
        for size in [1, 2, 5, 27, 28, 100, 4000] {
            let (mut of, mut talk) = (room(), Conversation::default());
            let pieces = all.chunks(size);
            let got: Vec<String> =
                pieces.flat_map(|piece| said(&mut of, &mut talk, piece, 99)).collect();
            assert_eq!(got, wanted, "{size}");
            assert!(talk.is_over() && of.memo.found > 0);
        }
    }

    #[test]
    fn what_there_is_no_room_for_waits() {
        let (mut of, mut talk) = (room(), Conversation::default());
        assert_eq!(said(&mut of, &mut talk, &GET.repeat(5), 2), ["200", "200"]);
        assert_eq!(talk.waiting(), 3 * GET.len());
        assert_eq!(said(&mut of, &mut talk, &[], 2), ["200", "200"]);
        assert_eq!(said(&mut of, &mut talk, &[], 2), ["200"]);
        assert!(said(&mut of, &mut talk, &[], 2).is_empty() && !talk.has_begun());
    }

    #[test]
    fn garbage_and_giants_end_it() {
        for (bytes, status) in [(&b"garbage\r\n\r\n"[..], "400 last"), (&[b'a'; 9000], "431 last")]
        {
            let (mut of, mut talk) = (room(), Conversation::default());
            assert_eq!(said(&mut of, &mut talk, bytes, 9), [status]);
            assert!(said(&mut of, &mut talk, GET, 9).is_empty());
        }
        let (of, mut talk) = (room(), Conversation::default());
        assert!(talk.time_out(&of.site).is_none());
        let mut talk = Conversation { input: GET[..5].to_vec(), ..Conversation::default() };
        assert!(talk.time_out(&of.site).unwrap().last && talk.is_over());
    }

    #[test]
    fn after_so_many_requests_it_is_over() {
        let (mut of, mut talk) = (room(), Conversation::default());
        of.limits.requests = 3;
        assert_eq!(said(&mut of, &mut talk, &GET.repeat(5), 9), ["200", "200", "200 last"]);
    }
}
