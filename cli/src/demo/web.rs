//! A page from a library OS: TCP and HTTP in ring 3, fetched by `curl` and by a socket of ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use super::Stage;
use crate::build::cast::HTTP_PORT;
use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::report::Report;

/// What the page says of itself.
const SAID: &str = "Served by a library OS";

/// Starts the web server and fetches its pages.
pub(super) fn show<W: Write>(
    report: &mut Report<W>,
    stage: &Stage<'_>,
) -> Result<(), MachineError> {
    report.part("A web server in ring 3: TCP and HTTP of its own, one filter in the kernel");
    let started = stage.machine.command("start http");
    if report.attempt("init starts http", started).is_none() {
        return Ok(());
    }
    stage.machine.wait_serial("port 80 serves", limits::CONTROL)?;
    let Some(address) = stage.machine.tcp_address(HTTP_PORT) else {
        report.expect("port 80 is reachable", false, "no forward");
        return Ok(());
    };
    let requests = "GET / HTTP/1.1\r\nHost: sluice\r\n\r\n\
                    GET /none HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n";
    let answers = inside(stage.machine, || exchange(address, requests.as_bytes()));
    let name = "two requests in one segment are answered in order";
    if let Some(text) = report.attempt(name, answers) {
        let first = text.find("HTTP/1.1 200 OK").is_some_and(|at| at == 0);
        let second = text.contains("HTTP/1.1 404 Not Found") && text.contains(SAID);
        report.expect(name, first && second, format!("{} bytes", text.len()));
    }
    by_curl(report, stage.machine, address);
    Ok(())
}

fn by_curl<W: Write>(report: &mut Report<W>, machine: &Machine, address: SocketAddr) {
    let url = format!("http://{address}/");
    report.line(format!("$ curl {url}"));
    let mut command = match machine.tap() {
        Some(tap) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", tap.namespace(), "curl"]);
            command
        }
        None => Command::new("curl"),
    };
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", &url]);
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let said = text.contains(SAID);
            let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            report.expect("curl gets the page", output.status.success() && said, complaint);
        }
        Err(error) => report.line(format!("curl cannot be run: {error}")),
    }
}

/// On this host, or in the network that the machine is on.
fn inside<T: Send>(
    machine: &Machine,
    f: impl FnOnce() -> std::io::Result<T> + Send,
) -> std::io::Result<T> {
    match machine.tap() {
        Some(tap) => tap.inside(f)?,
        None => f(),
    }
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limits::REPLY)?;
    stream.set_read_timeout(Some(limits::REPLY))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::exchange;
    use std::io::{Read, Write};

    #[test]
    fn an_exchange_ends_with_the_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 3];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"answer").unwrap();
        });
        assert_eq!(exchange(address, b"ask").unwrap(), "answer");
        server.join().unwrap();
    }
}
