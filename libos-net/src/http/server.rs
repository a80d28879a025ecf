//! One connection: requests in, responses out, until somebody ends it.

use alloc::vec;
use alloc::vec::Vec;

use libos::clock::now_ns;
use libos::executor::Executor;

use super::Status;
use super::request::{HEAD_BYTES_MAX, Reading, Request, read};
use super::site::{Response, Site};
use crate::tcp::{Shutdown, TcpError, TcpStream};

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nanoseconds between a request's end and the next one's first byte.
    pub idle_ns: u64,
    /// Nanoseconds from a request's first byte to its last.
    pub request_ns: u64,
    /// Nanoseconds in which the client must take some of a response.
    pub response_ns: u64,
    /// Requests on one connection.
    pub requests: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        let second = 1_000_000_000;
        Limits {
            idle_ns: 30 * second,
            request_ns: 10 * second,
            response_ns: 30 * second,
            requests: 1_000_000,
        }
    }
}

/// Bytes read at a time; a head may be longer.
const READ_BYTES: usize = 2048;

/// Answers a connection's requests from a site; how many it answered.
pub async fn serve(executor: &Executor, stream: TcpStream, site: &Site, limits: &Limits) -> u64 {
    let mut connection =
        Connection { executor, stream, site, limits, bytes: Vec::new(), begin: 0, answered: 0 };
    // Who resets a connection wants no answer.
    let _ = connection.run().await;
    connection.answered
}

struct Connection<'a> {
    executor: &'a Executor,
    stream: TcpStream,
    site: &'a Site,
    limits: &'a Limits,
    /// What was read, from `begin` on not yet answered.
    bytes: Vec<u8>,
    begin: usize,
    answered: u64,
}

/// What comes after a request was answered.
enum Next {
    /// Another one.
    Request,
    /// A body of that many bytes that nobody reads, and then another one.
    Body(u64),
    /// The end.
    End,
}

impl Connection<'_> {
    async fn run(&mut self) -> Result<(), TcpError> {
        while self.answered < self.limits.requests {
            let next = match read(&self.bytes[self.begin..]) {
                Reading::Partial => {
                    if !self.more().await? {
                        break;
                    }
                    continue;
                }
                Reading::Refused(status) => {
                    self.refuse(status).await?;
                    break;
                }
                Reading::Whole(request) => {
                    let (response, body) = self.site.answer(&request);
                    let keep = request.keep_alive && self.answered + 1 < self.limits.requests;
                    let next = after(&request, keep);
                    self.begin += request.bytes;
                    self.send(response, body, keep).await?;
                    next
                }
            };
            self.answered += 1;
            match next {
                Next::Request => {}
                Next::Body(bytes) => {
                    if !self.skip(bytes).await? {
                        break;
                    }
                }
                Next::End => break,
            }
        }
        self.finish().await
    }

    /// Reads more of a request; false when none comes or the client has ended.
    async fn more(&mut self) -> Result<bool, TcpError> {
        let begun = self.begin < self.bytes.len();
        self.bytes.drain(..self.begin);
        self.begin = 0;
        let patience = if begun { self.limits.request_ns } else { self.limits.idle_ns };
        let deadline = now_ns().saturating_add(patience);
        // One deadline for the whole head: a byte now and then does not move it.
        while self.bytes.len() <= HEAD_BYTES_MAX {
            let Some(count) = self.read_some(deadline).await? else {
                if begun {
                    self.refuse(Status::RequestTimeout).await?;
                }
                return Ok(false);
            };
            if count == 0 {
                return Ok(false);
            }
            if !begun || !matches!(read(&self.bytes), Reading::Partial) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// Reads what is there behind what was read before; `None` at the deadline.
    async fn read_some(&mut self, deadline: u64) -> Result<Option<usize>, TcpError> {
        let before = self.bytes.len();
        self.bytes.resize(before + READ_BYTES, 0);
        let reading = self.stream.read_async(&mut self.bytes[before..]);
        let count = self.executor.timeout(deadline, reading).await.transpose();
        self.bytes.truncate(before + count.unwrap_or_default().unwrap_or_default());
        count
    }

    /// Throws a body away; false if the client ends or takes too long.
    async fn skip(&mut self, bytes: u64) -> Result<bool, TcpError> {
        let here = (self.bytes.len() - self.begin) as u64;
        self.begin += bytes.min(here) as usize;
        let mut rest = bytes.saturating_sub(here);
        let deadline = now_ns().saturating_add(self.limits.request_ns);
        let mut buffer = vec![0; READ_BYTES];
        while rest > 0 {
            let room = (rest.min(READ_BYTES as u64)) as usize;
            let reading = self.stream.read_async(&mut buffer[..room]);
            match self.executor.timeout(deadline, reading).await.transpose()? {
                None | Some(0) => return Ok(false),
                Some(count) => rest = rest.saturating_sub(count as u64),
            }
        }
        Ok(true)
    }

    async fn send(&self, response: &Response, body: bool, keep: bool) -> Result<(), TcpError> {
        let way = response.way(keep);
        self.write(&way.head(self.site.second())).await?;
        if body { self.write(way.body()).await } else { Ok(()) }
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), TcpError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let deadline = now_ns().saturating_add(self.limits.response_ns);
            let writing = self.stream.write_async(rest);
            let count = self.executor.timeout(deadline, writing).await;
            let count = count.unwrap_or(Err(TcpError::TimedOut))?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    async fn refuse(&mut self, status: Status) -> Result<(), TcpError> {
        self.answered += 1;
        self.send(self.site.error(status), true, false).await
    }

    /// Ends our half and reads to the end of the other, for a moment: a reset in answer to what the
    /// client still sends would throw away what it has not read (RFC 9112, 9.6).
    async fn finish(&mut self) -> Result<(), TcpError> {
        self.stream.shutdown(Shutdown::Write);
        let deadline = now_ns().saturating_add(1_000_000_000);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let reading = self.stream.read_async(&mut buffer);
            match self.executor.timeout(deadline, reading).await {
                Some(Ok(count)) if count > 0 => {}
                _ => return Ok(()),
            }
        }
    }
}

fn after(request: &Request<'_>, keep: bool) -> Next {
    match (keep, request.body) {
        (false, _) => Next::End,
        (true, 0) => Next::Request,
        (true, bytes) => Next::Body(bytes),
    }
}
