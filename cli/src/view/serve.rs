//! One page over HTTP: what Prometheus asks for.
//!
//! A thread answers one request after the other, each on a connection of its own, with the last
//! text that was published. A client that says nothing is not waited for long.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::prometheus::CONTENT_TYPE;
use crate::limits;

/// Bytes of a request's first line at most.
const REQUEST_BYTES_MAX: u64 = 4096;
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The page. It goes away with its handle.
#[derive(Debug)]
pub struct Page {
    text: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Page {
    /// Starts answering there.
    ///
    /// # Errors
    /// The system's, when nothing can listen there.
    pub fn listen(at: SocketAddr) -> io::Result<Page> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let text = Arc::new(Mutex::new(String::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, told) = (Arc::clone(&text), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let text = theirs.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        // Who went away without its answer asks again.
                        let _ = answer(stream, &text);
                    }
                    Err(_) => std::thread::sleep(limits::POLL),
                }
            }
        })?;
        Ok(Page { text, stop, address, thread: Some(thread) })
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says from now on.
    pub fn publish(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(stream.try_clone()?.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    request.read_line(&mut line)?;
    // The rest of the head is read, or closing the connection would throw the answer away.
    let mut header = String::new();
    while request.read_line(&mut header)? > 2 {
        header.clear();
    }
    let (status, body) = match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics", ..] => ("200 OK", text),
        ["GET", ..] => ("404 Not Found", "the page is /metrics\n"),
        _ => ("405 Method Not Allowed", "only GET\n"),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n");
    let rest = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{rest}{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::Page;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn ask(page: &Page, request: &str) -> String {
        let mut stream = TcpStream::connect(page.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_last_text_is_what_a_scrape_gets() {
        let page = Page::listen(([127, 0, 0, 1], 0).into()).unwrap();
        page.publish("old 1\n".to_owned());
        page.publish("new 2\n".to_owned());
        let answer = ask(&page, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("version=0.0.4") && answer.ends_with("\r\n\r\nnew 2\n"),
            "{answer}"
        );
        assert!(ask(&page, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(&page, "nonsense\r\n\r\n").starts_with("HTTP/1.1 405"));
        let long = "x".repeat(10_000);
        let mut stream = TcpStream::connect(page.address()).unwrap();
        let _ = stream.write_all(long.as_bytes());
        drop(stream);
        assert!(ask(&page, "GET /metrics HTTP/1.0\r\n\r\n").contains("new 2"));
    }
}
